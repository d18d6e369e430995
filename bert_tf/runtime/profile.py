"""Where the time goes: seconds by phase, summed over the process."""

from __future__ import annotations

import contextlib
import os
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
        _seconds[name] = _seconds.get(name, 0.0) + time.perf_counter() - start


def since_start() -> float | None:
    """Seconds since the process was made, by the clock of the system; None where unknown."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            # Field 22 is the start in clock ticks since boot; names may hold spaces (proc(5)).
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def report() -> dict[str, float]:
    """Seconds by phase, in the order in which the phases first came up."""
    return dict(_seconds)
