"""Options: the default, range and help of each, declared once for Python and the command line."""

from __future__ import annotations

import dataclasses
import inspect
import numbers
import operator
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from bert_tf.errors import BertError

USUAL_LENGTH = 128
"""`max_seq_length` where it is neither given nor known, as in the original's scripts."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that an option can have; NaN and infinity are never among them.

    Args:
        kind: int for whole numbers, float for all.
        minimum: the lowest.
        maximum: the highest.
        above: a lower limit that is excluded.
        below: an upper limit that is excluded.

        >>> Range(int, 1, 8).problem(0), Range(float, 0, below=1).problem(0.5)
        ('must be at least 1 (from 1 to 8)', None)
    """

    kind: type
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        limits = {
            "from": self.minimum,
            "above": self.above,
            "to" if self.minimum is not None else "up to": self.maximum,
            "below": self.below,
        }
        known = {word: shown(limit) for word, limit in limits.items() if limit is not None}
        return " ".join(f"{word} {limit}" for word, limit in known.items())

    def problem(self, value: Any) -> str | None:
        """What the value must be and is not; None if it is in the range."""
        whole = self.kind is int
        is_one = isinstance(value, numbers.Integral if whole else numbers.Real)
        if not is_one or isinstance(value, bool):
            return f"must be a {'whole ' if whole else ''}number {self}"
        if not whole and not abs(value) <= sys.float_info.max:
            return f"must be a finite number {self}"
        for fits, words, limit in (
            (operator.ge, "at least", self.minimum),
            (operator.gt, "above", self.above),
            (operator.le, "at most", self.maximum),
            (operator.lt, "below", self.below),
        ):
            if limit is not None and not fits(value, limit):
                return f"must be {words} {shown(limit)} ({self})"
        return None

    def check(self, name: str, value: Any) -> None:
        """Makes sure that a parameter's value is in the range, else raises `BertError`."""
        if problem := self.problem(value):
            raise BertError(f"{name} is {value!r:.40}; it {problem}.")


COUNT = Range(int, 1, 2**31 - 1)
ROWS = Range(int, 1, 1_000_000)
"""Of a batch: the rows that are computed at once."""
LENGTH = Range(int, 3, 65_536)
"""Of a text in tokens: [CLS], a token and [SEP] are the shortest."""
HIDDEN_UNITS = Range(int, 1, 65_536)
HEAD_ACTIVATIONS = ("tanh", "relu", "gelu", "gelu_exact")
"""Of the hidden layer of a classification head; `gelu` is the original's."""
LABELS = Range(int, 1, 65_536)
SEED = Range(int, 0, 2**32 - 1)
THREADS = Range(int, 1, 4096)
SHARDS = Range(int, 1, 1000)
"""Of a checkpoint: all its data files are open at once while it is written."""
FRACTION = Range(float, 0, 1)
PORTION = Range(float, above=0, maximum=1)
RATE = Range(float, 0, below=1)
POSITIVE = Range(float, above=0, maximum=1e12)
"""Up to what float32 can hold the square of."""
NOT_NEGATIVE = Range(float, 0, POSITIVE.maximum)


def option(
    default: Any,
    help: str,
    range: Range | None = None,
    *,
    choices: tuple[str, ...] = (),
    usual: str | None = None,
) -> Any:
    """A field of a dataclass of `Options`.

    Args:
        default: its default.
        help: what it is, a phrase without a full stop at the end.
        range: of a number.
        choices: the words that a text can be.
        usual: shown in place of a default of None that means something else.
    """
    if usual is None and default is not None:
        usual = shown(default)
    metadata = {"help": help, "range": range, "choices": choices, "usual": usual}
    return dataclasses.field(default=default, metadata=metadata)


def like(options: type[Options], name: str, **changes: Any) -> Any:
    """A field that is the same option as one of other `Options`, but for the changes."""
    known = options.__dataclass_fields__[name]
    return option(**{"default": known.default, **known.metadata, "usual": None, **changes})


def shown(value: Any) -> str:
    """A default as the command line spells it.

    >>> shown(5e-5), shown(0.1), shown(True), shown("full")
    ('5e-5', '0.1', 'true', 'full')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


class Options:
    """What frozen dataclasses whose fields are options have in common.

    Each `option` is documented in the class's docstring, and checked when an object is made: a
    value out of its range, or not among the choices, raises `BertError`.
    """

    __dataclass_fields__: dict[str, dataclasses.Field[Any]]

    def __init_subclass__(cls) -> None:
        lines = []
        for name, field in vars(cls).items():
            if isinstance(field, dataclasses.Field):
                known = field.metadata
                notes = "; ".join(str(one) for one in (known["usual"], known["range"]) if one)
                text = f"{name}: {known['help']}" + (f" ({notes})." if notes else ".")
                lines.append(
                    textwrap.fill(text, 96, initial_indent="    ", subsequent_indent=" " * 8)
                )
        if lines:
            cls.__doc__ = "\n".join(
                [inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *lines]
            )

    def __post_init__(self) -> None:
        for field in self.__dataclass_fields__.values():
            value, known = getattr(self, field.name), field.metadata
            if value is None and "None" in str(field.type):
                continue
            if known["range"] and not ("bool" in str(field.type) and isinstance(value, bool)):
                known["range"].check(field.name, value)
            if known["choices"]:
                check_choice(field.name, value, known["choices"])


def check_choice(name: str, value: Any, choices: Sequence[str | None]) -> None:
    """Makes sure that a parameter is one of some words (or None), else raises `BertError`."""
    if value not in choices:
        words = ", ".join(filter(None, choices))
        raise BertError(f"{name} is {value!r:.60}; it must be one of {words}.")


def check_hidden(dense_layers: int, units: int | None, activation: str | None) -> None:
    """Refuses settings of a hidden layer that cannot be, or where there is none.

    Raises:
        BertError: they are such.
    """
    if units is not None:
        HIDDEN_UNITS.check("hidden_units", units)
    if dense_layers == 1 and (units is not None or activation not in (None, "tanh")):
        raise BertError(
            "`hidden_units` and `head_activation` are those of the hidden layer, and a head with "
            "`dense_layers=1` has none; pass `dense_layers=2`."
        )
