"""Warnings of the library: on one logger, which the command line prints and nobody configures."""

import ast
import logging
import pathlib
import pickle
import sys
import threading

import pytest
from tqdm import tqdm

import bert_tf
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.names import LoadReport
from bert_tf.cli import main as cli
from bert_tf.data import create_pretraining_data
from bert_tf.files.log import LOGGER, quiet, reported_to, reports, warn
from bert_tf.text import BertTokenizer, Vocabulary


def test_there_is_one_logger():
    """It is asked for by its name in one file; nowhere else is there another, or a callback."""
    calls = []
    for path in pathlib.Path(bert_tf.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "getLogger":
                calls.append(path.name)
    assert sorted(calls) == ["backend.py", "log.py"]  # the former, of the root, to silence others


def test_who_listens_is_told_once_and_only_in_the_meantime():
    told = []

    class Session:
        def __init__(self, tell=None):
            self._tell = tell

        @reports
        def train(self):
            self.work(tell=self._tell)

        @reports
        def work(self, tell=None):
            LOGGER.info("at work")

    Session(told.append).train()
    assert told == ["at work"]
    Session().train()
    with pytest.raises(KeyError), reported_to(told.append):
        raise KeyError
    LOGGER.warning("nobody listens")
    assert told == ["at work"]
    assert LOGGER.handlers == []
    assert LOGGER.level == logging.NOTSET


def test_python_prints_warnings_and_no_more(run_python):
    code = (
        "import logging, bert_tf\n"
        "from bert_tf.files.log import LOGGER\n"
        "assert not LOGGER.handlers and not logging.getLogger().handlers\n"
        "LOGGER.info('nothing')\n"
        "LOGGER.warning('something')\n"
    )
    result = run_python("-c", code)
    assert (result.stdout, result.stderr) == ("", "something\n")


def test_what_frameworks_log_is_silenced_and_what_we_log_is_not(run_python):
    code = (
        "import logging\n"
        "from bert_tf.backend import silence\n"
        "from bert_tf.cli.options import print_message\n"
        "from bert_tf.files.log import LOGGER, reported_to\n"
        "silence()\n"
        "logging.getLogger('tensorflow').warning('noise')\n"
        "with reported_to(print_message):\n"
        "    LOGGER.info('known')\n"
        "    LOGGER.warning('odd: 100 %s')\n"
    )
    assert run_python("-c", code).stderr == "bert_tf: known\nbert_tf: odd: 100 %s\n"


def test_the_command_line_prints_what_is_logged(monkeypatch, capsys, caplog):
    def answer(args):
        LOGGER.warning("it is odd")
        return 0

    monkeypatch.setattr("bert_tf.cli.releases.answer", answer)
    for _ in range(2):
        assert cli.main(["list"]) == 0
        assert capsys.readouterr().err == "bert_tf: it is odd\n"
    assert caplog.messages == ["it is odd"] * 2
    LOGGER.warning("not a command's")
    assert capsys.readouterr().err == ""


def test_the_command_line_prints_above_a_bar(capsys):
    class Screen(list):
        def write(self, text):
            self.append(text)

        def flush(self):
            pass

    screen = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        with tqdm(total=2, file=screen), reported_to(cli.print_message):
            LOGGER.info("it is odd")
    text = "".join(screen)
    before = text[: text.index("bert_tf: it is odd\n")]
    assert before.endswith("\r")  # the bar was cleared
    assert "0/2" in text[len(before) + len("bert_tf: it is odd\n") :]  # and drawn again


def test_a_call_of_the_library_logs_and_prints_nothing(tmp_path, capsys):
    """A handler of the user's own gets each warning once."""
    (tmp_path / "texts.txt").write_text("a\n\n" * 4)
    vocab = Vocabulary.from_lines(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"], "given")
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    told = []
    logging.getLogger().addHandler(handler)
    try:
        create_pretraining_data(
            {"de": [tmp_path / "texts.txt"]},
            [tmp_path / "out.tfrecord"],
            BertTokenizer(vocab, lower_case=True),
            dupe_factor=1,
            num_workers=1,
            tell=told.append,
        )
    finally:
        logging.getLogger().removeHandler(handler)
    (record,) = records
    assert (record.name, record.levelno) == ("bert_tf", logging.WARNING)
    assert "in de 4 of 4 documents are of one sentence" in record.getMessage()
    assert told == [record.getMessage()]
    assert capsys.readouterr() == ("", "")


def test_what_is_warned_of_is_given_back(caplog):
    assert warn("a", None, "", "b") == ("a", "b")
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("WARNING", "a"),
        ("WARNING", "b"),
    ]
    assert {one.pathname for one in caplog.records} == {__file__}


def test_quiet_is_for_one_thread(caplog):
    with quiet():
        warn("here")
        other = threading.Thread(target=warn, args=("there",))
        other.start()
        other.join()
    warn("afterwards")
    assert caplog.messages == ["there", "afterwards"]


def test_loading_warns_once_and_the_report_has_it(tmp_path, caplog):
    """What is inferred as expected is no warning, but in the report too."""
    checkpoint = pathlib.Path(__file__).parent / "golden" / "tiny_ckpt"
    vocab = tmp_path / "vocab.txt"
    vocab.write_text((checkpoint / "vocab.txt").read_text().rstrip("\n").rpartition("\n")[0])
    caplog.set_level(logging.INFO)
    bert = bert_tf.load(checkpoint, vocab=vocab)
    few, casing = caplog.records
    assert (few.levelname, casing.levelname) == ("WARNING", "INFO")
    assert "the rows without a token are unused" in few.message
    assert "from the vocabulary" in casing.message
    assert bert.report.warnings == (few.message, casing.message)
    assert few.message in str(bert.report)


def test_old_names_work(tmp_path):
    report = LoadReport("x", (), (), (), (), (), (), ("odd",))
    with pytest.warns(DeprecationWarning, match="LoadReport.remarks is warnings now") as caught:
        assert report.remarks == ("odd",)
    assert caught[0].filename == __file__
    assert pickle.loads(pickle.dumps(report)) == report
    old = LoadReport.__new__(LoadReport)  # as a pickle of 0.1.0 makes it
    vars(old).update({**vars(report), "remarks": ("odd",)})
    del vars(old)["warnings"]
    assert (old.remarks, old.warnings) == (("odd",), ())
    assert str(old)
    with pytest.warns(DeprecationWarning, match="ClassifierInfo.beside is in_folder now"):
        assert ClassifierInfo.beside(f"{tmp_path}/") is None

    @reports
    def work(tell=None):
        LOGGER.info("at work")

    told = []
    with pytest.warns(DeprecationWarning, match="on_remark is tell now") as caught:
        work(on_remark=told.append)
    assert (told, caught[0].filename) == (["at work"], __file__)
