"""Shows on stderr how a long job goes on: a bar on a terminal, and remarks."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """A bar that appears with the first total and can be closed more than once.

    Args:
        shown: False for silence.
        label: what stands before the bar.
    """

    def __init__(self, shown: bool, label: str) -> None:
        self._shown = shown
        self._label = label
        self._bar: Any = None

    def start(self, total: int | None, done: int) -> None:
        """Shows the bar, or sets an earlier one to what is true now."""
        if not self._shown or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self._label, unit="B", unit_scale=True, file=sys.stderr, dynamic_ncols=True
            )
        self._bar.total = total
        self._bar.n = self._bar.initial = done  # the rate is of this connection only
        self._bar.refresh()

    def add(self, count: int) -> None:
        """Moves the bar on."""
        if self._bar is not None:
            self._bar.update(count)

    def say(self, remark: str) -> None:
        """Tells something, above the bar."""
        if self._bar is not None:
            self._bar.write(f"bert_tf: {remark}", file=sys.stderr)
        elif self._shown:
            print(f"bert_tf: {remark}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
