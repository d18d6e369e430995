"""Where results go, to the screen, to a pipe or to a file, and in which form."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from bert_tf.errors import BertError
from bert_tf.files.whole import to_json, whole_file

if TYPE_CHECKING:
    from bert_tf.tasks.bulk import Form, InputRow

_TYPED: InputRow = (None, ("", 0), "")


class TextForm:
    """Results as text for people; see `bert_tf.tasks.bulk.Form`.

    Args:
        show: one result as text.
        separator: between two results.
        header: a line before all of them, if any.
    """

    def __init__(
        self, show: Callable[[Any], str], separator: str = "\n", header: str | None = None
    ) -> None:
        self._show, self.separator = show, separator
        self._header = "" if header is None else header + "\n"

    def header(self) -> str:
        """The line before all results."""
        return self._header

    def line(self, row: InputRow, result: Any) -> str:
        """A result's text; nothing for an error, which is for stderr."""
        return "" if isinstance(result, BertError) else self._show(result) + "\n"


class JsonForm:
    """Results, which are frozen dataclasses, as a JSON object a line."""

    separator = ""

    def header(self) -> str:
        """Nothing."""
        return ""

    def line(self, row: InputRow, result: Any) -> str:
        """The object: the line's number, if it is of a file, and the result's fields or error."""
        from bert_tf.tasks.bulk import numbered

        failed = isinstance(result, BertError)
        return to_json(numbered(row, result if failed else dataclasses.asdict(result))) + "\n"


class Output:
    """Writes each result at once, in a form."""

    def __init__(self, file: IO[str], form: Form) -> None:
        self._file, self._form, self._begun = file, form, False
        self._write(form.header())

    def result(self, result: Any, row: InputRow = _TYPED) -> None:
        """Writes a result, or the error of a row that has none."""
        self._write(self._form.line(row, result))

    def _write(self, text: str) -> None:
        if text:
            self._file.write((self._form.separator if self._begun else "") + text)
            self._file.flush()
            self._begun = True


@contextlib.contextmanager
def open_output(path: str | None, form: Form) -> Iterator[Output]:
    """Standard output, or a file that gets its name when all is written.

    Raises:
        BertError: the file cannot be written.
    """
    with contextlib.nullcontext(sys.stdout) if path is None else whole_file(path) as file:
        yield Output(file, form)
