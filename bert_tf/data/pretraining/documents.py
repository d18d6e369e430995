"""Plain text as the original reads it: a sentence a line, a blank line between documents."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence

from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.files.text_lines import (
    PLAIN_TEXT,
    LineCheck,
    conversion_advice,
    decoded,
    open_lines,
    opened,
    undecodable,
)

_MOST_SINGLE = 0.9
"""Fraction of documents of one sentence from which blank lines are taken for a mistake."""

_STRAYS = 0.001
"""Fraction of lines that may have bytes that are not UTF-8."""


class Documents:
    """The documents of some files, one at a time, so that memory holds no more than that.

    See `read_documents`. After the last one `warnings` has what is unusual about the text.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self._paths, self._on_bytes = paths, on_bytes
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[list[str]]:
        check = LineCheck(_STRAYS, drop=True)
        for path in self._paths:
            yield from self._documents(os.fspath(path), check)
        self.warnings = warn(check.warning())

    def _documents(self, path: str, check: LineCheck) -> Iterator[list[str]]:
        with opened(path) as (raw, unpacked), decoded(path, unpacked, None, PLAIN_TEXT) as lines:
            reported = 0
            document: list[str] = []
            for line in itertools.chain(check.checked(path, lines), [""]):
                if text := line.strip():
                    document.append(text)
                    continue
                if document:
                    yield document
                    document = []
                if self._on_bytes is not None and raw.tell() != reported:
                    self._on_bytes(raw.tell() - reported)
                    reported = raw.tell()


def read_documents(
    path: str | os.PathLike[str], on_bytes: Callable[[int], None] | None = None
) -> Iterator[list[str]]:
    r"""The documents of one file, one at a time, so that memory holds no more than that.

    Only "\n" ends a line; each line is stripped; one that is then blank ends a document. Unlike
    in create_pretraining_data.py so does the end of a file, whatever the order of files.

    Args:
        path: a text file in UTF-8, or in UTF-16 with a byte order mark; compressed by gzip if it
            starts like that. Bytes that are not UTF-8 are dropped as in the original, with a
            warning that names their lines.
        on_bytes: called now and then with the bytes of the file read since the last call.

    Yields:
        The lines of a document that are not blank, at least one.

    Raises:
        BertError: the file cannot be read, its compression is broken, or it has another encoding:
            over three lines, and one in a thousand, or most lines are not UTF-8.
    """
    return iter(Documents([path], on_bytes))


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
    with open_lines(name := os.fspath(path), advice=PLAIN_TEXT) as lines:
        rows = [line.rstrip("\r\n").split("\t") for line in lines]
    if not rows:
        raise BertError(f"{name} is empty; its first line names the columns")
    names = rows[0]
    if not isinstance(column, int) and column not in names:
        raise BertError(f"{name} has no column {column!r}; it has {', '.join(names)}")
    index = column if isinstance(column, int) else names.index(column)
    if not 0 <= index < max(map(len, rows)):
        raise BertError(f"{name} has {len(names)} columns, so no number {index}")
    sources = []
    for number, row in enumerate(rows[1:], start=2):
        source = row[index].partition("#")[0].strip() if index < len(row) else ""
        if undecodable(source):
            advice = conversion_advice(name, source)
            raise BertError(f"{name}, line {number} is not UTF-8; {advice}")
        if not source:
            raise BertError(
                f"{name}, line {number}: no value in column {column!r}; each line must "
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
