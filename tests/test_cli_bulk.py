"""mask and nsp with --output: nothing is lost, and what was begun resumes to the same bytes."""

import io
import json
import os
import pathlib
import signal
import sys
import threading

import keras
import pytest
from processes import limited_files

import bert_tf
from bert_tf.cli import lines, mask, nsp
from bert_tf.cli.main import main
from bert_tf.errors import BertError

CHUNK = 16  # of batches of 1
COUNT = 5 * CHUNK + 7
IN, OUT = pathlib.Path("in.txt"), pathlib.Path("out")
COMMANDS = {
    "mask": ["--top-k", "2"],
    "nsp": [],
}


def line_of(command, number):
    text = "the " * (number % 9) + str(number)
    return f"{text} [MASK]" if command == "mask" else f"{text}\tit is"


@pytest.fixture(scope="module")
def bert(tiny_ckpt):
    return bert_tf.load(tiny_ckpt, lower_case=False)


@pytest.fixture(autouse=True)
def loaded(bert, monkeypatch, tiny_ckpt, tmp_path):
    """Every command gets the same model, and runs in an empty folder."""
    monkeypatch.setenv("BERT_TF_CHECKPOINT", str(tiny_ckpt))
    for module in (mask, nsp):
        monkeypatch.setattr(module, "load_bert", lambda args: bert)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=COMMANDS)
def command(request, tmp_path):
    """A command whose input is `in.txt`, with two lines that cannot be answered and a blank one."""
    name = request.param
    written = [line_of(name, number) for number in range(COUNT)]
    written[40] = written[70] = "what"
    (tmp_path / "in.txt").write_text("\n".join([*written[:9], "", *written[9:]]))
    return name


def ask(command, *more, output="out"):
    flags = ["--batch-size", "1", *COMMANDS[command], "--input", "in.txt"]
    return main([command, *flags, *([f"--output={output}"] if output else []), *more])


def interrupt(monkeypatch, number, act):
    """Has something happen when the line of that number is read."""
    original = lines.Source._line

    def read(self, place, raw):
        if place[1] == number:
            act()
        return original(self, place, raw)

    monkeypatch.setattr(lines.Source, "_line", read)


def ctrl_c():
    raise KeyboardInterrupt


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_file_holds_what_a_screen_shows(command, form, capsys):
    assert ask(command, *form, output=None) == 3
    shown, errors = capsys.readouterr()
    assert ask(command, *form) == 3
    out, err = capsys.readouterr()
    assert OUT.read_text("utf-8") == shown
    assert err == errors
    assert err.count("bert_tf: error: in.txt, line ") == 2
    assert "in.txt, line 42: " in err
    assert "in.txt, line 72: " in err
    if form:
        found = json.loads(out)
        assert (found["rows"], found["failed"], found["resumed_from"]) == (COUNT, 2, 0)
        assert json.loads(shown.splitlines()[40])["line"] == 42
        assert len(shown.splitlines()) == COUNT
    else:
        assert out == f"{COUNT} rows, of which 2 could not be answered: out\n"
    assert sorted(os.listdir()) == ["in.txt", "out"]


def test_a_file_that_is_there_is_refused(command, monkeypatch, capsys):
    OUT.write_text("precious")
    monkeypatch.setattr(mask, "load_bert", None)  # nothing slow starts before
    monkeypatch.setattr(nsp, "load_bert", None)
    assert ask(command) == 2
    assert "out exists; name another output, or pass --overwrite" in capsys.readouterr().err
    assert ask(command, "--overwrite", output="in.txt") == 2
    assert "the input and the output are the same file, in.txt" in capsys.readouterr().err
    assert OUT.read_text() == "precious"


def test_a_file_that_is_there_survives_what_fails(command, monkeypatch, capsys):
    """A model that cannot be loaded, Ctrl-C, a bad text; with --overwrite too."""
    OUT.write_text("precious")

    def fail(args):
        raise BertError("it cannot be loaded")

    texts = ["no"] if command == "mask" else ["", ""]
    arguments = [command, "--output=out", "--overwrite", *texts]
    assert main(arguments) == 2
    with monkeypatch.context() as patch:
        for module in (mask, nsp):
            patch.setattr(module, "load_bert", fail)
        assert ask(command, "--overwrite") == 2
        assert main(arguments) == 2
    assert "it cannot be loaded" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        interrupt(patch, CHUNK, ctrl_c)  # in the first chunk
        assert ask(command, "--overwrite") == 130
    assert sorted(os.listdir()) == ["in.txt", "out"]
    with monkeypatch.context() as patch:
        interrupt(patch, COUNT, ctrl_c)
        assert ask(command, "--overwrite") == 130
    assert OUT.read_text() == "precious"
    assert ask(command, "--overwrite") == 3
    assert len(OUT.read_bytes()) > 1000
    assert sorted(os.listdir()) == ["in.txt", "out"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_interrupted_it_resumes_to_the_same_bytes(command, form, monkeypatch, capsys):
    assert ask(command, *form, output="unbroken") == 3
    for number in (3 * CHUNK + 5, 5 * CHUNK + 2):
        with monkeypatch.context() as patch:
            interrupt(patch, number, ctrl_c)
            assert ask(command, *form) == 130
        assert "stopped; the same command resumes out.part" in capsys.readouterr().err
        assert not os.path.exists("out")
    assert ask(command, *form) == 3
    out, err = capsys.readouterr()
    assert f"resumes after row {5 * CHUNK}" in err
    assert ", line " not in err  # an earlier run has named them
    assert "2 could not be answered" in out or json.loads(out)["failed"] == 2
    assert OUT.read_bytes() == pathlib.Path("unbroken").read_bytes()
    assert sorted(os.listdir()) == ["in.txt", "out", "unbroken"]


def test_another_run_is_refused(command, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, 3 * CHUNK, ctrl_c)
        assert ask(command) == 130
    changed = ["--batch-size", "3"]
    for more, message in (
        (changed, "batch_size was 1 and is now 3"),
        (["--json"], "json was False and is now True"),
        *([(["--top-k", "3"], "top_k was 2 and is now 3")] if command == "mask" else []),
    ):
        assert ask(command, *more) == 2
        assert message in capsys.readouterr().err
    text = IN.read_text()
    IN.write_text(text.replace("\n", "x\n", 1))
    assert ask(command) == 2
    assert "some were others than they are now" in capsys.readouterr().err
    assert ask(command, "--overwrite") == 3  # it starts over
    assert sorted(os.listdir()) == ["in.txt", "out"]


def test_a_disk_that_fills_loses_nothing(command, capsys):
    assert ask(command, output="unbroken") == 3
    size = os.path.getsize("unbroken")
    with limited_files(size * 2 // 3):
        assert ask(command) == 2
    assert "cannot write out: " in capsys.readouterr().err
    assert sorted(os.listdir()) == ["in.txt", "out.part", "out.part.json", "unbroken"]
    assert ask(command) == 3
    assert "resumes after row" in capsys.readouterr().err
    assert OUT.read_bytes() == pathlib.Path("unbroken").read_bytes()


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
os.chdir(sys.argv[2])
from bert_tf.cli import lines
from bert_tf.cli.main import main
from bert_tf.files import growing
growing.SAVE_SECONDS = 0.0
original = lines.Source._line
def read(self, place, raw):
    if place[1] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, place, raw)
lines.Source._line = read
main(sys.argv[4:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_it_resumes_to_the_same_bytes(command, tiny_ckpt, run_python, tmp_path, capsys):
    assert ask(command, "--json", output="unbroken") == 3
    flags = ["--batch-size", "1", *COMMANDS[command], "--json", "--input", "in.txt"]
    model = ["--checkpoint", tiny_ckpt, "--no-lower-case", "--output", "out"]
    result = run_python(
        *("-c", KILLED, os.path.dirname(__file__), tmp_path, 4 * CHUNK + 2, command),
        *(*flags, *model),
        backend=keras.backend.backend(),
        timeout=600,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr[-3000:]
    capsys.readouterr()
    assert ask(command, "--json") == 3
    out = capsys.readouterr().out
    assert json.loads(out)["resumed_from"] >= 3 * CHUNK
    assert OUT.read_bytes() == pathlib.Path("unbroken").read_bytes()


def test_standard_input_makes_a_whole_file_or_none(command, monkeypatch, capsys):
    written = [line_of(command, number) for number in range(3)]

    def pipe():
        content = io.BytesIO("\n".join(written).encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content, "utf-8"))

    pipe()
    with monkeypatch.context() as patch:
        interrupt(patch, 3, ctrl_c)
        assert main([command, "--json", "--output=out"]) == 130
    assert "out is not written: only answers to a file can be resumed" in capsys.readouterr().err
    assert os.listdir() == ["in.txt"]
    pipe()
    assert main([command, "--json", "--output=out"]) == 0
    assert len(OUT.read_text().splitlines()) == 3
    pipe()
    assert main([command, "--json", "--output=out"]) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_as_output_gets_what_a_screen_gets(command, capsys):
    assert ask(command, output=None) == 3
    shown = capsys.readouterr().out
    os.mkfifo("pipe")
    found = []

    pipe = pathlib.Path("pipe")
    reader = threading.Thread(target=lambda: found.append(pipe.read_text("utf-8")))
    reader.start()
    assert ask(command, output="pipe") == 3
    reader.join(30)
    assert found == [shown]
    assert sorted(os.listdir()) == ["in.txt", "pipe"]


def test_nothing_to_answer(capsys):
    IN.write_text("\n\n")
    assert ask("mask", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"] == 0
    assert "in.txt contains no text" in err
    assert OUT.read_bytes() == b""


@pytest.mark.parametrize("line", ['{"first": "a"}', '{"first": 1, "second": "b"}', '["a"]'])
def test_a_line_of_other_json_is_told_so(line):
    IN.write_text(line + "\n")
    assert ask("nsp", "--json") == 3
    assert "this line has other JSON" in OUT.read_text()


def test_a_line_of_deep_json_is_a_bad_line():
    IN.write_text("[" * 100_000 + "\n")
    assert ask("nsp", "--json") == 3
    assert "this line has 1 column" in OUT.read_text()
