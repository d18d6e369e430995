"""`answer_file`: any task's answers to any number of rows, in order, in one file that resumes."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from bert_tf import backend
from bert_tf.data.labelled.problems import show_place
from bert_tf.errors import BertError
from bert_tf.tasks.streaming import CHUNK_BATCHES

if TYPE_CHECKING:
    from bert_tf.files.growing import GrowingFile

InputRow = tuple[Any, tuple[str, int], str]
"""A row of the input: what it asks (None if it is damaged), file and line, what is wrong or ""."""

Stream = Callable[[Iterable[Any]], Iterable[Any]]
"""A task's `stream` with `errors="yield"`; it gives a `BertError` among what is asked back."""

_SHOWN = 5  # rows without a result that are named


class Form(Protocol):
    """How results are written: each as text with its end, for people or for programs."""

    separator: str
    """Between two results."""

    def header(self) -> str:
        """Before all of them."""

    def line(self, row: InputRow, result: Any) -> str:
        """The text of a row's result or `BertError`, with its end; "" for nothing."""


@dataclasses.dataclass(frozen=True)
class PredictedFile:
    """How a file was predicted.

    Attributes:
        path: of the results.
        rows: in it, one for each row of the input.
        resumed_from: the rows that an earlier run had done.
        failed: rows without a result.
        problems: where the first of these are and what is wrong with them.
    """

    path: str
    rows: int
    resumed_from: int
    failed: int
    problems: tuple[str, ...]


def settings_of(task: Any) -> dict[str, Any]:
    """What the bytes of any task's results depend on, other than its weights."""
    return {
        "batch_size": task.batch_size,
        "chunk": task.batch_size * CHUNK_BATCHES,
        "lower_case": task.bert.lower_case,
        "precision": task.bert.precision or "float32",
        "backend": backend.current(),
    }


def answered(stream: Stream, rows: Iterable[InputRow]) -> Iterator[tuple[Any, Any]]:
    """Each row with its result, or with the `BertError` of what is wrong with it, in order.

    Rows are taken at most two chunks (of 16 batches) ahead.
    """
    taken: collections.deque[InputRow] = collections.deque()

    def asked() -> Iterator[Any]:
        for row in rows:
            taken.append(row)
            yield BertError(row[2]) if row[0] is None else row[0]

    for result in stream(asked()):
        yield taken.popleft(), result


def numbered(row: InputRow, result: dict[str, Any] | BertError) -> dict[str, Any]:
    """A result as a JSON object that has the number of its line, from 1, if it is of a file.

    >>> numbered(("a text", ("in.txt", 3), ""), {"label": "yes"})
    {'line': 3, 'label': 'yes'}
    """
    if isinstance(result, BertError):
        return {"line": row[1][1], "error": str(result)}
    return {"line": row[1][1], **result} if row[1][0] else result


def answer_file(
    stream: Stream,
    rows: Iterable[InputRow],
    form: Form,
    output: str | os.PathLike[str],
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
    on_rows: Callable[[int], None] = lambda rows: None,
    on_resume: Callable[[int], None] = lambda rows: None,
    on_problem: Callable[[InputRow, BertError], None] = lambda row, error: None,
) -> PredictedFile:
    """Writes what each row gives, in memory that does not grow.

    The results grow as `OUTPUT.part`, with a note in `OUTPUT.part.json`. Stopped or killed, and
    called again with the same arguments, it resumes after the last whole chunk (16 batches) that
    was noted, at the latest two seconds before the end. The bytes are those of an unbroken run, as
    far as the backend gives the same for the same batch: earlier rows are compared by a hash, and
    the last chunk is answered again and must give the same bytes, which another model would not.
    There may be more rows than before.

    Args:
        stream: of the task.
        rows: gone through from the start each time, and at most two chunks ahead.
        form: of the results, also of damaged or empty rows; without state, so that a chunk's text
            depends on its rows alone.
        output: the file.
        settings: what must be the same to resume; JSON can hold it; `settings_of` and more.
        overwrite: replace a finished file; start over where an unfinished one is of other rows,
            another model or other settings.
        on_rows: is given the number of rows done so far.
        on_resume: is given the number of rows that an earlier run had done, if it is above 0.
        on_problem: is given each row that has no result, once it is known.

    Raises:
        BertError: the output exists, cannot be written or is of another run; or the input cannot
            be read to its end (what was done stays, to be resumed).
    """
    from bert_tf.files.growing import growing_file

    with growing_file(output, settings, overwrite) as file:
        parts = (stream, form, file, settings["chunk"], on_rows, on_problem)
        do = functools.partial(_answer_rest, *parts)
        if start := file.extent.rows:
            on_resume(start)
        try:
            done = do(rows)
        except _OtherRunError as reason:
            if not overwrite:
                raise BertError(
                    f"{file.path}.part is of an interrupted run, and {reason}. Give it what it "
                    f"had then; to start over, pass `overwrite=True`"
                ) from None
            start = 0
            file.restart()
            done = do(rows)
    return PredictedFile(file.path, done, start, file.extent.failed, file.extent.problems)


class _OtherRunError(Exception):
    """What was answered before is not what would be answered now."""


def _answer_rest(
    stream: Stream,
    form: Form,
    file: GrowingFile,
    size: int,
    on_rows: Callable[[int], None],
    on_problem: Callable[[InputRow, BertError], None],
    rows: Iterable[InputRow],
) -> int:
    """Answers what is not answered yet, and finishes the file; gives the number of rows."""
    from bert_tf.files.growing import Extent

    noted, source, done = file.extent, iter(rows), 0
    digest = hashlib.blake2b(digest_size=16)
    for row in islice(source, max(0, noted.rows - size)):
        _add(digest, row)
        done += 1
    chunk = [] if done else [form.header()]
    started = noted.before > 0 if done else bool(chunk[0])
    failed, problems = noted.failed, noted.problems
    for row, result in answered(stream, source):
        _add(digest, row)
        done += 1
        if text := form.line(row, result):
            chunk += [form.separator, text] if started else [text]
            started = True
        if isinstance(result, BertError) and done > noted.rows:
            failed += 1
            on_problem(row, result)
            if failed <= _SHOWN:
                problems = (*problems, f"{show_place(row[1])}: {result}")
        if done % size:
            continue
        written, chunk = _encoded(chunk), []
        if done > noted.rows:
            file.append(written, Extent(done, 0, 0, digest.hexdigest(), failed, problems))
        elif digest.hexdigest() != noted.digest:
            raise _OtherRunError(f"of its {noted.rows:,} rows some were others than they are now")
        elif written != file.last_chunk():
            raise _OtherRunError(
                "its last rows give other results now: the model is another, or the machine "
                "computes otherwise"
            )
        on_rows(done)
    if done < noted.rows:
        raise _OtherRunError(f"it had {noted.rows:,} rows, and now there are {done:,}")
    file.finish(_encoded(chunk), Extent(done, failed=failed, problems=problems))
    on_rows(done)
    return done


def _add(digest: Any, row: InputRow) -> None:
    digest.update(repr((row[0], row[2])).encode("utf-8", "backslashreplace"))


def _encoded(texts: list[str]) -> bytes:
    # A lone surrogate, which a text in JSON may hold, is written as JSON escapes it.
    return "".join(texts).encode("utf-8", "backslashreplace")
