"""`BertEncoder`: the encoder as a keras-hub backbone; LoRA, presets and tasks work on it."""

from __future__ import annotations

import sys
from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.models.layers import AttentionBias, register
from bert_tf.models.parts import BertLayers, Heads, ids_input


def _import_keras_hub() -> Any:
    """Imports keras-hub; on backends other than TensorFlow without TensorFlow.

    keras-hub imports TensorFlow and tensorflow-text for its tokenizers where they are installed. On
    JAX and OpenVINO that costs seconds and a gigabyte, so they are hidden from it. Who needs its
    tokenizers there imports keras_hub before bert_tf.
    """
    names = {"tensorflow", "tensorflow_text"}
    hidden = set() if keras.backend.backend() == "tensorflow" else names - sys.modules.keys()
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # makes `import` raise ImportError
    try:
        import keras_hub
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    return keras_hub


keras_hub = _import_keras_hub()

_FIELDS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "max_sequence_length": "max_position_embeddings",
    "num_segments": "type_vocab_size",
    "hidden_act": "hidden_act",
    "attention_dropout": "attention_probs_dropout_prob",
    "initializer_range": "initializer_range",
    "layer_norm_eps": "layer_norm_eps",
}
"""Of the arguments: the attribute of `BertConfig`."""


@register
class BertEncoder(keras_hub.models.BertBackbone):  # type: ignore[name-defined]
    """BERT's encoder with the inputs and outputs of keras-hub's `BertBackbone`.

    Unlike its parent it takes the activation, the attention dropout and the initial deviation
    from its arguments and keeps them through `.keras` and presets.

    Inputs: a dict of `token_ids`, `segment_ids`, `padding_mask`, each int32 (batch, length).
    Outputs: a dict of `sequence_output` (batch, length, hidden_dim) and, with a pooler,
    `pooled_output` (batch, hidden_dim).

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout,
            max_sequence_length, num_segments, dtype: as in `keras_hub.models.BertBackbone`.
        hidden_act: one of `bert_tf.config.HIDDEN_ACTS`.
        attention_dropout: rate on the attention probabilities; `dropout` when left out.
        initializer_range: standard deviation of the truncated normal.
        layer_norm_eps: added to the variance in layer norms.
        pooler: whether there is a pooler.
        layers: existing layers to wrap instead of new ones; see `from_layers`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        hidden_act: str = "gelu",
        attention_dropout: float | None = None,
        initializer_range: float = 0.02,
        pooler: bool = True,
        dtype: Any = None,
        layers: BertLayers | None = None,
        layer_norm_eps: float = 1e-12,
        **kwargs: Any,
    ) -> None:
        if attention_dropout is None:
            attention_dropout = dropout
        if layers is None:
            given = locals()
            config = BertConfig.from_dict({_FIELDS[name]: given[name] for name in _FIELDS})
            layers = BertLayers(config, Heads(pooler=pooler), dtype)
        config = layers.config
        names = ("token_ids", "segment_ids", "padding_mask")
        inputs = {name: ids_input(name) for name in names}
        bias = AttentionBias(dtype=layers.dtype, name="attention_bias")(inputs["padding_mask"])
        embedded = layers.embed(inputs["token_ids"], inputs["segment_ids"])
        hidden = layers.encode(embedded, bias)
        outputs = {"sequence_output": hidden[-1]}
        if pooler:
            outputs["pooled_output"] = layers.pool(hidden[-1])
        # BertBackbone's own __init__ would build its own graph; the one above it takes ours.
        super(keras_hub.models.BertBackbone, self).__init__(
            inputs=inputs, outputs=outputs, dtype=dtype, **kwargs
        )
        for name in (
            *("token_embedding", "position_embedding", "segment_embedding", "embeddings_add"),
            *("embeddings_layer_norm", "embeddings_dropout", "transformer_layers"),
            *(["pooled_dense"] if pooler else []),
        ):
            setattr(self, name, getattr(layers, name))
        for name, field in _FIELDS.items():
            setattr(self, name, getattr(config, field))
        self.pooler = pooler
        self.cls_token_index = 0

    @classmethod
    def from_layers(cls, layers: BertLayers, **kwargs: Any) -> BertEncoder:
        """An encoder on existing layers; it shares their weights."""
        layers.trunk()  # their first use is in the models with our input names
        values = {name: getattr(layers.config, field) for name, field in _FIELDS.items()}
        own = {"pooler": layers.heads.pooler, "dtype": layers.dtype, "layers": layers}
        return cls(**values, **own, **kwargs)

    def get_config(self) -> dict[str, Any]:
        names = ("hidden_act", "attention_dropout", "initializer_range", "layer_norm_eps", "pooler")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
