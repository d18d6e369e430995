"""Locks between processes that a crash frees: by name, with `filelock`, and of what is written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # Windows, which removes no open file
    fcntl = None  # type: ignore[assignment]

_POLL_SECONDS = 0.2
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def lock(path: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock: others that ask for it, in this process or another, wait for the end.

    The system frees it when the process that holds it ends in any way. Where the file system has
    no locks (some network drives), nobody waits.

    Args:
        path: of the lock's file; made (or an `OSError`), and removed at the end.
        waiting: called once, if it is held elsewhere.
    """
    from filelock import FileLock, Timeout

    # No fallback: the marker of a "soft" lock survives a crash.
    held = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        try:
            held.acquire(blocking=False)
        except Timeout:
            waiting()
            held.acquire(poll_interval=_POLL_SECONDS)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    try:
        yield
    finally:
        # While it is still held: a process that opened this file gets no lock and opens another.
        with contextlib.suppress(OSError):  # Windows removes no open file; filelock does later
            os.unlink(path)
        held.release()


def hold(descriptor: int) -> None:
    """Marks an open file or folder as in use until it is closed, for `unused`."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # no locks here: then nobody removes it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextlib.contextmanager
def unused(path: str) -> Iterator[bool]:
    """Whether no process has `hold` of a file or folder; during the block, none gets it."""
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = True
    except OSError:
        found = False
    try:
        yield found
    finally:
        if descriptor is not None:
            os.close(descriptor)
