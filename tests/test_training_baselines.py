"""Unigram and 3-gram predictions: derived by hand on a toy text, and by a slow second reckoning."""

import collections

import numpy as np
import pytest
from corpora import corpus_of

from bert_tf.errors import BertError
from bert_tf.evaluation.pretraining.baselines import (
    BASELINES,
    Contexts,
    TokenScores,
    answer_by_counting,
    contexts_of,
    ranks,
)

A, B, C, D = 5, 6, 7, 8
SIZE = 10
CLS, SEP, MASK = 2, 3, 4


def ask(corpus, places, documents=None):
    """The answers for places given as (second before, before, behind, right token)."""
    columns = np.array(places, np.int64).T
    if documents is None:
        documents = np.ones(len(corpus.groups), bool)
    return answer_by_counting(corpus, documents, Contexts(*columns[:3]), columns[3])


def probabilities(answers):
    return np.exp(-answers.loss)


@pytest.fixture
def toy():
    """Two documents, `a b c a b d` in two sentences and `b c`, so `d b` stands nowhere.

    Counts: a 2, b 3, c 2, d 1; in all 8, of 4 kinds. After a: b 2. After b: c 2, d 1. After c: a 1.
    Before b: a 2. Between a and c: b 1. Between b and a: c 1. After `a b`: c 1, d 1.
    """
    return corpus_of([[[A, B, C], [A, B, D]], [[B, C]]], vocab_size=SIZE)


def test_unigrams(toy):
    """P(b) = (3 - .75) / 8 + .75 * 4 / 8 / 10 = .31875; an unseen token has .0375.

    From the most frequent down: b; a and c, the lower id first; d; then the unseen ones by id.
    """
    found = ask(toy, [(-1, -1, -1, piece) for piece in (B, A, C, D, 0, 9)])["unigram"]
    expected = [0.31875, 0.19375, 0.19375, 0.06875, 0.0375, 0.0375]
    assert probabilities(found) == pytest.approx(expected, rel=1e-6)
    assert found.rank.tolist() == [0, 1, 2, 3, 4, 9]


def test_3_grams_of_both_sides(toy):
    """The token b between a and c.

    P(b | a before) = (2 - .75) / 2 + .75 * 1 / 2 * P(b) = .625 + .375 * .31875 = .74453125
    P(b | c behind): before c stands b twice, so the same.
    P(b | a, c) = (1 - .75) / 1 + .75 * 1 / 1 * .74453125 = .8083984375
    """
    found = ask(toy, [(-1, A, C, B)])
    assert probabilities(found["trigram"]) == pytest.approx([0.8083984375], rel=1e-6)
    assert found["trigram"].rank.tolist() == [0]


def test_3_grams_of_the_left(toy):
    """The token d after a b, and c after a b.

    P(d | b) = (1 - .75) / 3 + .75 * 2 / 3 * P(d) = .25 / 3 + .5 * .06875 = .11770833
    P(d | a b) = (1 - .75) / 2 + .75 * 2 / 2 * P(d | b) = .125 + .75 * .11770833 = .21328125
    P(c | b) = (2 - .75) / 3 + .5 * .19375 = .51354167, P(c | a b) = .125 + .75 * .51354167
    """
    found = ask(toy, [(A, B, -1, D), (A, B, -1, C)])["trigram_left"]
    assert probabilities(found) == pytest.approx([0.21328125, 0.51015625], rel=1e-6)
    assert found.rank.tolist() == [1, 0]


def test_unknown_and_unseen_neighbours_take_no_part(toy):
    """The token b after a, where what follows is masked or never occurred, and so on.

    Behind unknown: P(b | a) = .74453125. Before unknown, c behind: the same number by symmetry.
    Nothing known, or only what never occurred (9): P(b) = .31875. Between a and 9: P(b | a).
    `b b` never occurred: the left 3-gram is P(c | b) = .51354167.
    """
    found = ask(toy, [(-1, A, -1, B), (-1, -1, C, B), (-1, -1, -1, B), (9, 9, 9, B), (9, A, 9, B)])
    expected = [0.74453125, 0.74453125, 0.31875, 0.31875, 0.74453125]
    assert probabilities(found["trigram"]) == pytest.approx(expected, rel=1e-6)
    left = [0.74453125, 0.31875, 0.31875, 0.31875, 0.74453125]
    assert probabilities(found["trigram_left"]) == pytest.approx(left, rel=1e-6)
    found = ask(toy, [(B, B, -1, C), (A, -1, -1, B)])["trigram_left"]
    assert probabilities(found) == pytest.approx([0.51354167, 0.31875], rel=1e-6)


def test_nothing_is_counted_across_documents(toy):
    """Tokens d and b meet only where one document ends and the next begins: P(b | d) = P(b)."""
    found = ask(toy, [(B, D, -1, B)])
    assert probabilities(found["trigram_left"])[0] == pytest.approx(0.31875, rel=1e-6)
    assert probabilities(found["trigram"])[0] == pytest.approx(0.31875, rel=1e-6)


def test_only_the_documents_given_are_counted(toy):
    """Another second document changes nothing if only the first is counted."""
    other = corpus_of([[[A, B, C], [A, B, D]], [[D, D, D, D, A, C, B]]], vocab_size=SIZE)
    places = [(A, B, A, C), (-1, A, C, B), (D, D, D, D)]
    first = np.array([True, False])
    one, two = (ask(corpus, places, first) for corpus in (toy, other))
    for name in BASELINES:
        assert one[name].loss.tolist() == two[name].loss.tolist()
        assert one[name].rank.tolist() == two[name].rank.tolist()
    assert ask(other, places)["unigram"].loss.tolist() != one["unigram"].loss.tolist()


def slow_probabilities(documents, second, before, behind):
    """P of every token by dictionaries and the formula in the module's docstring."""
    pieces, left, right, around, history = (collections.defaultdict(list) for _ in range(5))
    for ids in documents:
        for place, piece in enumerate(ids):
            pieces[()].append(piece)
            if place:
                left[ids[place - 1]].append(piece)
            if place + 1 < len(ids):
                right[ids[place + 1]].append(piece)
            if place and place + 1 < len(ids):
                around[ids[place - 1], ids[place + 1]].append(piece)
            if place > 1:
                history[ids[place - 2], ids[place - 1]].append(piece)

    def level(table, context, lower):
        seen = table.get(context)
        if not seen:
            return lower
        counts = np.bincount(seen, minlength=SIZE)
        rest = 0.75 * np.count_nonzero(counts) / len(seen)
        return np.maximum(counts - 0.75, 0) / len(seen) + rest * np.asarray(lower)

    lowest = level(pieces, (), np.full(SIZE, 1 / SIZE))
    by_left, by_right = level(left, before, lowest), level(right, behind, lowest)
    sides = (by_left, left, before), (by_right, right, behind)
    known = [shares for shares, table, context in sides if context in table]
    lower = np.mean(known, axis=0) if known else lowest
    return level(around, (before, behind), lower), level(history, (second, before), by_left)


def test_a_slow_second_reckoning_gives_the_same(monkeypatch):
    """Random texts, all contexts, with parts of a few rows; each distribution sums to one."""
    monkeypatch.setattr("bert_tf.evaluation.pretraining.baselines._ENTRIES", 7 * SIZE)
    rng = np.random.default_rng(2)
    documents = [rng.integers(4, SIZE, rng.integers(1, 30)).tolist() for _ in range(12)]
    corpus = corpus_of([[ids] for ids in documents], vocab_size=SIZE)
    places = np.concatenate([rng.integers(3, SIZE, (300, 3)), rng.integers(0, SIZE, (300, 1))], 1)
    places[places == 3] = -1
    found = ask(corpus, places)
    for number, (second, before, behind, piece) in enumerate(places.tolist()):
        slow = slow_probabilities(documents, second, before, behind)
        for name, expected in zip(BASELINES, slow):
            assert expected.sum() == pytest.approx(1)
            assert np.exp(-found[name].loss[number]) == pytest.approx(expected[piece], rel=1e-5)
            higher = (expected > expected[piece] + 1e-7).sum()
            not_lower = (expected > expected[piece] - 1e-7).sum() - 1
            assert higher <= found[name].rank[number] <= not_lower


def test_neighbours_are_what_the_model_is_shown():
    """[CLS] a [MASK] b [SEP] c d [SEP]: what is masked or special is unknown."""
    tokens = np.array([[CLS, A, MASK, B, SEP, C, D, SEP], [CLS, A, SEP, C, D, B, SEP, 0]])
    rows, columns = np.array([0, 0, 0, 0, 1, 1]), np.array([1, 2, 3, 5, 1, 5])
    found = contexts_of(tokens, rows, columns, {0, CLS, SEP, MASK})
    assert found.before.tolist() == [-1, A, -1, -1, -1, D]
    assert found.second_before.tolist() == [-1, -1, A, B, -1, C]
    assert found.after.tolist() == [-1, B, -1, D, -1, -1]


def test_ranks_put_the_lower_id_first_among_equals():
    scores = np.array([[0.1, 0.4, 0.4, 0.1]] * 4)
    assert ranks(scores, np.arange(4)).tolist() == [2, 0, 1, 3]


def test_nothing_to_count_is_told(toy):
    with pytest.raises(BertError, match="nothing to count"):
        ask(toy, [(-1, -1, -1, A)], np.zeros(2, bool))


def test_no_questions_have_no_answers(toy):
    none = np.zeros(0, np.int64)
    found = answer_by_counting(toy, np.ones(2, bool), Contexts(none, none, none), none)
    for name in BASELINES:
        assert isinstance(found[name], TokenScores)
        assert [len(column) for column in found[name]] == [0, 0]
