"""`BertEncoder`: the encoder as a keras-hub backbone; LoRA, presets and tasks work on it."""

from __future__ import annotations

import sys
from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.models.layers import AttentionBias, register
from bert_tf.models.parts import BertLayers, Heads


def _import_keras_hub() -> Any:
    """Imports keras-hub; on backends other than TensorFlow without TensorFlow.

    keras-hub imports TensorFlow and tensorflow-text where they are installed, for its tokenizers.
    On JAX and OpenVINO that costs seconds and a gigabyte, so they are hidden while it is
    imported. Who needs keras-hub's own tokenizers there imports keras_hub before bert_tf.
    """
    if "keras_hub" in sys.modules or keras.backend.backend() == "tensorflow":
        import keras_hub

        return keras_hub
    hidden = [name for name in ("tensorflow", "tensorflow_text") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # makes `import` raise ImportError
    try:
        import keras_hub
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    return keras_hub


keras_hub = _import_keras_hub()


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
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        if layers is None:
            config = BertConfig(
                vocab_size=vocabulary_size,
                num_hidden_layers=num_layers,
                num_attention_heads=num_heads,
                hidden_size=hidden_dim,
                intermediate_size=intermediate_dim,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=(
                    dropout if attention_dropout is None else attention_dropout
                ),
                max_position_embeddings=max_sequence_length,
                type_vocab_size=num_segments,
                hidden_act=hidden_act,
                initializer_range=initializer_range,
            )
            layers = BertLayers(config, Heads(pooler=pooler), dtype)
        config = layers.config
        # === Functional model ===
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in ("token_ids", "segment_ids", "padding_mask")
        }
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
        # === Config ===
        self.token_embedding = layers.token_embedding
        self.position_embedding = layers.position_embedding
        self.segment_embedding = layers.segment_embedding
        self.embeddings_add = layers.embeddings_add
        self.embeddings_layer_norm = layers.embeddings_layer_norm
        self.embeddings_dropout = layers.embeddings_dropout
        self.transformer_layers = layers.transformer_layers
        if pooler:
            self.pooled_dense = layers.pooled_dense
        self.vocabulary_size = config.vocab_size
        self.num_layers = config.num_hidden_layers
        self.num_heads = config.num_attention_heads
        self.hidden_dim = config.hidden_size
        self.intermediate_dim = config.intermediate_size
        self.dropout = config.hidden_dropout_prob
        self.max_sequence_length = config.max_position_embeddings
        self.num_segments = config.type_vocab_size
        self.hidden_act = config.hidden_act
        self.attention_dropout = config.attention_probs_dropout_prob
        self.initializer_range = config.initializer_range
        self.pooler = pooler
        self.cls_token_index = 0

    @classmethod
    def from_layers(cls, layers: BertLayers, **kwargs: Any) -> BertEncoder:
        """An encoder on existing layers; it shares their weights."""
        layers.trunk()  # their first use is in the models with our input names
        config = layers.config
        return cls(
            config.vocab_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.hidden_size,
            config.intermediate_size,
            pooler=layers.heads.pooler,
            dtype=layers.dtype,
            layers=layers,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_act": self.hidden_act,
            "attention_dropout": self.attention_dropout,
            "initializer_range": self.initializer_range,
            "pooler": self.pooler,
        }
