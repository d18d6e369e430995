"""Labels and a model's outputs as the metrics take them; `BertError` if they do not fit."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.files.extras import importing


def sklearn_metrics() -> types.ModuleType:
    """`sklearn.metrics`, imported when it is first needed."""
    with importing("an evaluation"):
        from sklearn import metrics
    return metrics


def finite(values: Any, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The values as float64 of this shape.

    Args:
        values: numbers.
        what: their name in a message.
        shape: with None for any length above 0.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise BertError(f"{what} must be numbers: {error}.") from error
    if len(array.shape) != len(shape) or any(
        wanted not in (None, length) for wanted, length in zip(shape, array.shape)
    ):
        wanted = ", ".join("examples" if length is None else str(length) for length in shape)
        raise BertError(f"{what} have the shape {array.shape}; it must be ({wanted}).")
    if array.size == 0:
        raise BertError("there is no example to evaluate.")
    if len(wrong := np.argwhere(~np.isfinite(array))):
        raise BertError(
            f"{what} hold {array[tuple(wrong[0])]} in example {wrong[0][0]} (counted from 0); "
            "if a training gave them, it diverged: lower the learning rate."
        )
    return array


def fractions(values: np.ndarray) -> np.ndarray:
    """The values, all in [0, 1]."""
    outside = (values < 0) | (values > 1)
    if outside.any():
        raise BertError(f"{values[outside][0]:g} is no probability; use from_logits=True.")
    return values


def normalized(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities whose rows sum to 1 exactly; up to 2 % off is what bfloat16 leaves."""
    sums = fractions(probabilities).sum(axis=1, keepdims=True)
    if (np.abs(sums - 1) > 0.02).any():
        index = int(np.argmax(np.abs(sums - 1)))
        raise BertError(
            f"the probabilities of example {index} (counted from 0) sum to {sums[index, 0]:g}, "
            "not to 1; pass from_logits=True for logits."
        )
    return probabilities / sums


def binary_cross_entropy(right: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """In nats, float64 (examples, labels); bounded by float64's step below 1, as log loss is.

    Args:
        right: bool (examples, labels).
        probabilities: float64 (examples, labels).
    """
    said = np.where(right, probabilities, 1 - probabilities)
    return -np.log(np.maximum(said, np.finfo(np.float64).eps))


def of_classes(
    labels: Any, outputs: Any, label_names: Sequence[str], from_logits: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of examples with one class each: the right class, all probabilities, the predicted class."""
    from scipy import special

    given = finite(outputs, "outputs", (None, len(label_names)))
    probabilities = special.softmax(given, axis=1) if from_logits else normalized(given)
    numbers = finite(labels, "labels", given.shape[:1])
    wrong = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= len(label_names))
    if wrong.any():
        index = int(np.argmax(wrong))
        raise BertError(
            f"label {numbers[index]:g} of example {index} (counted from 0) is no class; "
            f"labels are whole numbers from 0 to {len(label_names) - 1}."
        )
    return numbers.astype(np.int64), probabilities, given.argmax(axis=1)


def of_labels(
    labels: Any, outputs: Any, label_names: Sequence[str], from_logits: bool, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of examples with any number of labels: the right ones, all probabilities, those predicted."""
    from scipy import special

    given = finite(outputs, "outputs", (None, len(label_names)))
    probabilities = special.expit(given) if from_logits else fractions(given)
    numbers = finite(labels, "labels", given.shape)
    if not np.isin(numbers, (0, 1)).all():
        raise BertError("labels of a multi-label task are 0 or 1, one for each example and label.")
    return numbers == 1, probabilities, probabilities >= threshold


def of_numbers(labels: Any, outputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of examples with a number each: the right one and the predicted one."""
    if np.shape(outputs)[1:] == (1,):
        outputs = np.asarray(outputs)[:, 0]
    given = finite(outputs, "outputs", (None,))
    return finite(labels, "labels", given.shape), given
