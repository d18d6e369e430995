"""How pretraining examples are made: their length, and how much of them is masked."""

from __future__ import annotations

from dataclasses import dataclass

from bert_tf.options import FRACTION, PORTION, Options, Range, option

SPECIAL_PIECES = 3
"""[CLS], and a [SEP] after each segment."""


@dataclass(frozen=True)
class PairRules(Options):
    """How long examples are."""

    max_seq_length: int = option(
        128,
        "tokens of an example at most, [CLS] and [SEP]s counted",
        Range(int, SPECIAL_PIECES + 2, 65_536),
    )
    short_seq_prob: float = option(
        0.1,
        "how often a document is cut into examples of a shorter length, so that the model also "
        "sees short ones",
        FRACTION,
    )

    @property
    def max_num_tokens(self) -> int:
        """Tokens that both segments have room for."""
        return self.max_seq_length - SPECIAL_PIECES


@dataclass(frozen=True)
class MaskRules(Options):
    """How many tokens are masked, and whether whole words are."""

    masked_lm_prob: float = option(
        0.15, "fraction of an example's tokens that is masked, [CLS] and [SEP]s counted", PORTION
    )
    max_predictions_per_seq: int = option(
        20, "masked tokens of an example at most", Range(int, 1, 65_536)
    )
    whole_word: bool | float = option(
        False,
        "mask all tokens of a word or none; a number between is the fraction of the examples that "
        "is masked so, the others token by token",
        FRACTION,
    )
