"""Which two segments form an example: the rules of the original's create_pretraining_data.py."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from bert_tf.data.pretraining.rules import SPECIAL_PIECES, PairRules
from bert_tf.data.pretraining.tokens import TokenCorpus
from bert_tf.errors import BertError

_TRIES = 16


class Pairs(NamedTuple):
    """Examples, each as two ranges of `TokenCorpus.tokens`, cut to the length allowed.

    Attributes:
        a_start, a_end: the first segments; int64, (n,).
        b_start, b_end: the second ones; int64, (n,).
        is_random: whether the second one is of another document; bool, (n,). Else it follows.
    """

    a_start: np.ndarray
    a_end: np.ndarray
    b_start: np.ndarray
    b_end: np.ndarray
    is_random: np.ndarray


def draw_pairs(
    corpus: TokenCorpus,
    documents: np.ndarray,
    candidates: np.ndarray,
    rules: PairRules,
    rng: np.random.Generator,
) -> Pairs:
    """Draws the examples of one pass over some documents, in the order of the text.

    The rules are those of `create_instances_from_document` in google-research/bert, but a random
    second segment comes from another source, not only another document, so that a later chapter
    of the same book does not count as random.

    Args:
        corpus: the texts.
        documents: numbers of those to go through, integers, (d,). Memory grows with their
            sentences: give a few million tokens at a time.
        candidates: numbers of the documents that random second segments come from, each equally
            likely; of the same group, of two sources at least.
        rules: how long examples are.
        rng: draws everything.

    Returns:
        At least one example for each document.

    Raises:
        BertError: all candidates are of the same source as a document.
    """
    documents = np.asarray(documents, np.int64)
    short = rng.random(len(documents)) < rules.short_seq_prob
    lengths = rng.integers(2, rules.max_num_tokens, len(documents), endpoint=True)
    targets = np.where(short, lengths, rules.max_num_tokens)  # at which the examples aim
    first, middle, last, owner, random = _draw_chunks(corpus, documents, targets, rng).T
    is_random = random.astype(bool)
    offsets = corpus.sentences
    a_start, a_end = offsets[first], offsets[middle]
    b_start, b_end = a_end.copy(), offsets[last]
    # A random one starts at a sentence of its document, all equally likely, and ends with the
    # sentence that fills the room, or with the document.
    others = _draw_others(corpus, documents[owner[is_random]], candidates, rng)
    start, stop = corpus.documents[others], corpus.documents[others + 1]
    at = start + (rng.random(len(others)) * (stop - start)).astype(np.int64)
    b_start[is_random] = offsets[at]
    room = np.maximum((targets[owner] - (a_end - a_start))[is_random], 1)
    end = np.searchsorted(offsets, offsets[at] + room)
    b_end[is_random] = offsets[np.minimum(end, stop)]
    a_length, b_length = a_end - a_start, b_end - b_start
    a_kept, b_kept = truncated_lengths(a_length, b_length, rules.max_num_tokens)
    # A coin for each token to go: the number of those at the front is binomial.
    a_start = a_start + rng.binomial(a_length - a_kept, 0.5)
    b_start = b_start + rng.binomial(b_length - b_kept, 0.5)
    return Pairs(a_start, a_start + a_kept, b_start, b_start + b_kept, is_random)


def assemble(
    tokens: np.ndarray, pairs: Pairs, max_seq_length: int, *, cls_id: int, sep_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts examples together: [CLS] first [SEP] second [SEP], padded with 0.

    `tokens` are `TokenCorpus.tokens`; each of the n `pairs` has at most `max_seq_length` tokens.

    Returns:
        (token_input, seg_input, lengths): int32 (n, max_seq_length), the same, and int32 (n,)
        with [CLS] and [SEP]s counted.
    """
    a_length = (pairs.a_end - pairs.a_start)[:, None]
    lengths = a_length[:, 0] + (pairs.b_end - pairs.b_start) + SPECIAL_PIECES
    if lengths.size and lengths.max() > max_seq_length:
        raise BertError(f"an example has {lengths.max()} tokens, more than {max_seq_length}")
    column = np.arange(max_seq_length)
    in_b = column > a_length + 1
    # Where column c of an example lies in `tokens`; at special tokens and padding it says nothing.
    shift = np.where(in_b, pairs.b_start[:, None] - a_length - 2, pairs.a_start[:, None] - 1)
    inside = column < lengths[:, None]
    token_input = tokens.take(column + shift, mode="clip").astype(np.int32)
    token_input *= inside
    rows = np.arange(len(lengths))
    token_input[:, 0] = cls_id
    token_input[rows, a_length[:, 0] + 1] = sep_id
    token_input[rows, lengths - 1] = sep_id
    return token_input, (in_b & inside).astype(np.int32), lengths.astype(np.int32)


def truncated_lengths(
    a_length: np.ndarray, b_length: np.ndarray, max_num_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """What stays of two segments when the longer one loses a token until both fit together.

    The lengths are integers (n,), at least 1; together they may be `max_num_tokens`, at least 2. Of
    two equally long ones the second loses the token. So a segment that fits into its half (the
    first one's is larger by one if the number is odd) stays whole; the other takes what is left.

    Returns:
        Both lengths, int64 (n,), at least 1.
    """
    half = (max_num_tokens + 1) // 2
    a_kept = np.minimum(a_length, np.maximum(half, max_num_tokens - b_length))
    return a_kept, np.minimum(b_length, max_num_tokens - a_kept)


def _draw_chunks(
    corpus: TokenCorpus, documents: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Cuts documents into chunks, and these in two; each chunk's start depends on the one before.

    A row for each chunk: first sentence, the one after segment A, the one after the chunk, index
    of the document, 1 if segment B is random.
    """
    starts = corpus.documents[documents]
    counts = corpus.documents[documents + 1] - starts
    stops = np.cumsum(counts)
    total = int(counts.sum())
    cuts = rng.random(total).tolist()  # drawn ahead, as the loop must be quick
    coins = (rng.random(total) < 0.5).tolist()
    offsets = corpus.sentences
    found: list[int] = []
    for owner, (start, count, target, stop) in enumerate(
        zip(starts.tolist(), counts.tolist(), targets.tolist(), stops.tolist())
    ):
        ends = offsets[start : start + count + 1].tolist()
        draw = stop - count
        at = 0
        while at < count:
            # Sentences until the target is reached; all that are left if it is not.
            end = bisect_left(ends, ends[at] + target, at + 1, count)
            middle = at + 1 + int(cuts[draw + at] * (end - at - 1))
            random = end - at == 1 or coins[draw + at]
            found += (start + at, start + middle, start + end, owner, random)
            at = middle if random else end  # what a random B displaces is used next
    return np.array(found, np.int64).reshape(-1, 5)


def _draw_others(
    corpus: TokenCorpus, documents: np.ndarray, candidates: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """For each document one of the candidates of another source, all equally likely."""
    candidates = np.asarray(candidates, np.int64)
    others = np.zeros_like(documents)
    own = corpus.sources[documents]
    open_ = np.arange(len(documents))
    for _ in range(_TRIES if len(candidates) else 0):
        others[open_] = candidates[rng.integers(len(candidates), size=len(open_))]
        open_ = open_[corpus.sources[others[open_]] == own[open_]]
        if not open_.size:
            return others
    # Few are left, or nearly all candidates are of one source.
    for source in np.unique(own[open_]):
        allowed = candidates[corpus.sources[candidates] != source]
        if not len(allowed):
            group = corpus.group_names[corpus.groups[documents[open_[0]]]]
            raise BertError(
                f"{group} has one source only, but random second segments come from another one; "
                "add texts to it, or put blank lines between its documents"
            )
        these = open_[own[open_] == source]
        others[these] = allowed[rng.integers(len(allowed), size=len(these))]
    return others
