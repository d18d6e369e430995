"""Finds the variable behind a layer's weight, and puts values into it and takes them out."""

from __future__ import annotations

import operator
from typing import Any

import keras
import numpy as np

from bert_tf.models import buffers


def variable_at(layer: Any, path: str) -> Any:
    """The `keras.Variable` behind a dotted path such as `attention.query.kernel`.

    `Dense.kernel` and `Embedding.embeddings` are properties that add LoRA's product to the
    variable; this gives the variable itself.
    """
    *owners, name = path.split(".")
    for owner in owners:
        layer = getattr(layer, owner)
    hidden = getattr(layer, f"_{name}", None)
    return getattr(layer, name) if hidden is None else hidden


def value_at(layer: Any, path: str) -> np.ndarray:
    """The effective value behind a dotted path, LoRA's part merged in, as a numpy array."""
    return keras.ops.convert_to_numpy(operator.attrgetter(path)(layer))


def assign(variable: Any, value: np.ndarray) -> None:
    """Assigns `value`; the variable takes its memory over, so do not write to it afterwards.

    Args:
        variable: a Keras variable.
        value: C-contiguous array of the variable's shape; cast if it is of another type.
    """
    dtype = buffers.numpy_dtype(keras.backend.standardize_dtype(variable.dtype))
    variable.assign(buffers.adopt(value.astype(dtype, copy=False)))
