"""What a classifier that is being trained says of the validation rows, and what that is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.batching.buckets import choose_buckets
from bert_tf.batching.predict import predict_all
from bert_tf.batching.rows import Rows
from bert_tf.checkpoint.classifier_info import ClassifierInfo

if TYPE_CHECKING:
    from bert_tf.training.step import TrainingStep

Row = dict[str, float]


def all_scores(step: TrainingStep, rows: Rows, batch_size: int) -> np.ndarray:
    """The model's scores of all rows, in their order: float32 (rows, outputs)."""
    import keras

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        return keras.ops.convert_to_numpy(keras.ops.cast(step.predict(batch), "float32"))

    # A step is compiled for each shape, and divides the rows of a batch among devices.
    buckets = choose_buckets(rows.lengths, rows.max_seq_length)
    return predict_all(run, rows, batch_size=batch_size, buckets=buckets)


def measured(info: ClassifierInfo, labels: np.ndarray, scores: np.ndarray) -> Row:
    """All metrics that are defined, by name."""
    from bert_tf.training.metrics import measure

    # Scores that overflow are told by the watch on the loss, with advice; here they would only
    # be in the way of saving.
    scores = np.nan_to_num(scores)
    result: Any
    if info.task == "regression":
        result = measure.measure_regression(labels, scores, intervals=False)
    else:
        several = info.task == "multilabel"
        judge: Any = measure.measure_multilabel if several else measure.measure_classes
        result = judge(labels, scores, info.labels, from_logits=True, intervals=False)
    return {name: value for name, value in result.metrics().items() if value is not None}


def only_class(info: ClassifierInfo, scores: np.ndarray) -> int | None:
    """The number of the class that all rows are said to be of; None if there are several."""
    if info.task != "classes":
        return None
    chosen = np.unique(scores.argmax(axis=1))
    return int(chosen[0]) if len(chosen) == 1 else None


def means(task: str, sums: np.ndarray) -> Row:
    """The numbers that a person reads, of `losses.CLASSIFIER_SUMS`."""
    loss, hits, weight = (float(x) for x in sums)
    weight = max(weight, 1e-12)
    row = {"loss": loss / weight}
    if task == "regression":  # the labels' deviation is the unit of both
        return row | {"absolute_error": -hits / weight}
    return row | {"accuracy" if task == "classes" else "label_accuracy": hits / weight}
