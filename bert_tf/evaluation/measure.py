"""From labels and what a model says about them to all metrics, computed by scikit-learn.

Correlations are SciPy's, which scikit-learn brings along. What is undefined, such as the area under
the ROC curve where only one class occurs, is None, never NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.evaluation import inputs, names, parts, resampled
from bert_tf.evaluation.intervals import Interval, bootstrap_confusion, bootstrap_rows, wilson
from bert_tf.evaluation.results import ClassesResult, MultilabelResult, RegressionResult


def measure_classes(
    labels: Any,
    outputs: Any,
    label_names: Sequence[str],
    *,
    from_logits: bool = False,
    intervals: bool = True,
) -> ClassesResult:
    """Evaluates a task in which each example has one class.

    Args:
        labels: int (examples,), indices into `label_names`.
        outputs: float (examples, classes), probabilities, whose rows sum to 1, or logits. The
            predicted class is the first of the highest.
        label_names: of the classes, at least two. Of two, the second is the positive one.
        from_logits: whether `outputs` are logits.
        intervals: whether to compute confidence intervals: a second or so for large sets, of no
            use while a training is only watched.

    Raises:
        BertError: shapes do not fit, there is no example, a label is no class, an output is not
            finite or no probability, or scikit-learn is not installed.
    """
    sklearn = inputs.sklearn_metrics()
    classes = len(label_names)
    if classes < 2:
        raise BertError(f"a classification needs at least 2 classes; {classes} given.")
    right, probabilities, predicted = inputs.of_classes(labels, outputs, label_names, from_logits)
    confusion = sklearn.confusion_matrix(right, predicted, labels=range(classes))
    counts = (confusion.diagonal(), confusion.sum(1), confusion.sum(0))
    hits = int(confusion.trace())
    statistics = {"macro_f1": resampled.macro_f1, "matthews": resampled.matthews}
    two = None
    if classes == 2:
        two = parts.two_classes(right, predicted, probabilities[:, 1], label_names)
        statistics |= {"f1": resampled.second_f1, "f1_accuracy": resampled.second_f1_accuracy}
    found: dict[str, Interval | None] = {}
    if intervals:
        found = {"accuracy": wilson(hits, len(right))}
        found |= bootstrap_confusion(confusion, statistics)
    with warnings.catch_warnings(action="ignore"):  # of a single class: 0 by convention
        matthews = float(sklearn.matthews_corrcoef(right, predicted))
    return ClassesResult(
        kind=names.CLASSES,
        examples=len(right),
        loss=float(sklearn.log_loss(right, probabilities, labels=range(classes))),
        intervals=found,
        accuracy=hits / len(right),
        matthews=matthews,
        labels=parts.label_scores(label_names, *counts),
        averages=parts.averages(right, predicted),
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration=parts.calibration(probabilities.max(axis=1), right == predicted),
        two_classes=two,
    )


def measure_multilabel(
    labels: Any,
    outputs: Any,
    label_names: Sequence[str],
    *,
    from_logits: bool = False,
    threshold: float = 0.5,
    intervals: bool = True,
) -> MultilabelResult:
    """Evaluates a task in which each example has any number of the labels.

    Labels are 0 or 1 (examples, labels); outputs float (examples, labels), each label's own
    probability or logit. A label is predicted where its probability reaches the threshold. The
    rest is as in `measure_classes`.
    """
    sklearn = inputs.sklearn_metrics()
    right, probabilities, predicted = inputs.of_labels(
        labels, outputs, label_names, from_logits, threshold
    )
    precisions = [
        float(sklearn.average_precision_score(truth, probability)) if truth.any() else None
        for truth, probability in zip(right.T, probabilities.T)
    ]
    defined = [value for value in precisions if value is not None]
    exact = int((right == predicted).all(axis=1).sum())
    found: dict[str, Interval | None] = {}
    if intervals:
        found = {"subset_accuracy": wilson(exact, len(right))}
        found |= bootstrap_rows(len(right), resampled.multilabel_f1(right, predicted))
    return MultilabelResult(
        kind=names.MULTILABEL,
        examples=len(right),
        loss=float(inputs.binary_cross_entropy(right, probabilities).mean()),
        intervals=found,
        threshold=float(threshold),
        subset_accuracy=exact / len(right),
        average_precision=sum(defined) / len(defined) if defined else None,
        labels=parts.label_scores(
            label_names, (right & predicted).sum(0), right.sum(0), predicted.sum(0), precisions
        ),
        averages=parts.averages(right.astype(int), predicted.astype(int)),
    )


def measure_regression(
    labels: Any,
    outputs: Any,
    label_names: Sequence[str] = (),
    *,
    from_logits: bool = False,
    intervals: bool = True,
) -> RegressionResult:
    """Evaluates a task in which each example has a number.

    Labels are float (examples,); outputs float (examples,) or (examples, 1). Label names and logits
    have no meaning here. The rest is as in `measure_classes`.
    """
    sklearn = inputs.sklearn_metrics()
    from scipy import stats

    right, given = inputs.of_numbers(labels, outputs)
    pearson = spearman = None
    if np.ptp(right) > 0 and np.ptp(given) > 0:
        with warnings.catch_warnings(action="ignore"):  # of numbers all but equal
            both = (stats.pearsonr(right, given), stats.spearmanr(right, given))
        pearson, spearman = (None if np.isnan(r.statistic) else float(r.statistic) for r in both)
    found: dict[str, Interval | None] = {}
    if intervals:
        found = bootstrap_rows(len(right), resampled.correlations(right, given))
    mse = float(sklearn.mean_squared_error(right, given))
    return RegressionResult(
        kind=names.REGRESSION,
        examples=len(right),
        loss=mse,
        intervals=found,
        pearson=pearson,
        spearman=spearman,
        mse=mse,
        mae=float(sklearn.mean_absolute_error(right, given)),
        r2=float(sklearn.r2_score(right, given)) if np.ptp(right) > 0 else None,
    )
