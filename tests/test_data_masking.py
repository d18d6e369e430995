"""Masking: the shares that the rules name, and exactly what a slow reference chooses."""

import numpy as np
import pytest
from placed_corpora import within_five_sigma

from bert_tf.data import MaskRules, mask_pieces
from bert_tf.data.pretraining.masking import _replace, choose_words
from bert_tf.errors import BertError

CLS, SEP, MASK, FIRST, VOCAB = 2, 3, 4, 5, 2000
CONTINUES = np.arange(VOCAB) % 3 == 0  # every third token is the rest of a word
CONTINUES[:FIRST] = False


def make_examples(lengths, width, seed=0):
    """[CLS] A [SEP] B [SEP] of random tokens."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    tokens = rng.integers(FIRST, VOCAB, (len(lengths), width)).astype(np.int32)
    rows = np.arange(len(lengths))
    tokens[:, 0] = CLS
    tokens[rows, lengths // 2] = SEP
    tokens[rows, lengths - 1] = SEP
    tokens[np.arange(width) >= lengths[:, None]] = 0
    return tokens, lengths


def mask(tokens, lengths, rules, seed=0, continues=CONTINUES):
    rng = np.random.default_rng(seed)
    return mask_pieces(tokens, lengths, continues, VOCAB, MASK, rules, rng, cls_id=CLS, sep_id=SEP)


def words_of(row, length):
    """Places of each word of an example; a rest that lost its start is a word by itself."""
    words = []
    for place in range(length):
        if row[place] in (CLS, SEP):
            continue
        if CONTINUES[row[place]] and row[place - 1] not in (CLS, SEP):
            words[-1].append(place)
        else:
            words.append([place])
    return words


@pytest.mark.parametrize("whole_word", [False, True, 0.5])
def test_positions_ids_and_weights_tell_what_was_there(whole_word):
    lengths = np.random.default_rng(1).integers(5, 61, 200)
    tokens, lengths = make_examples(lengths, 60)
    before = tokens.copy()
    rules = MaskRules(0.15, 8, whole_word)
    masked, positions, ids, weights = mask(tokens, lengths, rules)
    assert (tokens == before).all()
    assert [array.dtype for array in (masked, positions, ids)] == [np.int32] * 3
    assert weights.dtype == np.float32
    assert masked.shape == tokens.shape
    for row, length in enumerate(lengths):
        number = int(weights[row].sum())
        assert weights[row].tolist() == [1] * number + [0] * (8 - number)
        places = positions[row, :number]
        assert (np.diff(places) > 0).all()
        assert ids[row, :number].tolist() == tokens[row, places].tolist()
        assert positions[row, number:].tolist() == ids[row, number:].tolist() == [0] * (8 - number)
        assert not set(tokens[row, places]) & {CLS, SEP}
        assert (places < length).all()
        rest = np.delete(masked[row], places)
        assert rest.tolist() == np.delete(tokens[row], places).tolist()


@pytest.mark.parametrize("most", [1, 3, 20])
@pytest.mark.parametrize("share", [0.15, 0.1, 0.5])
def test_the_number_is_the_rounded_share_within_its_bounds(share, most):
    """Python's own round, to even at a half: 0.15 * 30 = 4.5 gives 4, 0.5 * 7 = 3.5 gives 4."""
    lengths = np.arange(5, 60)
    tokens, lengths = make_examples(lengths, 60)
    *_, weights = mask(tokens, lengths, MaskRules(share, most))
    wanted = [min(most, max(1, round(n * share)), n - 3) for n in lengths.tolist()]
    assert weights.sum(axis=1).tolist() == wanted


def test_all_pieces_can_be_asked_for_and_no_more():
    tokens, lengths = make_examples([10, 6, 5], 10)
    for whole_word in (False, True):
        *_, weights = mask(tokens, lengths, MaskRules(1.0, 50, whole_word))
        assert weights.shape == (3, 50)
        assert weights.sum(axis=1).tolist() == [7, 3, 2]


def test_an_example_of_a_single_word_too_long_is_left_alone():
    """Nine tokens of one word, two to choose: a whole word would exceed it, as in the original."""
    tokens = np.array([[CLS, 10, *[6] * 8, SEP, 9, 9, SEP]], np.int32)
    continues = np.zeros(VOCAB, bool)
    continues[[6, 9]] = True
    rules = MaskRules(0.07, 5, whole_word=True)  # round(14 * 0.07) = 1
    *_, weights = mask(tokens, np.array([14]), rules, continues=continues)
    assert weights.sum() == 0


def test_four_fifths_become_mask_a_tenth_any_piece_a_tenth_stays():
    """Of about 30,000 tokens, by words and token by token.

    A random token is of the whole vocabulary: it is [MASK] or the true one with probability
    1/2000 each, so the shares are 0.8 + 0.00005, 0.1 + 0.00005 and the rest. The random ones
    spread over all ids, special tokens among them: each tenth of the ids has a tenth.
    """
    tokens, lengths = make_examples([100] * 2000, 100)
    for whole_word in (False, True):
        masked, positions, ids, weights = mask(
            tokens, lengths, MaskRules(0.15, 20, whole_word), seed=2
        )
        used = weights > 0
        assert used.sum() > 29_000
        now = np.take_along_axis(masked, positions, axis=1)[used]
        true = ids[used]
        count = len(true)
        assert within_five_sigma((now == MASK).sum(), count, 0.8 + 0.1 / VOCAB)
        assert within_five_sigma((now == true).sum(), count, 0.1 + 0.1 / VOCAB)
        other = now[(now != MASK) & (now != true)]
        assert within_five_sigma(len(other), count, 0.1 * (1 - 2 / VOCAB))
        tenths = np.bincount(other // (VOCAB // 10), minlength=10)
        assert all(within_five_sigma(tenth, len(other), 0.1) for tenth in tenths)
        assert (other < FIRST).any()


def test_padding_is_never_drawn_and_the_other_draws_stay():
    """Of 7 ids, each but 0 comes equally often; where 0 is not hit, numpy's draws are kept."""
    hidden = np.full(60_000, 6)
    found = _replace(hidden, 7, MASK, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    share, drawn = rng.random(len(hidden)), rng.integers(7, size=len(hidden))
    random = (share >= 0.8) & (share < 0.9)
    kept = random & (drawn != 0)
    assert (found[kept] == drawn[kept]).all()
    instead = np.bincount(found[random & (drawn == 0)], minlength=7)
    assert instead[0] == 0
    assert all(within_five_sigma(count, instead.sum(), 1 / 6) for count in instead[1:])


def test_every_place_is_asked_for_equally_often():
    """Of 20 tokens, 17 can be chosen and 3 are: each with probability 3/17, the special never."""
    tokens, lengths = make_examples([20] * 5000, 24)
    _, positions, _, weights = mask(tokens, lengths, MaskRules(0.15, 20), seed=3)
    counts = np.bincount(positions[weights > 0], minlength=24)
    special = [0, 10, 19, 20, 21, 22, 23]
    assert not counts[special].any()
    assert all(within_five_sigma(c, 5000, 3 / 17) for c in np.delete(counts, special))


class Keys:
    """A generator whose floats are noted."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def random(self, *args):
        self.keys = self.rng.random(*args)
        return self.keys


@pytest.mark.parametrize("width", [8, 30, 120])
def test_words_are_chosen_as_one_after_the_other_would_be(width):
    """With the same random order: each word that does not exceed the number is taken."""
    lengths = np.random.default_rng(width).integers(5, width + 1, 150)
    tokens, lengths = make_examples(lengths, width, seed=width)
    numbers = np.random.default_rng(1).integers(1, 12, 150)
    candidate = (tokens >= FIRST) & (np.arange(width) < lengths[:, None])
    rng = Keys(4)
    chosen = choose_words(candidate, CONTINUES[tokens] & candidate, numbers, rng)
    fewer = 0
    for row in range(150):
        words = words_of(tokens[row], lengths[row])
        wanted = []
        for index in sorted(range(len(words)), key=lambda word: rng.keys[row, word]):
            if len(wanted) >= numbers[row]:
                break
            if len(wanted) + len(words[index]) <= numbers[row]:
                wanted += words[index]
        fewer += len(wanted) < numbers[row]
        assert np.flatnonzero(chosen[row]).tolist() == sorted(wanted)
    assert fewer or width > 8


def test_pieces_of_a_word_are_masked_together():
    tokens, lengths = make_examples([40] * 300, 40)
    _, positions, _, weights = mask(tokens, lengths, MaskRules(0.2, 20, whole_word=True))
    split = 0
    for row in range(300):
        asked = set(positions[row][weights[row] > 0].tolist())
        for word in words_of(tokens[row], 40):
            assert len(asked & set(word)) in (0, len(word))
            split += len(word) > 1 and bool(asked & set(word))
    assert split > 300


def test_a_word_ends_with_its_segment():
    """[CLS] w [SEP] ##x [SEP]: the rest behind [SEP] is a word by itself, so one of two goes."""
    continues = np.zeros(VOCAB, bool)
    continues[9] = True
    tokens = np.tile(np.array([CLS, 10, SEP, 9, SEP, 0], np.int32), (400, 1))
    rules = MaskRules(0.2, 5, whole_word=True)
    _, positions, _, weights = mask(tokens, np.full(400, 5), rules, continues=continues)
    assert (weights.sum(axis=1) == 1).all()
    assert within_five_sigma((positions[:, 0] == 3).sum(), 400, 0.5)


def test_a_share_of_the_examples_is_masked_by_words():
    """Words of two tokens, three to choose: by words two are, token by token three."""
    row = [CLS, *[10, 9] * 6, SEP, *[10, 9] * 3, SEP]
    tokens = np.tile(np.array(row, np.int32), (3000, 1))
    continues = np.zeros(VOCAB, bool)
    continues[9] = True
    lengths = np.full(3000, len(row))  # 21 * 0.15 = 3.15
    *_, weights = mask(tokens, lengths, MaskRules(0.15, 20, 0.3), continues=continues)
    counts = np.bincount(weights.sum(axis=1).astype(int))
    assert counts[:2].sum() == 0
    assert within_five_sigma(counts[2], 3000, 0.3)
    assert counts[2] + counts[3] == 3000


def test_a_seed_repeats():
    tokens, lengths = make_examples([30] * 20, 30)
    for whole_word in (False, True, 0.5):
        rules = MaskRules(whole_word=whole_word)
        first, again = mask(tokens, lengths, rules, 1), mask(tokens, lengths, rules, 1)
        other = mask(tokens, lengths, rules, 2)
        assert all((x == y).all() for x, y in zip(first, again))
        assert (first[0] != other[0]).any()


def test_no_examples_no_masks():
    tokens, lengths = np.zeros((0, 12), np.int32), np.zeros(0, np.int32)
    for whole_word in (False, True, 0.5):
        masked, positions, *_ = mask(tokens, lengths, MaskRules(whole_word=whole_word))
        assert masked.shape == (0, 12)
        assert positions.shape == (0, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masked_lm_prob": 0}, "masked_lm_prob is 0"),
        ({"masked_lm_prob": 15}, "masked_lm_prob is 15"),
        ({"max_predictions_per_seq": 0}, "max_predictions_per_seq is 0"),
        ({"whole_word": 2}, "whole_word is 2"),
        ({"whole_word": -0.5}, "whole_word is -0.5"),
    ],
)
def test_rules_without_meaning_are_refused(arguments, message):
    with pytest.raises(BertError, match=message):
        MaskRules(**arguments)
