"""Flags as the original's scripts take them, added to an argparse parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from bert_tf.cli.options import Parser, say

_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")
_HELP = ("help", "helpshort", "helpfull", "h", "?")


class OriginalFlags:
    """Adds flags that are spelled as absl, the flag library of the original's scripts, takes them.

    `--flag=value`, `--flag value`, and either with one dash. A switch is `--flag`, `--noflag` or
    `--flag=false`; what follows it is never its value. The last of several wins. `-` and `_` in a
    name are the same. Names can not be cut short. One object serves one parser, and makes it
    understand these spellings by itself.

    Args:
        parser: the parser, or a command's, to add to.

    Example:
        >>> parser = Parser(prog="demo")
        >>> flags = OriginalFlags(parser)
        >>> flags.integer("random_seed", 12345, "Seed.")
        >>> flags.switch("do_lower_case", True, "Casing.")
        >>> parser.parse_args(["-random_seed", "7", "--nodo_lower_case"])
        Namespace(random_seed=7, do_lower_case=False)
    """

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._group: Any = parser
        self._names: dict[str, str] = {}  # every name with its aliases: the name of the flag
        self._switches: set[str] = set()
        self._ignored: dict[str, str] = {}
        parser.respell = self.respell

    def group(self, title: str) -> None:
        """Puts the flags that follow under a heading of the help."""
        self._group = self._parser.add_argument_group(title)

    def text(
        self,
        name: str,
        default: str | None,
        help: str,
        *,
        required: bool = False,
        choices: Sequence[str] | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """A flag that takes text."""
        self._add(name, aliases, str, default, help, required=required, choices=choices)

    def integer(
        self,
        name: str,
        default: int | None,
        help: str,
        *,
        minimum: int | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """A flag that takes a whole number, not below `minimum`; 0x10 is one too."""
        self._add(name, aliases, _integer(minimum), default, help, metavar="N")

    def number(
        self,
        name: str,
        default: float | None,
        help: str,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """A flag that takes a number between `minimum` and `maximum`, both included."""
        self._add(name, aliases, _number(minimum, maximum), default, help, metavar="X")

    def switch(
        self, name: str, default: bool | None, help: str, *, aliases: Sequence[str] = ()
    ) -> None:
        """A flag that is true or false; a default of None is for those that are inferred."""
        self._switches.add(name)
        self._add(name, aliases, _truth, default, help, metavar="true|false")

    def words(self, name: str, shown: str, help: str) -> None:
        """What is no flag, any number of them, as a list."""
        self._group.add_argument(name, nargs="*", metavar=shown, help=help)

    def ignored(self, name: str, why: str, *, switch: bool = False) -> None:
        """A flag of the original that is taken and does nothing; `note_ignored` says `why`."""
        if switch:
            self._switches.add(name)
        self._ignored[name] = why
        self._add(name, (), str, None, argparse.SUPPRESS)

    def note_ignored(self, args: argparse.Namespace) -> None:
        """Tells on stderr which of the flags that do nothing were given and not switched off."""
        for name, why in self._ignored.items():
            value = getattr(args, name)
            if value and not (name in self._switches and value.lower() in _FALSE):
                say(f"--{name} does nothing here: {why}")

    def respell(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with every flag as `--flag=value`, so that argparse misreads none.

        What is no flag of this object is left as it is, for argparse to judge; likewise all that
        follows `--`. A switch followed by a truth value as a word of its own ends the program
        with a message: absl would take the switch as true whatever the word says.
        """
        plain: list[str] = []
        words = iter(enumerate(arguments))
        for place, word in words:
            if word == "--":
                return [*plain, *arguments[place:]]
            name, equals, value = word.partition("=")
            known, negated = self._find(name)
            if known is None:
                bare = name.lstrip("-")
                plain.append("--help" if name.startswith("-") and bare in _HELP else word)
            elif known in self._switches:
                following = arguments[place + 1] if place + 1 < len(arguments) else ""
                if not equals and following.lower() in (*_TRUE, *_FALSE):
                    self._parser.error(
                        f"{word} {following} is read as two things; write --{known}={following}"
                    )
                if negated and equals:
                    self._parser.error(f"{word}: a switch that begins with no takes no value")
                plain.append(f"--{known}={value if equals else str(not negated).lower()}")
            elif equals:
                plain.append(f"--{known}={value}")
            else:
                if next(words, None) is None:
                    self._parser.error(f"{word} lacks its value; write --{known}=VALUE")
                plain.append(f"--{known}={arguments[place + 1]}")
        return plain

    def _find(self, word: str) -> tuple[str | None, bool]:
        """The flag that a word names, if any, and whether it is switched off."""
        name = word[2:] if word.startswith("--") else word[1:] if word.startswith("-") else ""
        name = name.replace("-", "_")
        if name in self._names:
            return self._names[name], False
        for prefix in ("no_", "no"):
            positive = self._names.get(name.removeprefix(prefix))
            if name.startswith(prefix) and positive in self._switches:
                return positive, True
        return None, False

    def _add(
        self,
        name: str,
        aliases: Sequence[str],
        type: Callable[[str], Any],
        default: Any,
        help: str,
        **options: Any,
    ) -> None:
        for one in (name, *aliases):
            self._names[one.replace("-", "_")] = name
        if help != argparse.SUPPRESS:
            negated = [f"no{name}"] if name in self._switches else []
            self._parser.more_flags += [f"--{one}" for one in (*aliases, *negated)]
        self._group.add_argument(
            f"--{name}", dest=name, type=type, default=default, help=help, **options
        )


def comma_separated(text: str | None) -> list[str]:
    """The parts of a flag that takes several values; none if it is empty or was not given."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _truth(text: str) -> bool:
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _integer(minimum: int | None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if minimum is not None and number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is below {minimum}")
        return number

    return parse


def _number(minimum: float | None, maximum: float | None) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if number != number:
            raise argparse.ArgumentTypeError(f"{text!r} is no number")
        if minimum is not None and number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is below {minimum:g}")
        if maximum is not None and number > maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is above {maximum:g}")
        return number

    return parse
