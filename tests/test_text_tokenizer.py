"""The tokenizer equals the original's outputs; offsets, special tokens, decoding."""

import itertools
import json
import pathlib
import pickle
import string
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_tf.errors import BertError
from bert_tf.text import BertTokenizer, Encoding, Vocabulary

GOLDEN = pathlib.Path(__file__).parent / "golden"
VOCABULARIES = {
    "tiny": GOLDEN / "tiny_ckpt" / "vocab.txt",
    "uncased30522": GOLDEN / "uncased_30522_vocab.txt",
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def golden_rows(name):
    with open(GOLDEN / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def small(*pieces, lower_case=True, special_tokens=False):
    """A tokenizer with ids 0 to 4 for the special tokens and 5, 6, ... for `pieces`."""
    return BertTokenizer(Vocabulary.from_lines([*SPECIAL, *pieces]), lower_case, special_tokens)


@pytest.fixture(scope="module")
def tokenizers():
    vocabularies = {name: Vocabulary.load(path) for name, path in VOCABULARIES.items()}
    return {
        (name, casing): BertTokenizer(vocab, lower_case=casing == "uncased")
        for name, vocab in vocabularies.items()
        for casing in ("cased", "uncased")
    }


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("casing", ["cased", "uncased"])
@pytest.mark.parametrize(
    ("file", "count"),
    [("tokenization_golden.jsonl", 411), ("tokenization_bytes_golden.jsonl", 10)],
)
def test_equals_the_original(tokenizers, name, casing, file, count):
    tokenizer = tokenizers[name, casing]
    rows = golden_rows(file)
    assert len(rows) == count
    texts = [bytes.fromhex(r["bytes_hex"]) if "bytes_hex" in r else r["text"] for r in rows]
    batch = tokenizer.encode_batch(texts)
    quick = tokenizer.encode_ids_batch(texts)
    for index, (row, text) in enumerate(zip(rows, texts, strict=True)):
        expected = row[name][casing]
        assert tokenizer.words(text) == row["basic"][casing]
        assert tokenizer.tokenize(text) == expected["tokens"]
        for found in (tokenizer.encode(text), tokenizer.encode_exactly(row["text"]), batch[index]):
            assert found.tokens == expected["tokens"]
            assert found.ids == expected["ids"]
        assert quick[index] == expected["ids"]


def test_worked_example():
    """Unaffable, café: 4 steps by hand.

    Lower-cased and without accents: "unaffable, cafe". Split at punctuation: unaffable | , |
    cafe. Longest token first: "un" ("una..." is none), then ##aff, then ##able; the comma; "ca"
    and then ##fe. The é was one character, so the offsets are those of the text as it looks.
    """
    tokenizer = small("un", "##aff", "##able", "##a", ",", "ca", "##fe", "##f")
    assert tokenizer.encode("Unaffable, café") == Encoding(
        ids=[5, 6, 7, 9, 10, 11],
        tokens=["un", "##aff", "##able", ",", "ca", "##fe"],
        offsets=[(0, 2), (2, 5), (5, 9), (9, 10), (11, 13), (13, 15)],
    )


def test_offsets_count_what_was_dropped():
    """A decomposed é is two code points, and a zero-width space is dropped.

    Positions: c0 a1 f2 e3 U+0301 4, space 5, a6 U+200B 7 b8. The accent belongs to the e.
    """
    tokenizer = small("cafe", "a", "##b")
    found = tokenizer.encode("cafe\u0301 a\u200bb")
    assert found.tokens == ["cafe", "a", "##b"]
    assert found.offsets == [(0, 5), (6, 7), (8, 9)]


def test_offsets_of_jamo_are_their_syllable():
    """한 is taken apart into three jamo, all from position 0; й keeps its place as и."""
    tokenizer = small("\u1112", "##\u1161", "##\u11ab", "и")
    found = tokenizer.encode("한 й")
    assert found.ids == [5, 6, 7, 8]
    assert found.offsets == [(0, 1), (0, 1), (0, 1), (2, 3)]


def test_offsets_of_an_unknown_word_span_it():
    found = small("x").encode("x (naïve")
    assert found.tokens == ["x", "[UNK]", "[UNK]"]
    assert found.offsets == [(0, 1), (2, 3), (3, 8)]


def test_offsets_beyond_the_basic_plane_are_code_points():
    found = small("x", "y").encode("x \U0001f600 y")
    assert found.offsets == [(0, 1), (2, 3), (4, 5)]


def test_final_sigma():
    """ΣΑΣ: σ where the word goes on, ς at its end; across a hyphen, ς too."""
    assert small().words("ΣΑΣ") == ["σας"]
    tokenizer = small("σας", "σ")
    assert tokenizer.tokenize("ΣΑΣ Σ") == ["σας", "σ"]
    assert tokenizer.encode_ids_batch(["ΣΑΣ Σ"]) == [[5, 6]]


def test_word_length_limit_is_200_after_the_clean_up():
    tokenizer = small("a", "##a")
    assert len(tokenizer.tokenize("a" * 200)) == 200
    assert tokenizer.tokenize("a" * 201) == ["[UNK]"]
    assert len(tokenizer.tokenize("a\u0301\u200b" * 200)) == 200


def test_cased_mode_normalises_nothing():
    assert small(lower_case=False).words("É e\u0301 ﬁ Σας") == ["É", "e\u0301", "ﬁ", "Σας"]


def test_special_tokens_stay_whole_only_on_request():
    text = "CC[MASK]O[SEP] [CLS][mask]"
    pieces = ["cc", "o", "[", "]", "mask", "sep", "cl", "##s"]
    split = ["cc", "[", "mask", "]", "o", "[", "sep", "]", "[", "cl", "##s", "]"]
    assert small(*pieces).tokenize(text) == [*split, "[", "mask", "]"]
    found = small(*pieces, special_tokens=True).encode(text)
    assert found.tokens == ["cc", "[MASK]", "o", "[SEP]", "[CLS]", "[", "mask", "]"]
    assert found.offsets[:3] == [(0, 2), (2, 8), (8, 9)]
    assert [text[start:end] for start, end in found.offsets[3:5]] == ["[SEP]", "[CLS]"]


@pytest.mark.parametrize("text", ["[MASK]\u0301x", "\ud800[MASK]x", "ΑΣ[MASK]ΑΣ", "[PAD][UNK]"])
def test_special_tokens_next_to_odd_characters(text):
    tokenizer = small("x", "ας", "[", "]", "pad", "unk", special_tokens=True)
    found = tokenizer.encode(text)
    assert found == tokenizer.encode_exactly(text)
    assert found.tokens.count("[MASK]") == text.count("[MASK]")
    assert {text[s:e] for t, (s, e) in zip(found.tokens, found.offsets) if t == "[MASK]"} <= {
        "[MASK]"
    }
    assert "[PAD]" not in found.tokens  # attention would not see it


def test_vocabulary_with_odd_lines():
    """Ids are line numbers as the original counts them: the later `dup` wins, blanks count."""
    tokenizer = BertTokenizer(Vocabulary.load(GOLDEN / "vocab_quirks" / "vocab.txt"), True)
    assert tokenizer.encode("dup padded crlf midcr").ids == [10, 6, 22, 23]


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_not_a_text(text):
    tokenizer = small()
    with pytest.raises(BertError, match="must be str or bytes"):
        tokenizer.encode(text)
    with pytest.raises(BertError, match="must be str or bytes"):
        tokenizer.encode_batch([text])


def test_one_text_is_not_a_batch():
    for call in (small().encode_batch, small().encode_ids_batch):
        with pytest.raises(BertError, match="not one text"):
            call("abc")


def test_batches_take_any_iterable_and_may_be_empty():
    tokenizer = small("a")
    assert tokenizer.encode_ids_batch(iter(["a", b"a a", ""])) == [[5], [5, 5], []]
    assert tokenizer.encode_ids_batch(np.array(["a", "a\ue000"])) == [[5], [1]]
    assert tokenizer.encode_batch([]) == tokenizer.encode_ids_batch([]) == []


def test_large_batches_are_put_together_in_order():
    tokenizer = small("a", "b", "\ue000")
    texts = ["a", "b", "\ue000", "a b", "\x1ca b"] * 4000
    expected = [[5], [6], [7], [5, 6], [5, 6]] * 4000
    assert tokenizer.encode_ids_batch(texts) == expected
    assert [found.ids for found in tokenizer.encode_batch(texts)] == expected


def test_pickles():
    tokenizer = pickle.loads(pickle.dumps(small("un", "##aff")))
    assert tokenizer.tokenize("unaff") == ["un", "##aff"]


TEXTS = st.text(st.characters() | st.sampled_from(string.printable + "é中한й\u0301Σ"))


@given(TEXTS | st.binary())
@settings(max_examples=300, deadline=None)
def test_any_text_gives_consistent_results(tokenizers, text):
    source = text.decode("utf-8", "ignore") if isinstance(text, bytes) else text
    for (_, casing), tokenizer in tokenizers.items():
        ids, tokens, offsets = tokenizer.encode(text)
        assert len(ids) == len(tokens) == len(offsets)
        assert [tokenizer.vocab.token(id) for id in ids] == tokens
        assert all(0 <= start < end <= len(source) for start, end in offsets)
        for (start, end), (next_start, next_end) in itertools.pairwise(offsets):
            assert start <= next_start
            assert end <= next_end
        # Not in cased mode: an accent can be a token there, and it takes none with it here.
        if casing == "uncased":
            for _, end in offsets:
                assert end == len(source) or unicodedata.category(source[end]) != "Mn"
        tokenizer.decode(ids)


@given(st.text(st.characters(exclude_characters="Σ") | st.sampled_from(" ab,é"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_the_source_of_a_word_gives_its_pieces_again(tokenizers, text):
    """True but for a capital sigma, which looks at its neighbours."""
    for tokenizer in tokenizers.values():
        found = tokenizer.encode(text)
        starts = [i for i, t in enumerate(found.tokens) if not t.startswith("##")]
        for first, after in zip(starts, [*starts[1:], len(found.tokens)]):
            start, end = found.offsets[first][0], found.offsets[after - 1][1]
            if len({*found.offsets[first:after]}) == after - first and (
                first == 0 or found.offsets[first - 1][1] <= start
            ):
                assert tokenizer.tokenize(text[start:end]) == found.tokens[first:after]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ("un ##aff ##able , he said .", "unaffable, he said."),
        ("don ' t stop - gap it !", "don't stop-gap it!"),
        ('he said " no " ( twice ) .', 'he said "no" (twice).'),
        (
            "it costs $ 3 . 50 , or 1 , 000 yen ; at 12 : 30",
            "it costs $3.50, or 1,000 yen; at 12:30",
        ),
        ("日 本 語 の 。 ok 中 国", "日本語の。 ok 中国"),
        ("a . b ( c . )", "a. b (c.)"),
        ("x = y & z … the dogs ' house", "x = y & z… the dogs'house"),
        ("« да » — нет", "«да» — нет"),
        ("[CLS] a [MASK] . [SEP]", "[CLS] a [MASK]. [SEP]"),
        ("##ing", "##ing"),
        ("", ""),
    ],
)
def test_decode(pieces, expected):
    pieces = pieces.split()
    tokenizer = small(*dict.fromkeys(p for p in pieces if p not in SPECIAL))
    assert tokenizer.decode(map(tokenizer.vocab.id, pieces)) == expected


def test_decode_composes_jamo_and_skips_special_tokens():
    tokenizer = small("\u1112", "##\u1161", "##\u11ab")
    assert tokenizer.decode([2, *tokenizer.encode("한").ids, 3], skip_special=True) == "한"
    assert tokenizer.decode([99]) == "[unused]"
    with pytest.raises(BertError, match="-1"):
        tokenizer.decode([-1])
