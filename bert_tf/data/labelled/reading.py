"""`read_labelled`: files of any table format as `LabelledTexts`; odd rows dropped and reported."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bert_tf.data.labelled.cleaning import clean
from bert_tf.data.labelled.columns import Columns, Layout
from bert_tf.data.labelled.headers import is_number
from bert_tf.data.labelled.opening import open_table
from bert_tf.data.labelled.problems import Policy, Problem, Tally, show_place
from bert_tf.data.labelled.tables import SPLIT, Table, as_text
from bert_tf.data.labelled.texts import Label, LabelledTexts, Place, Task, join, like_labels
from bert_tf.errors import BertError
from bert_tf.files.finding import find_files
from bert_tf.files.log import Warned, warn
from bert_tf.files.reading import parse_json

_SEPARATORS = ("|", ";", ",")
_ITEM = re.compile(r"""'[^'\\]*'|"[^"\\]*"|[01]\b\.?""")
_ITEMS = re.compile(rf"\[\s*(?:{_ITEM.pattern})(?:[\s,]+(?:{_ITEM.pattern}))*[\s,]*\]")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_NO_TEXT = (list, dict)
_HELD = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1, "": None, "-1": None}
_FEW_DASHES = 0.05  # of the labels; more are rather a class
_MANY_NUMBERS = 20  # more different whole numbers than this are rather a score than classes


class Reading(NamedTuple):
    """The rows read, what was wrong with some, what was inferred from the files, and the layout.

    `warnings` were logged, and say how to change what was inferred; `layout` has the columns and
    the task found in the first file, to read other files of the same data.
    """

    data: LabelledTexts
    problems: list[Problem]
    warnings: list[str]
    layout: Layout


def read_labelled(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    layout: Layout | None = None,
    policy: Policy | None = None,
) -> Reading:
    """Reads files of texts and labels.

    Args:
        paths: files or patterns, in order.
        layout: their columns.
        policy: what is done about odd rows; that of training if left out.

    Raises:
        BertError: a file cannot be read, columns are unclear, files differ, no row is left, or
            the policy refuses something.
    """
    layout, policy = layout or Layout(), policy or Policy("train")
    parts: list[LabelledTexts] = []
    problems: list[Problem] = []
    odd: list[str] = []
    found_layout = layout
    names = [paths] if isinstance(paths, str | os.PathLike) else paths
    for path in find_files(names, wanted="give tables: CSV, TSV, JSON lines, Parquet or Excel"):
        opened = _open(path, found_layout, policy, odd)
        if not parts:  # the columns found hold for the others, by name where they have names
            found_layout = _found(layout, opened)
        tally = Tally(policy)
        parts.append(_as_data([*_records(opened, tally)], opened.columns, opened.table.names))
        problems += tally.settle(opened.seen, opened.advice)
    data = join(parts)
    separator = _tell_separator(data, layout, odd)
    found_layout = replace(found_layout, label_separator=separator)
    unlabelled = _unlabelled(data, found_layout)
    data = give_task(data, replace(found_layout, unlabelled=unlabelled), odd)
    data, more = clean(data, policy)
    if not len(data):
        raise BertError(f"no row is left of {parts[0].rows[0][0] if len(parts[0]) else paths}")
    found_layout = replace(found_layout, task=data.task, unlabelled=unlabelled)
    return Reading(data, problems + more, [*warn(*dict.fromkeys(odd))], found_layout)


Reading.remarks = vars(Warned)["remarks"]  # type: ignore[attr-defined]
_Record = tuple[Any, ...]  # text, pair, label and place


@dataclass
class _Opened:
    """A table, its columns, how many rows were read, and hints for its problems."""

    table: Table
    columns: Columns
    seen: int = 0
    advice: dict[str, str] = field(default_factory=dict)


def _open(path: str | os.PathLike[str], layout: Layout, policy: Policy, odd: list[str]) -> _Opened:
    table, columns, inferred = open_table(path, layout, labelled=policy.role != "predict")
    odd += [*table.warnings, *inferred]
    return _Opened(table, columns)


def _found(layout: Layout, opened: _Opened) -> Layout:
    """How other files of the same data, and files to predict, are read alike."""
    table, (text, pair, label) = opened.table, opened.columns

    def one(index: int | None) -> str | int | None:
        return None if index is None else shown(index)

    def shown(index: int) -> str | int:
        name = table.names[index] if table.names else ""
        return name if name and table.names.count(name) == 1 else index  # type: ignore[union-attr]

    if isinstance(label, tuple):
        if layout.task not in (None, "multilabel"):
            raise BertError(f"several columns of labels are no {layout.task}; name one (`label`)")
        names = layout.label_names or tuple(str(shown(index)) for index in label)
        layout = replace(layout, task="multilabel", label_names=names)
    return replace(
        layout,
        text=shown(text),
        text_pair=one(pair),
        label=tuple(map(shown, label)) if isinstance(label, tuple) else one(label),
        trained=layout.trained or table.dialect(),
    )


def _records(opened: _Opened, tally: Tally) -> Iterator[_Record]:
    policy, objects = tally.policy, opened.table.format not in SPLIT
    text, pair, _ = opened.columns
    for line, fields, problem, note in opened.table.rows():
        place = opened.table.path, line
        opened.seen += problem != "blank_line"
        if problem == "wrong_encoding":
            opened.advice.setdefault(problem, note)
            note = ""
        if objects and problem == "ragged":
            opened.advice.setdefault(problem, "give a JSON object a line, and no commas after them")
        if objects and not problem:
            one = fields[text]
            if type(one) in _NO_TEXT or (pair is not None and type(fields[pair]) in _NO_TEXT):
                problem = "no_text"
        if problem and tally.add(problem, place, note):
            if policy[problem] == "refuse" and policy.role == "predict":
                tally.settle(opened.seen, opened.advice)  # at once, not after a long file
            continue
        yield _record(fields, opened.columns, place)


def _record(fields: Sequence[Any], columns: Columns, place: Place) -> _Record:
    text, pair, label = columns
    width = len(fields)
    if isinstance(label, tuple):
        found: Any = [fields[i] if i < width else None for i in label]
    else:
        found = fields[label] if label is not None and label < width else None
    second = fields[pair] if pair is not None and pair < width else None
    return fields[text] if text < width else None, second, found, place


def _as_data(
    records: Sequence[_Record], columns: Columns, names: Sequence[str] | None = None
) -> LabelledTexts:
    """With labels as they were read, whatever they are; `names` are those of all columns."""
    texts, pairs, labels, rows = ([record[i] for record in records] for i in range(4))
    seconds = None if columns.pair is None else [as_text(pair) for pair in pairs]
    labels_read = None if columns.label is None else labels
    if isinstance(columns.label, tuple):
        held = [names[i] if names else str(i) for i in columns.label]
        labels_read = [_held(cells, held, place) for cells, place in zip(labels, rows)]
    return LabelledTexts([as_text(text) for text in texts], seconds, labels_read, rows)


def _held(cells: Sequence[Any], names: Sequence[str], place: Place) -> list[str] | None:
    """The names of the columns that have 1; None if one of them says nothing, or -1 (Jigsaw's)."""
    found = [_HELD.get(as_text(cell).strip().lower(), 2) for cell in cells]
    if 2 in found:
        wrong = found.index(2)
        what = f"{names[wrong]!r} is {cells[wrong]!r:.40}"
        raise BertError(f"{show_place(place)}: {what}; columns of several labels have 0 or 1")
    return None if None in found else [name for name, held in zip(names, found) if held]


def give_task(data: LabelledTexts, layout: Layout, odd: list[str]) -> LabelledTexts:
    """The same rows with labels in the form of their task.

    Args:
        data: rows whose labels are whatever was given: text, numbers, lists, None.
        layout: has the task, or how labels are separated, or neither.
        odd: gets what was inferred from the labels.

    Returns:
        Labels as `LabelledTexts` says; in a regression one that is no number becomes a str, which
        `clean` finds.

    Raises:
        BertError: labels are lists, but the task is not "multilabel".
    """
    if data.labels is None:
        task: Task = layout.task or ("multilabel" if layout.label_separator else "classes")
        return replace(data, task=task, label_names=layout.label_names)
    unlabelled = ("",) if layout.unlabelled is None else layout.unlabelled
    values: list[Any] = [_plain(value, unlabelled) for value in data.labels]
    values = _unpacked(values, layout, odd)
    task = layout.task or _tell_task(values, layout, odd)
    labels: list[Label]
    if task == "regression":
        labels = [None if v is None else _as_number(v) for v in values]
    elif task == "multilabel":
        # No class at all is an answer, too: an empty cell is no missing label.
        blank = [isinstance(value, str) and not value.strip() for value in data.labels]
        labels = [() if b else _as_several(v, layout) for v, b in zip(values, blank)]
    else:
        for index, value in enumerate(values):
            if isinstance(value, list | tuple):
                place = f"{data.place(index)}: the label is a list, {value!r:.60}"
                raise BertError(f"{place}; for several labels at once pass `task='multilabel'`")
            if isinstance(value, dict):
                place = f"{data.place(index)}: the label is an object, {value!r:.60}"
                raise BertError(f"{place}; name a column of labels with `label`")
        if not all(map(_means_nan, values)) and _all_numbers(values):
            values = [None if _means_nan(value) else value for value in values]
        names = [None if value is None else _as_class(value) for value in values]
        labels = [layout.renamed.get(name, name) if name else None for name in names]
    data = replace(data, labels=labels, task=task, label_names=layout.label_names)
    return like_labels(data, layout.label_names or ())


def _unlabelled(data: LabelledTexts, layout: Layout) -> tuple[str, ...]:
    """The labels that mean none: "-" only where it does in this layout, or is rare."""
    if layout.unlabelled is not None:
        return layout.unlabelled
    names = Counter([value for value in data.labels or () if type(value) is str])
    dashes = sum(times for name, times in names.items() if name.strip() == "-")
    known = layout.label_names
    rare = dashes < _FEW_DASHES * names.total() if known is None else "-" not in known
    of_snli = data.pairs is not None and str(layout.label).lower() == "gold_label"
    return ("", "-") if dashes and (rare or of_snli) else ("",)


def _unpacked(values: list[Any], layout: Layout, odd: list[str]) -> list[Any]:
    """Lists of one as their values, and equally long lists of 0 and 1 as names of classes."""
    lists = []
    for value in values:
        one = value if isinstance(value, list | tuple) else _json_list(value)
        if one is None and value is not None and not _means_nan(value):
            return values
        lists.append(one)
    lengths = {len(one) for one in lists if one is not None}
    if len(lengths) != 1 or lengths == {0}:
        return values
    (width,) = lengths
    if width == 1:
        if layout.task == "multilabel":
            return values
        odd.append(
            "labels are lists of one, or a column vector, (n, 1), where (n,) is expected; each is "
            "taken for one label (`task='multilabel'` for several)"
        )
        return [one and one[0] for one in lists]
    if layout.task not in (None, "multilabel") or not all(
        isinstance(x, bool | int | float) and x in (0, 1) for one in lists for x in one or ()
    ):
        return values
    names = layout.label_names or tuple(map(str, range(width)))
    if len(names) != width:
        raise BertError(f"labels have {width} columns, but {len(names)} names are given")
    odd.append(f"labels are lists of 0 and 1, and are taken for {width} classes, 1 where one holds")
    return [one and [name for name, held in zip(names, one) if held] for one in lists]


def _plain(value: Any, unlabelled: Sequence[str]) -> Any:
    if isinstance(value, str):
        value = value.strip()
        return None if value in unlabelled else value
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value.tolist() if hasattr(value, "tolist") else value  # numpy's scalars and arrays


def _tell_task(values: list[Any], layout: Layout, odd: list[str]) -> Task:
    known = [value for value in values if value is not None and not _means_nan(value)]
    if layout.label_separator or any(isinstance(value, list | tuple) for value in known):
        return "multilabel"
    if known and all(_json_list(value) is not None for value in known):
        return "multilabel"
    if layout.label_names is None and known and _all_numbers(known):
        different = {float(value) for value in known}
        if any(value % 1 for value in different):
            odd.append("labels have fractions: a number is predicted (else `task='classes'`)")
            return "regression"
        if len(different) > _MANY_NUMBERS:
            numbers = f"{len(different)} whole numbers are taken for classes"
            odd.append(f"{numbers}; if they are amounts, pass `task='regression'`")
    if known and all(isinstance(x, str) and _DECIMAL_COMMA.fullmatch(x) for x in known):
        odd.append(
            f"labels such as {known[0]!r} are taken for classes; if they are numbers with a "
            "decimal comma, write a point in its place"
        )
    return "classes"


def _tell_separator(data: LabelledTexts, layout: Layout, odd: list[str]) -> str | None:
    """What separates several labels of a row; if that is only likely, a warning says so."""
    known = layout.label_separator
    if known is not None or data.labels is None or layout.task not in (None, "multilabel"):
        return known
    values = [value.strip() for value in data.labels if isinstance(value, str)]
    if any(_json_list(value) is not None for value in values):
        return None
    names = set(layout.label_names or ())
    rows = {mark: [v for v in values if mark in v and v not in names] for mark in _SEPARATORS}
    mark = max(_SEPARATORS, key=lambda mark: len(rows[mark]))
    if not rows[mark]:
        return None
    if layout.task == "multilabel":
        odd.append(f"labels of a row are taken to be separated by {mark!r} (`label_separator`)")
        return mark
    labels = set(values)
    parts = {part.strip() for label in labels for part in label.split(mark)}
    if len(parts) < len(labels):  # more combinations than parts are hardly classes
        odd.append(
            f"{len(rows[mark]):,} labels hold {mark!r}, such as {rows[mark][0]!r:.60}, and are "
            f"taken for single classes; if each is several labels, pass `label_separator={mark!r}`"
        )
    return None


def _means_nan(value: Any) -> bool:
    """Whether a label is not a number, or infinite, or text that says so."""
    if isinstance(value, str):
        return value.lower() in ("nan", "inf", "-inf")
    return isinstance(value, float) and not math.isfinite(value)


def _all_numbers(values: list[Any]) -> bool:
    return all(is_number(value) for value in values if value is not None and not _means_nan(value))


def _as_class(value: Any) -> str | None:
    if isinstance(value, float):
        # Where one label of a column is missing, pandas makes whole numbers floats.
        return None if _means_nan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value)


def _as_number(value: Any) -> Label:
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _as_several(value: Any, layout: Layout) -> Label:
    if value is None or _means_nan(value):
        return None
    if isinstance(value, str):
        parsed = _json_list(value)
        value = value.split(layout.label_separator or "\0") if parsed is None else parsed
    elif not isinstance(value, list | tuple):
        value = [value]
    names = (_as_class(v.strip() if isinstance(v, str) else v) for v in value)
    kept = (name for name in names if name and name not in (layout.unlabelled or ()))
    return tuple(dict.fromkeys(layout.renamed.get(name, name) for name in kept))


def _json_list(value: Any) -> list[Any] | None:
    """The list that a text is, in JSON, or as Python and numpy write strings, and 0 and 1."""
    if not isinstance(value, str) or value.lstrip()[:1] != "[":
        return None
    try:
        return parse_json(value)
    except ValueError:
        items = _ITEM.findall(value) if _ITEMS.fullmatch(value.strip()) else None
        return items and [int(one[0]) if one[0] in "01" else one[1:-1] for one in items]
