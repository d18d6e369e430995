"""The logger `bert_tf`, for what a user should know although it is no error, and who gets it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from bert_tf._moved import OldName, warn_of_old

F = TypeVar("F", bound=Callable[..., Any])

# Without a handler of the user's, Python prints warnings on stderr, and no more than warnings.
LOGGER = logging.getLogger("bert_tf")


def warn(*messages: str | None) -> tuple[str, ...]:
    """Logs warnings, each but None and ""; gives them, for results that have them as data."""
    found = tuple(filter(None, messages))
    for message in found:
        LOGGER.warning(message, stacklevel=2)
    return found


class Warned:
    """What has `warnings`, called `remarks` in version 0.1.0."""

    remarks = OldName("remarks", "warnings")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps off the logger what this thread would log: what was said, or is given otherwise."""
    thread = threading.get_ident()
    LOGGER.addFilter(is_other := lambda record: record.thread != thread)
    try:
        yield
    finally:
        LOGGER.removeFilter(is_other)


class _Reporter(logging.Handler):
    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        self.report(record.getMessage())


@contextlib.contextmanager
def reported_to(report: Callable[[str], None] | None) -> Iterator[None]:
    """Gives a function what is logged in the meantime, in any thread; once, also where nested.

    Example:
        >>> with reported_to(print):
        ...     LOGGER.info("the cache is full")
        the cache is full
    """
    known = [handler.report for handler in LOGGER.handlers if isinstance(handler, _Reporter)]
    if report is None or report in known:
        yield
        return
    handler, level = _Reporter(report), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(min(logging.INFO, LOGGER.getEffectiveLevel()))
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


def reports(function: F) -> F:
    """Gives what a function logs to its argument `tell`, else to its object's `_tell`, too."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        if "on_remark" in kwargs:
            warn_of_old("on_remark", "tell")
            kwargs["tell"] = kwargs.pop("on_remark")
        given = signature.bind(*args, **kwargs).arguments
        with reported_to(given.get("tell", getattr(next(iter(args), None), "_tell", None))):
            return function(*args, **kwargs)

    return reporting  # type: ignore[return-value]
