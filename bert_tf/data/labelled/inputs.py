"""`encode_texts`: texts as the two arrays that a Keras model takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bert_tf.batching.buckets import bucket_length
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.bert import Bert
from bert_tf.data.labelled.python_rows import labelled_rows
from bert_tf.errors import BertError
from bert_tf.options import USUAL_LENGTH


def encode_texts(
    bert: Bert, texts: Any, pairs: Any = None, *, max_seq_length: int | None = None
) -> dict[str, np.ndarray]:
    """Tokenizes texts, packs and pads them: the inputs of a model's `fit` and `predict`.

    All rows are padded to the length of the longest, rounded up so that few shapes occur. Where
    texts differ much in length, `bert_tf.data.LabelledStream` wastes less on padding.

    Args:
        bert: has the tokenizer.
        texts: strings in a list, an array (n,) or a Series; or a list of (first, second), or an
            array (n, 2).
        pairs: the second texts, if they are not in `texts`.
        max_seq_length: most tokens of a row, [CLS] and [SEP] counted; longer texts are cut, a pair
            from its longer side. Default: that of the classifier, else 128 or, if that is less,
            what the model takes.

    Returns:
        `token_input` and `seg_input`, both int32, (n, length), 0 where padded.

    Raises:
        BertError: these are no texts, there are none, or the length is impossible.

    Example:
        >>> inputs = encode_texts(bert_tf.load("demo_multi_cased"), ["a text"])
        >>> inputs["token_input"].shape
        (1, 16)
    """
    limit = bert.config.max_position_embeddings
    known = bert.classifier.max_seq_length if bert.classifier else None
    length = known or min(USUAL_LENGTH, limit) if max_seq_length is None else max_seq_length
    if length > limit:
        raise BertError(f"max_seq_length is {length}, but this model takes {limit} tokens at most.")
    rows = tokenize_texts(labelled_rows(texts, pairs=pairs), bert.tokenizer, length)
    if not len(rows):
        raise BertError("there are no texts to encode.")
    padded = min(bucket_length(int(rows.lengths.max()), limit), length)
    return rows.inputs(np.arange(len(rows)), padded)
