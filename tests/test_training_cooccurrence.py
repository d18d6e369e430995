"""Near tokens are counted right, in blocks of any size, and associations follow the formula."""

import numpy as np
import pytest
from corpora import corpus_of

from bert_tf.data.pretraining.cooccurrence import associations, count_neighbours, group_weights
from bert_tf.errors import BertError


def random_corpus(seed, vocab_size=12):
    """Documents of 0 to 4 sentences of 0 to 9 tokens, in three groups."""
    rng = np.random.default_rng(seed)
    documents = [
        [rng.integers(0, vocab_size, rng.integers(0, 10)).tolist() for _ in range(rng.integers(5))]
        for _ in range(30)
    ]
    return corpus_of(documents, sorted(rng.integers(0, 3, 30).tolist()), vocab_size)


def slow_counts(corpus, used, smoothing, ignored):
    """The definition, pair by pair: what there is of tokens, and of pairs with both weightings."""
    texts = []
    for number, group in enumerate(corpus.groups):
        low, high = corpus.sentences[corpus.documents[number : number + 2]]
        if used[number]:
            texts.append((group, [int(i) for i in corpus.tokens[low:high]]))
    sums = {g: sum(len(text) for group, text in texts if group == g) for g, _ in texts}
    shares = {g: n**smoothing for g, n in sums.items() if n}
    shares = {g: share / sum(shares.values()) for g, share in shares.items()}
    size = corpus.vocab_size
    pieces, pairs, plain = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
    for group, text in texts:
        if not text:
            continue
        weight = shares[group] / (sums[group] / sum(sums.values()))
        for place, a in enumerate(text):
            pieces[a] += weight * (a not in ignored)
            for distance, worth in ((1, 1.0), (2, 0.7), (3, 0.4)):
                if place + distance < len(text):
                    b = text[place + distance]
                    if a not in ignored and b not in ignored:
                        for row, column in ((a, b), (b, a)):
                            pairs[row, column] += weight * worth
                            plain[row, column] += worth
    return pieces, pairs, plain


def test_a_counted_example():
    """Pairs cross the border of a sentence, not that of a document.

    1 2 | 3 and, another document, 3 1: distance 1: 12, 23, 31; distance 2: 13. So
    n(1,2) = n(2,3) = 1 and n(1,3) = 0.7 + 1; the neighbours of 1 are 2.7.
    """
    counts = count_neighbours(corpus_of([[[1, 2], [3]], [[3, 1]]], vocab_size=4), at_least=0)
    np.testing.assert_array_equal(counts.pieces, [0, 2, 1, 2])
    expected = [[0, 0, 0, 0], [0, 0, 1, 1.7], [0, 1, 0, 1], [0, 1.7, 1, 0]]
    np.testing.assert_allclose(counts.pairs.toarray(), expected)
    np.testing.assert_allclose(counts.neighbours, [0, 2.7, 2, 2.7])


def test_a_piece_beside_itself_counts_from_both_sides():
    counts = count_neighbours(corpus_of([[[5, 5]]]), at_least=1.5)
    assert counts.pairs.toarray()[5, 5] == counts.neighbours[5] == 2


@pytest.mark.parametrize("block", [1, 2, 7, 50, 10**6])
@pytest.mark.parametrize("chosen", [False, True])
def test_blocks_of_any_size_count_as_the_definition(block, chosen):
    corpus = random_corpus(3)
    used = np.random.default_rng(block).random(30) < 0.7 if chosen else np.ones(30, bool)
    counts = count_neighbours(
        corpus,
        documents=used if chosen else None,
        smoothing=0.5,
        ignored=(0, 4),
        at_least=1.55,  # no sum of 1, 0.7 and 0.4 is so near to it that rounding matters
        block=block,
    )
    pieces, pairs, plain = slow_counts(corpus, used, 0.5, (0, 4))
    np.testing.assert_allclose(counts.pieces, pieces)
    np.testing.assert_allclose(counts.neighbours, pairs.sum(axis=1))
    np.testing.assert_allclose(counts.pairs.toarray(), np.where(plain > 1.55, pairs, 0))


def test_the_largest_ids_do_not_run_over():
    """65,536 tokens are as many as 32 bits can pair; with one more they are counted in 64."""
    for size in (2**16, 2**16 + 1):
        corpus = corpus_of([[[size - 1, size - 2] * 3]], vocab_size=size)
        pairs = count_neighbours(corpus, at_least=0).pairs
        # of distance 1 five, of distance 3 three
        np.testing.assert_allclose(pairs[[size - 2], [size - 1]], 5 + 3 * 0.4)
        np.testing.assert_allclose(pairs[[size - 1], [size - 1]], 2 * 2 * 0.7)


def test_group_weights():
    """100 and 400 tokens to the power 1/2 are shares of 1/3 and 2/3 instead of 1/5 and 4/5."""
    np.testing.assert_allclose(group_weights(np.array([100, 400]), 0.5), [5 / 3, 5 / 6])
    np.testing.assert_allclose(group_weights(np.array([100, 0, 400]), 1.0), [1, 0, 1])
    np.testing.assert_allclose(group_weights(np.array([100, 0, 300]), 0.0), [2, 0, 2 / 3])


def test_associations_of_a_counted_example():
    """The formula by hand, with power 1 and with the usual one.

    Pairs n(1,2) = n(2,1) = 8, n(1,3) = n(3,1) = 2: n(1) = 10, n(2) = 8, n(3) = 2. With power 1
    both directions are log(8 * 20 / (10 * 8)) = log 2 for 1, 2, likewise log(2 * 20 / (10 * 2)).
    """
    pairs = [[1, 2]] * 8 + [[1, 3]] * 2
    counts = count_neighbours(corpus_of([[pair] for pair in pairs], vocab_size=4), at_least=0)
    found = associations(counts, power=1.0).toarray()
    expected = np.zeros((4, 4))
    expected[[1, 2, 1, 3], [2, 1, 3, 1]] = np.log(2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    smooth = associations(counts).toarray()
    q = np.array([0, 10, 8, 2]) ** 0.75
    q /= q.sum()
    np.testing.assert_allclose(
        smooth[1, 3], (np.log(2 / (10 * q[3])) + np.log(2 / (2 * q[1]))) / 2, rtol=1e-6
    )
    assert np.array_equal(smooth, smooth.T)


def test_what_is_less_often_together_than_by_chance_is_no_association():
    counts = count_neighbours(corpus_of([[[1, 1]]] * 50 + [[[2, 2]]] * 50 + [[[1, 2]]] * 4))
    found = associations(counts)
    assert found[1, 1] > 0.5
    assert found[2, 2] > 0.5
    assert found.nnz == 2


def test_progress_reaches_the_end():
    said = []
    count_neighbours(corpus_of([[[1, 2, 3]]] * 4), at_least=0, block=5, progress=said.append)
    assert said == [f"counted {n} of 12 tokens" for n in (5, 10, 12)]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"vocab_size": 3}, {}, "id 3, but its vocabulary has 3"),
        ({"groups": np.zeros(3, np.int32)}, {}, "2 documents, but groups of 3"),
        ({"tokens": np.ones(4, np.uint16)}, {}, "holds 4 tokens where its sentences need 5"),
        ({}, {"documents": np.ones(3, bool)}, r"2 booleans.*not bool of shape \(3,\)"),
        ({}, {"documents": np.array([0, 1])}, "2 booleans.*not int64"),
        ({}, {"documents": np.zeros(2, bool)}, "no tokens to count"),
    ],
)
def test_what_cannot_be_counted(change, options, message):
    corpus = corpus_of([[[1, 2], [3]], [[3, 1]]])
    vars(corpus).update(change)
    with pytest.raises(BertError, match=message):
        count_neighbours(corpus, **options)
