"""What `fine_tune` trains and evaluates on: batches of rows, or of a frozen encoder's vectors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bert_tf.batching.buckets import choose_buckets
from bert_tf.batching.predict import predict_all
from bert_tf.batching.rows import Rows, TokenizedTexts, Vectors
from bert_tf.batching.stream import FeatureStream, LabelledStream
from bert_tf.bert import Bert
from bert_tf.training.finetuning.features import features_of
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.loop import Stream
from bert_tf.training.objectives.base import Objective

if TYPE_CHECKING:
    from bert_tf.training.step import TrainingStep

Batch = dict[str, np.ndarray]


class LabelledRows(NamedTuple):
    """Rows to train on or to evaluate on.

    Attributes:
        texts: from `bert_tf.batching.tokenize_texts`.
        labels: from `bert_tf.data.encode_labels`: int32 (rows,), the number of the class; float32
            (rows, labels), 1 for each that holds; or float32 (rows,). For other heads see
            `bert_tf.batching.labels.Labels`.
    """

    texts: TokenizedTexts
    labels: np.ndarray


def open_batches(
    bert: Bert,
    train: LabelledRows,
    validation: LabelledRows | None,
    plan: FineTuningPlan,
    folder: str | os.PathLike[str],
    digest: str,
    progress: bool,
) -> tuple[LabelledStream, Rows | None]:
    """The batches to train on, and the rows to evaluate on, if there are any.

    Of a frozen encoder they are of vectors, which `bert` computes, with a progress bar if wanted,
    and which are kept in the folder under the `digest` of its weights.

    Raises:
        BertError: there are no rows, or vectors cannot be computed or kept.
    """
    size, seed = plan.batch_size, plan.seed
    if plan.kind != "frozen":
        labelled = LabelledStream(train.texts, train.labels, batch_size=size, seed=seed)
        return labelled, validation and validation.texts

    def vectors(rows: LabelledRows) -> np.ndarray:
        how: dict[str, Any] = {
            "digest": digest,
            "batch_size": plan.eval_batch_size,
            "progress": progress,
        }
        return features_of(bert, rows.texts, plan.pooling, folder, **how)

    key = f"{digest} {train.texts.key} {plan.pooling}"
    stream = FeatureStream(vectors(train), train.labels, batch_size=size, seed=seed, key=key)
    return stream, validation and Vectors(vectors(validation))


def all_scores(step: TrainingStep, rows: Rows, objective: Objective, batch_size: int) -> Any:
    """The model's scores of all rows, float32 (rows, outputs); of tokens a list of arrays."""
    import keras

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        return keras.ops.convert_to_numpy(keras.ops.cast(step.predict(batch), "float32"))

    # A step is compiled for each shape, and divides the rows of a batch among devices.
    buckets = choose_buckets(rows.lengths, rows.max_seq_length)
    sizes = rows.lengths if objective.per_token else None
    return predict_all(run, rows, batch_size=batch_size, buckets=buckets, sizes=sizes)


class Weighted:
    """A stream whose rows, or tokens, have the weights of their classes.

    Args:
        stream: gives `labels`, int32 (rows,) or (rows, length), and as many `weights`, float32.
        class_weights: float32 (classes,).
    """

    def __init__(self, stream: Stream, class_weights: np.ndarray) -> None:
        self._stream = stream
        self._class_weights = class_weights
        self.state, self.restore = stream.state, stream.restore

    def next_batch(self) -> Batch:
        """The stream's next batch; `weights` are multiplied by those of the classes."""
        batch = self._stream.next_batch()
        weights = batch["weights"]
        labels = np.where(weights > 0, batch["labels"], 0)  # of tokens, others are no class
        return {**batch, "weights": weights * self._class_weights[labels]}
