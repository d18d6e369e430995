"""Text in, numbers out: vocabulary, Google's tokenization, packing, and batches by length."""

from bert_tf.text.batching import (
    BUCKETS,
    Batch,
    ItemBatch,
    batches_by_length,
    batches_of_like_length,
    bucket_length,
    bucket_lengths,
    in_order,
    stream_batches,
)
from bert_tf.text.casing import infer_casing
from bert_tf.text.packing import (
    Packed,
    Window,
    best_windows,
    check_mask_input,
    mask_input,
    pack,
    pack_exact,
    pad_batch,
    windows,
)
from bert_tf.text.tokenizer import WHOLE_TOKENS, BertTokenizer, Encoding
from bert_tf.text.vocab import SPECIAL_TOKENS, Vocabulary

__all__ = [
    "BUCKETS",
    "SPECIAL_TOKENS",
    "WHOLE_TOKENS",
    "Batch",
    "BertTokenizer",
    "Encoding",
    "ItemBatch",
    "Packed",
    "Vocabulary",
    "Window",
    "batches_by_length",
    "batches_of_like_length",
    "best_windows",
    "bucket_length",
    "bucket_lengths",
    "check_mask_input",
    "in_order",
    "infer_casing",
    "mask_input",
    "pack",
    "pack_exact",
    "pad_batch",
    "stream_batches",
    "windows",
]
