"""TFRecord files: their framing, and blocks of records that are read at any place."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from typing import IO, NamedTuple

from bert_tf.checkpoint import crc
from bert_tf.errors import BertError
from bert_tf.files.reading import reading, regular
from bert_tf.files.whole import writing

_BLOCK = 64  # neighbouring records that are read together
_ANY = 32 + zlib.MAX_WBITS  # of decompression: gzip or zlib, by the header


def frame(data: bytes) -> bytes:
    """A record as it stands in a TFRecord file: length, its checksum, data, their checksum."""
    length = struct.pack("<Q", len(data))
    of_length, of_data = (struct.pack("<I", crc.masked(part)) for part in (length, data))
    return b"".join((length, of_length, data, of_data))


class Block(NamedTuple):
    """A stretch of records of one file: its first byte, end, and number of records."""

    path: str
    start: int
    end: int
    records: int
    unpacked: mmap.mmap | None = None
    """The content of a compressed file."""


def blocks_of(path: str) -> list[Block]:
    """The blocks of a file, found from length to length; a BertError if they do not fill it."""
    with reading(path), open(path, "rb", opener=regular) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return []
        head = file.read(12)
        # A record can be so long that the file starts like a compressed one.
        zlib_head = head[:1] == b"\x78" and not int.from_bytes(head[:2]) % 31  # RFC 1950
        if (zlib_head or head[:2] == b"\x1f\x8b") and not _is_length(head):
            file.seek(0)
            data = _unpacked(file, path)
            return _blocks(data, path, data) if data is not None else []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _blocks(data, path)


def _blocks(data: mmap.mmap, path: str, unpacked: mmap.mmap | None = None) -> list[Block]:
    data.madvise(mmap.MADV_SEQUENTIAL)
    blocks, size = [], len(data)
    unpack = struct.Struct("<Q").unpack_from
    start = at = count = 0
    while at < size:
        if not count:
            _check_length(data[at : at + 12], path, at)
        # 16 bytes around the record: its length, and two checksums.
        at += 16 + (unpack(data, at)[0] if at + 8 <= size else size)
        count += 1
        if count == _BLOCK or at >= size:
            blocks.append(Block(path, start, at, count, unpacked))
            start, count = at, 0
    if at != size:
        raise BertError(f"{path} is cut off or damaged: its last record goes past its end.")
    return blocks


def _unpacked(file: IO[bytes], path: str) -> mmap.mmap | None:
    """The content of a file compressed by gzip or zlib, from disk; None if there is none."""
    decoder = zlib.decompressobj(_ANY)
    # Without a name: a process that is killed leaves nothing.
    with (
        writing(f"the content of {path} to {tempfile.gettempdir()} (TMPDIR)"),
        tempfile.TemporaryFile() as out,
    ):
        raw = b""
        while raw := raw or file.read(1 << 16):
            if decoder.eof:  # one more member follows
                decoder = zlib.decompressobj(_ANY)
            try:
                out.write(decoder.decompress(raw))
            except zlib.error as error:
                raise BertError(f"{path} is damaged as a compressed file: {error}.") from error
            raw = decoder.unused_data
        if not decoder.eof:
            raise BertError(f"{path} is cut off: its compressed data have no end.")
        out.flush()
        size = os.fstat(out.fileno()).st_size
        return mmap.mmap(out.fileno(), 0, access=mmap.ACCESS_READ) if size else None


def _is_length(head: bytes) -> bool:
    return len(head) == 12 and crc.masked(head[:8]) == int.from_bytes(head[8:], "little")


def _check_length(head: bytes, path: str, at: int) -> None:
    if _is_length(head):
        return
    what = f"is damaged at byte {at:,}" if at else "is no TFRecord file"
    hint = "" if at else " From text, create_pretraining_data.py makes one."
    raise BertError(f"{path} {what}: the checksum of a record's length is wrong.{hint}")


def read_block(block: Block) -> list[bytes]:
    """The records of a block, their checksums checked."""
    path, size = block.path, block.end - block.start
    if block.unpacked is not None:
        data = block.unpacked[block.start : block.end]
    else:
        with reading(path), open(path, "rb", opener=regular) as file:
            file.seek(block.start)
            data = file.read(size)
    if len(data) < size:
        raise BertError(f"{path} is shorter than it was; leave the data alone while it is read.")
    records, at = [], 0
    while at < len(data):
        _check_length(data[at : at + 12], path, block.start + at)
        end = at + 12 + int.from_bytes(data[at : at + 8], "little")
        record = data[at + 12 : end]
        if crc.masked(record) != int.from_bytes(data[end : end + 4], "little"):
            raise BertError(f"{path} is damaged: wrong checksum at byte {block.start + at:,}.")
        records.append(record)
        at = end + 4
    return records
