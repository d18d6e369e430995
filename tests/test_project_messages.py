"""Messages of the library name parameters, in backquotes; the command line makes flags of them."""

import ast
import pathlib
import re
import runpy
import shutil
import threading
from collections.abc import Iterator

import pytest

import bert_tf
from bert_tf import BertError
from bert_tf.cli.main import COMMANDS, build_parser, main
from bert_tf.data.labelled.dataset import load_splits
from bert_tf.files.log import LOGGER
from bert_tf.text import Vocabulary, infer_casing
from bert_tf.training.finetuning.job import ClassifierJob
from bert_tf.training.pretraining.plan import BatchSettings
from bert_tf.training.pretraining.sources import open_source

PACKAGE = pathlib.Path(bert_tf.__file__).parent
LISTED = runpy.run_path(str(PACKAGE.parent / "docs" / "messages.py"))
LIBRARY = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "cli")
NO_FLAGS = {"documents", "evaluate", "read"}  # an argument that no command has, a command, a method


@pytest.fixture(autouse=True)
def no_backend_of_other_tests(monkeypatch):
    """Commands that ran in this process before may have chosen one."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def strings(path: pathlib.Path) -> Iterator[str]:
    """The strings of a file that are no docstrings; an X stands for what is filled in."""
    return (re.sub(r"\{.*?\}", "X", text) for _, text in LISTED["strings"](path))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_names_no_flag(path):
    assert [text for text in strings(path) if re.search(r"(?<![\w-])--[A-Za-z]", text)] == []


def parsers() -> dict:
    (commands,) = build_parser()._subparsers._group_actions
    return commands.choices


PARSERS = parsers()


def test_names_in_messages_are_parameters_and_become_flags():
    """Each is a parameter or a field in the library, and a flag of some command."""
    named, known = set(), {"KERAS_BACKEND"}
    for path in LIBRARY:
        for text in strings(path):
            named |= set(re.findall(r"`(\w+)(?:=[^`]*)?`", text))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                known.add(node.target.id)
    named -= {"X", *NO_FLAGS}
    assert len(named) > 35
    assert named <= known
    flags = {name for parser in PARSERS.values() for name in parser._flags}
    assert named <= flags


@pytest.mark.parametrize(
    ("command", "message", "spelled"),
    [
        ("mask", "pass `too_long='window'` or `stride`", "pass --too-long=window or --stride"),
        ("mask", "`lower_case=False`, `config`", "--lower-case=False, --config"),
        ("evaluate", "`KERAS_BACKEND=jax`, `overwrite=True`", "--backend=jax, `overwrite=True`"),
        ("classify", "`config` without `vocab`", "--bert_config_file without --vocab_file"),
        ("classify", "`checkpoint='a b'`", "--init_checkpoint='a b'"),
        ("classify", "`label_names`, `epochs`, `batch_size=8`, `warmup`",
         "--labels, --num_train_epochs, --train_batch_size=8, --warmup_proportion"),
        ("classify", "`label_separator='|'`, `policy` leak=keep",
         "--label_separator='|', --problems leak=keep"),
        ("classify", "`task='classes'`, `header=True`", "--task=classes, --header"),
        ("classify", "`lower_case=True`, `num_workers`", "--do_lower_case, `num_workers`"),
        ("pretraining-data", "`num_workers`, `lower_case`", "--num_workers, --do_lower_case"),
        ("pretrain", "`inputs`, `eval_inputs`, `steps=9`, `warmup_steps`",
         "--input_file, --eval_input_file, --num_train_steps=9, --num_warmup_steps"),
        ("pretrain", "`start='spectral'`, see `bert_tf tokenize`, `state()`",
         "--start=spectral, see `bert_tf tokenize`, `state()`"),
        ("vocab", "`size`, `min_character_count`", "--vocab_size, --min_char_count"),
        ("download", "another `folder`", "another --to"),
        ("convert", '`dtype="float32"`', "--dtype=float32"),
    ],
)  # fmt: skip
def test_a_message_as_a_command_spells_it(command, message, spelled):
    assert PARSERS[command].spelled(message) == spelled


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_for_names_exist(command):
    parser = PARSERS[command]
    assert set(parser._flags.values()) <= set(parser._option_string_actions)


# ---- the same error for both


def failed(capsys, *arguments) -> str:
    assert main(list(map(str, arguments))) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def without_vocab(tmp_path, tiny_ckpt):
    folder = tmp_path / "model"
    shutil.copytree(tiny_ckpt, folder)
    (folder / "vocab.txt").unlink()
    return folder


def test_of_a_checkpoint(without_vocab, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bert_tf.backend.choose_backend", lambda *_, **__: "tensorflow")
    with pytest.raises(BertError, match=r"pass its path as `vocab`\."):
        bert_tf.load(without_vocab)
    told = failed(capsys, "mask", "--checkpoint", without_vocab, "a [MASK]")
    assert told.endswith("pass its path as --vocab.")
    rows = (f"text {n},{'yes' if n % 2 else 'no'}\n" for n in range(40))
    (tmp_path / "data.csv").write_text(f"text,label\n{''.join(rows)}")
    files = ["--train", tmp_path / "data.csv", "--output_dir", tmp_path / "out"]
    told = failed(capsys, "classify", *files, "--init_checkpoint", without_vocab)
    assert told.endswith("pass its path as --vocab_file.")


def test_of_a_table(tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_text("".join(f"text {n},same\n" for n in range(9)))
    with pytest.raises(BertError, match=r"name it with `label` \("):
        load_splits(path)
    assert "name it with --label (" in failed(capsys, "classify", "--train", path)
    with pytest.raises(BertError, match=r"^`task_name='MRPC'` needs `data_dir`, the folder"):
        ClassifierJob("out", task_name="MRPC")
    told = failed(capsys, "classify", "--task_name", "MRPC", "--do_train")
    assert told.startswith("bert_tf: error: --task_name=MRPC needs --data_dir, the folder")


def test_of_pretraining_data(tmp_path, capsys):
    path = tmp_path / "uncased" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    with pytest.raises(BertError, match="Pass `lower_case=True`, or leave it"):
        infer_casing(str(path), Vocabulary.load(path), lower_case=False)
    (tmp_path / "a.txt").write_text("a\n")
    files = [f"--input_file={tmp_path / 'a.txt'}", f"--output_file={tmp_path / 'out'}"]
    flags = [*files, f"--vocab_file={path}", "--do_lower_case=False"]
    told = failed(capsys, "pretraining-data", *flags)
    assert "Pass --do_lower_case, or leave it" in told


def test_of_a_pretraining(tmp_path, tiny_ckpt, capsys):
    vocab = Vocabulary.load(tiny_ckpt / "vocab.txt")
    settings = BatchSettings(held_out_pieces=9)
    with pytest.raises(BertError, match=r"^give `eval_inputs` or `held_out_pieces`, not both\.$"):
        open_source(["a"], ["b"], vocab, len(vocab), settings)
    flags = ["--input_file=a", "--eval_input_file=b", "--held_out_pieces=9", "--do_train"]
    flags += [f"--output_dir={tmp_path}", f"--bert_config_file={tiny_ckpt}/bert_config.json"]
    told = failed(capsys, "pretrain", *flags, f"--vocab_file={tiny_ckpt}/vocab.txt")
    assert told == "bert_tf: error: give --eval_input_file or --held_out_pieces, not both."


def test_a_warning_is_logged_with_parameters_and_printed_with_flags(monkeypatch, capsys, caplog):
    def answer(args):
        LOGGER.warning("raise `top_k`")
        thread = threading.Thread(target=LOGGER.info, args=("lower `stride=1`",))
        thread.start()
        thread.join()
        raise BertError("`overwrite=True` is wrong")

    monkeypatch.setattr("bert_tf.cli.mask.answer", answer)
    assert main(["mask"]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "bert_tf: raise --top-k",
        "bert_tf: lower --stride=1",
        "bert_tf: error: --overwrite is wrong",
    ]
    assert caplog.messages == ["raise `top_k`", "lower `stride=1`"]
