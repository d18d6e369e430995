"""The logger `bert_tf`, for what a user should know although it is no error; who listens to it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Without a handler of the user's, Python prints warnings on stderr, and no more than warnings.
LOGGER = logging.getLogger("bert_tf")


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage())


@contextlib.contextmanager
def told_to(tell: Callable[[str], None] | None) -> Iterator[None]:
    """Gives a function what is logged in the meantime, in any thread; once, also where nested.

    Example:
        >>> told = []
        >>> with told_to(told.append):
        ...     LOGGER.info("the cache is full")
        >>> told
        ['the cache is full']
    """
    listening = [handler.tell for handler in LOGGER.handlers if isinstance(handler, _Teller)]
    if tell is None or tell in listening:
        yield
        return
    handler, level = _Teller(tell), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(min(logging.INFO, LOGGER.getEffectiveLevel()))
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


def hears(name: str) -> Callable[[F], F]:
    """Lets a function's argument `name`, else its object's `_name`, hear what it logs."""

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def heard(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            known = name in signature.parameters
            with told_to(given.get(name) if known else getattr(args[0], f"_{name}")):
                return function(*args, **kwargs)

        return heard  # type: ignore[return-value]

    return decorate
