"""`BertLayers`: the layers of one BERT, made once and shared by every model built on them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection
from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.models.dropout import Dropout
from bert_tf.models.head_layers import MeanPooling, OutputBias
from bert_tf.models.heads import Heads
from bert_tf.models.initializers import BertInitializer, blank_weights
from bert_tf.models.layers import (
    Activation,
    AttentionBias,
    FirstToken,
    PositionEmbedding,
    TokenEmbedding,
    dense,
    layer_norm,
)
from bert_tf.models.transformer import TransformerLayer


@dataclasses.dataclass(frozen=True)
class Trunk:
    """The symbolic tensors that every model on the same layers begins with.

    Args:
        inputs: `token_input`, `seg_input`, and `attention_mask` where there is one.
        bias: the attention bias, (batch, 1, 1, length).
        embedded: the embedding output, (batch, length, hidden).
        hidden: each layer's output, (batch, length, hidden).
    """

    inputs: list
    bias: Any
    embedded: Any
    hidden: list

    @property
    def sequence_output(self):
        """The last layer's output."""
        return self.hidden[-1]


def ids_input(name: str):
    """A symbolic int32 input of shape (batch, length)."""
    return keras.Input((None,), dtype="int32", name=name)


class BertLayers:
    """All layers of one BERT, unconnected; attributes are `None` for heads it does not have.

    Several models built on the same `BertLayers` share its weights. The layers' names are those
    of keras-hub's BertBackbone where it has them.

    Args:
        config: the architecture.
        heads: which heads to make.
        dtype: a Keras dtype or dtype policy for all layers, e.g. `"mixed_bfloat16"`.
    """

    def __init__(self, config: BertConfig, heads: Heads | None = None, dtype: Any = None) -> None:
        self.config = config
        self.heads = heads = heads or Heads()
        self.dtype = dtype
        self._trunks: dict[bool, Trunk] = {}
        std = config.initializer_range
        self.token_embedding = TokenEmbedding(
            config.vocab_size,
            config.hidden_size,
            embeddings_initializer=BertInitializer(std),
            dtype=dtype,
            name="token_embedding",
        )
        self.segment_embedding = keras.layers.Embedding(
            config.type_vocab_size,
            config.hidden_size,
            embeddings_initializer=BertInitializer(std),
            dtype=dtype,
            name="segment_embedding",
        )
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.position_embedding = PositionEmbedding(
            config.max_position_embeddings, std, dtype=dtype, name="position_embedding"
        )
        self.embeddings_layer_norm = layer_norm("embeddings_layer_norm", dtype)
        # Dropout comes after the norm here, as in the original.
        self.embeddings_dropout = Dropout(
            config.hidden_dropout_prob, dtype=dtype, name="embeddings_dropout"
        )
        self.transformer_layers = [
            TransformerLayer(
                num_heads=config.num_attention_heads,
                intermediate_size=config.intermediate_size,
                hidden_act=config.hidden_act,
                dropout=config.hidden_dropout_prob,
                attention_dropout=config.attention_probs_dropout_prob,
                initializer_range=std,
                dtype=dtype,
                name=f"transformer_layer_{i}",
            )
            for i in range(config.num_hidden_layers)
        ]
        self.first_token: Any = None
        self.pooled_dense: Any = None
        if heads.pooler:
            self.first_token = FirstToken(dtype=dtype, name="first_token")
            self.pooled_dense = dense(config.hidden_size, "pooled_dense", std, dtype)
            # Always tanh, whatever hidden_act says (google-research/bert, modeling.py).
            self.pooled_dense.activation = keras.activations.tanh
        self.mlm_transform: Any = None
        self.mlm_activation: Any = None
        self.mlm_layer_norm: Any = None
        self.mlm_bias: Any = None
        if heads.mlm:
            self.mlm_transform = dense(config.hidden_size, "mlm_transform", std, dtype)
            self.mlm_activation = Activation(config.hidden_act, dtype=dtype, name="mlm_activation")
            self.mlm_layer_norm = layer_norm("mlm_layer_norm", dtype)
            self.mlm_bias = OutputBias(dtype=dtype, name="mlm_logits")
        self.nsp_dense: Any = dense(2, "nsp_logits", std, dtype) if heads.nsp else None
        self.mean_pooling: Any = None
        self.classifier_hidden: Any = None
        self.classifier_hidden_dropout: Any = None
        self.classifier_dropout: Any = None
        self.classifier_dense: Any = None
        if heads.classifier is not None:
            rate = heads.layout.dropout
            if heads.layout.pooling == "mean":
                self.mean_pooling = MeanPooling(dtype=dtype, name="mean_pooling")
            if heads.classifier_hidden:
                self.classifier_hidden_dropout = Dropout(
                    rate, dtype=dtype, name="classifier_hidden_dropout"
                )
                self.classifier_hidden = dense(config.hidden_size, "classifier_hidden", std, dtype)
                self.classifier_hidden.activation = keras.activations.tanh
            self.classifier_dropout = Dropout(rate, dtype=dtype, name="classifier_dropout")
            self.classifier_dense = dense(heads.classifier, "classifier_logits", std, dtype)
        self.span_dense: Any = dense(2, "span_logits", std, dtype) if heads.span else None

    def build(self, fresh: Collection[str] = ()) -> None:
        """Makes all variables now: zeros without memory behind them, to be assigned.

        Args:
            fresh: names of heads that start from random weights instead.
        """
        hidden = (None, None, self.config.hidden_size)
        with blank_weights():
            self.token_embedding.build((None, None))
            self.segment_embedding.build((None, None))
            self.position_embedding.build(hidden)
            self.embeddings_layer_norm.build(hidden)
            for layer in self.transformer_layers:
                layer.build(hidden)
        for head, layers in self.head_layers().items():
            with contextlib.nullcontext() if head in fresh else blank_weights():
                for layer in layers:
                    wide = layer is self.mlm_bias
                    layer.build((None, None, self.config.vocab_size) if wide else hidden)

    def head_layers(self) -> dict[str, list[keras.layers.Layer]]:
        """The layers with weights of each head that there is."""
        layers = {
            "pooler": [self.pooled_dense],
            "mlm": [self.mlm_transform, self.mlm_layer_norm, self.mlm_bias],
            "nsp": [self.nsp_dense],
            "classifier": [self.classifier_dense],
            "classifier_hidden": [self.classifier_hidden],
            "span": [self.span_dense],
        }
        return {name: found for name, found in layers.items() if found[0] is not None}

    def by_name(self) -> dict[str, keras.layers.Layer]:
        """Every layer with weights, by its name."""
        encoder = [
            self.token_embedding,
            self.segment_embedding,
            self.position_embedding,
            self.embeddings_layer_norm,
            *self.transformer_layers,
        ]
        heads = [layer for layers in self.head_layers().values() for layer in layers]
        return {layer.name: layer for layer in (*encoder, *heads)}

    def embed(self, token_ids, segment_ids):
        """The embedding output: (batch, length) ids twice -> (batch, length, hidden)."""
        x = self.embeddings_add(
            [self.token_embedding(token_ids), self.segment_embedding(segment_ids)]
        )
        return self.embeddings_dropout(self.embeddings_layer_norm(self.position_embedding(x)))

    def encode(self, embedded, bias) -> list:
        """Runs the transformer layers.

        Args:
            embedded: (batch, length, hidden).
            bias: (batch, 1, 1, length), from `layers.AttentionBias`.

        Returns:
            The output of each layer, (batch, length, hidden), first layer first.
        """
        found = [embedded]
        for layer in self.transformer_layers:
            found.append(layer(found[-1], bias))
        return found[1:]

    def attention_probs(self, trunk: Trunk) -> list:
        """Each layer's attention probabilities, (batch, heads, length, length)."""
        inputs = [trunk.embedded, *trunk.hidden[:-1]]
        return [
            layer(x, trunk.bias, probabilities=True)
            for layer, x in zip(self.transformer_layers, inputs, strict=True)
        ]

    def trunk(self, attention_mask: bool = False) -> Trunk:
        """Inputs and encoder as symbolic tensors; made once, so that all models share them.

        Sharing them is more than thrift: `model.get_layer(name).output` is the tensor of a
        layer's first use, and must lie in the very model it is asked of.

        Args:
            attention_mask: the variant with a mask of its own as a further input.
        """
        if attention_mask not in self._trunks:
            if attention_mask:
                self.trunk()  # the usual variant is each layer's first use
            tokens, segments = ids_input("token_input"), ids_input("seg_input")
            inputs = [tokens, segments]
            if attention_mask:
                inputs.append(ids_input("attention_mask"))
            to_bias = AttentionBias(not attention_mask, dtype=self.dtype, name="attention_bias")
            bias = to_bias(inputs[-1] if attention_mask else tokens)
            embedded = self.embed(tokens, segments)
            self._trunks[attention_mask] = Trunk(
                inputs, bias, embedded, self.encode(embedded, bias)
            )
        return self._trunks[attention_mask]

    def last_layer_at(self, trunk: Trunk, pick: Any):
        """The last layer's output at some positions alone; the others are never computed there.

        Args:
            trunk: the encoder.
            pick: takes the rows to compute, (batch, n, hidden), out of the last layer's input.

        Returns:
            (batch, n, hidden), equal to the same rows of `trunk.sequence_output`.
        """
        below = [trunk.embedded, *trunk.hidden][-2]
        return self.transformer_layers[-1](below, trunk.bias, queries=pick(below))

    def pool(self, sequence_output):
        """(batch, length, hidden) -> (batch, hidden), from [CLS]."""
        return self.pooled_dense(self.first_token(sequence_output))

    def pool_alone(self, trunk: Trunk):
        """The pooled output of a model that needs no other position: (batch, hidden)."""
        return self.pool(self.last_layer_at(trunk, FirstToken(True, name="first_row")))

    def sentence_vector(self, trunk: Trunk, pooling: str):
        """One vector for each text, (batch, hidden).

        Args:
            trunk: the encoder.
            pooling: `"pooled"`, or `"mean"` of the real pieces of the last layer.
        """
        if pooling == "pooled":
            return self.pool_alone(trunk)
        layer = self.mean_pooling or MeanPooling(dtype=self.dtype, name="mean_pooling")
        # The attention mask where there is one, else the word-piece ids, which are 0 in padding.
        marks = trunk.inputs[2] if len(trunk.inputs) > 2 else trunk.inputs[0]
        return layer(trunk.sequence_output, marks)

    def classify(self, vectors):
        """The classifier's scores of `sentence_vector`s: (batch, hidden) -> (batch, labels)."""
        if self.classifier_hidden is not None:
            vectors = self.classifier_hidden(self.classifier_hidden_dropout(vectors))
        return self.classifier_dense(self.classifier_dropout(vectors))

    def predict_masked(self, hidden):
        """MLM logits of hidden states: (batch, n, hidden) -> (batch, n, vocab)."""
        x = self.mlm_layer_norm(self.mlm_activation(self.mlm_transform(hidden)))
        return self.mlm_bias(self.token_embedding(x, reverse=True))
