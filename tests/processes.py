"""What test processes need that are started by others, and a limit for this one."""

import contextlib
import signal

import pytest


def heed_ctrl_c() -> None:
    """Lets a child be stopped with SIGINT; for `preexec_fn`.

    A shell without job control starts background jobs with SIGINT ignored, children inherit that,
    and Python then installs no handler.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def limited_files(size: int):
    """Has the system refuse to write beyond so many bytes of a file, as a full disk does."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def within(seconds):
    """Raises `TimeoutError` in the block if it takes longer; for what could wait without end."""

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
