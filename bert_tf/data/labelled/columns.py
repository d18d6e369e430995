"""Which columns of a table are the text, the second text and the label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bert_tf.data.labelled.column_names import LABEL_NAMES, PAIR_NAMES, TEXT_NAMES
from bert_tf.data.labelled.tables import Column, Table, TableOptions, is_number
from bert_tf.errors import BertError

if TYPE_CHECKING:
    from bert_tf.data.labelled.texts import Task


@dataclass(frozen=True)
class Layout:
    """The columns of a file; what is None is inferred from it.

    Attributes:
        text, text_pair, label: columns by name or number; see `choose_columns`.
        task: see `LabelledTexts`. If left out: several labels if a separator is given or labels
            are lists; a number if all labels are numbers and one has a fraction; else classes.
        label_separator: between several labels of one row. If left out, for `task="multilabel"`
            the one of `| ; ,` that most labels have.
        unlabelled: labels that mean none, such as the "-" of SNLI.
        label_names: all classes in order, if known.
        renamed: label in the file to its name.
        only: a column and a value; rows with another value there are skipped.
        table: how the file is read.
    """

    text: Column | None = None
    text_pair: Column | None = None
    label: Column | None = None
    task: Task | None = None
    label_separator: str | None = None
    unlabelled: tuple[str, ...] = ("", "-")
    label_names: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    only: tuple[Column, str] | None = None
    table: TableOptions = field(default_factory=TableOptions)


class Columns(NamedTuple):
    """Numbers, from 0, of the columns of the (first) text, the second text and the label."""

    text: int
    pair: int | None
    label: int | None


def choose_columns(
    table: Table,
    text: Column | None = None,
    text_pair: Column | None = None,
    label: Column | None = None,
    *,
    labelled: bool = True,
) -> tuple[Columns, list[str]]:
    """The columns asked for; the others by their names, else by their content.

    By name: the first of `PAIR_NAMES` or `TEXT_NAMES`, and of `LABEL_NAMES`, that the table has,
    in any case. By content, in the first thousand rows: the text is the column with the most
    characters; the label is, of the others, that with the fewest different values, the last of
    equal ones. A column in which no value occurs twice is no label unless it holds fractions.

    Args:
        table: the table.
        text: the column of the text.
        text_pair: of the second text; it is looked for only if `text` is left out too.
        label: of the label.
        labelled: whether there must be a label; if not, one is found by its name only.

    Returns:
        The columns; and warnings of those that were not asked for.

    Raises:
        BertError: there is no such column, one is given twice, or none can be found.
    """
    guessed = []
    text_at, pair_at, label_at = asked = [
        None if column is None else table.column(column) for column in (text, text_pair, label)
    ]
    taken = {index for index in asked if index is not None}
    if len(taken) < 3 - asked.count(None):
        given = f"text {text!r}, pair {text_pair!r} and label {label!r}"
        raise BertError(f"{table.path}: one column is given twice among {given}")
    names = [name.strip().lower() for name in table.names or ()]

    def named(*wanted: str) -> int | None:
        found = (names.index(name) for name in wanted if name in names)
        return next((index for index in found if index not in taken), None)

    if label_at is None and (label_at := named(*LABEL_NAMES)) is not None:
        taken.add(label_at)
        guessed.append(f"label {_name(table, label_at)}")
    by_content = False
    if text_at is None:
        pairs = ((named(a), named(b)) for a, b in (PAIR_NAMES if pair_at is None else ()))
        both = next(((a, b) for a, b in pairs if a is not None and b is not None), None)
        if both is not None:
            text_at, pair_at = both
            guessed.append(f"texts {_name(table, both[0])} and {_name(table, both[1])}")
        else:
            if (text_at := named(*TEXT_NAMES)) is None:
                text_at, by_content = _longest(table, taken), True
            guessed.append(f"text {_name(table, text_at)}")
        taken |= {text_at} if pair_at is None else {text_at, pair_at}
    if label_at is None and labelled:
        label_at, by_content = _fewest(table, taken), True
        guessed.append(f"label {_name(table, label_at)}")
    how = "what they hold" if by_content else "their names"
    warning = f"columns of {table.path}, inferred from {how}: {', '.join(guessed)}"
    warnings = [f"{warning} (`text`, `text_pair`, `label`)"] if guessed else []
    return Columns(text_at, pair_at, label_at), warnings


def _longest(table: Table, taken: set[int]) -> int:
    def size(index: int) -> int:
        cells = _cells(table, index)
        return 0 if all(map(is_number, cells)) else sum(len(str(cell)) for cell in cells)

    rest = [index for index in range(table.width) if index not in taken]
    if not rest or not max(map(size, rest)):
        more = "".join(f"; {warning}" for warning in table.warnings)
        raise BertError(f"{table.path} has no column of text; name it with `text`{more}")
    return max(rest, key=size)


def _fewest(table: Table, taken: set[int]) -> int:
    def different(index: int) -> float:
        cells = [str(cell) for cell in _cells(table, index)]
        count = len(set(cells))
        fractions = all(map(is_number, cells)) and any(float(cell) % 1 for cell in cells)
        unlike = count == len(cells) > 2 and not fractions
        return float("inf") if not cells or unlike else count

    rest = [index for index in range(table.width) if index not in taken]
    best = min(rest, key=lambda index: (different(index), -index), default=None)
    if best is None or different(best) == float("inf"):
        raise BertError(f"{table.path}: no label found; name it with `label` ({all_names(table)})")
    return best


def _cells(table: Table, index: int) -> list[Any]:
    cells = (row.fields[index] for row in table.sample if index < len(row.fields))
    return [cell for cell in cells if cell is not None and str(cell).strip()]


def _name(table: Table, index: int) -> str:
    return repr(table.names[index]) if table.names else f"number {index}"


def all_names(table: Table) -> str:
    """The names of a table's columns, else their numbers, for a message."""
    return "columns: " + ", ".join(table.names or map(str, range(table.width)))
