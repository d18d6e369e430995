"""How a classifier's answers are printed for people as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bert_tf.cli.output import TextForm
from bert_tf.report import percent, printable, shorten, width

if TYPE_CHECKING:
    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.tasks import ClassifyResult

_CELLS = 60  # of a text in a row


def table_form(info: ClassifierInfo) -> TextForm:
    """A line for each result, which can be printed while the next is not known yet."""
    cells = 30 if info.several else min(30, max([5, *map(width, info.labels)]))
    heads = ["label"] if info.several else ["label", "probability"]
    if not info.labels:
        heads, cells = ["value"], 10
    return TextForm(lambda result: _row(result, cells), "", _line([*heads, "text"], cells))


def _row(result: ClassifyResult, cells: int) -> str:
    found = [result.label or "", percent(result.probability or 0.0)]
    if result.value is not None:
        found = [f"{result.value:.4g}"]
    elif result.labels is not None:
        found = [", ".join(result.labels) or "(none)"]
    text = result.text if result.text_pair is None else f"{result.text} | {result.text_pair}"
    return _line([*found, ("(cut) " if result.cut else "") + text], cells)


def _line(cells: list[str], first_width: int) -> str:
    first, *middle, text = cells
    first = shorten(printable(first), first_width)
    parts = [first + " " * (first_width - width(first)), *(f"{one:>11}" for one in middle)]
    return "  ".join([*parts, shorten(printable(text), _CELLS)])
