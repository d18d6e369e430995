"""What a classifier is trained for: one of several classes, several labels at once, or a number."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from bert_tf.data.labelled.texts import LabelledTexts, encode_labels
from bert_tf.errors import BertError
from bert_tf.evaluation import measure, worst
from bert_tf.evaluation.names import main_metric, metrics_of
from bert_tf.options import RATE
from bert_tf.training.log import LogRow
from bert_tf.training.objectives.base import Objective, Scale

if TYPE_CHECKING:
    from bert_tf.evaluation.results import Result
    from bert_tf.training.finetuning.plan import FineTuningPlan

_FEW = 10  # of so few predictions, all of one class may well be right
_UNEVEN = 3.0


class _Classifier(Objective):
    """What the three have in common.

    Args:
        labels: their names, in the order of their numbers.
        label_weights: how much each counts, float (labels,).
        label_smoothing: fraction of each label that is spread over all, from 0 to below 1.
        scale: of numbers.
    """

    of_rows: ClassVar[Callable[..., Any]]
    """Loss and hit of each row of a batch, written in `keras.ops`."""

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        label_weights: np.ndarray | None = None,
        label_smoothing: float = 0.0,
        scale: Scale | None = None,
    ) -> None:
        super().__init__(labels)
        RATE.check("label_smoothing", label_smoothing)
        self.label_weights = label_weights
        self.label_smoothing = label_smoothing
        self.scale = scale or Scale()
        self.metrics = metrics_of(self.task, len(self.labels))
        self.main_metric = main_metric(self.task)

    def encode(self, data: LabelledTexts) -> np.ndarray:
        return encode_labels(data, self.labels)

    def losses(self, scores: Any, labels: Any) -> Any:
        return self._fused(scores, labels, np.float32(self.label_smoothing))

    def fitted(self, labels: np.ndarray, plan: FineTuningPlan) -> Self:
        given, weights = plan.class_weights, None
        if isinstance(given, Mapping):
            if unknown := [name for name in given if name not in self.labels]:
                raise BertError(
                    f"`class_weights` names {unknown[0]!r}, which is none of the labels "
                    f"({', '.join(self.labels[:12])})."
                )
            weights = np.array([given.get(name, 1.0) for name in self.labels], np.float32)
        elif given is not None:
            weights = self._balanced(labels)
        return type(self)(self.labels, label_weights=weights, label_smoothing=plan.label_smoothing)

    def _balanced(self, labels: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def measure(self, labels: Any, outputs: Any, **options: Any) -> Result:
        return getattr(measure, f"measure_{self.task}")(labels, outputs, self.labels, **options)

    def worst(self, labels: Any, outputs: Any, texts: Sequence[str], **options: Any) -> list[Any]:
        return getattr(worst, f"worst_{self.task}")(texts, labels, outputs, self.labels, **options)

    @functools.cached_property
    def _fused(self) -> Callable[..., Any]:
        from bert_tf.models.fused import fused

        return fused(type(self).of_rows)


class Classes(_Classifier):
    """One class a row: the cross entropy of the softmax. Labels are int32 (rows,).

    With `label_smoothing` s the target is `(1 - s) * [label] + s / classes`; `label_weights`
    multiply the weights of the rows. A hit is a row whose highest score is the label's.
    """

    task = "classes"
    labels_are = "whole numbers, (rows,)"
    curves = (
        ("loss", "Loss (nats)", False),
        ("accuracy", "Accuracy (% of rows)", True),
        ("macro_f1", "Macro F1 of the evaluations (%)", True),
    )
    pictures = ("confusion", "curves", "calibration")

    @staticmethod
    def of_rows(scores, labels, smoothing):
        """(n, classes), (n,) int32 -> (2, n): cross entropy and hit of each row."""
        from keras import ops

        scores = ops.cast(scores, "float32")
        logs = scores - ops.max(scores, axis=-1, keepdims=True)
        logs = logs - ops.log(ops.sum(ops.exp(logs), axis=-1, keepdims=True))
        # A comparison instead of a look-up: its gradient is an elementwise product, not a scatter.
        classes = ops.arange(scores.shape[-1], dtype="int32")
        own = ops.sum(ops.where(classes[None, :] == labels[:, None], logs, 0.0), axis=-1)
        loss = -(1.0 - smoothing) * own - smoothing * ops.mean(logs, axis=-1)
        chosen = ops.cast(ops.argmax(scores, axis=-1), "int32")
        return ops.stack([loss, ops.cast(chosen == labels, "float32")])

    @property
    def row_weights(self) -> np.ndarray | None:
        return self.label_weights

    def check(self, labels: Any, rows: int, split: str) -> None:
        super().check(labels, rows, split)
        low, high = np.min(labels), np.max(labels)
        if not 0 <= low <= high < len(self.labels):
            raise BertError(
                f"a label of the {split} rows is number {low if low < 0 else high}; there are "
                f"{len(self.labels)} labels, 0 to {len(self.labels) - 1}."
            )

    def _balanced(self, labels: np.ndarray) -> np.ndarray:
        counts = np.bincount(labels, minlength=len(self.labels))
        # A class without a row never uses its weight.
        return (len(labels) / (len(counts) * np.maximum(counts, 1))).astype(np.float32)

    def only(self, scores: np.ndarray) -> int | None:
        chosen = np.unique(scores.argmax(axis=1))
        return int(chosen[0]) if len(chosen) == 1 else None

    def only_warning(self, labels: Any, only: int | None, split: str, **options: int) -> str:
        return one_class_warning(labels, only, self.labels, split, **options)

    def labels_warning(self, labels: np.ndarray) -> str:
        return imbalance_warning(np.bincount(labels, minlength=len(self.labels)), self.labels)

    def mean_of_batches(self, labels: Any, outputs: Any, batch_size: int) -> float | None:
        """The mean over batches, in the order of the rows, of their mean cross-entropies in nats.

        As Google's script writes it next to `eval_loss`: a short last batch counts as the others.

        >>> outputs = np.array([[1, 0], [1, 0], [0.5, 0.5]])
        >>> round(Classes("ab").mean_of_batches([0, 0, 1], outputs, 2), 4)  # (0 + ln 2) / 2
        0.3466
        """
        wide = np.asarray(outputs, np.float64)
        said = wide[np.arange(len(wide)), labels] / wide.sum(axis=1)
        losses = -np.log(np.maximum(said, np.finfo(np.float64).eps))
        starts = range(0, len(losses), batch_size)
        return float(np.mean([losses[start : start + batch_size].mean() for start in starts]))


class Multilabel(_Classifier):
    """Any number of labels a row: the mean over the labels of the cross entropy of the sigmoid.

    With `label_smoothing` s the target is `(1 - s) * label + s / 2`. Labels are float32 (rows,
    labels), 1 for each that holds; `label_weights` multiply the cross entropy of each. How much
    of a row is right is the fraction of its labels on the right side of 0.
    """

    task = "multilabel"
    hits = "label_accuracy"
    labels_are = "0 or 1, (rows, {outputs})"
    curves = (
        ("loss", "Loss, mean over labels (nats)", False),
        ("label_accuracy", "Right decisions (% of rows x labels)", True),
        ("micro_f1", "Micro F1 of the evaluations (%)", True),
    )

    @staticmethod
    def of_rows(scores, labels, factors, smoothing):
        """(n, labels) twice -> (2, n): mean cross entropy, and fraction of labels right."""
        from keras import ops

        scores, labels = ops.cast(scores, "float32"), ops.cast(labels, "float32")
        target = (1.0 - smoothing) * labels + smoothing / 2.0
        each = ops.softplus(scores) - scores * target
        right = ops.cast((scores > 0) == (labels > 0.5), "float32")
        return ops.stack([ops.mean(each * factors, axis=-1), ops.mean(right, axis=-1)])

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (len(self.labels),)

    def _balanced(self, labels: np.ndarray) -> np.ndarray:
        raise BertError("`class_weights='balanced'` is for one class a row; give weights by label.")

    def losses(self, scores: Any, labels: Any) -> Any:
        weights = np.ones(scores.shape[-1]) if self.label_weights is None else self.label_weights
        smoothing = np.float32(self.label_smoothing)
        return self._fused(scores, labels, np.asarray(weights, np.float32), smoothing)


class Regression(_Classifier):
    """A number a row, float32 (rows,): the squared error, in units of the labels' deviation."""

    task = "regression"
    curves = (
        ("training_loss", "Loss (mean square error / variance of the labels)", False),
        ("mae", "Mean absolute error of the evaluations", False),
        ("pearson", "Pearson correlation of the evaluations", False),
    )
    pictures = ("scatter",)

    @staticmethod
    def of_rows(scores, labels):
        """(n, 1), (n,) -> (2, n): squared error, and minus the absolute error."""
        from keras import ops

        off = ops.cast(scores, "float32")[:, 0] - labels
        return ops.stack([ops.square(off), -ops.abs(off)])

    def fitted(self, labels: np.ndarray, plan: FineTuningPlan) -> Self:
        if plan.class_weights is not None:
            raise BertError("class_weights are for classes; a regression has none.")
        return type(self)(scale=Scale.of(labels))

    def losses(self, scores: Any, labels: Any) -> Any:
        from keras import ops

        scaled = (ops.cast(labels, "float32") - self.scale.mean) / self.scale.deviation
        return self._fused(scores, scaled)

    def measured(self, labels: Any, scores: Any) -> LogRow:
        return super().measured(labels, self.scale.back(scores))

    def means(self, sums: np.ndarray) -> LogRow:
        found = super().means(sums)
        return {"loss": found["loss"], "absolute_error": -found[self.hits]}


def one_class_warning(
    labels: np.ndarray, only: int | None, label_names: Sequence[str], split: str, fewest: int = _FEW
) -> str:
    """Says so if all rows are predicted as `only` one class, and are not; else "".

    The labels, (rows,), are positions in `label_names`; below `fewest` rows there is no warning.

    >>> one_class_warning(np.repeat([0, 1], 20), 1, ["ham", "spam"], "test").split(":")[0]
    "all 40 test rows are predicted as 'spam', as 50 % of them are"
    """
    if only is None or len(labels) < fewest or len(np.unique(labels)) == 1:
        return ""
    return (
        f"all {len(labels):,} {split} rows are predicted as {label_names[only]!r}, as "
        f"{100 * np.mean(labels == only):.0f} % of them are: the model learned nothing else. Train "
        "longer or with another learning rate, or weigh the classes (balanced); and check that "
        "the labels belong to the texts."
    )


def imbalance_warning(examples: Sequence[int] | np.ndarray, label_names: Sequence[str]) -> str:
    """Says so if the most frequent class has thrice the `examples` of the rarest; else "".

    >>> imbalance_warning([50, 50], ["ham", "spam"])
    ''
    """
    counts = [int(count) for count in examples]
    total = sum(counts)
    if len(counts) < 2 or not total or (most := max(counts)) < _UNEVEN * (least := min(counts)):
        return ""
    often, rare = (label_names[counts.index(count)] for count in (most, least))
    percent = f"{100 * most / total:.1f} %"
    return (
        f"the classes are uneven: {often!r} has {most} of {total} examples ({percent}), {rare!r} "
        f"has {least} ({100 * least / total:.1f} %). Always predicting {often!r} has an "
        f"accuracy of {percent}, so look at macro F1 or Matthews too; class weights (balanced) "
        "make up for it in training."
    )
