"""`Objective`: all that fine-tuning has to know of a head, found by the name of its task."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.errors import BertError
from bert_tf.evaluation.names import Metric, metric_for
from bert_tf.files.extras import require
from bert_tf.heads import HEADS
from bert_tf.options import POSITIVE
from bert_tf.training.log import LogRow

if TYPE_CHECKING:
    from bert_tf.evaluation.results import Result
    from bert_tf.training.finetuning.plan import FineTuningPlan


SUMS = ("loss", "hits", "weight")
"""What a step of fine-tuning reports: sums over the batch of weight times loss, of weight times
what is right (see `Objective.losses`), and of the weights."""


class Scale:
    """Labels that are numbers as a head is trained on them: less their mean, by their deviation.

    A head starts near 0 with a reach of about 1; to come to numbers of about 50 would take it
    many epochs. When the model is written, the scale is put into the head's last layer, so that
    it gives the numbers themselves. A deviation not above 0 raises `BertError`.
    """

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        POSITIVE.check("deviation", deviation)
        self.mean = mean
        self.deviation = deviation

    @classmethod
    def of(cls, labels: np.ndarray) -> Scale:
        """That of the labels; a deviation of 0 counts as 1."""
        wide = np.asarray(labels, np.float64)
        return cls(float(wide.mean()), float(wide.std()) or 1.0)

    def back(self, scores: np.ndarray) -> np.ndarray:
        """The numbers themselves, float32, of scaled ones."""
        return scores * np.float32(self.deviation) + np.float32(self.mean)

    def widen(self, name: str, value: np.ndarray) -> np.ndarray:
        """The last layer's weight for the numbers themselves, of that for the scaled ones."""
        shift = {"output_weights": -0.0, "output_bias": self.mean}.get(name)
        return value if shift is None else (value * self.deviation + shift).astype(np.float32)

    def narrow(self, name: str, value: np.ndarray) -> np.ndarray:
        """The other way."""
        shift = {"output_weights": 0.0, "output_bias": self.mean}.get(name)
        return value if shift is None else ((value - shift) / self.deviation).astype(np.float32)


class Objective:
    """What a head is trained for: its targets, its loss, what its answers are worth.

    `fine_tune` and the evaluation ask an objective whenever heads differ. A subclass has at least
    `task`, `metrics`, `main_metric`, `losses`, and `measure` or `measured`. Nothing here imports
    Keras until `losses` or `loss` is called.

    Args:
        labels: names in the order of the head's outputs; none where it gives numbers.

    Attributes:
        task: its name, kept with the model.
        head: which head it trains.
        hits: what the log calls the mean of what is right.
        labels_are: what labels must be, in words for a message; `{outputs}` is their number.
        per_token: whether the head gives scores for each token: those of many rows are then a list
            of arrays (tokens, ...), not one array (rows, ...).
        metrics: what `measured` gives, by name.
        main_metric: by which the best weights are kept unless the plan names another.
        scale: of labels that are numbers.
        curves: diagrams of a training: column of the log, title, whether it is in percent.
        pictures: kinds of pictures that show an evaluation, see `bert_tf.report`.
        packages: modules that `measure` and `measured` import, see `bert_tf.files.extras`.
    """

    task: ClassVar[str]
    head: ClassVar[str] = "classifier"
    hits: ClassVar[str] = "accuracy"
    labels_are: ClassVar[str] = "numbers, (rows,)"
    per_token: ClassVar[bool] = False
    curves: ClassVar[tuple[tuple[str, str, bool], ...]] = (("loss", "Loss", False),)
    pictures: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ("sklearn", "scipy")
    metrics: Mapping[str, Metric]
    main_metric: str
    scale: Scale = Scale()

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels = tuple(labels)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Of a row's label."""
        return ()

    def check(self, labels: Any, rows: int, split: str) -> None:
        """Makes sure that the labels of a split's rows are what `loss` and `measure` take.

        Raises:
            BertError: they are not.
        """
        if np.shape(labels) != (rows, *self.label_shape):
            raise BertError(
                f"the labels of the {split} rows have the shape {list(np.shape(labels))}; for "
                f"{self.task} they are {self.labels_are.format(outputs=len(self.labels))}."
            )
        if not np.isfinite([np.min(labels), np.max(labels)]).all():
            raise BertError(f"a label of the {split} rows is no finite number.")

    def require(self) -> None:
        """Makes sure, before anything slow starts, that an evaluation has the packages it needs.

        Raises:
            BertError: one is not installed.
        """
        require("an evaluation", *self.packages)

    def fitted(self, labels: Any, plan: FineTuningPlan) -> Self:
        """With what depends on the training rows' labels and on the plan.

        Raises:
            BertError: the plan asks for what has no meaning here.
        """
        return self

    def encode(self, data: Any) -> Any:
        """The labels of rows that were read, as numbers.

        Raises:
            BertError: a row has no label, or one that is none of the labels.
        """
        raise NotImplementedError

    def info(self, plan: FineTuningPlan, **more: Any) -> ClassifierInfo:
        """What is kept with the weights; `more` are other fields of `ClassifierInfo`."""
        return ClassifierInfo(
            labels=self.labels,
            task=self.task,
            pooling=plan.pooling,
            dense_layers=plan.dense_layers,
            dropout=plan.head_dropout,
            hidden_units=plan.hidden_units,
            activation=plan.head_activation or "tanh",
            head=self.head,
            **more,
        )

    @property
    def row_weights(self) -> np.ndarray | None:
        """Factors on the weights of what has each label, float32 (labels,); None for 1."""
        return None

    def losses(self, scores: Any, labels: Any) -> Any:
        """Loss, and how much is right, of each label of a batch, float32 (2, ...).

        Scores are the head's outputs before softmax or sigmoid, (batch, ...), labels (batch, ...);
        the rest of the result's shape is that of the batch's `weights`.
        """
        raise NotImplementedError

    def loss(self, scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """The weighted mean of `losses`, and the sums of `SUMS`.

        A batch has `labels`; `weights`, float32, 0 for padding; and `total_weight` if it is a part
        of one whose weights have that sum.
        """
        from keras import ops

        weights = ops.cast(batch["weights"], "float32")
        found = self.losses(scores, batch["labels"])
        total, lost = ops.sum(weights), ops.sum(found[0] * weights)
        sums = ops.stack([lost, ops.sum(found[1] * weights), total])
        whole = ops.cast(batch.get("total_weight", total), "float32")
        return lost / ops.maximum(whole, 1e-12), sums  # of nothing but padding: 0, not NaN

    def means(self, sums: np.ndarray) -> LogRow:
        """The numbers that a person reads, of the sums that `loss` gives; `loss` is among them."""
        loss, hits, weight = (float(x) for x in sums)
        weight = max(weight, 1e-12)
        return {"loss": loss / weight, self.hits: hits / weight}

    def metric(self, name: str | None = None) -> Metric:
        """The metric of a name, or the main one.

        Raises:
            BertError: there is no such metric of this head.
        """
        return metric_for(name or self.main_metric, self.task, len(self.labels), self.metrics)

    def measure(
        self, labels: Any, outputs: Any, *, from_logits: bool = False, intervals: bool = True
    ) -> Result:
        """All that an evaluation gives, of the right labels and a head's probabilities or numbers.

        `from_logits` says that outputs are scores, not probabilities; `intervals`, whether to
        compute confidence intervals.
        """
        raise NotImplementedError

    def measured(self, labels: Any, scores: Any) -> LogRow:
        """The metrics that are defined, by name, of scores during a training."""
        # Scores that overflow are reported by the watch on the loss; an error here would only
        # keep a checkpoint from being saved.
        result = self.measure(labels, np.nan_to_num(scores), from_logits=True, intervals=False)
        return {name: value for name, value in result.metrics().items() if value is not None}

    def only(self, scores: Any) -> int | None:
        """The number of the label that is the answer to all rows; None if there are several."""
        return None

    def only_warning(self, labels: Any, only: int | None, split: str, **options: int) -> str:
        """What to say of that, "" for nothing; `options` are those of `one_class_warning`."""
        return ""

    def labels_warning(self, labels: Any) -> str:
        """What is odd about the labels of the training rows, "" for nothing."""
        return ""

    def mean_of_batches(self, labels: Any, outputs: Any, batch_size: int) -> float | None:
        """The `loss` of `eval_results.txt` where it is not that of all rows, else None."""
        return None

    def worst(self, labels: Any, outputs: Any, texts: Sequence[str], **options: Any) -> list[Any]:
        """The rows that were predicted worst, see `bert_tf.evaluation.worst`."""
        return []


OBJECTIVES = {task: path for row in HEADS.values() for task, path in row.objectives.items()}
"""Name of a task to the module here and the class in it, imported when it is asked for."""


def objective_class(task: str) -> type[Objective]:
    """The `Objective` of a task; a `BertError` if there is no such task."""
    if task not in OBJECTIVES:
        raise BertError(f"there is no task {task!r}; tasks are {', '.join(OBJECTIVES)}.")
    module, _, name = OBJECTIVES[task].partition(":")
    return getattr(importlib.import_module(f"bert_tf.training.objectives.{module}"), name)


def objective_of(info: ClassifierInfo) -> Objective:
    """What a head that is trained already was trained for."""
    return objective_class(info.task)(info.labels)
