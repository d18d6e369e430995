"""What a BERT is asked to do: text in, named results out."""

from bert_tf._moved import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
