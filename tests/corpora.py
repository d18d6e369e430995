"""Token corpora in memory, for tests that need no folder of one."""

import types

import numpy as np


def corpus_of(documents, groups=None, vocab_size=10):
    """A corpus in memory of documents, each a list of sentences, each a list of ids."""
    sentences = [sentence for document in documents for sentence in document]
    return types.SimpleNamespace(
        tokens=np.array([i for sentence in sentences for i in sentence], np.int32),
        sentences=np.cumsum([0, *map(len, sentences)]),
        documents=np.cumsum([0, *map(len, documents)]),
        groups=np.array(groups or [0] * len(documents), np.int32),
        vocab_size=vocab_size,
    )
