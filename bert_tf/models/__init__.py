"""BERT's encoder and heads as functional Keras models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bert_tf.models.builders import build_classifier as build_classifier
    from bert_tf.models.builders import build_encoder as build_encoder
    from bert_tf.models.builders import build_head_model as build_head_model
    from bert_tf.models.builders import build_mlm_model as build_mlm_model
    from bert_tf.models.builders import build_nsp_model as build_nsp_model
    from bert_tf.models.builders import build_pretraining_model as build_pretraining_model
    from bert_tf.models.builders import build_sentence_model as build_sentence_model
    from bert_tf.models.builders import build_span_model as build_span_model
    from bert_tf.models.encoder import BertEncoder as BertEncoder
    from bert_tf.models.heads import ClassifierLayout as ClassifierLayout
    from bert_tf.models.heads import Heads as Heads
    from bert_tf.models.parts import BertLayers as BertLayers

# name -> the module that defines it; imported when first used, because they import Keras
_PUBLIC = {
    "BertEncoder": "bert_tf.models.encoder",
    "BertLayers": "bert_tf.models.parts",
    "ClassifierLayout": "bert_tf.models.heads",
    "Heads": "bert_tf.models.heads",
    "build_classifier": "bert_tf.models.builders",
    "build_encoder": "bert_tf.models.builders",
    "build_head_model": "bert_tf.models.builders",
    "build_mlm_model": "bert_tf.models.builders",
    "build_nsp_model": "bert_tf.models.builders",
    "build_pretraining_model": "bert_tf.models.builders",
    "build_sentence_model": "bert_tf.models.builders",
    "build_span_model": "bert_tf.models.builders",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
