"""The start of new weights: the original's truncated normal, or nothing where a file follows."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras

from bert_tf.models.buffers import untouched_zeros

_blank = contextvars.ContextVar("bert_tf_blank_weights", default=False)


@contextlib.contextmanager
def blank_weights() -> Iterator[None]:
    """Inside, new weights are zeros that occupy no memory until they are assigned.

    Drawing 178 million numbers only to overwrite them takes seconds and doubles the peak memory.
    """
    token = _blank.set(True)
    try:
        yield
    finally:
        _blank.reset(token)


@keras.saving.register_keras_serializable(package="bert_tf")
class BertInitializer(keras.initializers.TruncatedNormal):
    """Truncated normal of mean 0, cut at two standard deviations, as the original starts from.

    Args:
        initializer_range: the standard deviation before the cut.
        seed: an int, a `keras.random.SeedGenerator`, or None for Keras's own random state.
    """

    def __init__(self, initializer_range: float = 0.02, seed: Any = None) -> None:
        super().__init__(mean=0.0, stddev=initializer_range, seed=seed)

    def __call__(self, shape, dtype=None):
        if _blank.get():
            return untouched_zeros(tuple(shape), dtype or keras.config.floatx())
        return super().__call__(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {"initializer_range": config["stddev"], "seed": config["seed"]}
