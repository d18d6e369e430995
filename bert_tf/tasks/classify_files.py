"""`predict_file`: a classifier's answers to files of any size, in order, resumable."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.data.labelled.prediction_rows import PredictionRow, Texts
from bert_tf.data.labelled.problems import Policy
from bert_tf.errors import BertError
from bert_tf.files.whole import make_folder
from bert_tf.tasks.bulk import PredictedFile, answer_file, answered, settings_of
from bert_tf.tasks.classify import Classify, ClassifyResult
from bert_tf.tasks.result_lines import ResultLines, format_of
from bert_tf.tasks.streaming import CHUNK_BATCHES

if TYPE_CHECKING:
    from bert_tf.data.labelled.glue import GlueTask

_TEST_RESULTS = {"test": "test_results.tsv", "test_mismatched": "test_results_mm.tsv"}


def predict_file(
    classify: Classify,
    rows: Iterable[PredictionRow],
    output: str | os.PathLike[str],
    *,
    format: str | None = None,
    echo: bool = False,
    pairs: bool = False,
    overwrite: bool = False,
    on_rows: Callable[[int], None] = lambda rows: None,
    on_resume: Callable[[int], None] = lambda rows: None,
) -> PredictedFile:
    """Writes a line for each row, also a damaged or empty one: see `answer_file`.

    Args:
        classify: the classifier.
        rows: such as `PredictionRows`.
        output: the file.
        format: of the lines, `"tsv"` or `"jsonl"`, see `ResultLines`; by the output's name when
            left out, else `"tsv"`.
        echo: whether the texts come along.
        pairs: whether rows are pairs; gives the columns of `echo`.
        overwrite: replace a file that is there; see `answer_file`.
        on_rows: is given the number of rows done so far.
        on_resume: is given the number of rows that an earlier run had done, if it is above 0.

    Raises:
        BertError: as `answer_file`; or there is no such format.

    Example:
        >>> from bert_tf.data.labelled.prediction_rows import PredictionRows
        >>> rows = PredictionRows("new.csv")
        >>> predict_file(classify, rows, "answers.tsv").rows
        2
    """
    info = classify.info
    lines = ResultLines(info, format or format_of(output), echo=echo, pairs=pairs)
    settings = {
        **settings_of(classify),
        "output_format": lines.format,
        "echo": echo,
        "pairs": pairs,
        "task": info.task,
        "labels": info.labels,
        "threshold": classify.threshold if info.several else None,
        "max_seq_length": classify.max_seq_length,
    }
    return answer_file(
        functools.partial(classify.stream, errors="yield"),
        rows,
        lines,
        output,
        settings,
        overwrite=overwrite,
        on_rows=on_rows,
        on_resume=on_resume,
    )


def answer_rows(
    classify: Classify, rows: Iterable[PredictionRow]
) -> Iterator[tuple[PredictionRow, ClassifyResult | BertError]]:
    """Each row with its result, or with what is wrong with it, in order: see `answered`.

    Raises:
        BertError: the input cannot be read to its end.
    """
    return answered(functools.partial(classify.stream, errors="yield"), rows)


def predict_task(
    classify: Classify,
    task_name: str,
    data_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    language: str = "zh",
) -> dict[str, int]:
    """Predicts the test file of a GLUE task or of XNLI, every row of it in its order.

    Args:
        classify: a classifier whose labels are the task's, in any order, or mere numbers, as
            those of a model that Google's script left.
        task_name: of the task, in any spelling.
        data_dir: the folder with its files.
        output_dir: gets `test_results.tsv`, and for MNLI's mismatched half, if any,
            `test_results_mm.tsv`, with columns in the task's order of labels; made if need be.
        language: for XNLI.

    Returns:
        The path of each file written, and the number of its lines.

    Raises:
        BertError: there is no such task or no test file, it is damaged, or the classifier is not
            for this task.
    """
    from bert_tf.data.labelled.glue import read_glue, splits_there, task_named
    from bert_tf.evaluation.result_files import write_test_results

    _, task = task_named(task_name)
    splits = ("test", *(splits_there(task_name, data_dir, language) & {"test_mismatched"}))
    order = _order(classify, task)
    # In prediction nothing is left out, also where the test file has labels, as XNLI's.
    policy = Policy("predict")
    how: dict[str, Any] = {"policies": {"predict": policy, "evaluate": policy}}
    data = read_glue(task_name, data_dir, splits=splits, language=language, **how)
    written = {}
    for split, rows in data.splits.items():
        path = os.path.join(os.fspath(output_dir), _TEST_RESULTS[split])
        texts = (text if pair is None else (text, pair) for text, pair in rows.each())
        make_folder(output_dir)
        written[path] = write_test_results(path, _outputs(classify, texts, order))
    return written


def _order(classify: Classify, task: GlueTask) -> list[int] | None:
    """The index of each label of the task among the classifier's; None for numbers."""
    labels = classify.labels
    if sorted(labels) == sorted(task.labels):
        return [labels.index(label) for label in task.labels] or None
    if labels == tuple(map(str, range(len(task.labels)))):
        return list(range(len(labels)))
    found, wanted = (", ".join(names) or "a number" for names in (labels, task.labels))
    raise BertError(
        f"{classify.bert.name} predicts {found}, but {task.folder} is about {wanted}: it was "
        f"fine-tuned for another task"
    )


def _outputs(
    classify: Classify, texts: Iterable[Texts], order: list[int] | None
) -> Iterator[np.ndarray]:
    """Probabilities, float64 (rows, outputs), or numbers, a chunk at a time."""
    results = classify.stream(texts)
    while some := list(islice(results, classify.batch_size * CHUNK_BATCHES)):
        if order is None:
            yield np.array([result.value for result in some])
        else:
            yield np.array([list(result.probabilities.values()) for result in some])[:, order]
