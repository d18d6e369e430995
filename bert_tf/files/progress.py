"""`Progress`: how a long job advances, as a bar on stderr where a person can see one."""

from __future__ import annotations

import contextlib
import sys
from typing import Any


class Progress(contextlib.AbstractContextManager["Progress"]):
    """A bar that appears with the first total, if stderr is a terminal; can be closed repeatedly.

    Args:
        shown: False for silence.
        label: text before the bar.
        unit: what is counted; "B" is shown as kB, MB, ...

    Example:
        >>> with Progress(True, "reading", unit=" rows") as bar:
        ...     bar.start(total=2)
        ...     for _ in range(2):
        ...         bar.add(1)
    """

    def __init__(self, shown: bool, label: str = "", unit: str = "B") -> None:
        self._asked = shown
        self._label = label
        self._unit = unit
        self._bar: Any = None

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def shown(self) -> bool:
        """Whether there will be a bar; if not, a total need not be counted."""
        return self._asked and sys.stderr is not None and sys.stderr.isatty()

    def start(self, total: int | None, done: int = 0) -> None:
        """Shows the bar, or updates one that is shown."""
        if not self.shown:
            return
        if self._bar is None:
            from tqdm import tqdm

            scaled = self._unit == "B"
            options = {"file": sys.stderr, "dynamic_ncols": True, "unit_scale": scaled}
            self._bar = tqdm(desc=self._label or None, unit=self._unit, **options)
        self._bar.total = total
        # The rate is of this connection or this run only.
        self._bar.n = self._bar.initial = self._bar.last_print_n = done
        self._bar.refresh()

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
            self._bar.set_description(text)

    def note(self, text: str) -> None:
        """Changes the text after the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
