"""Dropout: its bits against a reference in plain integers, its statistics, its state, its place."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf.models.dropout import Dropout, dropped, random_bits
from bert_tf.models.transformer import TransformerLayer

WORD = 2**32


def mixed(x: int) -> int:
    """The hash of one number; Python's integers do not overflow, hence the remainders."""
    x ^= x >> 16
    x = x * 0x7FEB352D % WORD
    x ^= x >> 15
    x = x * 0x846CA68B % WORD
    return x ^ x >> 16


def bits_of(size: int, low: int, high: int) -> list[int]:
    first = mixed(low ^ mixed(high))
    second = mixed(high ^ mixed((low + 0x9E3779B9) % WORD))
    return [mixed(mixed((place + first) % WORD) ^ second) for place in range(size)]


def bits(shape, *key: int) -> np.ndarray:
    return ops.convert_to_numpy(random_bits(shape, ops.convert_to_tensor(np.uint32(key))))


def test_bits_are_those_of_plain_integers():
    for key in ((0, 0), (1, 0), (0, 1), (WORD - 1, WORD - 2), (123456789, 42)):
        found = bits((3, 1, 5), *key)
        assert found.dtype == np.uint32
        assert found.shape == (3, 1, 5)
        assert found.ravel().tolist() == bits_of(15, *key)


def test_bits_are_even_and_unrelated():
    """Each figure is a mean of n signs of +-1: its deviation is 1/sqrt(n), allowed are 5 of them.

    Looked at are the 32 bits themselves, then products of the same bit at neighbouring places,
    places a row apart, and under keys that differ by one (the next step; the next seed).
    """
    shape = (256, 256)
    signs = [
        np.unpackbits(bits(shape, *key)[..., None].view(np.uint8), axis=-1) * 2.0 - 1
        for key in ((7, 5), (7, 6), (8, 5))
    ]
    one, *others = signs
    bound = 5 / 2**8
    assert np.abs(one.mean(axis=(0, 1))).max() < bound
    products = [one[:, 1:] * one[:, :-1], one[1:] * one[:-1], one[..., 1:] * one[..., :-1]]
    products += [one * other for other in others]
    for product in products:
        assert np.abs(product.mean(axis=(0, 1))).max() < bound


def test_the_share_that_is_dropped():
    """A count of n = 90,000 has the deviation sqrt(n p (1 - p)); rows and columns likewise."""
    ones = np.ones((300, 300), np.float32)
    for rate in (0.1, 0.5, 0.9):
        out = ops.convert_to_numpy(dropped(ones, np.uint32([3, 1]), rate))
        np.testing.assert_allclose(out[out != 0], 1 / (1 - rate), rtol=1e-6)
        lost = out == 0
        assert abs(lost.sum() - lost.size * rate) < 5 * (lost.size * rate * (1 - rate)) ** 0.5
        for axis in (0, 1):
            off = lost.sum(axis=axis) - 300 * rate
            # Squares of 300 standard normal variables: mean 300, deviation sqrt(600).
            assert abs((off**2 / (300 * rate * (1 - rate))).sum() - 300) < 5 * 600**0.5
    assert (ops.convert_to_numpy(dropped(ones, np.uint32([3, 1]), 0.0)) == 1).all()
    assert (ops.convert_to_numpy(dropped(ones, np.uint32([3, 1]), 1.0)) == 0).all()


def test_the_state_decides_what_is_dropped():
    layer = Dropout(0.25, seed=11)
    x = np.arange(1, 65, dtype=np.float32).reshape(4, 16)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), x)
    state = layer.seed_generator.state
    assert ops.convert_to_numpy(state).tolist() == [11, 0]
    first, second = (ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert ops.convert_to_numpy(state).tolist() == [11, 2]
    for number, found in enumerate((first, second)):
        kept = np.reshape(bits_of(64, 11, number), (4, 16)) >= WORD // 4
        np.testing.assert_allclose(found, np.where(kept, x / 0.75, 0), rtol=1e-6)
    state.assign([11, 1])
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=True)), second)


def test_config_and_rates_at_the_ends():
    again = Dropout.from_config(Dropout(0.3, seed=2, name="a").get_config())
    assert (again.rate, again.seed, again.name) == (0.3, 2, "a")
    x = np.ones((2, 3), np.float32)
    assert (ops.convert_to_numpy(Dropout(0.0)(x, training=True)) == 1).all()
    assert not Dropout(0.0).non_trainable_variables
    assert (ops.convert_to_numpy(Dropout(1.0)(x, training=True)) == 0).all()


def layer_of(rate: float, attention: float, dtype="float32") -> TransformerLayer:
    """Two heads of 4; weights far from zero, so that every term counts."""
    keras.utils.set_random_seed(5)
    layer = TransformerLayer(2, 12, "gelu", rate, attention, initializer_range=0.5, dtype=dtype)
    layer.build((None, None, 8))
    return layer


def plain_layer(layer: TransformerLayer, x, bias, queries):
    """The layer in training, written as the formulas are, without fused parts.

    Each dropout takes the key that the layer took in the call before.
    """

    def drop(values, dropout):
        if not dropout.rate:
            return values
        seed, count = ops.convert_to_numpy(dropout.seed_generator.state).tolist()
        kept = np.reshape(bits_of(values.size, seed, count - 1), values.shape)
        return values * (kept >= round(dropout.rate * WORD)) / (1 - dropout.rate)

    def dense(values, part):
        return values @ np.asarray(part.kernel, np.float64) + np.asarray(part.bias, np.float64)

    def norm(values, part):
        centered = values - values.mean(-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * np.asarray(part.gamma) + np.asarray(part.beta)

    def heads(values):
        return values.reshape(*values.shape[:2], 2, 4).transpose(0, 2, 1, 3)

    own = layer.attention
    query, key, value = (
        heads(dense(values, part))
        for values, part in ((queries, own.query), (x, own.key), (x, own.value))
    )
    scores = np.exp(query @ key.transpose(0, 1, 3, 2) / 2 + bias)
    probs = drop(scores / scores.sum(-1, keepdims=True), own.probs_dropout)
    context = (probs @ value).transpose(0, 2, 1, 3).reshape(queries.shape)
    attended = dense(context, own.output_dense)
    y = norm(drop(attended, layer.attention_residual_dropout) + queries, layer.attention_norm)
    inner = dense(y, layer.intermediate)
    inner = inner / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    fed = dense(inner, layer.output_dense)
    return norm(drop(fed, layer.output_residual_dropout) + y, layer.output_norm)


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 8)).astype(np.float32)
    bias = np.zeros((3, 1, 1, 5), np.float32)
    bias[1, ..., 3:] = -10000
    return x, bias


@pytest.mark.parametrize(("rate", "attention"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.2, 0.4)])
def test_a_layer_in_training_is_its_formulas(inputs, rate, attention):
    layer = layer_of(rate, attention)
    x, bias = inputs
    for queries in (x, x[:, :2]):
        out = layer(x, bias, queries=None if queries is x else queries, training=True)
        expected = plain_layer(layer, x.astype(np.float64), bias, queries.astype(np.float64))
        np.testing.assert_allclose(ops.convert_to_numpy(out), expected, atol=2e-5)


def value_and_slopes(layer, x, bias, toward):
    """Sum of the layer's output times `toward`, by x and by all weights; its state stays."""
    states = [ops.convert_to_numpy(v) for v in layer.non_trainable_variables]
    if keras.backend.backend() == "jax":
        import jax

        def value(x, trained):
            fixed = layer.non_trainable_variables
            out, _ = layer.stateless_call(trained, [v.value for v in fixed], x, bias, training=True)
            return ops.sum(out * toward)

        trained = [v.value for v in layer.trainable_variables]
        found, (by_x, by_weights) = jax.value_and_grad(value, argnums=(0, 1))(x, trained)
    else:
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = ops.sum(layer(x, bias, training=True) * toward)
        by_x, *by_weights = tape.gradient(found, [x, *(v.value for v in layer.trainable_variables)])
    for variable, state in zip(layer.non_trainable_variables, states, strict=True):
        variable.assign(state)
    return float(found), [ops.convert_to_numpy(one) for one in (by_x, *by_weights)]


def test_slopes_are_those_of_the_same_mask(inputs):
    """Along a random direction, against the difference of two values with the same state.

    In float32 at a distance of 1e-2 either way the difference is good to about 1e-3 of the
    slope; a backward pass with another mask would be off by its order.
    """
    layer = layer_of(0.2, 0.4)
    x, bias = inputs
    rng = np.random.default_rng(1)
    toward = rng.normal(size=x.shape).astype(np.float32)
    _, slopes = value_and_slopes(layer, x, bias, toward)
    variables = layer.trainable_variables
    start = [ops.convert_to_numpy(v) for v in variables]
    for number in range(len(slopes)):
        step = rng.normal(size=slopes[number].shape).astype(np.float32)
        step *= 1e-2 / np.linalg.norm(step)
        values = []
        for sign in (1, -1):
            moved = x + sign * step if number == 0 else x
            if number:
                variables[number - 1].assign(start[number - 1] + sign * step)
            values.append(value_and_slopes(layer, moved, bias, toward)[0])
        if number:
            variables[number - 1].assign(start[number - 1])
        expected = (slopes[number] * step).sum()
        assert (values[0] - values[1]) / 2 == pytest.approx(expected, rel=0.02, abs=2e-4)


def test_mixed_precision(inputs):
    layer = layer_of(0.2, 0.4, "mixed_bfloat16")
    x, bias = inputs
    out = layer(x, bias, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    expected = plain_layer(layer, x.astype(np.float64), bias, x.astype(np.float64))
    # bfloat16 has 8 bits; outputs are of order 1, and a dozen roundings lie before them.
    off = np.abs(ops.convert_to_numpy(ops.cast(out, "float32")) - expected)
    assert off.mean() < 0.02
    assert off.max() < 0.2


@pytest.mark.slow
def test_all_of_it_on_jax():
    pytest.importorskip("jax")
    if keras.backend.backend() == "jax":
        return
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
