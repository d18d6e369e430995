"""Text in, numbers out: vocabulary, Google's tokenization, and packing."""

import importlib
import warnings
from typing import Any

from bert_tf.text.casing import infer_casing
from bert_tf.text.packing import (
    Packed,
    Window,
    best_windows,
    check_mask_input,
    mask_input,
    pack,
    pad_batch,
    windows,
)
from bert_tf.text.tokenizer import WHOLE_TOKENS, BertTokenizer, Encoding
from bert_tf.text.vocab import SPECIAL_TOKENS, Vocabulary

__all__ = [
    "SPECIAL_TOKENS",
    "WHOLE_TOKENS",
    "BertTokenizer",
    "Encoding",
    "Packed",
    "Vocabulary",
    "Window",
    "best_windows",
    "check_mask_input",
    "infer_casing",
    "mask_input",
    "pack",
    "pad_batch",
    "windows",
]

_MOVED = ("BUCKETS", "Batch", "batches_of_like_length", "bucket_length", "bucket_lengths")
_DEPRECATED = ("ItemBatch", "batches_by_length", "in_order", "pack_exact", "stream_batches")


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        return getattr(importlib.import_module("bert_tf.batching.buckets"), name)
    if name in _DEPRECATED:
        warnings.warn(f"bert_tf.text.{name} goes in the next version", DeprecationWarning, 2)
        return getattr(importlib.import_module("bert_tf._deprecated"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
