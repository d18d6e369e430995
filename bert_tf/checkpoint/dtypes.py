"""The types of a checkpoint's tensors, and casts that do not lose a value unnoticed."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from bert_tf.errors import BertError

UNSOUND = "weights are NaN, infinite or too large; take an earlier checkpoint, or copy it again"

STRING = 7
"""TensorFlow's `DT_STRING`, the one type whose bytes are no array."""

_NUMBERS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 17, 18, 19, 22, 23)
_CODES = ("f4", "f8", "i4", "u1", "i2", "i1", "c8", "i8", "?", "u2", "c16", "f2", "u4", "u8")
_BY_NUMBER = {number: np.dtype(f"<{code}") for number, code in zip(_NUMBERS, _CODES)}
_BY_NUMBER[14] = np.dtype(ml_dtypes.bfloat16)
"""By number in TensorFlow's `types.proto`; the types that only quantized graphs use are not in."""

_TO_NUMBER = {dtype: number for number, dtype in _BY_NUMBER.items()}

FLOATS = {"float32": _BY_NUMBER[1], "float16": _BY_NUMBER[19], "bfloat16": _BY_NUMBER[14]}
"""The types that weights can be stored in, by name."""

_ALL_FLOATS = (*FLOATS.values(), _BY_NUMBER[2])


def from_number(number: int) -> np.dtype:
    """The numpy type of TensorFlow's `number`: object for strings, void for an unknown type."""
    return _BY_NUMBER.get(number, np.dtype(object if number == STRING else "V"))


def to_number(dtype: np.dtype, name: str) -> int:
    """TensorFlow's number of a numpy type.

    Raises:
        BertError: a checkpoint cannot hold the type; the message names the tensor `name`.
    """
    if (number := _TO_NUMBER.get(dtype.newbyteorder("<"))) is None:
        raise BertError(f"the tensor {name!r} is of type {dtype}, which a checkpoint cannot hold.")
    return number


def is_number(dtype: np.dtype) -> bool:
    """Whether it is a type whose bytes are an array: no strings, none that is unknown."""
    return dtype.itemsize > 0 and not dtype.hasobject


def is_float(dtype: np.dtype) -> bool:
    """Whether it is a type of weights: float16, bfloat16, float32 or float64."""
    return dtype in _ALL_FLOATS


def float_type(name: str) -> np.dtype:
    """The type of weights called `name`; a `BertError` if it is none of `FLOATS`."""
    if name not in FLOATS:
        raise BertError(f"the type {name!r} is not one of {', '.join(FLOATS)}.")
    return FLOATS[name]


def is_sound(values: np.ndarray) -> bool:
    """Whether floats can be computed with: none is NaN, and no square is infinite in float32."""
    values = values.reshape(-1).astype(np.float32, copy=False)
    # Numbers from 2 on have this bit. Most weights have not, and no look at all is cheaper.
    if not np.bitwise_or.reduce(values.view(np.int32)) & 1 << 30:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values * values).all())


def refuse_unsound(names: list[str], where: str) -> None:
    """Raises a `BertError` if there are names: of weights that are not sound, of a model."""
    if names:
        raise BertError(f"{where}, {', '.join(names[:5])}: {UNSOUND}.")


def cast_into(out: np.ndarray, source: np.ndarray, name: str) -> None:
    """Copies `source` into `out`, of the same shape and type, or floats, rounded to nearest even.

    `name` is the tensor's, for the message.

    Raises:
        BertError: the types do not fit, or a finite value is too large for the type of `out`
            (numpy would make it infinite).
    """
    if out.dtype == source.dtype:
        np.copyto(out, source)
        return
    if not (is_float(out.dtype) and is_float(source.dtype)):
        raise BertError(f"{name!r} is stored as {source.dtype}; it cannot be read as {out.dtype}.")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.copyto(out, source, casting="unsafe")
    if float(ml_dtypes.finfo(out.dtype).max) >= float(ml_dtypes.finfo(source.dtype).max):
        return
    lost = ~np.isfinite(out)
    if lost.any() and (lost := lost & np.isfinite(source)).any():
        worst = float(np.abs(source[lost].astype(np.float64)).max())
        raise BertError(
            f"the tensor {name!r} has the value {worst:.6g}, which is too large for {out.dtype}. "
            "Keep float32, or take bfloat16, which reaches as far as float32."
        )
