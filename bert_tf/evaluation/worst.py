"""The examples that a model predicts worst, to be read by somebody: wrong labels show up here.

Labels, outputs and the keywords `from_logits` and `threshold` are those of
`bert_tf.evaluation.measure`. Further keywords are `pairs`, the second texts if there are any,
and `limit`, how many rows at most (None for all). Rows are dicts by falling loss, of equal ones the
first in the data first: `example` (counted from 0), `text`, `text_pair` (only of pairs), `label`,
`prediction`, and at last `loss`. `BertError` is raised where shapes or values do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.evaluation import inputs

Sample = dict[str, Any]


def worst_classes(
    texts: Sequence[str],
    labels: Any,
    outputs: Any,
    label_names: Sequence[str],
    from_logits: bool = False,
    **options: Any,
) -> list[Sample]:
    """Of one class each; with `probability`, of the right label, and `predicted_probability`.

    The loss is the cross-entropy in nats.
    """
    right, probabilities, predicted = inputs.of_classes(labels, outputs, label_names, from_logits)
    said = probabilities[np.arange(len(right)), right]
    losses = -np.log(np.maximum(said, np.finfo(np.float64).eps)) + 0.0
    return _rows(
        texts,
        losses,
        lambda index: {
            "label": str(label_names[right[index]]),
            "prediction": str(label_names[predicted[index]]),
            "probability": float(said[index]),
            "predicted_probability": float(probabilities[index, predicted[index]]),
        },
        **options,
    )


def worst_multilabel(
    texts: Sequence[str],
    labels: Any,
    outputs: Any,
    label_names: Sequence[str],
    from_logits: bool = False,
    threshold: float = 0.5,
    **options: Any,
) -> list[Sample]:
    """Of any number of labels each, `label` and `prediction` being lists.

    `probability` is that of just the right labels, if they are independent; the loss is the mean
    over the labels.
    """
    right, probabilities, predicted = inputs.of_labels(
        labels, outputs, label_names, from_logits, threshold
    )
    losses = inputs.binary_cross_entropy(right, probabilities)
    names = np.array([str(name) for name in label_names], dtype=object)
    return _rows(
        texts,
        losses.mean(axis=1),
        lambda index: {
            "label": list(names[right[index]]),
            "prediction": list(names[predicted[index]]),
            "probability": float(np.exp(-losses[index].sum())),
        },
        **options,
    )


def worst_regression(
    texts: Sequence[str], labels: Any, outputs: Any, label_names: Sequence[str] = (), **options: Any
) -> list[Sample]:
    """Of a number each; the loss is the square error."""
    right, given = inputs.of_numbers(labels, outputs)
    return _rows(
        texts,
        (right - given) ** 2,
        lambda index: {"label": float(right[index]), "prediction": float(given[index])},
        **options,
    )


def _rows(
    texts: Sequence[str],
    losses: np.ndarray,
    columns: Callable[[int], Sample],
    *,
    pairs: Sequence[str] | None = None,
    limit: int | None = 100,
) -> list[Sample]:
    for what, given in (("texts", texts), ("second texts", pairs)):
        if given is not None and len(given) != len(losses):
            raise BertError(f"there are {len(given)} {what} and {len(losses)} outputs; one each.")
    return [
        {
            "example": index,
            "text": texts[index],
            **({} if pairs is None else {"text_pair": pairs[index]}),
            **columns(index),
            "loss": float(losses[index]),
        }
        for index in np.argsort(-losses, kind="stable")[:limit].tolist()
    ]
