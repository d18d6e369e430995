"""The names of metrics, which way each is better, and the one that each task is evaluated by."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import NamedTuple

from bert_tf.data.labelled.texts import TASKS
from bert_tf.errors import BertError

CLASSES, MULTILABEL, REGRESSION = TASKS


class Metric(NamedTuple):
    """A number that an evaluation gives."""

    name: str
    kinds: tuple[str, ...]
    """The kinds of task that have it."""
    higher_is_better: bool
    meaning: str
    of_two: tuple[str, ...] = ()
    """The kinds that have it only where there are two labels."""


_C, _M, _R = (CLASSES,), (MULTILABEL,), (REGRESSION,)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _C, True, "fraction of correct predictions"),
        Metric("loss", TASKS, False, "mean cross-entropy in nats; for a number, mean square error"),
        Metric("matthews", _C, True, "Matthews correlation"),
        Metric("macro_f1", _C + _M, True, "plain mean of the labels' F1"),
        Metric("weighted_f1", _C + _M, True, "mean of the labels' F1 by their frequency"),
        Metric("micro_f1", _C + _M, True, "F1 of all decisions together"),
        Metric("macro_precision", _C + _M, True, "plain mean of the labels' precision"),
        Metric("macro_recall", _C + _M, True, "plain mean of the labels' recall"),
        Metric("f1", _C, True, "F1 of the second of two classes", _C),
        Metric("f1_accuracy", _C, True, "mean of f1 and accuracy, for two classes", _C),
        Metric("roc_auc", _C, True, "area under the ROC curve, for two classes", _C),
        Metric("average_precision", _C + _M, True, "area under precision by recall", _C),
        Metric("subset_accuracy", _M, True, "fraction of texts with all labels right"),
        Metric("pearson", _R, True, "Pearson correlation"),
        Metric("spearman", _R, True, "Spearman rank correlation"),
        Metric("pearson_spearman", _R, True, "mean of Pearson and Spearman"),
        Metric("mse", _R, False, "mean square error"),
        Metric("mae", _R, False, "mean absolute error"),
        Metric("r2", _R, True, "fraction of the variance explained"),
    )
}

# Of the kinds for a user's own data; and of GLUE (Wang et al. 2018, table 1) and XNLI by name
# where it is another one.
_MAIN_OF_KIND: dict[str, str] = {
    CLASSES: "accuracy",
    MULTILABEL: "micro_f1",
    REGRESSION: "pearson_spearman",
}
_MAIN_OF_TASK = {"cola": "matthews", "mrpc": "f1_accuracy", "qqp": "f1_accuracy"}


def metrics_of(kind: str, labels: int | None = None) -> dict[str, Metric]:
    """The metrics of a kind of task, by name.

    Args:
        kind: one of `TASKS`.
        labels: how many there are; with three and more, without what only two classes have.

    Raises:
        BertError: there is no such kind.
    """
    if kind not in TASKS:
        raise BertError(f"there is no kind of task {kind!r}; take one of {', '.join(TASKS)}.")
    return {
        name: metric
        for name, metric in METRICS.items()
        if kind in metric.kinds and (labels in (None, 2) or kind not in metric.of_two)
    }


def main_metric(kind: str, task_name: str | None = None) -> str:
    """The metric that a task is evaluated by.

    Args:
        kind: one of `TASKS`.
        task_name: of GLUE or XNLI, in any case; another, or none, gets the kind's usual metric.

    Raises:
        BertError: there is no such kind.

    >>> main_metric("classes", "CoLA"), main_metric("regression", "sts_b"), main_metric("classes")
    ('matthews', 'pearson_spearman', 'accuracy')
    """
    found = _MAIN_OF_TASK.get((task_name or "").lower())
    return found if found in metrics_of(kind) else _MAIN_OF_KIND[kind]


def metric_for(
    name: str, kind: str, labels: int | None = None, offered: Mapping[str, Metric] | None = None
) -> Metric:
    """The metric of a name, for a choice such as what early stopping watches.

    Args:
        name: "eval_" at its start and hyphens do no harm.
        kind: of task, for messages.
        labels: how many there are.
        offered: the metrics to choose from, by name; `metrics_of` the kind when left out.

    Raises:
        BertError: there is no such metric, or not for this kind of task.
    """
    offered = metrics_of(kind, labels) if offered is None else offered
    wanted = name.strip().lower().replace("-", "_").removeprefix("eval_")
    if wanted in offered:
        return offered[wanted]
    if wanted in METRICS:
        of = f"{labels} classes" if kind in METRICS[wanted].kinds else f"a {kind} task"
        problem = f"the metric {name!r} is not measured for {of}"
    else:
        near = difflib.get_close_matches(wanted, offered, n=1)
        problem = f"there is no metric {name!r}" + (f" (do you mean {near[0]!r}?)" if near else "")
    raise BertError(f"{problem}; take one of {', '.join(offered)}.")


def is_better(metric: str | Metric, new: float | None, best: float | None) -> bool:
    """Whether a value is strictly better than the best so far.

    An undefined value (None or NaN) is never better, and any other is better than it: a correlation
    is undefined while all predictions are the same.

    >>> is_better("loss", 0.4, 0.5), is_better("accuracy", 0.4, 0.5), is_better("f1", None, None)
    (True, False, False)
    """
    if new is None or math.isnan(new):
        return False
    if best is None or math.isnan(best):
        return True
    found = METRICS[metric] if isinstance(metric, str) else metric
    return new > best if found.higher_is_better else new < best
