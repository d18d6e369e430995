"""Damaged and made-up files: a `BertError` or the right values, never anything else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_tf.checkpoint import CheckpointReader, table
from bert_tf.checkpoint.proto import decode_entry, decode_header, encode_entry
from bert_tf.errors import BertError

GOLDEN = Path(__file__).parent / "golden" / "tiny_ckpt" / "bert_model.ckpt"
INDEX = Path(f"{GOLDEN}.index").read_bytes()
DATA = Path(f"{GOLDEN}.data-00000-of-00001").read_bytes()
LIMITS = settings(max_examples=150, deadline=5000)


@pytest.fixture(scope="module")
def expected() -> dict[str, bytes]:
    """The values of the undamaged checkpoint; other tests hold these against TensorFlow."""
    with CheckpointReader(GOLDEN) as reader:
        return {name: reader.read(name).tobytes() for name in reader.tensors}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path)


def read_all(folder: Path, index: bytes, data: bytes, expected: dict[str, bytes]) -> None:
    """Reads all that can be read; what comes out must be what went in."""
    (folder / "x.index").write_bytes(index)
    (folder / "x.data-00000-of-00001").write_bytes(data)
    try:
        reader = CheckpointReader(folder / "x")
    except BertError:
        return
    with reader:
        assert reader.tensors.keys() == expected.keys()
        for name, info in reader.tensors.items():
            out = np.empty(info.shape, info.dtype)
            try:
                reader.read_into(name, out)
                assert out.tobytes() == expected[name]
                assert reader.read(name).tobytes() == expected[name]
            except BertError:
                continue


def damage(draw: st.DrawFn, raw: bytes) -> bytes:
    kind = draw(st.sampled_from(["flip", "cut", "insert", "zero", "swap"]))
    at = draw(st.integers(0, len(raw) - 1))
    if kind == "flip":
        return raw[:at] + bytes([raw[at] ^ draw(st.integers(1, 255))]) + raw[at + 1 :]
    if kind == "cut":
        return raw[:at]
    if kind == "insert":
        return raw[:at] + draw(st.binary(min_size=1, max_size=9)) + raw[at:]
    length = draw(st.integers(1, 600))
    if kind == "zero":
        return raw[:at] + bytes(len(raw[at : at + length])) + raw[at + length :]
    return raw[at:] + raw[:at]


damaged_index = st.composite(lambda draw: damage(draw, INDEX))
damaged_data = st.composite(lambda draw: damage(draw, DATA))


@LIMITS
@given(index=damaged_index())
def test_damaged_index(folder: Path, expected: dict[str, bytes], index: bytes) -> None:
    read_all(folder, index, DATA, expected)


@settings(max_examples=60, deadline=5000)
@given(data=damaged_data())
def test_damaged_data(folder: Path, expected: dict[str, bytes], data: bytes) -> None:
    read_all(folder, INDEX, data, expected)


def test_every_byte_of_the_footer(folder: Path, expected: dict[str, bytes]) -> None:
    """The footer is the one part of the index without a checksum."""
    for at in range(len(INDEX) - 48, len(INDEX)):
        for bit in range(8):
            index = bytearray(INDEX)
            index[at] ^= 1 << bit
            read_all(folder, bytes(index), DATA, expected)


@LIMITS
@given(raw=st.binary(max_size=300), magic=st.booleans())
def test_random_bytes(folder: Path, raw: bytes, magic: bool) -> None:
    index = raw + table.MAGIC * magic
    (folder / "r.index").write_bytes(index)
    (folder / "r.data-00000-of-00001").write_bytes(raw)
    with pytest.raises(BertError):
        CheckpointReader(folder / "r")


@settings(max_examples=300, deadline=2000)
@given(raw=st.binary(max_size=60))
def test_messages_of_random_bytes(raw: bytes) -> None:
    for decode in (decode_entry, decode_header):
        try:
            decode(raw)
        except BertError:
            continue


@LIMITS
@given(
    dtype=st.integers(0, 40),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 2**31, 2**62, 2**63 - 1]), max_size=5),
    shard=st.integers(0, 3),
    offset=st.sampled_from([0, 1, 7, 8, 16, 2**40, 2**63 - 1]),
    size=st.sampled_from([0, 1, 2, 4, 8, 16, 2**40, 2**63 - 1]),
    extra=st.binary(max_size=6),
)
def test_index_that_lies(
    folder: Path,
    dtype: int,
    shape: list[int],
    shard: int,
    offset: int,
    size: int,
    extra: bytes,
) -> None:
    """Entries with good checksums and any content: 16 bytes of data bound what is allocated."""
    from bert_tf.checkpoint.proto import BundleEntry

    entry = encode_entry(BundleEntry(dtype, tuple(shape), shard, offset, size, 1234)) + extra
    with open(folder / "l.index", "wb") as file:
        table.write_table(file, [(b"", b"\x08\x01"), (b"w", entry)])
    (folder / "l.data-00000-of-00001").write_bytes(bytes(16))
    for verify in (True, False):
        try:
            with CheckpointReader(folder / "l", verify=verify) as reader:
                info = reader.tensors["w"]
                assert info.nbytes <= 16
                found = reader.read("w")
                assert found.shape == tuple(shape)
                assert found.dtype.hasobject or found.nbytes == size
        except BertError:
            continue


@LIMITS
@given(
    body=st.binary(max_size=200),
    size=st.sampled_from([0, 1, 100, 2**20, 2**32 - 1, 2**40]),
)
def test_snappy_block_that_lies(folder: Path, body: bytes, size: int) -> None:
    """A good checksum over a compressed block of any bytes, which claims any size."""
    from bert_tf.checkpoint import crc
    from bert_tf.checkpoint.proto import write_varint

    block = write_varint(size) + body + bytes([table.SNAPPY])
    raw = block + crc.masked(block).to_bytes(4, "little")
    handle = write_varint(0) + write_varint(len(block) - 1)
    footer = (handle + handle).ljust(40, b"\0") + table.MAGIC
    (folder / "s.index").write_bytes(raw + footer)
    (folder / "s.data-00000-of-00001").write_bytes(bytes(16))
    with pytest.raises(BertError):
        CheckpointReader(folder / "s")


names = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=5000)
@given(
    content=st.dictionaries(names, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)),
    shards=st.integers(1, 3),
)
def test_what_is_written_is_read(folder: Path, content: dict[str, list[int]], shards: int) -> None:
    from bert_tf.checkpoint import write_checkpoint

    write_checkpoint(
        folder / "w", {name: np.array(v, np.int64) for name, v in content.items()}, shards
    )
    with CheckpointReader(folder / "w") as reader:
        assert {name: reader.read(name).tolist() for name in reader.tensors} == content
