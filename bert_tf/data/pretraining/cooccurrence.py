"""Counts which tokens stand near which in a corpus, and makes associations of the counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

import numpy as np

from bert_tf.data.pretraining.tokens import checked_documents
from bert_tf.errors import BertError

WINDOW = (1.0, 0.7, 0.4)
"""What a pair counts whose tokens are 1, 2 and 3 positions apart."""

_BLOCK = 4_000_000  # tokens at a time: about 150 MB of pair codes


class TokenArrays(Protocol):
    """What is read of a token corpus: plain or memory-mapped arrays.

    Attributes:
        tokens: ids of all documents one after the other.
        sentences: (sentences + 1): offset of each sentence in `tokens`.
        documents: (documents + 1): offset of each document in `sentences`.
        groups: (documents): the group, such as a language, of each; a group's are neighbours.
        vocab_size: how many tokens the vocabulary has.
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    groups: np.ndarray
    vocab_size: int


@dataclasses.dataclass(frozen=True)
class Counts:
    """How often tokens and pairs of near tokens occur, each group weighted as in training.

    Args:
        pieces: (vocab) float64, occurrences.
        neighbours: (vocab) float64, all pairs of each token, weighted by distance; a pair of equal
            tokens counts twice.
        pairs: (vocab, vocab) symmetric CSR matrix, float64: the pairs of which enough were seen,
            weighted likewise.
    """

    pieces: np.ndarray
    neighbours: np.ndarray
    pairs: Any


def group_weights(pieces: np.ndarray, smoothing: float) -> np.ndarray:
    """How much an occurrence in each group counts, so that groups have their fraction of training.

    That goes with a group's `pieces`, (groups), to the power of `smoothing`; 1 changes nothing.

    Returns:
        (groups) float64, 1 on average over all tokens; 0 for an empty group.
    """
    pieces = np.asarray(pieces, np.float64)
    filled = pieces > 0
    fraction = np.where(filled, pieces, 1) ** smoothing * filled
    return fraction / fraction.sum() * pieces.sum() / np.where(filled, pieces, 1)


def count_neighbours(
    corpus: TokenArrays,
    *,
    documents: np.ndarray | None = None,
    smoothing: float = 0.7,
    ignored: Collection[int] = (0,),
    window: tuple[float, ...] = WINDOW,
    at_least: float = 3.0,
    progress: Callable[[str], None] | None = None,
    block: int = _BLOCK,
) -> Counts:
    """Counts the tokens of a corpus and the pairs that stand close together in one document.

    A pair may cross the border of a sentence, never that of a document. The corpus is read block
    by block, so memory goes with the number of different pairs.

    Args:
        corpus: the arrays.
        documents: (documents) bool, which to use; all if left out.
        smoothing: see `group_weights`.
        ignored: ids that are not counted (their positions stay empty).
        window: weight of a pair by distance, from distance 1.
        at_least: pairs are left out whose sum is not above this with all groups weighing 1.
        progress: called with how far it is, in words.
        block: tokens to take at a time.

    Raises:
        BertError: the arrays do not fit together, or no token is left to count.
    """
    import scipy.sparse

    size, starts, used = corpus.vocab_size, *_borders(corpus, documents)
    lengths = np.diff(starts)
    numbers = np.unique(corpus.groups)
    sums = [int(lengths[used & (corpus.groups == number)].sum()) for number in numbers]
    if not sum(sums):
        raise BertError("there are no tokens to count: the documents chosen are empty.")
    weights = group_weights(np.asarray(sums), smoothing)
    pieces = np.zeros(size)
    pairs = evidence = scipy.sparse.csr_array((size, size))
    done = 0
    for number, weight, total in zip(numbers, weights, sums, strict=True):
        chosen = used & (corpus.groups == number)
        seen = np.zeros(size, np.int64)
        near = scipy.sparse.csr_array((size, size))
        for ids, document, first in _blocks(corpus, starts, chosen, block, len(window)):
            kept = np.isin(ids, list(ignored), invert=True)
            seen += np.bincount(ids[:first][kept[:first]], minlength=size)
            for distance, worth in enumerate(window, start=1):
                right = ids[distance : first + distance]
                n = len(right)
                left = ids[:n]
                fits = document[:n] == document[distance : distance + n]
                fits &= kept[:n] & kept[distance : distance + n]
                near = near + _upper(left[fits], right[fits], size) * worth
            done += first
            if progress:
                progress(f"counted {done:,} of {sum(sums):,} tokens")
        if total:
            pieces += weight * seen
            pairs = pairs + near * weight
            evidence = evidence + near
    neighbours = np.asarray(pairs.sum(axis=0) + pairs.sum(axis=1)).ravel()
    # The two sums were made alike, so that their entries are in the same order.
    row = np.repeat(np.arange(size, dtype=np.int32), np.diff(evidence.indptr))
    column = evidence.indices
    enough = evidence.data * np.where(row == column, 2, 1) > at_least
    pairs = scipy.sparse.csr_array((pairs.data[enough], (row[enough], column[enough])), pairs.shape)
    return Counts(pieces, neighbours, (pairs + pairs.T).tocsr())


def associations(counts: Counts, *, power: float = 0.75) -> Any:
    """Positive pointwise mutual information of nearby tokens, the mean of both directions.

    With n(i, j) the pairs, n(i) the neighbours of i and q(j) = n(j)**power / sum_k n(k)**power
    the smoothed fraction of a context, a direction is max(0, log(n(i, j) / (n(i) q(j)))): Levy,
    Goldberg and Dagan, Improving Distributional Similarity with Lessons Learned from Word
    Embeddings, 2015, whose power keeps rare contexts from getting too much.

    Returns:
        (vocab, vocab) symmetric CSR matrix, float32, without stored zeros.
    """
    import scipy.sparse

    pairs, sums = counts.pairs.tocoo(), counts.neighbours
    context = sums**power
    context /= context.sum() or 1.0
    row, column = pairs.coords
    both = np.maximum(np.log(pairs.data / (sums[row] * context[column])), 0)
    both += np.maximum(np.log(pairs.data / (sums[column] * context[row])), 0)
    kept = both > 0
    data = (both[kept] / 2).astype(np.float32)
    return scipy.sparse.csr_array((data, (row[kept], column[kept])), shape=pairs.shape)


def _borders(corpus: TokenArrays, chosen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The offsets of the documents in the tokens, (documents + 1), and which are used."""
    starts = np.asarray(corpus.sentences)[np.asarray(corpus.documents)]
    count = len(starts) - 1
    if len(corpus.groups) != count:
        raise BertError(
            f"the corpus has {count:,} documents, but groups of {len(corpus.groups):,}; its files "
            "do not belong together. Tokenize it again."
        )
    if starts[-1] > len(corpus.tokens):
        raise BertError(
            f"the corpus holds {len(corpus.tokens):,} tokens where its sentences need "
            f"{starts[-1]:,}; it was cut off. Tokenize it again."
        )
    if chosen is None:
        return starts, np.ones(count, bool)
    return starts, checked_documents("documents", chosen, count)


def _blocks(
    corpus: TokenArrays, starts: np.ndarray, chosen: np.ndarray, block: int, reach: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """The tokens of the chosen documents: ids int64, the document of each, and how many are new.

    Up to `reach` further ones, which begin the next block, are there as partners only.
    """
    where = np.flatnonzero(chosen)
    lengths = starts[where + 1] - starts[where]
    ends = np.cumsum(lengths)  # in the text of the chosen ones alone
    begins = ends - lengths
    total = int(ends[-1]) if len(ends) else 0
    for low in range(0, total, block):
        high, last = min(low + block, total), min(low + block + reach, total)
        first = int(np.searchsorted(ends, low, "right"))
        after = int(np.searchsorted(begins, last, "left"))
        begin = np.maximum(begins[first:after], low)
        sizes = np.minimum(ends[first:after], last) - begin
        begin += starts[where[first:after]] - begins[first:after]
        cuts = zip(begin.tolist(), (begin + sizes).tolist())
        ids = np.concatenate([corpus.tokens[a:b] for a, b in cuts]).astype(np.int64)
        if ids.min() < 0 or ids.max() >= corpus.vocab_size:
            raise BertError(
                f"the corpus holds the id {ids.max() if ids.min() >= 0 else ids.min()}, but its "
                f"vocabulary has {corpus.vocab_size:,} tokens. Tokenize the text with this one."
            )
        yield ids, np.repeat(np.arange(first, after), sizes), high - low


def _upper(left: np.ndarray, right: np.ndarray, size: int) -> Any:
    """How often each unordered pair occurs: CSR (size, size), smaller id first."""
    import scipy.sparse

    code = np.minimum(left, right) * size + np.maximum(left, right)
    if size <= 2**16:
        code = code.astype(np.uint32)  # half the memory to sort
    code, count = np.unique(code, return_counts=True)
    row, column = np.divmod(code, np.array(size, code.dtype))
    start = np.searchsorted(row, np.arange(size + 1))
    # Sorted codes are a CSR matrix in order already.
    data = (count.astype(np.float64), column.astype(np.int32), start)
    return scipy.sparse.csr_array(data, shape=(size, size))
