"""Moved to `bert_tf.batching.buckets`."""

from typing import Any


def __getattr__(name: str) -> Any:
    import bert_tf.text

    return getattr(bert_tf.text, name)
