"""The heads, a file each: it makes the head's layers and builds its models."""

from bert_tf._moved import moved_names

__getattr__ = moved_names(__name__)
