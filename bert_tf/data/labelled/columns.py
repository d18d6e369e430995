"""Which columns of a table are the text, the second text and the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bert_tf.data.labelled.column_names import LABEL_NAMES, PAIR_NAMES, TEXT_NAMES
from bert_tf.data.labelled.headers import is_number
from bert_tf.data.labelled.problems import PROBLEMS
from bert_tf.data.labelled.tables import Column, Table, TableOptions, as_text
from bert_tf.errors import BertError

if TYPE_CHECKING:
    from bert_tf.data.labelled.texts import Task

_BLANK = PROBLEMS["unlabelled"].limit


@dataclass(frozen=True)
class Layout:
    """The columns of a file; what is None is inferred from it.

    Attributes:
        text, text_pair, label: columns by name or number; see `choose_columns`. Several labels,
            in a list or with commas between them, are columns of 0 and 1, one for each label that
            a row may have.
        task: see `LabelledTexts`. If left out: several labels if a separator is given or labels
            are lists; a number if all labels are numbers and one has a fraction; else classes.
        label_separator: between several labels of one row. If left out, for `task="multilabel"`
            the one of `| ; ,` that most labels have.
        unlabelled: labels that mean none. If left out, an empty one, and "-" in the layout of SNLI
            and MNLI, where fewer than 5 % of the rows have it, or if it is none of `label_names`.
        label_names: all classes in order, if known.
        renamed: label in the file to its name.
        only: a column and a value; rows with another value there are skipped.
        table: how the file is read.
        trained: how the table of a training was read, `ClassifierInfo.table`. What the other
            fields leave open is read alike, if the file is laid out alike.
    """

    text: Column | None = None
    text_pair: Column | None = None
    label: Column | Sequence[Column] | None = None
    task: Task | None = None
    label_separator: str | None = None
    unlabelled: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    only: tuple[Column, str] | None = None
    table: TableOptions = field(default_factory=TableOptions)
    trained: Mapping[str, Any] | None = None


class Columns(NamedTuple):
    """Numbers, from 0, of the columns of the (first) text, the second text and the label.

    `label` are several numbers where each label has a column of 0 and 1.
    """

    text: int
    pair: int | None
    label: int | tuple[int, ...] | None

    @property
    def labels(self) -> tuple[int, ...]:
        """Of the label, none, one or several."""
        label = self.label
        return label if isinstance(label, tuple) else () if label is None else (label,)


def choose_columns(
    table: Table,
    text: Column | None = None,
    text_pair: Column | None = None,
    label: Column | Sequence[Column] | None = None,
    *,
    labelled: bool = True,
) -> tuple[Columns, list[str]]:
    """The columns asked for; the others by their names, else by their content.

    By name: the first of `PAIR_NAMES` or `TEXT_NAMES`, and of `LABEL_NAMES`, that the table has,
    in any case. By content, in the first thousand rows: the text is the column with the most
    characters; the label is, of the others, that with the fewest different values, the last of
    equal ones. A column with one value is no label, nor is one in which no value occurs twice,
    unless it has fractions. Columns without a name, where others have names, and columns that are
    blank in more than a fifth of the rows come last.

    Args:
        table: the table.
        text: the column of the text.
        text_pair: of the second text; it is looked for only if `text` is left out too.
        label: of the label; or several columns of 0 and 1, in a list, or as text with commas.
        labelled: whether there must be a label; if not, one is found by its name only.

    Returns:
        The columns; and warnings of those that were not asked for.

    Raises:
        BertError: there is no such column, one is given twice, or none can be found.
    """
    guessed: list[str] = []
    warnings: list[str] = []
    text_at, pair_at = (None if c is None else table.column(c) for c in (text, text_pair))
    several = list(map(table.column, label_columns(table, label)))
    label_at: int | tuple[int, ...] | None = tuple(several) if len(several) > 1 else None
    if len(several) == 1:
        label_at = several[0]
    asked = [*several, *(index for index in (text_at, pair_at) if index is not None)]
    taken = set(asked)
    if len(taken) < len(asked):
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
        warnings += _several_labels(table, taken)
    how = "what they hold" if by_content else "their names"
    warning = f"columns of {table.path}, inferred from {how}: {', '.join(guessed)}"
    warnings = [f"{warning} (`text`, `text_pair`, `label`)", *warnings] if guessed else []
    columns = Columns(text_at, pair_at, label_at)
    numbers = {text, text_pair, *label_columns(table, label)}
    for index in {text_at, columns.pair, *columns.labels} - numbers - {None}:
        name = table.names[index] if table.names and index is not None else ""
        if name and (table.names or ()).count(name) > 1:
            warnings.append(
                f"several columns of {table.path} are called {name!r}; number {index} "
                "is read (give another number)"
            )
    return columns, warnings


def label_columns(table: Table, label: Column | Sequence[Column] | None) -> Sequence[Column]:
    """The columns of the label by name or number: none, one, or several."""
    if isinstance(label, str) and "," in label and label not in (table.names or ()):
        return [part.strip() for part in label.split(",") if part.strip()]
    if label is None or isinstance(label, str | int):
        return () if label is None else (label,)
    return label


def _several_labels(table: Table, taken: set[int]) -> list[str]:
    """Says how to take all columns of 0 and 1 as labels, where there are several."""
    rest = (index for index in range(table.width) if index not in taken)
    cells = {index: {str(cell).strip() for cell in _cells(table, index)} for index in rest}
    hot = [index for index, found in cells.items() if {"0"} < found <= {"0", "1", "-1"}]
    if len(hot) < 2:
        return []
    names = ",".join(table.names[i] if table.names else str(i) for i in hot)
    return [
        f"{len(hot)} columns of {table.path} have 0 and 1 only; if each is a label that a row "
        f"may have, pass `label={names!r}`"
    ]


def _longest(table: Table, taken: set[int]) -> int:
    def size(index: int) -> int:
        cells = [cell for cell in _cells(table, index) if not isinstance(cell, list)]
        return 0 if all(map(is_number, cells)) else sum(len(str(cell)) for cell in cells)

    rest = [index for index in range(table.width) if index not in taken]
    if not rest or not max(map(size, rest)):
        more = "".join(f"; {warning}" for warning in table.warnings)
        raise BertError(f"{table.path} has no column of text; name it with `text`{more}")
    return max(rest, key=lambda i: (size(i) > 0, _named(table, i), size(i)))


def _fewest(table: Table, taken: set[int]) -> int:
    def different(index: int) -> float:
        cells = [str(cell) for cell in _cells(table, index)]
        count = len(set(cells))
        fractions = all(map(is_number, cells)) and any(float(cell) % 1 for cell in cells)
        unlike = count == len(cells) > 2 and not fractions
        return float("inf") if not cells or unlike or count == 1 < len(cells) else count

    rest = [index for index in range(table.width) if index not in taken]
    best = min(
        rest,
        key=lambda i: (
            *(different(i) == float("inf"), not _named(table, i)),
            # A label that is often missing is rather not the label.
            *(len(_cells(table, i)) < (1 - _BLANK) * len(table.sample), different(i), -i),
        ),
        default=None,
    )
    if table.width == 1:
        one = f"{table.path}: no label found: the table has one column"
        raise BertError(f"{one}; is `delimiter` right?")
    if best is None or different(best) == float("inf"):
        raise BertError(f"{table.path}: no label found; name it with `label` ({all_names(table)})")
    return best


def _named(table: Table, index: int) -> bool:
    """Whether a column can be a text or a label: it has a name, if others have."""
    return not table.names or bool(table.names[index])


def _cells(table: Table, index: int) -> list[Any]:
    cells = (row.fields[index] for row in table.sample if index < len(row.fields))
    return [cell for cell in cells if isinstance(cell, list) or not _is_blank(cell)]


def _is_blank(cell: Any) -> bool:
    return isinstance(cell, dict) or not as_text(cell).strip()


def _name(table: Table, index: int) -> str:
    name = table.names[index] if table.names else ""
    return repr(name) if name else f"number {index}"


def unlabelled_columns(table: Table, columns: Columns) -> list[int]:
    """The numbers of the columns that can be texts: not the label's, with names if others have."""
    return [i for i in range(table.width) if _named(table, i) and i not in columns.labels]


def all_names(table: Table) -> str:
    """The names of a table's columns, else their numbers, for a message."""
    return "columns: " + ", ".join(filter(None, table.names or map(str, range(table.width))))
