"""The next-sentence head: whether the second text follows the first."""

from __future__ import annotations

from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.models.head_layers import softmax
from bert_tf.models.layers import dense
from bert_tf.models.layout import Heads
from bert_tf.models.parts import Source, layers_of


def make_layers(config: BertConfig, heads: Heads, dtype: Any) -> dict[str, keras.layers.Layer]:
    """The head's layers, by their attribute of `BertLayers`."""
    return {"nsp_dense": dense(2, "nsp_logits", config.initializer_range, dtype)}


def build_nsp_model(
    source: Source, *, logits: bool = False, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """Next sentence: from `token_input`, `seg_input` to `nsp`, (batch, 2).

    Index 0 is "B follows A", index 1 "B is random", which is the reverse of what most expect.

    Raises:
        BertError: the source has no pooler or no next-sentence head.
    """
    layers = layers_of(source, dtype, "nsp")
    trunk = layers.trunk(attention_mask)
    nsp = layers.nsp_dense(layers.pool_alone(trunk))
    return keras.Model(trunk.inputs, nsp if logits else softmax("nsp")(nsp), name="bert_nsp")
