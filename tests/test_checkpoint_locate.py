"""Every path that a user may have leads to the checkpoint, or to words that help."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from bert_tf.checkpoint import CheckpointReader, write_checkpoint
from bert_tf.checkpoint.table import write_table
from bert_tf.errors import BertError
from bert_tf.hub import archive
from bert_tf.hub.locate import locate

GOLDEN = Path(__file__).parent / "golden" / "tiny_ckpt"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 714\n"
DATA = "bert_model.ckpt.data-00000-of-00001"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder as Google ships it, named as one."""
    folder = tmp_path / "multi_cased_L-2_H-32_A-2"
    shutil.copytree(GOLDEN, folder)
    return folder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A folder as training leaves it: three checkpoints, none the newest by every measure."""
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(GOLDEN / "bert_config.json", folder)
    shutil.copy(GOLDEN / "vocab.txt", folder)
    for age, step in enumerate((1000, 900, 200)):
        write_checkpoint(folder / f"model.ckpt-{step}", {"w": np.full(1, step, np.float32)})
        os.utime(folder / f"model.ckpt-{step}.index", (1e9 + age, 1e9 + age))
    return folder


@pytest.mark.parametrize(
    "given",
    ["", "bert_model.ckpt", "bert_model.ckpt.index", DATA, "bert_model.ckpt.meta"],
)
def test_paths_into_a_release(release: Path, given: str) -> None:
    with locate(release / given) as files:
        assert files.prefix == str(release / "bert_model.ckpt")
        assert files.config_path == str(release / "bert_config.json")
        assert files.vocab_path == str(release / "vocab.txt")
        assert files.step is None
        assert files.display_name == "multi_cased_L-2_H-32_A-2"
        assert files.warnings == ()
    assert release.is_dir()


def test_relative_path(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(release)
    for given in (".", "bert_model.ckpt", "./bert_model.ckpt.index"):
        files = locate(given)
        assert files.display_name == "multi_cased_L-2_H-32_A-2"
        with CheckpointReader(files.prefix) as reader:
            assert len(reader.tensors) == 187


def test_highest_step_without_a_state_file(training: Path) -> None:
    files = locate(training)
    assert files.step == 1000
    assert files.prefix == str(training / "model.ckpt-1000")
    assert "Of 3 checkpoints" in files.warnings[0]
    assert "model.ckpt-200, model.ckpt-900" in files.warnings[0]
    assert locate(training / "model.ckpt-200").step == 200


@pytest.mark.parametrize(
    "noted", ["model.ckpt-900", "/home/x/out/model.ckpt-900", "gs://b/model.ckpt-900"]
)
def test_state_file_decides(training: Path, noted: str) -> None:
    (training / "checkpoint").write_text(
        f'model_checkpoint_path: "{noted}"\nall_model_checkpoint_paths: "model.ckpt-1000"\n'
    )
    for given in (training, training / "checkpoint"):
        files = locate(given)
        assert files.step == 900
        assert files.warnings == ()


def test_state_file_names_what_is_gone(training: Path) -> None:
    (training / "checkpoint").write_text('model_checkpoint_path: "/old/model.ckpt-5000"\n')
    files = locate(training)
    assert files.step == 1000
    assert "names model.ckpt-5000, which is not there" in files.warnings[0]


def test_newest_by_time_without_steps(tmp_path: Path, release: Path) -> None:
    write_checkpoint(release / "other.ckpt", {"w": np.ones(1, np.float32)})
    os.utime(release / "other.ckpt.index", (1e9, 1e9))
    assert locate(release).prefix.endswith("bert_model.ckpt")
    os.utime(release / "bert_model.ckpt.index", (9e8, 9e8))
    assert locate(release).prefix.endswith("other.ckpt")


def test_one_level_down(release: Path) -> None:
    assert locate(release.parent).prefix == str(release / "bert_model.ckpt")
    shutil.copytree(release, release.parent / "second")
    with pytest.raises(BertError, match=r"several .*multi_cased_L-2_H-32_A-2, second"):
        locate(release.parent)


def test_config_and_vocab_elsewhere(release: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("bert_config.json", "vocab.txt"):
        shutil.move(release / name, elsewhere / name)
    with pytest.raises(BertError, match=rf"bert_config.json is missing.*{release}.*`config`"):
        locate(release)
    with pytest.raises(BertError, match=rf"vocab.txt is missing.*{release}.*`vocab`"):
        locate(release, config_path=elsewhere / "bert_config.json")
    with pytest.raises(BertError, match=r"no vocab.txt at .*vocab.tx\. Did you mean .*vocab.txt\?"):
        locate(release, config_path=elsewhere, vocab_path=elsewhere / "vocab.tx")
    files = locate(release, elsewhere / "bert_config.json", elsewhere / "vocab.txt")
    assert files.config_path == str(elsewhere / "bert_config.json")
    assert locate(release, elsewhere, elsewhere).vocab_path == str(elsewhere / "vocab.txt")
    files = locate(release, need_config=False, need_vocab=False)
    assert (files.config_path, files.vocab_path) == (None, None)


def test_config_of_another_name(release: Path) -> None:
    (release / "bert_config.json").rename(release / "bert_config_uncased.json")
    (release / "vocab.txt").rename(release / "vocab_ru.txt")
    files = locate(release)
    assert files.config_path == str(release / "bert_config_uncased.json")
    assert files.vocab_path == str(release / "vocab_ru.txt")
    shutil.copy(release / "vocab_ru.txt", release / "vocab_en.txt")
    with pytest.raises(BertError, match=r"several .*vocab_en.txt, vocab_ru.txt.*`vocab`"):
        locate(release)


def test_hugging_face_config_is_not_taken(release: Path) -> None:
    (release / "bert_config.json").rename(release / "config.json")
    with pytest.raises(
        BertError,
        match=r"bert_config.json is missing.*config.json there is Hugging Face.*gelu_exact",
    ):
        locate(release)


def pack(path: Path, members: dict[str, Path | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


@pytest.mark.parametrize("folder", ["multi_cased_L-12_H-768_A-12/", ""])
def test_zip(tmp_path: Path, folder: str) -> None:
    """As Google ships it, with a folder inside; the junk of a Mac does no harm."""
    members: dict[str, Path | bytes] = {folder + p.name: p for p in GOLDEN.iterdir()}
    members["__MACOSX/._bert_model.ckpt.index"] = b"junk"
    members[folder + "._vocab.txt"] = b"junk"
    path = pack(tmp_path / "multi_cased_L-12_H-768_A-12.zip", members)
    with locate(path) as files:
        unpacked = Path(files.prefix).parent
        assert files.display_name == "multi_cased_L-12_H-768_A-12"
        assert sorted(p.name for p in unpacked.iterdir()) == [
            "bert_config.json",
            DATA,
            "bert_model.ckpt.index",
            "vocab.txt",
        ]
        with CheckpointReader(files.prefix) as reader:
            assert len(reader.tensors) == 187
    assert not unpacked.exists()
    assert path.exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:\\evil.txt"])
def test_zip_that_reaches_outside(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "x.zip", {"a/x.index": b"", name: b"bad"})
    with pytest.raises(BertError, match=r"not safe.*evil.txt.*Nothing was unpacked"):
        locate(path)
    assert not list(tmp_path.rglob("evil.txt"))


def test_zip_with_a_link(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("x.index")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    with pytest.raises(BertError, match=r"not safe.*is a link"):
        locate(path)


def test_zip_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BertError, match=r"no checkpoint.*It has a.csv"):
        locate(pack(tmp_path / "other.zip", {"a.csv": b"1"}))
    missing = pack(tmp_path / "part.zip", {f"r/{p.name}": p for p in GOLDEN.glob("bert_*")})
    with pytest.raises(BertError, match=rf"vocab.txt is missing.* in {missing}/r\. .*`vocab`"):
        locate(missing)
    whole = pack(tmp_path / "whole.zip", {p.name: p for p in GOLDEN.iterdir()})
    raw = bytearray(whole.read_bytes())
    raw[len(raw) // 3] ^= 1
    (tmp_path / "flipped.zip").write_bytes(raw)
    with pytest.raises(BertError, match=r"flipped.zip is damaged.*download it again"):
        locate(tmp_path / "flipped.zip")
    (tmp_path / "cut.zip").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BertError, match=r"cut.zip is damaged"):
        locate(tmp_path / "cut.zip")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage(10**6, 0, 10**5))
    with pytest.raises(BertError, match=r"needs 1 MB unpacked.*0 MB left.*TMPDIR"):
        locate(whole)


def test_encrypted_zip(tmp_path: Path) -> None:
    """Bit 0 of the flags, 6 bytes into a local header and 8 into a central one, means encrypted."""
    raw = bytearray(pack(tmp_path / "x.zip", {"x.index": b"abc"}).read_bytes())
    raw[raw.index(b"PK\x03\x04") + 6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(raw)
    with pytest.raises(BertError, match=r"cannot be unpacked.*encrypted"):
        locate(tmp_path / "x.zip")


def test_index_without_data(release: Path) -> None:
    (release / DATA).unlink()
    for given in (release, release / "bert_model.ckpt", release / "bert_model.ckpt.index"):
        with pytest.raises(BertError, match=rf"weights are missing.*no {DATA}"):
            locate(given)


def test_data_without_index(release: Path) -> None:
    (release / "bert_model.ckpt.index").unlink()
    for given in (release, release / "bert_model.ckpt", release / DATA):
        with pytest.raises(BertError, match=rf"bert_model.ckpt.index is missing.*only {DATA}"):
            locate(given)


@pytest.mark.parametrize("name", ["bert_model.ckpt.index", DATA, "vocab.txt", "bert_config.json"])
def test_lfs_pointer(release: Path, name: str) -> None:
    (release / name).write_bytes(LFS)
    with pytest.raises(BertError, match=rf"{name} is a Git-LFS pointer.*git lfs pull"):
        locate(release)


def test_empty_or_wrong_index(release: Path) -> None:
    (release / "bert_model.ckpt.index").write_bytes(b"")
    with pytest.raises(BertError, match=r"index is empty"):
        locate(release)
    (release / "bert_model.ckpt.index").write_bytes(b"<!DOCTYPE html>\n<html>")
    with pytest.raises(BertError, match=r"index is a web page.*Download it again"):
        locate(release)


def write_v1(path: Path) -> None:
    """V1 keeps everything in one table, under the empty key a message of slices."""
    with open(path, "wb") as file:
        write_table(file, [(b"", b"\x0a\x02\x08\x01"), (b"\x00w", b"data")])


def test_foreign_files(tmp_path: Path) -> None:
    safetensors = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    files = {
        "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        "model.bin": (b"\x80\x02cpickle", "PyTorch.*convert_bert_pytorch"),
        "weights": (struct.pack("<Q", len(safetensors)) + safetensors + bytes(4), "safetensors"),
        "flax_model.msgpack": (b"\x81", "Flax"),
        "release.tar.gz": (b"\x1f\x8b\x08rest", "archive.*Unpack it"),
        "page.zip": (b"<html><body>Sign in", "web page"),
        "pointer.zip": (LFS, "git lfs pull"),
        "notes.txt": (b"hello", "not a file of a checkpoint.*Pass the folder"),
        "frozen.pb": (b"\x0a\x05", "SavedModel"),
    }
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BertError, match=rf"(?i){name}.*{words}"):
            locate(tmp_path / name)
    write_v1(tmp_path / "model.ckpt")
    with pytest.raises(BertError, match=r"model.ckpt is a checkpoint of .*V1.*Saver"):
        locate(tmp_path / "model.ckpt")
    for name, member, words in (
        ("a.keras", "model.weights.h5", "Keras file.*load_model"),
        ("pytorch_model.bin", "archive/data.pkl", "PyTorch"),
    ):
        pack(tmp_path / name, {member: b"", "config.json": b"{}"})
        with pytest.raises(BertError, match=words):
            locate(tmp_path / name)


def test_foreign_folders(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    (saved / "variables").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"\x08\x01")
    write_checkpoint(saved / "variables" / "variables", {"w": np.ones(1, np.float32)})
    for given in (saved, saved / "variables"):
        with pytest.raises(BertError, match=r"is a TensorFlow SavedModel"):
            locate(given)
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "pytorch_model.bin").write_bytes(b"\x80\x02")
    (hub / "config.json").write_text("{}")
    with pytest.raises(
        BertError, match=r"hub holds pytorch_model.bin, which holds PyTorch weights"
    ):
        locate(hub)
    old = tmp_path / "old"
    old.mkdir()
    write_v1(old / "model.ckpt")
    with pytest.raises(BertError, match=r"old holds model.ckpt, which is a checkpoint of .*V1"):
        locate(old)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BertError, match=r"no checkpoint in the folder .*nothing in it"):
        locate(empty)


def test_path_that_does_not_exist(release: Path) -> None:
    with pytest.raises(BertError, match=r"no checkpoint at .*Did you mean .*/bert_model.ckpt\b"):
        locate(release / "bert_modle.ckpt")
    with pytest.raises(BertError, match=r"Did you mean .*multi_cased_L-2_H-32_A-2\?"):
        locate(release.parent / "multi_cased_L-2_H-32_A2")
    with pytest.raises(BertError, match=r"The folder .* has "):
        locate(release / "zzzz" / "yyyy")


@pytest.mark.parametrize("path", ["", "gs://bucket/bert_model.ckpt", "https://host/a.zip"])
def test_no_path_of_this_machine(path: str) -> None:
    with pytest.raises(BertError, match=r"no path on this machine"):
        locate(path)


def test_broken_link(release: Path) -> None:
    (release / DATA).rename(release / "elsewhere")
    (release / DATA).symlink_to(release / "gone")
    with pytest.raises(BertError, match=rf"cannot read .*{DATA}: No such file"):
        locate(release)
