"""Splitting rows: shares of each label, nothing on two sides, the same for the same seed."""

import itertools
from collections import Counter

import numpy as np
import pytest

from bert_tf.data.labelled.cleaning import normal_text
from bert_tf.data.labelled.splits import split_labelled
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError


def rows(labels, texts=None, pairs=None, task="classes"):
    texts = texts or [f"text {i}" for i in range(len(labels))]
    return LabelledTexts(texts, pairs, labels, [("a", i) for i in range(len(texts))], task)


def counts(split):
    return {
        name: Counter(
            one
            for label in data.labels
            for one in (label if isinstance(label, tuple) else (label,))
        )
        for name, data in split.items()
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_label_has_its_share(seed):
    """Of 600, 200 and 20 rows, 70, 15 and 15 %: no rounding is needed."""
    labels = ["a"] * 600 + ["b"] * 200 + ["c"] * 20
    rng = np.random.default_rng(seed)
    split, warnings = split_labelled(rows(rng.permutation(labels).tolist()), seed=seed)
    assert counts(split) == {
        "train": {"a": 420, "b": 140, "c": 14},
        "validation": {"a": 90, "b": 30, "c": 3},
        "test": {"a": 90, "b": 30, "c": 3},
    }
    assert warnings == []


def test_rows_are_split_once_and_keep_their_order():
    data = rows(["a", "b"] * 50)
    split, _ = split_labelled(data, seed=5)
    numbers = [[row for _, row in part.rows] for part in split.values()]
    assert sorted(itertools.chain(*numbers)) == list(range(100))
    assert all(part == sorted(part) for part in numbers)


def test_a_seed_repeats_and_another_differs():
    data = rows(["a", "b", "b"] * 40)
    one, again, other = (split_labelled(data, seed=seed)[0] for seed in (7, 7, 8))
    assert one["test"].rows == again["test"].rows != other["test"].rows
    # By chance all of 120: a row is in test 15 % of the time.
    seen = Counter(row for s in range(60) for row in split_labelled(data, seed=s)[0]["test"].rows)
    assert len(seen) == 120
    assert max(seen.values()) < 60 * 0.15 + 6 * (60 * 0.15 * 0.85) ** 0.5


def test_texts_that_say_the_same_stay_together():
    """100 texts, each one to six times in other case and spacing."""
    rng = np.random.default_rng(0)
    texts, labels = [], []
    for number, times in enumerate(rng.integers(1, 7, 100)):
        for _ in range(times):
            texts.append(str(rng.choice([f"Say {number}", f"say  {number}", f" SAY {number}"])))
            labels.append("ab"[number % 2])
    split, _ = split_labelled(rows(labels, texts), seed=1)
    sides = [{normal_text(text) for text in part.texts} for part in split.values()]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    for name, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        for label in "ab":
            wanted = share * labels.count(label)
            assert abs(counts(split)[name][label] - wanted) <= 6


def test_pairs_stay_together_in_either_order_and_by_group():
    firsts = [f"a{i}" for i in range(40)] + [f"b{i}" for i in range(40)]
    seconds = [f"b{i}" for i in range(40)] + [f"a{i}" for i in range(40)]
    data = rows(["x", "y"] * 40, firsts, seconds)
    split, _ = split_labelled(data)
    side = {row: name for name, part in split.items() for _, row in part.rows}
    assert all(side[i] == side[i + 40] for i in range(40))
    # Groups join rows 0 to 4, and 40 to 44; their texts join these two.
    split, _ = split_labelled(data, groups=[i // 5 for i in range(80)])
    side = {row: name for name, part in split.items() for _, row in part.rows}
    for start in range(0, 40, 5):
        assert len({side[i + j] for i in range(start, start + 5) for j in (0, 40)}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_rare_labels_go_to_training_first(seed):
    labels = ["common"] * 100 + ["two"] * 2 + ["one"]
    split, warnings = split_labelled(rows(labels), seed=seed)
    found = counts(split)
    assert found["train"]["one"] == 1
    assert found["train"]["two"] >= 1
    assert any("'one' (1 in all)" in warning for warning in warnings)


def test_several_labels_at_once_each_have_their_share():
    """Labels drawn independently; each split has each label's share within a few rows."""
    rng = np.random.default_rng(3)
    hot = rng.random((1000, 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]
    labels = [tuple("abcde"[i] for i in np.flatnonzero(row)) for row in hot]
    split, _ = split_labelled(rows(labels, task="multilabel"))
    for name, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        assert abs(len(split[name]) - 1000 * share) <= 10
        for number, label in enumerate("abcde"):
            assert abs(counts(split)[name][label] - share * hot[:, number].sum()) <= 5


def test_numbers_are_stratified_by_size():
    """Bins of a tenth: each split's mean and tails are those of all, far closer than by chance."""
    values = np.random.default_rng(0).normal(size=1000)
    split, _ = split_labelled(rows(values.tolist(), task="regression"))
    edges = np.quantile(values, np.arange(1, 10) / 10)
    for name, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        found = np.bincount(np.searchsorted(edges, split[name].labels, side="right"), minlength=10)
        assert abs(found - 100 * share).max() <= 1


def test_other_shares_and_rows_without_labels():
    data = LabelledTexts([f"t{i}" for i in range(200)], None, None, [("", i) for i in range(200)])
    split, _ = split_labelled(data, {"a": 3, "b": 1})
    assert {name: len(part) for name, part in split.items()} == {"a": 150, "b": 50}


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        (["a", "b"], {}, "2 rows with 2 labels, of 2 different texts or groups, are too few"),
        (["a"] * 9, {"shares": {"train": 1}}, "two or more"),
        (["a"] * 9, {"shares": {"train": 1, "test": 0}}, "above 0"),
        (["a"] * 9, {"seed": -1}, "seed is -1"),
        (["a"] * 9, {"groups": [1]}, "1 groups are given for 9 rows"),
    ],
)
def test_what_cannot_be_split_is_refused(labels, arguments, message):
    with pytest.raises(BertError, match=message):
        split_labelled(rows(labels), **arguments)
