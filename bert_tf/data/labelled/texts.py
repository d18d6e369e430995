"""`LabelledTexts`: a text or a pair in each row, its label, and the row's origin."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np

from bert_tf.data.labelled.problems import Place, show_place
from bert_tf.errors import BertError

Task = Literal["classes", "multilabel", "regression"]
TASKS: tuple[Task, ...] = ("classes", "multilabel", "regression")

Label = str | tuple[str, ...] | float | None
"""Of one row: its class, its several classes, or its number; None where the row has none."""

_WHOLE = re.compile(r"([-+]?\d+)\.0+")
_COLUMNS = ("texts", "pairs", "labels", "rows")


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Rows of text with their labels, as they were read; nothing is a number yet.

    Attributes:
        texts: the first, or only, text of each row.
        pairs: the second; None if rows have one text.
        labels: of each row by `task`: a str, a tuple of str without repetitions, or a float; None
            where a row has none, None in place of the list if no row has one.
        rows: where each row comes from.
        task: what is predicted: one class, any number of them at once, or a number.
        label_names: all classes in order, where that is known beforehand, as for GLUE.

    Raises:
        BertError: the lists are not equally long, or there is no such task.

    Example:
        >>> data = LabelledTexts(["good", "bad"], None, ["1", "0"], [("a.csv", 2), ("a.csv", 3)])
        >>> len(data), data.place(1)
        (2, 'a.csv:3')
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[Label] | None
    rows: list[Place]
    task: Task = "classes"
    label_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BertError(f"there is no task {self.task!r}; take one of {', '.join(TASKS)}")
        for name in _COLUMNS:
            column = getattr(self, name)
            if column is not None and len(column) != len(self.texts):
                counts = f"{len(self.texts):,} texts, but {len(column):,} {name}"
                raise BertError(f"there are {counts}; give as many of each")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)

    def __repr__(self) -> str:
        kind = "pairs" if self.pairs is not None else "texts"
        return f"LabelledTexts({len(self):,} {kind}, {self.task})"

    def take(self, indices: Iterable[int]) -> LabelledTexts:
        """The rows of these numbers, in this order."""
        chosen = [int(index) for index in indices]
        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            column = getattr(self, name)
            columns[name] = None if column is None else [column[i] for i in chosen]
        return replace(self, **columns)

    def place(self, index: int) -> str:
        """Where a row comes from, as compilers write it."""
        return show_place(self.rows[index])

    def each(self) -> Iterator[tuple[str, str | None]]:
        """The one or two texts of each row."""
        if self.pairs is None:
            return ((text, None) for text in self.texts)
        return zip(self.texts, self.pairs)


def join(parts: Sequence[LabelledTexts]) -> LabelledTexts:
    """One part after the other; a `BertError` if there is none, or columns or tasks differ."""
    if not parts:
        raise BertError("no data given")
    first = parts[0]
    for part in parts[1:]:
        for what in ("pairs", "labels"):
            if (getattr(part, what) is None) != (getattr(first, what) is None):
                raise BertError(f"some of the files have {what}, others not; they must be alike")
        if part.task != first.task:
            tasks = f"some of the labels are for {first.task}, others for {part.task}"
            raise BertError(f"{tasks}; pass `task={first.task!r}` or `task={part.task!r}`")
    columns: dict[str, Any] = {}
    for name in _COLUMNS:
        column = [getattr(part, name) for part in parts]
        columns[name] = None if column[0] is None else list(chain(*column))
    return replace(first, **columns)


def classes_of(label: Label) -> tuple[str, ...]:
    """The classes that a label names: none, one or several."""
    if isinstance(label, str):
        return (label,)
    return label if isinstance(label, tuple) else ()


def like_labels(data: LabelledTexts, known: Iterable[str] = ()) -> LabelledTexts:
    """The same rows with one name for each class that is written in several ways.

    `0.0` and `0` are the same class, and so are `True` and `true`. Those known keep their names;
    of others the shortest is taken.

    >>> rows = [("a.csv", 2), ("a.csv", 3)]
    >>> like_labels(LabelledTexts(["a", "b"], None, ["1.0", "true"], rows), ["0", "1"]).labels
    ['1', 'true']
    """
    if data.labels is None or data.task == "regression":
        return data
    names = dict.fromkeys(known)
    others = {one for label in set(data.labels) for one in classes_of(label)} - names.keys()
    forms = {_same_class(name): name for name in names}
    for name in sorted(others, key=lambda name: (len(name), name)):
        forms.setdefault(_same_class(name), name)
    renamed = {name: form for name in others if (form := forms[_same_class(name)]) != name}
    if not renamed:
        return data

    def new(label: Label) -> Label:
        if isinstance(label, tuple):
            return tuple(dict.fromkeys(renamed.get(one, one) for one in label))
        return renamed.get(label, label) if isinstance(label, str) else label

    return replace(data, labels=list(map(new, data.labels)))


def _same_class(name: str) -> str:
    if whole := _WHOLE.fullmatch(name):
        return whole[1]
    return name.lower() if name.lower() in ("true", "false") else name


def order_labels(
    splits: Iterable[LabelledTexts], given: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The classes in the order in which the model numbers them; empty for regression.

    It is the order given; else that of the data set (GLUE's); else numbers are sorted by size and
    other names by their characters, so that the order of the rows does not matter.

    Args:
        splits: those whose classes count, usually the training rows.
        given: by the user.

    Raises:
        BertError: a name is given twice, a row has a class that is not among those given, or
            there are fewer than two classes (one, if several can hold at once).
    """
    splits = list(splits)
    if not splits or splits[0].task == "regression":
        return ()
    names = given if given is not None else splits[0].label_names
    if names is None:
        found = {x for data in splits for label in data.labels or () for x in classes_of(label)}
        names = sorted(found, key=_label_key(found))
    names = tuple(map(str, names))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BertError(f"the label {twice[0]!r} is given twice; name each once, in your order")
    least = 1 if splits[0].task == "multilabel" else 2
    if len(names) < least:
        few = f"the training rows have {len(names)} label(s) ({', '.join(names) or 'none'})"
        raise BertError(f"{few}, but need at least {least}; is `label` the right column?")
    for data in splits:
        encode_labels(data, names, check_only=True)
    return names


def _label_key(names: set[str]):
    """Sorts by size if all are finite numbers, else by characters."""
    try:
        sizes = {name: float(name) for name in names}
    except ValueError:
        return str
    return (lambda name: (sizes[name], name)) if all(map(math.isfinite, sizes.values())) else str


def encode_labels(
    data: LabelledTexts, names: Sequence[str] = (), *, check_only: bool = False
) -> np.ndarray:
    """Labels as the numbers that a model is trained on.

    Args:
        data: rows that all have a label.
        names: the classes in order; not needed for regression.
        check_only: accept rows without a label, as 0.

    Returns:
        int32 (n,), the number of the class; float32 (n, classes), 1 for each class that holds;
        or float32 (n,), the number itself.

    Raises:
        BertError: a row has no label, or one that is not among `names`.
    """
    labels = data.labels if data.labels is not None else [None] * len(data)
    if not check_only and None in labels:
        index = labels.index(None)
        raise BertError(f"{data.place(index)} has no label; drop such rows first (clean)")
    if data.task == "regression":
        return np.array([0.0 if x is None else x for x in labels], np.float32)
    numbers = {name: index for index, name in enumerate(names)}
    try:
        if data.task == "classes":
            return np.array([0 if x is None else numbers[str(x)] for x in labels], np.int32)
        hot = np.zeros((len(data), len(names)), np.float32)
        for row, label in enumerate(labels):
            hot[row, [numbers[name] for name in classes_of(label)]] = 1
        return hot
    except KeyError as error:
        unknown = error.args[0]
        index = next(i for i, label in enumerate(labels) if unknown in classes_of(label))
        shown = ", ".join(names[:12]) + (f", ... ({len(names)} labels)" if len(names) > 12 else "")
        raise BertError(
            f"{data.place(index)} has the label {unknown!r}, which is not among {shown}; correct "
            "it, or add it to the labels"
        ) from None
