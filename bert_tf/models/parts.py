"""`BertLayers`: the layers of one BERT, made once and shared by every model built on them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
from collections.abc import Collection
from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.heads import HEADS
from bert_tf.models.dropout import Dropout
from bert_tf.models.head_layers import MeanPooling
from bert_tf.models.initializers import BertInitializer, blank_weights
from bert_tf.models.layers import (
    AttentionBias,
    FirstToken,
    PositionEmbedding,
    TokenEmbedding,
    layer_norm,
)
from bert_tf.models.layout import Heads
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

    Models built on the same `BertLayers` share its weights. Where keras-hub's BertBackbone has a
    layer, its name is taken.

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
        std, eps = config.initializer_range, config.layer_norm_eps
        for name, make, rows in (
            ("token_embedding", TokenEmbedding, config.vocab_size),
            ("segment_embedding", keras.layers.Embedding, config.type_vocab_size),
        ):
            start = BertInitializer(std)
            layer = make(
                rows, config.hidden_size, embeddings_initializer=start, dtype=dtype, name=name
            )
            setattr(self, name, layer)
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.position_embedding = PositionEmbedding(
            config.max_position_embeddings, std, dtype=dtype, name="position_embedding"
        )
        self.embeddings_layer_norm = layer_norm("embeddings_layer_norm", dtype, eps)
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
                layer_norm_eps=eps,
                dtype=dtype,
                name=f"transformer_layer_{i}",
            )
            for i in range(config.num_hidden_layers)
        ]
        for name in filter(heads.has, HEADS):
            if not HEADS[name].of:
                module = importlib.import_module(HEADS[name].module)
                vars(self).update(module.make_layers(config, heads, dtype))

    def __getattr__(self, name: str) -> Any:
        if any(name in head.layers.split() for head in HEADS.values()):
            return None  # of a head that is not there
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def build(self, fresh: Collection[str] = ()) -> None:
        """Makes all variables now: zeros that take no memory, to be assigned.

        Args:
            fresh: names of heads that start from random weights instead.
        """
        by_name = self.by_name()
        with blank_weights():
            # The one layer whose input is not as wide as the first axis of its first weight.
            self.position_embedding.build((None, None, self.config.hidden_size))
        for weight in self.heads.weights(self.config):
            layer = by_name[weight.layer]
            if not layer.built:
                width = weight.shape[-1 if weight.transpose else 0]
                with contextlib.nullcontext() if weight.part in fresh else blank_weights():
                    layer.build((None, None, width))

    def by_name(self) -> dict[str, keras.layers.Layer]:
        """Every layer by its name."""
        own = [layer for layer in vars(self).values() if isinstance(layer, keras.layers.Layer)]
        return {layer.name: layer for layer in (*own, *self.transformer_layers)}

    def embed(self, token_ids, segment_ids):
        """The embedding output: (batch, length) ids twice -> (batch, length, hidden)."""
        x = self.embeddings_add(
            [self.token_embedding(token_ids), self.segment_embedding(segment_ids)]
        )
        return self.embeddings_dropout(self.embeddings_layer_norm(self.position_embedding(x)))

    def encode(self, embedded, bias) -> list:
        """The output of each transformer layer, (batch, length, hidden), first layer first.

        Takes (batch, length, hidden) and the bias of `layers.AttentionBias`, (batch, 1, 1, length).
        """
        found = itertools.accumulate(
            self.transformer_layers, lambda x, layer: layer(x, bias), initial=embedded
        )
        return [*found][1:]

    def attention_probs(self, trunk: Trunk) -> list:
        """Each layer's attention probabilities, (batch, heads, length, length)."""
        pairs = zip(self.transformer_layers, [trunk.embedded, *trunk.hidden])
        return [layer(x, trunk.bias, probabilities=True) for layer, x in pairs]

    def trunk(self, attention_mask: bool = False) -> Trunk:
        """Inputs and encoder as symbolic tensors; made once, so that all models share them.

        They must: `model.get_layer(name).output` is the tensor of a layer's first use, which must
        be in the model that is asked. With `attention_mask` a mask is a further input.
        """
        if attention_mask not in self._trunks:
            if attention_mask:
                self.trunk()  # the usual variant is each layer's first use
            masks = ["attention_mask"] if attention_mask else []
            inputs = [ids_input(name) for name in ("token_input", "seg_input", *masks)]
            to_bias = AttentionBias(not attention_mask, dtype=self.dtype, name="attention_bias")
            bias = to_bias(inputs[2 if attention_mask else 0])
            embedded = self.embed(*inputs[:2])
            hidden = self.encode(embedded, bias)
            self._trunks[attention_mask] = Trunk(inputs, bias, embedded, hidden)
        return self._trunks[attention_mask]

    def last_layer_at(self, trunk: Trunk, pick: Any):
        """The last layer's output at some positions alone, (batch, n, hidden), as in `trunk`.

        `pick` takes these rows out of the last layer's input; the others are never computed.
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
        """One vector for each text, (batch, hidden): see `layout.POOLINGS`."""
        if pooling == "pooled":
            return self.pool_alone(trunk)
        layer = self.mean_pooling or MeanPooling(dtype=self.dtype, name="mean_pooling")
        # The attention mask where there is one, else the token ids, which are 0 in padding.
        return layer(trunk.sequence_output, (trunk.inputs[2:] or trunk.inputs)[0])


Source = BertConfig | BertLayers


def layers_of(source: Source, dtype: Any, *heads: str) -> BertLayers:
    """The layers that a model is built on: those given, or new ones with just the named heads.

    Raises:
        BertError: existing layers lack one of the heads, or come with a dtype.
    """
    if isinstance(source, BertConfig):
        return BertLayers(source, Heads.of(heads), dtype)
    if dtype is not None:
        raise BertError(
            "dtype cannot be chosen for layers that exist already; pass it where they are made, "
            "e.g. bert_tf.load(path, dtype='mixed_bfloat16')."
        )
    source.heads.require(*heads)
    return source


def with_input(trunk: Trunk, third: str) -> list:
    """The trunk's inputs with one more in the third place; an attention mask comes last."""
    tokens, segments, *mask = trunk.inputs
    return [tokens, segments, ids_input(third), *mask]
