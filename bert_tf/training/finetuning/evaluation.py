"""What a model that is being trained says of the validation rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bert_tf.batching.buckets import choose_buckets
from bert_tf.batching.predict import predict_all
from bert_tf.batching.rows import Rows
from bert_tf.training.objectives.base import Objective

if TYPE_CHECKING:
    import numpy as np

    from bert_tf.training.step import TrainingStep


def all_scores(step: TrainingStep, rows: Rows, objective: Objective, batch_size: int) -> Any:
    """The model's scores of all rows, float32 (rows, outputs); of tokens a list of arrays."""
    import keras

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        return keras.ops.convert_to_numpy(keras.ops.cast(step.predict(batch), "float32"))

    # A step is compiled for each shape, and divides the rows of a batch among devices.
    buckets = choose_buckets(rows.lengths, rows.max_seq_length)
    sizes = rows.lengths if objective.per_token else None
    return predict_all(run, rows, batch_size=batch_size, buckets=buckets, sizes=sizes)
