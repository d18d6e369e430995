"""Whether a row of a table has the names of its columns, and titles above it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from bert_tf.data.labelled.column_names import ALL_NAMES

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_NAME = re.compile(r"[^\W\d][\w.#/-]{0,29}")
_TITLES = 5  # lines above the names at most
_FEW = 3  # rows from which unknown names can be recognized


def is_number(field: Any) -> bool:
    """Whether a field is a number, or text that is one."""
    if isinstance(field, str):
        return _NUMBER.fullmatch(field) is not None
    return isinstance(field, int | float) and not isinstance(field, bool)


def find_header(
    rows: Sequence[Sequence[str]], width: int, wanted: Sequence[Any], header: bool | None
) -> tuple[int, list[str]] | None:
    """The row with the names of the columns, and the names; None if there is no such row.

    Above it may be titles, which fill one field each. As R's `write.table` leaves it, it may have
    no name for a first column of row numbers; that name is "" then.

    Args:
        rows: the first of the table, without blank lines.
        width: number of fields that most rows have.
        wanted: columns asked for, by name or number.
        header: whether there is one; None to infer it.
    """
    if header is False or not rows:
        return None

    def names_at(at: int) -> list[str] | None:
        first = [field.strip() for field in rows[at]]
        body = [row for row in rows[at + 1 :] if len(row) == width and row != rows[at]]
        if len(first) == width - 1 > 0 and _are_row_numbers(row[0] for row in body):
            return ["", *first]
        return first if _is_header(first, body, wanted) else None

    titles = range(min(_TITLES, len(rows) - 1) if width > 1 else 0)
    above = next((i for i in titles if sum(map(bool, map(str.strip, rows[i]))) > 1), len(titles))
    if above and len(rows[above]) in (width, width - 1) and (names := names_at(above)):
        return above, names
    names = names_at(0)
    return (0, names or [field.strip() for field in rows[0]]) if names or header else None


def _are_row_numbers(cells: Any) -> bool:
    found = list(cells)
    return bool(found) and all(map(str.isdecimal, found)) and len(set(found)) == len(found)


def _is_header(first: list[str], rest: list[Sequence[str]], wanted: Sequence[Any]) -> bool:
    named = [name for name in first if name]
    if not named or len(set(named)) < min(len(named), 2):
        return False
    # In any case, as columns are found by name; "1" is rather the number of a column.
    asked = {name.lower() for name in wanted if isinstance(name, str) and not name.isdecimal()}
    if asked & set(map(str.lower, named)):
        return True
    counted = named == list(map(str, range(len(named))))  # as pandas names columns without names
    like_names = len(named) > 1 and (
        all(map(_NAME.fullmatch, named)) or " ".join(named).istitle() or counted
    )
    long_text = False
    for index, name in enumerate(first):
        column = [row[index].strip() for row in rest if index < len(row)]
        # A class may be called `question`; but then it comes again.
        if name in column:
            like_names = like_names and (counted or not name)
            continue
        if name.lower() in ALL_NAMES:
            return True
        numbers = bool(column) and all(map(is_number, column))
        counts = Counter(column)
        # Classes: so few values, each so often, that a single one would be odd.
        classes = len(column) >= 5 * len(counts) and min(counts.values(), default=0) > 1
        if name and not is_number(name) and (numbers or classes):
            return True
        if name and len(column) >= _FEW:
            long_text = long_text or median(map(len, column)) >= max(10, 2 * len(name))
    # Words that could be names, none of which comes again, above texts that are much longer.
    return like_names and long_text
