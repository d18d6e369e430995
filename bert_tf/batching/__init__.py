"""Rows with labels of any shape, batches of like length, resumable streams, the predict loop."""

from bert_tf._moved import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
