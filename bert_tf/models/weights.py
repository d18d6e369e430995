"""Puts arrays into Keras variables and takes them out, without spare copies of large tables."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import keras
import ml_dtypes
import numpy as np

from bert_tf.models.initializers import untouched_zeros


def variable_at(layer: Any, path: str) -> Any:
    """The `keras.Variable` behind a dotted path such as `attention.query.kernel`.

    `Dense.kernel` and `Embedding.embeddings` are properties that add LoRA's product to the
    variable; this gives the variable itself.
    """
    *owners, name = path.split(".")
    for owner in owners:
        layer = getattr(layer, owner)
    return getattr(layer, f"_{name}", None) if hasattr(layer, f"_{name}") else getattr(layer, name)


def value_at(layer: Any, path: str) -> np.ndarray:
    """The effective value behind a dotted path, LoRA's part merged in, as a numpy array."""
    return keras.ops.convert_to_numpy(operator.attrgetter(path)(layer))


def numpy_dtype(variable: Any) -> np.dtype:
    """The numpy type of a variable's values; bfloat16 is ml_dtypes'."""
    name = keras.backend.standardize_dtype(variable.dtype)
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def release(variable: Any) -> None:
    """Gives a variable's memory back before its next value is read, so that only one is held."""
    if keras.backend.backend() != "openvino":
        variable.assign(untouched_zeros(tuple(variable.shape), variable.dtype))


def adopt(variable: Any, value: np.ndarray) -> None:
    """Assigns `value` and lets the variable take its buffer over where the backend can.

    The caller must not write to `value` afterwards. The buffer is taken over if it starts at a
    multiple of 64 (TensorFlow, JAX); otherwise the backend copies it.

    Args:
        variable: a Keras variable.
        value: array of the variable's shape and `numpy_dtype(variable)`, C-contiguous.
    """
    variable.assign(_ADOPTERS.get(keras.backend.backend(), lambda value: value)(value))


def _adopt_tensorflow(value: np.ndarray) -> Any:
    import tensorflow as tf

    # A constant on an aligned numpy array shares its memory, and assigning shares the constant's.
    with tf.device("CPU:0"):
        return tf.constant(value)


def _adopt_jax(value: np.ndarray) -> Any:
    import jax

    return jax.device_put(value, may_alias=True)


def _adopt_openvino(value: np.ndarray) -> Any:
    from keras.src.backend.openvino.core import OpenVINOKerasTensor
    from openvino import op

    # The constant keeps a reference to the array, so the memory lives as long as it does.
    return OpenVINOKerasTensor(op.Constant(value, shared_memory=True).output(0))


_ADOPTERS: dict[str, Callable[[np.ndarray], Any]] = {
    "tensorflow": _adopt_tensorflow,
    "jax": _adopt_jax,
    "openvino": _adopt_openvino,
}
