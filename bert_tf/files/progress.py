"""`Progress`: how a long job advances, as a bar on stderr where a person can see one."""

from __future__ import annotations

import sys
from typing import Any, Self


class Progress:
    """A bar that appears with the first total and can be closed more than once.

    This is the one place that decides whether a bar is shown: if it is asked for and stderr is a
    terminal.

    Args:
        shown: False for silence.
        label: what stands before the bar.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def shown(self) -> bool:
        """Whether there will be a bar; if not, a total need not be counted."""
        return self._asked and sys.stderr is not None and sys.stderr.isatty()

    def start(self, total: int | None, done: int = 0) -> None:
        """Shows the bar, or sets an earlier one to what is true now."""
        if not self.shown:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self._label or None,
                unit=self._unit,
                unit_scale=self._unit == "B",
                file=sys.stderr,
                dynamic_ncols=True,
            )
        self._bar.total = total
        # The rate is of this connection or this run only.
        self._bar.n = self._bar.initial = self._bar.last_print_n = done
        self._bar.refresh()

    def add(self, count: int) -> None:
        """Moves the bar on."""
        if self._bar is not None:
            self._bar.update(count)

    def reach(self, done: int) -> None:
        """Moves the bar to where so much is done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def label(self, text: str) -> None:
        """Changes what stands before the bar."""
        if self._bar is not None:
            self._bar.set_description(text)

    def note(self, text: str) -> None:
        """Changes what stands after the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
