"""The types of a checkpoint's tensors, and casts that do not lose a value unnoticed."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from bert_tf.errors import BertError

STRING = 7
"""TensorFlow's `DT_STRING`, the one type whose bytes are no array."""

_BY_NUMBER: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    8: np.dtype("<c8"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype("<u2"),
    18: np.dtype("<c16"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}
"""By number in TensorFlow's `types.proto`; the types that only quantized graphs use are not in."""

_TO_NUMBER = {dtype: number for number, dtype in _BY_NUMBER.items()}

FLOATS = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
"""The types that weights can be stored in, by name."""

_ALL_FLOATS = (*FLOATS.values(), np.dtype("<f8"))


def from_number(number: int) -> np.dtype:
    """The numpy type of TensorFlow's `number`: object for strings, void for an unknown type."""
    if number == STRING:
        return np.dtype(object)
    return _BY_NUMBER.get(number, np.dtype("V"))


def to_number(dtype: np.dtype, name: str) -> int:
    """TensorFlow's number of a numpy type.

    Raises:
        BertError: a checkpoint cannot hold the type; the message names the tensor `name`.
    """
    try:
        return _TO_NUMBER[dtype.newbyteorder("<")]
    except KeyError:
        raise BertError(
            f"the tensor {name!r} is of type {dtype}, which a checkpoint cannot hold."
        ) from None


def is_number(dtype: np.dtype) -> bool:
    """Whether it is a type whose bytes are an array: no strings, none that is unknown."""
    return dtype.itemsize > 0 and not dtype.hasobject


def is_float(dtype: np.dtype) -> bool:
    """Whether it is a type of weights: float16, bfloat16, float32 or float64."""
    return dtype in _ALL_FLOATS


def float_type(name: str) -> np.dtype:
    """The type of weights called `name`.

    Raises:
        BertError: it is none of `FLOATS`.
    """
    if name not in FLOATS:
        raise BertError(f"the type {name!r} is not one of {', '.join(FLOATS)}.")
    return FLOATS[name]


def cast_into(out: np.ndarray, source: np.ndarray, name: str) -> None:
    """Copies `source` into `out`, another type of the same shape, rounding to nearest even.

    Args:
        out: where to; floats of one width from floats of another, or the same type.
        source: the values.
        name: of the tensor, for the message.

    Raises:
        BertError: the types do not fit, or a finite value is too large for the type of `out`
            (numpy would make it infinite).
    """
    if out.dtype == source.dtype:
        np.copyto(out, source)
        return
    if not (is_float(out.dtype) and is_float(source.dtype)):
        raise BertError(
            f"the tensor {name!r} is stored as {source.dtype}; it cannot be read as {out.dtype}."
        )
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.copyto(out, source, casting="unsafe")
    if float(ml_dtypes.finfo(out.dtype).max) >= float(ml_dtypes.finfo(source.dtype).max):
        return
    lost = ~np.isfinite(out)
    if lost.any():
        lost &= np.isfinite(source)
    if lost.any():
        worst = float(np.abs(source[lost].astype(np.float64)).max())
        raise BertError(
            f"the tensor {name!r} has the value {worst:.6g}, which is too large for {out.dtype}. "
            "Keep float32, or take bfloat16, which reaches as far as float32."
        )
