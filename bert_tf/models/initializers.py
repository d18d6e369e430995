"""The start of new weights: the original's truncated normal, or nothing where a file follows."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import keras
import ml_dtypes
import numpy as np
from keras import ops

_blank = contextvars.ContextVar("bert_tf_blank_weights", default=False)


@contextlib.contextmanager
def blank_weights() -> Iterator[None]:
    """Inside, new weights are zeros that occupy no memory until they are assigned.

    Drawing 178 million random numbers only to overwrite them takes seconds and doubles the peak
    memory of loading a checkpoint.
    """
    token = _blank.set(True)
    try:
        yield
    finally:
        _blank.reset(token)


def untouched_zeros(shape: tuple[int, ...], dtype: str) -> Any:
    """A backend tensor of zeros whose memory the system has promised but not yet handed out."""
    if keras.backend.backend() == "openvino":
        return ops.zeros(shape, dtype)  # a graph node; nothing is computed before it is used
    # The system hands out zero pages and backs them with memory only when they are written.
    # TensorFlow and JAX take a buffer over without a copy if it starts at a multiple of 64.
    numpy_dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    size = math.prod(shape) * numpy_dtype.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return ops.convert_to_tensor(raw[start : start + size].view(numpy_dtype).reshape(shape))


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
