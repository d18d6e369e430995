"""The writer, judged by TensorFlow's reader and by what a failure leaves behind."""

from __future__ import annotations

import filecmp
import itertools
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bert_tf.checkpoint import (
    CheckpointReader,
    CheckpointWriter,
    write_checkpoint,
    write_release,
)
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.export.convert import convert_checkpoint
from bert_tf.hub.locate import locate

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

GOLDEN = Path(__file__).parent / "golden" / "tiny_ckpt" / "bert_model.ckpt"
CONFIG = BertConfig(vocab_size=3, hidden_size=4, num_attention_heads=2, num_hidden_layers=1)


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "b/float32": rng.standard_normal((300, 1001), dtype=np.float32),
        "b/float16": rng.standard_normal((5, 3)).astype(np.float16),
        "b/bfloat16": rng.standard_normal((5, 3)).astype(ml_dtypes.bfloat16),
        "a/nan": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        "bool": np.array([True, False, True]),
        "global_step": np.array(2**40, np.int64),
        "zero_size": np.zeros((0, 4), np.float32),
        "strided": np.arange(60, dtype=np.float32).reshape(5, 12)[::2, ::-3],
        "transposed": np.arange(12, dtype=np.int32).reshape(3, 4).T,
        "big_endian": np.arange(4).astype(">f4"),
    }


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("num_shards", [1, 3, 20])
@pytest.mark.parametrize("stream", [False, True])
def test_tensorflow_reads_it(tmp_path: Path, num_shards: int, stream: bool) -> None:
    source = tensors()
    given = iter(source.items()) if stream else source
    write_checkpoint(tmp_path / "x.ckpt", given, num_shards)
    assert len(list(tmp_path.iterdir())) == num_shards + 1
    prefix = str(tmp_path / "x.ckpt")
    listed = dict(tf.train.list_variables(prefix))
    assert listed == {name: list(value.shape) for name, value in source.items()}
    judge = tf.train.load_checkpoint(prefix)
    for name, value in source.items():
        found = np.asarray(judge.get_tensor(name))
        assert found.dtype == value.dtype.newbyteorder("=")
        assert found.tobytes() == value.astype(found.dtype).tobytes(), name


def test_same_bytes_as_tensorflow(tmp_path: Path) -> None:
    """Index and data of the golden checkpoint, which TensorFlow wrote."""
    with CheckpointReader(GOLDEN) as reader:
        write_checkpoint(tmp_path / "x.ckpt", {name: reader.read(name) for name in reader.tensors})
    for ending in (".index", ".data-00000-of-00001"):
        assert filecmp.cmp(f"{GOLDEN}{ending}", tmp_path / f"x.ckpt{ending}", shallow=False)


def test_saver_restores_it(tmp_path: Path) -> None:
    """The way Google's code loads: graph variables by name, through `Saver`."""
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_checkpoint(tmp_path / "x.ckpt", {"bert/w": value, "global_step": np.array(7)})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        with tf.compat.v1.variable_scope("bert"):
            variable = tf.compat.v1.get_variable("w", (2, 3), use_resource=False)
        step = tf.compat.v1.get_variable("global_step", (), tf.int64, use_resource=False)
        tf.compat.v1.train.Saver().restore(session, str(tmp_path / "x.ckpt"))
        assert np.array_equal(session.run(variable), value)
        assert session.run(step) == 7


def test_writing_over_what_is_read(tmp_path: Path) -> None:
    for path in GOLDEN.parent.glob("bert_model.ckpt.[di]*"):
        shutil.copy(path, tmp_path)
    prefix = tmp_path / GOLDEN.name
    with CheckpointReader(prefix) as reader:
        expected = {name: reader.read(name).copy() for name in reader.tensors}
        write_checkpoint(prefix, ((name, reader.read(name)) for name in reader.tensors), 2)
        for name, value in expected.items():
            assert np.array_equal(reader.read(name), value)  # the old file, still held
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bert_model.ckpt.data-00000-of-00002",
        "bert_model.ckpt.data-00001-of-00002",
        "bert_model.ckpt.index",
    ]
    judge = tf.train.load_checkpoint(str(prefix))
    for name, value in expected.items():
        assert np.array_equal(judge.get_tensor(name), value)


def test_full_disk_leaves_all_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that fills up."""
    write_checkpoint(tmp_path / "x.ckpt", {"w": np.ones(5, np.float32)})
    before = listing(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        with pytest.raises(BertError, match=r"disk is full.*nothing of it is left"):
            write_checkpoint(tmp_path / "x.ckpt", {"w": np.ones(1_000_000, np.float32)})
        with pytest.raises(BertError, match=r"disk is full"):
            write_release(
                tmp_path / "new" / "deeper", CONFIG, b"a\n", {"w": np.ones((900, 900), np.float32)}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert listing(tmp_path) == before


def test_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[str, np.ndarray]]:
        yield "a", np.ones(3, np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path / "x.ckpt", failing())
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([("a", np.ones(1)), ("a", np.ones(1))], "'a' is to be written twice"),
        ([("", np.ones(1))], "cannot be the name"),
        ([("\0a", np.ones(1))], "cannot be the name"),
        ([("a", np.array(["text"]))], "'a' is of type <U4"),
        ([("a", np.array([None]))], "'a' is of type object"),
    ],
)
def test_tensors_that_cannot_be_written(
    tmp_path: Path, given: list[tuple[str, np.ndarray]], words: str
) -> None:
    with pytest.raises(BertError, match=words):
        write_checkpoint(tmp_path / "x.ckpt", given)
    assert listing(tmp_path) == {}


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BertError, match=r"no folder .*missing"):
        write_checkpoint(tmp_path / "missing" / "x.ckpt", {})
    with pytest.raises(BertError, match=r"names no checkpoint"):
        write_checkpoint(f"{tmp_path}/", {})
    with pytest.raises(BertError, match=r"num_shards is 0"):
        write_checkpoint(tmp_path / "x.ckpt", {}, num_shards=0)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BertError, match=r"is a file"):
        write_release(tmp_path / "file", CONFIG, b"a\n", {})


def test_release(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    prefix = write_release(folder, CONFIG, b"[PAD]\r\nx\n", {"w": np.ones(2, np.float32)})
    assert prefix == str(folder / "bert_model.ckpt")
    assert sorted(path.name for path in folder.iterdir()) == [
        "bert_config.json",
        "bert_model.ckpt.data-00000-of-00001",
        "bert_model.ckpt.index",
        "vocab.txt",
    ]
    assert BertConfig.from_file(folder / "bert_config.json") == CONFIG
    assert (folder / "vocab.txt").read_bytes() == b"[PAD]\r\nx\n"
    before = listing(folder)
    with pytest.raises(BertError, match=r"bert_config.json exists.*overwrite"):
        write_release(folder, CONFIG, b"y\n", {"w": np.zeros(2, np.float32)})
    assert listing(folder) == before
    write_release(folder, CONFIG, folder / "vocab.txt", {"w": np.zeros(2)}, overwrite=True)
    assert (folder / "vocab.txt").read_bytes() == b"[PAD]\r\nx\n"
    assert tf.train.load_checkpoint(prefix).get_tensor("w").tolist() == [0.0, 0.0]


def test_too_large_for_float16(tmp_path: Path) -> None:
    """65519.99 rounds to the largest float16, 65504; 65520 is half way and rounds to infinity."""
    half = np.dtype("f2")
    with CheckpointWriter(tmp_path / "x.ckpt") as writer:
        writer.add("fits", np.array([65519.99, np.inf, np.nan], np.float32), half)
    stored = tf.train.load_checkpoint(str(tmp_path / "x.ckpt")).get_tensor("fits")
    assert stored[0] == 65504
    assert np.isinf(stored[1])
    assert np.isnan(stored[2])
    before = listing(tmp_path)
    writer = CheckpointWriter(tmp_path / "x.ckpt")
    with pytest.raises(BertError, match=r"'large'.*65520.*too large for float16.*bfloat16"):
        writer.add("large", np.array([1, -65520], np.float32), half)
    for late in (lambda: writer.add("next", np.ones(1, np.float32)), writer.commit):
        with pytest.raises(BertError, match=r"given up"):
            late()
    assert listing(tmp_path) == before


def _state(folder: Path) -> tuple:
    """All that a reader gets of a release."""
    with locate(folder) as files, CheckpointReader(files.prefix) as reader:
        return (
            Path(files.config_path).read_bytes(),
            Path(files.vocab_path).read_bytes(),
            ClassifierInfo.in_folder(files.prefix),
            {
                name: (info.dtype, reader.read(name).tolist())
                for name, info in reader.tensors.items()
            },
        )


def _killed_at(point: int, folder: Path, work: Callable[[], object]) -> bool:
    """Kills a process before its `point`-th opening, renaming or removing of a file there."""
    child = os.fork()
    if not child:
        count = 0

        def kill(event: str, arguments: tuple) -> None:
            nonlocal count
            if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
                count += str(folder) in str(arguments[0])
                if count == point:
                    os._exit(9)

        try:
            sys.addaudithook(kill)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("kind", ["release", "convert"])
def test_killed_at_any_point_the_old_or_the_new_is_there(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new differ, so that a mixture is neither."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # a kill loses nothing that was written
    folder, other = tmp_path / "model", {"notes.txt": b"1", ".x.txt.0123abcd.tmp": b"2"}
    info = ClassifierInfo(("a", "b"))
    config = CONFIG.to_json().encode().replace(b"{", b'{"note": "old", ', 1)

    def old() -> None:
        weights = {"w": np.ones((3, 2), np.float32), "old": np.zeros(1, np.float32)}
        files = {"classifier.json": info.to_json()}
        write_release(folder, config, b"old\n", weights, num_shards=2, overwrite=True, files=files)

    def new() -> None:
        if kind == "convert":
            convert_checkpoint(folder, folder, dtype="float16", num_shards=3, overwrite=True)
        else:
            write_release(folder, CONFIG, b"new\n", {"w": np.ones(5)}, overwrite=True)

    old()
    for name, content in other.items():
        (folder / name).write_bytes(content)
    before, names = _state(folder), set(os.listdir(folder))
    new()
    wanted = [before, _state(folder)]
    found = set()
    for point in itertools.count(1):
        old()
        assert _state(folder) == before
        assert set(os.listdir(folder)) == names  # what the kill before left is gone
        killed = _killed_at(point, folder, new)
        found.add(wanted.index(_state(folder)))
        assert {name: (folder / name).read_bytes() for name in other} == other
        if not killed:
            break
    assert found == {0, 1}
    assert point > 10
