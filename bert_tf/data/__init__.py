"""Data to train on: texts for pretraining, and labelled texts; token ids, endless batches."""

from bert_tf._moved import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
