"""`TrainingLog`: the rows of a training as a table, for TensorBoard, and as JSON lines."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable
from typing import TextIO

from bert_tf.errors import BertError
from bert_tf.evaluation.results import plain
from bert_tf.files.reading import regular
from bert_tf.files.whole import encoded, remove_unfinished, to_json, write_whole, writing
from bert_tf.training.events import EventWriter

NAME = "log.csv"
JSON_NAME = "log.jsonl"
EVENTS = "tensorboard"
"""Folder of the events, with a folder `train` and, after the first evaluation, `eval`."""

LogRow = dict[str, float]
"""A line of a training's log: figures by the name of their column."""


class TrainingLog:
    """Writes each row to `log.csv` and to event files, and cuts off what a restart repeats.

    The table has a column for each name that occurred in a row; a number that a row lacks is an
    empty field. Only this class reads and writes the table during training: a line that a killed
    process left half-written goes when the next one starts.

    Nothing is touched before `start` or the first row, so that a process whose folder is taken
    leaves the other's log alone.

    Args:
        folder: of the training; it must exist when the first row comes.
        json_lines: where each row is also written as a line of JSON.
        events: whether TensorBoard's files are written.
        json_file: whether the table is also kept as `log.jsonl`, an object a line.

    Example:
        >>> log = TrainingLog(".")
        >>> log.start(1000)  # rows after step 1000 will come again
        >>> log.add({"step": 1100, "loss": 7.25})
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        json_lines: TextIO | None = None,
        *,
        events: bool = True,
        json_file: bool = False,
    ) -> None:
        self._folder = os.path.expanduser(os.fspath(folder))
        self.path = os.path.join(self._folder, NAME)
        self._json_path = os.path.join(self._folder, JSON_NAME)
        self._json_lines, self._with_events, self._with_json = json_lines, events, json_file
        self._writers: dict[str, EventWriter] = {}
        self._columns: list[str] = []
        self._start: int | None = None

    def start(self, step: int) -> None:
        """Begins after a step: later rows, and half a row at the end, are cut off.

        Raises:
            BertError: the table there is no log, or cannot be read or written.
        """
        self._start = step
        remove_unfinished(self._folder, lambda name: name in (NAME, JSON_NAME))
        kept = [row for row in self.rows() if row["step"] <= step]
        self._columns = list(dict.fromkeys(name for row in kept for name in row))
        self._rewrite(kept)
        if self._with_json:
            _replace(self._json_path, "".join(to_json(plain(row)) + "\n" for row in kept))

    def add(self, row: LogRow) -> None:
        """Writes a row; without `start`, the first one begins a new log.

        Args:
            row: numbers by name, `step` among them.

        Raises:
            BertError: it cannot be written.
        """
        if self._start is None:
            self.start(0)
        if new := [name for name in row if name not in self._columns]:
            self._columns += new
            self._rewrite([*self.rows(), row])
        else:
            _append(self.path, self._lines([row]))
        if self._with_json:
            _append(self._json_path, to_json(plain(row)) + "\n")
        if self._json_lines is not None:
            try:
                print(to_json(plain(row)), file=self._json_lines, flush=True)
            except OSError:  # its reader has gone: no reason to end a training
                self._json_lines = None
        if self._with_events:
            self._add_events(row)

    def rows(self) -> list[LogRow]:
        """The table's whole rows, without empty fields; none if there is no table.

        Raises:
            BertError: as `read_log`.
        """
        return read_log(self.path) if os.path.exists(self.path) else []

    def close(self) -> None:
        """Closes the files of events."""
        for writer in self._writers.values():
            writer.close()

    def _add_events(self, row: LogRow) -> None:
        runs: dict[str, LogRow] = {}
        for name, value in row.items():
            if name != "step":
                run = "eval" if name.startswith("eval_") else "train"
                runs.setdefault(run, {})[name.removeprefix("eval_")] = value
        for run, values in runs.items():
            if run not in self._writers:
                folder = os.path.join(self._folder, EVENTS, run)
                self._writers[run] = EventWriter(folder, (self._start or 0) + 1)
            self._writers[run].scalars(int(row["step"]), values)

    def _rewrite(self, rows: list[LogRow]) -> None:
        """Replaces the table, or removes it if it would be empty."""
        _replace(self.path, _line(self._columns) + self._lines(rows) if rows else "")

    def _lines(self, rows: list[LogRow]) -> str:
        return "".join(_line(_field(row.get(name)) for name in self._columns) for row in rows)


def read_log(path: str | os.PathLike[str]) -> list[LogRow]:
    """The rows of a `log.csv`.

    Args:
        path: of the table; a process may be writing to it.

    Returns:
        A dict for each whole line, without empty fields; `step` is an int.

    Raises:
        BertError: the file cannot be read, or its first line is not that of a log.
    """
    try:
        with open(path, encoding="utf-8", newline="", opener=regular) as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BertError(f"cannot read {path}: {getattr(error, 'strerror', error)}.") from error
    header, *lines = [*csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))] or [[]]
    if "step" not in header:
        raise BertError(f"{path} is no log of a training: it has no column step. Move it away.")
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            row: LogRow = {name: float(x) for name, x in zip(header, line, strict=True) if x}
            if "step" in row:
                found.append({**row, "step": int(row["step"])})
    return found


def _line(fields: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()


def _append(path: str, line: str) -> None:
    # One write, so that a killed process leaves at most one line half-written.
    with writing(path), open(path, "ab", buffering=0) as file:
        file.write(encoded(line))


def _replace(path: str, text: str) -> None:
    """Replaces a file, or removes it if it would be empty."""
    if text:
        write_whole(path, text)
    else:
        with writing(path), contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _field(value: float | None) -> str:
    """Seven digits: what a float32 holds."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.7g}"
