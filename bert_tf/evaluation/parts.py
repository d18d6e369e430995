"""The parts of a classification's result: scores by label, averages, curves, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bert_tf.evaluation import results
from bert_tf.evaluation.inputs import sklearn_metrics

_CURVE_POINTS = 501
_BINS = 10


def label_scores(
    names: Sequence[str],
    hits: Iterable[int],
    examples: Iterable[int],
    predicted: Iterable[int],
    average_precisions: Sequence[float | None] | None = None,
) -> tuple[results.LabelScores, ...]:
    """Precision, recall and F1 of each label from its counts.

    Args:
        names: of the labels.
        hits: how many have each label and were given it.
        examples: how many have it.
        predicted: how many were given it.
        average_precisions: of each label, if there are any.
    """
    counts = (map(int, of_labels) for of_labels in (hits, examples, predicted))
    precisions = average_precisions or [None] * len(names)
    return tuple(
        results.LabelScores(
            label=str(name),
            precision=hit / given if given else None,
            recall=hit / have if have else None,
            f1=2 * hit / (have + given) if have + given else None,
            examples=have,
            predicted=given,
            average_precision=average,
        )
        for name, hit, have, given, average in zip(names, *counts, precisions, strict=True)
    )


def averages(right: np.ndarray, predicted: np.ndarray) -> dict[str, results.Average]:
    """Macro, weighted and micro averaged precision, recall and F1.

    `right` and `predicted` are classes (examples,), or 0 and 1 (examples, labels).
    """
    metrics = sklearn_metrics()
    # A single column would be taken for two classes, of which "not this label" is one.
    single = right.ndim == 2 and right.shape[1] == 1
    found = {}
    for name in ("macro", "weighted", "micro"):
        scores = metrics.precision_recall_fscore_support(
            right, predicted, average="binary" if single else name, zero_division=0.0
        )
        found[name] = results.Average(*map(float, scores[:3]))
    return found


def two_classes(
    right: np.ndarray, predicted: np.ndarray, probability: np.ndarray, names: Sequence[str]
) -> results.TwoClasses:
    """What only two classes have.

    `right` and `predicted` are int, `probability`, of the second class, is float (examples,).
    """
    metrics = sklearn_metrics()
    either = int(right.sum() + predicted.sum())
    f1 = 2 * int((right & predicted).sum()) / either if either else None
    if right.min() == right.max():
        return results.TwoClasses(str(names[1]), f1, None, None, None, None)
    false_alarms, found, thresholds = metrics.roc_curve(right, probability)
    precision, recall, cuts = metrics.precision_recall_curve(
        right, probability, drop_intermediate=True
    )
    return results.TwoClasses(
        positive=str(names[1]),
        f1=f1,
        roc_auc=float(metrics.roc_auc_score(right, probability)),
        average_precision=float(metrics.average_precision_score(right, probability)),
        roc=_curve(false_alarms, found, thresholds),
        # scikit-learn goes from the loosest threshold to none, which has no threshold.
        precision_recall=_curve(recall[::-1], precision[::-1], np.append(np.inf, cuts[::-1])),
    )


def _curve(x: np.ndarray, y: np.ndarray, thresholds: np.ndarray) -> results.Curve:
    """The points, or so many of them, evenly chosen, as a picture can show."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).round().astype(int))
    return results.Curve(*(tuple(map(float, values[kept])) for values in (x, y, thresholds)))


def calibration(confidence: np.ndarray, is_right: np.ndarray) -> results.Calibration:
    """Confidence and accuracy in ten bins of equal width (Guo et al. 2017, section 2).

    Scikit-learn's `calibration_curve` counts no bins, so that no error can be computed from it.

    Args:
        confidence: float (examples,), the highest probability of each.
        is_right: bool (examples,).
    """
    edges = np.arange(_BINS + 1) / _BINS
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, _BINS - 1)
    counts, confidences, hits = (
        np.bincount(which, weights, _BINS) for weights in (None, confidence, is_right)
    )
    bins = zip(*(one.tolist() for one in (edges[:-1], edges[1:], counts, confidences, hits)))
    return results.Calibration(
        error=float(np.abs(confidences - hits).sum() / len(confidence)),
        bins=tuple(
            results.CalibrationBin(low, high, n, *((total / n, right / n) if n else (None, None)))
            for low, high, n, total, right in bins
        ),
    )
