"""`ResultLines`: what a classifier says of a row as one line, tab-separated or JSON."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.files.whole import to_json
from bert_tf.options import check_choice

if TYPE_CHECKING:
    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.tasks import ClassifyResult
    from bert_tf.tasks.bulk import InputRow


_SUFFIXES = {".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's name tells; tab-separated if it tells none.

    Raises:
        BertError: the name tells a format that is not written.

    >>> format_of("answers.jsonl"), format_of("answers.txt")
    ('jsonl', 'tsv')
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix in (".csv", ".parquet", ".pq", ".gz", ".xlsx"):
        raise BertError(
            f"results are written as tab-separated text or as JSON lines, not as {suffix[1:]}; "
            f"name the output .tsv or .jsonl, or choose one of these formats"
        )
    return _SUFFIXES.get(suffix, "tsv")


class ResultLines:
    """The form of the lines of one file of results.

    Tab-separated, there is a header. For classes the columns are `label`, `probability` and one
    with the probability of each class, in the model's order; if a text can have several classes,
    `labels` (with ", " between them) and one for each; for a number, `value`. In JSON the keys are
    `line` (its number in the file, from 1), `label`, `probability`, `probabilities`, or `labels`,
    `probabilities`, or `value`; and `"cut": true` where the text was longer than the model takes.
    Numbers have the shortest digits that give the same float32. A row without a result has a line
    too: all cells empty, or `line` and `error`.

    Args:
        info: of the classifier.
        format: `"tsv"` or `"jsonl"`.
        echo: whether the texts come along, as `text` and `text_pair`: in JSON first and as they
            are, tab-separated last and with a space for each stretch of white space.
        pairs: whether rows are pairs; for the header.

    Raises:
        BertError: there is no such format.
    """

    def __init__(
        self, info: ClassifierInfo, format: str = "tsv", *, echo: bool = False, pairs: bool = False
    ) -> None:
        check_choice("format", format, ("tsv", "jsonl"))
        self.info = info
        self.format = format
        self.echo = echo
        first = ["label", "probability"] if info.labels else ["value"]
        first = ["labels"] if info.several else first
        texts = ["text", "text_pair"] if pairs else ["text"]
        self._columns = [*first, *map(_cell, info.labels), *(texts if echo else [])]

    separator = ""

    def header(self) -> str:
        """The first line; nothing for JSON."""
        return "\t".join(self._columns) + "\n" if self.format == "tsv" else ""

    def line(self, row: InputRow, result: ClassifyResult | BertError) -> str:
        """The line of a row, with its end."""
        if self.format == "jsonl":
            from bert_tf.tasks.bulk import numbered

            found = result if isinstance(result, BertError) else self._object(result)
            return to_json(numbered(row, found)) + "\n"
        return "\t".join(self._cells(result)) + "\n"

    def _object(self, result: ClassifyResult) -> dict[str, Any]:
        found: dict[str, Any] = dict(zip(("text", "text_pair"), self._texts(result)))
        if result.cut:
            found["cut"] = True
        if result.value is not None:
            return {**found, "value": short(result.value)}
        if result.labels is not None:
            found["labels"] = list(result.labels)
        else:
            found |= {"label": result.label, "probability": short(result.probability or 0.0)}
        return found | {"probabilities": {n: short(p) for n, p in result.probabilities.items()}}

    def _texts(self, result: ClassifyResult) -> list[str]:
        texts = (result.text, result.text_pair) if self.echo else ()
        return [text for text in texts if text is not None]

    def _cells(self, result: ClassifyResult | BertError) -> list[str]:
        cells: list[str] = []
        if not isinstance(result, BertError):
            if result.value is not None:
                cells = [_digits(result.value)]
            elif result.labels is not None:
                cells = [", ".join(map(_cell, result.labels))]
            else:
                cells = [_cell(result.label or ""), _digits(result.probability or 0.0)]
            cells += map(_digits, result.probabilities.values())
            cells += map(_cell, self._texts(result))
        # A pair among single texts has one cell more than the header; it is no table then.
        return cells[: len(self._columns)] + [""] * (len(self._columns) - len(cells))


def short(value: float) -> float:
    """The number with the fewest digits that is the same float32, as float64.

    >>> short(float(np.float32(0.1)))
    0.1
    """
    return float(_digits(value))


def _digits(value: float) -> str:
    return str(np.float32(value))


def _cell(text: str) -> str:
    # All white space: also what some programs take for a line's end, such as U+2028.
    return " ".join(text.split())
