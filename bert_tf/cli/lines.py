"""Reads the lines of a file or of standard input."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bert_tf.errors import BertError
from bert_tf.files.reading import reading
from bert_tf.files.text_lines import PLAIN_TEXT, LineCheck, open_lines, undecodable

_STRAYS = 0.1
"""Fraction of the lines of a file that can be errors of their own as they are not UTF-8."""


class Line(NamedTuple):
    """A line of the input.

    Attributes:
        value: what it holds; None if that cannot be read.
        position: the input's name, and the line's number from 1 up.
        error: what is wrong with the line; "" if nothing is.
    """

    value: Any
    position: tuple[str, int]
    error: str = ""


class Source:
    """The lines of a file, or of standard input for "-", in UTF-8 or UTF-16, gzipped or not.

    A file of another encoding is refused; a few lines of one, and lines of a pipe, have an error.

    Attributes:
        parse: turns a line into what is asked; its `BertError` is the line's error. May be set
            later, before the first line is read.
        is_stdin: whether it is standard input.
        is_file: whether it can be read more than once; a pipe cannot.
        name: for messages.

    Raises:
        BertError: the file cannot be opened, or is no text.
    """

    def __init__(self, path: str, parse: Callable[[str], Any] = str) -> None:
        self.parse = parse
        self.is_stdin = path == "-"
        self.is_file = not self.is_stdin and os.path.isfile(path)
        self.name = "standard input" if self.is_stdin else path
        with reading(path):
            self._file: Any = _open_stdin() if self.is_stdin else open(path, "rb")  # noqa: SIM115
        if self.is_file:
            self._file.close()  # it can be read; each reader opens it
            with self._lines():
                pass

    def count(self) -> int | None:
        """How many lines there are; None where one cannot look ahead."""
        if not self.is_file:
            return None
        with self._lines() as lines:
            return sum(1 for _ in lines)

    def __iter__(self) -> Iterator[Line]:
        """Each line that is not blank, from the first of a file."""
        with self._lines() as lines:
            checked = LineCheck(_STRAYS).checked(self.name, lines) if self.is_file else lines
            for number, text in enumerate(checked, 1):
                if line := self._line((self.name, number), text):
                    yield line

    def as_they_come(self, size: int) -> Iterator[list[Line]]:
        """Lists of at most `size` lines; shorter where the next line is not there yet.

        So a program at the other end gets its answer at once.
        """
        waiting: queue.Queue[Line | BaseException] = queue.Queue(maxsize=2 * size)

        def read() -> None:
            try:
                for line in self:
                    waiting.put(line)
                waiting.put(StopIteration())
            except BaseException as error:  # belongs to the thread that waits
                waiting.put(error)

        threading.Thread(target=read, daemon=True).start()
        while True:
            found = [waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(found) < size and isinstance(found[-1], Line):
                    found.append(waiting.get_nowait())
            if chunk := [one for one in found if isinstance(one, Line)]:
                yield chunk
            if isinstance(found[-1], StopIteration):
                return
            if isinstance(found[-1], BaseException):
                raise found[-1]

    @contextlib.contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        with contextlib.ExitStack() as stack:
            if not (self.is_file or self.is_stdin):
                stack.enter_context(self._file)
            file = self.name if self.is_file else self._file
            yield stack.enter_context(open_lines(file, name=self.name, advice=PLAIN_TEXT))

    def _line(self, position: tuple[str, int], text: str) -> Line | None:
        if undecodable(text):
            return Line(None, position, "this line is not UTF-8; convert the file to UTF-8.")
        text = text.rstrip("\r\n")
        if not text.strip():
            return None
        try:
            return Line(self.parse(text), position)
        except BertError as error:
            return Line(None, position, str(error))


@contextlib.contextmanager
def pipe_as_file(path: str) -> Iterator[str]:
    """All of a pipe, or of standard input (-), in a temporary file, for what reads it twice."""
    with tempfile.NamedTemporaryFile(prefix="bert_tf-") as file, contextlib.ExitStack() as stack:
        with reading("standard input" if path == "-" else path):
            pipe = _open_stdin() if path == "-" else stack.enter_context(open(path, "rb"))
            shutil.copyfileobj(pipe, file)
            file.flush()
        yield file.name


def is_pipe(path: str | None) -> bool:
    """Whether it is standard input (-) or a named pipe, which can be read once."""
    return path == "-" or (path is not None and Path(path).is_fifo())


def _open_stdin() -> Any:
    """Standard input, not as `sys.stdin`: Python closes that at exit and waits for its readers."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError, AttributeError):  # not a real file, as in a notebook
        file = sys.stdin.buffer
        return file if hasattr(file, "peek") else io.BufferedReader(file)
