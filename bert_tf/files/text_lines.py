"""Lines of a text file of any encoding, compressed or not; undecodable bytes are marked."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from bert_tf.errors import BertError
from bert_tf.files.reading import reading, regular

_HEAD = 4096  # bytes from which the encoding is inferred

PLAIN_TEXT = "give plain text in UTF-8 or UTF-16, or that in gzip"
"""What to do with a file that is no text, where no table is asked for."""

_FEW = 3  # undecodable lines that a text of any size may have
_SURE = 100  # undecodable lines that, if they are most, end the reading at once
_EARLY = 100_000  # lines before which their fraction is not judged, other than at the end
_LIKELY = ("cp1252", "cp1251", "gb18030")  # encodings that a text is shown in

_NO_TEXT = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; save it as CSV, or name it .xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save it as CSV or .xlsx"),
    (b"PAR1", "a Parquet file; name it .parquet, or pass `format='parquet'`"),
    (b"\xfd7zXZ", "compressed by xz; unpack it, or pack it by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it, or pack it by gzip"),
    *((b"BZh%d" % level, "compressed by bzip2; unpack it") for level in range(1, 10)),
    (b"\xff\xfe\x00\x00", "UTF-32; save it as UTF-8"),
)
"""First bytes of files that are no text, what they are, and what to do with a table."""

_ESCAPED = re.compile("[\udc80-\udcff]")
"""Stands for an undecodable byte (PEP 383, `surrogateescape`)."""


@contextlib.contextmanager
def open_lines(
    file: str | os.PathLike[str] | IO[bytes],
    encoding: str | None = None,
    *,
    name: str | None = None,
    advice: str | None = None,
) -> Iterator[Iterator[str]]:
    r"""The lines of a file with their ends; only "\n" ends one.

    The encoding is UTF-8, with or without a byte order mark, unless the file starts with the mark
    of UTF-16 or has the zero bytes of UTF-16 in Latin letters. An undecodable byte becomes a lone
    surrogate (`undecodable` finds them, `replaced` makes them U+FFFD), so that all lines with one
    can be reported. In UTF-16 it is an error, as all after it would be wrong.

    Args:
        file: its path, or the file itself, which stays open; unpacked if it starts as gzip does.
        encoding: of the file, as Python names it; None to infer it.
        name: for messages; by default its path.
        advice: what to do with a file that is no text; by default what helps with a table.

    Raises:
        BertError: the file cannot be read, is no text, is broken, or the encoding is unknown.
    """
    name = name or os.fspath(file)  # type: ignore[arg-type]
    with opened(file, name) as (_, unpacked), decoded(name, unpacked, encoding, advice) as lines:
        yield lines


@contextlib.contextmanager
def opened(
    file: str | os.PathLike[str] | IO[bytes], name: str | None = None
) -> Iterator[tuple[IO[bytes], Any]]:
    """A file as it is on the disk, and what is in it, unpacked if it starts as gzip does.

    Args:
        file: its path, or the file itself, which stays open.
        name: for messages; by default its path.

    Raises:
        BertError: the file cannot be read, or is broken.
    """
    name = name or os.fspath(file)  # type: ignore[arg-type]
    with contextlib.ExitStack() as stack:
        stack.enter_context(reading(name))
        raw: Any = file
        if isinstance(file, str | os.PathLike):
            raw = stack.enter_context(open(file, "rb", 1 << 20, opener=regular))
        packed = peek(raw).startswith(b"\x1f\x8b")
        try:
            yield raw, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if packed else raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BertError(f"{name} is broken or cut off as a gzip file: {error}") from error


@contextlib.contextmanager
def decoded(
    name: str, unpacked: Any, encoding: str | None = None, advice: str | None = None
) -> Iterator[Iterator[str]]:
    """The lines of what `opened` gave: see `open_lines`."""
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
        except LookupError:
            known = "utf-8, utf-16, cp1252 or gb18030"
            raise BertError(f"there is no encoding {encoding!r}; try {known}") from None
    head = peek(unpacked)
    for start, kind in _NO_TEXT:
        if head.startswith(start):
            kind = f"{kind.partition(';')[0]}; {advice}" if advice else kind
            raise BertError(f"{name} is {kind}")
    encoding = encoding or _encoding_of(head)
    # Also if UTF-8 was asked for: the mark is no part of the first column's name.
    encoding = {"utf-8": "utf-8-sig"}.get(encoding, encoding)
    wide = encoding.startswith(("utf-16", "utf-32"))
    lines = io.TextIOWrapper(
        unpacked, encoding, "strict" if wide else "surrogateescape", newline="\n"
    )
    try:
        yield lines
    except UnicodeDecodeError as error:
        wrong = f"{name} is no {error.encoding}: {error.reason}"
        raise BertError(f"{wrong}; {advice or 'pass its `encoding`'}") from error
    finally:
        lines.detach()


class LineCheck:
    """Counts lines of plain text that are not UTF-8, over any number of files.

    A few are strays. A file with more of them, or with more of them than other lines, has another
    encoding: it is refused, after 100 such lines at once.

    Args:
        rare: fraction of the lines that may be strays; three may in any case.
        drop: whether to leave out the bad bytes of strays, or to mark them.
    """

    def __init__(self, rare: float, drop: bool = False) -> None:
        self._rare, self._drop = rare, drop
        self._lines = self._bad = 0
        self._places: list[str] = []

    def checked(self, name: str, lines: Iterable[str]) -> Iterator[str]:
        """The lines of a file; raises a `BertError` if too many are undecodable."""
        count = bad = first = 0
        advice = ""
        for number, line in enumerate(lines, start=1):
            count += not line.isspace()
            if undecodable(line):
                bad += 1
                first, advice = (
                    (first, advice) if first else (number, conversion_advice(name, line))
                )
                if len(self._places) < _FEW:
                    self._places.append(f"{name}:{number}")
                most = bad > _SURE and 2 * bad > count
                if most or self._too_many(bad, max(count, _EARLY)):
                    break
                line = _ESCAPED.sub("", line) if self._drop else line
            yield line
        self._lines, self._bad = self._lines + count, self._bad + bad
        here = 2 * bad > count or self._too_many(bad, count)
        if bad and (here or self._too_many(self._bad, self._lines)):
            bad, count = (bad, count) if here else (self._bad, self._lines)
            raise BertError(
                f"{name}:{first}: the text is not UTF-8, {bad:,} of {count:,} lines; {advice}"
            )

    def _too_many(self, bad: int, count: int) -> bool:
        return bad > max(_FEW, self._rare * count)

    def warning(self) -> str | None:
        """How many lines were strays, whose bad bytes are dropped, and which."""
        if not self._bad:
            return None
        places = ", ".join(self._places) + (", ..." if self._bad > len(self._places) else "")
        return (
            f"{self._bad:,} of {self._lines:,} lines have bytes that are not UTF-8, which are "
            f"dropped: {places}"
        )


def conversion_advice(name: str, line: str) -> str:
    """How to convert a file with this `undecodable` line, and how it reads in likely encodings."""
    line = line.strip()
    match = _ESCAPED.search(line)
    assert match is not None
    raw, start = line.encode("utf-8", "surrogateescape"), len(line[: match.start()].encode())
    readings = []
    for encoding in _LIKELY:
        with contextlib.suppress(UnicodeDecodeError):
            text, at = raw.decode(encoding), len(raw[:start].decode(encoding, "ignore"))
            readings.append(f"{text[max(at - 10, 0) : at + 20]!r} in {encoding}")
    reads = f"it reads {', '.join(readings)}; " if readings else ""
    return (
        f"{reads}convert it by: iconv -f ENCODING -t UTF-8 {name} > utf8.txt (from UTF-8 and with "
        "-c, iconv drops damaged bytes)"
    )


def undecodable(line: str) -> bool:
    """Whether a line has bytes that could not be decoded."""
    try:
        line.encode()  # ten times as fast as a search
    except UnicodeEncodeError:
        return _ESCAPED.search(line) is not None
    return False


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


def peek(file: Any) -> bytes:
    """The next bytes of a buffered file, which are still to be read."""
    return bytes(file.peek(_HEAD)[:_HEAD])


def _encoding_of(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # In UTF-16 every other byte of Latin letters is zero; other text has no zeros.
    zeros = head.count(0)
    if zeros > 0.3 * len(head):
        odd = head[1::2].count(0)
        return "utf-16-le" if odd > zeros - odd else "utf-16-be"
    return "utf-8"
