"""Damaged and made-up files: a `BertError` or the right values, never anything else."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cramjam
import crc32c
import numpy as np
import processes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_tf.checkpoint import CheckpointReader, table
from bert_tf.checkpoint.proto import decode_entry, decode_header, encode_entry
from bert_tf.config import BertConfig
from bert_tf.errors import BertError

resource = pytest.importorskip("resource")

MAGIC = bytes.fromhex("57fb808b247547db")
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


# --- thousands of inputs of fixed seeds


def masked_crc(data: bytes) -> int:
    """As TensorFlow's `crc32c.h` has it, worked out without our module."""
    value = crc32c.crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    """Of protobuf, a negative one in ten bytes; not ours."""
    value &= (1 << 64) - 1
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def sealed(body: bytes, kind: int = 0) -> bytes:
    """A block with its trailer: compressed where `kind` is 1; any checksum is right."""
    body = (bytes(cramjam.snappy.compress_raw(body)) if kind == 1 else body) + bytes([kind])
    return body + masked_crc(body).to_bytes(4, "little")


def table_of(blocks: list[bytes], handles: list[bytes] | None = None) -> bytes:
    """A table of blocks that are sealed, with an index block that names them in order."""
    out, found = b"", []
    for block in blocks:
        found.append(varint(len(out)) + varint(len(block) - 5))
        out += block
    keys = [bytes([255]) * (number + 1) for number in range(len(found))]
    index = b"".join(
        b"\0" + varint(len(key)) + varint(len(handle)) + key + handle
        for key, handle in zip(keys, handles or found)
    )
    where = varint(len(out)) + varint(len(index) + 8)
    out += sealed(index + bytes(4) + b"\1\0\0\0")
    return out + (where + where).ljust(40, b"\0") + MAGIC


def entries_of(pairs: list[tuple[bytes, bytes]], lie: random.Random | None = None) -> bytes:
    """A data block, keys with their prefixes left out; with `lie` some sizes are wrong."""
    out, last = b"", b""
    for key, value in pairs:
        shared = len([*itertools.takewhile(lambda pair: pair[0] == pair[1], zip(last, key))])
        sizes = [shared, len(key) - shared, len(value)]
        if lie and lie.random() < 0.05:
            sizes[lie.randrange(3)] = lie.choice(NUMBERS)
        out += b"".join(map(varint, sizes)) + key[shared:] + value
        last = key
    restarts = lie.choice([0, 1, 5, 2**32 - 1]) if lie and lie.random() < 0.05 else 1
    return out + bytes(4) + restarts.to_bytes(4, "little")


NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
]
NUMBERS += [-number for number in (1, 2, 8, 2**31, 2**63)]


def hostile_entry(draw: random.Random, offset: int) -> bytes:
    """A `BundleEntryProto` of float32 at `offset`, with some fields wrong, doubled or unknown."""

    def number(usual: int, wrong: float = 0.06) -> int:
        return draw.choice(NUMBERS) if draw.random() < wrong else usual

    size = draw.choice([0, 4, 8, 16])
    dims = [size // 4] if draw.random() < 0.9 else [number(1, 1) for _ in range(draw.randrange(80))]
    shape = b"".join(
        b"\x12" + varint(len(dim)) + dim for dim in (b"\x08" + varint(number(n)) for n in dims)
    )
    parts = [b"\x08" + varint(number(1)), b"\x12" + varint(len(shape)) + shape]
    parts += [b"\x18" + varint(number(0)), b"\x20" + varint(number(offset))]
    parts += [b"\x28" + varint(number(size)), b"\x35" + draw.randbytes(4)]
    if draw.random() < 0.2:
        axes = b"".join(
            b"\x0a" + varint(len(axis)) + axis
            for axis in (b"\x08" + varint(number(0, 0.5)) for _ in range(draw.randrange(4)))
        )
        parts += [b"\x3a" + varint(len(axes)) + axes] * draw.choice([1, 2, 2000])
    if draw.random() < 0.1:
        parts += [varint(draw.randrange(1 << 10)) + draw.randbytes(draw.randrange(9))]
    draw.shuffle(parts)
    return b"".join(parts)


def hostile_index(draw: random.Random, size: int) -> bytes:
    """An index with right checksums, for a data file of so many bytes, and anything in it."""
    names = [f"t/{number:04}".encode() for number in range(draw.choice([1, 3, 20]))]
    if draw.random() < 0.2:
        names += [draw.randbytes(draw.randrange(1, 40)) for _ in range(3)]
    header = (
        b"\x08" + varint(1 if draw.random() < 0.95 else draw.choice(NUMBERS)) + b"\x1a\x02\x08\x01"
    )
    offsets = [draw.randrange(size) if draw.random() < 0.1 else 16 * i for i in range(len(names))]
    pairs = [(b"", header), *zip(sorted(names), (hostile_entry(draw, at) for at in offsets))]
    if draw.random() < 0.05:
        draw.shuffle(pairs)
    cuts = sorted(draw.randrange(len(pairs) + 1) for _ in range(draw.randrange(3)))
    spans = itertools.pairwise([0, *cuts, len(pairs)])
    kinds = [0, 0, 0, 1, 1, 2]
    lie = draw if draw.random() < 0.3 else None
    blocks = [
        sealed(entries_of(pairs[a:b], lie), draw.choice(kinds[: 6 - (lie is None)]))
        for a, b in spans
    ]
    handles = None
    if draw.random() < 0.1:
        handles = [varint(draw.choice(NUMBERS)) + varint(draw.choice(NUMBERS)) for _ in blocks]
    return table_of(blocks, handles)


class Outcomes(collections.Counter[str]):
    """Counts what became of the inputs, each within seconds, all within some memory."""

    def __init__(self, name: str) -> None:
        self._name, self._start = name, time.perf_counter()
        self._memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """An input: an error's first words are counted, another exception fails the test."""
        with processes.within(10):
            try:
                yield
                self["accepted"] += 1
            except BertError as error:
                self["refused"] += 1
                self["too long"] += len(str(error)) > 2000
                self[f"  {re.sub(r'[^ ]*/[^ ]*|[0-9]+|{.*?}', '_', str(error))[:60]}"] += 1

    def end(self, accepted: int = 1) -> None:
        seconds = time.perf_counter() - self._start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._memory
        print(f"\n{self._name}: {seconds:.0f} s, {grown >> 10} MB more")
        for outcome, count in self.most_common(24):
            print(f"{count:7,} {outcome}")
        assert grown < 400 << 10  # kilobytes
        assert self["refused"] > 50
        assert not self["too long"]
        assert self["accepted"] >= accepted


def check_tensors(prefix: Path, size: int) -> None:
    """What is read is no more than the file has, of the shape that the index says, or damaged."""
    with CheckpointReader(prefix) as reader:
        assert sum(info.nbytes for info in reader.tensors.values()) <= size
        for name, info in reader.tensors.items():
            with contextlib.suppress(BertError):
                assert reader.read(name).shape == info.shape


@pytest.mark.slow
def test_many_flips_in_the_index_under_right_checksums(folder: Path) -> None:
    """Of one data block, its checksum made right again: so the entries themselves are damaged."""
    draw, outcomes = random.Random(1), Outcomes("flips in the index")
    pairs = [*table.read_table(f"{GOLDEN}.index").items()]
    block = entries_of(pairs)
    (folder / "f.data-00000-of-00001").write_bytes(DATA)
    (folder / "f.index").write_bytes(table_of([sealed(block)]))
    check_tensors(folder / "f", len(DATA))
    for _ in range(4000):
        flipped = bytearray(block)
        for _ in range(draw.choice([1, 1, 2, 8])):
            flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        (folder / "f.index").write_bytes(table_of([sealed(bytes(flipped), draw.randrange(2))]))
        with outcomes.one():
            check_tensors(folder / "f", len(DATA))
    outcomes.end()


@pytest.mark.slow
def test_many_flips_in_the_data(folder: Path, expected: dict[str, bytes]) -> None:
    """Exactly the tensor with the flipped bit is refused, and no other."""
    draw, outcomes = random.Random(2), Outcomes("flips in the data")
    path = folder / "d.data-00000-of-00001"
    (folder / "d.index").write_bytes(INDEX)
    path.write_bytes(DATA)
    with CheckpointReader(folder / "d") as reader, open(path, "r+b") as file:
        spans = sorted((info.offset, info.nbytes, name) for name, info in reader.tensors.items())
        for _ in range(4000):
            at, bit = draw.randrange(len(DATA)), 1 << draw.randrange(8)
            hit = next(i for i, (start, size, _) in enumerate(spans) if at < start + size)
            os.pwrite(file.fileno(), bytes([DATA[at] ^ bit]), at)
            for _, _, name in {spans[hit - 1], spans[(hit + 1) % len(spans)]} - {spans[hit]}:
                assert reader.read(name).tobytes() == expected[name]
            name = spans[hit][2]
            with outcomes.one():
                reader.read(name)
            with outcomes.one():
                reader.read_into(name, np.empty(reader.info(name).shape, reader.info(name).dtype))
            os.pwrite(file.fileno(), DATA[at : at + 1], at)
            with outcomes.one():
                assert reader.read(name).tobytes() == expected[name]
    outcomes.end(4000)
    assert outcomes["refused"] == 8000


@pytest.mark.slow
def test_many_forged_indexes(folder: Path) -> None:
    """Right checksums over hostile values, in 320 bytes of data."""
    draw, outcomes = random.Random(3), Outcomes("forged indexes")
    (folder / "h.data-00000-of-00001").write_bytes(bytes(320))
    for _ in range(6000):
        (folder / "h.index").write_bytes(hostile_index(draw, 320))
        with outcomes.one():
            check_tensors(folder / "h", 320)
    outcomes.end(300)


@pytest.mark.slow
def test_many_configs(folder: Path) -> None:
    """Values that are none of a config's, and flipped bits: what is accepted stays as it is."""
    draw, outcomes = random.Random(4), Outcomes("configs")
    config = json.loads((GOLDEN.parent / "bert_config.json").read_text())
    values: list[object] = [*NUMBERS, 0.1, -0.1, 1.5, 1e308, 10**400, "", "gelu", "12", None, True]
    values += [float("nan"), float("inf"), [], {}, [[1]], "\ud800", "x" * 10000, {"a": [None]}]
    path = folder / "bert_config.json"
    for number in range(6000):
        changed = dict(config)
        for _ in range(draw.choice([0, 1, 1, 2])):
            changed[draw.choice([*changed, "more", "layer_norm_eps"])] = draw.choice(values)
        raw = bytearray(json.dumps(changed).encode())
        if number % 2:
            for _ in range(draw.choice([1, 1, 5])):
                raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        path.write_bytes(raw)
        with outcomes.one():
            found = BertConfig.from_file(path)
            assert found.num_hidden_layers <= 1000
            assert found.vocab_size * found.hidden_size <= 10**10
            path.write_text(found.to_json(), "utf-8", "backslashreplace")
            assert BertConfig.from_file(path) == found
    outcomes.end(100)


def test_an_index_that_grows_in_memory(folder: Path) -> None:
    """Keys of 65,535 bytes, of each of which but the last is left out: 163 KB would be 5 GB.

    Packed by snappy it is smaller still.
    """
    long = b"k" * 65532
    entries = [b"\0" + varint(len(long)) + b"\0" + long]
    for number in range(80_000):
        entries.append(varint(len(long)) + b"\x03\0" + number.to_bytes(3, "big"))
    block = b"".join(entries) + bytes(4) + b"\1\0\0\0"
    index = table_of([sealed(block, 1)])
    assert len(index) < 700_000
    (folder / "g.index").write_bytes(index)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with processes.within(10), pytest.raises(BertError, match="more than any checkpoint has"):
        table.read_table(folder / "g.index")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10
