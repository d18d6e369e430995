"""The layers that only the heads need: what is asked for, and what is answered there."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from bert_tf.models.layers import Layer, register

BLOCKED = -1e9
"""Added to the logit of a token that may not be listed; far below any real logit, yet finite."""


@register
class AskedPositions(Layer):
    """Finds the positions that `mask_input` asks for, in order, the first `max_predictions` a row.

    `layer(mask_input)` maps (batch, length) of 0 and 1 to two int32 tensors, both
    (batch, max_predictions): the positions (0 where a row has fewer) and 1 where a position is
    really asked for.
    """

    saved = ("max_predictions",)

    def __init__(self, max_predictions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_predictions = int(max_predictions)

    def call(self, inputs):
        asked = ops.cast(ops.not_equal(inputs, 0), "int32")
        length = ops.shape(inputs)[1]
        # The k-th asked position is where the running count first reaches k: as many positions
        # come before it as have a count below k. This holds for a length below max_predictions too.
        count = ops.cumsum(asked, axis=1)
        wanted = ops.arange(1, self.max_predictions + 1, dtype="int32")
        below = ops.less(ops.expand_dims(count, 1), ops.reshape(wanted, (1, -1, 1)))
        positions = ops.sum(ops.cast(below, "int32"), axis=2)
        real = ops.less(positions, length)
        positions = ops.where(real, positions, ops.zeros_like(positions))
        return positions, ops.cast(real, "int32")

    def compute_output_spec(self, inputs):
        shape = (inputs.shape[0], self.max_predictions)
        return keras.KerasTensor(shape, dtype="int32"), keras.KerasTensor(shape, dtype="int32")


@register
class GatherPositions(keras.layers.Layer):
    """Picks positions out of hidden states.

    `layer(hidden, positions)` maps (batch, length, hidden) and (batch, n) int32 to
    (batch, n, hidden).
    """

    def call(self, hidden, positions):
        return ops.take_along_axis(hidden, ops.expand_dims(positions, 2), axis=1)

    def compute_output_spec(self, hidden, positions):
        return keras.KerasTensor((*positions.shape, hidden.shape[-1]), dtype=hidden.dtype)


@register
class ClsAndPositions(GatherPositions):
    """Picks [CLS] and some positions out of hidden states.

    `layer(hidden, positions)` maps (batch, length, hidden) and (batch, n) int32 to
    (batch, 1 + n, hidden).
    """

    def call(self, hidden, positions):
        return ops.concatenate([hidden[:, :1, :], super().call(hidden, positions)], axis=1)

    def compute_output_spec(self, hidden, positions):
        batch, count = positions.shape
        count = None if count is None else 1 + count
        return keras.KerasTensor((batch, count, hidden.shape[-1]), dtype=hidden.dtype)


@register
class DropFirst(keras.layers.Layer):
    """Leaves out the first row of each text: (batch, 1 + n, hidden) -> (batch, n, hidden)."""

    def call(self, inputs):
        return inputs[:, 1:, :]

    def compute_output_spec(self, inputs):
        batch, count, width = inputs.shape
        count = None if count is None else count - 1
        return keras.KerasTensor((batch, count, width), dtype=inputs.dtype)


@register
class OutputBias(keras.layers.Layer):
    """Adds one learned number to each vocabulary entry's logit (`cls/predictions/output_bias`)."""

    def build(self, input_shape) -> None:
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return inputs + ops.cast(self.bias, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@register
class MaskedProbabilities(keras.layers.Layer):
    """Softmax over the last axis in float32, and all zeros where nothing is asked for.

    `layer(logits, asked)` maps (batch, n, vocab) and (batch, n) to (batch, n, vocab).
    """

    def call(self, logits, asked):
        probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
        return probabilities * ops.expand_dims(ops.cast(ops.not_equal(asked, 0), "float32"), -1)

    def compute_output_spec(self, logits, asked):
        return keras.KerasTensor(logits.shape, dtype="float32")


@register
class TopPieces(Layer):
    """The k most probable tokens at each position, left-out tokens skipped.

    Probabilities are over the whole vocabulary: leaving tokens out changes what is listed, not
    how probable the rest is. The weight `blocked`, (vocab,) float32, is 0 for a token that may
    be listed and 1 for one that may not; it is not trained.

    `layer(logits)` maps (batch, n, vocab) to ids, int32, and log-probabilities, float32, both
    (batch, n, k), most probable first.
    """

    saved = ("k",)

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.k = int(k)

    def build(self, input_shape) -> None:
        self.blocked = self.add_weight(
            name="blocked", shape=(input_shape[-1],), initializer="zeros", trainable=False
        )

    def call(self, logits):
        logits = ops.cast(logits, "float32")
        normalizer = ops.logsumexp(logits, axis=-1, keepdims=True)
        values, ids = ops.top_k(logits + BLOCKED * self.blocked, k=self.k)
        return ops.cast(ids, "int32"), values - normalizer

    def compute_output_spec(self, logits):
        shape = (*logits.shape[:-1], self.k)
        return keras.KerasTensor(shape, dtype="int32"), keras.KerasTensor(shape, dtype="float32")


@register
class PieceScores(keras.layers.Layer):
    """Log-probabilities of given tokens at one position a row.

    `layer(logits, tokens)` maps (batch, 1, vocab) logits and (batch, count) ids to
    (batch, count) float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, logits, pieces):
        logits = ops.cast(logits[:, 0, :], "float32")
        chosen = ops.take_along_axis(logits, pieces, axis=1)
        return chosen - ops.logsumexp(logits, axis=-1, keepdims=True)

    def compute_output_spec(self, logits, pieces):
        return keras.KerasTensor(pieces.shape, dtype="float32")


@register
class MeanPooling(keras.layers.Layer):
    """The mean of the hidden states of all real tokens, [CLS] and [SEP] counted, in float32.

    (Counted, as sentence encoders on BERT do it: they mark the end of a text, and a text without
    a single token has a mean too.)

    `layer(hidden, marks)` maps (batch, length, hidden) and (batch, length) int32, not 0 where a
    token is real (token ids will do), to (batch, hidden). A row of padding alone gives zeros.
    """

    def call(self, hidden, marks):
        real = ops.expand_dims(ops.cast(ops.not_equal(marks, 0), "float32"), -1)
        total = ops.sum(ops.cast(hidden, "float32") * real, axis=1)
        mean = total / ops.maximum(ops.sum(real, axis=1), 1.0)
        return ops.cast(mean, self.compute_dtype)

    def compute_output_spec(self, hidden, marks):
        return keras.KerasTensor((hidden.shape[0], hidden.shape[2]), dtype=self.compute_dtype)


def softmax(name: str) -> keras.layers.Softmax:
    """A softmax in float32, in every precision: a model's last layer, called as its answer."""
    return keras.layers.Softmax(dtype="float32", name=name)
