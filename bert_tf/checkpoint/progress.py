"""The old name of `bert_tf.files.progress`."""

from bert_tf.files.progress import Progress

__all__ = ["Progress"]
