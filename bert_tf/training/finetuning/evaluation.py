"""What a model that is being trained says of the validation rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bert_tf.training.step import TrainingStep

Batch = dict[str, np.ndarray]


def all_scores(
    step: TrainingStep, batches: Iterator[tuple[np.ndarray, Batch]], rows: int, outputs: int
) -> np.ndarray:
    """The model's scores of all rows, in their order: float32 (rows, outputs)."""
    import keras

    found = np.empty((rows, outputs), np.float32)
    for numbers, batch in batches:
        scores = keras.ops.convert_to_numpy(keras.ops.cast(step.predict(batch), "float32"))
        found[numbers] = scores[: len(numbers)]
    return found
