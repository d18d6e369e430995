"""The spellings of absl, the flag library of the original's scripts, made argparse's."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import Any

from bert_tf.options import Range

_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")
_HELP = ("help", "helpshort", "helpfull", "h", "?")


def truth(text: str) -> bool:
    """The type of switches for argparse: what is spelled as true or false."""
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def number(range: Range, text: str) -> int | float:
    """The number of a range that a user typed (0x10 is a whole number too).

    Raises:
        ArgumentTypeError: it is none, or out of the range.
    """
    base = 16 if text.lower().lstrip("+-").startswith("0x") else 10
    value: Any = None
    with contextlib.suppress(ValueError):
        value = float(text) if range.kind is float else int(text, base)
    if problem := range.problem(value):
        raise argparse.ArgumentTypeError(f"{text!r:.40} {problem}")
    return value


def comma_separated(text: str | None) -> list[str]:
    """The parts of a flag that takes several values; none if it is empty or was not given."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def respell(
    parser: argparse.ArgumentParser, arguments: Sequence[str], guard: bool = True
) -> list[str]:
    """The arguments with every flag as `--flag=value`, so that argparse misreads none.

    absl takes `--flag=value`, `--flag value`, and either with one dash. A switch (a flag of type
    `truth`) is `--flag`, `--noflag` or `--flag=false`; what follows it is never its value. `-` and
    `_` in a name are the same. What is no flag of the parser, and all after `--`, is left for
    argparse to judge.

    Args:
        parser: whose flags.
        arguments: as typed.
        guard: whether a switch followed by a truth value as a word of its own, which absl ignores,
            ends the program with a message.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--seed"), parser.add_argument("--cased", type=truth)
        >>> respell(parser, ["-seed", "7", "--nocased"])
        ['--seed=7', '--cased=false']
    """
    spelled: dict[str, tuple[argparse.Action, str]] = {}
    for flag, known in parser._option_string_actions.items():
        name = _plain(flag)
        if known.type is truth:
            spelled = dict.fromkeys((f"no{name}", f"no_{name}"), (known, "false")) | spelled
        spelled[name] = known, "true"
    plain: list[str] = []
    words = iter(enumerate(arguments))
    for index, word in words:
        if word == "--":
            return [*plain, *arguments[index:]]
        name, equals, value = word.partition("=")
        action, meant = spelled.get(_plain(name), (None, ""))
        if action is None or action.nargs == 0:
            asks = name.startswith("-") and name.lstrip("-") in _HELP
            plain.append("--help" if asks else word)
            continue
        flag = action.option_strings[0]
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if action.type is truth:
            if guard and not equals and following.lower() in (*_TRUE, *_FALSE):
                parser.error(f"{word} {following} is ambiguous; write {flag}={following}")
            if meant == "false" and equals:
                parser.error(f"{word}: a switch that starts with no takes no value")
            plain.append(f"{flag}={value if equals else meant}")
        else:
            if not equals and next(words, None) is None:
                parser.error(f"{word} lacks its value; write {flag}=VALUE")
            plain.append(f"{flag}={value if equals else following}")
    return plain


def _plain(word: str) -> str:
    """The name of a flag as it is compared; "" for what is none."""
    dashes = "--" if word.startswith("--") else "-"
    return word.removeprefix(dashes).replace("-", "_") if word.startswith("-") else ""
