"""Which documents are held out to measure a model on: whole sources, some of each group.

Scikit-learn's `GroupShuffleSplit` takes a number of sources, of whatever size, not of tokens.
"""

from __future__ import annotations

import itertools

import numpy as np

from bert_tf.data.pretraining.tokens import TokenCorpus
from bert_tf.errors import BertError

_ENOUGH = 0.95
_LEAST = 2
"""Sources on each side: a random second segment is of another source than the first."""


def split_by_source(corpus: TokenCorpus, pieces_per_group: int, seed: int) -> np.ndarray:
    """Chooses the documents to hold out: about so many tokens of each group, in whole sources.

    Sources are taken in random order, each that does not exceed what is left. At least two are
    held out, the smallest ones if none fits, and at least two stay. With `pieces_per_group` 0 none
    is held out; `seed` is of the order.

    Returns:
        True where held out; bool, (documents,).

    Raises:
        BertError: a group has fewer than four sources, or the number is negative.
    """
    if pieces_per_group < 0:
        raise BertError(f"pieces_per_group is {pieces_per_group}; it is at least 0")
    held_out = np.zeros(len(corpus), bool)
    if not pieces_per_group:
        return held_out
    sizes = corpus.document_pieces()
    for group, name in enumerate(corpus.group_names):
        own = np.flatnonzero(corpus.groups == group)
        sources, index = np.unique(corpus.sources[own], return_inverse=True)
        if len(sources) < 2 * _LEAST:
            raise BertError(
                f"{name} has {len(sources)} sources, too few to hold some out: {_LEAST} are needed "
                "on each side. Add texts, or hold none out."
            )
        pieces = np.bincount(index, weights=sizes[own]).astype(np.int64)
        rng = np.random.default_rng([seed, group])
        taken = _take(pieces, pieces_per_group, rng.permutation(len(pieces)))
        held_out[own[np.isin(index, taken)]] = True
    return held_out


def _take(pieces: np.ndarray, wanted: int, order: np.ndarray) -> list[int]:
    taken: list[int] = []
    total = 0
    for source in order.tolist():
        if len(taken) == len(pieces) - _LEAST or total >= _ENOUGH * wanted:
            break
        if total + pieces[source] <= wanted:
            taken.append(source)
            total += int(pieces[source])
    smallest = (s for s in np.argsort(pieces, kind="stable").tolist() if s not in taken)
    return taken + list(itertools.islice(smallest, max(0, _LEAST - len(taken))))
