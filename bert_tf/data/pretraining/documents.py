"""Plain text as the original reads it: a sentence a line, a blank line between documents."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from bert_tf.errors import BertError
from bert_tf.files.text_lines import opened, peek

_MOST_SINGLE = 0.9
"""Fraction of documents of one sentence from which blank lines are taken for a mistake."""

_NO_TEXT = (
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    *((b"BZh%d1AY&SY" % level, "compressed by bzip2") for level in range(1, 10)),
)
"""How files start that would give wrong text, since invalid bytes are dropped."""


def read_documents(
    path: str | os.PathLike[str], on_bytes: Callable[[int], None] | None = None
) -> Iterator[list[str]]:
    r"""The documents of one file, one at a time, so that memory holds no more than that.

    Only "\n" ends a line; each line is stripped; one that is then blank ends a document. Unlike
    in create_pretraining_data.py so does the end of a file, whatever the order of files.

    Args:
        path: a text file in UTF-8, whose invalid bytes are dropped as in the original; compressed
            by gzip if it starts like that.
        on_bytes: called now and then with the bytes of the file read since the last call.

    Yields:
        The lines of a document that are not blank, at least one.

    Raises:
        BertError: the file cannot be read, or its compression is broken.
    """
    with _opened(path) as (raw, lines):
        reported = 0
        document: list[str] = []
        for line in itertools.chain(lines, [b""]):
            if text := line.decode("utf-8", "ignore").strip():
                document.append(text)
                continue
            if document:
                yield document
                document = []
            if on_bytes is not None and raw.tell() != reported:
                on_bytes(raw.tell() - reported)
                reported = raw.tell()


def read_sources(path: str | os.PathLike[str], column: str | int) -> list[str]:
    """What each document is a part of, such as a book, from a table that goes with the text.

    Parts of one source are held out together, and are no random second segments for each other.

    Args:
        path: a line of column names, then a line for each document in the order of the text, with
            tabs between fields; it may be compressed by gzip.
        column: the name of a column, or its number, from 0.

    Returns:
        The field of each document, up to its first "#" (`book.txt#3` is a part of `book.txt`).

    Raises:
        BertError: the table cannot be read, has no such column, or a line is too short or its
            field is blank.
    """
    with _opened(path) as (_, lines):
        rows = [line.decode("utf-8", "ignore").rstrip("\r\n").split("\t") for line in lines]
    if not rows:
        raise BertError(f"{os.fspath(path)} is empty; its first line names the columns")
    names = rows[0]
    if not isinstance(column, int) and column not in names:
        raise BertError(f"{os.fspath(path)} has no column {column!r}; it has {', '.join(names)}")
    index = column if isinstance(column, int) else names.index(column)
    if not 0 <= index < max(map(len, rows)):
        raise BertError(f"{os.fspath(path)} has {len(names)} columns, so no number {index}")
    sources = []
    for number, row in enumerate(rows[1:], start=2):
        source = row[index].partition("#")[0].strip() if index < len(row) else ""
        if not source:
            raise BertError(
                f"{os.fspath(path)}, line {number}: no value in column {column!r}; each line must "
                "name the source of its document"
            )
        sources.append(source)
    return sources


def documents_warning(name: str, documents: int, single: int) -> str | None:
    """What to change if blank lines divide a text oddly; `single` documents are of one sentence."""
    if documents == 1:
        return (
            f"{name} is one document; put a blank line between documents, so that random second "
            "segments can come from another one."
        )
    if single >= _MOST_SINGLE * documents > 0:
        return (
            f"in {name} {single:,} of {documents:,} documents are of one sentence, so that nearly "
            "every second segment will be random; put blank lines only between documents, not "
            "after each sentence."
        )
    return None


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], Iterable[bytes]]]:
    """`opened` for what may be plain text; raises as `read_documents` does."""
    with opened(path) as (raw, lines):
        head = peek(raw)
        for start, kind in _NO_TEXT:
            if head.startswith(start):
                advice = "give plain text in UTF-8, or that in gzip"
                raise BertError(f"{os.fspath(path)} is {kind}; {advice}")
        yield raw, lines
