"""Training a vocabulary: word counts, the choice of characters, balance, layout, and the fit."""

import gzip
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from bert_tf.data.pretraining.vocabulary import (
    HEAD,
    balanced_words,
    covering,
    save_vocabulary,
    smoothed_shares,
    train_vocabulary,
)
from bert_tf.data.pretraining.word_counts import WordCounts, count_words
from bert_tf.errors import BertError
from bert_tf.files.whole import check_output
from bert_tf.text import BertTokenizer, Vocabulary
from bert_tf.text.exact import is_cjk, split_words
from bert_tf.text.tokenizer import split_pieces

LATIN = ["ba", "ne", "Ti", "ro", "su", "lé", "mo", "ka", "ding", "er"]
CYRILLIC = ["ми", "Ро", "за", "ни", "ёл", "дом", "ка", "ть"]
KANA = ["する", "の", "カメラ", "です", "まで"]
IDEOGRAPHS = "日本語中文東京山川人大小上下火水木金土"


def words_of(syllables, number, seed):
    """Random words, the n-th as frequent as 1 / n."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(60)]
    return rng.choices(words, [1 / (rank + 1) for rank in range(60)], k=number)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three groups of one file each; the first is ten times as long as the second."""
    folder = tmp_path_factory.mktemp("corpus")
    latin = words_of(LATIN, 5000, 1)
    cyrillic = words_of(CYRILLIC, 500, 2)
    rng = random.Random(3)
    japanese = [rng.choice(IDEOGRAPHS) + word for word in words_of(KANA, 500, 3)]
    files = {}
    for name, words, join in (("la", latin, " "), ("ru", cyrillic, ", "), ("ja", japanese, "")):
        lines = [join.join(words[start : start + 10]) + "." for start in range(0, len(words), 10)]
        path = folder / f"{name}.txt.gz"
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
        files[name] = [path]
    return files


@pytest.fixture(scope="module")
def trained(corpus):
    return train_vocabulary(corpus, 300, lower_case=False)


def lines_of(files):
    for paths in files.values():
        for path in paths:
            yield from gzip.decompress(path.read_bytes()).decode().split("\n")


# What the clean-up, the ideographs, the punctuation and the casing treat in ways of their own.
ODD = st.text(
    st.sampled_from("aBß ΣσİéÄ,.!$-\t\n\r\x0b\x0c\x1c\x1f\x85\x00\ufffd\u200b\u00ad\u2028\u3000")
    | st.sampled_from("日本\uf900\U00020000カがの한글ㄱё\u0301\u0345a"),
    max_size=30,
)


@settings(deadline=None, max_examples=300)
@given(st.lists(ODD, max_size=6), st.booleans())
def test_words_are_those_of_the_tokenizer(texts, lower_case):
    """Against the plain-Python tokenizer, text by text; chunks are split after every other one."""
    wanted = Counter(word.text for text in texts for word in split_words(text, lower_case))
    counts = WordCounts(lower_case, max_chunks=2)
    counts.add(texts)
    counts.finish()
    assert counts.words == wanted
    assert counts.total == wanted.total()
    assert counts.characters == Counter("".join(wanted.elements()))
    assert counts.inner == {c for word in wanted for c in word[1:]}


def test_many_distinct_words_take_bounded_memory():
    """1,000 words that occur once are forgotten, one that occurs 1,000 times is not."""
    counts = WordCounts(lower_case=False, max_chunks=50, max_words=100)
    for number in range(1000):
        counts.add([f"rare{number} often"])
        assert len(counts.words) <= 100
        assert len(counts._chunks) <= 51
    counts.finish()
    assert counts.words["often"] == 1000
    assert counts.total == 2000
    assert counts.characters["o"] == 1000
    assert counts.characters["r"] == 2000


def test_the_layout_is_googles(trained):
    vocab = trained.vocabulary
    pieces = list(vocab.pieces)
    assert len(vocab) == 300
    assert vocab.warnings == ()
    assert (vocab.pad_id, vocab.unk_id, vocab.cls_id, vocab.sep_id, vocab.mask_id) == (
        *(0, 100),
        *(101, 102, 103),
    )
    assert pieces[1:100] == [f"[unused{number}]" for number in range(1, 100)]
    singles = pieces[104 : 104 + trained.characters]
    inside = pieces[104 + trained.characters :][: trained.continuations]
    longer = pieces[300 - trained.longer :]
    assert len(HEAD) + len(singles) + len(inside) + len(longer) == 300
    assert singles == sorted(singles)
    assert all(len(piece) == 1 for piece in singles)
    assert inside == sorted(inside)
    assert all(piece.startswith("##") and len(piece) == 3 for piece in inside)
    assert all(len(piece.removeprefix("##")) > 1 for piece in longer)
    assert len(set(pieces)) == 300


def test_frequent_characters_are_pieces_in_each_place_they_take(corpus, trained):
    """All letters here are frequent, and so are all ideographs; none of these goes on a word."""
    words = Counter(word.text for line in lines_of(corpus) for word in split_words(line, False))
    for word in words:
        assert set(word) <= set(trained.vocabulary.ids)
        assert {"##" + character for character in word[1:]} <= set(trained.vocabulary.ids)
    assert not any(is_cjk(piece[-1]) for piece in trained.vocabulary.ids if piece[:2] == "##")
    assert set(IDEOGRAPHS) <= set(trained.vocabulary.ids)


def test_the_fit_is_what_the_tokenizer_does(corpus, trained):
    """Tokens, words and unknown words of each group, counted again text by text."""
    vocab = trained.vocabulary
    for group in trained.groups:
        words = [
            word.text
            for line in lines_of({group.name: corpus[group.name]})
            for word in split_words(line, False)
        ]
        split = [split_pieces(word, vocab.ids, vocab.longest) for word in words]
        assert group.words == len(words)
        assert group.characters == sum(map(len, words))
        assert group.pieces == sum(map(len, split))
        assert group.unknown == sum(parts[0][0] == "[UNK]" for parts in split) == 0


@pytest.mark.parametrize("lower_case", [False, True])
def test_tokenizers_agree_on_it(corpus, tmp_path, lower_case):
    vocab = train_vocabulary(corpus, 300, lower_case).vocabulary
    vocab.save(tmp_path / "vocab.txt")
    assert Vocabulary.load(tmp_path / "vocab.txt").warnings == ()
    ours = BertTokenizer(vocab, lower_case)
    theirs = BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=lower_case)
    for line in lines_of(corpus):
        wanted = theirs.encode(line, add_special_tokens=False).ids
        assert ours.encode(line).ids == ours.encode_exactly(line).ids == wanted
        assert vocab.unk_id not in wanted


def test_lower_casing_leaves_no_capital_and_no_accent(corpus, trained):
    lower = train_vocabulary(corpus, 300, lower_case=True).vocabulary
    pieces = lower.pieces[104:]
    assert all(piece == piece.lower() for piece in pieces)
    assert not {"é", "ё", "T", "##é"} & set(pieces)
    assert {"é", "T"} <= set(trained.vocabulary.pieces)


def test_the_same_text_gives_the_same_pieces(corpus, trained):
    """The trainer's hash tables differ from run to run, also in one process."""
    for _ in range(3):
        assert train_vocabulary(corpus, 300, lower_case=False) == trained


def test_more_frequent_pairs_are_merged_first(tmp_path):
    """Of `xy` six times, `xyz` three times and `uv` twice.

    x-##y occurs nine times, ##y-##z or xy-##z three times, u-##v twice, in this order.
    """
    (tmp_path / "a.txt").write_text("xy " * 6 + "xyz " * 3 + "uv " * 2)
    vocab = train_vocabulary({"a": [tmp_path / "a.txt"]}, 104 + 5 + 3 + 3, False).vocabulary
    assert vocab.pieces[104:] == (*"uvxyz", "##v", "##y", "##z", "xy", "xyz", "uv")


def test_every_longer_piece_is_used(corpus):
    """Steps on the way to a longer token that no word is split into are not kept.

    Of 240 tokens, that is: far fewer than the texts have words, which would all be tokens else.
    """
    trained = train_vocabulary(corpus, 240, lower_case=False)
    vocab = trained.vocabulary
    words = {word.text for line in lines_of(corpus) for word in split_words(line, False)}
    used = {part[0] for word in words for part in split_pieces(word, vocab.ids, vocab.longest)}
    assert set(vocab.pieces[240 - trained.longer :]) <= used


def test_a_small_language_gets_more_than_its_share(corpus):
    """Tokens with Cyrillic letters, at the true shares and at equal ones."""

    def cyrillic(smoothing):
        both = {"la": corpus["la"], "ru": corpus["ru"]}
        pieces = train_vocabulary(both, 190, False, smoothing=smoothing).vocabulary.pieces
        return sum(
            "Ѐ" <= piece[-1] <= "ӿ" and len(piece.removeprefix("##")) > 1 for piece in pieces
        )

    assert cyrillic(0.0) > cyrillic(0.7) > cyrillic(1.0)


def test_shares_are_smoothed():
    """10,000**0.5 = 100 and 100**0.5 = 10: 100 / 110 and 10 / 110, not 100 / 101 and 1 / 101."""
    sizes = {"en": 10_000, "is": 100}
    assert smoothed_shares(sizes, 0.5) == pytest.approx({"en": 100 / 110, "is": 10 / 110})
    assert smoothed_shares(sizes, 1) == pytest.approx({"en": 100 / 101, "is": 1 / 101})
    assert smoothed_shares(sizes, 0) == pytest.approx({"en": 0.5, "is": 0.5})


def test_words_are_repeated_by_share_and_count():
    """Two groups of equal share.

    One has 8 characters, 3 `ab` and 2 `c`; the other 4, one `ab` and one `de`. An `ab` of the first
    weighs 1/2 / 8 = 1/16, a word of the second 1/2 / 4 = 1/8: 3/16 + 1/8 = 5/16 for `ab`, 2/16
    for `de`. Five words of two characters, 20 times each, are 100: 100 * 5/7 and 100 * 2/7.
    `c` holds no pair. Without `d`, `de` falls away: 4 words, 80 times `ab`.
    """
    groups = {"x": WordCounts(False), "y": WordCounts(False)}
    groups["x"].add(["ab ab ab c c"])
    groups["y"].add(["ab de"])
    for counts in groups.values():
        counts.finish()
    shares = {"x": 0.5, "y": 0.5}
    words, repeats = balanced_words(groups, shares, set("abcde"))
    assert words == ["ab", "de"]
    assert repeats.tolist() == [71, 29]
    words, repeats = balanced_words(groups, shares, set("abce"))
    assert (words, repeats.tolist()) == (["ab"], [80])
    words, repeats = balanced_words(groups, shares, set())
    assert (words, repeats.dtype) == ([], np.int64)


def test_rare_characters_are_left_out_up_to_the_coverage():
    """1,000 characters in all, of which 2 % = 20 ideographs and 0.5 % = 5 letters may go.

    Ideographs by count 5, 5, 10, 30: 5 + 5 + 10 = 20 go, 30 stays. Letters 2, 2, 2, 944: the
    three together are 6, and as equally frequent ones go together, all stay.
    """
    counts = {"山": 5, "한": 5, "火": 10, "人": 30, "q": 2, "ё": 2, "が": 2, "e": 944}
    assert sum(counts.values()) == 1000
    assert covering(counts, 0.98, 0.995) == {"人", "q", "ё", "が", "e"}
    assert covering(counts, 0.99, 0.994) == {"火", "人", "e"}
    assert covering(counts, 1.0, 1.0) == set(counts)


def test_characters_can_be_chosen_by_their_count(tmp_path):
    """Of both files together: `é` 3 times, `ñ` twice."""
    (tmp_path / "a.txt").write_text("aé aé ña", encoding="utf-8")
    (tmp_path / "b.txt").write_text("aé ña", encoding="utf-8")
    files = {"a": [tmp_path / "a.txt"], "b": [tmp_path / "b.txt"]}
    trained = train_vocabulary(files, 110, False, min_character_count=3)
    assert trained.vocabulary.pieces[104:] == ("a", "é", "##a", "##é", "aé")
    assert [group.unknown for group in trained.groups] == [1, 1]
    assert "no more than 109 tokens" in trained.warnings[0]


def test_too_small_a_vocabulary_is_told_what_it_needs(corpus, trained):
    least = 104 + trained.characters + trained.continuations
    with pytest.raises(BertError, match=f"need {least}. Raise `size`") as error:
        train_vocabulary(corpus, least - 1, lower_case=False)
    assert "`min_character_count`" in str(error.value)
    assert len(train_vocabulary(corpus, least, lower_case=False).vocabulary) == least


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 50}, "104 special"),
        ({"smoothing": 1.5}, "smoothing is 1.5; it must be at most 1"),
        ({"min_character_count": 0}, "min_character_count is 0; it must be at least 1"),
        ({"ideograph_coverage": 0.0}, "ideograph_coverage"),
        ({"letter_coverage": 1.1}, "letter_coverage"),
        ({"files": {}}, "no text files"),
        ({"files": {"a": []}}, "no text files"),
    ],
)
def test_arguments_that_make_no_sense(corpus, options, message):
    with pytest.raises(BertError, match=message):
        train_vocabulary(**{"files": corpus, "size": 300, "lower_case": False, **options})


def test_files_that_hold_nothing(tmp_path):
    with pytest.raises(BertError, match=r"no-such\*.txt"):
        count_words({"a": [tmp_path / "no-such*.txt"]}, False)
    (tmp_path / "empty.txt").write_text(" \n\n\u200b\n")
    with pytest.raises(BertError, match=r"empty.txt: no text"):
        count_words({"a": [tmp_path / "empty.txt"]}, False)
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"some text " * 99)[:-12])
    with pytest.raises(BertError, match=r"cut.txt.gz"):
        count_words({"a": [tmp_path / "cut.txt.gz"]}, False)


def test_text_without_any_pair(tmp_path):
    """Ideographs are words by themselves: there is nothing to merge."""
    (tmp_path / "zh.txt").write_text("山川山川", encoding="utf-8")
    trained = train_vocabulary({"zh": [tmp_path / "zh.txt"]}, 200, False)
    assert trained.vocabulary.pieces[104:] == ("山", "川")
    assert trained.groups[0].pieces == trained.groups[0].words == 4


def test_saving_replaces_the_file_in_one_step(trained, tmp_path):
    path = tmp_path / "new" / "vocab.txt"
    check_output(path, overwrite=False, in_new_folder=True)
    save_vocabulary(trained.vocabulary, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["vocab.txt"]
    assert Vocabulary.load(path) == trained.vocabulary
    with pytest.raises(BertError, match="overwrite=True"):
        check_output(path, overwrite=False)
    check_output(path, overwrite=True)
    with pytest.raises(BertError, match="is a folder"):
        check_output(path.parent, overwrite=True)
    with pytest.raises(BertError, match="cannot write"):
        save_vocabulary(trained.vocabulary, path / "vocab.txt")
