"""The pooler: a tanh layer on [CLS], which other heads stand on."""

from __future__ import annotations

from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.models.layers import FirstToken, dense
from bert_tf.models.layout import Heads


def make_layers(config: BertConfig, heads: Heads, dtype: Any) -> dict[str, keras.layers.Layer]:
    """The head's layers, by their attribute of `BertLayers`."""
    # Always tanh, whatever hidden_act says (google-research/bert, modeling.py).
    pooled = dense(config.hidden_size, "pooled_dense", config.initializer_range, dtype, "tanh")
    return {"first_token": FirstToken(dtype=dtype, name="first_token"), "pooled_dense": pooled}
