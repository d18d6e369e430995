"""What fine-tuning minimises and how: losses, rate multipliers and steps in parts."""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.errors import BertError
from bert_tf.training.losses import CLASSIFIER_SUMS, classifier_loss
from bert_tf.training.optimizer import BertAdam
from bert_tf.training.step import TrainingStep

ROWS, LABELS = 6, 3
WEIGHTS = np.array([1, 0.5, 2, 0, 1, 1], np.float32)


@pytest.fixture
def scores():
    return (2 * np.random.default_rng(0).standard_normal((ROWS, LABELS))).astype(np.float32)


def computed(loss, scores, labels, **more):
    value, sums = loss(
        ops.convert_to_tensor(scores), {"labels": labels, "weights": WEIGHTS, **more}
    )
    return float(value), ops.convert_to_numpy(sums)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classes(scores, smoothing):
    """By definition: -sum of target * log softmax, the target (1 - s) one-hot + s / classes."""
    labels = np.array([0, 1, 2, 0, 1, 1], np.int32)
    wide = scores.astype(np.float64)
    logs = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    target = (1 - smoothing) * np.eye(LABELS)[labels] + smoothing / LABELS
    rows = -(target * logs).sum(axis=1)
    value, sums = computed(classifier_loss("classes", label_smoothing=smoothing), scores, labels)
    assert value == pytest.approx((rows * WEIGHTS).sum() / WEIGHTS.sum(), rel=1e-5)
    hits = scores.argmax(axis=1) == labels
    assert 0 < (hits * WEIGHTS).sum() < WEIGHTS.sum()
    wanted = [(rows * WEIGHTS).sum(), (hits * WEIGHTS).sum(), WEIGHTS.sum()]
    np.testing.assert_allclose(sums, wanted, rtol=1e-5)
    assert len(CLASSIFIER_SUMS) == len(wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_several_labels_at_once(scores, smoothing):
    """By definition: the mean over the labels of -t log p - (1 - t) log(1 - p), times theirs."""
    labels = np.random.default_rng(1).integers(0, 2, (ROWS, LABELS)).astype(np.float32)
    factors = np.array([1.0, 3.0, 0.5])
    p = 1 / (1 + np.exp(-scores.astype(np.float64)))
    target = (1 - smoothing) * labels + smoothing / 2
    rows = ((-target * np.log(p) - (1 - target) * np.log(1 - p)) * factors).mean(axis=1)
    loss = classifier_loss("multilabel", label_weights=factors, label_smoothing=smoothing)
    value, sums = computed(loss, scores, labels)
    assert value == pytest.approx((rows * WEIGHTS).sum() / WEIGHTS.sum(), rel=1e-5)
    right = ((p > 0.5) == (labels == 1)).mean(axis=1)
    np.testing.assert_allclose(sums[1], (right * WEIGHTS).sum(), rtol=1e-5)


def test_a_number():
    """Labels 40, 60, 50 are -1, 1, 0 by mean 50 and deviation 10; scores 0, 1, 2.

    Errors 1, 0, 2: squares 1, 0, 4; with weights 1, 1, 2 their mean is 9 / 4.
    """
    loss = classifier_loss("regression", mean=50, deviation=10)
    batch = {
        "labels": np.array([40, 60, 50], np.float32),
        "weights": np.array([1, 1, 2], np.float32),
    }
    value, sums = loss(ops.convert_to_tensor(np.array([[0], [1], [2]], np.float32)), batch)
    assert float(value) == pytest.approx(9 / 4)
    np.testing.assert_allclose(ops.convert_to_numpy(sums), [9, -5, 4])


def test_large_scores_overflow_nowhere():
    big = np.array([[300, -300, 0]], np.float32)
    batch = {"weights": np.ones(1, np.float32)}
    for task, labels in (
        ("classes", np.array([1], np.int32)),
        ("multilabel", np.array([[0, 1, 1]], np.float32)),
    ):
        loss = classifier_loss(task)
        value = float(loss(ops.convert_to_tensor(big), {**batch, "labels": labels})[0])
        # 600 nats off; or (300 + 300 + log 2) / 3.
        assert value == pytest.approx(600 if task == "classes" else 200.2310, rel=1e-5)


def test_rows_that_only_fill_up_have_no_loss(scores):
    batch = {"labels": np.zeros(ROWS, np.int32), "weights": np.zeros(ROWS, np.float32)}
    value, sums = classifier_loss("classes")(ops.convert_to_tensor(scores), batch)
    assert float(value) == 0
    assert not ops.convert_to_numpy(sums).any()


def test_parts_add_up_by_the_weight_of_all(scores):
    labels = np.array([0, 1, 2, 0, 1, 1], np.int32)
    loss = classifier_loss("classes")
    whole, _ = computed(loss, scores, labels)
    total = np.float32(WEIGHTS.sum())
    parts = [
        loss(
            ops.convert_to_tensor(scores[at]),
            {"labels": labels[at], "weights": WEIGHTS[at], "total_weight": total},
        )[0]
        for at in (slice(0, 2), slice(2, 6))
    ]
    assert float(parts[0] + parts[1]) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("class", {}, "no task 'class'"),
        ("classes", {"label_smoothing": 1}, "label_smoothing is 1"),
        ("regression", {"deviation": 0}, "deviation is 0"),
    ],
)
def test_what_has_no_meaning(task, options, message):
    with pytest.raises(BertError, match=message):
        classifier_loss(task, **options)


def small(parts=1, **options):
    """A model of two dense layers with fixed weights, and a step that trains it."""
    x = keras.Input((4,), name="x")
    model = keras.Model(
        [x], keras.layers.Dense(3, name="top")(keras.layers.Dense(4, name="low")(x))
    )
    rng = np.random.default_rng(2)
    model.set_weights([rng.standard_normal(v.shape).astype(np.float32) for v in model.weights])
    optimizer = BertAdam(0.1, bias_correction=True, **options)
    return model, TrainingStep(model, classifier_loss("classes"), optimizer, parts)


def batch_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((6, 4)).astype(np.float32),
        "labels": rng.integers(0, 3, 6).astype(np.int32),
        "weights": np.array([1, 1, 1, 1, 0.5, 0], np.float32),
    }


def trained(parts):
    model, step = small(parts)
    sums = [np.asarray(step(batch_of(seed))) for seed in range(3)]
    step.sync()
    return model.get_weights(), np.array(sums)


def test_a_step_in_parts_is_a_step():
    """Ragged weights, clipping and Adam: the gradient is added up before any of them."""
    whole, sums = trained(1)
    for parts in (2, 3, 6):
        found, found_sums = trained(parts)
        np.testing.assert_allclose(found_sums, sums, rtol=1e-5)
        for a, b in zip(found, whole, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_rows_that_cannot_be_divided():
    _, step = small(4)
    with pytest.raises(BertError, match="a batch of 6 rows cannot be computed in 4 equal parts"):
        step(batch_of(0))


def test_predict_is_the_model():
    model, step = small()
    batch = batch_of(0)
    low, low_bias, top, top_bias = model.get_weights()
    expected = (batch["x"] @ low + low_bias) @ top + top_bias
    found = ops.convert_to_numpy(step.predict(batch))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_multipliers_are_factors_on_the_rate():
    """A first step of Adam with bias correction moves by the rate (no decay, tiny epsilon)."""
    multipliers = {"low": 0.5, "low/bias": 2.0, "to": 7.0}
    model, step = small(weight_decay=0.0, rate_multipliers=multipliers)
    before = model.get_weights()
    step(batch_of(0))
    step.sync()
    moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True)]
    # "to" is no whole name of a path, so "top" has 1.
    np.testing.assert_allclose(moved, [0.05, 0.2, 0.1, 0.1], rtol=1e-2)


def test_weight_decay_goes_with_the_rate():
    """No gradient: w shrinks by rate * multiplier * decay, the bias not at all."""
    variables = [keras.Variable(np.ones(2, np.float32), name=name) for name in ("kernel", "bias")]
    optimizer = BertAdam(0.1, weight_decay=0.5, rate_multipliers={variables[0].path: 0.2})
    optimizer.build(variables)
    optimizer.apply([ops.zeros(2), ops.zeros(2)], variables)
    np.testing.assert_allclose(ops.convert_to_numpy(variables[0]), 1 - 0.1 * 0.2 * 0.5)
    np.testing.assert_allclose(ops.convert_to_numpy(variables[1]), 1)


def test_multipliers_are_saved():
    optimizer = BertAdam(rate_multipliers={"low": 0.5})
    again = BertAdam.from_config(optimizer.get_config())
    assert again.rate_multipliers == {"low": 0.5}
    assert again.multiplier("low/kernel") == 0.5
    assert again.multiplier("lower/kernel") == 1
    with pytest.raises(BertError, match="rate multiplier of low is -1"):
        BertAdam(rate_multipliers={"low": -1})
