"""Whole words for a mask: candidates that the caller names, and words of several pieces."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bert_tf.errors import BertError
from bert_tf.tasks.asking import MaskedWordModel
from bert_tf.tasks.masked_text import MaskedText, Row
from bert_tf.text import BertTokenizer

MakeRows = Callable[[MaskedText, Sequence[int], dict[int, int]], list[Row]]
"""Makes the rows for a text, its pieces so far, and the masks asked for (number -> index)."""


@dataclasses.dataclass(frozen=True)
class ScoredWord:
    """A word for a mask.

    Args:
        pieces: ids of its pieces.
        score: mean log-probability of its pieces, each given those before it.
    """

    pieces: tuple[int, ...]
    score: float


def pieces_of_candidates(
    words: Iterable[str], tokenizer: BertTokenizer
) -> dict[str, tuple[int, ...]]:
    """The pieces of each candidate; a piece such as "##s" stands for itself.

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


def expand(masked: MaskedText, mask: int, count: int, mask_id: int, filled: Sequence[int] = ()):
    """The text's pieces with one mask replaced by `count` places, the first ones filled.

    Returns:
        The pieces, and the index of the first place that is still masked.
    """
    at = masked.masks[mask]
    middle = [*filled, *[mask_id] * (count - len(filled))]
    return [*masked.ids[:at], *middle, *masked.ids[at + 1 :]], at + len(filled)


def score_candidates(
    masked: MaskedText,
    candidates: Sequence[tuple[int, ...]],
    model: MaskedWordModel,
    make_rows: MakeRows,
) -> list[list[ScoredWord]]:
    """Scores every candidate at every mask of a text, the other masks left masked.

    A candidate of n pieces stands in n masks, and piece i is scored with pieces 1..i-1 filled
    in: the mean of these log-probabilities is its score.

    Returns:
        For each mask the candidates, best first.
    """
    mask_id = model.bert.vocab.mask_id
    # One row serves all candidates of a length that share the pieces filled in so far.
    wanted: dict[tuple[int, int, tuple[int, ...]], list[int]] = defaultdict(list)
    for mask in range(len(masked.masks)):
        for pieces in candidates:
            for i, piece in enumerate(pieces):
                ids = wanted[mask, len(pieces), pieces[:i]]
                if piece not in ids:
                    ids.append(piece)
    rows = []
    for mask, count, filled in wanted:
        ids, at = expand(masked, mask, count, mask_id, filled)
        rows += make_rows(masked, ids, {mask: at})
    scores = model.scores(rows, list(wanted.values()))
    log_p = {
        (*key, piece): float(score)
        for (key, ids), row in zip(wanted.items(), scores, strict=True)
        for piece, score in zip(ids, row, strict=True)
    }
    results = []
    for mask in range(len(masked.masks)):
        found = [
            ScoredWord(
                pieces,
                sum(log_p[mask, len(pieces), pieces[:i], piece] for i, piece in enumerate(pieces))
                / len(pieces),
            )
            for pieces in candidates
        ]
        results.append(sorted(found, key=lambda word: -word.score))
    return results


def find_words(
    masked: MaskedText,
    mask: int,
    max_pieces: int,
    width: int,
    model: MaskedWordModel,
    make_rows: MakeRows,
) -> list[ScoredWord]:
    """The best words of 1 to `max_pieces` pieces for one mask, by a beam search.

    A word starts with a piece that is no continuation and goes on with continuations; it stands
    in as many masks as it has pieces, filled from left to right.

    Args:
        masked: the text.
        mask: which mask.
        max_pieces: longest word tried.
        width: how many beginnings are followed.
        model: asks for pieces.
        make_rows: makes rows.

    Returns:
        At most `width` words, best mean log-probability first.
    """
    mask_id = model.bert.vocab.mask_id
    words: list[ScoredWord] = []
    for count in range(1, max_pieces + 1):
        beam: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        for step in range(count):
            rows = []
            for filled, _ in beam:
                ids, at = expand(masked, mask, count, mask_id, filled)
                rows += make_rows(masked, ids, {mask: at})
            tops = model.top(rows, "continuation" if step else "whole")
            grown = [
                ((*filled, int(piece)), total + float(score))
                for (filled, total), top in zip(beam, tops, strict=True)
                for piece, score in zip(top.ids[0], top.scores[0], strict=True)
            ]
            beam = sorted(grown, key=lambda state: -state[1])[:width]
        words += [ScoredWord(pieces, total / count) for pieces, total in beam]
    return sorted(words, key=lambda word: -word.score)[:width]
