"""The small layers that BERT is made of, beyond what Keras itself has."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from bert_tf.errors import BertError
from bert_tf.models.dropout import Dropout, dropped, register
from bert_tf.models.fused import fused
from bert_tf.models.initializers import BertInitializer

MASK_BIAS = -10000.0
"""Added to the attention scores of padding keys, as the original does (google-research/bert,
modeling.py, attention_layer). Finite: a row of padding alone attends as if nothing were masked and
stays free of NaN, and the value fits into float16."""

ACTIVATIONS = {
    # "gelu" is the tanh approximation: the original's own gelu. Keras's default is the exact one.
    "gelu": functools.partial(ops.gelu, approximate=True),
    "gelu_exact": functools.partial(ops.gelu, approximate=False),
    "relu": ops.relu,
    "tanh": ops.tanh,
    "linear": lambda x: x,
}


def activation_function(name: str):
    """The function that a config's `hidden_act` names.

    Raises:
        BertError: the name is not one of `bert_tf.config.HIDDEN_ACTS`.
    """
    if name not in ACTIVATIONS:
        raise BertError(f"hidden_act {name!r} is not known; use one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


@functools.cache
def training_activation(name: str):
    """The same function for training: computed in float32, and compiled where that pays."""
    function = activation_function(name)
    return fused(lambda x: ops.cast(function(ops.cast(x, "float32")), x.dtype))


def _normalized(wide, gamma, beta, epsilon: float):
    """Layer norm over the last axis of a float32 tensor."""
    centered = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
    return centered * ops.rsqrt(variance + epsilon) * gamma + beta


@functools.cache
def _training_norm(epsilon: float):
    """Layer norm for training: computed in float32, in the input's type."""

    def normalize(x, gamma, beta):
        return ops.cast(_normalized(ops.cast(x, "float32"), gamma, beta, epsilon), x.dtype)

    return fused(normalize)


@functools.cache
def _training_sum_norm(epsilon: float, rate: float):
    """Dropout, residual sum and layer norm for training, in one; computed in float32."""

    def normalize(branch, residual, gamma, beta, *keys):
        wide = ops.cast(branch, "float32")
        wide = dropped(wide, keys[0], rate) if keys else wide
        wide = wide + ops.cast(residual, "float32")
        return ops.cast(_normalized(wide, gamma, beta, epsilon), branch.dtype)

    return fused(normalize)


class Layer(keras.layers.Layer):
    """A layer that is saved with some of its attributes, which are arguments of `__init__`."""

    saved: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.saved}}


@register
class LayerNorm(keras.layers.LayerNormalization):
    """Keras's layer norm over the last axis, one compiled loop in training where that pays."""

    def call(self, inputs, training=None):
        if not training:
            return super().call(inputs)
        return _training_norm(self.epsilon)(inputs, self.gamma, self.beta)

    def of_sum(self, branch, residual, dropout: Dropout):
        """`self(dropout(branch) + residual)` in training, as one compiled loop where that pays.

        Both tensors are (..., hidden); the dropout's state moves on.
        """
        function = _training_sum_norm(self.epsilon, float(dropout.rate))
        return function(branch, residual, self.gamma, self.beta, *dropout.keys())


def layer_norm(name: str, dtype: Any, epsilon: float) -> LayerNorm:
    """A layer norm with the config's epsilon; Keras's default of 1e-3 gives errors of order 1."""
    return LayerNorm(epsilon=epsilon, dtype=dtype, name=name)


def dense(units: int, name: str, std: float, dtype: Any = None, activation: Any = None):
    """A `Dense` that starts like the original: truncated normal kernel, zero bias."""
    start = BertInitializer(std)
    return keras.layers.Dense(units, activation, kernel_initializer=start, dtype=dtype, name=name)


@register
class Activation(Layer):
    """Applies one of the config's activations, by its name there (so that `gelu` means tanh)."""

    saved = ("hidden_act",)

    def __init__(self, hidden_act: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_act = hidden_act
        self._function = activation_function(hidden_act)
        self.supports_masking = True

    def call(self, inputs, training=None):
        return training_activation(self.hidden_act)(inputs) if training else self._function(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@register
class TokenEmbedding(keras.layers.ReversibleEmbedding):
    """The word-embedding table, looked up forwards and multiplied with backwards (MLM decoder).

    `layer(ids)` maps (batch, length) int32 to (batch, length, hidden); `layer(x, reverse=True)`
    maps (batch, positions, hidden) to (batch, positions, vocab) logits without a bias.
    """

    def call(self, inputs, reverse: bool = False):
        if not reverse:
            return super().call(inputs)
        # einsum reads the table as it is; Keras's own reverse call transposes it first, which
        # copies 367 MB for 119,547 x 768 where the backend does not fold it. Flat, since
        # TensorFlow makes a small product for every text otherwise.
        count, width = ops.shape(inputs)[1], inputs.shape[-1]
        flat = ops.reshape(inputs, (-1, width))
        logits = ops.einsum("nh,vh->nv", flat, ops.cast(self.embeddings, inputs.dtype))
        return ops.reshape(logits, (-1, count, self.input_dim))


@register
class PositionEmbedding(Layer):
    """Adds the learned position table, cut to the input's length, to its input.

    `layer(x)` maps (batch, length, hidden) to the same shape: row i of the table is added at
    position i of every text.
    """

    saved = ("max_length", "initializer_range")

    def __init__(self, max_length: int, initializer_range: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_length = int(max_length)
        self.initializer_range = initializer_range

    def build(self, input_shape) -> None:
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.max_length, input_shape[-1]),
            initializer=BertInitializer(self.initializer_range),
        )

    def call(self, inputs):
        length, width = ops.shape(inputs)[-2], inputs.shape[-1]
        if isinstance(length, int) and length > self.max_length:
            raise BertError(
                f"the input is {length} tokens long, but this model has only "
                f"{self.max_length} positions; cut the text or split it into windows."
            )
        rows = ops.slice(ops.convert_to_tensor(self.embeddings), (0, 0), (length, width))
        return inputs + ops.expand_dims(rows, 0)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)


@register
class AttentionBias(Layer):
    """Turns a mask of 1 (attend) and 0 (ignore), (batch, length), into a bias on the keys.

    The result, (batch, 1, 1, length), is added to the scores of every query alike: the mask acts
    on keys only. With `from_ids=True` the input is the word-piece ids and the mask is `ids != 0`.
    """

    saved = ("from_ids",)

    def __init__(self, from_ids: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_ids = from_ids

    def call(self, inputs):
        attend = ops.not_equal(inputs, 0) if self.from_ids else inputs
        bias = (1.0 - ops.cast(attend, "float32")) * MASK_BIAS
        return ops.cast(ops.expand_dims(ops.expand_dims(bias, 1), 1), self.compute_dtype)

    def compute_output_spec(self, inputs):
        batch, length = inputs.shape
        return keras.KerasTensor((batch, 1, 1, length), dtype=self.compute_dtype)


@register
class FirstToken(Layer):
    """Takes the hidden state of [CLS]: (batch, length, hidden) -> (batch, hidden).

    With `keep_axis=True` the result is (batch, 1, hidden).
    """

    saved = ("keep_axis",)

    def __init__(self, keep_axis: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_axis = keep_axis

    def call(self, inputs):
        return inputs[:, :1, :] if self.keep_axis else inputs[:, 0, :]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, input_shape[2]) if self.keep_axis else input_shape[::2]
