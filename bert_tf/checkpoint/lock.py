"""The old name of `bert_tf.files.locks`."""

from bert_tf.files.locks import lock

__all__ = ["lock"]
