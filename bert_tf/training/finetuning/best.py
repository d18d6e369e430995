"""`BestWeights`: the weights of the best evaluation so far, and when to stop waiting for better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_tf.evaluation.names import METRICS, Metric, is_better
from bert_tf.models.weights import SavedWeight
from bert_tf.training.log import LogRow

PREFIX = "best/"
"""What the names of the best weights begin with in a training checkpoint."""


class Evaluation(NamedTuple):
    """Some weights and their metrics on the validation rows."""

    step: int
    """Of the weights; 0 if nothing was evaluated."""
    row: LogRow
    """The metrics by name."""
    only: int | None
    """The number of the class that all rows are predicted as; None if there are several."""


class BestWeights:
    """Watches evaluations, and keeps the weights of the best.

    What it knows is saved with each checkpoint: a run that is killed and resumed keeps the same
    weights, and stops at the same evaluation, as an unbroken one.

    Args:
        metric: by which one is better; or a name of `bert_tf.evaluation.names`.
        weights: what is trained.
        kept: filled with the best weights by name, in a checkpoint's layout: the `extra` of
            `TrainingCheckpoints`.
        keep: whether to keep them, not only the numbers.
        patience: evaluations without a better one after which to stop; None for never.
    """

    def __init__(
        self,
        metric: str | Metric,
        weights: Sequence[SavedWeight],
        kept: dict[str, np.ndarray],
        *,
        keep: bool = True,
        patience: int | None = None,
    ) -> None:
        self.metric = METRICS[metric] if isinstance(metric, str) else metric
        self._weights, self._kept = weights, kept
        self._keep, self._patience = keep, patience
        self._best = self._last = Evaluation(0, {}, None)
        self._waited = 0

    @property
    def kept(self) -> Evaluation:
        """Of the weights that are kept: the best, or the last if none are put back."""
        return self._best if self._keep else self._last

    def look(self, step: int, row: LogRow, only: int | None = None) -> None:
        """Takes note of an evaluation of the present weights; `row` lacks undefined metrics."""
        self._last = Evaluation(step, dict(row), only)
        name = self.metric.name
        # Where the metric was never defined, the first is kept: there must be one.
        if not is_better(self.metric, row.get(name), self._best.row.get(name)) and self._best.step:
            self._waited += 1
            return
        self._waited = 0
        self._best = self._last
        if self._keep:
            for saved in self._weights:
                # A copy: the variable will change.
                self._kept[PREFIX + saved.name] = np.array(saved.value(), np.float32, order="C")

    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self._patience is not None and self._waited >= self._patience

    def memory(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {"best": list(self._best), "last": list(self._last), "waited": self._waited}

    def recall(self, memory: dict[str, Any]) -> None:
        """Takes up what `memory` gave; KeyError, TypeError or ValueError if it is damaged."""
        self._best, self._last = (
            Evaluation(int(step), {str(name): float(value) for name, value in row.items()}, only)
            for step, row, only in (memory["best"], memory["last"])
        )
        self._waited = int(memory["waited"])

    def restore(self) -> None:
        """Puts the best weights back, if there are any."""
        for saved in self._weights:
            if (value := self._kept.get(PREFIX + saved.name)) is not None:
                saved.assign(value)
