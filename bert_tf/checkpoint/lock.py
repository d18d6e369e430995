"""A lock between processes that no crash leaves behind."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.2
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@contextlib.contextmanager
def lock(path: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock: others who ask for it, in this process or another, wait for the end.

    The system frees it when the process that holds it ends, however it ends. Where the file system
    knows no locks (some network drives), nobody waits.

    Args:
        path: of the lock's file; made, and removed at the end.
        waiting: called once, if somebody else holds the lock.

    Raises:
        OSError: the file cannot be made.
    """
    told = False
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _try(file) and _is_at(file, path):
                break
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        if not told:
            waiting()
            told = True
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        # While it is still held: whoever opened the file before this finds out in `_is_at`.
        with contextlib.suppress(OSError):  # Windows removes no open file; it may stay
            os.unlink(path)
        os.close(file)


def _is_at(file: int, path: str) -> bool:
    """Whether the open file is still the one of that name, not one that was removed."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _try(file: int) -> bool:
    """Locks the open file if nobody holds it; says whether it did."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in _UNSUPPORTED:
            raise
    return True
