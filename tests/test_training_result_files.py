"""The files' exact bytes, the worst examples, and the warnings."""

import csv
import doctest
import io
import json
import math

import numpy as np
import pytest

from bert_tf.errors import BertError
from bert_tf.evaluation import intervals, result_files, worst
from bert_tf.evaluation import names as metric_names
from bert_tf.evaluation import results as metric_results
from bert_tf.evaluation.measure import measure_classes, measure_multilabel, measure_regression
from bert_tf.training.objectives import classifier

LABELS = ['say "hi"', "a\tb", "東京"]
OUTPUTS = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.5, 0.5, 0.0]]
TEXTS = ["one", 'a "quoted"\ttext\r', "二\nlines"]


def test_the_examples_in_the_docstrings():
    for module in (intervals, metric_names, metric_results, classifier, result_files):
        tried = doctest.testmod(module)
        assert tried.failed == 0
        assert tried.attempted > 0


def test_eval_results_are_the_original_s(tmp_path):
    """2 of 3 right; -(ln 1/2 + ln 1/2) / 2 and so on is checked elsewhere: here, the text."""
    result = measure_classes([0, 0, 1], [[0.5, 0.5]] * 3, ["0", "1"])
    values = result_files.eval_results(result, global_step=343, loss=0.1)
    result_files.write_eval_results(tmp_path / "eval_results.txt", values)
    assert (tmp_path / "eval_results.txt").read_bytes() == (
        b"eval_accuracy = 0.6666667\neval_loss = 0.6931472\nglobal_step = 343\nloss = 0.1\n"
    )
    assert result_files.eval_results(result, 1)["loss"] == pytest.approx(math.log(2))


def test_eval_results_of_a_number(tmp_path):
    values = result_files.eval_results(measure_regression([1, 2], [0, 0]), np.int64(7))
    result_files.write_eval_results(tmp_path / "eval_results.txt", values)
    assert (tmp_path / "eval_results.txt").read_text().splitlines() == [
        "eval_loss = 2.5",
        "eval_mae = 1.5",
        "eval_mse = 2.5",
        "eval_pearson = nan",
        "eval_pearson_spearman = nan",
        "eval_r2 = -9.0",
        "eval_spearman = nan",
        "global_step = 7",
        "loss = 2.5",
    ]


def test_test_results_are_the_original_s(tmp_path):
    path = tmp_path / "test_results.tsv"
    batches = (np.array([row], np.float32) for row in ([0.1, 0.9], [1e-7, 0.9999999]))
    assert result_files.write_test_results(path, batches) == 2
    assert path.read_bytes() == b"0.1\t0.9\n1e-07\t0.9999999\n"
    assert result_files.write_test_results(path, [np.array([1.5, 2.0])]) == 2
    assert path.read_bytes() == b"1.5\n2.0\n"
    assert result_files.write_test_results(path, []) == 0
    assert path.read_bytes() == b""


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "test_results.tsv"
    path.write_text("before")

    def batches():
        yield np.zeros((1, 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result_files.write_test_results(path, batches())
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with pytest.raises(BertError, match=r"cannot write .*nowhere"):
        result_files.write_eval_results(tmp_path / "nowhere" / "x", {})


def test_json_of_unusual_labels(tmp_path):
    result = measure_classes([0, 1, 2], OUTPUTS, LABELS)
    result_files.write_result_json(tmp_path / "r.json", result, data="試験", at=np.int64(3))
    text = (tmp_path / "r.json").read_bytes().decode("utf-8")
    assert text.startswith('{\n  "data": "試験",\n  "at": 3,\n  "kind": "classes",\n')
    assert text.endswith("}\n")
    found = json.loads(text)
    assert [label["label"] for label in found["labels"]] == LABELS
    assert found["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_worst_classes():
    """The right classes have 0.5, 0.75 and 0: losses ln 2, ln 4/3 and 52 ln 2 (float64's step)."""
    rows = worst.worst_classes(TEXTS, [0, 1, 2], OUTPUTS, LABELS)
    assert [row["example"] for row in rows] == [2, 0, 1]
    assert [row["loss"] for row in rows] == pytest.approx(
        [52 * math.log(2), math.log(2), math.log(4 / 3)]
    )
    assert rows[0] == {
        "example": 2,
        "text": TEXTS[2],
        "label": "東京",
        "prediction": 'say "hi"',
        "probability": 0.0,
        "predicted_probability": 0.5,
        "loss": pytest.approx(36.04, abs=0.01),
    }
    logits = worst.worst_classes(
        TEXTS,
        [0, 1, 1],
        np.log([[0.5, 0.25, 0.25]] * 3),
        LABELS,
        from_logits=True,
        pairs=["x", "y", "z"],
        limit=2,
    )
    assert [(row["example"], row["text_pair"]) for row in logits] == [(1, "y"), (2, "z")]
    assert logits[0]["probability"] == pytest.approx(0.25)


def test_worst_of_several_labels_and_of_numbers():
    """Right and said: (0.5, 0.5) and (0.9, 0.8): of the second 0.72, if independent."""
    rows = worst.worst_multilabel(["s", "t"], [[1, 0], [1, 0]], [[0.9, 0.2], [0.5, 0.5]], "ab")
    assert [row["text"] for row in rows] == ["t", "s"]
    assert rows[0]["prediction"] == ["a", "b"]
    assert rows[1]["label"] == rows[1]["prediction"] == ["a"]
    assert rows[1]["probability"] == pytest.approx(0.72)
    assert rows[0]["loss"] == pytest.approx(math.log(2))
    rows = worst.worst_regression(["s", "t"], [1, 2], [[1.5], [4.0]])
    assert rows == [
        {"example": 1, "text": "t", "label": 2.0, "prediction": 4.0, "loss": 4.0},
        {"example": 0, "text": "s", "label": 1.0, "prediction": 1.5, "loss": 0.25},
    ]
    with pytest.raises(BertError, match="1 texts and 2 outputs"):
        worst.worst_regression(["s"], [1, 2], [1, 2])


def test_worst_examples_as_files(tmp_path):
    rows = worst.worst_classes(TEXTS, [0, 1, 2], OUTPUTS, LABELS)
    result_files.write_worst_tsv(tmp_path / "w.tsv", rows)
    written = (tmp_path / "w.tsv").read_bytes()
    assert (
        written
        == (
            "example\ttext\tlabel\tprediction\tprobability\tpredicted_probability\tloss\n"
            '2\t"二\nlines"\t東京\t"say ""hi"""\t0\t0.5\t36.0437\n'
            '0\tone\t"say ""hi"""\t"say ""hi"""\t0.5\t0.5\t0.693147\n'
            '1\t"a ""quoted""\ttext\r"\t"a\tb"\t"a\tb"\t0.75\t0.75\t0.287682\n'
        ).encode()
    )
    read = list(csv.DictReader(io.StringIO(written.decode(), newline=""), dialect="excel-tab"))
    assert [row["text"] for row in read] == [row["text"] for row in rows]
    assert [row["prediction"] for row in read] == [row["prediction"] for row in rows]
    many = worst.worst_multilabel(["s\ud800"], [[1, 1]], [[0.9, 0.2]], "ab")
    result_files.write_worst_tsv(tmp_path / "w.tsv", many)
    assert (tmp_path / "w.tsv").read_text().split("\n")[1] == "0\ts\\ud800\ta, b\ta\t0.18\t0.857399"
    result_files.write_worst_tsv(tmp_path / "w.tsv", [])
    assert (tmp_path / "w.tsv").read_bytes() == b""


def test_multilabel_eval_results_name_all_metrics():
    result = measure_multilabel([[1, 0]], [[0.9, 0.1]], "ab")
    assert {"eval_micro_f1", "eval_subset_accuracy", "global_step", "loss"} <= set(
        result_files.eval_results(result, 1)
    )


def test_warnings():
    labels = np.array([0] * 3 + [1] * 9)
    said = classifier.one_class_warning(labels, 1, "ab", "test")
    assert "all 12 test rows are predicted as 'b', as 75 % of them are" in said
    assert classifier.one_class_warning(labels, None, "ab", "test") == ""  # two classes are said
    assert classifier.one_class_warning(labels[3:], 1, "ab", "test") == ""  # and it is right
    assert classifier.one_class_warning(labels[:9], 1, "ab", "test") == ""  # too few to tell
    said = classifier.imbalance_warning(np.array([747, 4827]), ["spam", "ham"])
    assert "'ham' has 4827 of 5574 examples (86.6 %), 'spam' has 747 (13.4 %)" in said
    assert classifier.imbalance_warning([29, 10], "ab") == ""
    assert "'b' has 0 (0.0 %)" in classifier.imbalance_warning([5, 0], "ab")
    assert classifier.imbalance_warning([0, 0], "ab") == ""
