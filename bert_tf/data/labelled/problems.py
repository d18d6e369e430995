"""What can be wrong with labelled data, what is done about it, and the messages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from bert_tf.errors import BertError

Place = tuple[str, int]
"""A file and a line in it, from 1; for rows given in Python "" and the row, from 0."""

Role = Literal["train", "evaluate", "predict"]

_SHOWN = 5  # lines named for each kind of problem


class Kind(NamedTuple):
    """A kind of problem and its policy.

    Attributes:
        text: what rows of this kind are, with room for their number.
        train: the action in training data.
        evaluate: in validation and test data, changed as little as possible.
        predict: in data to predict, whose rows must stay in order.
        others: further actions to choose from.
        limit: fraction of the rows above which the file is taken as misread and refused, unless
            the action was asked for.
        hint: what to do about it.
    """

    text: str
    train: str
    evaluate: str
    predict: str
    others: tuple[str, ...] = ()
    limit: float = 1.0
    hint: str = ""

    def actions(self) -> tuple[str, ...]:
        """All that can be asked for."""
        return tuple(dict.fromkeys((self.train, self.evaluate, self.predict, *self.others)))


PROBLEMS: dict[str, Kind] = {
    "wrong_encoding": Kind(
        "{n} with bytes that are no text in the encoding read",
        *("refuse", "refuse", "refuse", ("drop", "replace")),
        hint="name the file's encoding, for example `encoding='cp1252'`",
    ),
    "repeated_header": Kind(
        "{n} repeating the names of the columns", "drop", "drop", "drop", ("refuse",)
    ),
    "blank_line": Kind("{n} blank", "drop", "drop", "drop", ("refuse",)),
    "ragged": Kind(
        "{n} with another number of fields than most, or no JSON",
        *("drop", "drop", "refuse"),
        limit=0.1,
        hint="is the separator (`delimiter`) right, and are quotes literal (`quoting='none'`) or "
        "do they enclose fields (`quoting='csv'`)?",
    ),
    "no_text": Kind(
        "{n} whose text is a list or an object",
        *("refuse", "refuse", "refuse", ("drop",)),
        hint="name a column of texts with `text`",
    ),
    "unlabelled": Kind(
        "{n} without a label",
        *("drop", "drop", "keep", ("refuse",)),
        limit=0.2,
        hint="is `label` the right column?",
    ),
    "not_a_number": Kind(
        "{n} whose label is no number",
        *("refuse", "refuse", "keep", ("drop",)),
        hint="decimals need a point; with classes instead of numbers, pass `task='classes'`",
    ),
    "nan": Kind("{n} whose label is NaN or infinite", "drop", "drop", "keep", ("refuse",)),
    "empty_text": Kind("{n} with an empty text", "drop", "keep", "keep", ("refuse",)),
    "duplicate": Kind("{n} repeating an earlier one", "keep", "keep", "keep", ("drop", "refuse")),
    "conflict": Kind(
        "{n} whose text also has another label", "keep", "keep", "keep", ("drop", "refuse")
    ),
    "leak": Kind(
        "{n} whose text is also in the data to evaluate on",
        *("drop", "drop", "keep", ("keep", "refuse")),
        hint="results on texts seen in training are too good",
    ),
    "unseen_label": Kind(
        "{n} with a label that no training row has",
        *("refuse", "refuse", "keep", ("drop", "keep")),
        hint="correct the label",
    ),
}
"""All that is looked for. Texts that differ only in case, white space or compatibility forms are
the same."""


class Policy:
    """What is done about each kind of problem.

    Args:
        role: what the data is for; sets the defaults, see `PROBLEMS`.
        changes: kind to action: "keep", "drop" (the row), "refuse" (an error that names lines),
            "replace" (undecodable bytes by U+FFFD).

    Raises:
        BertError: there is no such kind, or it does not have the action.

    Example:
        >>> Policy("train", unlabelled="refuse")["unlabelled"], Policy("train")["unlabelled"]
        ('refuse', 'drop')
    """

    def __init__(self, role: Role = "train", **changes: str) -> None:
        self.role = role
        self._changed = frozenset(changes)
        self._actions = {name: str(getattr(kind, role)) for name, kind in PROBLEMS.items()}
        for name, action in changes.items():
            if name not in PROBLEMS:
                raise BertError(f"there is no problem {name!r}; there are {', '.join(PROBLEMS)}")
            if action not in (actions := PROBLEMS[name].actions()):
                raise BertError(f"{name}={action}: the action is one of {', '.join(actions)}")
            self._actions[name] = action

    def limit(self, kind: str) -> float:
        """The fraction of rows that may be dropped; all of them where that was asked for."""
        return 1.0 if kind in self._changed else PROBLEMS[kind].limit

    @classmethod
    def parse(cls, text: str, role: Role = "train") -> Policy:
        """A policy from what a user types, such as `unlabelled=refuse,leak=keep`."""
        return cls(role, **parse_changes(text))

    def __getitem__(self, kind: str) -> str:
        return self._actions[kind]


def parse_changes(text: str) -> dict[str, str]:
    """Kind to action, as `Policy.parse` takes them; a `BertError` if a part is not kind=action."""
    changes = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, action = part.partition("=")
        if not equals:
            raise BertError(f"{part!r} is not kind=action, such as unlabelled=refuse")
        changes[name.strip()] = action.strip()
    return changes


@dataclass(frozen=True)
class Problem:
    """What was found of a kind, a key of `PROBLEMS`.

    The number of rows, the places of the first few, the action ("drop", "keep" or "replace"), the
    number of all rows, and more about them, such as their labels.
    """

    kind: str
    count: int
    places: tuple[Place, ...]
    action: str
    of: int
    note: str = ""

    def __str__(self) -> str:
        done = {"drop": "dropped", "keep": "kept", "replace": "bytes replaced"}[self.action]
        return f"{_counted(self)}, {done}: {_places(self)}"


@dataclass
class Tally:
    """Counts problems row by row; `policy` says what is done about them."""

    policy: Policy
    _places: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    _counts: Counter[str] = field(default_factory=Counter)
    _notes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, kind: str, place: Place, note: str = "") -> bool:
        """Counts a row, and says whether to drop it; the most frequent notes are reported."""
        self._counts[kind] += 1
        if self._counts[kind] <= _SHOWN:
            self._places[kind].append(place)
        if note:
            self._notes[kind][note] += 1
        return self.policy[kind] not in ("keep", "replace")

    def settle(self, rows: int, advice: Mapping[str, str] | None = None) -> list[Problem]:
        """What was found, in the order of `PROBLEMS`.

        Args:
            rows: how many there were.
            advice: kind to a better hint than that of `PROBLEMS`.

        Raises:
            BertError: some kinds are refused; the message names them all.
        """
        problems, refused = [], []
        for name, kind in PROBLEMS.items():
            if not (count := self._counts[name]):
                continue
            note = ", ".join(text for text, _ in self._notes[name].most_common(4))
            action = self.policy[name]
            problem = Problem(name, count, tuple(self._places[name]), action, rows, note)
            # One odd row among a handful proves nothing.
            too_many = action == "drop" and count > max(self.policy.limit(name) * rows, 3)
            if action != "refuse" and not too_many:
                problems.append(problem)
                continue
            hint = (advice or {}).get(name) or kind.hint
            others = [f"{name}={other}" for other in kind.actions() if other != "refuse"]
            escape = f"`policy` {' or '.join(others)}"
            ways = "; or ".join(filter(None, (hint, escape)))
            refused.append(f"{_counted(problem)}, of {rows:,}: {_places(problem)}; {ways}")
        if refused:
            raise BertError("\n".join(refused))
        return problems


def _counted(problem: Problem) -> str:
    noun = "line" if problem.kind in ("blank_line", "ragged", "repeated_header") else "row"
    n = f"{problem.count:,} {noun}{'' if problem.count == 1 else 's'}"
    return PROBLEMS[problem.kind].text.format(n=n) + (f" ({problem.note})" if problem.note else "")


def show_place(place: Place) -> str:
    """A place for a message.

    >>> show_place(("train.tsv", 17)), show_place(("", 3))
    ('train.tsv:17', 'row 3')
    """
    file, number = place
    return f"{file}:{number}" if file else f"row {number}"


def _places(problem: Problem) -> str:
    """The first places; a file is named once."""
    earlier = ("", *(file for file, _ in problem.places))
    shown = [
        f":{place[1]}" if place[0] and place[0] == last else show_place(place)
        for last, place in zip(earlier, problem.places)
    ]
    return ", ".join(shown) + (", ..." if problem.count > len(shown) else "")


def describe(problems: Iterable[Problem], name: str) -> list[str]:
    """Lines for the screen, each beginning with the name of the data."""
    return [f"{name}: {problem}" for problem in problems]
