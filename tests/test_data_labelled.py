"""Labelled rows in memory: labels as numbers, odd rows, texts in two splits, and Python's own."""

import numpy as np
import pytest

from bert_tf.data.labelled.cleaning import across, clean, normal_text
from bert_tf.data.labelled.problems import PROBLEMS, Policy, Tally, describe
from bert_tf.data.labelled.python_rows import labelled_rows
from bert_tf.data.labelled.texts import LabelledTexts, encode_labels, join, order_labels
from bert_tf.errors import BertError


def rows(texts, labels=None, task="classes", pairs=None, file="a.tsv"):
    places = [(file, number) for number in range(1, len(texts) + 1)]
    return LabelledTexts(list(texts), pairs, labels, places, task)


def lines(data):
    return [line for _, line in data.rows]


# --- labels


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (["10", "9", "-1"], None, ("-1", "9", "10")),
        (["b", "a", "10"], None, ("10", "a", "b")),
        (["0.5", "0.25"], None, ("0.25", "0.5")),
        (["1", "1.0", "0"], None, ("0", "1", "1.0")),
        (["inf", "1"], None, ("1", "inf")),
        (["no", "yes"], ["yes", "no", "maybe"], ("yes", "no", "maybe")),
        ([("b",), (), ("a", "b")], None, ("a", "b")),
    ],
)
def test_the_order_of_labels(labels, given, expected):
    task = "multilabel" if isinstance(labels[0], tuple) else "classes"
    assert order_labels([rows(labels, labels, task)], given) == expected


def test_labels_become_numbers():
    classes = encode_labels(rows("abc", ["x", "y", "x"]), ("y", "x"))
    assert (classes.dtype, classes.tolist()) == (np.int32, [1, 0, 1])
    hot = encode_labels(rows("abc", [("x",), (), ("z", "x")], "multilabel"), ("x", "y", "z"))
    assert (hot.dtype, hot.tolist()) == (np.float32, [[1, 0, 0], [0, 0, 0], [1, 0, 1]])
    numbers = encode_labels(rows("ab", [0.5, -2.0], "regression"))
    assert (numbers.dtype, numbers.tolist()) == (np.float32, [0.5, -2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: order_labels([rows("ab", ["x", "y"])], ["x", "x"]), "'x' is given twice"),
        (lambda: order_labels([rows("ab", ["x", "y"])], ["x", "z"]), "a.tsv:2 has the label 'y'"),
        (lambda: order_labels([rows("ab", ["x", "x"])]), "1 label"),
        (lambda: encode_labels(rows("ab", ["x", None]), ("x", "y")), "a.tsv:2 has no label"),
        (lambda: encode_labels(rows("ab"), ("x", "y")), "a.tsv:1 has no label"),
        (lambda: rows("ab", ["x"]), "2 texts, but 1 labels"),
        (lambda: rows("ab", ["x", "y"], "ranking"), "no task 'ranking'"),
        (lambda: join([rows("a"), rows("b", ["x"])]), "some of the files have labels"),
        (lambda: join([]), "no data"),
    ],
)
def test_labels_that_do_not_fit_are_refused(call, message):
    with pytest.raises(BertError, match=message):
        call()


# --- odd rows


def found(problems):
    return {p.kind: (p.count, [line for _, line in p.places], p.action) for p in problems}


def test_rows_without_label_or_text_go_from_training():
    data = rows(["a", "b", " \t", "d", ""], ["x", None, "y", "x", None])
    kept, problems = clean(data, Policy("train"))
    assert lines(kept) == [1, 4]
    assert found(problems) == {
        "unlabelled": (2, [2, 5], "drop"),
        "empty_text": (2, [3, 5], "drop"),
    }
    assert lines(clean(data, Policy("evaluate"))[0]) == [1, 3, 4]
    assert lines(clean(data, Policy("predict"))[0]) == [1, 2, 3, 4, 5]


def test_one_empty_text_of_a_pair_is_empty():
    data = rows(["a", "b", ""], ["x", "y", "x"], pairs=["c", " ", "d"])
    assert lines(clean(data, Policy("train"))[0]) == [1]


def test_numbers_that_are_none():
    data = rows("abcd", [1.5, float("nan"), float("-inf"), 2.0], "regression")
    kept, problems = clean(data, Policy("train"))
    assert kept.labels == [1.5, 2.0]
    assert found(problems) == {"nan": (2, [2, 3], "drop")}
    data = rows("abc", [1.5, "high", "low"], "regression")
    with pytest.raises(BertError, match=r"2 rows whose label is no number \('high', 'low'\)"):
        clean(data, Policy("train"))
    assert clean(data, Policy("train", not_a_number="drop"))[0].labels == [1.5]
    assert clean(data, Policy("predict"))[0].labels == [1.5, None, None]


def test_repetitions_and_contradictions():
    """Rows 1, 3, 6 say the same; 6 contradicts. 2 and 5 are the same in full."""
    texts = ["Fine day", "b", "fine  DAY ", "d", "b", "ＦＩＮＥ day"]
    data = rows(texts, ["x", "y", "x", "x", "y", "y"])
    kept, problems = clean(data, Policy("train"))
    assert len(kept) == 6
    assert found(problems) == {
        "duplicate": (2, [3, 5], "keep"),
        "conflict": (3, [1, 3, 6], "keep"),
    }
    assert lines(clean(data, Policy("train", duplicate="drop"))[0]) == [1, 2, 4, 6]
    assert lines(clean(data, Policy("train", conflict="drop"))[0]) == [2, 4, 5]
    with pytest.raises(BertError, match="conflict=keep or conflict=drop"):
        clean(data, Policy("train", conflict="refuse"))


def test_two_numbers_for_a_text_are_no_contradiction():
    data = rows(["a", "a", "a"], [1.0, 2.0, 2.0], "regression")
    assert found(clean(data, Policy("train"))[1]) == {"duplicate": (1, [3], "keep")}


def test_places_are_named_up_to_five_and_files_once():
    places = [("a.tsv", 1), ("a.tsv", 2), ("b.tsv", 1), ("", 7), ("b.tsv", 9), ("b.tsv", 10)]
    tally = Tally(Policy("train"))
    for place in places:
        assert tally.add("unlabelled", place)
    (problem,) = tally.settle(50)
    assert describe([problem], "train") == [
        "train: 6 rows without a label, dropped: a.tsv:1, :2, b.tsv:1, row 7, b.tsv:9, ..."
    ]


def test_policies_are_checked():
    assert Policy.parse("unlabelled=refuse, leak = keep")["leak"] == "keep"
    assert Policy.parse("")["leak"] == "drop"
    for text, message in (
        ("unlabeled=drop", "no problem 'unlabeled'; there are wrong_encoding"),
        ("unlabelled", "is not kind=action"),
        ("leak=replace", "one of drop, keep, refuse"),
    ):
        with pytest.raises(BertError, match=message):
            Policy.parse(text)
    for name, kind in PROBLEMS.items():
        for role in ("train", "evaluate", "predict"):
            assert Policy(role)[name] in kind.actions()
        assert "{n}" in kind.text


def test_normal_text():
    assert normal_text("  Ｆｉｎｅ\tday ") == normal_text("fine DAY") == "fine day"
    assert normal_text("STRASSE") == normal_text("straße")
    assert normal_text("élan") == normal_text("e\u0301lan") != normal_text("elan")


# --- splits beside each other


def three():
    return {
        "train": rows(["a", "b", "c", "d"], ["x", "y", "x", "y"], file="train"),
        "validation": rows(["e", "B ", "f"], ["x", "y", "y"], file="dev"),
        "test": rows(["F", "c", "g"], ["x", "x", "y"], file="test"),
    }


def test_a_text_in_two_splits_goes_from_the_earlier():
    splits, problems = across(three())
    assert {name: data.texts for name, data in splits.items()} == {
        "train": ["a", "d"],
        "validation": ["e", "B "],
        "test": ["F", "c", "g"],
    }
    assert [(name, p.count, p.note) for name, p in problems] == [
        ("train", 2, "in validation, in test"),
        ("validation", 1, "in test"),
    ]
    kept, problems = across(three(), Policy("train", leak="keep"))
    assert [len(data) for data in kept.values()] == [4, 3, 3]
    assert [p.action for _, p in problems] == ["keep", "keep"]
    with pytest.raises(BertError, match="too good"):
        across(three(), Policy("train", leak="refuse"))


def test_a_label_that_training_lacks_is_refused_by_name():
    splits = three()
    splits["test"] = rows(["h", "i"], ["z", "x"], file="test")
    with pytest.raises(BertError) as error:
        across(splits)
    message = str(error.value)
    assert "('z')" in message
    assert "test:1" in message
    assert "training has x, y" in message
    assert "unseen_label=drop" in message
    dropped, problems = across(splits, Policy("train", unseen_label="drop"))
    assert dropped["test"].texts == ["i"]
    assert found(p for _, p in problems)["unseen_label"] == (1, [1], "drop")
    kept, _ = across(splits, Policy("train", unseen_label="keep"))
    assert kept["test"].texts == ["h", "i"]


def test_splits_of_several_tasks_are_refused():
    with pytest.raises(BertError, match="test: regression"):
        across({"train": rows("a", ["x"]), "test": rows("b", [0.5], "regression")})


# --- given in Python


@pytest.mark.parametrize(
    ("texts", "labels", "expected", "task"),
    [
        (["a", "b"], [0, 1], ["0", "1"], "classes"),
        (("a", None), ["x", "-"], ["x", "-"], "classes"),
        (np.array(["a", "b"]), np.array([1, 0]), ["1", "0"], "classes"),
        (["a", "b"], np.array([1.0, np.nan]), ["1", None], "classes"),
        (["a", "b"], np.float32([0.5, 2]), [0.5, 2.0], "regression"),
        (["a", "b"], [["x"], {"y", "x"}], [("x",), ("x", "y")], "multilabel"),
        (["a", "b"], np.array([[1, 0, 1], [0, 0, 0]]), [("0", "2"), ()], "multilabel"),
        (["a", "b"], [True, False], ["True", "False"], "classes"),
    ],
)
def test_lists_and_arrays(texts, labels, expected, task):
    data = labelled_rows(texts, labels)
    assert (data.labels, data.task) == (expected, task)
    assert all(type(text) is str for text in data.texts)
    assert all(type(label) in (str, float, tuple, type(None)) for label in data.labels)
    assert data.place(1) == "row 1"


def test_pairs_from_python():
    pairs = [("a", "b"), ("c", "d")]
    for given in (pairs, np.array(pairs), [list(pair) for pair in pairs]):
        data = labelled_rows(given)
        assert (data.texts, data.pairs, data.labels) == (["a", "c"], ["b", "d"], None)
    data = labelled_rows(["a", b"c"], pairs=("b", "d"), task="regression", labels=[1, 2])
    assert (data.texts, data.pairs, data.labels) == (["a", "c"], ["b", "d"], [1.0, 2.0])


def test_data_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"Premise": ["a", None], "hypothesis": ["b", "c"], "Label": [1, None], "words": ["d", "e"]},
        index=[7, 7],
    )
    data = labelled_rows(frame)
    assert (data.texts, data.pairs, data.labels) == (["a", ""], ["b", "c"], ["1", None])
    data = labelled_rows(frame, text="words", label="hypothesis")
    assert (data.texts, data.pairs, data.labels) == (["d", "e"], None, ["b", "c"])
    data = labelled_rows(frame["words"], frame["Label"].astype("Int64"))
    assert (data.texts, data.labels) == (["d", "e"], ["1", None])
    with pytest.raises(BertError, match="no column 'word'; it has Premise"):
        labelled_rows(frame, text="word")
    with pytest.raises(BertError, match="which column is the text"):
        labelled_rows(frame[["words"]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: labelled_rows("one text"), "not one"),
        (lambda: labelled_rows([1, 2]), "row 0: a text must be str, not int"),
        (lambda: labelled_rows([("a", "b"), ("a", "b", "c")]), "row 1 has 3 texts"),
        (lambda: labelled_rows(["a"], [1, 2]), "1 texts, but 2 labels"),
        (lambda: labelled_rows(["a"], pairs=["b", "c"]), "1 texts, but 2 pairs"),
        (lambda: labelled_rows(["a"], np.array([[2, 0]])), "0 and 1 only"),
        (lambda: labelled_rows(["a"], np.array([[1, 0]]), label_names=["x"]), "2 columns"),
        (lambda: labelled_rows(["a"], text="a"), "data frame"),
        (lambda: labelled_rows(5), "not int"),
    ],
)
def test_what_are_no_texts_is_refused(call, message):
    with pytest.raises(BertError, match=message):
        call()
