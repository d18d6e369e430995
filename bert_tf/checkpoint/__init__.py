"""The original checkpoint format: finding, reading, writing and converting it."""

from bert_tf.checkpoint.bundle import TensorInfo, TensorPart
from bert_tf.checkpoint.catalog import RELEASES, Release
from bert_tf.checkpoint.convert import ConvertReport, convert_checkpoint
from bert_tf.checkpoint.download import download
from bert_tf.checkpoint.locate import CheckpointFiles, locate
from bert_tf.checkpoint.reader import CheckpointReader, allocate
from bert_tf.checkpoint.release import write_release
from bert_tf.checkpoint.slots import is_slot, is_training_state
from bert_tf.checkpoint.store import EMBEDDED, Installed, embedded, find, installed
from bert_tf.checkpoint.writer import CheckpointWriter, write_checkpoint

__all__ = [
    "EMBEDDED",
    "RELEASES",
    "CheckpointFiles",
    "CheckpointReader",
    "CheckpointWriter",
    "ConvertReport",
    "Installed",
    "Release",
    "TensorInfo",
    "TensorPart",
    "allocate",
    "convert_checkpoint",
    "download",
    "embedded",
    "find",
    "installed",
    "is_slot",
    "is_training_state",
    "locate",
    "write_checkpoint",
    "write_release",
]
