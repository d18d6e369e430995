"""Rows keep offsets, windows and labels of any shape; one loop predicts; streams resume."""

import hashlib
import json
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifiers import head, write_bert

import bert_tf.text
from bert_tf.batching.buckets import bucket_lengths
from bert_tf.batching.labels import IGNORED, label_batch, span_labels, token_labels
from bert_tf.batching.predict import (
    PackedRows,
    batches_of_like_length,
    predict,
    predict_all,
)
from bert_tf.batching.ragged import Ragged
from bert_tf.batching.rows import TokenizedTexts, Vectors
from bert_tf.batching.stream import FeatureStream, LabelledStream
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.text import SPECIAL_TOKENS, BertTokenizer, Packed, Vocabulary, best_windows, windows

LETTERS = "abcdefghij"
VOCAB = Vocabulary.from_lines([*SPECIAL_TOKENS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])
TOKENIZER = BertTokenizer(VOCAB, lower_case=True)
A = len(SPECIAL_TOKENS)  # the id of "a"


def some_texts(count, seed, longest=12):
    """Words of one to three letters, some in capitals, with one or two spaces between them."""
    rng = random.Random(seed)
    word = lambda: "".join(rng.choices(LETTERS + LETTERS.upper(), k=rng.randint(1, 3)))  # noqa: E731
    return ["".join(word() + " " * rng.randint(1, 2) for _ in range(rng.randint(0, longest)))
            for _ in range(count)]  # fmt: skip


def texts_of(texts, pairs=None):
    return LabelledTexts(texts, pairs, None, [("", i) for i in range(len(texts))])


# --- rows of differing length


@given(st.lists(st.lists(st.integers(-5, 5), max_size=6), max_size=8), st.data())
def test_padding_is_that_of_lists(rows, data):
    ragged = Ragged.of(rows, pad=9)
    assert (len(ragged), ragged.shape) == (len(rows), (len(rows), None))
    assert [row.tolist() for row in map(ragged.__getitem__, range(len(rows)))] == rows
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)) if rows else []
    padded = ragged.padded(chosen, 7, len(chosen) + 1)
    assert padded.tolist() == [
        *(rows[i] + [9] * (7 - len(rows[i])) for i in chosen),
        [9] * 7,
    ]


# --- the predict loop


def packed_rows(lengths, limit=64):
    """Row i holds the id i + 1 at all of its positions."""
    packed = [Packed([i + 1] * n, [0] * n) for i, n in enumerate(lengths)]
    return PackedRows(packed, limit)


class Run:
    """Adds ids up, or gives two numbers for each position; remembers shapes."""

    def __init__(self, fixed_shapes=False, positions=False):
        self.fixed_shapes = fixed_shapes
        self.positions = positions
        self.shapes = []

    def __call__(self, inputs):
        tokens = inputs["token_input"]
        self.shapes.append(tokens.shape)
        if self.positions:
            return {"tokens": tokens[:, :, None] * np.array([1, 10])}
        return {"sum": tokens.sum(axis=1), "several": np.ones((len(tokens), 3))}


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=60),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([None, (32, 64)]),
)
def test_outputs_come_in_the_order_of_the_rows(lengths, batch_size, fixed, buckets):
    rows, run = packed_rows(lengths), Run(fixed)
    found = predict_all(run, rows, batch_size=batch_size, buckets=buckets)
    assert found["sum"].tolist() == [(i + 1) * n for i, n in enumerate(lengths)]
    assert found["several"].shape == (len(lengths), 3)
    heights, widths = zip(*run.shapes)
    assert len(heights) == -(-len(lengths) // batch_size)
    if buckets is not None:
        assert set(heights) == {batch_size}
        assert set(widths) <= set(buckets)
    elif fixed:
        assert set(widths) <= set(bucket_lengths(64))
    else:
        assert max(widths) == max(lengths)
    each = predict_all(Run(fixed, True), rows, batch_size=batch_size, sizes=lengths)["tokens"]
    assert [one.tolist() for one in each] == [
        [[i + 1, 10 * (i + 1)]] * n for i, n in enumerate(lengths)
    ]


def test_outputs_come_as_they_are_ready():
    """The longest first; the model is not run ahead of what was taken."""
    run = Run()
    coming = predict(run, packed_rows([2, 5, 3]), batch_size=2)
    numbers, outputs = next(coming)
    assert (numbers.tolist(), outputs["sum"].tolist()) == ([1, 2], [10, 9])
    assert run.shapes == [(2, 5)]
    assert [numbers.tolist() for numbers, _ in coming] == [[0]]


@pytest.mark.parametrize("fixed", [False, True])
def test_further_inputs_go_with_their_rows(fixed):
    """Lists are filled up with 0, to a power of two where shapes are to be few; arrays stay."""
    widths = set()

    def run(inputs):
        widths.add((inputs["lists"].shape[1], inputs["array"].shape[1]))
        assert (inputs["array"][:, 0] == inputs["token_input"][:, 0]).all()
        return [inputs["lists"].sum(axis=1), inputs["array"]]

    run.fixed_shapes = fixed
    lists = [[1] * n for n in (1, 3, 2, 5, 3)]
    array = np.array([[n, 7, 7] for n in (1, 2, 3, 4, 5)])
    sums, arrays = predict_all(
        run, packed_rows([4, 9, 3, 6, 2]), batch_size=5, extra={"lists": lists, "array": array}
    )
    assert (sums.tolist(), arrays.tolist()) == ([1, 3, 2, 5, 3], array.tolist())
    assert widths == {(8 if fixed else 5, 3)}


def test_vectors_and_no_rows():
    vectors = np.arange(14, dtype=np.float32).reshape(7, 2)
    found = predict_all(lambda i: i["feature_input"] + 1, Vectors(vectors), batch_size=3)
    np.testing.assert_array_equal(found, vectors + 1)
    assert predict_all(Run(), packed_rows([]), batch_size=3) == []


def test_a_row_longer_than_all_buckets_is_told():
    with pytest.raises(BertError, match="the last at least 70"):
        batches_of_like_length([3, 70], 2, (16, 64))
    with pytest.raises(BertError, match="batch_size is 0"):
        batches_of_like_length([3], 0)


# --- offsets and windows


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("stride", [None, 3])
def test_offsets_are_where_tokens_come_from(pairs, stride):
    first, second = some_texts(40, 1), some_texts(40, 2) if pairs else None
    rows = tokenize_texts(
        texts_of(first, second), TOKENIZER, 14, offsets=True, stride=stride, max_first=5
    )
    assert rows.offsets.shape == (len(rows.pieces), 2)
    seen = np.zeros(len(rows.pieces), bool)
    for row, number in enumerate(rows.text_numbers):
        for texts in (first, second) if pairs else (first,):
            at = rows.tokens_of(row, second=texts is second)
            seen[at] = True
            for piece, (start, end) in zip(rows.pieces[at], rows.offsets[at]):
                source = texts[number][start:end].lower()
                assert VOCAB.token(int(piece)).removeprefix("##") == source
    # What is left are [CLS] and [SEP].
    assert set(rows.pieces[~seen]) == {VOCAB.cls_id, VOCAB.sep_id}
    assert not rows.offsets[~seen].any()


@pytest.mark.parametrize("pairs", [False, True])
def test_windows_are_those_of_each_text(pairs):
    """The windowed text of a pair is the second; of the first at most two tokens stay."""
    first, second = some_texts(30, 3, 9), some_texts(30, 4, 9) if pairs else None
    rows = tokenize_texts(texts_of(first, second), TOKENIZER, 9, stride=2, max_first=2)
    numbers, starts, tokens, best = [], [], [], []
    for number, text in enumerate(second or first):
        head = TOKENIZER.encode(first[number]).ids[:2] if pairs else []
        found = windows(TOKENIZER.encode(text).ids, 9, 2, reserved=len(head) + 3 if pairs else 2)
        best += [(number, int(window)) for window in best_windows(found)]
        for window in found:
            numbers.append(number)
            starts.append(window.start)
            middle = [*head, VOCAB.sep_id, *window.ids] if pairs and window.ids else window.ids
            if pairs and not window.ids:
                middle = head
            tokens.append([VOCAB.cls_id, *middle, VOCAB.sep_id])
    assert rows.texts.tolist() == numbers
    assert rows.window_starts.tolist() == starts
    assert np.split(rows.pieces, rows.starts[1:-1])[0].tolist() == tokens[0]
    assert [part.tolist() for part in np.split(rows.pieces, rows.starts[1:-1])] == tokens
    assert len(rows) > 60
    # Each token of the text counts in one window: the one with the most context.
    here = rows.in_best_window(second=pairs)
    found = []
    for row, number in enumerate(numbers):
        at = rows.tokens_of(row, second=pairs)
        window = row - numbers.index(number)
        found += [(number, starts[row] + i, window) for i in np.flatnonzero(here[at])]
    assert [(number, window) for number, _, window in sorted(found)] == best
    labels = np.arange(30)[rows.text_numbers]
    assert labels.tolist() == numbers


def test_a_first_text_that_leaves_no_room_is_told():
    with pytest.raises(BertError, match="no room for the text"):
        tokenize_texts(texts_of(["abc abc"], ["a"]), TOKENIZER, 9, stride=2)


@pytest.mark.parametrize(
    "asked", [{"offsets": True}, {"stride": 4}, {"offsets": True, "stride": 4}]
)
def test_what_is_asked_for_is_kept_on_disk(asked, tmp_path, monkeypatch):
    data = texts_of(some_texts(20, 5), some_texts(20, 6))
    plain = tokenize_texts(data, TOKENIZER, 16, tmp_path, max_first=4)
    made = tokenize_texts(data, TOKENIZER, 16, tmp_path, max_first=4, **asked)
    other = tokenize_texts(data, TOKENIZER, 16, tmp_path, max_first=5, **asked | {"stride": 5})
    assert len({plain.key, made.key, other.key}) == 3
    assert (plain.offsets, plain.texts, plain.window_starts) == (None, None, None)
    monkeypatch.setattr("bert_tf.batching.tokenizing._tokenize", None)
    again = tokenize_texts(data, TOKENIZER, 16, tmp_path, max_first=4, **asked)
    assert vars(again).keys() == vars(made).keys()
    for name, value in vars(made).items():
        np.testing.assert_array_equal(getattr(again, name), value)
        assert getattr(getattr(again, name), "dtype", None) == getattr(value, "dtype", None)


# --- labels of any shape


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, 1, 2], np.int32),
        np.array([[0, 1], [1, 1], [1, 0]], np.float32),
        np.array([0.5, -1, 2], np.float32),
        np.array([[1, 2], [0, 0], [3, 5]], np.int32),
    ],
    ids=["class", "several", "number", "span"],
)
def test_labels_of_rows_are_filled_up_with_0(labels):
    batch = label_batch(labels, np.array([2, 0]), 8, 3)
    assert batch["labels"].dtype == labels.dtype
    assert batch["labels"].tolist() == [*labels[[2, 0]].tolist(), (labels[0] * 0).tolist()]
    assert batch["weights"].tolist() == [1, 1, 0]


def token_stream(labels, batch_size=4):
    texts = tokenize_texts(texts_of(some_texts(30, 7)), TOKENIZER, 32)
    labels = Ragged(labels(texts), texts.starts, IGNORED)
    return texts, LabelledStream(texts, labels, batch_size=batch_size, seed=1)


def test_labels_of_tokens_go_through_the_stream():
    """The label of a token is its id, and those of [CLS] and [SEP] are ignored."""

    def labels(texts):
        ids = texts.pieces.astype(np.int32)
        return np.where(ids >= A, ids, IGNORED)

    texts, stream = token_stream(labels)
    total = 0
    for _ in range(stream.steps_per_epoch()):
        state = json.loads(json.dumps(stream.state()))
        batch = stream.next_batch()
        tokens = batch["token_input"]
        assert batch["labels"].shape == batch["weights"].shape == tokens.shape
        assert (batch["weights"] == (tokens >= A)).all()
        assert (batch["labels"] == np.where(tokens >= A, tokens, IGNORED)).all()
        total += batch["weights"].sum()
        _, again = token_stream(labels)
        again.restore(state)
        for name, array in again.next_batch().items():
            np.testing.assert_array_equal(array, batch[name])
    assert total == (texts.pieces >= A).sum()
    _, other = token_stream(lambda texts: np.where(np.arange(len(texts.pieces)) == 1, 8, IGNORED))
    with pytest.raises(BertError, match="of another run"):
        other.restore(stream.state())


def test_labels_of_words_are_those_of_their_first_tokens():
    """Against the text: a token has the label of the word that begins where the token does."""
    texts = some_texts(40, 8)
    words = [[(m.start(), m.end(), i % 7) for i, m in enumerate(re.finditer(r"\S+", text))]
             for text in texts]  # fmt: skip
    for stride in (None, 3):
        rows = tokenize_texts(texts_of(texts), TOKENIZER, 10, offsets=True, stride=stride)
        first = token_labels(rows, words)
        every = token_labels(rows, words, first_only=False)
        assert first.pad == IGNORED
        for row, number in enumerate(rows.text_numbers):
            at = rows.tokens_of(row)
            for place in range(int(rows.starts[row]), int(rows.starts[row + 1])):
                start = rows.offsets[place][0]
                of = [label for begin, end, label in words[number] if begin <= start < end]
                begins = [label for begin, _, label in words[number] if begin == start]
                inside = at.start <= place < at.stop
                assert every.values[place] == (of[0] if inside else IGNORED)
                assert first.values[place] == ((begins or [IGNORED])[0] if inside else IGNORED)


def test_tokens_outside_of_all_stretches():
    """In "ab c d" only the "c" from 3 to 4 is marked, all else is class 0; in "a" nothing is."""
    rows = tokenize_texts(texts_of(["ab c d", "a"]), TOKENIZER, 10, offsets=True)
    found = token_labels(rows, [[(3, 4, 5)], []], first_only=False, outside=0)
    assert found[0].tolist() == [IGNORED, 0, 0, 5, 0, IGNORED]
    assert found[1].tolist() == [IGNORED, 0, IGNORED]
    with pytest.raises(BertError, match="2 texts, but labels of 1"):
        token_labels(rows, [[]])
    with pytest.raises(BertError, match="offsets=True"):
        token_labels(tokenize_texts(texts_of(["a"]), TOKENIZER, 10), [[]])


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("stride", [None, 2])
def test_spans_shift_with_the_window(pairs, stride):
    """Against the text: a span's tokens are its words, and it is whole in some window."""
    rng = random.Random(9)
    texts = [text for text in some_texts(80, 10) if text]
    spans, whole = [], []
    for text in texts:
        words = list(re.finditer(r"\S+", text))
        i = rng.randrange(len(words))
        j = rng.randrange(i, min(i + 2, len(words)))
        spans.append((words[i].start(), words[j].end()))
        whole.append(len(text[spans[-1][0] : spans[-1][1]].replace(" ", "")))
    spans[0] = (0, 0)  # there is none
    questions = some_texts(len(texts), 11) if pairs else None
    data = texts_of(questions, texts) if pairs else texts_of(texts)
    rows = tokenize_texts(data, TOKENIZER, 14, offsets=True, stride=stride, max_first=3)
    labels = span_labels(rows, spans, second=pairs)
    held = np.zeros(len(texts), bool)
    for row, (number, (first, last)) in enumerate(zip(rows.text_numbers, labels)):
        ids = rows.pieces[rows.starts[row] : rows.starts[row + 1]]
        at = rows.tokens_of(row, second=pairs)
        begin, end = spans[number]
        inside = [start >= begin and stop <= end for start, stop in rows.offsets[at]]
        if number == 0 or sum(inside) < whole[number]:  # each letter is a token
            assert (first, last) == (0, 0)
            continue
        found = "".join(VOCAB.token(int(i)).removeprefix("##") for i in ids[first : last + 1])
        assert found == texts[number][begin:end].replace(" ", "").lower()
        held[number] = True
    assert not held[0]
    assert held[1:].all() == (stride is not None)
    assert held.sum() > 30


# --- streams


def digest_of(stream, batches):
    digest = hashlib.sha256()
    for _ in range(batches):
        batch = stream.next_batch()
        for name in sorted(batch):
            digest.update(name.encode() + batch[name].tobytes())
    return digest.hexdigest()[:16]


def test_streams_are_those_of_0_1_0():
    """Batches and states as that version gave them: a training that it began resumes."""
    lengths = np.arange(103) * 37 % 62 + 3
    starts = np.concatenate([[0], np.cumsum(lengths)])
    pieces = np.repeat(np.arange(1, 104), lengths).astype(np.uint16)
    firsts, full = (lengths // 2).astype(np.int32), lengths.astype(np.int32)
    texts = TokenizedTexts(pieces, starts, firsts, full, 64, "k")
    labels = np.arange(103, dtype=np.int32) % 5
    stream = LabelledStream(texts, labels, batch_size=8, seed=3)
    assert digest_of(stream, 30) == "ed33bde7cdef8665"
    assert stream.state() == {"epoch": 2, "batch": 4, "fingerprint": "08abe744757e125e"}
    vectors = np.arange(206, dtype=np.float32).reshape(103, 2)
    features = FeatureStream(vectors, labels, batch_size=8, seed=3, key="k")
    assert digest_of(features, 26) == "b3b3b217d65362d6"
    assert features.state() == {"taken": 26, "fingerprint": "1748bf8880685c7b"}
    again = FeatureStream(vectors, labels, batch_size=8, seed=3, key="k")
    again.restore(features.state())
    assert digest_of(again, 4) == digest_of(features, 4) == "e7ee81d3f7d5dd3c"
    assert again.state() == {"taken": 30, "fingerprint": "1748bf8880685c7b"}


def test_the_key_of_plain_rows_is_that_of_0_1_0():
    data = texts_of(["a bc", "d"], ["e", "fg"])
    assert tokenize_texts(data, TOKENIZER, 16).key == "7b0fe041188ac86466d608a23715c571"


# --- tasks and old names


PICKLING = """
import pickle, sys, bert_tf
bert = bert_tf.load(sys.argv[1])
for task, asked in (
    (bert_tf.FillMask(bert, candidates=["w1 w2", "w3"]), "w5 [MASK]"),
    (bert_tf.NextSentence(bert), [("w1", "w2")]),
    (bert_tf.Classify(bert), ["w1 w2", ("w3", "w4")]),
):
    fresh = pickle.loads(pickle.dumps(task))
    answer = task(asked)
    for other in (fresh, pickle.loads(pickle.dumps(task))):
        assert repr(other(asked)) == repr(answer)
    assert task([]) == []
    print(type(other).__name__, other.batch_size)
"""


def test_tasks_can_be_pickled_at_any_time(tmp_path, run_python):
    """Before and after they have compiled something."""
    folder = write_bert(tmp_path, head(2))
    ran = run_python("-c", PICKLING, folder, backend="openvino")
    assert ran.stdout.split("\n") == ["FillMask 32", "NextSentence 32", "Classify 32", ""], (
        ran.stderr
    )


def test_old_names_warn():
    with pytest.warns(DeprecationWarning, match=r"bucket_lengths is bert_tf\.batching"):
        assert bert_tf.text.bucket_lengths is bucket_lengths
    with pytest.warns(DeprecationWarning, match=r"in_order is deprecated; .* in the next version"):
        assert list(bert_tf.text.in_order([((1,), "b"), ((0,), "a")])) == ["a", "b"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bert_tf.text.nothing
