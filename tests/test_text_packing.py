"""Packing equals the original's 104 rows; windows cover every position; wrong masks are refused."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_tf._deprecated import pack_exact
from bert_tf.errors import BertError
from bert_tf.text import (
    BertTokenizer,
    Packed,
    Vocabulary,
    Window,
    best_windows,
    check_mask_input,
    mask_input,
    pack,
    pad_batch,
    windows,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"
VOCAB = Vocabulary.from_lines(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])  # ids 0 to 4
CLS, SEP, MASK = 2, 3, 4


def test_equals_the_original():
    vocab = Vocabulary.load(GOLDEN / "tiny_ckpt" / "vocab.txt")
    tokenizers = {lower: BertTokenizer(vocab, lower) for lower in (False, True)}
    with open(GOLDEN / "features_golden.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 104
    for row in rows:
        encode = tokenizers[row["do_lower_case"]].encode
        a = encode(row["text_a"]).ids
        b = None if row["text_b"] is None else encode(row["text_b"]).ids
        length = row["max_seq_length"]
        inputs = pad_batch([pack(a, b, vocab=vocab, max_length=length)], length)
        assert inputs["token_input"].tolist() == [row["input_ids"]]
        assert inputs["seg_input"].tolist() == [row["segment_ids"]]
        assert (inputs["token_input"] != 0).tolist() == [[m == 1 for m in row["input_mask"]]]


def test_worked_example():
    """5 + 4 tokens in 9 places: 6 remain next to [CLS] and two [SEP].

    Cut one by one from the longer, ties from the second: 5+4, 4+4, 4+3, 3+3.
    """
    packed = pack([11, 12, 13, 14, 15], [21, 22, 23, 24], vocab=VOCAB, max_length=9)
    assert packed.token_ids == [CLS, 11, 12, 13, SEP, 21, 22, 23, SEP]
    assert packed.segment_ids == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_an_odd_place_goes_to_the_first_text():
    """3 places for 3 + 3: 3+2 (tie, from the second), 2+2, 2+1."""
    packed = pack([11, 12, 13], [21, 22, 23], vocab=VOCAB, max_length=6)
    assert packed.token_ids == [CLS, 11, 12, SEP, 21, SEP]


def cut_one_by_one(len_a, len_b, room):
    while len_a + len_b > room:
        if len_a > len_b:
            len_a -= 1
        else:
            len_b -= 1
    return len_a, len_b


@given(st.integers(0, 30), st.integers(0, 30), st.integers(3, 40))
def test_cutting(len_a, len_b, max_length):
    """The same as taking one token after the other, which is how the rule is stated."""
    packed = pack([11] * len_a, [21] * len_b, vocab=VOCAB, max_length=max_length)
    kept_a, kept_b = cut_one_by_one(len_a, len_b, max_length - (3 if len_b else 2))
    assert packed.token_ids.count(11) == kept_a
    assert packed.token_ids.count(21) == kept_b
    assert len(packed.token_ids) == len(packed.segment_ids) <= max_length
    assert packed.token_ids.count(SEP) == 1 + (len_b > 0)
    assert packed.segment_ids == sorted(packed.segment_ids)


def test_no_room():
    assert pack([11], vocab=VOCAB, max_length=2).token_ids == [CLS, SEP]
    for ids_b, max_length in ((None, 1), ([21], 2)):
        with pytest.raises(BertError, match="too small"):
            pack([11], ids_b, vocab=VOCAB, max_length=max_length)


def test_exact_packing_cuts_nothing():
    assert pack_exact([11], [21], vocab=VOCAB, max_length=5) == (
        [CLS, 11, SEP, 21, SEP],
        [0, 0, 0, 1, 1],
    )
    assert pack_exact([11], vocab=VOCAB, max_length=3).token_ids == [CLS, 11, SEP]
    with pytest.raises(BertError, match=r"5 tokens .* limit is 4.*windows"):
        pack_exact([11], [21], vocab=VOCAB, max_length=4)


def test_padding():
    rows = [Packed([CLS, 11, SEP], [0, 0, 0]), Packed([CLS, SEP, 21, SEP], [0, 0, 1, 1])]
    inputs = pad_batch(rows, 5, batch_size=3)
    assert inputs["token_input"].tolist() == [[2, 11, 3, 0, 0], [2, 3, 21, 3, 0], [0] * 5]
    assert inputs["seg_input"].tolist() == [[0] * 5, [0, 0, 1, 1, 0], [0] * 5]
    assert {array.dtype for array in inputs.values()} == {np.dtype("int32")}
    assert pad_batch(rows)["token_input"].shape == (2, 4)
    assert pad_batch([])["token_input"].shape == (0, 0)
    with pytest.raises(BertError, match="4 tokens does not fit the length 3"):
        pad_batch(rows, 3)
    with pytest.raises(BertError, match="2 rows do not fit"):
        pad_batch(rows, batch_size=1)


def test_the_mask_marks_what_is_asked_for():
    tokens = np.array([[CLS, MASK, 11, MASK, SEP, 0]])
    mask = mask_input(tokens, MASK)
    assert mask.tolist() == [[0, 1, 0, 1, 0, 0]]
    assert mask.dtype == np.int32
    check_mask_input(tokens, mask)


def test_an_attention_mask_is_refused():
    good = [CLS, MASK, SEP, 0]
    tokens = np.array([good, [CLS, 11, SEP, 0]])
    mask = np.array([[0, 1, 0, 0], [1, 1, 1, 0]])
    with pytest.raises(BertError, match=r"row 1 \(1 such row.*input_mask"):
        check_mask_input(tokens, mask)
    with pytest.raises(BertError, match=r"To score every token.*max_predictions=None.*position_in"):
        check_mask_input(tokens[1], mask[1])
    with pytest.raises(BertError, match="row 0"):
        check_mask_input(tokens[1], mask[1])
    with pytest.raises(BertError, match="shape"):
        check_mask_input(tokens, mask[:, :3])
    with pytest.raises(BertError, match="0 and 1 only"):
        check_mask_input(tokens, np.full((2, 4), 2))


def test_rows_that_equal_an_attention_mask_by_right():
    """A row of padding, as fills up a batch, and a [MASK] all by itself."""
    check_mask_input(np.array([[0, 0], [MASK, 0]]), np.array([[0, 0], [1, 0]]))
    check_mask_input(np.zeros((0, 4)), np.zeros((0, 4)))


def test_windows_worked_example():
    """10 tokens, 6 places of which 2 are taken, stride 3: starts 0, 3, 6; the third ends at 10.

    Context of position 3: in window 0 (0-3) min(3, 0) = 0, in window 1 (3-6) min(0, 3) = 0; both
    are four long, so the earlier one. Position 5: window 1 has min(2, 1) = 1 and is alone.
    Position 6: window 1 min(3, 0), window 2 (6-9) min(0, 3): the earlier.
    """
    found = windows(list(range(10)), max_length=6, stride=3)
    assert found == [Window(0, [0, 1, 2, 3]), Window(3, [3, 4, 5, 6]), Window(6, [6, 7, 8, 9])]
    assert best_windows(found).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_short_last_window_can_lose_on_its_length():
    """5 tokens, room 4, stride 2: windows 0-3 and 2-4.

    Position 2: min(2, 1) + 0.04 against min(0, 2) + 0.03; position 3: min(3, 0) = 0 + 0.04
    against min(1, 1) = 1 + 0.03.
    """
    found = windows([7, 7, 7, 7, 7], max_length=6, stride=2)
    assert [(w.start, len(w.ids)) for w in found] == [(0, 4), (2, 3)]
    assert best_windows(found).tolist() == [0, 0, 0, 1, 1]


def test_windows_with_a_question_before_them():
    assert [w.start for w in windows(range(10), 12, 4, reserved=5 + 3)] == [0, 4, 8]


@given(st.integers(0, 80), st.integers(3, 40), st.integers(1, 50))
def test_windows_cover_everything(size, max_length, stride):
    ids = list(range(100, 100 + size))
    found = windows(ids, max_length, stride)
    covered = set()
    for window in found:
        assert len(window.ids) <= max_length - 2
        assert window.ids == ids[window.start : window.start + len(window.ids)]
        covered.update(range(window.start, window.start + len(window.ids)))
    assert covered == set(range(size))
    best = best_windows(found)
    assert best.shape == (size,)
    for position, index in enumerate(best):
        scores = [
            min(position - w.start, w.start + len(w.ids) - 1 - position) * 100 + len(w.ids)
            if w.start <= position < w.start + len(w.ids)
            else -1
            for w in found
        ]
        assert index == scores.index(max(scores))


def test_windows_without_sense():
    with pytest.raises(BertError, match="stride is 0"):
        windows([1], 10, 0)
    with pytest.raises(BertError, match="leaves no room"):
        windows([1], 2, 1)
