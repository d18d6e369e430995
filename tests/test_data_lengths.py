"""Tokenized rows: equal to packing one by one, kept on disk, safe there; and their lengths."""

import pathlib
import random
import re
import struct

import numpy as np
import pytest

from bert_tf.batching.lengths import LengthHistogram
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.report.histograms import draw_lengths
from bert_tf.text import SPECIAL_TOKENS, BertTokenizer, Vocabulary, pack

LETTERS = "abcdefghij"
VOCAB = Vocabulary.from_lines([*SPECIAL_TOKENS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])
TOKENIZER = BertTokenizer(VOCAB, lower_case=True)


def some_texts(count, seed, longest=12):
    rng = random.Random(seed)
    return [
        " ".join(
            "".join(rng.choices(LETTERS, k=rng.randint(1, 3)))
            for _ in range(rng.randint(0, longest))
        )
        for _ in range(count)
    ]


def rows(texts, pairs=None):
    return LabelledTexts(texts, pairs, None, [("", i) for i in range(len(texts))])


@pytest.fixture(params=["texts", "pairs"])
def data(request):
    pairs = some_texts(60, 2) if request.param == "pairs" else None
    return rows(some_texts(60, 1), pairs)


def same(one, other):
    names = ("pieces", "starts", "firsts", "full_lengths")
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in names
    ) and (one.max_seq_length, one.key) == (other.max_seq_length, other.key)


@pytest.mark.parametrize("max_seq_length", [5, 16, 200])
def test_rows_are_those_of_packing_one_by_one(data, max_seq_length, monkeypatch):
    monkeypatch.setattr("bert_tf.batching.tokenizing._PORTION", 7)
    texts = tokenize_texts(data, TOKENIZER, max_seq_length)
    tokens, segments = texts.pad(np.arange(len(data)), max_seq_length, len(data) + 3)
    assert tokens.dtype == segments.dtype == np.int32
    assert tokens.shape == segments.shape == (len(data) + 3, max_seq_length)
    assert not tokens[-3:].any()
    for index, (a, b) in enumerate(data.each()):
        ids_a = TOKENIZER.encode(a).ids
        ids_b = TOKENIZER.encode(b or "").ids
        packed = pack(ids_a, ids_b, vocab=VOCAB, max_length=max_seq_length)
        padding = [0] * (max_seq_length - len(packed.token_ids))
        assert tokens[index].tolist() == packed.token_ids + padding
        assert segments[index].tolist() == packed.segment_ids + padding
        full = len(ids_a) + 2 + (len(ids_b) + 1 if ids_b else 0)
        assert texts.full_lengths[index] == full
        assert texts.lengths[index] == min(full, max_seq_length)


def test_what_is_kept_is_found_again(data, tmp_path, monkeypatch):
    made = tokenize_texts(data, TOKENIZER, 16, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()

    def never(*_):
        raise AssertionError("tokenized again")

    with monkeypatch.context() as patch:
        patch.setattr("bert_tf.batching.tokenizing._tokenize", never)
        assert same(tokenize_texts(data, TOKENIZER, 16, tmp_path / "cache"), made)
    # Damaged in any way it is made again, and mended.
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:-1],
        whole[:200] + b"?" + whole[201:],
        b"rubbish" * 9,
        whole + b"\0",
    ):
        file.write_bytes(damaged)
        assert same(tokenize_texts(data, TOKENIZER, 16, tmp_path / "cache"), made)
        assert file.read_bytes() == whole
    assert list((tmp_path / "cache").iterdir()) == [file]


def test_the_key_has_all_that_matters():
    """Also how texts are divided: "a" + "bc" is not "ab" + "c", nor two texts a pair."""
    other = Vocabulary.from_lines([*SPECIAL_TOKENS, *reversed(LETTERS)])
    keys = [
        tokenize_texts(data, tokenizer, length).key
        for data, tokenizer, length in (
            (rows(["a", "bc"]), TOKENIZER, 16),
            (rows(["ab", "c"]), TOKENIZER, 16),
            (rows(["bc", "a"]), TOKENIZER, 16),
            (rows(["a", "bc"]), TOKENIZER, 17),
            (rows(["a", "bc"]), BertTokenizer(VOCAB, lower_case=False), 16),
            (rows(["a", "bc"]), BertTokenizer(other, lower_case=True), 16),
            (rows(["a"], ["bc"]), TOKENIZER, 16),
        )
    ]
    assert len(set(keys)) == len(keys)


def test_lone_surrogates_do_no_harm(tmp_path):
    texts = tokenize_texts(rows(["a \udce9 b"]), TOKENIZER, 16, tmp_path)
    assert same(tokenize_texts(rows(["a \udce9 b"]), TOKENIZER, 16, tmp_path), texts)


def test_a_cache_that_cannot_be_written_is_warned_of(tmp_path, data):
    place = tmp_path / "file"
    place.write_text("no folder")
    told = []
    texts = tokenize_texts(data, TOKENIZER, 16, place / "cache", told.append)
    assert same(texts, tokenize_texts(data, TOKENIZER, 16))
    assert len(told) == 1
    assert "cannot keep tokenized texts" in told[0]


def test_writers_at_once_leave_a_whole_file(tmp_path, data, monkeypatch):
    """The other writes between this one's look and its own writing."""
    whole = tokenize_texts(data, TOKENIZER, 16)

    def meanwhile(*arguments):
        monkeypatch.undo()
        tokenize_texts(data, TOKENIZER, 16, tmp_path)
        return whole

    monkeypatch.setattr("bert_tf.batching.tokenizing._tokenize", meanwhile)
    assert same(tokenize_texts(data, TOKENIZER, 16, tmp_path), whole)
    assert len(list(tmp_path.iterdir())) == 1
    assert same(tokenize_texts(data, TOKENIZER, 16, tmp_path), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((rows(["a"]), TOKENIZER, 2), "at least 3"),
        ((rows(["a"], ["b"]), TOKENIZER, 4), "at least 5"),
        ((rows(["a"]), BertTokenizer(VOCAB, True, special_tokens=True), 9), "special_tokens=False"),
    ],
)
def test_arguments_without_meaning_are_refused(arguments, message):
    with pytest.raises(BertError, match=message):
        tokenize_texts(*arguments)


# --- lengths


def of_lengths(lengths, max_seq_length):
    full = np.array(lengths, np.int32)
    kept = np.minimum(full, max_seq_length)
    starts = np.concatenate([[0], np.cumsum(kept)])
    return TokenizedTexts(np.ones(kept.sum(), np.uint16), starts, kept, full, max_seq_length, "k")


def test_the_histogram_counts_full_lengths():
    """Ten texts: 5 places six times, 8 three times, 20 once; cut at 8: one in ten."""
    histogram = LengthHistogram.of(of_lengths([5] * 6, 8), of_lengths([8, 20, 8, 8], 8))
    assert histogram.counts.tolist() == [0, 0, 0, 0, 0, 6, 0, 0, 3, *[0] * 11, 1]
    assert histogram.cut_share == 0.1
    assert [histogram.quantile(share) for share in (0.5, 0.6, 0.61, 0.9, 0.95)] == [5, 5, 8, 8, 20]
    assert str(histogram) == (
        "lengths of 10 texts in tokens: half have at most 5, 95 % 20, the longest 20; "
        "max_seq_length 8 cuts 10.0 %"
    )
    assert histogram.warning(512) is None


def test_most_texts_being_cut_is_warned_of():
    histogram = LengthHistogram.of(of_lengths([100] * 9 + [700], 32))
    assert "128 would cut few: `max_seq_length=128`" in histogram.warning(512)
    assert "64 would cut fewer: `max_seq_length=64`" in histogram.warning(64)
    assert histogram.warning(32).endswith("texts; the model takes no more")
    assert "100 %" in str(histogram)
    with pytest.raises(BertError, match="one max_seq_length"):
        LengthHistogram.of(of_lengths([5], 8), of_lengths([5], 9))


def png_size(path: pathlib.Path) -> tuple[int, int]:
    raw = path.read_bytes()
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", raw[16:24])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("lengths", "limit"),
    [([5], 128), ([5, 6, 300], 6), ([2000, 3], 512), ([7] * 3, 3), (list(range(2, 600)), 128)],
)
def test_the_picture(tmp_path, lengths, limit):
    path = tmp_path / "lengths.png"
    draw_lengths(np.bincount(lengths), limit, path)
    assert png_size(path) == (1200, 675)
    assert list(tmp_path.iterdir()) == [path]


def test_no_bar_is_of_both_kinds(tmp_path, monkeypatch):
    """Whatever the width of bars: those of each kind add up to the texts of that kind."""
    figures = []
    monkeypatch.setattr(
        "bert_tf.report.histograms.save_figure", lambda figure, _: figures.append(figure)
    )
    rng = np.random.default_rng(0)
    for limit in (1, 64, 511):
        counts = rng.integers(0, 9, 600)
        draw_lengths(counts, limit, tmp_path)
        whole, cut = figures[-1].axes[0].containers
        assert sum(bar.get_height() for bar in whole) == counts[: limit + 1].sum()
        assert sum(bar.get_height() for bar in cut) == counts[limit + 1 :].sum()
        edge = cut[0].get_x()
        assert edge == limit + 0.5


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(BertError, match="no texts"):
        draw_lengths(np.zeros(5, int), 8, tmp_path / "x.png")
    with pytest.raises(BertError, match=re.escape("cannot write")):
        draw_lengths(np.ones(5, int), 8, tmp_path / "none" / "x.png")
