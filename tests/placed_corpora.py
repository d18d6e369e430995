"""Corpora made up in memory, in which the id of each token tells where it stands."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from bert_tf.data.pretraining.tokens import TokenCorpus, vocabulary_sha256
from bert_tf.text import SPECIAL_TOKENS, Vocabulary

FIRST = len(SPECIAL_TOKENS)
"""Id of the first token of a corpus; each next token has the next id."""


def make_corpus(groups: Mapping[str, Sequence[Sequence[Sequence[int]]]]) -> TokenCorpus:
    """A corpus whose token at place i has the id i + FIRST; see `vocabulary_of`.

    Args:
        groups: name to the sources of a group; a source is a sequence of documents, a document
            the lengths of its sentences.
    """
    lengths: list[int] = []
    documents, sources, members = [0], [], []
    source = 0
    for group, parts in enumerate(groups.values()):
        for part in parts:
            for sentences in part:
                lengths += sentences
                documents.append(len(lengths))
                sources.append(source)
                members.append(group)
            source += 1
    total = sum(lengths)
    info = {
        "groups": list(groups),
        "vocab_size": FIRST + total,
        "vocab_sha256": "",
        "lower_case": False,
    }
    arrays = {
        "sentences": np.cumsum([0, *lengths]),
        "documents": np.array(documents),
        "sources": np.array(sources, np.int32),
        "groups": np.array(members, np.int32),
    }
    tokens = np.arange(FIRST, FIRST + total, dtype=np.int32)
    return TokenCorpus(pathlib.Path("nowhere"), info, tokens, arrays)


def vocabulary_of(corpus: TokenCorpus) -> Vocabulary:
    """The vocabulary of such a corpus, which is told its hash."""
    lines = [*SPECIAL_TOKENS, *(f"w{i}" for i in range(len(corpus.tokens)))]
    vocab = Vocabulary.from_lines(lines)
    corpus.vocab_sha256 = vocabulary_sha256(vocab)
    return vocab


def document_of(corpus: TokenCorpus, places: np.ndarray) -> np.ndarray:
    """The number of the document in which each place of `tokens` lies."""
    ends = corpus.sentences[corpus.documents[1:]]
    return np.searchsorted(ends, places, side="right")


def within_five_sigma(count: int, trials: int, probability: float) -> bool:
    """Whether a count of successes is what a binomial with that probability gives.

    Five standard deviations: a right one fails for one seed in 1.7 million, and seeds are fixed.
    """
    sigma = (trials * probability * (1 - probability)) ** 0.5
    return abs(count - trials * probability) <= 5 * sigma
