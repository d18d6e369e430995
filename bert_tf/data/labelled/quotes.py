"""What quotes in CSV files mean: rows within quotes, blanks before them, backslashes."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from bert_tf.data.labelled.headers import is_number

_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_MANY = 3  # lines, of which a text hardly has each with as many delimiters as a row


class RowsInQuotes:
    """Tells rows that a stray quote swallowed from a text of several lines.

    Each line of such a field, with what is before and after it, is a row by itself: it has as many
    fields as most rows, and where a column has few values, or numbers, one of these. In a table
    without such columns, three lines with the right number of fields are enough. A text that a
    program quoted has lines with other numbers of delimiters, or no label after them. Only records
    of one line say what a row is: where most have several, as with texts all of several lines,
    and in a table of one column, nothing can be inferred.

    Args:
        lines: the first of the file.
        delimiter: between fields.
    """

    def __init__(self, lines: Sequence[str], delimiter: str) -> None:
        self._delimiter = delimiter
        reader = csv.reader(lines, delimiter=delimiter)
        ends = [0, *(reader.line_num for _ in reader)]
        single = [lines[end - 1] for start, end in pairwise(ends) if end == start + 1]
        rows = [row for line in single if (row := self._fields(line))]
        widths = [len(row) for row in rows]
        most = 2 * len(single) >= len(ends) - 1
        self._width = max(set(widths), key=widths.count, default=0) if most else 0
        columns = list(zip(*(row for row in rows if len(row) == self._width)))
        self._numbers = [sum(map(is_number, cells)) > 0.9 * len(cells) for cells in columns]
        self._values = [
            {cell for cell, times in Counter(cells).items() if times > 1} if few else set()
            for cells in columns
            for few in [2 * len(set(cells)) <= len(cells)]
        ]

    def __call__(self, fields: Sequence[str]) -> bool:
        """Whether the fields of a record of several lines contain rows."""
        lines = self._delimiter.join(fields).split("\n")
        rows = [row for line in lines if (row := self._fields(line))]
        if self._width < 2 or any(len(row) != self._width for row in rows):
            return False
        telling = any(self._numbers) or any(self._values)
        return all(map(self._is_row, rows)) if telling else len(rows) >= _MANY

    def _is_row(self, row: list[str]) -> bool:
        return any(
            (number and is_number(cell)) or cell in values
            for cell, number, values in zip(row, self._numbers, self._values)
        )

    def _fields(self, line: str) -> list[str]:
        fields = next(csv.reader([line.rstrip("\r\n")], delimiter=self._delimiter), [])
        return [field.strip().strip('"') for field in fields] if line.strip() else []


def quoted_blanks(lines: Sequence[str], delimiter: str) -> int:
    """1 if most quotes that open a field follow a blank after the delimiter, as in `"a", "b"`."""
    if delimiter.isspace():
        return 0
    mark = re.escape(delimiter)
    blank = re.compile(rf'{mark} +"(?:[^"]|"")*"\s*(?={mark}|$)')
    close = re.compile(rf'{mark}"')
    found = sum(blank.search(line) is not None for line in lines)
    return int(found > sum(close.search(line) is not None for line in lines))


def unescaped(line: str) -> str:
    r"""A line with two quotes for each that follows a backslash.

    >>> unescaped(r'"a \"b\" c",x')
    '"a ""b"" c",x'
    """
    return _ESCAPED.sub(r'\1""', line)
