"""`MaskedText`: one text with its masks, as rows that the model takes; `FilledText`: filled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.errors import BertError
from bert_tf.tasks.base import Shown
from bert_tf.text import BertTokenizer, Packed, Vocabulary, best_windows, windows


@dataclasses.dataclass(frozen=True)
class Guess:
    """One word for one mask.

    Args:
        word: as it would be written; a continuation token keeps its "##".
        probability: over the model's whole vocabulary; for a word of several tokens exp(mean
            log-probability of its tokens), so that long words compare with short.
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


MODES = {
    "independent": "each mask alone",
    "sequential": "one mask after another",
    "joint": "all masks together",
}


@dataclasses.dataclass(frozen=True)
class FilledText(Shown):
    """A text with its masks filled; `print` shows it with a table of the guesses.

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

    def _shown(self) -> tuple[Any, ...]:
        lists: list[tuple[str, list[tuple[str, float]]]] = []
        mode, count = self.mode, len(self.masks)
        if self.combinations:
            together = [(" ".join(one.words), one.probability) for one in self.combinations]
            lists.append((MODES["joint"], together))
            mode = "independent"  # the guesses for each mask by itself
        for number, mask in enumerate(self.masks, 1):
            title = f"mask {number} of {count}, {MODES[mode]}" if count > 1 else "mask"
            lists.append((title, [(guess.word, guess.probability) for guess in mask.guesses]))
        return self.filled, lists


@dataclasses.dataclass(frozen=True)
class MaskedText:
    """A tokenized text."""

    text: str
    ids: tuple[int, ...]
    """Its tokens, without the outer [CLS] and [SEP]."""
    masks: tuple[int, ...]
    """Index of each mask among `ids`."""
    spans: tuple[tuple[int, int], ...]
    """First character of each mask and the one after it."""

    def stands_alone(self, mask: int) -> bool:
        """Whether the mask is a word of its own, not glued to letters or digits."""
        start, end = self.spans[mask]
        before, after = self.text[:start][-1:], self.text[end:][:1]
        return not before.isalnum() and not after.isalnum()

    def with_words(self, words: Mapping[int, str]) -> str:
        """The text with some masks, by their number, replaced.

        A continuation token ("##...") is glued to what is before it.
        """
        text = self.text
        for mask in sorted(words, reverse=True):
            start, end = self.spans[mask]
            word, before = words[mask], text[:start]
            if word.startswith("##") and len(word) > 2:
                word, before = word[2:], before.rstrip()
            text = before + word + text[end:]
        return text


@dataclasses.dataclass(frozen=True)
class MaskedRow:
    """One input row, with [CLS] and [SEP], and the positions in it that are asked for."""

    packed: Packed
    positions: tuple[int, ...]
    masks: tuple[int, ...]
    """Which mask of the text each position is."""


def read(text: str, tokenizer: BertTokenizer) -> MaskedText:
    """Tokenizes a text with `[MASK]` in it, by a tokenizer that keeps special tokens whole.

    It may start with [CLS] and end with [SEP]; a [SEP] inside starts the second segment.

    Raises:
        BertError: there is no mask in the text.
    """
    vocab = tokenizer.vocab
    encoding = tokenizer.encode(text)
    ids, offsets = list(encoding.ids), list(encoding.offsets)
    if ids[:1] == [vocab.cls_id]:
        ids, offsets = ids[1:], offsets[1:]
    if ids[-1:] == [vocab.sep_id]:
        ids, offsets = ids[:-1], offsets[:-1]
    masks = tuple(i for i, piece in enumerate(ids) if piece == vocab.mask_id)
    if not masks:
        hint = " ([MASK] in capitals)" if "[mask]" in text.lower() else ""
        raise BertError(
            f"there is no [MASK] in {_shown(text)}: write [MASK]{hint} where a word is wanted, "
            f'as in "Paris is the [MASK] of France."'
        )
    return MaskedText(text, tuple(ids), masks, tuple(offsets[i] for i in masks))


def rows_of(
    masked: MaskedText,
    ids: Sequence[int],
    masks: Mapping[int, int],
    *,
    vocab: Vocabulary,
    limit: int,
    stride: int | None,
) -> list[MaskedRow]:
    """The rows that are needed to ask for some masks: one, or windows for a long text.

    Args:
        masked: the text.
        ids: its tokens, possibly with some masks filled in already.
        masks: index among `ids` by the number of the mask asked for.
        vocab: the model's.
        limit: most tokens that the model takes.
        stride: from one window to the next.

    Raises:
        BertError: the text is too long and `stride` is None.
    """
    # 0 up to and with the first inner [SEP], 1 after it.
    first = ids.index(vocab.sep_id) if vocab.sep_id in ids else len(ids)
    segments = [int(i > first) for i in range(len(ids))]

    def row(start: int, stop: int, chosen: Mapping[int, int]) -> MaskedRow:
        tokens = [vocab.cls_id, *ids[start:stop], vocab.sep_id]
        inner = segments[start:stop] or [0]
        packed = Packed(tokens, [inner[0], *segments[start:stop], inner[-1]])
        return MaskedRow(packed, tuple(at - start + 1 for at in chosen.values()), tuple(chosen))

    if len(ids) + 2 <= limit:
        return [row(0, len(ids), masks)]
    if stride is None:
        raise BertError(
            f"the text is {len(ids) + 2} tokens long, [CLS] and [SEP] counted, and this "
            f"model takes {limit}: {_shown(masked.text)}. Shorten it, or pass `too_long='window'`."
        )
    found = windows(ids, limit, stride)
    best = best_windows(found)
    rows = []
    for number, window in enumerate(found):
        if chosen := {mask: at for mask, at in masks.items() if best[at] == number}:
            rows.append(row(window.start, window.start + len(window.ids), chosen))
    return rows


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
