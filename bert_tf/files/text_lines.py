"""Lines of a text file of any encoding, compressed or not; undecodable bytes are marked."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any

from bert_tf.errors import BertError
from bert_tf.files.reading import reading, regular

_HEAD = 4096  # bytes from which the encoding is inferred

_NO_TABLE = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; save it as CSV, or name it .xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save it as CSV or .xlsx"),
    (b"PAR1", "a Parquet file; name it .parquet, or pass `format='parquet'`"),
    (b"\xfd7zXZ", "compressed by xz; unpack it, or pack it by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it, or pack it by gzip"),
    *((b"BZh%d" % level, "compressed by bzip2; unpack it") for level in range(1, 10)),
    (b"\xff\xfe\x00\x00", "UTF-32; save it as UTF-8"),
)
"""First bytes of files that are no text, and what to do with them."""

_ESCAPED = re.compile("[\udc80-\udcff]")
"""Stands for an undecodable byte (PEP 383, `surrogateescape`)."""


@contextlib.contextmanager
def open_lines(
    path: str | os.PathLike[str], encoding: str | None = None
) -> Iterator[Iterator[str]]:
    r"""The lines of a file with their ends; only "\n" ends one.

    The encoding is UTF-8, with or without a byte order mark, unless the file starts with the mark
    of UTF-16 or has the zero bytes of UTF-16 in Latin letters. An undecodable byte becomes a lone
    surrogate (`undecodable` finds them, `replaced` makes them U+FFFD), so that all lines with one
    can be reported. In UTF-16 it is an error, as all after it would be wrong.

    Args:
        path: of the file; unpacked if it starts as gzip does.
        encoding: of the file, as Python names it; None to infer it.

    Raises:
        BertError: the file cannot be read, is no text, is broken, or the encoding is unknown.
    """
    name = os.fspath(path)
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
        except LookupError:
            known = "utf-8, utf-16, cp1252 or gb18030"
            raise BertError(f"there is no encoding {encoding!r}; try {known}") from None
    try:
        with opened(path) as (_, unpacked):
            head = peek(unpacked)
            for start, advice in _NO_TABLE:
                if head.startswith(start):
                    raise BertError(f"{name} is {advice}")
            encoding = encoding or _encoding_of(head)
            # Also if UTF-8 was asked for: the mark is no part of the first column's name.
            encoding = {"utf-8": "utf-8-sig"}.get(encoding, encoding)
            wide = encoding.startswith(("utf-16", "utf-32"))
            errors = "strict" if wide else "surrogateescape"
            yield io.TextIOWrapper(unpacked, encoding, errors, newline="\n")
    except UnicodeDecodeError as error:
        wrong = f"{name} is no {error.encoding}: {error.reason}"
        raise BertError(f"{wrong}; pass its `encoding`") from error


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], Any]]:
    """A file as it is on the disk, and what is in it, unpacked if it starts as gzip does.

    Raises:
        BertError: the file cannot be read, or is broken.
    """
    with reading(path), open(path, "rb", 1 << 20, opener=regular) as raw:
        packed = peek(raw).startswith(b"\x1f\x8b")
        try:
            yield raw, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if packed else raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            name = os.fspath(path)
            raise BertError(f"{name} is broken or cut off as a gzip file: {error}") from error


def undecodable(line: str) -> bool:
    """Whether a line has bytes that could not be decoded."""
    return not line.isascii() and _ESCAPED.search(line) is not None


def replaced(line: str) -> str:
    """The line with U+FFFD for each byte that could not be decoded."""
    return _ESCAPED.sub("\ufffd", line)


def encoding_advice(line: str) -> str:
    """What to type for a file with this `undecodable` line: how it reads in a likely encoding."""
    match = _ESCAPED.search(line)
    assert match is not None
    start = max(match.start() - 20, 0)
    raw = line[start : match.start() + 20].encode("utf-8", "surrogateescape")
    try:
        read, name = raw.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        read, name = raw.decode("latin-1"), "latin-1"
    read = "".join(c if c.isprintable() else " " for c in read).strip()
    byte = ord(match.group()) - 0xDC00
    good = f"if {read!r} reads well, pass `encoding={name!r}`"
    return f"the byte 0x{byte:02X} is not UTF-8; {good}, else name its encoding"


def peek(file: IO[bytes]) -> bytes:
    """The first bytes of a file that is read next from its start."""
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _encoding_of(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # In UTF-16 every other byte of Latin letters is zero; other text has no zeros.
    zeros = head.count(0)
    if zeros > 0.3 * len(head):
        odd = head[1::2].count(0)
        return "utf-16-le" if odd > zeros - odd else "utf-16-be"
    return "utf-8"
