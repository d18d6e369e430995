"""Warnings of the library: on one logger, which the command line prints and nobody configures."""

import ast
import logging
import pathlib
import sys

import pytest
from tqdm import tqdm

import bert_tf
from bert_tf.cli import main as cli
from bert_tf.data import create_pretraining_data
from bert_tf.files.log import LOGGER, hears, told_to
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

        @hears("tell")
        def train(self):
            self.work(tell=self._tell)

        @hears("tell")
        def work(self, tell=None):
            LOGGER.info("at work")

    Session(told.append).train()
    assert told == ["at work"]
    Session().train()
    with pytest.raises(KeyError), told_to(told.append):
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
        "from bert_tf.cli.options import print_remark\n"
        "from bert_tf.files.log import LOGGER, told_to\n"
        "silence()\n"
        "logging.getLogger('tensorflow').warning('noise')\n"
        "with told_to(print_remark):\n"
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
        with tqdm(total=2, file=screen), told_to(cli.print_remark):
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
            on_remark=told.append,
        )
    finally:
        logging.getLogger().removeHandler(handler)
    (record,) = records
    assert (record.name, record.levelno) == ("bert_tf", logging.WARNING)
    assert "in de 4 of 4 documents are of one sentence" in record.getMessage()
    assert told == [record.getMessage()]
    assert capsys.readouterr() == ("", "")
