"""Backend tensors on numpy memory without a copy, so that loading holds every weight just once."""

from __future__ import annotations

import math
from typing import Any

import keras
import ml_dtypes
import numpy as np

ALIGNMENT = 64
"""Where a buffer must start for TensorFlow (EIGEN_MAX_ALIGN_BYTES) and XLA to use it in place."""


def adopt(value: np.ndarray) -> Any:
    """A tensor of the backend on the memory of a C-contiguous array, not to be written to any more.

    TensorFlow and JAX take a buffer over if it starts at a multiple of `ALIGNMENT`, OpenVINO any;
    otherwise, and for types that the backend cannot exchange, the result is a copy.
    """
    backend, narrow = keras.backend.backend(), value.dtype == ml_dtypes.bfloat16
    if backend == "jax":
        import jax

        return jax.device_put(value, may_alias=True)
    if backend == "openvino":
        from keras.src.backend.openvino.core import OpenVINOKerasTensor
        from openvino import op

        if narrow:
            return keras.ops.convert_to_tensor(value)
        # The constant keeps a reference to the array, so the memory lives as long as it does.
        return OpenVINOKerasTensor(op.Constant(value, shared_memory=True).output(0))
    import tensorflow as tf

    # numpy has no DLPack type for bfloat16. And TensorFlow takes any address over, but aborts
    # the process at the first operation on a tensor that is not aligned.
    if narrow or value.ctypes.data % ALIGNMENT:
        return tf.constant(value)
    # tf.constant and tf.convert_to_tensor copy numpy arrays, aligned or not; DLPack does not.
    return tf.experimental.dlpack.from_dlpack(value.__dlpack__())


def untouched_zeros(shape: tuple[int, ...], dtype: str) -> Any:
    """A tensor of zeros whose memory the system has promised but not yet handed out."""
    if keras.backend.backend() == "openvino":
        return keras.ops.zeros(shape, dtype)  # a graph node; nothing is computed before it is used
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + ALIGNMENT, np.uint8)  # zero pages, backed by memory only when written
    start = -raw.ctypes.data % ALIGNMENT
    return adopt(raw[start : start + size].view(dtype).reshape(shape))
