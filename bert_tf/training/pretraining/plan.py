"""`PretrainingPlan` and `BatchSettings`: how to pretrain, and how batches are made."""

from __future__ import annotations

import dataclasses

from bert_tf.data.pretraining.rules import MaskRules, PairRules
from bert_tf.options import COUNT, FRACTION, NOT_NEGATIVE, ROWS, SEED, Options, Range, like, option
from bert_tf.training.finetuning.plan import FineTuningPlan

_COUNT_OR_NONE = Range(int, 0, COUNT.maximum)


@dataclasses.dataclass(frozen=True)
class PretrainingPlan(Options):
    """How to pretrain; the defaults are those of the original's `run_pretraining.py`."""

    steps: int = option(100_000, "steps in all", COUNT)
    warmup_steps: int = option(10_000, "steps in which the rate rises", _COUNT_OR_NONE)
    learning_rate: float = option(5e-5, "peak of the learning rate", NOT_NEGATIVE)
    weight_decay: float = like(FineTuningPlan, "weight_decay")
    precision: str = like(
        FineTuningPlan, "precision", help="what to compute in; weights are float32 in any case"
    )
    dropout: float | None = like(
        FineTuningPlan,
        "dropout",
        help="rate while training, of both kinds; 0 is better for texts seen once or twice",
        usual="the config's two rates",
    )
    seed: int = option(0, "seed of dropout", SEED)
    save_every: int = like(FineTuningPlan, "save_every", default=1000)
    log_every: int = option(100, "steps between rows of the log", COUNT)
    evaluate_every: int = option(
        0, "steps between evaluations; 0 for one at the end", _COUNT_OR_NONE
    )
    eval_batches: int = option(100, "batches of an evaluation", COUNT)
    keep: int = like(
        FineTuningPlan,
        "keep",
        help="checkpoints to resume from that are kept: if the last is damaged, the one before is "
        "used. Each takes 3 times the space of the weights, 1.3 GB for BERT-Base. While one is "
        "written, there is one more",
    )
    deterministic: bool = like(FineTuningPlan, "deterministic")
    distribute: str = like(FineTuningPlan, "distribute")


@dataclasses.dataclass(frozen=True)
class BatchSettings(Options):
    """How batches are made.

    The rules of pairs and masks are for a tokenized corpus; in TFRecord files both are settled.
    """

    train_batch_size: int = option(32, "examples of a step", ROWS)
    eval_batch_size: int = option(8, "examples of a batch in evaluations", ROWS)
    max_seq_length: int | None = like(
        PairRules, "max_seq_length", default=None, usual="that of TFRecord files; 128 for a corpus"
    )
    max_predictions_per_seq: int | None = like(
        MaskRules,
        "max_predictions_per_seq",
        default=None,
        usual="that of TFRecord files; 20 for a corpus",
    )
    masked_lm_prob: float = like(MaskRules, "masked_lm_prob")
    whole_word: bool | float = like(MaskRules, "whole_word")
    short_seq_prob: float = like(PairRules, "short_seq_prob")
    smoothing: float = option(
        0.7,
        "a group of n tokens gets n**X of the examples: 1 its true fraction, 0 the same for all",
        FRACTION,
    )
    held_out_pieces: int = option(
        0, "tokens of each group, in whole sources, held out to evaluate on", Range(int, 0, 2**53)
    )
    held_out_seed: int = option(
        1,
        "which ones are held out, as in `evaluate`, and what is drawn in evaluations; apart from "
        "the seed of training, so that none trains on what was held out before",
        SEED,
    )
    seed: int = option(0, "seed of all that is random in the training data", SEED)
