"""BERT's encoder and heads as functional Keras models."""

from bert_tf.models.builders import (
    build_classifier,
    build_encoder,
    build_mlm_model,
    build_nsp_model,
    build_pretraining_model,
    build_span_model,
)
from bert_tf.models.parts import BertLayers, Heads

__all__ = [
    "BertEncoder",
    "BertLayers",
    "Heads",
    "build_classifier",
    "build_encoder",
    "build_mlm_model",
    "build_nsp_model",
    "build_pretraining_model",
    "build_span_model",
]


def __getattr__(name: str):
    # keras-hub takes a while to import, and only the backbone needs it.
    if name == "BertEncoder":
        from bert_tf.models.encoder import BertEncoder

        return BertEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
