"""`predict_file`: a classifier's answers to files of any size, in order, resumable."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from bert_tf import backend
from bert_tf.data.prediction_rows import PredictionRow, Texts
from bert_tf.data.problems import Policy, show_place
from bert_tf.errors import BertError
from bert_tf.tasks.classify import Classify
from bert_tf.tasks.growing_file import GrowingFile, Progress, growing_file
from bert_tf.tasks.result_lines import ResultLines, format_of
from bert_tf.tasks.results import ClassifyResult
from bert_tf.tasks.streaming import CHUNK_BATCHES

if TYPE_CHECKING:
    from bert_tf.data.glue import GlueTask

_SHOWN = 5  # rows without a result that are named
_TEST_RESULTS = {"test": "test_results.tsv", "test_mismatched": "test_results_mm.tsv"}


@dataclasses.dataclass(frozen=True)
class PredictedFile:
    """How a file was predicted.

    Attributes:
        path: of the results.
        rows: in it, one for each row of the input.
        resumed_from: the rows that an earlier run had done.
        failed: rows without a result.
        problems: where the first of these stand and what is wrong with them.
    """

    path: str
    rows: int
    resumed_from: int
    failed: int
    problems: tuple[str, ...]


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
    """Writes a line for each row, in memory that does not grow; see `ResultLines` for the lines.

    The results grow as `OUTPUT.part`, with `OUTPUT.part.json` beside it. Interrupted or killed,
    and called again with the same arguments, it goes on behind the last whole chunk (16 batches)
    that it had noted, at the latest two seconds before the end. The file is then, byte for byte,
    that of an unbroken run, as far as the backend tells the same of the same batch: what was
    answered before is compared by a hash of its texts, and the last chunk is predicted once more
    and must give the same bytes, which another model would not. More rows behind those that were
    answered are no difference.

    Args:
        classify: the classifier.
        rows: such as `PredictionRows`; gone through from the start each time, and at most two
            chunks ahead.
        output: the file.
        format: `"tsv"` or `"jsonl"`; told from the output's name when left out, else `"tsv"`.
        echo: whether the texts come along.
        pairs: whether rows are pairs; gives the columns of `echo`.
        overwrite: replace a finished file; and where an unfinished one is of other rows, another
            model or other settings, begin anew.
        on_rows: is given the number of rows done so far.
        on_resume: is told the number of rows that an earlier run had done, if it is above 0.

    Returns:
        How it went. Rows that are damaged or empty are no reason to end: they have lines too.

    Raises:
        BertError: the output exists, cannot be written or is of another run; or the input cannot
            be read to its end (what was done stays, to be gone on with).

    Example:
        >>> from bert_tf.data.prediction_rows import PredictionRows
        >>> rows = PredictionRows("new.csv")
        >>> predict_file(classify, rows, "answers.tsv").rows
        2
    """
    lines = ResultLines(classify.info, format or format_of(output), echo=echo, pairs=pairs)
    with growing_file(output, _settings(classify, lines, pairs), overwrite) as file:
        start = file.progress.rows
        if start:
            on_resume(start)
        try:
            rows_done = _go_on(classify, rows, lines, file, on_rows)
        except _OtherRunError as reason:
            if not overwrite:
                raise BertError(
                    f"{file.path}.part is of an interrupted run, and {reason}. Give it what it "
                    f"had then; to begin anew, say --overwrite"
                ) from None
            start = 0
            file.restart()
            rows_done = _go_on(classify, rows, lines, file, on_rows)
        progress = file.progress
    return PredictedFile(file.path, rows_done, start, progress.failed, progress.problems)


class _OtherRunError(Exception):
    """What was answered before is not what would be answered now."""


def _go_on(
    classify: Classify,
    rows: Iterable[PredictionRow],
    lines: ResultLines,
    file: GrowingFile,
    on_rows: Callable[[int], None],
) -> int:
    """Answers what is not answered yet, and finishes the file; gives the number of rows."""
    size = classify.batch_size * CHUNK_BATCHES
    noted = file.progress
    digest = hashlib.blake2b(digest_size=16)
    source = iter(rows)
    done = 0
    for row in islice(source, max(0, noted.rows - size)):
        _add(digest, row)
        done += 1
    chunk: list[str] = [] if done else [lines.header()]
    failed, problems = noted.failed, noted.problems
    for row, result in answer_rows(classify, source):
        _add(digest, row)
        done += 1
        chunk.append(lines.line(row, result))
        if isinstance(result, BertError) and done > noted.rows:
            failed += 1
            if failed <= _SHOWN:
                problems = (*problems, f"{show_place(row.place)}: {result}")
        if done % size:
            continue
        text = _encoded(chunk)
        chunk = []
        if done > noted.rows:
            now = Progress(done, 0, 0, digest.hexdigest(), failed, problems)
            file.append(text, now)
        elif digest.hexdigest() != noted.digest:
            raise _OtherRunError(f"of its {noted.rows:,} rows some were others than they are now")
        elif text != file.last_chunk():
            raise _OtherRunError(
                "its last rows come out otherwise now: the model is another, or the machine "
                "computes otherwise"
            )
        on_rows(done)
    if done < noted.rows:
        raise _OtherRunError(f"it had {noted.rows:,} rows, and now there are {done:,}")
    file.finish(_encoded(chunk), Progress(done, failed=failed, problems=problems))
    on_rows(done)
    return done


def answer_rows(
    classify: Classify, rows: Iterable[PredictionRow]
) -> Iterator[tuple[PredictionRow, ClassifyResult | BertError]]:
    """Each row with its result, or with what is wrong with it, in order.

    Args:
        classify: the classifier.
        rows: taken at most two chunks (of 16 batches) ahead.

    Raises:
        BertError: the input cannot be read to its end.
    """
    taken: collections.deque[PredictionRow] = collections.deque()

    def texts() -> Iterator[Texts | BertError]:
        for row in rows:
            taken.append(row)
            yield BertError(row.error) if row.texts is None else row.texts

    for result in classify.stream(texts(), errors="yield"):
        yield taken.popleft(), result


def _add(digest: hashlib.blake2b, row: PredictionRow) -> None:
    digest.update(repr((row.texts, row.error)).encode("utf-8", "backslashreplace"))


def _encoded(lines: list[str]) -> bytes:
    # A lone surrogate, which a text in JSON may hold, is written as JSON escapes it.
    return "".join(lines).encode("utf-8", "backslashreplace")


def _settings(classify: Classify, lines: ResultLines, pairs: bool) -> dict[str, object]:
    """What the bytes of the results depend on besides the rows and the weights."""
    bert, info = classify.bert, classify.info
    return {
        "output_format": lines.format,
        "echo": lines.echo,
        "pairs": pairs,
        "task": info.task,
        "labels": info.labels,
        "threshold": classify.threshold if info.several else None,
        "max_seq_length": classify.max_seq_length,
        "batch_size": classify.batch_size,
        "chunk": classify.batch_size * CHUNK_BATCHES,
        "lower_case": bert.lower_case,
        "precision": bert.precision or "float32",
        "backend": backend.current(),
    }


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
        output_dir: gets `test_results.tsv`, and for MNLI's mismatched half, where it is there,
            `test_results_mm.tsv`; made if it does not exist. The columns are in the task's order
            of labels.
        language: for XNLI.

    Returns:
        The path of each file written, and the number of its lines.

    Raises:
        BertError: there is no such task or no test file, it is damaged, or the classifier is not
            for this task.
    """
    from bert_tf.data.glue import read_glue, splits_there, task_named
    from bert_tf.training.result_files import write_test_results

    _, task = task_named(task_name)
    there = splits_there(task_name, data_dir, language)
    order = _order(classify, task)
    # In prediction nothing is left out, also where the test file has labels, as XNLI's.
    policy = Policy("predict")
    data = read_glue(
        task_name,
        data_dir,
        splits=("test", *(there & {"test_mismatched"})),
        language=language,
        policies={"predict": policy, "evaluate": policy},
    )
    written = {}
    for split, rows in data.splits.items():
        path = os.path.join(os.fspath(output_dir), _TEST_RESULTS[split])
        texts = (text if pair is None else (text, pair) for text, pair in rows.each())
        try:
            os.makedirs(output_dir, exist_ok=True)
        except OSError as error:
            raise BertError(f"cannot make the folder {output_dir}: {error.strerror}") from error
        written[path] = write_test_results(path, _outputs(classify, texts, order))
    return written


def _order(classify: Classify, task: GlueTask) -> list[int] | None:
    """Where each label of the task stands among the classifier's; None for numbers."""
    labels = classify.labels
    if sorted(labels) == sorted(task.labels):
        return [labels.index(label) for label in task.labels] or None
    if labels == tuple(map(str, range(len(task.labels)))):
        return list(range(len(labels)))
    told = ", ".join(labels) or "a number"
    wanted = ", ".join(task.labels) or "a number"
    raise BertError(
        f"{classify.bert.name} tells {told}, but {task.folder} is about {wanted}: it was "
        f"fine-tuned for another task"
    )


def _outputs(
    classify: Classify, texts: Iterable[Texts], order: list[int] | None
) -> Iterator[np.ndarray]:
    """Probabilities or numbers, float64 (rows, outputs), a chunk at a time."""
    results = classify.stream(texts)
    while some := list(islice(results, classify.batch_size * CHUNK_BATCHES)):
        if not classify.labels:
            yield np.array([result.value for result in some])
            continue
        outputs = np.array([list(result.probabilities.values()) for result in some])
        yield outputs if order is None else outputs[:, order]
