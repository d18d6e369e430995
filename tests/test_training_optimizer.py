"""BertAdam and its schedule: the original's rule in numpy, Keras's AdamW, `fit` and saving.

`test_training_step.py` runs this file on JAX as well.
"""

import math
import re

import keras
import numpy as np
import pytest
from keras import ops
from training_runs import tiny_training

from bert_tf.errors import BertError
from bert_tf.heads import weights_of
from bert_tf.models.weights import variable_at
from bert_tf.training.optimizer import BertAdam, WarmUpLinearDecay

SHAPES = {"kernel": (3, 4), "embeddings": (5, 2), "gamma": (4,), "beta": (4,), "bias": (4,)}
DECAYED = ("kernel", "embeddings")
STEPS = 10


def start_and_gradients():
    """Start values and ten steps' gradients, whose common norm is about 0.1 to 10."""
    rng = np.random.default_rng(0)
    start = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    scales = np.geomspace(0.02, 2, STEPS)[rng.permutation(STEPS)]
    gradients = [
        {name: rng.standard_normal(shape) * scale for name, shape in SHAPES.items()}
        for scale in scales
    ]
    return start, gradients


def in_numpy(rate, clip=1.0, decay=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """The rule of `AdamWeightDecayOptimizer` in float64.

    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - rate (m / (sqrt(v) + epsilon) + decay w)
    after the gradients are scaled to a common norm of at most `clip`.
    """
    start, gradients = start_and_gradients()
    w = dict(start)
    m = dict.fromkeys(w, 0.0)
    v = dict.fromkeys(w, 0.0)
    clipped = 0
    for number, step in enumerate(gradients):
        norm = np.sqrt(sum((g**2).sum() for g in step.values()))
        scale = 1.0 if clip is None else min(1.0, clip / norm)
        clipped += scale < 1
        for name, g in step.items():
            g = g * scale
            m[name] = beta_1 * m[name] + (1 - beta_1) * g
            v[name] = beta_2 * v[name] + (1 - beta_2) * g**2
            update = m[name] / (np.sqrt(v[name]) + epsilon)
            update = update + (decay if name in DECAYED else 0) * w[name]
            w[name] = w[name] - rate(number) * update
    assert clip is None or 2 < clipped < STEPS - 2
    return w, m, v


def by_keras(optimizer):
    """The same ten steps with a Keras optimizer: values by name, and the variables."""
    start, gradients = start_and_gradients()
    variables = [keras.Variable(x.astype(np.float32), name=name) for name, x in start.items()]
    optimizer.build(variables)
    for step in gradients:
        tensors = [ops.convert_to_tensor(g.astype(np.float32)) for g in step.values()]
        optimizer.apply(tensors, variables)
    return {v.name: ops.convert_to_numpy(v) for v in variables}, variables


@pytest.mark.parametrize("clip", [1.0, None])
def test_ten_steps_are_the_originals(clip):
    """Rates by hand: warm-up over 3 steps to 0.1, then 0.1 (1 - step / 12)."""
    rates = [0.0, 0.1 / 3, 0.2 / 3] + [0.1 * (1 - step / 12) for step in range(3, STEPS)]
    w, m, v = in_numpy(lambda step: rates[step], clip)
    optimizer = BertAdam(WarmUpLinearDecay(0.1, 12, 3), global_clipnorm=clip)
    found, variables = by_keras(optimizer)
    for variable in variables:
        name = variable.name
        mean, square = (ops.convert_to_numpy(x) for x in optimizer.slots(variable))
        np.testing.assert_allclose(found[name], w[name], rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(mean, m[name], rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(square, v[name], rtol=2e-5, atol=1e-9)
    assert int(optimizer.iterations) == STEPS


def test_with_bias_correction_it_is_keras_adamw():
    """Keras adds epsilon to the uncorrected root; with 1e-10 that makes no difference."""
    ours, _ = by_keras(BertAdam(0.1, weight_decay=0.2, epsilon=1e-10, bias_correction=True))
    adamw = keras.optimizers.AdamW(0.1, weight_decay=0.2, epsilon=1e-10, global_clipnorm=1.0)
    adamw.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    theirs, _ = by_keras(adamw)
    without, _ = by_keras(BertAdam(0.1, weight_decay=0.2, epsilon=1e-10))
    for name in SHAPES:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
        assert np.abs(without[name] - theirs[name]).max() > 0.1


def test_what_decays_in_a_bert_is_what_decayed_in_the_original():
    """Its `exclude_from_weight_decay` is ["LayerNorm", "layer_norm", "bias"], looked for in names.

    Left: three tables, six kernels of the layer, and those of pooler, transform and next sentence.
    """
    layers, model, step = tiny_training()
    by_name, optimizer = layers.by_name(), step.optimizer
    decays = {
        id(variable): decay
        for variable, decay in zip(model.trainable_variables, optimizer._decays, strict=True)
    }
    decayed = []
    weights = weights_of(layers.config, layers.heads.parts)
    assert len(weights) == len(decays)
    for weight in weights:
        decay = decays[id(variable_at(by_name[weight.layer], weight.attribute))]
        excluded = re.search("LayerNorm|layer_norm|bias", weight.original)
        assert decay == (0 if excluded else 0.01), weight.original
        if decay:
            decayed.append(weight.original.rsplit("/", 1)[-1])
    assert sorted(decayed) == sorted(
        ["word_embeddings", "position_embeddings", "token_type_embeddings"]
        + ["kernel"] * (6 + 2)
        + ["output_weights"]
    )


def test_what_a_user_excludes_does_not_decay():
    optimizer = BertAdam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["embed"])
    variables = [keras.Variable(np.ones(2), name=name) for name in ("embeddings", "kernel")]
    optimizer.build(variables)
    optimizer.apply([ops.zeros(2)] * 2, variables)
    assert [float(v[0]) for v in variables] == pytest.approx([1, 0.95])


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0), (5, 0.5), (9, 0.9), (10, 0.9), (11, 0.89), (55, 0.45), (99, 0.01), (100, 0), (150, 0)],
)
def test_the_schedule_at_some_steps(step, rate):
    """Warm-up of 10 of 100 steps to 1: the line 1 - step / 100 takes over at 0.9, not at 1."""
    assert float(WarmUpLinearDecay(1, 100, 10)(step)) == pytest.approx(rate, abs=1e-6)


def test_a_schedule_without_warm_up_begins_at_the_peak():
    assert [float(WarmUpLinearDecay(2, 4)(step)) for step in range(5)] == [2, 1.5, 1, 0.5, 0]


@pytest.mark.parametrize(
    "arguments",
    [(1, 0), (1, 10, -1), (-1, 10), (math.inf, 10), (math.nan, 10), (1, 10**20), (1, 0.5)],
)
def test_a_schedule_that_cannot_be(arguments):
    with pytest.raises(BertError, match=r"(peak|steps) is .*; it must be .*from [01] to"):
        WarmUpLinearDecay(*arguments)


def test_both_survive_their_config():
    optimizer = BertAdam(
        WarmUpLinearDecay(0.3, 70, 7),
        weight_decay=0.2,
        beta_1=0.8,
        beta_2=0.9,
        epsilon=1e-3,
        bias_correction=True,
        global_clipnorm=None,
        name="mine",
        gradient_accumulation_steps=2,
    )
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert type(again) is BertAdam
    assert again.get_config() == optimizer.get_config()
    assert again.decay == 0.2
    assert again.bias_correction is True
    assert again.global_clipnorm is None
    assert again._learning_rate.get_config() == {
        "peak": 0.3,
        "total_steps": 70,
        "warmup_steps": 7,
    }


class OneHotEmbedding(keras.layers.Layer):
    """A table looked up by a matrix product: its gradient is dense."""

    def build(self, input_shape):
        self.embeddings = self.add_weight(shape=(7, 3), name="embeddings")

    def call(self, ids):
        return ops.matmul(ops.one_hot(ids, 7), self.embeddings)


def small_model(embedding, **arguments):
    """Texts of 5 ids to a number; fixed start weights."""
    rng = np.random.default_rng(1)
    model = keras.Sequential(
        [keras.Input((5,), dtype="int32"), embedding, keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    for variable in model.trainable_variables:
        variable.assign(rng.standard_normal(variable.shape))
    model.compile(BertAdam(0.05, weight_decay=0.1, **arguments), loss="mse")
    return model


def texts():
    """Few different ids, several times in one text; targets far away, so that gradients are cut."""
    rng = np.random.default_rng(2)
    ids = rng.choice([1, 2, 4], (16, 5)).astype(np.int32)
    return ids, 10 * rng.standard_normal((16, 1)).astype(np.float32)


def fitted(model, batch_size):
    model.fit(*texts(), batch_size=batch_size, epochs=2, shuffle=False, verbose=0)
    return [ops.convert_to_numpy(x) for x in model.trainable_variables]


def test_in_fit_a_tables_sparse_gradient_counts_as_the_dense_one():
    """Also rows that no text has decay and keep their running means, as in the original."""
    sparse, dense = keras.layers.Embedding(7, 3), OneHotEmbedding()
    found = fitted(small_model(sparse), 4)
    wanted = fitted(small_model(dense), 4)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    untouched = np.random.default_rng(1).standard_normal((7, 3))[0]
    np.testing.assert_allclose(found[0][0], untouched * (1 - 0.05 * 0.1) ** 8, rtol=1e-4)


def test_two_half_batches_accumulated_are_one_batch():
    halves = small_model(keras.layers.Embedding(7, 3), gradient_accumulation_steps=2)
    found = fitted(halves, 4)
    wanted = fitted(small_model(keras.layers.Embedding(7, 3)), 8)
    assert int(halves.optimizer.iterations) == 4
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_saved_model_goes_on_as_if_it_had_not_been_saved(tmp_path):
    model = small_model(keras.layers.Embedding(7, 3))
    model.optimizer.learning_rate = WarmUpLinearDecay(0.1, 20, 2)
    fitted(model, 4)
    model.save(tmp_path / "mine.keras")
    again = keras.saving.load_model(tmp_path / "mine.keras")
    assert type(again.optimizer) is BertAdam
    assert int(again.optimizer.iterations) == 8
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    for a, b in zip(fitted(again, 4), fitted(model, 4), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "name", ["learning_rate", "weight_decay", "beta_1", "epsilon", "multiplier"]
)
@pytest.mark.parametrize("value", [-1, math.inf, math.nan, 1e308, 10**20, 10**400])
def test_an_optimizer_of_numbers_that_cannot_be(name, value):
    options = {"rate_multipliers": {"low": value}} if name == "multiplier" else {name: value}
    with pytest.raises(BertError, match=rf"{name}.* is .*; it must be .*from 0"):
        BertAdam(**options)
