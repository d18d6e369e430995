"""The named results that the tasks give."""

from __future__ import annotations

import dataclasses

FORMATS = ("tsv", "jsonl")
"""Of files with the results of many texts, see `result_lines`."""


@dataclasses.dataclass(frozen=True)
class Guess:
    """One word for one mask.

    Args:
        word: as it would be written; a continuation piece keeps its "##".
        probability: over the model's whole vocabulary; for a word of several pieces exp(mean
            log-probability of its pieces), so that long words compare with short.
        pieces: the word pieces.
        text: with this mask filled by this word, other masks left as they are.
    """

    word: str
    probability: float
    pieces: tuple[str, ...]
    text: str


@dataclasses.dataclass(frozen=True)
class MaskAnswer:
    """The guesses for one mask of a text.

    Args:
        start: first character of `[MASK]` in the text.
        end: the character after it.
        guesses: the best words, best first.
    """

    start: int
    end: int
    guesses: tuple[Guess, ...]


@dataclasses.dataclass(frozen=True)
class Combination:
    """Words for all masks of a text at once.

    Args:
        words: one for each mask, in the text's order.
        probability: product of those of each word given the words filled in before it.
        text: with all masks filled.
    """

    words: tuple[str, ...]
    probability: float
    text: str


@dataclasses.dataclass(frozen=True)
class FilledText:
    """A text with its masks filled.

    Args:
        text: as it was given.
        filled: with the best word for each mask, by the rule that `mode` names.
        mode: `"independent"`: each mask by itself, the others still masked, so that the words
            need not fit each other; `"sequential"`: one after another, the surest first, each
            given those before it; `"joint"`: the best combination that a beam search finds.
        masks: the guesses for each, in the text's order; in the sequential mode as they were when
            that mask was filled.
        combinations: of the joint mode, best first; else empty.
    """

    text: str
    filled: str
    mode: str
    masks: tuple[MaskAnswer, ...]
    combinations: tuple[Combination, ...] = ()


@dataclasses.dataclass(frozen=True)
class NextSentenceResult:
    """Whether a second text follows a first.

    Args:
        first: the first text.
        second: the second text.
        probability: that the second follows the first.
        label: `"follows"` or `"random"`, whichever is more probable.
        cut: whether the pair was longer than the model takes, and its longer text cut at its end.
    """

    first: str
    second: str
    probability: float
    label: str
    cut: bool


@dataclasses.dataclass(frozen=True)
class ClassifyResult:
    """What a classifier says of a text.

    Args:
        text: the text, or the first of a pair.
        text_pair: the second of a pair, or None.
        cut: whether it was longer than the classifier takes, and (the longer text) cut at its end.
        label: the most probable label; None for a regression.
        probability: of that label; None for a regression.
        probabilities: of all labels, in the model's order, adding up to 1 unless a text can have
            several; empty for a regression.
        labels: those that the text has, if it can have several; else None.
        value: the number of a regression; else None.
    """

    text: str
    text_pair: str | None
    cut: bool
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    value: float | None = None
