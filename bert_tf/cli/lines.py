"""Reads the lines of a file or of standard input, and answers them some at a time."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Generic, TypeVar

from bert_tf.errors import BertError

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Line(Generic[T]):
    """A line of the input: its number from 1 up, and what it holds or what is wrong with it."""

    number: int
    value: T | None
    error: str | None = None


class Source:
    """The lines of a file, or of standard input for "-".

    Raises:
        BertError: the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.is_stdin = path == "-"
        self.name = "standard input" if self.is_stdin else path
        try:
            self._file: BinaryIO = _open_stdin() if self.is_stdin else open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise BertError(f"cannot read {path}: {error.strerror}.") from error

    def count(self) -> int | None:
        """How many lines there are; None where one cannot look ahead."""
        if self.is_stdin:
            return None
        if not os.path.isfile(self.name):  # a named pipe can be read only once
            return None
        with open(self.name, "rb") as file:
            return sum(1 for _ in file)

    def lines(self, parse: Callable[[str], T]) -> Iterator[Line[T]]:
        """Each line that is not blank, parsed; a BertError from `parse` is the line's error."""
        for number, raw in enumerate(self._file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield Line(number, None, "this line is not UTF-8; convert the file to UTF-8.")
                continue
            if text.strip():
                try:
                    yield Line(number, parse(text))
                except BertError as error:
                    yield Line(number, None, str(error))
        if not self.is_stdin:
            self._file.close()  # else Python may remark on stderr that it was left open

    def chunks(self, parse: Callable[[str], T], size: int) -> Iterator[list[Line[T]]]:
        """The lines in lists of at most `size`.

        From a file the lists are full. From standard input a list ends where the next line is
        not there yet, so that a program at the other end gets its answer at once.
        """
        lines = self.lines(parse)
        yield from (_as_they_come(lines, size) if self.is_stdin else _full(lines, size))


def open_source(path: str | None, texts: Sequence[str]) -> Source | None:
    """The file or pipe that the texts come from; None if they are arguments or will be typed.

    Args:
        path: what `--input` says.
        texts: those that were given as arguments.

    Raises:
        BertError: both are given, or the file cannot be opened.
    """
    if path is not None:
        if texts:
            raise BertError("give texts or --input, not both.")
        return Source(path)
    if texts or sys.stdin is None or sys.stdin.isatty():
        return None
    return Source("-")


def _open_stdin() -> BinaryIO:
    """Standard input, apart from `sys.stdin`.

    Python closes that one when it ends, and waits for the lock that a reading thread holds.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError, AttributeError):  # not a real file, as in a notebook
        return sys.stdin.buffer


def _full(lines: Iterator[T], size: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _as_they_come(lines: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting: queue.Queue[Any] = queue.Queue(maxsize=2 * size)
    end = object()

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(end)
        except BaseException as error:  # belongs to the thread that waits
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    item = waiting.get()
    while item is not end:
        chunk: list[T] = []
        with contextlib.suppress(queue.Empty):
            while item is not end and len(chunk) < size:
                if isinstance(item, BaseException):
                    raise item
                chunk.append(item)
                item = None
                item = waiting.get_nowait()
        if item is None:
            yield chunk
            item = waiting.get()
        elif chunk:
            yield chunk


def answers(
    chunks: Iterable[Sequence[Line[T]]], answer: Callable[[Iterable[T]], Iterable[R | BertError]]
) -> Iterator[tuple[Line[T], R | str]]:
    """Each line with its result, or with what is wrong with it, in order; a chunk at a time.

    Args:
        chunks: the lines.
        answer: the library's function for many values; gives a BertError in place of the result
            of a value that it cannot answer.
    """
    for chunk in chunks:
        yield from streamed_answers(chunk, answer)


def streamed_answers(
    lines: Iterable[Line[T]], answer: Callable[[Iterable[T]], Iterable[R | BertError]]
) -> Iterator[tuple[Line[T], R | str]]:
    """As `answers`, but `answer` takes the lines as fast as it likes, in a thread of its own."""
    taken: collections.deque[Line[T]] = collections.deque()

    def values() -> Iterator[T]:
        for line in lines:
            taken.append(line)
            if line.value is not None:
                yield line.value

    for result in answer(values()):
        while taken[0].value is None:
            line = taken.popleft()
            yield line, line.error or "unreadable"
        yield taken.popleft(), str(result) if isinstance(result, BertError) else result
    for line in taken:
        yield line, line.error or "unreadable"
