"""The files of evaluation and prediction: those of Google's `run_classifier.py`, JSON, and more.

A `BertError` is raised if a file cannot be written.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.evaluation.results import Result, plain
from bert_tf.files import whole
from bert_tf.files.whole import whole_file

_Path = str | os.PathLike[str]


def write_result_json(path: _Path, result: Result, **more: Any) -> None:
    """Writes all that an evaluation gave, UTF-8, two spaces of indent, undefined as null.

    Args:
        path: the file.
        result: the evaluation.
        more: further keys, before those of the result, such as what was evaluated on what.
    """
    write_json(path, {**more, **result.to_json()})


def write_json(path: _Path, values: Mapping[str, Any]) -> None:
    """Writes values by name, as `write_result_json`."""
    whole.write_json(path, plain(values))


def eval_results(
    result: Result, global_step: int, loss: float | None = None
) -> dict[str, float | int | None]:
    """The entries of `eval_results.txt`.

    For classes these are the original's four: eval_accuracy, eval_loss, global_step and loss. The
    original knows neither several labels at once nor numbers; there all metrics are given, each
    with "eval_" before its name.

    Args:
        result: the evaluation.
        global_step: of the weights evaluated.
        loss: the mean over batches of their mean losses, like `loss` in the original; the mean over
            examples where it is not given. They differ in a last batch that is not full.
    """
    values = {f"eval_{name}": value for name, value in result.original().items()}
    return {**values, "global_step": global_step, "loss": result.loss if loss is None else loss}


def write_eval_results(path: _Path, values: Mapping[str, float | int | None]) -> None:
    """Writes `key = value` lines in the order of the keys, as the original does.

    Numbers that are not whole have the shortest digits that give the same float32, as the
    original's; one that is undefined is `nan`.
    """
    with whole_file(path) as file:
        for key in sorted(values):
            value = values[key]
            shown = str(value) if isinstance(value, numbers.Integral) else float32_text(value)
            file.write(f"{key} = {shown}\n")


def write_test_results(path: _Path, batches: Iterable[np.ndarray]) -> int:
    """Writes `test_results.tsv`: a line of tab-separated probabilities for each row, no header.

    Args:
        path: the file.
        batches: each float (rows, classes), or (rows,) of numbers; taken one at a time.

    Returns:
        The number of lines.
    """
    lines = 0
    with whole_file(path) as file:
        for batch in batches:
            file.write(text := prediction_lines(batch))
            lines += text.count("\n")
    return lines


def prediction_lines(batch: Any) -> str:
    r"""The lines of a batch, for those who append to a file of their own.

    >>> prediction_lines([[0.25, 0.75], [1e-05, 0.99999]])
    '0.25\t0.75\n1e-05\t0.99999\n'
    """
    rows = np.asarray(batch).astype(np.float32)
    rows = rows.reshape(len(rows), -1)
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def float32_text(value: float | None) -> str:
    """The shortest digits that give the same float32; "nan" of None.

    >>> float32_text(0.1), float32_text(None)
    ('0.1', 'nan')
    """
    return str(np.float32(math.nan if value is None else value))


def write_worst_tsv(path: _Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows of `bert_tf.evaluation.worst` with a header, tab-separated.

    A cell with a tab, a line break or a double quote is quoted, and its quotes are doubled, as
    spreadsheets and pandas read it; several labels are joined by ", "; undefined is empty.
    """
    with whole_file(path) as file:
        for cells in (*map(list, rows[:1]), *(row.values() for row in rows)):
            file.write("\t".join(map(_cell, cells)) + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # Not by the csv module: before Python 3.13 it leaves a lone carriage return bare.
    return '"' + text.replace('"', '""') + '"' if set(text) & set('\t\r\n"') else text
