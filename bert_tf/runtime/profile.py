"""Where the time goes: seconds by phase, summed over the process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

_seconds: dict[str, float] = {}


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Adds the time spent inside to a phase; phases that overlap in threads each count in full."""
    start = time.perf_counter()
    try:
        yield
    finally:
        add(name, time.perf_counter() - start)


def add(name: str, seconds: float) -> None:
    """Adds seconds to a phase."""
    _seconds[name] = _seconds.get(name, 0.0) + seconds


def report() -> dict[str, float]:
    """Seconds by phase, in the order in which the phases first came up."""
    return dict(_seconds)
