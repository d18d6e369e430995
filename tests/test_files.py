"""Whole files, locks, JSON and bars: what every part reads and writes with."""

import configparser
import doctest
import errno
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types

import pytest
import tqdm
from processes import limited_files

from bert_tf.errors import BertError
from bert_tf.files import progress, reading, whole
from bert_tf.files.extras import EXTRAS, importing, require
from bert_tf.files.growing import Extent, growing_file
from bert_tf.files.locks import lock
from bert_tf.files.log import reported_to
from bert_tf.files.reading import parse_json, read_object, read_sealed
from bert_tf.files.temporary import TemporaryFolder
from bert_tf.files.whole import (
    check_output,
    make_folder,
    make_temporary,
    remove_unfinished,
    replacing,
    scratch_folder,
    whole_file,
    write_json,
    write_sealed,
    write_whole,
)


def test_the_examples_in_the_docstrings():
    for module in (progress, reading):
        tried = doctest.testmod(module)
        assert (tried.failed, tried.attempted > 0) == (0, True)


# --- whole files


@pytest.mark.parametrize("before", [None, "before"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError, OSError(28, "No space left")])
def test_after_an_error_all_is_as_it_was(error, before, tmp_path):
    path = tmp_path / "a.txt"
    if before:
        path.write_text(before)
    raised = BertError if isinstance(error, OSError) else error

    def write():
        with whole_file(path) as file:
            file.write("half of it")
            file.flush()
            raise error

    with pytest.raises(raised):
        write()
    assert os.listdir(tmp_path) == (["a.txt"] if before else [])
    assert not before or path.read_text() == before


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with limited_files(1000), pytest.raises(BertError, match=r"^cannot write .*a\.txt: "):
        write_whole(path, b"x" * 5000)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_device_is_told():
    with pytest.raises(BertError, match=r"^cannot write /dev/full: No space left"):
        write_whole("/dev/full", "x")


def test_the_new_file_is_there_at_the_end_only(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with whole_file(path) as file:
        file.write("after\r\n\ud800")
        file.flush()
        assert path.read_text() == "before"
        (other,) = set(os.listdir(tmp_path)) - {"a.txt"}
        assert whole._TEMPORARY.fullmatch(other)[1] == "a.txt"
    assert path.read_bytes() == b"after\r\n\\ud800"
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_json_is_never_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"é": [1, None], "lone": "\ud800"})
    assert path.read_text("utf-8").startswith('{\n  "é": [\n    1,')
    assert json.loads(path.read_bytes()) == {"é": [1, None], "lone": "\ud800"}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_object(path)["é"] == [1, None]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_gets_what_is_written_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "through")
    reader.join(30)
    assert found == ["through"]
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_writer_that_decides_by_the_name_gets_its_ending(tmp_path):
    with replacing(tmp_path / "a.keras") as temporary:
        assert temporary.endswith(".tmp/a.keras")
        with open(temporary, "w") as file:
            file.write("model")
    assert (tmp_path / "a.keras").read_text() == "model"
    assert os.listdir(tmp_path) == ["a.keras"]


def test_what_killed_writers_left_goes_and_nothing_else(tmp_path):
    kept = [".a.txt.tmp", "a.txt", ".b.0123abcd.tmp", ".a.txt.0123abcd.tmp.x", ".a.txt.0123abc.tmp"]
    for name in [*kept, ".a.txt.0123abcd.tmp", ".a.txt.ffffffff.tmp"]:
        (tmp_path / name).write_text("x")
    remove_unfinished(tmp_path, lambda name: name == "a.txt")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    remove_unfinished(tmp_path / "none", lambda name: True)


def test_the_next_writer_removes_what_is_not_in_use(tmp_path, monkeypatch):
    """A dead process holds no lock; a living one keeps its file or folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for folder in (False, True):
        held, descriptor = make_temporary(tmp_path / "bert_tf-x", folder=folder)
        dead, released = make_temporary(tmp_path / "bert_tf-x", folder=folder)
        assert set(os.listdir(tmp_path)) == {os.path.basename(held), os.path.basename(dead)}
        os.close(released)
        made = TemporaryFolder("x")
        assert set(os.listdir(tmp_path)) == {os.path.basename(held), os.path.basename(made.name)}
        made.cleanup()
        os.close(descriptor)
    write_whole(tmp_path / "bert_tf-x", "1")
    assert os.listdir(tmp_path) == ["bert_tf-x"]


def test_a_scratch_folder_is_gone_whatever_happens(tmp_path):
    for error in (KeyboardInterrupt, OSError(28, "No space left")):
        raised = error if error is KeyboardInterrupt else BertError
        with pytest.raises(raised), scratch_folder(tmp_path / "out"):
            raise error
        assert os.listdir(tmp_path) == []


def test_an_output_in_a_new_folder_is_checked_before_the_work(tmp_path, monkeypatch):
    """The folder that exists decides, however deep the new ones are."""
    (tmp_path / "file").write_text("x")
    check_output(tmp_path / "a" / "b" / "out", False, in_new_folder=True)
    with pytest.raises(BertError, match=r"cannot write .*out: there is no folder .*file$"):
        check_output(tmp_path / "file" / "a" / "out", False, in_new_folder=True)
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != str(tmp_path)
    )  # root may write anywhere
    with pytest.raises(BertError, match=rf"the folder {tmp_path} is not writable"):
        check_output(tmp_path / "a" / "b" / "out", False, in_new_folder=True)
    monkeypatch.chdir(tmp_path)
    check_output("a/out", False, in_new_folder=True)
    with pytest.raises(BertError, match=r"'' names no folder; give a path"):
        make_folder("")


def test_an_interrupted_write_in_a_folder_of_another_user(tmp_path, monkeypatch):
    committed = tmp_path / ".x.committed"
    committed.mkdir()
    (committed / "000001+vocab.txt").write_text("new")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(BertError, match=r"interrupted write is to be completed: Permission"):
            reading.finish_groups(tmp_path)
    reading.finish_groups(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["vocab.txt"]


def test_a_sealed_file_is_whole_or_none(tmp_path):
    path = tmp_path / "new" / "a.bin"
    write_sealed(path, b"kind 1\n", memoryview(b"content"))
    assert read_sealed(path, b"kind 1\n") == b"content"
    assert read_sealed(path, b"kind 2\n") is None
    assert read_sealed(tmp_path / "none", b"kind 1\n") is None
    path.write_bytes(path.read_bytes()[:-1])
    assert read_sealed(path, b"kind 1\n") is None


# --- packages that may be missing


def test_the_table_of_extras_is_that_of_the_packaging(monkeypatch):
    setup = configparser.ConfigParser()
    setup.read(pathlib.Path(__file__).parents[1] / "setup.cfg")
    for module, (package, extra) in EXTRAS.items():
        listed = re.findall(r"^[\w-]+", setup["options.extras_require"][extra], re.MULTILINE)
        assert package in listed, module
        require("a test", module)
    for module in ("sklearn", "pandas"):
        monkeypatch.setitem(sys.modules, module, None)
    message = (
        r"^scikit-learn and pandas are not installed, which a test needs; type: pip install "
        r"'bert_tf\[train,tables\]'\.$"
    )
    with pytest.raises(BertError, match=message):
        require("a test", "scipy", "sklearn", "pandas")
    with pytest.raises(BertError, match="scikit-learn is not installed"), importing("a test"):
        from sklearn import metrics  # noqa: F401
    with pytest.raises(BertError, match="No module named 'nothing_lik"), importing("a test"):
        import nothing_like_it  # noqa: F401


# --- JSON


@pytest.mark.parametrize(
    "raw", [b'{"a": "\xc3\xa9"}', b'\xef\xbb\xbf{"a": "\xc3\xa9"}', '{"a": "é"}'.encode("utf-16")]
)
def test_an_object_in_each_marked_encoding(raw, tmp_path):
    (tmp_path / "a.json").write_bytes(raw)
    assert read_object(tmp_path / "a.json") == {"a": "é"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"the notes .*a\.json is not valid JSON: "),
        (b'{"a": 1', r"is not valid JSON: "),
        (b'{"a": \xff}', r"is not valid JSON: "),
        (b'{"a": ' + b"[" * 100_000, r"is not valid JSON: it is nested too deeply\."),
        (b'{"a": ' + b"9" * 5000 + b"}", r"is not valid JSON: "),
        (b"[1]", r"is \[1\], not a JSON object"),
    ],
)
def test_what_is_no_object_is_told(raw, message, tmp_path):
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(BertError, match=message):
        read_object(tmp_path / "a.json", "the notes")


def test_a_file_that_is_missing_or_of_another_size(tmp_path, monkeypatch):
    with pytest.raises(BertError, match=r"^cannot read the notes .*none: No such file"):
        read_object(tmp_path / "none", "the notes")
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    (tmp_path / "a.json").write_text('{"a": "0123456789"}')
    with pytest.raises(BertError, match="it is another kind of file"):
        read_object(tmp_path / "a.json")


def test_deep_nesting_is_a_fault_like_others():
    assert parse_json("[[1]]") == [[1]]
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


# --- locks

HOLDER = """
import sys, time
from bert_tf.files.locks import lock
from bert_tf.files.log import reported_to
with lock(sys.argv[1], lambda: None):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_holder_frees_the_lock(tmp_path, fresh_env):
    path = str(tmp_path / "lock")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, env=fresh_env, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"

        def refuse():
            raise BertError("held")

        with pytest.raises(BertError, match="held"), lock(path, refuse):
            raise AssertionError("two hold it")
        killer = threading.Timer(0.5, holder.send_signal, [signal.SIGKILL])
        waited = []
        with lock(path, lambda: waited.append(killer.start())):
            assert waited == [None]
            assert holder.wait(30) == -signal.SIGKILL
    finally:
        holder.kill()
        holder.communicate()
    assert os.listdir(tmp_path) == []


# --- growing files


def test_a_disk_that_fills_loses_nothing(tmp_path):
    """Of ten chunks of a kilobyte five fit; the rest comes when there is room again."""
    path = tmp_path / "out.txt"
    chunks = [bytes([65 + n]) * 1023 + b"\n" for n in range(10)]

    def write():
        with growing_file(path, {"a": 1}) as file:
            begun = file.extent.rows
            for number, chunk in enumerate(chunks[begun:], begun + 1):
                file.append(chunk, Extent(rows=number))
            file.finish(b"", file.extent)
            return begun

    with limited_files(5500), pytest.raises(BertError, match=r"^cannot write .*out\.txt: "):
        write()
    assert sorted(os.listdir(tmp_path)) == ["out.txt.part", "out.txt.part.json"]
    assert write() <= 5
    assert path.read_bytes() == b"".join(chunks)
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_pipe_cannot_grow():
    with pytest.raises(BertError, match="is no file"), growing_file(os.devnull, {}):
        pass


# --- bars


@pytest.mark.parametrize(("asked", "terminal"), [(True, True), (True, False), (False, True)])
def test_a_bar_is_shown_where_somebody_sees_it(asked, terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with progress.Progress(asked, "reading", unit="rows") as bar:
        assert bar.shown == asked
        bar.start(4, 1)
        bar.add(1)
        bar.reach(4)
        bar.label("written")
        bar.note("at last")
    shown = capsys.readouterr().err
    assert ("4/4" in shown) == ("written" in shown) == ("at last" in shown) == (asked and terminal)


def test_a_byte_order_mark_in_json_is_no_error():
    assert parse_json("\ufeff{}") == parse_json(b"\xef\xbb\xbf{}") == {}


def test_off_a_terminal_progress_is_lines_of_the_log(monkeypatch):
    """A second's lines with elapsed and remaining time, and a rate; none of a job that is short."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.2)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    lines = []
    with reported_to(lines.append):
        with progress.Progress(True, "reading", unit="rows") as bar:
            bar.start(100, 40)
            for _ in range(50):
                time.sleep(0.01)
                bar.add(1)
        with progress.Progress(True) as bar:
            bar.start(10)
            bar.add(10)
    assert len(lines) >= 2
    pattern = r"reading: (\d+) of 100 rows, 00:\d\d elapsed, 00:\d\d left, \d+\.\d+ rows/s"
    counts = [int(re.fullmatch(pattern, line)[1]) for line in lines]
    assert counts == sorted(counts)
    assert counts[-1] == 90
    assert sys.stderr.getvalue() == ""


def test_in_a_notebook_progress_is_the_notebooks_bar(monkeypatch):
    bars = []
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    auto = types.ModuleType("tqdm.auto")
    auto.tqdm = lambda **options: bars.append(tqdm.tqdm(**{**options, "disable": True})) or bars[0]
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    with progress.Progress(True, unit="rows") as bar:
        bar.start(3)
    assert len(bars) == 1
    assert bars[0].total == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_file_that_only_we_name_is_never_written_through_a_link(tmp_path):
    """Another user of the folder can put a link or a pipe there, where a write would hang."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "victim").write_text("precious")
    note = tmp_path / "note.json"
    for name in ("pipe", "victim"):
        (tmp_path / "link").symlink_to(tmp_path / name)
        os.replace(tmp_path / "link", note)
        whole.write_json(note, {"a": name}, ours=True)
        assert not note.is_symlink()
        assert read_object(note) == {"a": name}
    os.unlink(note)
    os.mkfifo(note)
    whole.write_sealed(note, b"magic", b"content")
    assert read_sealed(note, b"magic") == b"content"
    assert (tmp_path / "victim").read_text() == "precious"


def test_results_do_not_grow_through_a_link(tmp_path):
    (tmp_path / "out.part").symlink_to(tmp_path / "victim")
    with pytest.raises(BertError, match="cannot write"), growing_file(tmp_path / "out", {"a": 1}):
        pass
    assert not (tmp_path / "victim").exists()
