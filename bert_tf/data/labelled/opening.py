"""Opens a table as another was read, with its columns; refuses one that labels tokens."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from bert_tf.data.labelled.column_names import LABEL_NAMES, PAIR_NAMES, TEXT_NAMES
from bert_tf.data.labelled.columns import (
    Columns,
    Layout,
    all_names,
    choose_columns,
    label_columns,
    unlabelled_columns,
)
from bert_tf.data.labelled.formats import format_by_name
from bert_tf.data.labelled.headers import is_number
from bert_tf.data.labelled.tables import SAMPLE, SPLIT, Table, TableOptions
from bert_tf.errors import BertError

_TAG = re.compile(r"O|[BIESLU]-\S+")
_USUAL = {*TEXT_NAMES, *(name for pair in PAIR_NAMES for name in pair)}
_LINES = TableOptions("tsv", delimiter="\0", quoting="none", header=False)
"""A text in each line: no line has this delimiter."""


def open_table(
    path: str | os.PathLike[str],
    layout: Layout,
    *,
    labelled: bool,
    pairs: bool | None = None,
    name: str | None = None,
) -> tuple[Table, Columns, list[str]]:
    """A table, its columns, and warnings of those that were inferred.

    It is read as the layout says; what that leaves open is read as in training, if the columns of
    training are there; else it is inferred.

    Args:
        path: of the file.
        layout: which columns it has, and how the training table was read.
        labelled: whether there must be a label.
        pairs: whether it is for a model of pairs, if that is known. For one of single texts a file
            without names of columns is a text in each line, unless it is laid out as in training,
            or has tabs or a column of numbers.
        name: for messages, in place of the path.

    Raises:
        BertError: the file cannot be read, its columns are unclear, it has not those of the
            training, or it labels tokens.
    """
    asked = (layout.text, layout.text_pair, layout.label)
    trained = layout.trained or {}
    if trained and (found := _as_trained(path, layout, trained, labelled, name)):
        return found
    wanted = [*asked[:2], *(asked[2] if isinstance(asked[2], list | tuple) else asked[2:])]
    if isinstance(layout.label, str):
        wanted += layout.label.split(",")
    if isinstance(trained.get("columns"), list):
        wanted += trained["columns"]
    table = Table(path, layout.table, wanted, layout.only, name)
    _refuse_tagged(table)
    if pairs is False and asked[:2] == (None, None) and _is_lines(table, layout.table):
        lines = replace(_LINES, encoding=layout.table.encoding)
        table = Table(path, lines, name=name)
        how = (
            "each line is a text (name the column with `text`, or `header=True`, if it is a table)"
        )
        return table, Columns(0, None, None), [f"{table.path} has no names of columns: {how}"]
    columns, warnings = choose_columns(table, *asked, labelled=labelled)
    if {"text", "columns"} <= trained.keys() and asked[:2] == (None, None):
        texts = [i for i in columns[:2] if i is not None]
        usual = table.names and all(table.names[i].strip().lower() in _USUAL for i in texts)
        other = f"{table.path} is not laid out as the training table: {_described(trained)}"
        if not usual and len(unlabelled_columns(table, columns)) > (2 if pairs else 1):
            has = f"it has {all_names(table)}"
            raise BertError(f"{other}; {has}. Name the column of the text with `text`")
        warnings = [other, *warnings]
    return table, columns, warnings


def _as_trained(
    path: str | os.PathLike[str],
    layout: Layout,
    trained: Mapping[str, Any],
    labelled: bool,
    name: str | None,
) -> tuple[Table, Columns, list[str]] | None:
    """As `open_table`, read as the training table was; None if the file is another."""
    text, pair, label = (
        trained.get(one) if (asked := getattr(layout, one)) is None else asked
        for one in ("text", "text_pair", "label")
    )
    if layout.text is not None and layout.text_pair is None:
        pair = None
    known, texts = trained.get("columns"), [c for c in (text, pair) if c is not None]
    numbered = isinstance(known, int)
    wanted = texts if numbered else [*texts, *(known or ())]
    if not all(isinstance(column, str | int) for column in texts) or text is None:
        return None
    given = {x: trained.get(x) for x in ("delimiter", "quoting", "sheet")}
    given["header"] = False if numbered else None
    if trained.get("format") in ("csv", "tsv") and format_by_name(os.fspath(path)) is None:
        given["format"] = trained["format"]  # too few lines may not show it
    given = {x: value for x, value in given.items() if getattr(layout.table, x) is None}
    like = replace(layout.table, **given)
    encoded = replace(like, encoding=like.encoding or trained.get("encoding"))
    for options in dict.fromkeys((like, encoded, layout.table)):
        try:
            table = Table(path, options, wanted, layout.only, name)
        except BertError:  # of another layout, or raised again without one
            continue
        if options != layout.table and table.format != trained.get("format"):
            continue
        if options == like != encoded and any(row.problem for row in table.sample):
            continue
        same = (table.names is None) == numbered and all(_has(table, c) for c in texts)
        if numbered:
            same = same and table.width == known and not _names_itself(table)
            same = same and not _has_other_labels(table, label, layout.label_names)
        elif int in map(type, texts):  # of columns that have no name, or the same
            same = same and list(table.names or ()) == known
        if same:
            break
    else:
        return None
    if layout.label is None:  # files to predict may lack it
        found = [column for column in label_columns(table, label) if _has(table, column)]
        label = found if len(found) > 1 else found[0] if found else None
    _refuse_tagged(table)
    columns, warnings = choose_columns(table, text, pair, label, labelled=labelled)
    if numbered:
        how = "without names of columns, the text in column"
        warnings = [f"{table.path} is read as the training table, {how} {text}", *warnings]
    return table, columns, warnings


def _has(table: Table, column: Any) -> bool:
    try:
        table.column(column)
    except BertError:
        return False
    return True


def _names_itself(table: Table) -> bool:
    """Whether the first line has a usual name, so that it is hardly a row."""
    first = next(row for row in table.rows() if row.problem != "blank_line").fields
    return any(str(field).strip().lower() in {*_USUAL, *LABEL_NAMES} for field in first)


def _has_other_labels(table: Table, label: Any, known: Sequence[str] | None) -> bool:
    """Whether the column of the label rather has texts: neither known labels nor one again."""
    if not known or not isinstance(label, int):
        return False
    cells = [str(row.fields[label]).strip() for row in table.sample if label < len(row.fields)]
    other = [cell for cell in cells if cell and cell not in known]
    return 2 * len(other) > len(cells) and 2 * len(set(other)) > max(2, len(other))


def _is_lines(table: Table, options: TableOptions) -> bool:
    """Whether a file that nothing is known of is rather a text in each line than a table."""
    known = (options.format, options.delimiter, options.quoting, options.header)
    if table.format != "csv" or table.names is not None or known != (None,) * 4:
        return False
    if table.dialect()["delimiter"] == "\t":
        return False
    if any(row.problem == "ragged" for row in islice(table.rows(), SAMPLE)):
        return True
    # Sentences have no column of numbers.
    columns = list(zip(*(row.fields for row in table.sample)))
    numbers = len(table.sample) > 1 and any(all(map(is_number, cells)) for cells in columns)
    return table.width > 1 and not numbers


def _described(trained: Mapping[str, Any]) -> str:
    columns = trained["columns"]
    if isinstance(columns, int):
        return f"that had no names of columns, {columns} columns, and the text in {trained['text']}"
    return f"that had the columns {', '.join(filter(None, columns))}"


def _refuse_tagged(table: Table) -> None:
    """Raises a `BertError` if the lines of a file are tokens with their tags, as in CoNLL."""
    if table.format not in SPLIT:
        return
    rows = [row.fields for row in table.sample]
    if table.width == 1:
        rows = [row[0].split() for row in rows]
    tagged = [row for row in rows if len(row) > 1 and _TAG.fullmatch(row[-1].strip())]
    tags = {row[-1].strip() for row in tagged}
    if len(tagged) < max(4, 0.9 * len(rows)) or not tags - {"O"} or "O" not in tags:
        return
    example = min(tags - {"O"})
    raise BertError(
        f"{table.path} labels tokens, not texts, as CoNLL files do: a line is a token and its tag, "
        f"such as {example!r}. That is tagging, another task; a classifier needs one text and one "
        "label in each row"
    )
