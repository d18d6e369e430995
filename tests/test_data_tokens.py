"""The corpus of token ids on disk: written, opened, and divided by source."""

import gzip
import json

import numpy as np
import pytest
from placed_corpora import make_corpus

from bert_tf.data import TokenCorpus, read_documents, split_by_source, tokenize_corpus
from bert_tf.errors import BertError
from bert_tf.text import SPECIAL_TOKENS, BertTokenizer, Vocabulary

LINES = [*SPECIAL_TOKENS, "a", "b", "##c", "."]
VOCAB = Vocabulary.from_lines(LINES)

EN = ["a b.\nbc", "a\n\u200b\nzzz", "\u200b", "b"]
"""Four documents; U+200B is no blank, but is dropped, so that its lines have no token."""
DE = ["acc", "b b\na\na"]


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "en1.txt").write_text("\n\n".join(EN[:2]) + "\n", "utf-8")
    (tmp_path / "en2.txt.gz").write_bytes(gzip.compress("\n\n".join(EN[2:]).encode()))
    (tmp_path / "de.txt").write_text("\n\n".join(DE), "utf-8")
    return {"en": [tmp_path / "en1.txt", tmp_path / "en2*"], "de": [tmp_path / "de.txt"]}


def tokenizer(vocab=VOCAB):
    return BertTokenizer(vocab, lower_case=False)


def test_all_arrays_by_hand(texts, tmp_path):
    """Ids: a 5, b 6, ##c 7, "." 8, [UNK] 1 for zzz.

    en: "a b." 5 6 8, "bc" 6 7 | "a" 5, "zzz" 1 | (left out) | "b" 6
    de: "acc" 5 7 7 | "b b" 6 6, "a" 5, "a" 5
    """
    sources = {"en": ["x", "y", "z", "x"]}
    corpus = tokenize_corpus(texts, tokenizer(), tmp_path / "new" / "out", sources=sources)
    assert corpus.tokens.dtype == np.uint16
    assert corpus.tokens.tolist() == [5, 6, 8, 6, 7, 5, 1, 6, 5, 7, 7, 6, 6, 5, 5]
    assert corpus.sentences.tolist() == [0, 3, 5, 6, 7, 8, 11, 13, 14, 15]
    assert corpus.documents.tolist() == [0, 2, 4, 5, 6, 9]
    # x, y, z are 0 to 2, z's document left out; what has no source named stands alone.
    assert corpus.sources.tolist() == [0, 1, 0, 3, 4]
    assert corpus.groups.tolist() == [0, 0, 0, 1, 1]
    assert [a.dtype for a in (corpus.sentences, corpus.documents)] == [np.int64] * 2
    assert [a.dtype for a in (corpus.sources, corpus.groups)] == [np.int32] * 2
    assert corpus.group_names == ("en", "de")
    assert (corpus.vocab_size, corpus.lower_case) == (len(VOCAB), False)
    assert corpus.document_pieces().tolist() == [5, 2, 1, 3, 4]
    assert len(corpus) == 5
    assert corpus.info["counts"] == {
        "en": {"documents": 3, "sentences": 5, "pieces": 8, "unknown": 1},
        "de": {"documents": 2, "sentences": 4, "pieces": 7, "unknown": 0},
    }
    assert corpus.info["sources"] == 5
    corpus.check_vocabulary(VOCAB)
    with pytest.raises(BertError, match="another vocabulary"):
        corpus.check_vocabulary(Vocabulary.from_lines([*LINES, "d"]))
    # Nothing is left of the work, and folders get the user's own permissions.
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "new" / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_batches_do_not_show_in_the_result(texts, tmp_path, monkeypatch):
    whole = tokenize_corpus(texts, tokenizer(), tmp_path / "whole")
    monkeypatch.setattr("bert_tf.data.pretraining.tokens._BATCH", 2)
    parts = tokenize_corpus(texts, tokenizer(), tmp_path / "parts")
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == [
        "corpus.json",
        "documents.npy",
        "groups.npy",
        "sentences.npy",
        "sources.npy",
        "tokens.bin",
        "vocab.txt",
    ]
    for name in names:
        assert (whole.folder / name).read_bytes() == (parts.folder / name).read_bytes()


def test_sentences_are_what_the_tokenizer_says(texts, tmp_path):
    corpus = tokenize_corpus(texts, tokenizer(), tmp_path / "out")
    wanted = [
        tokenizer().encode_exactly(line).ids
        for path in (tmp_path / "en1.txt", tmp_path / "en2.txt.gz", tmp_path / "de.txt")
        for document in read_documents(path)
        for line in document
    ]
    found = np.split(corpus.tokens, corpus.sentences[1:-1])
    assert [part.tolist() for part in found] == [ids for ids in wanted if ids]


def test_large_vocabularies_take_four_bytes_a_piece(texts, tmp_path):
    vocab = Vocabulary.from_lines([*LINES, *(f"w{i}" for i in range(1 << 16)), "zzz"])
    corpus = tokenize_corpus(texts, tokenizer(vocab), tmp_path / "out")
    assert corpus.tokens.dtype == np.int32
    assert corpus.tokens[6] == len(vocab) - 1
    assert corpus.tokens.nbytes == (corpus.folder / "tokens.bin").stat().st_size


def test_warnings_stand_in_the_corpus(texts, tmp_path, caplog):
    (tmp_path / "de.txt").write_text("a\n\nb\n\na b\n\na")
    warnings = tokenize_corpus(texts, tokenizer(), tmp_path / "out").info["remarks"]
    assert len(warnings) == 1
    assert "in de 4 of 4 documents are of one sentence" in warnings[0]
    assert caplog.messages == warnings


def test_text_that_is_not_utf8_is_counted_or_refused(texts, tmp_path, caplog):
    """The example of the report: 12 sentences in cp1251 gave tokens, with none unknown."""
    (tmp_path / "ru.txt").write_bytes("Он пришёл в a b.\n".encode("cp1251") * 12)
    with pytest.raises(BertError, match=r"ru\.txt:1: the text is not UTF-8, 12 of 12 lines"):
        tokenize_corpus({"ru": [tmp_path / "ru.txt"]}, tokenizer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "de.txt").write_bytes(b"a\nb\n\nb\xff b\na")
    info = tokenize_corpus(texts, tokenizer(), tmp_path / "out").info
    path = tmp_path / "de.txt"
    warning = f"1 of 4 lines have bytes that are not UTF-8, which are dropped: {path}:4"
    assert info["remarks"] == caplog.messages == [warning]
    assert info["counts"]["de"] == {"documents": 2, "sentences": 4, "pieces": 5, "unknown": 0}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"en": ["x"] * 3}, "3 sources are given for en, but it has more documents"),
        ({"en": ["x"] * 5}, "5 sources are given for en, but it has 4 documents"),
        ({"en": []}, "0 sources"),
        ({"fr": ["x"]}, "sources are given for fr, but no files"),
    ],
)
def test_sources_that_do_not_fit_are_refused(texts, tmp_path, sources, message):
    with pytest.raises(BertError, match=message):
        tokenize_corpus(texts, tokenizer(), tmp_path / "out" / "in", sources=sources)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_what_cannot_be_tokenized_is_refused(texts, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(BertError, match="the files of xx hold no text"):
        tokenize_corpus({"xx": [tmp_path / "blank.txt"]}, tokenizer(), out)
    with pytest.raises(BertError, match="no input files"):
        tokenize_corpus({}, tokenizer(), out)
    with pytest.raises(BertError, match="special_tokens"):
        tokenize_corpus(texts, BertTokenizer(VOCAB, False, special_tokens=True), out)
    with pytest.raises(BertError, match="exists and is not empty"):
        tokenize_corpus(texts, tokenizer(), tmp_path)
    with pytest.raises(BertError, match="exists and is not empty"):
        tokenize_corpus(texts, tokenizer(), tmp_path / "de.txt")
    with pytest.raises(BertError, match="cannot write"):
        tokenize_corpus(texts, tokenizer(), tmp_path / "de.txt" / "out")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]


def test_an_empty_folder_is_filled(texts, tmp_path):
    (tmp_path / "out").mkdir()
    assert len(tokenize_corpus(texts, tokenizer(), tmp_path / "out")) == 5


def test_what_is_no_complete_corpus_is_refused(texts, tmp_path):
    folder = tokenize_corpus(texts, tokenizer(), tmp_path / "out").folder
    info = json.loads((folder / "corpus.json").read_text())

    def refused(message, **options):
        with pytest.raises(BertError, match=message):
            TokenCorpus.open(folder, **options)

    (folder / "corpus.json").write_text(json.dumps({**info, "format": 2}))
    refused("another format")
    (folder / "corpus.json").write_text(json.dumps(info)[:50])
    refused("is not valid JSON")
    (folder / "corpus.json").write_text(json.dumps({"format": 1}))
    refused("damaged: corpus.json has no valid groups")
    (folder / "corpus.json").write_text(json.dumps({**info, "vocab_size": 9.0}))
    refused("damaged: corpus.json has no valid vocab_size")
    (folder / "corpus.json").write_text(json.dumps({**info, "sources": 77}))
    refused("damaged: the checksum of corpus.json is wrong")
    (folder / "corpus.json").write_text(json.dumps(info))
    assert len(TokenCorpus.open(folder)) == 5
    tokens = (folder / "tokens.bin").read_bytes()
    (folder / "tokens.bin").write_bytes(tokens[:-2])
    refused("the checksum of tokens.bin is wrong")
    refused("do not fit together", verify=False)
    (folder / "tokens.bin").write_bytes(tokens[:-1])
    refused("damaged", verify=False)
    (folder / "tokens.bin").write_bytes(tokens)
    assert len(TokenCorpus.open(folder)) == 5
    (folder / "groups.npy").unlink()
    refused("damaged: .*No such file")
    (folder / "corpus.json").unlink()
    refused("no corpus.json")


def old(folder):
    """The corpus as version 0.1.0 wrote it: without checksums."""
    info = json.loads((folder / "corpus.json").read_text())
    del info["crc32c"]
    (folder / "corpus.json").write_text(json.dumps(info))
    return info


@pytest.fixture
def written(texts, tmp_path):
    """The folder of a corpus."""
    return tokenize_corpus(texts, tokenizer(), tmp_path / "out").folder


def test_a_corpus_without_checksums_is_opened(written):
    tokens = TokenCorpus.open(written).tokens.tolist()
    assert json.loads((written / "corpus.json").read_text())["crc32c"]["tokens.bin"]
    old(written)
    assert TokenCorpus.open(written).tokens.tolist() == tokens


@pytest.mark.parametrize("length", [0, 5, 20, -1])
@pytest.mark.parametrize("name", ["documents.npy", "groups.npy", "tokens.bin"])
def test_cut_files_are_refused(written, name, length):
    (written / name).write_bytes((written / name).read_bytes()[:length])
    with pytest.raises(BertError, match=f"damaged: the checksum of {name} is wrong"):
        TokenCorpus.open(written)
    with pytest.raises(BertError, match="damaged"):
        TokenCorpus.open(written, verify=False)
    old(written)
    with pytest.raises(BertError, match="damaged"):
        TokenCorpus.open(written)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("tokens", 3, 9, "tokens.bin has numbers that are not from 0 to 8"),
        ("sentences", 0, 1, "do not fit together"),
        ("sentences", 2, 3, "the numbers in sentences.npy do not rise"),
        ("sentences", 2, -(2**63), "the numbers in sentences.npy do not rise"),
        ("documents", 3, 10**12, "the numbers in documents.npy do not rise"),
        ("documents", -1, 8, "do not fit together"),
        ("groups", 0, 1, "the numbers in groups.npy do not rise"),
        ("groups", -1, 2, "groups.npy has numbers that are not from 0 to 1"),
        ("sources", 1, -1, "sources.npy has numbers that are not from 0 to 5"),
    ],
)
def test_numbers_out_of_range_are_refused(written, name, place, value, message):
    """The vocabulary has 9 tokens; there are 6 sources, of which one has no token."""
    path = written / ("tokens.bin" if name == "tokens" else f"{name}.npy")
    array = np.memmap(path, "<u2", "r+") if name == "tokens" else np.load(path, mmap_mode="r+")
    array[place] = value
    array.flush()
    with pytest.raises(BertError, match=f"the checksum of {path.name} is wrong"):
        TokenCorpus.open(written)
    old(written)
    with pytest.raises(BertError, match=f"is damaged: .*{message}"):
        TokenCorpus.open(written)


def test_whole_sources_are_held_out_about_as_many_pieces_as_asked():
    """Sources of 20 to 60 pieces: a target of 400 is met to a twentieth, for which one fits."""
    rng = np.random.default_rng(0)
    groups = {
        name: [[[10] * int(n) for n in rng.integers(1, 4, 2)] for _ in range(100)]
        for name in ("en", "de")
    }
    corpus = make_corpus(groups)
    held_out = split_by_source(corpus, 400, seed=1)
    assert held_out.dtype == bool
    assert held_out.shape == (400,)
    for group in (0, 1):
        own = held_out & (corpus.groups == group)
        assert 380 <= corpus.document_pieces()[own].sum() <= 400
    assert not set(corpus.sources[held_out]) & set(corpus.sources[~held_out])
    assert (held_out == split_by_source(corpus, 400, seed=1)).all()
    assert (held_out != split_by_source(corpus, 400, seed=2)).any()
    assert not split_by_source(corpus, 0, seed=1).any()


@pytest.mark.parametrize(("wanted", "held"), [(1, [2, 3]), (10**9, None)])
def test_two_sources_are_left_on_each_side(wanted, held):
    """Sizes 50, 40, 10, 20, 30: for one token none fits, so the two smallest are taken."""
    corpus = make_corpus({"en": [[[n]] for n in (50, 40, 10, 20, 30)]})
    held_out = split_by_source(corpus, wanted, seed=0)
    assert 2 <= held_out.sum() <= 3
    if held is not None:
        assert np.flatnonzero(held_out).tolist() == held


def test_too_few_sources_cannot_be_divided():
    corpus = make_corpus({"en": [[[5], [5]], [[5]], [[5]]]})
    with pytest.raises(BertError, match="en has 3 sources, too few"):
        split_by_source(corpus, 5, seed=0)
    with pytest.raises(BertError, match="at least 0"):
        split_by_source(corpus, -1, seed=0)
