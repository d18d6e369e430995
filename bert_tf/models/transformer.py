"""Self-attention and the transformer layer: what BERT's encoder repeats."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from bert_tf.errors import BertError
from bert_tf.models.dropout import Dropout, dropped
from bert_tf.models.fused import fused
from bert_tf.models.layers import (
    Layer,
    activation_function,
    dense,
    layer_norm,
    register,
    training_activation,
)


class AttentionLayer(Layer):
    """What `SelfAttention` and `TransformerLayer` share: shape and dtype of what they give."""

    num_heads: int

    def compute_output_spec(
        self, inputs, bias=None, queries=None, training=None, probabilities=False
    ):
        shape = inputs.shape if queries is None else queries.shape
        if probabilities:
            shape = (shape[0], self.num_heads, shape[1], inputs.shape[1])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)


@functools.cache
def _training_probabilities(scale: float, rate: float):
    """Scores to attention probabilities with dropout, in one; computed in float32."""

    def probabilities(scores, bias, *keys):
        # The bias is a mask: its gradient leads nowhere, and would cost a pass over the scores.
        bias = ops.stop_gradient(ops.cast(bias, "float32"))
        probs = ops.softmax(ops.cast(scores, "float32") * scale + bias, axis=-1)
        return ops.cast(dropped(probs, keys[0], rate) if keys else probs, scores.dtype)

    return fused(probabilities)


@register
class SelfAttention(AttentionLayer):
    """Multi-head self-attention; kernels are [in, out] as in the original's checkpoints.

    Args:
        num_heads: attention heads; the input's width must be a multiple of it.
        dropout: rate on the attention probabilities, in training.
        initializer_range: standard deviation of the kernels' truncated normal.
    """

    saved = ("num_heads", "dropout", "initializer_range")

    def __init__(
        self, num_heads: int, dropout: float = 0.0, initializer_range: float = 0.02, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self.initializer_range = initializer_range

    def build(self, inputs_shape, bias_shape=None) -> None:
        hidden = inputs_shape[-1]
        if hidden % self.num_heads:
            raise BertError(f"width {hidden} is not divisible by {self.num_heads} attention heads.")
        self.head_size = hidden // self.num_heads
        for name in ("query", "key", "value", "output_dense"):
            setattr(self, name, dense(hidden, name, self.initializer_range, self.dtype_policy))
            getattr(self, name).build(inputs_shape)
        self.probs_dropout = Dropout(self.dropout, dtype=self.dtype_policy)

    def _split(self, x):
        # (batch, length, hidden) -> (batch, length, heads, head_size)
        return ops.reshape(x, (-1, ops.shape(x)[1], self.num_heads, self.head_size))

    def _probabilities(self, query, key, bias):
        # (batch, length, heads, head_size) twice -> (batch, heads, length, length)
        scores = ops.cast(ops.einsum("bqnd,bknd->bnqk", query, key), "float32")
        scores = scores * (self.head_size**-0.5)
        if bias is not None:
            scores = scores + ops.cast(bias, "float32")
        return ops.cast(ops.softmax(scores, axis=-1), self.compute_dtype)

    def call(self, inputs, bias=None, queries=None, training=None, probabilities: bool = False):
        """Attends from every position, or from some, to every position.

        Args:
            inputs: (batch, length, hidden).
            bias: (batch, 1, 1, length), added to the scores; a mask, through which nothing learns.
            queries: (batch, n, hidden), the rows of `inputs` to attend from; all when left out.
            training: whether dropout acts.
            probabilities: give the attention probabilities, before dropout, instead of the result.
                (Keras wants the same number of outputs at every call of a shared layer.)

        Returns:
            (batch, length or n, hidden), or the probabilities, (batch, heads, length or n,
            length).
        """
        query = self._split(self.query(inputs if queries is None else queries))
        key = self._split(self.key(inputs))
        if probabilities:
            return self._probabilities(query, key, bias)
        value = self._split(self.value(inputs))
        if self.dropout and training:
            scores = ops.einsum("bqnd,bknd->bnqk", query, key)
            dropout = self.probs_dropout
            function = _training_probabilities(self.head_size**-0.5, float(dropout.rate))
            probs = function(scores, 0.0 if bias is None else bias, *dropout.keys())
            context = ops.einsum("bnqk,bknd->bqnd", probs, value)
        else:
            # Keras's kernel for TPUs ignores the bias, does not scale and attends causally.
            context = ops.dot_product_attention(query, key, value, bias, flash_attention=False)
        width = self.num_heads * self.head_size
        return self.output_dense(ops.reshape(context, (-1, ops.shape(context)[1], width)))


@register
class TransformerLayer(AttentionLayer):
    """One layer of BERT's encoder: attention and feed-forward, each with residual, then norm.

    Args:
        num_heads: attention heads.
        intermediate_size: width of the feed-forward layer.
        hidden_act: its activation, by the config's name.
        dropout: rate before each residual sum.
        attention_dropout: rate on the attention probabilities.
        initializer_range: standard deviation of the kernels' truncated normal.
        layer_norm_eps: added to the variance in layer norms.
    """

    saved = (
        *("num_heads", "intermediate_size", "hidden_act"),
        *("dropout", "attention_dropout", "initializer_range", "layer_norm_eps"),
    )

    def __init__(
        self,
        num_heads: int,
        intermediate_size: int,
        hidden_act: str = "gelu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self._activation = activation_function(hidden_act)

    def build(self, inputs_shape, bias_shape=None) -> None:
        policy, std, hidden = self.dtype_policy, self.initializer_range, inputs_shape[-1]
        self.attention = SelfAttention(
            self.num_heads, self.attention_dropout, std, dtype=policy, name="attention"
        )
        self.attention.build(inputs_shape)
        self.attention_norm = layer_norm("attention_norm", policy, self.layer_norm_eps)
        self.attention_norm.build(inputs_shape)
        self.intermediate = dense(self.intermediate_size, "intermediate", std, policy)
        self.intermediate.build(inputs_shape)
        self.output_dense = dense(hidden, "output_dense", std, policy)
        self.output_dense.build((*inputs_shape[:-1], self.intermediate_size))
        self.output_norm = layer_norm("output_norm", policy, self.layer_norm_eps)
        self.output_norm.build(inputs_shape)
        self.attention_residual_dropout = Dropout(self.dropout, dtype=policy)
        self.output_residual_dropout = Dropout(self.dropout, dtype=policy)

    def call(self, inputs, bias=None, queries=None, training=None, probabilities: bool = False):
        """Maps (batch, length, hidden) to the same shape; see `SelfAttention.call` for the rest."""
        attended = self.attention(
            inputs, bias, queries=queries, training=training, probabilities=probabilities
        )
        if probabilities:
            return attended
        residual = inputs if queries is None else queries
        if training:
            x = self.attention_norm.of_sum(attended, residual, self.attention_residual_dropout)
        else:
            x = self.attention_norm(attended + residual)
        inner = self.intermediate(x)
        if training:
            fed = self.output_dense(training_activation(self.hidden_act)(inner))
            return self.output_norm.of_sum(fed, x, self.output_residual_dropout)
        # Elementwise work in bfloat16 is slow on TensorFlow's CPU kernels (gelu of 1024 x 3072:
        # 10 ms, with the casts 5 ms).
        inner = ops.cast(self._activation(ops.cast(inner, "float32")), self.compute_dtype)
        return self.output_norm(self.output_dense(inner) + x)
