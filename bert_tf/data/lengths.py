"""Moved to `bert_tf.batching`."""

from bert_tf.batching.lengths import LengthHistogram as LengthHistogram
from bert_tf.batching.rows import TokenizedTexts as TokenizedTexts
from bert_tf.batching.tokenizing import tokenize_texts as tokenize_texts
