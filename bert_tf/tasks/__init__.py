"""What a BERT is asked to do: text in, named results out."""

from bert_tf.tasks.classify import Classify
from bert_tf.tasks.fill_mask import FillMask
from bert_tf.tasks.next_sentence import NextSentence
from bert_tf.tasks.results import (
    ClassifyResult,
    Combination,
    FilledText,
    Guess,
    MaskAnswer,
    NextSentenceResult,
)

__all__ = [
    "Classify",
    "ClassifyResult",
    "Combination",
    "FillMask",
    "FilledText",
    "Guess",
    "MaskAnswer",
    "NextSentence",
    "NextSentenceResult",
]
