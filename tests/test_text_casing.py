"""The argument, then the name, then the vocabulary decide; an obvious contradiction is an error."""

import pathlib

import pytest

from bert_tf.errors import BertError
from bert_tf.text import Vocabulary, infer_casing

GOLDEN = pathlib.Path(__file__).parent / "golden"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED = Vocabulary.load(GOLDEN / "uncased_30522_vocab.txt")
# 200 words, half of them capitalised, and Hangul, which decomposes without having accents.
CASED = Vocabulary.from_lines(
    [*SPECIAL, *(f"{a}x{b}" for a in "abcdefghijABCDEFGHIJ" for b in "qrstuvwxyz")], "cased.txt"
)
HANGUL = Vocabulary.from_lines([*SPECIAL, *map(chr, range(0xAC00, 0xAE00))])
SILENT = Vocabulary.from_lines([*SPECIAL, "a"], "silent.txt")


@pytest.mark.parametrize(
    ("name", "lower_case"),
    [
        ("uncased_L-12_H-768_A-12", True),
        ("wwm_uncased_L-24_H-1024_A-16.zip", True),
        ("cased_L-12_H-768_A-12", False),
        ("multi_cased_L-12_H-768_A-12", False),
        ("multilingual_L-12_H-768_A-12", True),
        ("chinese_L-12_H-768_A-12", True),
        ("bert-base-multilingual-cased", False),
        ("BERT-Base-Uncased", True),
        ("models/uncased_L-12/bert_model.ckpt", True),
        ("cased_models/uncased_L-12", True),
        ("C:\\models\\rubert_cased", False),
    ],
)
def test_names(name, lower_case):
    found, warning = infer_casing(name, SILENT)
    assert found is lower_case
    assert warning is not None
    assert name in warning


@pytest.mark.parametrize(
    ("vocab", "lower_case", "words"),
    [
        (UNCASED, True, "0.0% of the tokens"),
        (CASED, False, "50.0% of the tokens"),
        (HANGUL, True, "0.0% of the tokens"),
        (SILENT, True, "is a guess"),
    ],
)
@pytest.mark.parametrize("name", [None, "", "my_model", "showcased", "casedish/model"])
def test_vocabularies(vocab, lower_case, words, name):
    found, warning = infer_casing(name, vocab)
    assert found is lower_case
    assert words in str(warning)
    assert "lower_case=" in str(warning)
    assert "Pass `lower_case=" in str(warning)


def test_an_argument_decides_quietly_where_nothing_speaks_against_it():
    assert infer_casing("uncased_L-12", UNCASED, True) == (True, None)
    assert infer_casing("cased_L-12", CASED, False) == (False, None)
    assert infer_casing(None, SILENT, False) == (False, None)
    assert infer_casing(None, UNCASED, True) == (True, None)


@pytest.mark.parametrize("vocab", [UNCASED, SILENT])
def test_contradiction_on_an_uncased_model(vocab):
    with pytest.raises(BertError) as caught:
        infer_casing("uncased_L-12_H-768_A-12", vocab, lower_case=False)
    for words in ("uncased_L-12_H-768_A-12", "`lower_case=True`"):
        assert words in str(caught.value)


@pytest.mark.parametrize("vocab", [CASED, SILENT])
def test_contradiction_on_a_cased_model(vocab):
    with pytest.raises(BertError, match=r"Pass `lower_case=False`, or leave it out"):
        infer_casing("multi_cased_L-12_H-768_A-12", vocab, lower_case=True)


def test_the_vocabulary_can_back_an_argument_against_the_name():
    found, warning = infer_casing("uncased_L-12", CASED, lower_case=False)
    assert found is False
    assert "although the name" in str(warning)


def test_a_vocabulary_alone_only_gives_a_warning():
    """A Japanese model can well be cased without a capital: its accents are what counts."""
    found, warning = infer_casing("my_model", UNCASED, lower_case=False)
    assert found is False
    assert "become [UNK]" in str(warning)
    assert infer_casing(None, CASED, lower_case=True)[0] is True


def test_a_name_that_the_vocabulary_contradicts_is_followed_with_a_warning():
    found, warning = infer_casing("cased_L-12", UNCASED)
    assert found is False
    assert "check it" in str(warning)
