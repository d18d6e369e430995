"""The losses under their names of version 0.1.0; they are in `bert_tf.training.objectives` now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bert_tf.training.objectives.base import SUMS as CLASSIFIER_SUMS
from bert_tf.training.objectives.base import Scale, objective_class
from bert_tf.training.objectives.pretraining import SUMS, pretraining_loss

__all__ = ["CLASSIFIER_SUMS", "SUMS", "classifier_loss", "pretraining_loss"]


def classifier_loss(
    task: str, *, mean: float = 0.0, deviation: float = 1.0, **options: Any
) -> Callable[..., tuple[Any, Any]]:
    """The `loss` of a classifier's objective, which is called with a mean and a deviation here."""
    objective: Any = objective_class(task)
    return objective(scale=Scale(mean, deviation), **options).loss
