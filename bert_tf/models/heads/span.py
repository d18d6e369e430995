"""The answer-span head: where in a text an answer starts and ends."""

from __future__ import annotations

from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.models.layers import dense
from bert_tf.models.layout import Heads
from bert_tf.models.parts import Source, layers_of


def make_layers(config: BertConfig, heads: Heads, dtype: Any) -> dict[str, keras.layers.Layer]:
    """The head's layers, by their attribute of `BertLayers`."""
    return {"span_dense": dense(2, "span_logits", config.initializer_range, dtype)}


def build_span_model(
    source: Source, *, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """Start and end of an answer, as `run_squad.py` makes it.

    Returns:
        A model from `token_input`, `seg_input` to `span_logits`, (batch, length, 2): the logit
        of a position being the answer's start (index 0) and its end (index 1).

    Raises:
        BertError: the source has no span head.
    """
    layers = layers_of(source, dtype, "span")
    trunk = layers.trunk(attention_mask)
    return keras.Model(trunk.inputs, layers.span_dense(trunk.sequence_output), name="bert_span")
