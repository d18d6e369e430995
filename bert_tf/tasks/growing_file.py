"""The old name of `bert_tf.files.growing`."""

from bert_tf.files.growing import FORMAT, GrowingFile, growing_file
from bert_tf.files.whole import check_output

__all__ = ["FORMAT", "GrowingFile", "check_output", "growing_file"]
