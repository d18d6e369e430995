"""How a classifier's answers are printed: one by itself, as rows of a table, or for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from bert_tf.cli.options import say
from bert_tf.cli.output import Output
from bert_tf.errors import BertError
from bert_tf.report import bar, percent, printable, shorten, table, width

if TYPE_CHECKING:
    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.tasks import ClassifyResult
    from bert_tf.tasks.result_lines import ResultLines

_MOST = 10  # labels that are shown of a text
_CELLS = 60  # of a text in a row


def show(result: ClassifyResult) -> str:
    """A result as text for people: what it is, and the probabilities, the highest first."""
    if result.value is not None:
        lines = [f"{result.value:.4g}"]
    else:
        told = result.label or ""
        if result.labels is not None:
            told = ", ".join(result.labels) or "none of the labels"
        ranked = sorted(result.probabilities.items(), key=lambda item: -item[1])
        rows = [[printable(name), percent(p), bar(p)] for name, p in ranked[:_MOST]]
        lines = [printable(told), table(rows, "<>")]
        if len(ranked) > _MOST:
            lines.append(f"  and {len(ranked) - _MOST} more labels, less probable")
    if result.cut:
        lines.append("(the text was longer than the model takes, and was cut)")
    return "\n".join(lines)


class Table(Output):
    """A line for each result, which can be printed while the next is not known yet.

    Args:
        file: to write to.
        info: of the classifier.
    """

    def __init__(self, file: TextIO, info: ClassifierInfo) -> None:
        super().__init__(file, False, self._row, "")
        heads = ["label"] if info.several else ["label", "probability"]
        self._width = 30 if info.several else min(30, max([5, *map(width, info.labels)]))
        if not info.labels:
            heads, self._width = ["value"], 10
        self.text(self._line([*heads, "text"]))

    def _row(self, result: ClassifyResult) -> str:
        if result.value is not None:
            cells = [f"{result.value:.4g}"]
        elif result.labels is not None:
            cells = [", ".join(result.labels) or "(none)"]
        else:
            cells = [result.label or "", percent(result.probability or 0.0)]
        text = result.text if result.text_pair is None else f"{result.text} | {result.text_pair}"
        text = ("(cut) " if result.cut else "") + text
        return self._line([*cells, text])

    def _line(self, cells: list[str]) -> str:
        first, *middle, text = cells
        first = shorten(printable(first), self._width)
        parts = [first + " " * (self._width - width(first)), *(f"{one:>11}" for one in middle)]
        return "  ".join([*parts, shorten(printable(text), _CELLS)])


class Lines(Output):
    """Lines for programs, one for each row, also for one that could not be answered.

    Args:
        file: to write to.
        lines: their form.

    Attributes:
        failed: rows that could not be answered.
    """

    def __init__(self, file: TextIO, lines: ResultLines) -> None:
        super().__init__(file, True, str)
        self._lines = lines
        self._to = file
        self.failed = 0
        file.write(lines.header())

    def result(self, result: ClassifyResult) -> None:
        """Writes a result's line."""
        self._write(0, result)

    def bad_line(self, number: int, source: str, error: str) -> None:
        """Tells on stderr what is wrong with a row, and writes its line."""
        say(f"error: {source}, line {number}: {error}")
        self.failed += 1
        self._write(number, BertError(error))

    def _write(self, number: int, result: ClassifyResult | BertError) -> None:
        from bert_tf.data.prediction_rows import PredictionRow

        self._to.write(self._lines.line(PredictionRow(None, ("", number)), result))
        self._to.flush()
