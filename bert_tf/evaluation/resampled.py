"""Metrics of many bootstrap draws at once, or of a draw given by how often each row was drawn.

Ours, since scikit-learn takes a hundred times as long, and SciPy has no weighted rank correlation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from bert_tf.evaluation.results import mean_of

Statistic = Callable[[np.ndarray], float | None]


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Of float64 (draws, classes, classes); classes neither drawn nor predicted do not count."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    either = confusion.sum(1) + confusion.sum(2)
    return (2 * hits / np.maximum(either, 1)).sum(1) / (either > 0).sum(1)


def second_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of the second class of two, float64 (draws, 2, 2); NaN where there is none of it."""
    either = confusion[:, 1].sum(1) + confusion[:, :, 1].sum(1)
    return np.where(either > 0, 2 * confusion[:, 1, 1] / np.maximum(either, 1), np.nan)


def second_f1_accuracy(confusion: np.ndarray) -> np.ndarray:
    """The mean of `second_f1` and accuracy."""
    accuracy = np.trace(confusion, axis1=1, axis2=2) / confusion.sum((1, 2))
    return (second_f1(confusion) + accuracy) / 2


def matthews(confusion: np.ndarray) -> np.ndarray:
    """Of several classes (Gorodkin 2004), float64 (draws, classes, classes); 0 if undefined."""
    total = confusion.sum((1, 2))
    right, predicted = confusion.sum(2), confusion.sum(1)
    covariance = np.trace(confusion, axis1=1, axis2=2) * total - (right * predicted).sum(1)
    spread = (total**2 - (right**2).sum(1)) * (total**2 - (predicted**2).sum(1))
    return np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 1)), 0.0)


def multilabel_f1(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Statistic]:
    """Micro and macro F1 by draw, from bool (examples, labels) each."""
    hits = (truth & predicted).astype(np.float64)
    either = truth.astype(np.float64) + predicted

    def micro(times: np.ndarray) -> float | None:
        counted = float((times @ either).sum())
        return 2 * float((times @ hits).sum()) / counted if counted else None

    def macro(times: np.ndarray) -> float | None:
        return float((2 * (times @ hits) / np.maximum(times @ either, 1)).mean())

    return {"micro_f1": micro, "macro_f1": macro}


def correlations(right: np.ndarray, given: np.ndarray) -> dict[str, Statistic]:
    """Pearson, Spearman and their mean by draw, from float64 (examples,) each.

    Ranks are those within the draw, ties sharing their mean, without sorting again.
    """
    levels = [np.unique(values, return_inverse=True)[1] for values in (right, given)]

    def ranks(level: np.ndarray, times: np.ndarray) -> np.ndarray:
        counts = np.bincount(level, times)
        return (np.cumsum(counts) - (counts - 1) / 2)[level]

    pearson = functools.partial(_correlation, right, given)

    def spearman(times: np.ndarray) -> float | None:
        return _correlation(ranks(levels[0], times), ranks(levels[1], times), times)

    def mean(times: np.ndarray) -> float | None:
        return mean_of(pearson(times), spearman(times))

    return {"pearson": pearson, "spearman": spearman, "pearson_spearman": mean}


def _correlation(x: np.ndarray, y: np.ndarray, times: np.ndarray) -> float | None:
    drawn = times > 0
    if np.ptp(x[drawn]) == 0 or np.ptp(y[drawn]) == 0:
        return None
    total = times.sum()
    x, y = x - times @ x / total, y - times @ y / total
    return float((times @ (x * y)) / np.sqrt((times @ (x * x)) * (times @ (y * y))))
