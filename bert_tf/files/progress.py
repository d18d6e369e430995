"""`Progress`: how a long job advances, as a bar or, where stderr is a file, as lines of the log."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from bert_tf.files.log import LOGGER

LINE_SECONDS = 30
"""Off a terminal: how long a job takes before a line says how far it is, and between two lines."""

_DONE, _TIMES = "{desc}{n_fmt}", "{unit}, {elapsed} elapsed, "
_LINES = {
    True: f"{_DONE} of {{total_fmt}}{_TIMES}{{remaining}} left, {{rate_fmt}}{{postfix}}",
    False: f"{_DONE}{_TIMES}{{rate_fmt}}{{postfix}}",
}
"""A line, by whether the total is known."""


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Shows how far a job is, from the first total on; can be closed repeatedly.

    On a terminal and in a notebook it is a bar. Elsewhere it is a line on the logger every
    `LINE_SECONDS`, which the command line prints.

    Args:
        shown: False for silence.
        label: text before the bar.
        unit: what is counted, in the plural; "B" is shown as kB, MB, ...

    Example:
        >>> with Progress(True, "reading", unit="rows") as bar:
        ...     bar.start(total=2)
        ...     for _ in range(2):
        ...         bar.add(1)
    """

    def __init__(self, shown: bool, label: str = "", unit: str = "B") -> None:
        self.shown = shown and sys.stderr is not None
        self._label = label
        self._unit = unit
        self._bar: Any = None
        self._notebook = "ipykernel" in sys.modules
        self._draws = self._notebook or (self.shown and sys.stderr.isatty())
        self._options: dict[str, Any] = {"file": sys.stderr, "dynamic_ncols": True}
        if not self._draws:
            self._options = {"file": _Lines(), "delay": LINE_SECONDS}
            self._options |= {"mininterval": LINE_SECONDS, "maxinterval": 2 * LINE_SECONDS}

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, total: int | None, done: int = 0) -> None:
        """Shows the bar, or updates one that is shown."""
        if not self.shown:
            return
        if self._bar is None:
            if self._notebook:
                from tqdm.auto import tqdm
            else:
                from tqdm import tqdm

            scaled = self._unit == "B"
            unit = {"unit": "B" if scaled else f" {self._unit}", "unit_scale": scaled}
            self._bar = tqdm(desc=self._label and f"{self._label}: ", **unit, **self._options)
        self._bar.total = total
        # The rate is of this connection or this run only.
        self._bar.n = self._bar.initial = self._bar.last_print_n = done
        if self._draws:
            self._bar.refresh()
        else:
            self._bar.bar_format = _LINES[total is not None]

    def add(self, count: int) -> None:
        """Advances the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def reach(self, done: int) -> None:
        """Moves the bar to this number."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def label(self, text: str) -> None:
        """Changes the text before the bar."""
        if self._bar is not None:
            self._bar.set_description(text, refresh=self._draws)

    def note(self, text: str) -> None:
        """Changes the text after the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=self._draws)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    """What tqdm writes, as lines of the log."""

    def write(self, text: str) -> None:
        if line := text.strip():
            LOGGER.info(line)

    def flush(self) -> None:
        """Nothing is kept back."""
