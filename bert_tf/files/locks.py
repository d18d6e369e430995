"""Locks between processes, which a crash frees, and between threads, for what is made once."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.2
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_MAKING = threading.RLock()  # of the process: models share layers, and no object has to pickle it


@contextlib.contextmanager
def lock(path: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock of `filelock`: others that ask for it, wherever, wait for the end.

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
        # While it is still held: whoever opened this file gets no lock on it, and opens another.
        with contextlib.suppress(OSError):  # Windows removes no open file; filelock does later
            os.unlink(path)
        held.release()


@contextlib.contextmanager
def making() -> Iterator[None]:
    """Inside, or in what it decorates, no other thread makes a model: Keras is not safe there."""
    with _MAKING:
        yield


class made_once(cached_property[T]):  # noqa: N801
    """A `cached_property` that is made once, however many threads ask for it at the same time."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        with _MAKING:
            return super().__get__(instance, owner)
