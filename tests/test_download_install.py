"""What was downloaded becomes a checkpoint: whole, safe and the same as ever, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import TINY, Loopback, home_fixture, loopback_fixture, names, pack, release_files  # noqa: F401
from processes import heed_ctrl_c

from bert_tf.checkpoint import lock
from bert_tf.errors import BertError
from bert_tf.hub import partial
from bert_tf.hub.download import download

ENDED = [TINY, f"{TINY}.download.json"]
FILES = ["bert_config.json", "bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index"]
FILES += ["vocab.txt"]


def test_an_archive_without_a_folder(loopback: Loopback, home: Path) -> None:
    """As Google packed the small ones; the junk of a Mac stays out."""
    loopback.body = pack({**release_files(), "__MACOSX/._vocab.txt": b"x", ".DS_Store": b"x"})
    assert names(Path(download("tiny", progress=False))) == FILES
    assert names(home) == ENDED


def test_the_folder_is_named_by_the_table(loopback: Loopback, home: Path) -> None:
    """Casing is read from the name; the archive's own may say anything."""
    loopback.body = pack({**release_files("whatever/"), "other/readme.txt": b"x"})
    assert names(Path(download("tiny", progress=False))) == FILES


def link(name: str, target: bytes) -> bytes:
    """A release with a symbolic link in it."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return pack({**release_files(), info: target})  # type: ignore[dict-item]


def lying(size: int) -> bytes:
    """A release with a member that claims fewer bytes than it has."""
    body = pack({**release_files(), "zeros.txt": bytes(size)})
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = body.rindex(signature) + offset
        assert struct.unpack_from("<I", body, place)[0] == size
        body = body[:place] + struct.pack("<I", 10) + body[place + 4 :]
    return body


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pack({**release_files(), "../evil.txt": b"x"}), r"not safe: '../evil.txt'"),
        (lambda: pack({**release_files(), "a/../../evil.txt": b"x"}), r"not safe.*outside"),
        (lambda: pack({**release_files(), "/evil.txt": b"x"}), r"not safe: '/evil.txt'"),
        (lambda: pack({**release_files(), "C:/evil.txt": b"x"}), r"not safe: 'C:/evil.txt'"),
        (lambda: link("evil.txt", b"/etc/passwd"), r"not safe: 'evil.txt' is a link"),
        (lambda: pack({**release_files(), "0.txt": bytes(150 << 20)}), r"not safe.*158 MB unpack"),
        (lambda: pack({f"{i}.index": b"" for i in range(1001)}), r"not safe.*1,001 files"),
        (lambda: lying(1 << 20), r"damaged"),
        (lambda: pack({**release_files(), "vocab.txt/a.txt": b"x"}), r"two files of one path"),
        (lambda: pack({"readme.txt": b"x"}), r"holds no checkpoint.*It has readme.txt"),
        (
            lambda: pack({k: v for k, v in release_files().items() if k != "vocab.txt"}),
            r"vocab.txt is missing",
        ),
        (lambda: b"PK\x03\x04 and no more", r"is damaged \(File is not a zip file\)"),
        (lambda: pack(release_files())[:-200], r"is damaged"),
    ],
)
def test_archives_that_are_refused(loopback, home, make, words) -> None:
    loopback.body = make()
    with pytest.raises(BertError, match=words) as error:
        download("tiny", progress=False)
    assert f".{TINY}" not in str(error.value)  # no hidden file of ours
    assert loopback.url in str(error.value)
    assert names(home) == []
    assert not list(home.parent.rglob("evil.txt"))


@pytest.mark.parametrize("how", ["flagged", "local"])
def test_a_name_that_is_no_utf8(loopback: Loopback, home: Path, how: str) -> None:
    """It raised UnicodeDecodeError, as did each later download at what this one left."""
    good, bad = loopback.body, pack({**release_files(), "vöcab.txt": b"x"})
    place = (bad.rindex if how == "flagged" else bad.index)("vöcab".encode())
    loopback.body = bad[:place] + b"v\xff\xfe" + bad[place + 3 :]
    for _ in range(2):
        with pytest.raises(BertError, match=rf"the archive {loopback.url}.*is damaged"):
            download("tiny", progress=False)
        assert names(home) == []
    loopback.body = good
    download("tiny", progress=False)
    assert names(home) == ENDED


def test_a_name_that_is_too_long(loopback: Loopback, home: Path) -> None:
    loopback.body = pack({**release_files(), f"{'a' * 300}.txt": b"x"})
    with pytest.raises(BertError, match="File name too long"):
        download("tiny", progress=False)
    assert names(home) == []


@pytest.mark.parametrize("folder", ["a/b/", "a/b/c/d/e/"])
def test_an_archive_of_folders_in_folders(loopback: Loopback, home: Path, folder: str) -> None:
    loopback.body = pack(release_files(folder))
    assert names(Path(download("tiny", progress=False))) == FILES
    assert names(home) == ENDED


def test_a_flipped_bit(loopback: Loopback, home: Path) -> None:
    place = loopback.body.index(b"bert_model.ckpt.data") + 5000
    loopback.body = loopback.body[:place] + b"\x55\xaa" + loopback.body[place + 2 :]
    with pytest.raises(BertError, match=r"damaged.*CRC.*ownload it again"):
        download("tiny", progress=False)
    assert names(home) == []


def test_a_later_download_must_be_the_same(loopback: Loopback, home: Path) -> None:
    path = Path(download("tiny", progress=False))
    download("tiny", progress=False, force=True)
    loopback.body = pack(release_files())  # packed in another way: other bytes
    shutil.rmtree(path)
    record = home / f"{TINY}.download.json"
    with pytest.raises(BertError, match=rf"not what came before.*\({record}\).*delete that file"):
        download("tiny", progress=False)
    assert names(home) == [record.name]
    with pytest.raises(BertError, match=r"not what came before"):  # into another folder likewise
        download("tiny", progress=False, folder=home.parent / "elsewhere")
    record.unlink()
    download("tiny", progress=False)
    assert names(home) == ENDED


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"sha256": 1}'])
def test_a_broken_record_is_written_anew(loopback, home, content) -> None:
    home.mkdir()
    record = home / f"{TINY}.download.json"
    record.write_text(content)
    download("tiny", progress=False)
    assert len(record.read_text()) > 100


def test_force_replaces_what_is_there(loopback: Loopback, home: Path) -> None:
    path = Path(download("tiny", progress=False))
    (path / "vocab.txt").write_text("changed")
    download("tiny", progress=False)
    assert (path / "vocab.txt").read_text() == "changed"
    download("tiny", progress=False, force=True)
    assert (path / "vocab.txt").read_bytes() == release_files()["vocab.txt"]
    assert names(home) == ENDED


def test_a_users_own_files_are_never_replaced(loopback: Loopback, home: Path) -> None:
    path = Path(download("tiny", progress=False))
    (path / "model.ckpt-1000.index").write_text("mine")
    for force in (True, False):
        if not force:
            (path / "bert_model.ckpt.index").unlink()
            (path / "model.ckpt-1000.index").rename(path / "notes.md")
        with pytest.raises(BertError, match=r"holds what no download put there.*Move it away"):
            download("tiny", progress=False, force=force)
    assert "notes.md" in names(path)
    assert len(loopback.asked) == 1


def test_half_a_folder_is_made_whole(loopback: Loopback, home: Path) -> None:
    (home / TINY).mkdir(parents=True)
    (home / TINY / "vocab.txt").write_text("x")
    assert names(Path(download("tiny", progress=False))) == FILES


def test_a_linked_folder_keeps_its_files(loopback: Loopback, home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.move(download("tiny", progress=False, folder=tmp_path), other)
    home.mkdir()
    (home / TINY).symlink_to(other)
    assert download("tiny") == str(home / TINY)
    download("tiny", progress=False, force=True)
    assert not (home / TINY).is_symlink()
    assert names(other) == FILES


def test_a_replacing_that_failed_brings_the_old_one_back(loopback, home, monkeypatch) -> None:
    path = Path(download("tiny", progress=False))
    (path / "vocab.txt").write_text("old")
    rename = os.rename

    def fail_to_place(source, target):
        if str(source).startswith(str(home / f".{TINY}.unpacking")):
            raise PermissionError(13, "Permission denied", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_to_place)
    with pytest.raises(BertError, match=r"cannot write to .*Permission denied.*BERT_TF_HOME"):
        download("tiny", progress=False, force=True)
    assert (path / "vocab.txt").read_text() == "old"
    monkeypatch.undo()
    rename(path, home / f".{TINY}.replaced")  # as a crash between the two renamings leaves it
    assert download("tiny", progress=False, folder=home) == str(path)
    assert (path / "vocab.txt").read_text() == "old"


def test_a_folder_that_cannot_be(loopback: Loopback, home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(BertError, match=r"cannot write to .*home.*BERT_TF_HOME"):
        download("tiny", progress=False)
    assert loopback.asked == []


LIMITED = """
import resource, sys
from bert_tf.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(["download", "tiny", "--to", sys.argv[2]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("when", ["downloading", "unpacking"])
def test_a_full_disk(loopback, home, run_python, when) -> None:
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    if when == "unpacking":
        loopback.body = pack({**release_files(), "zeros.txt": bytes(1_500_000)})
    whole = len(loopback.body)
    limit = 500_000 if when == "downloading" else whole + 1000
    env = {"BERT_TF_URL": loopback.url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    result = run_python("-c", LIMITED, limit, home, **env)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("bert_tf: error: the disk is full: no more can be written to ")
    assert "kept" in result.stderr
    assert names(home) == [f".{TINY}.zip.part", f".{TINY}.zip.part.json"]
    download("tiny", progress=False)
    assert loopback.asked[1:] == (["bytes=500000-"] if when == "downloading" else [])
    assert loopback.sent >= whole
    assert names(home) == ENDED


def test_no_room_to_unpack_keeps_the_download(loopback, home, monkeypatch) -> None:
    monkeypatch.setattr("bert_tf.hub.fetch._check_size", lambda *_: None)
    free = SimpleNamespace(free=10**5)
    monkeypatch.setattr("bert_tf.hub.archive.shutil.disk_usage", lambda _: free)
    with pytest.raises(BertError, match=rf"needs 1 MB unpacked, and {home} has 0 MB.*BERT_TF_HOME"):
        download("tiny", progress=False)
    assert names(home) == [f".{TINY}.zip.part", f".{TINY}.zip.part.json"]
    monkeypatch.undo()
    download("tiny", progress=False, folder=home, url=loopback.url)
    assert len(loopback.asked) == 1


@pytest.fixture
def start(fresh_env, home, loopback):
    """Starts the command in a process of its own."""
    env = {**fresh_env, "BERT_TF_URL": loopback.url, "NO_PROXY": "127.0.0.1"}
    started = []

    def start_it():
        command = [sys.executable, "-m", "bert_tf", "download", "tiny", "--to", str(home)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            encoding="utf-8",
            preexec_fn=heed_ctrl_c,
        )
        started.append(process)
        return process

    yield start_it
    for process in started:
        process.kill()
        process.communicate()


def wait_for(home: Path) -> None:
    """Until some of the file is there."""
    for _ in range(3000):
        if partial.size(str(home / f".{TINY}.zip.part")) > 100_000:
            return
        time.sleep(0.01)
    raise AssertionError("nothing has come")


def test_two_at_once(loopback: Loopback, home: Path, start) -> None:
    loopback.pause = 0.1
    first = start()
    wait_for(home)
    second = start()
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert {out for out, _ in outputs} == {f"{home / TINY}\n"}
    assert loopback.asked == [None]
    assert loopback.sent == len(loopback.body)
    assert names(home) == ENDED


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle(loopback: Loopback, home: Path, start, how: int) -> None:
    loopback.pause = 0.1
    process = start()
    wait_for(home)
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert error == "bert_tf: stopped; the same command resumes there.\n\n"
        assert names(home) == [f".{TINY}.zip.part", f".{TINY}.zip.part.json"]
    else:
        assert f".{TINY}.lock" in names(home)  # a file that nobody holds any more
    kept = (home / f".{TINY}.zip.part").stat().st_size
    loopback.pause = 0
    download("tiny", progress=False)
    assert loopback.asked == [None, f"bytes={kept}-"]
    assert names(home) == ENDED


def test_what_a_killed_process_left_half_unpacked(loopback: Loopback, home: Path) -> None:
    (home / f".{TINY}.unpacking" / "x").mkdir(parents=True)
    download("tiny", progress=False)
    assert names(home) == ENDED


def test_the_lock(tmp_path: Path) -> None:
    """Ten threads, one at a time; an error frees it; the file is gone at the end."""
    inside, most, waited = [], [], []

    def work() -> None:
        with lock.lock(str(tmp_path / "lock"), lambda: waited.append(1)):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 10
    assert waited
    with pytest.raises(KeyError), lock.lock(str(tmp_path / "lock"), waited.clear):
        raise KeyError
    with lock.lock(str(tmp_path / "lock"), waited.clear):
        assert waited
    assert names(tmp_path) == []


def test_a_drive_that_knows_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.lock(str(tmp_path / "lock"), lambda: None):
        pass
