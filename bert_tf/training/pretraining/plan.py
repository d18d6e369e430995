"""`PretrainingPlan`: how to pretrain, as numbers."""

from __future__ import annotations

import dataclasses
import sys

from bert_tf.errors import BertError
from bert_tf.training.distribution import check_kind


@dataclasses.dataclass(frozen=True)
class PretrainingPlan:
    """How to pretrain; the defaults are those of the original's `run_pretraining.py`.

    Attributes:
        steps: in all (`num_train_steps`).
        warmup_steps: of them (`num_warmup_steps`).
        learning_rate: the peak.
        weight_decay: of all but layer norms and biases.
        precision: `"float32"`, or `"bfloat16"` to compute in it on float32 weights.
        dropout: instead of the config's two rates while training; None leaves them. Little
            data that is seen once or twice is better learnt without.
        seed: of dropout.
        save_every: steps between checkpoints (`save_checkpoints_steps`).
        log_every: steps between rows of the log.
        evaluate_every: steps between evaluations; 0 for one at the end.
        eval_batches: batches of an evaluation (`max_eval_steps`).
        keep: how many checkpoints are kept.
        deterministic: same numbers on the same machine to the last bit, at some cost in speed;
            only then is a run that was killed and continued the same as an unbroken one.
        distribute: `"none"` for one device, `"data"` to divide each batch among all, see
            `bert_tf.training.distribution`.
    """

    steps: int = 100_000
    warmup_steps: int = 10_000
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    precision: str = "float32"
    dropout: float | None = None
    seed: int = 0
    save_every: int = 1000
    log_every: int = 100
    evaluate_every: int = 0
    eval_batches: int = 100
    keep: int = 2
    deterministic: bool = False
    distribute: str = "none"

    def check(self) -> None:
        """Makes sure that it has a meaning.

        Raises:
            BertError: a number is out of its range.
        """
        for name in ("steps", "save_every", "log_every", "keep", "eval_batches"):
            if getattr(self, name) < 1:
                raise BertError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name, limit in (("evaluate_every", sys.maxsize), ("seed", 2**32 - 1)):
            if not 0 <= getattr(self, name) <= limit:
                raise BertError(f"{name} is {getattr(self, name)}; it must lie from 0 to {limit}.")
        if self.precision not in ("float32", "bfloat16"):
            raise BertError(
                f"precision is {self.precision!r}; training computes in float32 or bfloat16."
            )
        check_kind(self.distribute)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise BertError(f"dropout is {self.dropout}; it lies between 0 and 1.")
