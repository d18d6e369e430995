"""`Vocabulary`: read as the original reads it, written back as it was, bad files explained."""

import json
import pathlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_tf.errors import BertError
from bert_tf.text import Vocabulary

GOLDEN = pathlib.Path(__file__).parent / "golden"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_odd_lines_are_read_as_the_original_reads_them():
    golden = json.loads((GOLDEN / "vocab_quirks" / "golden.json").read_text("utf-8"))
    vocab = Vocabulary.load(GOLDEN / "vocab_quirks" / "vocab.txt")
    assert vocab.ids == golden["vocab"]
    assert len(vocab) == golden["n_lines"]
    assert vocab.token(5) == vocab.token(10) == "dup"
    assert vocab.token(7) == vocab.token(11) == ""
    # Lines 5 and 7 are overridden; 7 and 11 are blank; 0 to 4 are special.
    assert [i for i in range(25) if not vocab.offerable[i]][:8] == [0, 1, 2, 3, 4, 5, 7, 8]
    assert any("again" in warning for warning in vocab.warnings)
    assert any("2 blank" in warning for warning in vocab.warnings)


def test_special_ids_are_looked_up():
    vocab = Vocabulary.load(GOLDEN / "tiny_ckpt" / "vocab.txt")
    ids = (vocab.pad_id, vocab.unk_id, vocab.cls_id, vocab.sep_id, vocab.mask_id)
    assert ids == (0, 3, 5, 11, 17)
    assert vocab.special_ids == set(ids)
    assert vocab.id("the") == vocab.ids["the"] == 521
    assert "the" in vocab
    assert "thee" not in vocab
    assert vocab.warnings == ()


@pytest.mark.parametrize(
    "path",
    ["tiny_ckpt/vocab.txt", "vocab_quirks/vocab.txt", "uncased_30522_vocab.txt"],
)
def test_saving_gives_the_same_bytes(path, tmp_path):
    vocab = Vocabulary.load(GOLDEN / path)
    vocab.save(tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_bytes() == (GOLDEN / path).read_bytes()
    assert Vocabulary.load(tmp_path / "vocab.txt") == vocab == pickle.loads(pickle.dumps(vocab))


def test_which_pieces_are_continuations_and_answers():
    r"""Each line by hand.

    Special tokens, `[unused1]`, `<S>` and the blank never come from a text; `##!` and `##中`
    cannot, since punctuation and ideographs stand alone; `a b` holds a space; `##` is empty.
    """
    answers = ["cat", "##s", "!", "中", "é", "##é", "don", "हिन्दी", "##ि"]
    never = ["[unused1]", "<S>", "", "##!", "##中", "a b", "##", "a-b", "##[SEP]"]
    vocab = Vocabulary.from_lines([*SPECIAL, *answers, *never])
    assert vocab.offerable.tolist() == [False] * 5 + [True] * 9 + [False] * 9
    assert [vocab.pieces[i] for i in range(len(vocab)) if vocab.continuation[i]] == [
        "##s", "##é", "##ि", "##!", "##中", "##", "##[SEP]",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="read-only"):
        vocab.offerable[0] = True


def test_ids_outside():
    vocab = Vocabulary.from_lines(SPECIAL)
    assert vocab.token(5) == "[unused]"
    with pytest.raises(BertError, match="ids start at 0"):
        vocab.token(-1)
    with pytest.raises(BertError, match="'cat' is no token"):
        vocab.id("cat")


def test_padding_that_is_not_id_0_is_warned_of():
    vocab = Vocabulary.from_lines(["!", *SPECIAL])
    assert vocab.pad_id == 1
    assert "'!'" in vocab.warnings[0]


GOOD = "\n".join(SPECIAL).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "is empty"),
        (b"the\n[PAD]\n[UNK]\n", r"no line \[CLS\], \[SEP\], \[MASK\]"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        ("\n".join(SPECIAL).encode("utf-16"), "UTF-16"),
        (GOOD + b"\ncaf\xe9\n", r"not UTF-8 \(line 6, byte 34\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"),
        (b'{"[PAD]": 0, "the": 1}', "is JSON; give the vocab.txt"),
        (b'[\n "[PAD]"\n]', "is JSON"),
    ],
)
def test_bad_files_say_what_is_wrong(raw, message, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(raw)
    with pytest.raises(BertError, match=message) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(BertError, match="cannot read the vocabulary"):
        Vocabulary.load(tmp_path / "vocab.txt")
    with pytest.raises(BertError, match="cannot read the vocabulary"):
        Vocabulary.load(tmp_path)
    with pytest.raises(BertError, match="cannot write"):
        Vocabulary.from_lines(SPECIAL).save(tmp_path)


def test_pieces_that_no_file_can_hold():
    with pytest.raises(BertError, match="line feed"):
        Vocabulary.from_lines([*SPECIAL, "a\nb"])
    with pytest.raises(BertError, match="surrogate"):
        Vocabulary.from_lines([*SPECIAL, "\ud800"])


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_ids_are_line_numbers(lines):
    vocab = Vocabulary.from_lines([*SPECIAL, *lines])
    assert len(vocab) == 5 + len(lines)
    assert list(vocab.pieces[5:]) == [line.strip() for line in lines]
    assert all(vocab.pieces[i] == piece for piece, i in vocab.ids.items())
    assert vocab.offerable.shape == vocab.continuation.shape == (len(vocab),)


@given(st.binary())
def test_random_bytes_raise_only_our_error(raw):
    try:
        vocab = Vocabulary.from_bytes(GOOD + b"\n" + raw)
    except BertError:
        return
    assert vocab.raw == GOOD + b"\n" + raw
