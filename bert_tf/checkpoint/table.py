"""The sorted table of keys and values that a checkpoint's `.index` file is.

The layout is LevelDB's: blocks of prefix-compressed entries, each followed by a byte that names
its compression and a checksum; an index block that says where they are; a footer of 48 bytes.
The index block, the footer and the choice of where a block ends follow TensorFlow's
`core/lib/io/table_builder.cc`, so that what we write is byte for byte what it would write.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from bert_tf.checkpoint import crc
from bert_tf.checkpoint.proto import read_varint, write_varint
from bert_tf.errors import BertError
from bert_tf.files.reading import read_bounded, reading, regular

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last eight bytes of every table (LevelDB's `kTableMagicNumber`)."""

FOOTER_SIZE = 48
"""Two block handles padded to 40 bytes, and the magic number."""

PLAIN, SNAPPY = 0, 1
"""The compression byte after a block."""

_TRAILER_SIZE = 5  # the compression byte and the checksum of block and byte
_BLOCK_SIZE = 262144  # a block is closed when it has grown to this (TensorFlow's default)
_RESTART_INTERVAL = 16  # every 16th key of a data block is written whole
_MAX_KEY = 1 << 16  # no tensor has a name this long
_MAX_SPACE = 1 << 26  # of all entries in memory: a hundred times that of the largest model's
_ENTRY_SPACE = 256  # of an entry's objects alone
_MAX_SNAPPY_RATIO = 22  # snappy's densest element: 3 bytes that stand for 64


def has_footer(path: str | os.PathLike[str]) -> bool:
    """Whether the file ends as a table does. False also where it cannot be read."""
    try:
        with open(path, "rb", opener=regular) as file:
            file.seek(-len(MAGIC), os.SEEK_END)
            return file.read() == MAGIC
    except OSError:
        return False


def read_table(path: str | os.PathLike[str]) -> dict[bytes, bytes]:
    """All entries of the table file, in order; every block's checksum is checked.

    Raises:
        BertError: the file cannot be read, is no table, or is damaged.
    """
    if not has_footer(path):
        # Looked at before the whole file is read: it may be anything, and large.
        with reading(path):
            size = os.stat(path).st_size
        raise BertError(
            f"{os.fspath(path)} is no checkpoint index: its last 8 bytes are not those of one "
            f"({size} bytes in all). It is cut off or another kind of file; copy or download it "
            "again."
        )
    data = read_bounded(path)
    try:
        return dict(_entries(data))
    except BertError as error:
        raise BertError(
            f"{os.fspath(path)} is damaged: {error}. Copy or download the checkpoint again."
        ) from None


def write_table(file: BinaryIO, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Writes a table of plain blocks to the start of a file.

    The entries, keys and values, are sorted by key as bytes, no key twice.
    """
    index = _BlockBuilder(restart_interval=1)
    block = _BlockBuilder(_RESTART_INTERVAL)
    offset = 0
    last_key = handle = b""  # `handle` is of a block that is written but not yet in the index

    def flush(builder: _BlockBuilder) -> bytes:
        nonlocal offset
        body = builder.finish() + bytes([PLAIN])
        file.write(body + crc.masked(body).to_bytes(4, "little"))
        where = write_varint(offset) + write_varint(len(body) - 1)
        offset += len(body) + 4
        return where

    for key, value in entries:
        if (block.entries or handle) and key <= last_key:
            raise BertError(f"the keys {last_key!r} and {key!r} are not in order")
        if handle:
            # The index key need only sort between two blocks; LevelDB takes the shortest.
            index.add(_separator(last_key, key), handle)
            handle = b""
        block.add(key, value)
        last_key = key
        if block.size() >= _BLOCK_SIZE:
            handle = flush(block)
            block = _BlockBuilder(_RESTART_INTERVAL)
    if block.entries:
        handle = flush(block)
    if handle:
        index.add(_successor(last_key), handle)
    meta_handle = flush(_BlockBuilder(_RESTART_INTERVAL))
    index_handle = flush(index)
    file.write((meta_handle + index_handle).ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC)


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of all data blocks of a whole table; a `BertError`'s text names no file."""
    if len(data) < FOOTER_SIZE:
        raise BertError("it is shorter than its own footer")
    footer = data[-FOOTER_SIZE:]
    # The metaindex is empty in checkpoints: its handle is stepped over.
    _, at = read_varint(footer, 0)
    _, at = read_varint(footer, at)
    index = _block(data, *_handle(footer, at))
    last: bytes | None = None
    end = space = 0
    for _, handle in _block_entries(index):
        offset, size = _handle(handle, 0)
        if offset < end:
            raise BertError("two blocks overlap")
        end = offset + size
        for key, value in _block_entries(_block(data, offset, size)):
            if last is not None and key <= last:
                raise BertError("its keys are out of order")
            last = key
            space += len(key) + len(value) + _ENTRY_SPACE
            if space > _MAX_SPACE:
                raise BertError("its entries are more than any checkpoint has")
            yield key, value


def _handle(data: bytes, at: int) -> tuple[int, int]:
    """Offset and size of a block, the trailer not counted."""
    offset, at = read_varint(data, at)
    size, _ = read_varint(data, at)
    return offset, size


def _block(data: bytes, offset: int, size: int) -> bytes:
    """The checked and uncompressed block at `offset`."""
    if offset + size + _TRAILER_SIZE > len(data) - FOOTER_SIZE:
        raise BertError("a block is outside the file")
    end = offset + size
    body, kind = data[offset:end], data[end]
    # The checksum covers the compression byte too.
    stored = int.from_bytes(data[end + 1 : end + _TRAILER_SIZE], "little")
    if crc.masked(memoryview(data)[offset : end + 1]) != stored:
        raise BertError(f"the checksum of the block at byte {offset} does not match")
    if kind == PLAIN:
        return body
    if kind != SNAPPY:
        raise BertError(f"a block is compressed in the unknown way {kind}")
    import cramjam  # most checkpoints are not compressed: not loaded for them

    size, _ = read_varint(body, 0)
    if size > _MAX_SNAPPY_RATIO * len(body):
        raise BertError("a snappy block claims a size that it cannot have")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise BertError(f"a snappy block cannot be expanded ({error})") from None


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block, read from its start: the restart points are not needed."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if len(block) < 4 or end < 0:
        raise BertError("a block is too short for its restart points")
    at = 0
    key = b""
    while at < end:
        shared, at = read_varint(block, at)
        unshared, at = read_varint(block, at)
        value_size, at = read_varint(block, at)
        if shared > len(key) or at + unshared + value_size > end:
            raise BertError("an entry reaches beyond its block")
        if shared + unshared > _MAX_KEY:
            raise BertError("a key is longer than any tensor's name")
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + value_size]
        at += value_size


class _BlockBuilder:
    """Gathers the entries of one block, each `restart_interval`-th key whole."""

    def __init__(self, restart_interval: int) -> None:
        self.entries = 0
        self._interval = restart_interval
        self._buffer = io.BytesIO()
        self._restarts = [0]
        self._last = b""

    def size(self) -> int:
        """Bytes that the block would have now."""
        return self._buffer.tell() + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        """Appends an entry; its key sorts after the last one."""
        shared = _shared(self._last, key)
        if self.entries and self.entries % self._interval == 0:
            self._restarts.append(self._buffer.tell())
            shared = 0
        sizes = (shared, len(key) - shared, len(value))
        self._buffer.write(b"".join(map(write_varint, sizes)) + key[shared:] + value)
        self._last = key
        self.entries += 1

    def finish(self) -> bytes:
        """The bytes of the block."""
        tail = [*self._restarts, len(self._restarts)]
        return self._buffer.getvalue() + b"".join(n.to_bytes(4, "little") for n in tail)


def _shared(first: bytes, second: bytes) -> int:
    """With how many equal bytes the two begin."""
    differ = (at for at, (one, other) in enumerate(zip(first, second)) if one != other)
    return next(differ, min(len(first), len(second)))


def _separator(first: bytes, second: bytes) -> bytes:
    """A short key k with first <= k < second (LevelDB's `FindShortestSeparator`)."""
    at = _shared(first, second)
    if at < min(len(first), len(second)) and first[at] < 255 and first[at] + 1 < second[at]:
        return first[:at] + bytes([first[at] + 1])
    return first


def _successor(key: bytes) -> bytes:
    """A short key not before `key` (LevelDB's `FindShortSuccessor`)."""
    start = key.lstrip(b"\xff")[:1]
    at = len(key) - len(key.lstrip(b"\xff"))
    return key[:at] + bytes([start[0] + 1]) if start else key
