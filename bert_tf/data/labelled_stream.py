"""Moved to `bert_tf.batching`."""

from bert_tf.batching.buckets import choose_buckets as choose_buckets
from bert_tf.batching.stream import LabelledStream as LabelledStream
from bert_tf.batching.stream import batches_once as batches_once
