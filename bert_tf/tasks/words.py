"""Whole words for a mask: candidates that the caller names, and words of several tokens."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bert_tf.errors import BertError
from bert_tf.tasks.masked_text import MaskedRow, MaskedText
from bert_tf.text import BertTokenizer

if TYPE_CHECKING:
    from bert_tf.tasks.fill_mask import MaskedWordModel

MakeRows = Callable[[MaskedText, Sequence[int], dict[int, int]], list[MaskedRow]]
"""The rows for a text, its tokens so far, and the masks asked for (number -> index)."""


Beam = list[tuple[tuple[int, ...], float]]
"""Tokens from left to right and the sum of their log-probabilities, best first."""
FIRST: Beam = [((), 0.0)]


def grown(beam: Beam, tops: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> Beam:
    """The best of all that continue a row of the beam by one of its (tokens, scores)."""
    found = [
        ((*pieces, int(piece)), total + float(score))
        for (pieces, total), top in zip(beam, tops, strict=True)
        for piece, score in zip(*top, strict=True)
    ]
    return sorted(found, key=lambda state: -state[1])[:width]


@dataclasses.dataclass(frozen=True)
class ScoredWord:
    """A word for a mask."""

    pieces: tuple[int, ...]
    """Ids of its tokens."""
    score: float
    """Mean log-probability of its tokens, each given those before it."""


def pieces_of_candidates(
    words: Iterable[str], tokenizer: BertTokenizer
) -> dict[str, tuple[int, ...]]:
    """The tokens of each candidate, of a token such as "##s" itself.

    Raises:
        BertError: there is no candidate, or one that the vocabulary cannot spell.
    """
    vocab = tokenizer.vocab
    found: dict[str, tuple[int, ...]] = {}
    for word in words:
        word = word.strip()
        ids = (vocab.ids[word],) if word in vocab else tuple(tokenizer.encode(word).ids)
        if not ids or vocab.unk_id in ids:
            raise BertError(
                f"the candidate {word!r} cannot be spelled with this model's vocabulary"
                f"{'' if not ids else ' (it becomes [UNK])'}; leave it out or choose another."
            )
        found[word] = ids
    if not found:
        raise BertError("the list of candidates is empty; name at least one word.")
    return found


def _expanded(
    masked: MaskedText,
    asked: Iterable[tuple[int, int, tuple[int, ...]]],
    mask_id: int,
    make_rows: MakeRows,
) -> list[MaskedRow]:
    """For each (mask, count, tokens): rows with `count` masks for it, the first ones filled."""
    rows = []
    for mask, count, filled in asked:
        at = masked.masks[mask]
        middle = [*filled, *[mask_id] * (count - len(filled))]
        ids = [*masked.ids[:at], *middle, *masked.ids[at + 1 :]]
        rows += make_rows(masked, ids, {mask: at + len(filled)})
    return rows


def score_candidates(
    masked: MaskedText,
    candidates: Sequence[tuple[int, ...]],
    model: MaskedWordModel,
    make_rows: MakeRows,
) -> list[list[ScoredWord]]:
    """For each mask of a text the candidates, best first, the other masks left masked.

    A candidate of n tokens stands in n masks, and token i is scored with tokens 1..i-1 filled
    in: the mean of these log-probabilities is its score.
    """
    # One row serves all candidates of a length that share the tokens filled in so far.
    wanted: dict[tuple[int, int, tuple[int, ...]], list[int]] = defaultdict(list)
    for mask in range(len(masked.masks)):
        for pieces in candidates:
            for i, piece in enumerate(pieces):
                ids = wanted[mask, len(pieces), pieces[:i]]
                if piece not in ids:
                    ids.append(piece)
    rows = _expanded(masked, wanted, model.bert.vocab.mask_id, make_rows)
    scores = model.scores(rows, list(wanted.values()))
    log_p = {
        (*key, piece): float(score)
        for (key, ids), row in zip(wanted.items(), scores, strict=True)
        for piece, score in zip(ids, row, strict=True)
    }

    def scored(mask: int, pieces: tuple[int, ...]) -> ScoredWord:
        count = len(pieces)
        parts = [log_p[mask, count, pieces[:i], piece] for i, piece in enumerate(pieces)]
        return ScoredWord(pieces, sum(parts) / count)

    return [
        sorted((scored(mask, pieces) for pieces in candidates), key=lambda word: -word.score)
        for mask in range(len(masked.masks))
    ]


def find_words(
    masked: MaskedText,
    mask: int,
    max_pieces: int,
    width: int,
    model: MaskedWordModel,
    make_rows: MakeRows,
) -> list[ScoredWord]:
    """At most `width` words of 1 to `max_pieces` tokens for one mask, best first, by a beam search.

    A word starts with a token that is no continuation, followed by continuations; it stands in as
    many masks as it has tokens, filled from left to right. Its score is the mean log-probability.
    """
    mask_id = model.bert.vocab.mask_id
    words: list[ScoredWord] = []
    for count in range(1, max_pieces + 1):
        beam = FIRST
        for step in range(count):
            asked = ((mask, count, filled) for filled, _ in beam)
            rows = _expanded(masked, asked, mask_id, make_rows)
            tops = model.top(rows, "continuation" if step else "whole")
            beam = grown(beam, [(top.ids[0], top.scores[0]) for top in tops], width)
        words += [ScoredWord(pieces, total / count) for pieces, total in beam]
    return sorted(words, key=lambda word: -word.score)[:width]
