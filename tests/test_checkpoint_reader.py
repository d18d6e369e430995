"""The reader against TensorFlow's own, on checkpoints that TensorFlow wrote."""

from __future__ import annotations

import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cramjam
import crc32c
import ml_dtypes
import numpy as np
import pytest

from bert_tf.checkpoint import CheckpointReader, allocate, table
from bert_tf.checkpoint import bundle as bundle_module
from bert_tf.checkpoint.proto import TensorSlice, slice_key, write_varint
from bert_tf.errors import BertError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

GOLDEN = Path(__file__).parent / "golden" / "tiny_ckpt" / "bert_model.ckpt"


def assert_as_tensorflow(prefix: str | Path, count: int) -> None:
    """Our reader finds the same names, types, shapes and bits as TensorFlow's."""
    judge = tf.train.load_checkpoint(str(prefix))
    with CheckpointReader(prefix) as reader:
        assert list(reader.tensors) == sorted(judge.get_variable_to_shape_map())
        assert len(reader.tensors) == count
        for name, info in reader.tensors.items():
            expected = np.asarray(judge.get_tensor(name))
            found = reader.read(name)
            assert found.dtype == info.dtype == expected.dtype
            assert found.shape == info.shape == expected.shape
            assert found.tobytes() == expected.tobytes()
            assert not found.flags.writeable
            copy = allocate(info.shape, info.dtype)
            assert copy.size == 0 or copy.ctypes.data % 64 == 0
            reader.read_into(name, copy)
            assert copy.tobytes() == expected.tobytes()


def save(prefix: Path, tensors: dict[str, np.ndarray]) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )


def every_type() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    wide = rng.standard_normal((7, 5)) * 100
    types = ["f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]
    tensors = {f"type/{name}": np.abs(wide).astype(name) for name in types}
    tensors["type/bfloat16"] = wide.astype(ml_dtypes.bfloat16)
    tensors["type/complex64"] = (wide + 1j).astype("c8")
    tensors["type/complex128"] = (wide - 2j).astype("c16")
    tensors["global_step"] = np.array(1_234_567_890_123)
    tensors["scalar"] = np.array(np.pi, np.float32)
    tensors["empty"] = np.zeros((0, 3), np.float32)
    tensors["one"] = np.ones((1, 1, 1, 1), np.float32)
    tensors["odd_length"] = np.array([True, False, True])  # what follows is unaligned
    return tensors


def test_golden_checkpoint() -> None:
    assert_as_tensorflow(GOLDEN, 187)


def test_every_type(tmp_path: Path) -> None:
    save(tmp_path / "x.ckpt", every_type())
    assert_as_tensorflow(tmp_path / "x.ckpt", len(every_type()))


def test_several_shards(tmp_path: Path) -> None:
    names = list(every_type())
    prefixes = []
    for number in range(3):
        prefixes.append(str(tmp_path / f"part{number}"))
        part = {name: every_type()[name] for name in names[number::3]}
        save(Path(prefixes[-1]), part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=prefixes, destination_prefix=str(tmp_path / "whole.ckpt")
    )
    assert len(list(tmp_path.glob("whole.ckpt.data-*-of-00003"))) == 3
    assert_as_tensorflow(tmp_path / "whole.ckpt", len(names))


def test_strings(tmp_path: Path) -> None:
    texts = np.array([[b"a", b"", "я".encode()], [b"x" * 300, b"\x00", b"end"]], dtype=object)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "s.ckpt"),
        tensor_names=["texts", "numbers"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(texts), tf.constant([1.0, 2.0])],
    )
    with CheckpointReader(tmp_path / "s.ckpt") as reader:
        assert reader.tensors["texts"].dtype == np.dtype(object)
        assert reader.read("texts").tolist() == texts.tolist()
        assert reader.read("numbers").tolist() == [1.0, 2.0]
        with pytest.raises(BertError, match=r"texts.*strings.*read"):
            reader.read_into("texts", np.empty((2, 3), object))
    data = tmp_path / "s.ckpt.data-00000-of-00001"
    damaged = bytearray(data.read_bytes())
    damaged[damaged.index(b"end")] ^= 1
    data.write_bytes(damaged)
    with CheckpointReader(tmp_path / "s.ckpt") as reader, pytest.raises(BertError, match=r"texts"):
        reader.read("texts")


@pytest.mark.parametrize("cuts", [(3, 1), (1, 2), (2, 2)])
def test_variables_in_pieces(tmp_path: Path, cuts: tuple[int, int]) -> None:
    """TensorFlow cuts along one axis with a partitioner; along two with slices given by hand."""
    whole = np.arange(70 * 6, dtype=np.float32).reshape(70, 6)
    rows = np.array_split(np.arange(70), cuts[0])
    columns = np.array_split(np.arange(6), cuts[1])
    pieces = [(r, c) for r in rows for c in columns]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "p.ckpt"),
        tensor_names=["table"] * len(pieces) + ["plain"],
        shape_and_slices=[f"70 6 {r[0]},{len(r)}:{c[0]},{len(c)}" for r, c in pieces] + [""],
        tensors=[*(tf.constant(whole[np.ix_(r, c)]) for r, c in pieces), tf.constant([7])],
    )
    assert_as_tensorflow(tmp_path / "p.ckpt", 2)
    with CheckpointReader(tmp_path / "p.ckpt") as reader:
        assert len(reader.tensors["table"].parts) == len(pieces)
        assert np.array_equal(reader.read("table"), whole)
        half = np.empty((70, 6), np.float16)
        reader.read_into("table", half)
        assert np.array_equal(half, whole.astype(np.float16))


def test_saver_with_partitioned_variable(tmp_path: Path) -> None:
    """As a model trained with a partitioner leaves it; TensorFlow writes "-" for a whole axis."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable(
            "table",
            (10, 4),
            partitioner=tf.compat.v1.fixed_size_partitioner(3),
            initializer=tf.compat.v1.random_normal_initializer(),
            use_resource=False,
        )
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=5)
    assert_as_tensorflow(tmp_path / "model.ckpt-5", 1)


def test_slice_key_of_the_whole_axis() -> None:
    """`OrderedCode`, worked by hand for name "v" and the slice "-:64,-65".

    00 (a number of 0 bytes); "v"; 00 01 (end of text); 01 02 (the rank, one byte); start 0 in one
    byte is 80 ^ 00; length -1 is 80 ^ FF = 7F; 64 needs two bytes: C000 ^ 0040; -65 needs two:
    C000 ^ FFBF = 3FBF.
    """
    key = slice_key(b"v", TensorSlice((0, 64), (-1, -65)))
    assert key == b"\x00v\x00\x01\x01\x02\x80\x7f\xc0\x40\x3f\xbf"


def snappy_index(path: Path) -> bytes:
    """The index at `path` with every block compressed, put together without our block reader."""
    raw = path.read_bytes()
    footer = raw[-48:]
    numbers, at = [], 0
    for _ in range(4):
        value = shift = 0
        while True:
            value |= (footer[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if footer[at - 1] < 128:
                break
        numbers.append(value)
    # The golden index is small: one data block from 0 up to the metaindex, less its trailer.
    data_block = raw[: numbers[0] - 5]
    out = io.BytesIO()

    def put(block: bytes) -> bytes:
        start = out.tell()
        packed = bytes(cramjam.snappy.compress_raw(block)) + b"\x01"
        crc = crc32c.crc32c(packed)
        masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
        out.write(packed + masked.to_bytes(4, "little"))
        return write_varint(start) + write_varint(len(packed) - 1)

    handle = put(data_block)
    entry = b"\x00\x01" + bytes([len(handle)]) + b"z" + handle
    restarts = (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    meta = put(raw[numbers[0] : numbers[0] + numbers[1]])
    index = put(entry + restarts)
    out.write((meta + index).ljust(40, b"\0") + raw[-8:])
    return out.getvalue()


def test_snappy_index(tmp_path: Path) -> None:
    """TensorFlow reads the compressed index too: it is a fair one."""
    for path in GOLDEN.parent.glob("bert_model.ckpt.data*"):
        shutil.copy(path, tmp_path)
    packed = snappy_index(Path(f"{GOLDEN}.index"))
    assert len(packed) < Path(f"{GOLDEN}.index").stat().st_size
    (tmp_path / "bert_model.ckpt.index").write_bytes(packed)
    assert_as_tensorflow(tmp_path / "bert_model.ckpt", 187)


def test_index_of_many_blocks(tmp_path: Path) -> None:
    """9,000 long names make an index of several blocks of 256 KB."""
    names = [f"scope/{'x' * 60}/{n:05d}/{'y' * (n % 37)}" for n in range(9000)]
    tensors = {name: np.array(n, np.int32) for n, name in enumerate(names)}
    save(tmp_path / "m.ckpt", tensors)
    with CheckpointReader(tmp_path / "m.ckpt") as reader:
        assert list(reader.tensors) == sorted(names)
        assert all(reader.read(name) == value for name, value in tensors.items())
    index = tmp_path / "m.ckpt.index"
    rewritten = io.BytesIO()
    table.write_table(rewritten, table.read_table(index).items())
    assert rewritten.getvalue() == index.read_bytes()


def test_read_into_casts(tmp_path: Path) -> None:
    values = np.linspace(-3, 3, 3_000_000, dtype=np.float32).reshape(3, -1)
    save(
        tmp_path / "x.ckpt",
        {"x": values, "big": np.array([1, 1e6], "f4"), "i": np.array([1], "i4")},
    )
    with CheckpointReader(tmp_path / "x.ckpt") as reader:
        for dtype in ("f4", "f2", ml_dtypes.bfloat16, "f8"):
            out = np.empty(values.shape, dtype)
            reader.read_into("x", out)
            # TensorFlow's cast rounds to nearest even as well.
            assert out.tobytes() == tf.cast(values, out.dtype).numpy().tobytes()
        strided = np.zeros((values.shape[1], 6), np.float32)[:, ::2].T
        reader.read_into("x", strided)
        assert np.array_equal(strided, values)
        with pytest.raises(BertError, match=r"'big'.*1e\+06.*float16"):
            reader.read_into("big", np.empty(2, np.float16))
        with pytest.raises(BertError, match=r"'i'.*int32.*float32"):
            reader.read_into("i", np.empty(1, np.float32))
        with pytest.raises(BertError, match=r"'x'.*\(3, 1000000\).*\(3, 4\)"):
            reader.read_into("x", np.empty((3, 4), np.float32))
        with pytest.raises(BertError, match=r"no tensor 'y'"):
            reader.read("y")


def copy_golden(folder: Path) -> Path:
    for path in GOLDEN.parent.iterdir():
        shutil.copy(path, folder)
    return folder / GOLDEN.name


def test_flipped_bit_in_data(tmp_path: Path) -> None:
    prefix = copy_golden(tmp_path)
    data = Path(f"{prefix}.data-00000-of-00001")
    name = "bert/encoder/layer_0/output/dense/kernel"
    with CheckpointReader(prefix) as reader:
        info = reader.info(name)
    damaged = bytearray(data.read_bytes())
    damaged[info.offset + 79] ^= 64  # the exponent: much too large for float16, but first damaged
    data.write_bytes(damaged)
    with CheckpointReader(prefix) as reader:
        for read in (
            lambda: reader.read(name),
            lambda: reader.read_into(name, np.empty(info.shape, info.dtype)),
            lambda: reader.read_into(name, np.empty(info.shape, np.float16)),
        ):
            with pytest.raises(BertError, match=rf"(?s){name}.*data-00000-of-00001.*checksum"):
                read()
        assert reader.read("bert/pooler/dense/bias").shape == (32,)
    with CheckpointReader(prefix, verify=False) as reader:
        assert reader.read(name).shape == info.shape


@pytest.mark.parametrize("keep", [0, 1, 400_000])
def test_cut_off_data(tmp_path: Path, keep: int) -> None:
    prefix = copy_golden(tmp_path)
    os.truncate(f"{prefix}.data-00000-of-00001", keep)
    with pytest.raises(BertError, match=rf"data-00000-of-00001, which has only {keep} bytes.*cut"):
        CheckpointReader(prefix)


def test_cut_off_while_reading(tmp_path: Path) -> None:
    """No crash (a map would end the process with SIGBUS), an error that says what happened."""
    prefix = copy_golden(tmp_path)
    with CheckpointReader(prefix) as reader:
        os.truncate(f"{prefix}.data-00000-of-00001", 100)
        name = "bert/encoder/layer_1/output/dense/kernel"
        with pytest.raises(BertError, match=f"ends within the tensor '{name}'"):
            reader.read_into(name, np.empty(reader.info(name).shape, np.float32))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8609\n", "git lfs pull"),
        (b"something else" * 10, "no checkpoint index"),
        (b"<!DOCTYPE html><html>", "no checkpoint index"),
    ],
)
def test_index_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    prefix = copy_golden(tmp_path)
    Path(f"{prefix}.index").write_bytes(content)
    with pytest.raises(BertError, match=words):
        CheckpointReader(prefix)


def test_damaged_index(tmp_path: Path) -> None:
    prefix = copy_golden(tmp_path)
    index = Path(f"{prefix}.index")
    raw = bytearray(index.read_bytes())
    raw[1000] ^= 1
    index.write_bytes(raw)
    with pytest.raises(BertError, match=r"index is damaged: the checksum of the block at byte 0"):
        CheckpointReader(prefix)
    index.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BertError, match=r"last 8 bytes.*cut off"):
        CheckpointReader(prefix)
    index.unlink()
    with pytest.raises(BertError, match=r"cannot read .*\.index"):
        CheckpointReader(prefix)


def test_data_as_lfs_pointer(tmp_path: Path) -> None:
    prefix = copy_golden(tmp_path)
    data = Path(f"{prefix}.data-00000-of-00001")
    data.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(BertError, match=r"data-00000-of-00001 is a Git-LFS pointer.*git lfs pull"):
        CheckpointReader(prefix)


def test_missing_shard_is_named(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"p{number}", {f"v{number}": np.ones(4, np.float32)})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "p0"), str(tmp_path / "p1")],
        destination_prefix=str(tmp_path / "w"),
    )
    (tmp_path / "w.data-00001-of-00002").unlink()
    with pytest.raises(BertError, match=r"w.data-00001-of-00002 is missing.*needs 2 such files"):
        CheckpointReader(tmp_path / "w")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"\x08\x01\x10\x01\x1a\x02\x08\x01", "big-endian"),
        (b"\x08\x01\x1a\x04\x08\x02\x10\x02", "format version 2"),
        (b"\x1a\x02\x08\x01", "0 data files"),
        (b"\x0a\x02\x08\x01", "V1"),
        (None, "no header"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path: Path, header: bytes | None, words: str) -> None:
    """BundleHeaderProto by hand: 08 n = shards, 10 1 = big-endian, 1a = versions."""
    prefix = copy_golden(tmp_path)
    entries = table.read_table(f"{prefix}.index")
    del entries[b""]
    with open(f"{prefix}.index", "wb") as file:
        table.write_table(file, [*([(b"", header)] if header else []), *entries.items()])
    with pytest.raises(BertError, match=words):
        CheckpointReader(prefix)


def test_arrays_outlive_the_reader_and_the_file(tmp_path: Path) -> None:
    prefix = copy_golden(tmp_path)
    name = "bert/embeddings/word_embeddings"
    with CheckpointReader(prefix) as reader:
        view = reader.read(name)
        copy = allocate(view.shape, view.dtype)
        reader.read_into(name, copy)
    expected = view.copy()
    data = Path(f"{prefix}.data-00000-of-00001")
    data.write_bytes(b"\xff" * data.stat().st_size)  # in place: the same file
    assert np.array_equal(copy, expected)
    data.unlink()
    assert view.shape == expected.shape
    assert np.array_equal(copy, expected)
    with pytest.raises(BertError, match=r"is closed"):
        reader.read(name)
    reader.close()


def test_two_threads(tmp_path: Path) -> None:
    with CheckpointReader(GOLDEN) as reader, ThreadPoolExecutor(2) as pool:
        names = list(reader.tensors) * 5

        def both(name: str) -> bool:
            info = reader.tensors[name]
            out = allocate(info.shape, info.dtype)
            reader.read_into(name, out)
            return out.tobytes() == reader.read(name).tobytes()

        assert all(pool.map(both, names))


def test_pieces_that_do_not_make_up_the_whole(tmp_path: Path) -> None:
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "p.ckpt"),
        tensor_names=["t", "t"],
        shape_and_slices=["4 3 0,3:-", "4 3 2,2:-"],
        tensors=[tf.constant(whole[:3]), tf.constant(whole[2:])],
    )
    with pytest.raises(BertError, match=r"'t'.*do not make up the whole"):
        CheckpointReader(tmp_path / "p.ckpt")


def test_shard_path() -> None:
    assert bundle_module.shard_path("a/b", 3, 12) == "a/b.data-00003-of-00012"
