"""Every metric against values derived by hand, and what is undefined becomes null."""

import json
import math
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from bert_tf.errors import BertError
from bert_tf.evaluation import intervals, resampled
from bert_tf.evaluation import names as metric_names
from bert_tf.evaluation.measure import measure_classes, measure_multilabel, measure_regression

pytestmark = pytest.mark.filterwarnings("error")

# Right a a a b b c, predicted a a b b c c, the predicted with 0.5 and the others with 0.25.
RIGHT = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 1, 1, 2, 2]
OUTPUTS = np.where(np.eye(3)[PREDICTED] == 1, 0.5, 0.25)

# Of the second class one is found at 0.5, one missed; one of the first is taken for it.
TWO_RIGHT = [0, 0, 0, 1, 1]
TWO_SECOND = np.array([0.1, 0.6, 0.3, 0.7, 0.4])
TWO_OUTPUTS = np.stack([1 - TWO_SECOND, TWO_SECOND], axis=1)


def strict_json(result) -> dict:
    """What JSON makes of it, refusing NaN and NumPy's types."""
    return json.loads(json.dumps(result.to_json(), allow_nan=False))


def test_three_classes():
    """Derivation.

    Confusion, rows right: a 2 1 0, b 0 1 1, c 0 0 1. Precision 2/2, 1/2, 1/2; recall 2/3, 1/2,
    1/1; F1 = 2 hits / (right + predicted) = 4/5, 2/4, 2/3. Weights 3/6, 2/6, 1/6. Matthews
    (Gorodkin): (4*6 - (3*2 + 2*2 + 1*2)) / sqrt((36 - 12) (36 - 14)) = 12 / sqrt(528). Loss: four
    times ln 2, two times ln 4, over 6. All are 0.5 sure and 4/6 right: calibration error 1/6.
    """
    result = measure_classes(RIGHT, OUTPUTS, ["a", "b", "c"])
    assert result.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert [label.precision for label in result.labels] == [1, 1 / 2, 1 / 2]
    assert [label.recall for label in result.labels] == [2 / 3, 1 / 2, 1]
    assert [label.f1 for label in result.labels] == [4 / 5, 1 / 2, 2 / 3]
    assert [(label.examples, label.predicted) for label in result.labels] == [
        (3, 2),
        (2, 2),
        (1, 2),
    ]
    assert result.two_classes is None
    expected = {
        "accuracy": 4 / 6,
        "loss": 8 * math.log(2) / 6,
        "matthews": 12 / math.sqrt(528),
        "macro_precision": 2 / 3,
        "macro_recall": 13 / 18,
        "macro_f1": 59 / 90,
        "weighted_f1": 61 / 90,
        "micro_f1": 4 / 6,
    }
    assert result.metrics() == pytest.approx(expected, abs=1e-12)
    assert result.averages["weighted"].precision == pytest.approx(0.75)
    assert result.averages["weighted"].recall == pytest.approx(4 / 6)
    assert result.averages["micro"].precision == pytest.approx(4 / 6)
    assert result.calibration.error == pytest.approx(1 / 6)
    filled = [bin for bin in result.calibration.bins if bin.examples]
    assert [(bin.low, bin.high, bin.examples, bin.confidence) for bin in filled] == [
        (0.4, 0.5, 6, 0.5)
    ]


def test_two_classes():
    """Derivation.

    The second class has 0.7 and 0.4, the first 0.1, 0.6, 0.3: of the 6 pairs 3 + 2 are in order.
    From the highest: 0.7 (precision 1), 0.6 wrong, 0.4 (2/3): average precision (1 + 2/3) / 2. At
    0.5 one of the second is found, one missed, one of the first taken for it: F1 2/4; 3/5 right.
    ROC (false alarms of 3, found of 2) at infinity, 0.7, 0.6, 0.4, 0.1; 0.3 lies between two.
    """
    result = measure_classes(TWO_RIGHT, TWO_OUTPUTS, ["ham", "spam"])
    two = result.two_classes
    assert two.positive == "spam"
    assert two.roc_auc == pytest.approx(5 / 6)
    assert two.average_precision == pytest.approx(5 / 6)
    assert two.f1 == 0.5
    assert result.metrics()["f1_accuracy"] == pytest.approx(0.55)
    assert two.roc.x == pytest.approx((0, 0, 1 / 3, 1 / 3, 1))
    assert two.roc.y == pytest.approx((0, 1 / 2, 1 / 2, 1, 1))
    assert two.roc.thresholds == pytest.approx((math.inf, 0.7, 0.6, 0.4, 0.1))
    points = set(zip(two.precision_recall.x, two.precision_recall.y))
    assert {(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, 2 / 3)} <= points
    assert strict_json(result)["two_classes"]["roc"]["thresholds"][0] is None


def test_calibration_bins_are_closed_above():
    """0.9 lies in (0.8, 0.9]; errors: |0.9 - 0| and |1.0 - 1|, one example each."""
    result = measure_classes([1, 0], [[0.9, 0.1], [1.0, 0.0]], ["a", "b"])
    assert [bin.examples for bin in result.calibration.bins] == [0] * 8 + [1, 1]
    assert result.calibration.error == pytest.approx(0.45)


def test_logits_give_what_their_probabilities_give():
    logits = np.log(OUTPUTS) + np.arange(6)[:, None]
    by_logits = measure_classes(RIGHT, logits, "abc", from_logits=True).metrics()
    assert by_logits == pytest.approx(measure_classes(RIGHT, OUTPUTS, "abc").metrics())
    many = np.array([[2.0, -1.0], [0.0, 800.0]])
    labels = [[1, 1], [0, 1]]
    by_logits = measure_multilabel(labels, many, "ab", from_logits=True).metrics()
    shares = 1 / (1 + np.exp(-np.minimum(many, 700)))
    assert by_logits == pytest.approx(measure_multilabel(labels, shares, "ab").metrics())


@pytest.mark.parametrize("right", [[0, 0, 0], [1, 1, 1]])
def test_one_class_only_and_constant_predictions(right):
    result = measure_classes(right, [[0.8, 0.2]] * 3, ["a", "b"])
    found = strict_json(result)
    assert result.matthews == 0
    assert found["two_classes"]["roc_auc"] is None
    assert found["two_classes"]["roc"] is None
    assert found["metrics"]["average_precision"] is None
    assert found["labels"][1]["precision"] is None
    assert found["labels"][0]["recall"] == (1 if right[0] == 0 else None)
    assert found["metrics"]["f1"] == (None if right[0] == 0 else 0)
    assert found["metrics"]["accuracy"] == (1 if right[0] == 0 else 0)


def test_a_class_that_occurs_nowhere_does_not_count():
    three = measure_classes([0, 1], [[0.9, 0.1, 0], [0.1, 0.9, 0]], "abc")
    assert three.metrics()["macro_f1"] == 1
    assert three.labels[2].f1 is None
    assert three.to_json()["labels"][2]["examples"] == 0


def test_keys_do_not_depend_on_the_values():
    full = measure_classes(TWO_RIGHT, TWO_OUTPUTS, "ab").to_json()
    poor = measure_classes([0], [[1.0, 0.0]], "ab").to_json()
    assert full.keys() == poor.keys()
    assert full["metrics"].keys() == poor["metrics"].keys() <= metric_names.METRICS.keys()
    assert full["intervals"].keys() == poor["intervals"].keys()


def test_several_labels_at_once():
    """Derivation.

    Predicted: {0}, {0}, {0, 1}, {2}. Label 0: found 2/2, 3 predicted; label 1: 1/2, 1 predicted;
    label 2: 0/0, 1 predicted. F1 4/5, 2/3, 0. Together 3 hits, 4 right, 5 predicted: 6/9. Weights
    1/2, 1/2, 0. The first row alone is right in all. Average precision of label 0: 0.9, 0.7 wrong,
    0.6: (1 + 2/3) / 2; of label 1: 0.8, 0.4: 1; label 2 does not occur.
    """
    truth = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    outputs = [[0.9, 0.2, 0.1], [0.6, 0.4, 0.1], [0.7, 0.8, 0.1], [0.3, 0.1, 0.6]]
    result = measure_multilabel(truth, outputs, ["x", "y", "z"])
    assert [label.average_precision for label in result.labels] == [
        pytest.approx(5 / 6),
        pytest.approx(1),
        None,
    ]
    assert [label.recall for label in result.labels] == [1, 0.5, None]
    said = [0.9, 0.8, 0.9, 0.6, 0.4, 0.9, 0.3, 0.8, 0.9, 0.7, 0.9, 0.4]
    expected = {
        "subset_accuracy": 1 / 4,
        "loss": -sum(map(math.log, said)) / 12,
        "average_precision": 11 / 12,
        "macro_precision": (2 / 3 + 1 + 0) / 3,
        "macro_recall": 1.5 / 3,
        "macro_f1": 22 / 45,
        "weighted_f1": 11 / 15,
        "micro_f1": 2 / 3,
    }
    assert result.metrics() == pytest.approx(expected)
    strict_json(result)


def test_labels_that_nobody_has():
    result = measure_multilabel([[0], [0]], [[0.1], [0.0]], ["x"])
    found = strict_json(result)["metrics"]
    assert found["subset_accuracy"] == 1
    assert found["micro_f1"] == found["macro_f1"] == 0
    assert found["average_precision"] is None


def test_regression():
    """Derivation.

    Deviations of the labels -1.5 -.5 .5 1.5 (squares 5), of the outputs -3 -1 -2 6 (50), products
    13: Pearson 13 / sqrt(250). Ranks 1 3 2 4, squared differences 2: Spearman 1 - 6*2 / (4*15).
    Errors 0 1 -1 6: squares 38, absolute 8; R2 1 - 38/5.
    """
    result = measure_regression([1, 2, 3, 4], [[1], [3], [2], [10]])
    pearson = 13 / math.sqrt(250)
    expected = {
        "pearson": pearson,
        "spearman": 0.8,
        "pearson_spearman": (pearson + 0.8) / 2,
        "loss": 9.5,
        "mse": 9.5,
        "mae": 2.0,
        "r2": -6.6,
    }
    assert result.metrics() == pytest.approx(expected)
    strict_json(result)


@pytest.mark.parametrize(
    ("labels", "outputs"), [([1, 2, 3], [5, 5, 5]), ([2, 2, 2], [1, 2, 3]), ([1], [1])]
)
def test_regression_of_constants(labels, outputs):
    found = strict_json(measure_regression(labels, outputs))
    assert found["pearson"] is None
    assert found["spearman"] is None
    assert found["metrics"]["pearson_spearman"] is None
    assert found["intervals"]["pearson"] is None
    assert (found["r2"] is None) == (len(set(labels)) == 1)


def test_correlation_of_what_differs_by_rounding_only():
    strict_json(measure_regression([1.0, 2.0, 3.0], [1e16, 1e16 + 2, 1e16]))


def test_wilson():
    """Published values (Newcombe 1998, table I): 81 of 263, and 0 of 20."""
    assert intervals.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert intervals.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert intervals.wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)


def test_statistics_of_drawn_confusions_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    for classes in (2, 2, 3, 5):
        right, predicted = rng.integers(0, classes, (2, 12))
        matrix = sklearn_metrics.confusion_matrix(right, predicted, labels=range(classes))[None]
        macro = sklearn_metrics.f1_score(right, predicted, average="macro", zero_division=0)
        assert resampled.macro_f1(matrix)[0] == pytest.approx(macro)
        matthews = sklearn_metrics.matthews_corrcoef(right, predicted)
        assert resampled.matthews(matrix)[0] == pytest.approx(matthews)
        if classes == 2:
            f1 = sklearn_metrics.f1_score(right, predicted)
            assert resampled.second_f1(matrix)[0] == pytest.approx(f1)
            mean = (f1 + (right == predicted).mean()) / 2
            assert resampled.second_f1_accuracy(matrix)[0] == pytest.approx(mean)


def test_statistics_of_drawn_rows_are_those_of_the_rows_repeated():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 20)).astype(float)
    truth, predicted = rng.random((2, 20, 3)) < 0.4
    times = np.bincount(rng.integers(0, 20, 20), minlength=20)
    correlations = resampled.correlations(x, y)
    repeated_x, repeated_y = np.repeat(x, times), np.repeat(y, times)
    pearson = stats.pearsonr(repeated_x, repeated_y).statistic
    spearman = stats.spearmanr(repeated_x, repeated_y).statistic
    assert correlations["pearson"](times) == pytest.approx(pearson)
    assert correlations["spearman"](times) == pytest.approx(spearman)
    assert correlations["pearson_spearman"](times) == pytest.approx((pearson + spearman) / 2)
    repeated = np.repeat(truth, times, axis=0), np.repeat(predicted, times, axis=0)
    for name, statistic in resampled.multilabel_f1(truth, predicted).items():
        expected = sklearn_metrics.f1_score(*repeated, average=name.removesuffix("_f1"))
        assert statistic(times) == pytest.approx(expected)


def test_intervals_are_those_of_theory():
    """Pearson's of normal variables is Fisher's tanh(artanh r +- 1.96 / sqrt(n - 3))."""
    x, noise = np.random.default_rng(2).normal(size=(2, 400))
    result = measure_regression(x, x + noise)
    z, half = math.atanh(result.pearson), 1.96 / math.sqrt(397)
    theory = (math.tanh(z - half), math.tanh(z + half))
    assert result.intervals["pearson"] == pytest.approx(theory, abs=0.02)
    assert result.intervals == measure_regression(x, x + noise).intervals
    # The accuracy of one of two balanced classes is Wilson's; F1 lies around its own value.
    right = np.arange(200) % 2
    predicted = np.where(np.arange(200) % 10 == 0, 1 - right, right)
    result = measure_classes(right, np.eye(2)[predicted], "ab")
    assert result.intervals["accuracy"] == intervals.wilson(180, 200)
    low, high = result.intervals["f1"]
    assert low < result.two_classes.f1 < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.09 / 200), rel=0.25)
    assert measure_classes(right, np.eye(2)[predicted], "ab", intervals=False).intervals == {}


def test_numbers_of_bfloat16_sum_to_one_nearly():
    import ml_dtypes

    given = np.array([[0.3, 0.3, 0.4]]).astype(ml_dtypes.bfloat16)
    assert measure_classes([2], given, "abc").loss == pytest.approx(-math.log(0.4), abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure_classes([0], [[math.nan, 1]], "ab"), "nan in example 0.*diverged"),
        (lambda: measure_classes([2], [[0.5, 0.5]], "ab"), "label 2 of example 0.*0 to 1"),
        (lambda: measure_classes([0.5], [[0.5, 0.5]], "ab"), "label 0.5 of example 0"),
        (lambda: measure_classes([0, 1], [[0.5, 0.5]], "ab"), r"labels have the shape \(2,\)"),
        (lambda: measure_classes([0], [[0.5, 0.5]], "abc"), r"must be \(examples, 3\)"),
        (lambda: measure_classes([0], [[3.0, 0.5]], "ab"), "from_logits=True"),
        (lambda: measure_classes([0], [[0.2, 0.2]], "ab"), "sum to 0.4"),
        (lambda: measure_classes([0], [[1.0]], "a"), "at least 2 classes"),
        (lambda: measure_classes([], np.zeros((0, 2)), "ab"), "no example"),
        (lambda: measure_classes(["x"], [[0.5, 0.5]], "ab"), "must be numbers"),
        (lambda: measure_multilabel([[2]], [[0.5]], "a"), "0 or 1"),
        (lambda: measure_regression([1], [[1, 2]]), "shape"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message):
    with pytest.raises(BertError, match=message):
        call()


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(BertError, match=r"pip install 'bert_tf\[train\]'"):
        measure_classes([0], [[0.5, 0.5]], "ab")


@pytest.mark.parametrize(
    ("task", "kind", "expected"),
    [
        ("CoLA", "classes", "matthews"),
        ("sts-b", "regression", "pearson_spearman"),
        ("MRPC", "classes", "f1_accuracy"),
        ("qqp", "classes", "f1_accuracy"),
        ("SST_2", "classes", "accuracy"),
        ("sst2", "classes", "accuracy"),
        ("xnli", "classes", "accuracy"),
        (None, "classes", "accuracy"),
        (None, "multilabel", "micro_f1"),
        ("mrpc", "multilabel", "micro_f1"),
    ],
)
def test_main_metrics(task, kind, expected):
    assert metric_names.main_metric(kind, task) == expected


def test_names_and_directions():
    assert metric_names.metric_for("eval_Macro-F1", "classes").higher_is_better
    assert not metric_names.metric_for("loss", "regression").higher_is_better
    assert metric_names.metric_for("average_precision", "multilabel", 5)
    assert metric_names.metric_for("f1", "classes", 2)
    for name, labels, message in [
        ("f1", 3, "not measured for 3 classes; take one of accuracy, loss"),
        ("mse", None, "not measured for a classes task"),
        ("acuracy", None, "do you mean 'accuracy'"),
    ]:
        with pytest.raises(BertError, match=message):
            metric_names.metric_for(name, "classes", labels)
    with pytest.raises(BertError, match="no kind of task"):
        metric_names.main_metric("ranking")
    assert metric_names.is_better("accuracy", 0.6, 0.5)
    assert not metric_names.is_better("accuracy", 0.5, 0.5)
    assert metric_names.is_better("mse", 0.4, 0.5)
    assert metric_names.is_better("pearson", -1.0, None)
    assert not metric_names.is_better("pearson", math.nan, None)


def test_every_result_has_all_metrics_of_its_kind():
    results = {
        "classes": measure_classes(TWO_RIGHT, TWO_OUTPUTS, "ab"),
        "multilabel": measure_multilabel([[1, 0]], [[0.5, 0.5]], "ab"),
        "regression": measure_regression([1, 2], [1, 2]),
    }
    for kind, result in results.items():
        named = {m.name for m in metric_names.METRICS.values() if kind in m.kinds}
        assert result.metrics().keys() == named
