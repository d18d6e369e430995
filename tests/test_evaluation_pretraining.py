"""Judging: planted predictors with known figures, and the arithmetic of the figures by hand."""

import json
import math

import numpy as np
import pytest
from placed_corpora import FIRST, document_of, make_corpus, vocabulary_of

from bert_tf.data.pretraining.tokens import vocabulary_sha256
from bert_tf.errors import BertError
from bert_tf.evaluation.pretraining.evaluate import evaluate_predictions
from bert_tf.evaluation.pretraining.results import (
    GroupEvaluation,
    MaskedScore,
    NextSentenceScore,
    half_width,
    masked_score,
    means,
    pair_score,
)
from bert_tf.text import SPECIAL_TOKENS, Vocabulary

LETTERS = Vocabulary.from_lines([*SPECIAL_TOKENS, *"abcdefghijklmno"])
SIZE = len(LETTERS)
PIECE_A = FIRST
NSP = np.zeros((7, 2))


def letters_corpus(groups, piece=lambda place: PIECE_A):
    """A corpus whose token at a place is what `piece` says, in the vocabulary `LETTERS`."""
    corpus = make_corpus(groups)
    corpus.tokens = np.array([piece(place) for place in range(len(corpus.tokens))], np.int32)
    corpus.vocab_size = SIZE
    corpus.vocab_sha256 = vocabulary_sha256(LETTERS)
    return corpus


def last_sources(corpus, count):
    """The documents of the last sources of each group."""
    held_out = np.zeros(len(corpus), bool)
    for group in range(len(corpus.group_names)):
        own = corpus.sources[corpus.groups == group]
        held_out |= (corpus.groups == group) & (corpus.sources > own.max() - count)
    return held_out


# How probable `a` is, and how many tokens are more probable, by the slot it is asked in.
PLANTED = [(0.5, 0), (0.2, 2), (0.05, 5), (0.25, 0)]


class SlotPredictor:
    """Gives `a` the planted probability of each slot, and tallies what it was asked."""

    def __init__(self, nsp=(1.0, 0.0)):
        self.tally = np.zeros(len(PLANTED), int)
        self.nsp = nsp

    def __call__(self, inputs):
        rows, slots = inputs["position_input"].shape
        logits = np.zeros((rows, slots, SIZE), np.float32)
        for slot in range(slots):
            probability, better = PLANTED[slot % len(PLANTED)]
            shares = np.zeros(SIZE)
            others = [i for i in range(SIZE) if i != PIECE_A]
            # Those that are better share 0.75 (or 0.6), the others what is left.
            better_sum = {0: 0, 2: 0.6, 5: 0.75}[better]
            shares[others[:better]] = better_sum / max(better, 1)
            shares[others[better:]] = (1 - probability - better_sum) / (len(others) - better)
            shares[PIECE_A] = probability
            assert (shares > probability).sum() == better
            assert shares.sum() == pytest.approx(1)
            logits[:, slot] = np.log(shares) + 7  # logits may be shifted
            used = int((inputs["position_input"][:, slot] > 0).sum())
            self.tally[slot % len(PLANTED)] += used
        return [logits, np.tile(np.array(self.nsp, np.float32), (rows, 1))]


def test_planted_answers_give_exactly_their_figures():
    """All tokens are `a`, so that the tally of the slots tells all.

    top-1: slots 0 and 3 of four; top-5: also slot 1; loss: the mean of -ln p. It always says that
    B follows: right on all pairs that are true and on none that are random.
    """
    corpus = letters_corpus({"en": [[[9, 5, 8, 6]]] * 12})
    predict = SlotPredictor()
    judged = evaluate_predictions(
        predict,
        LETTERS,
        corpus,
        last_sources(corpus, 6),
        max_seq_length=40,
        positions=150,
        batch_size=7,
        baselines=False,
    )
    (group,) = judged.groups
    assert set(group.single) == set(group.whole_word) == {"model"}
    assert group.single["model"].positions >= 150
    both = [group.single["model"], group.whole_word["model"]]
    count = sum(score.positions for score in both)
    assert count == predict.tally.sum()

    def total(name):
        return sum(getattr(score, name) * score.positions for score in both)

    assert total("top1") == pytest.approx(predict.tally[[0, 3]].sum())
    assert total("top5") == pytest.approx(predict.tally[[0, 1, 3]].sum())
    losses = -np.log([p for p, _ in PLANTED])
    assert total("loss") == pytest.approx(predict.tally @ losses, rel=1e-6)
    for score in both:
        assert score.perplexity == pytest.approx(math.exp(score.loss))
    pairs = group.next_sentence
    assert (pairs.on_true, pairs.on_random, pairs.balanced) == (1, 0, 0.5)
    assert pairs.as_drawn == pytest.approx(1 - pairs.random_pairs / pairs.pairs)
    assert 0 < pairs.random_pairs < pairs.pairs


class Oracle:
    """Knows in a corpus of places which token is masked and which pairs follow each other.

    In a segment id minus column is the same for all tokens but masked and replaced ones; so it is
    the value that occurs most.
    """

    def __init__(self, corpus):
        self.corpus = corpus
        self.shapes = set()

    def __call__(self, inputs):
        tokens, segments, positions = (
            inputs[name] for name in ("token_input", "seg_input", "position_input")
        )
        self.shapes.add(tokens.shape)
        mlm = np.zeros((*positions.shape, self.corpus.vocab_size), np.float32)
        nsp = np.zeros((len(tokens), 2), np.float32)
        for row in range(len(tokens)):
            documents = []
            for segment in (0, 1):
                columns = np.flatnonzero((segments[row] == segment) & (tokens[row] >= FIRST))
                kinds, counts = np.unique(tokens[row, columns] - columns, return_counts=True)
                offset = kinds[counts.argmax()]
                documents.append(document_of(self.corpus, offset + columns[0] - FIRST))
                for slot, column in enumerate(positions[row]):
                    if column and segments[row, column] == segment:
                        mlm[row, slot, offset + column] = 20
            nsp[row, int(documents[0] != documents[1])] = 1
        return [mlm, nsp]


def test_answers_are_matched_with_their_questions():
    """An oracle is right everywhere, in whatever batches, lengths and order it is asked."""
    corpus = make_corpus({"en": [[[9, 11, 12, 9, 30]]] * 8, "de": [[[14, 9, 25]]] * 6})
    oracle = Oracle(corpus)
    judged = evaluate_predictions(
        oracle,
        vocabulary_of(corpus),
        corpus,
        last_sources(corpus, 4),
        max_seq_length=48,
        masked_lm_prob=0.1,
        positions=120,
        batch_size=5,
        seed=4,
    )
    assert [group.name for group in judged.groups] == ["en", "de"]
    assert len(oracle.shapes) > 1
    for group in (*judged.groups, judged.weighted_mean, judged.plain_mean):
        for kind in (group.single, group.whole_word):
            assert (kind["model"].top1, kind["model"].top5) == (1, 1)
            assert kind["unigram"].top1 == 0  # every token occurs once, all in one document
        score = group.next_sentence
        assert (score.on_true, score.on_random, score.as_drawn) == (1, 1, 1)


def test_held_out_text_is_not_counted():
    """All training tokens are `a`, 240 of them, all held-out ones `b`, which no count has seen.

    P(b) = .75 * 1 / 240 / 20 = 1.5625e-4; in any context of `a` P(b | h) = .75 / n * P(b | lower).
    The unigram holds `a` best and then the ids from 0 up: b comes after [PAD] [UNK] [CLS] [SEP]
    [MASK] and a, so it is not among the five best.
    """
    corpus = letters_corpus({"en": [[[10, 10, 10]]] * 12}, lambda place: PIECE_A + (place >= 240))
    arguments = {"max_seq_length": 40, "positions": 100}
    held_out = last_sources(corpus, 4)
    judged = evaluate_predictions(SlotPredictor(), LETTERS, corpus, held_out, **arguments)
    unigram = judged.groups[0].single["unigram"]
    assert unigram.loss == pytest.approx(-math.log(0.75 / 240 / SIZE), rel=1e-6)
    assert (unigram.top1, unigram.top5) == (0, 0)
    assert judged.groups[0].single["trigram"].top5 == 0
    assert judged.settings["held_out_pieces"] == 120
    assert judged.settings["training_pieces"] == 240


def test_the_same_seed_gives_the_same_and_another_does_not():
    corpus = letters_corpus({"en": [[[9, 5, 8, 6]]] * 12}, lambda place: PIECE_A + place % 7 % 3)

    def run(seed):
        held_out = last_sources(corpus, 5)
        arguments = {"max_seq_length": 40, "positions": 90, "seed": seed}
        return evaluate_predictions(
            SlotPredictor(), LETTERS, corpus, held_out, **arguments
        ).to_dict()

    assert run(1) == run(1) != run(2)
    json.dumps(run(1), allow_nan=False)


def test_shares_go_with_the_pieces_trained_on():
    """1,000 and 100 training pieces: 100**.7 = 25.12, 1000**.7 = 125.89; shares .8337 and .1663."""
    corpus = letters_corpus({"en": [[[25, 25]]] * 22, "de": [[[25, 25]]] * 4})
    judged = evaluate_predictions(
        SlotPredictor(),
        LETTERS,
        corpus,
        last_sources(corpus, 2),
        max_seq_length=40,
        positions=20,
    )
    assert [group.share for group in judged.groups] == pytest.approx([0.83366, 0.16634], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": np.zeros(12, bool)}, "no document is held out"),
        ({"held_out": np.ones(3, bool)}, "12 booleans"),
        ({"training": np.ones(12, bool)}, "4 documents are in held_out and in training"),
        ({"training": np.zeros(12, bool)}, "nothing to count"),
        ({"positions": 0}, "positions is 0"),
        ({"predict": lambda inputs: [np.full((7, 6, SIZE), np.nan), NSP]}, "not all numbers"),
    ],
)
def test_bad_arguments_are_told(change, message):
    corpus = letters_corpus({"en": [[[9, 5, 8, 6]]] * 12})
    values = {
        "predict": SlotPredictor(),
        "vocab": LETTERS,
        "corpus": corpus,
        "held_out": last_sources(corpus, 4),
        "max_seq_length": 40,
        "positions": 30,
        "batch_size": 7,
    }
    with pytest.raises(BertError, match=message):
        evaluate_predictions(**(values | change))


def test_figures_of_masks_by_hand():
    """Ranks 0, 0, 4, 5: top-1 2 of 4, top-5 3 of 4; losses of mean ln 4.

    Clusters of two: sums of hit - .5 are 1 and -1: 1.96 * sqrt(2 / 1 * 2) / 4 = .98. For top-5 the
    sums of hit - .75 are .5 and -.5: 1.96 * sqrt(2 * .5) / 4 = .49.
    """
    losses = np.log([2.0, 2.0, 8.0, 8.0])
    score = masked_score(losses, np.array([0, 0, 4, 5]), np.array([3, 3, 9, 9]))
    expected = MaskedScore(4, math.log(4), 4, 0.5, 0.98, 0.75, 0.49)
    assert vars(score) == pytest.approx(vars(expected))


def test_figures_of_pairs_by_hand():
    """Of 3 true pairs 2 are told, of 5 random ones 1: (2/3 + 1/5) / 2, and 3/8 as drawn.

    Each pair its own cluster: for true ones residuals 1/3, 1/3, -2/3 with the squares' sum 2/3:
    1.96 * sqrt(3/2 * 2/3) / 3 = 1.96 / 3. Random: .8 and four times -.2, sum .8:
    1.96 * sqrt(5/4 * .8) / 5 = 1.96 / 5. Balanced: half the root of the squares' sum.
    """
    is_random = np.array([0, 0, 0, 1, 1, 1, 1, 1], bool)
    said_random = np.array([0, 0, 1, 1, 0, 0, 0, 0], bool)
    score = pair_score(said_random, is_random, np.arange(8))
    assert (score.pairs, score.random_pairs) == (8, 5)
    assert score.on_true == pytest.approx(2 / 3)
    assert score.on_random == pytest.approx(1 / 5)
    assert score.balanced == pytest.approx(13 / 30)
    assert score.as_drawn == pytest.approx(3 / 8)
    width = 1.96 / 2 * math.hypot(1 / 3, 1 / 5)
    assert score.balanced_half_width == pytest.approx(width)


def test_half_widths_cover_the_truth_as_often_as_they_say():
    """400 draws of 40 clusters whose members agree: about 95 % of the intervals hold the mean.

    Taken one by one the members would count five times, and cover only some 62 %.
    """
    rng = np.random.default_rng(6)
    clusters = np.repeat(np.arange(40), 5)
    held = 0
    for _ in range(400):
        values = np.repeat(rng.random(40) < 0.4, 5).astype(float)
        held += abs(values.mean() - 0.4) <= half_width(values, clusters)
    assert 0.91 <= held / 400 <= 0.98
    assert math.isnan(half_width(np.ones(4), np.zeros(4)))


def test_means_by_hand():
    """Weights 3/4 and 1/4: accuracy .2 and .4 -> .25, losses ln 2 and ln 32 -> 2 ln 2.

    Half-widths .04 and .08: root of .03**2 + .02**2. Positions are added up.
    """
    groups = []
    for name, top1, loss, width in (("en", 0.2, 2, 0.04), ("de", 0.4, 32, 0.08)):
        score = MaskedScore(10, math.log(loss), loss, top1, width, 2 * top1, width)
        pairs = NextSentenceScore(6, 4, top1, width, top1, top1, top1, width)
        groups.append(GroupEvaluation(name, 0.5, {"model": score}, {"model": score}, pairs))
    mean = means("mean", groups, np.array([0.75, 0.25]))
    found = mean.whole_word["model"]
    assert (found.positions, mean.next_sentence.pairs, mean.next_sentence.random_pairs) == (
        20,
        12,
        8,
    )
    assert found.top1 == mean.next_sentence.balanced == pytest.approx(0.25)
    assert found.top5 == pytest.approx(0.5)
    assert found.perplexity == pytest.approx(4)
    assert found.top1_half_width == pytest.approx(math.hypot(0.03, 0.02))
    assert mean.name == "mean"
