"""The examples that a model predicts worst, to be read by somebody: wrong labels show up here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bert_tf.errors import BertError
from bert_tf.training.metrics import inputs

if TYPE_CHECKING:
    import numpy as np

Row = dict[str, Any]


def worst_classes(
    texts: Sequence[str],
    labels: Any,
    outputs: Any,
    label_names: Sequence[str],
    *,
    pairs: Sequence[str] | None = None,
    from_logits: bool = False,
    limit: int | None = 100,
) -> list[Row]:
    """Rows by falling loss; of equal ones the first in the data comes first.

    Args:
        texts: of the examples.
        labels: int (examples,), places in `label_names`.
        outputs: float (examples, classes), probabilities or logits.
        label_names: of the classes.
        pairs: the second texts, if there are any.
        from_logits: whether `outputs` are logits.
        limit: how many rows at most; all if None.

    Returns:
        Dicts with `example` (counted from 0), `text`, `text_pair` (only of pairs), `label`,
        `prediction`, `probability` (of the right label), `predicted_probability` and `loss` (the
        cross-entropy in nats).

    Raises:
        BertError: shapes do not fit, or values are not what they should be.
    """
    import numpy as np

    given = inputs.finite(outputs, "outputs", (None, len(label_names)))
    convert = inputs.softmax if from_logits else inputs.normalized
    probabilities = convert(given)
    right = inputs.class_numbers(labels, len(given), len(label_names))
    _check_texts(texts, pairs, len(given))
    predicted = given.argmax(axis=1)
    said = probabilities[np.arange(len(right)), right]
    return [
        {
            **_texts(texts, pairs, place),
            "label": str(label_names[right[place]]),
            "prediction": str(label_names[predicted[place]]),
            "probability": float(said[place]),
            "predicted_probability": float(probabilities[place, predicted[place]]),
            "loss": float(_loss(said[place])),
        }
        for place in _first(_loss(said), limit)
    ]


def worst_multilabel(
    texts: Sequence[str],
    labels: Any,
    outputs: Any,
    label_names: Sequence[str],
    *,
    pairs: Sequence[str] | None = None,
    from_logits: bool = False,
    threshold: float = 0.5,
    limit: int | None = 100,
) -> list[Row]:
    """Rows by falling loss of examples with any number of labels.

    Args:
        texts: of the examples.
        labels: 0 or 1 (examples, labels).
        outputs: float (examples, labels), each label's own probability or logit.
        label_names: of the labels.
        pairs: the second texts, if there are any.
        from_logits: whether `outputs` are logits.
        threshold: a label is predicted where its probability reaches it.
        limit: how many rows at most; all if None.

    Returns:
        As `worst_classes`, with `label` and `prediction` as lists, `probability` that of just the
        right labels, if they are independent, no `predicted_probability`, and `loss` the mean
        over the labels.

    Raises:
        BertError: shapes do not fit, or values are not what they should be.
    """
    import numpy as np

    given = inputs.finite(outputs, "outputs", (None, len(label_names)))
    convert = inputs.sigmoid if from_logits else inputs.shares
    probabilities = convert(given)
    right = inputs.finite(labels, "labels", given.shape) == 1
    _check_texts(texts, pairs, len(given))
    losses = inputs.binary_cross_entropy(right, probabilities)
    predicted = probabilities >= threshold
    names = np.array([str(name) for name in label_names], dtype=object)
    return [
        {
            **_texts(texts, pairs, place),
            "label": list(names[right[place]]),
            "prediction": list(names[predicted[place]]),
            "probability": float(np.exp(-losses[place].sum())),
            "loss": float(losses[place].mean()),
        }
        for place in _first(losses.mean(axis=1), limit)
    ]


def worst_regression(
    texts: Sequence[str],
    labels: Any,
    outputs: Any,
    *,
    pairs: Sequence[str] | None = None,
    limit: int | None = 100,
) -> list[Row]:
    """Rows by falling square error.

    Args:
        texts: of the examples.
        labels: float (examples,).
        outputs: float (examples,) or (examples, 1).
        pairs: the second texts, if there are any.
        limit: how many rows at most; all if None.

    Returns:
        Dicts with `example`, `text`, `text_pair` (only of pairs), `label`, `prediction` and `loss`
        (the square error).

    Raises:
        BertError: shapes do not fit, or values are not what they should be.
    """
    given = inputs.finite(inputs.column(outputs), "outputs", (None,))
    right = inputs.finite(labels, "labels", given.shape)
    _check_texts(texts, pairs, len(given))
    losses = (right - given) ** 2
    return [
        {
            **_texts(texts, pairs, place),
            "label": float(right[place]),
            "prediction": float(given[place]),
            "loss": float(losses[place]),
        }
        for place in _first(losses, limit)
    ]


def _loss(probability: Any) -> np.ndarray:
    import numpy as np

    return -np.log(np.maximum(probability, np.finfo(np.float64).eps)) + 0.0


def _first(losses: np.ndarray, limit: int | None) -> list[int]:
    import numpy as np

    return np.argsort(-losses, kind="stable")[:limit].tolist()


def _texts(texts: Sequence[str], pairs: Sequence[str] | None, place: int) -> Row:
    row: Row = {"example": place, "text": texts[place]}
    if pairs is not None:
        row["text_pair"] = pairs[place]
    return row


def _check_texts(texts: Sequence[str], pairs: Sequence[str] | None, examples: int) -> None:
    for what, given in (("texts", texts), ("second texts", pairs)):
        if given is not None and len(given) != examples:
            raise BertError(f"there are {len(given)} {what} and {examples} outputs; one each.")
