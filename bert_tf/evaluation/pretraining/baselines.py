"""What counting alone predicts for masked tokens: unigrams and 3-grams, to compare a model with.

All are counted on the training documents of one group, such as a language, and smoothed by
interpolated absolute discounting (Ney, Essen and Kneser 1994) with the discount d = 0.75 at every
level. With c counts, N their sum and T how many different tokens there are:

    P(x)    = max(c(x) - d, 0) / N      +  d T / N         / vocabulary size
    P(x|h)  = max(c(h, x) - d, 0) / c(h)  +  d T(h) / c(h)  * lower(x)

- `unigram`: P(x), whatever the context.
- `trigram`: h is the token before and the one after, which the model sees too; lower(x) is the
  mean of P(x | before) and P(x | after), each of these with P(x) for its lower(x). If only one of
  the two contexts is known, lower(x) is that one alone.
- `trigram_left`: h are the two tokens before; lower(x) is P(x | before).

A context that was not seen in training, or holds an unknown token, is skipped: the level below it
answers. Neighbours are those that the model is shown: masked ones are unknown, replaced ones are
what they were replaced by. Nothing is counted across the border of a document.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from bert_tf.data.pretraining.cooccurrence import TokenArrays
from bert_tf.data.pretraining.example_work import available_cores
from bert_tf.errors import BertError

DISCOUNT = 0.75
BASELINES = ("trigram", "trigram_left", "unigram")

_ENTRIES = 1 << 22  # probabilities at a time in each thread: 16 MB an array


class TokenScores(NamedTuple):
    """How the right tokens of n positions fared.

    Attributes:
        loss: minus the logarithm of their probability, in nats; float64 (n,).
        rank: how many tokens were held more probable; of equally probable ones the lower id
            comes first, as with argmax. int64 (n,).
    """

    loss: np.ndarray
    rank: np.ndarray


class Contexts(NamedTuple):
    """Ids around n positions: two before, right before, right after; int64 (n,), -1 if unknown."""

    second_before: np.ndarray
    before: np.ndarray
    after: np.ndarray


def contexts_of(
    token_input: np.ndarray, rows: np.ndarray, columns: np.ndarray, unknown: Collection[int]
) -> Contexts:
    """The neighbours of some positions in the model's input.

    Args:
        token_input: ids as the model sees them, (batch, length).
        rows: of the positions, (n,).
        columns: of the positions, (n,); neither the first nor the last column.
        unknown: ids that say nothing: [MASK], [CLS], [SEP], [PAD].
    """
    shown = (token_input[rows, np.maximum(columns + shift, 0)] for shift in (-2, -1, 1))
    uninformative = list(unknown)
    return Contexts(*(np.where(np.isin(ids, uninformative), -1, ids.astype(int)) for ids in shown))


def ranks(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """How many tokens score higher than the right ones; see `TokenScores.rank`.

    Args:
        scores: probabilities or logits, (n, vocab).
        ids: the right tokens, (n,).
    """
    own = scores[np.arange(len(ids)), ids][:, None]
    rank = (scores > own).sum(axis=1)
    for row in np.flatnonzero((scores == own).sum(axis=1) > 1):
        rank[row] += (scores[row, : ids[row]] == own[row]).sum()
    return rank


def answer_by_counting(
    corpus: TokenArrays, documents: np.ndarray, contexts: Contexts, ids: np.ndarray
) -> dict[str, TokenScores]:
    """Predicts masked tokens of a group from the counts of its training documents.

    Memory is some 40 bytes for each token counted.

    Args:
        corpus: the arrays.
        documents: which documents to count; bool, (documents,).
        contexts: of the n masked positions.
        ids: the tokens that were there, (n,).

    Returns:
        The answers of each of `BASELINES`.

    Raises:
        BertError: there is nothing to count.
    """
    tokens, begins = _text(corpus, documents)
    if not len(tokens):
        raise BertError(
            "the baselines have nothing to count: no document of this group is for training. "
            "Hold fewer out, or evaluate without baselines."
        )
    size = corpus.vocab_size
    ids = np.asarray(ids, np.int64)
    frequencies = np.bincount(tokens, minlength=size)
    total, kinds = frequencies.sum(), np.count_nonzero(frequencies)
    fractions = np.maximum(frequencies - DISCOUNT, 0) / total
    lowest = (fractions + DISCOUNT * kinds / total / size).astype(np.float32)  # P(x)
    second, before, after = contexts
    # Of each position i: whether i + 1, and whether i + 1 and i + 2, are in the same document.
    follows = ~begins[1:-1]
    follow = follows[:-1] & follows[1:]
    asked = (before, after, _joined(before, after, size), _joined(second, before, size))
    shifts = (((0, 1), follows), ((1, 0), follows), ((0, 2, 1), follow), ((0, 1, 2), follow))
    left, right, around, history = tables = [
        _Counts(_keys(tokens, *which, size), keys, size) for which, keys in zip(shifts, asked)
    ]
    found = [table.find(keys) for table, keys in zip(tables, asked)]
    order = np.lexsort((found[1], found[0]))  # so that equal contexts meet in a part
    step = max(1, _ENTRIES // size)
    parts = [order[start : start + step] for start in range(0, len(order), step)]

    def answer(part: np.ndarray) -> tuple[TokenScores, TokenScores]:
        on_left, on_right, on_both, on_two = (indices[part] for indices in found)
        by_left = left.often(on_left, lowest)
        by_right = right.often(on_right, lowest)
        weight = np.where(on_right < 0, 1.0, np.where(on_left < 0, 0.0, 0.5)).astype(np.float32)
        by_right *= 1 - weight[:, None]
        by_right += by_left * weight[:, None]
        return (
            _answers(around.probabilities(on_both, by_right), ids[part]),
            _answers(history.probabilities(on_two, by_left), ids[part]),
        )

    results = {name: TokenScores(np.empty(len(ids)), np.empty(len(ids), int)) for name in BASELINES}
    with ThreadPoolExecutor(available_cores()) as pool:
        for part, pair in zip(parts, pool.map(answer, parts)):
            for name, some in zip(BASELINES, pair):
                results[name].loss[part], results[name].rank[part] = some
    rank = np.empty(size, np.int64)
    rank[np.argsort(-frequencies, kind="stable")] = np.arange(size)
    results["unigram"] = TokenScores(-np.log(lowest.astype(np.float64))[ids], rank[ids])
    return results


def _answers(probabilities: np.ndarray, ids: np.ndarray) -> TokenScores:
    right = probabilities[np.arange(len(ids)), ids].astype(np.float64)
    return TokenScores(-np.log(right), ranks(probabilities, ids))


def _text(corpus: TokenArrays, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the chosen documents, int32 (n,), and where one begins, bool (n + 1,)."""
    where = np.flatnonzero(documents)
    starts, ends = (
        np.asarray(corpus.sentences)[np.asarray(corpus.documents)[where + side]] for side in (0, 1)
    )
    begins = np.zeros(int((ends - starts).sum()) + 1, bool)
    begins[np.cumsum(np.append(0, ends - starts))] = True
    parts = [corpus.tokens[start:end] for start, end in zip(starts.tolist(), ends.tolist())]
    return np.concatenate([np.zeros(0, corpus.tokens.dtype), *parts]).astype(np.int32), begins


def _keys(
    tokens: np.ndarray, shifts: tuple[int, ...], together: np.ndarray, size: int
) -> np.ndarray:
    """The tokens at i + shift of each position i as digits of a number; -1 if not `together`."""
    keys = np.zeros(len(together), np.int64)
    for shift in shifts:
        keys *= size
        keys += tokens[shift : shift + len(keys)]
    keys[~together] = -1
    return keys


def _joined(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    """A number for each pair of tokens; -1 where one of them is unknown."""
    return np.where((first < 0) | (second < 0), -1, first * size + second)


class _Counts:
    """How probable tokens are in the contexts asked for, without the level below.

    `keys` are `context * size + token` of each position of the text, int64, sorted in place;
    `asked` are contexts that will be asked for; -1 is none in both.
    """

    def __init__(self, keys: np.ndarray, asked: np.ndarray, size: int) -> None:
        keys.sort()
        edges = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        counts = np.diff(edges, append=len(keys))
        keys = keys[edges]
        contexts = np.unique(asked[asked >= 0])
        low, high = (np.searchsorted(keys, (contexts + side) * size) for side in (0, 1))
        seen = high > low
        kinds = (high - low)[seen]
        where = _ranges(low[seen], kinds)
        counts = counts[where]
        self._contexts = contexts[seen]
        self._pieces = keys[where] % size
        # One more of each for a context that is not there, at the index -1.
        self._starts = np.cumsum(np.append(0, kinds))
        self._kinds = np.append(kinds, 0)
        upto = np.append(0, np.cumsum(counts))
        totals = np.diff(upto[self._starts])
        self._fractions = ((counts - DISCOUNT) / np.repeat(totals, kinds)).astype(np.float32)
        self._rest = np.append(DISCOUNT * kinds / totals, 1).astype(np.float32)

    def find(self, asked: np.ndarray) -> np.ndarray:
        """The index of each context, -1 for one that was not seen; int64 (n,)."""
        if not len(self._contexts):
            return np.full(len(asked), -1)
        index = np.minimum(np.searchsorted(self._contexts, asked), len(self._contexts) - 1)
        return np.where(self._contexts[index] == asked, index, -1)

    def probabilities(self, found: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """P(x|h) of all tokens in contexts as `find` gives them, float32 (n, vocab).

        `lower` is P of the level below, float32 (vocab,) or (n, vocab).
        """
        result = self._rest[found][:, None] * lower
        kinds = self._kinds[found]
        where = _ranges(self._starts[found], kinds)
        rows = np.repeat(np.arange(len(found)), kinds)
        result[rows, self._pieces[where]] += self._fractions[where]
        return result

    def often(self, found: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """The same, each context that occurs more than once computed once."""
        different, which = np.unique(found, return_inverse=True)
        return self.probabilities(different, lower)[which]


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of each range, one after the other."""
    return np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
