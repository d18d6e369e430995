"""What an evaluation gives: frozen objects that become JSON with the same keys in every run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

Interval = tuple[float, float]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: no NumPy types, tuples as lists, NaN and infinities as None.

    >>> plain({"a": (1.0, float("nan"))})
    {'a': [1.0, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclasses.dataclass(frozen=True)
class LabelScores:
    """How well one label is found. What is undefined is None."""

    label: str
    precision: float | None
    """None where the label was never predicted."""
    recall: float | None
    """None where the label does not occur."""
    f1: float | None
    """None where both hold."""
    examples: int
    """How many have the label."""
    predicted: int
    """How many were given it."""
    average_precision: float | None = None
    """Only of several labels at once."""


@dataclasses.dataclass(frozen=True)
class Average:
    """Precision, recall and F1 over all labels; one that is undefined for a label counts as 0."""

    precision: float
    recall: float
    f1: float


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points of a curve from its strictest threshold to the loosest; the first may be infinite."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    thresholds: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class TwoClasses:
    """What only two classes have; the second is the one looked for ("positive")."""

    positive: str
    f1: float | None
    roc_auc: float | None
    """None where only one class occurs, as all that follows."""
    average_precision: float | None
    roc: Curve | None
    """x: fraction of false alarms among the first class; y: fraction found of the second."""
    precision_recall: Curve | None
    """x: recall; y: precision."""


@dataclasses.dataclass(frozen=True)
class CalibrationBin:
    """The examples whose highest probability lies in (low, high]; means are None of no example."""

    low: float
    high: float
    examples: int
    confidence: float | None
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How far probabilities are from fractions of right answers."""

    error: float
    """Expected calibration error: the bins' |accuracy - confidence|, weighted by examples."""
    bins: tuple[CalibrationBin, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """What all kinds have in common; a head of another kind has its own."""

    kind: str
    examples: int
    loss: float
    intervals: dict[str, Interval | None]
    """95 % of `bert_tf.evaluation.intervals`, by name of metric."""

    def metrics(self) -> dict[str, float | None]:
        """All numbers by the names of `bert_tf.evaluation.names`; undefined ones are None."""
        raise NotImplementedError

    def original(self) -> dict[str, float | None]:
        """Those that `eval_results.txt` has: all, as the original knows this kind of task not."""
        return self.metrics()

    def to_json(self) -> dict[str, Any]:
        """All of it for `json.dumps`; the keys are always the same for a kind of task."""
        return {**plain(self), "metrics": plain(self.metrics())}


@dataclasses.dataclass(frozen=True)
class ClassesResult(Result):
    """An evaluation where each example has one class of several."""

    accuracy: float
    matthews: float
    """0, as is usual, where all labels or all predictions are one class."""
    labels: tuple[LabelScores, ...]
    averages: dict[str, Average]
    """"macro", "weighted" and "micro", over the classes that occur or were predicted."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows: the right class; columns: the predicted one."""
    calibration: Calibration
    two_classes: TwoClasses | None

    def original(self) -> dict[str, float | None]:
        """Those of the original's `run_classifier.py`."""
        return {"accuracy": self.accuracy, "loss": self.loss}

    def metrics(self) -> dict[str, float | None]:
        """All numbers by name; those that only two classes have are left out with more."""
        found: dict[str, float | None] = {"accuracy": self.accuracy, "loss": self.loss}
        found |= {"matthews": self.matthews, **_averages(self.averages)}
        if two := self.two_classes:
            found |= {"f1": two.f1, "f1_accuracy": mean_of(two.f1, self.accuracy)}
            found |= {"roc_auc": two.roc_auc, "average_precision": two.average_precision}
        return found


@dataclasses.dataclass(frozen=True)
class MultilabelResult(Result):
    """An evaluation where each example has any number of the labels."""

    threshold: float
    subset_accuracy: float
    average_precision: float | None
    """The mean of the labels that occur."""
    labels: tuple[LabelScores, ...]
    averages: dict[str, Average]

    def metrics(self) -> dict[str, float | None]:
        """All numbers by name."""
        return {
            "subset_accuracy": self.subset_accuracy,
            "loss": self.loss,
            "average_precision": self.average_precision,
            **_averages(self.averages),
        }


@dataclasses.dataclass(frozen=True)
class RegressionResult(Result):
    """An evaluation where each example has a number. What is undefined is None."""

    pearson: float | None
    """None where all labels or all predictions are the same, as `spearman`."""
    spearman: float | None
    mse: float
    mae: float
    r2: float | None
    """None where all labels are the same."""

    def metrics(self) -> dict[str, float | None]:
        """All numbers by name."""
        return {
            "pearson": self.pearson,
            "spearman": self.spearman,
            "pearson_spearman": mean_of(self.pearson, self.spearman),
            "loss": self.loss,
            "mse": self.mse,
            "mae": self.mae,
            "r2": self.r2,
        }


def mean_of(one: float | None, other: float | None) -> float | None:
    """The mean of two numbers, undefined where one is."""
    return None if one is None or other is None else (one + other) / 2


def _averages(averages: Mapping[str, Average]) -> dict[str, float | None]:
    return {
        f"{name}_{part}": getattr(average, part)
        for part in ("precision", "recall", "f1")
        for name, average in averages.items()
        if part == "f1" or name == "macro"
    }
