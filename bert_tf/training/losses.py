"""What training minimises: in pretraining two losses added, in fine-tuning the classifier's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops

from bert_tf.errors import BertError
from bert_tf.models.fused import fused
from bert_tf.options import POSITIVE, RATE

SUMS = ("mlm_loss", "mlm_correct", "mlm_count", "nsp_loss", "nsp_correct", "nsp_count")
"""What a step reports, each a sum over the batch, so that batches can be added up."""


def _scores(logits, ids):
    """Cross entropy in nats, and 1 where the right class has the highest logit.

    (n, classes) and (n,) int32 -> (2, n) float32: one array, so that both come of one pass over
    the logits, of which there are a batch's worth times the vocabulary.
    """
    logits = ops.cast(logits, "float32")
    highest = ops.max(logits, axis=-1, keepdims=True)
    total = ops.log(ops.sum(ops.exp(logits - highest), axis=-1)) + highest[:, 0]
    # A comparison instead of a look-up: its gradient is an elementwise product, not a scatter.
    classes = ops.arange(logits.shape[-1], dtype="int32")
    right = ops.sum(ops.where(classes[None, :] == ids[:, None], logits, 0.0), axis=-1)
    hit = ops.cast(right >= highest[:, 0], "float32")
    return ops.stack([total - right, hit])


_fused_scores = fused(_scores)


def pretraining_loss(outputs: list[Any], batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """The original's loss: the mean over the masked words plus the mean over the pairs.

    Args:
        outputs: MLM logits, (batch, n, vocab), and NSP logits, (batch, 2).
        batch: `masked_lm_ids` (batch, n), `masked_lm_weights` (batch, n), 0 for a place that is
            only there to fill up, and `next_sentence_labels` (batch,). Where it is a part of
            a batch, `total_words` and `total_pairs` are what the sums are divided by: the
            weights of all words and the number of all pairs.

    Returns:
        The loss, a scalar, and the sums of `SUMS` as one float32 array.
    """
    mlm, nsp = outputs
    weights = ops.reshape(ops.cast(batch["masked_lm_weights"], "float32"), (-1,))
    ids = ops.reshape(batch["masked_lm_ids"], (-1,))
    words = _fused_scores(ops.reshape(mlm, (-1, mlm.shape[-1])), ids)
    pairs = _fused_scores(nsp, ops.reshape(batch["next_sentence_labels"], (-1,)))
    sums = [
        ops.sum(words[0] * weights),
        ops.sum(words[1] * weights),
        ops.sum(weights),
        ops.sum(pairs[0]),
        ops.sum(pairs[1]),
        ops.cast(ops.shape(pairs)[1], "float32"),
    ]
    # 1e-5 as in run_pretraining.py: a batch without any masked word has no loss, not NaN.
    words_in_all = ops.cast(batch.get("total_words", sums[2]), "float32")
    pairs_in_all = ops.cast(batch.get("total_pairs", sums[5]), "float32")
    loss = sums[0] / (words_in_all + 1e-5) + sums[3] / ops.maximum(pairs_in_all, 1.0)
    return loss, ops.stack([ops.convert_to_tensor(x) for x in sums])


CLASSIFIER_SUMS = ("loss", "hits", "weight")
"""What a step of fine-tuning reports: sums over the batch of weight times loss, of weight times
what is right, and of the weights. What is right of a row is, for classes, 1 if the highest score
is the label's; for several labels at once, the share of labels on the right side of 0; for a
regression, minus the absolute error."""


def classifier_loss(
    task: str,
    *,
    label_weights: np.ndarray | None = None,
    label_smoothing: float = 0.0,
    mean: float = 0.0,
    deviation: float = 1.0,
) -> Callable[[Any, Mapping[str, Any]], tuple[Any, Any]]:
    """The loss of a classification head, a weighted mean over the rows of a batch.

    For classes it is the cross entropy of the softmax with `(1 - s) * [label] + s / classes`, s
    being `label_smoothing`; for several labels at once the mean over the labels of the cross
    entropy of the sigmoid with `(1 - s) * target + s / 2`; for a regression the squared error.

    Args:
        task: `"classes"`, `"multilabel"` or `"regression"`.
        label_weights: float (labels,): for several labels at once, the cross entropy of each is
            multiplied with it. (Weights of classes belong into the rows' weights.)
        label_smoothing: from 0 to below 1; without meaning for a regression.
        mean: of a regression's labels, which are `(label - mean) / deviation` to the loss, so
            that a head that starts near 0 starts in their midst.
        deviation: likewise.

    Returns:
        A function of the scores, (batch, labels), and a batch with `labels`, int32 (batch,),
        float32 (batch, labels) or float32 (batch,) by task, and `weights`, float32 (batch,), 0
        for rows that only fill up. It gives the loss and the sums of `CLASSIFIER_SUMS`. The sum
        of the losses is divided by `total_weight` if the batch has that, else by the sum of the
        weights.

    Raises:
        BertError: there is no such task, or a number has no meaning.
    """
    if task not in _ROWS:
        raise BertError(f"there is no loss for {task!r}; tasks are {', '.join(_ROWS)}.")
    RATE.check("label_smoothing", label_smoothing)
    POSITIVE.check("deviation", deviation)
    rows = fused(_ROWS[task])

    def loss(scores: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        labels, weights = batch["labels"], ops.cast(batch["weights"], "float32")
        if task == "classes":
            found = rows(scores, labels, np.float32(label_smoothing))
        elif task == "multilabel":
            factors = np.ones(scores.shape[-1]) if label_weights is None else label_weights
            found = rows(
                scores, labels, np.asarray(factors, np.float32), np.float32(label_smoothing)
            )
        else:
            found = rows(scores, (ops.cast(labels, "float32") - mean) / deviation)
        total = ops.sum(weights)
        lost = ops.sum(found[0] * weights)
        sums = ops.stack([lost, ops.sum(found[1] * weights), total])
        whole = ops.cast(batch.get("total_weight", total), "float32")
        # A batch of nothing but filling rows has no loss, not NaN.
        return lost / ops.maximum(whole, 1e-12), sums

    return loss


def _class_rows(scores, labels, smoothing):
    """(n, classes), (n,) int32 -> (2, n): cross entropy and hit of each row."""
    scores = ops.cast(scores, "float32")
    highest = ops.max(scores, axis=-1, keepdims=True)
    logs = scores - highest
    logs = logs - ops.log(ops.sum(ops.exp(logs), axis=-1, keepdims=True))
    # A comparison instead of a look-up: its gradient is an elementwise product, not a scatter.
    classes = ops.arange(scores.shape[-1], dtype="int32")
    own = ops.sum(ops.where(classes[None, :] == labels[:, None], logs, 0.0), axis=-1)
    loss = -(1.0 - smoothing) * own - smoothing * ops.mean(logs, axis=-1)
    chosen = ops.cast(ops.argmax(scores, axis=-1), "int32")
    return ops.stack([loss, ops.cast(chosen == labels, "float32")])


def _label_rows(scores, labels, factors, smoothing):
    """(n, labels) twice -> (2, n): mean cross entropy, and share of labels that are right."""
    scores, labels = ops.cast(scores, "float32"), ops.cast(labels, "float32")
    target = (1.0 - smoothing) * labels + smoothing / 2.0
    each = ops.softplus(scores) - scores * target
    right = ops.cast((scores > 0) == (labels > 0.5), "float32")
    return ops.stack([ops.mean(each * factors, axis=-1), ops.mean(right, axis=-1)])


def _number_rows(scores, labels):
    """(n, 1), (n,) -> (2, n): squared error, and minus the absolute error."""
    off = ops.cast(scores, "float32")[:, 0] - labels
    return ops.stack([ops.square(off), -ops.abs(off)])


_ROWS: dict[str, Callable[..., Any]] = {
    "classes": _class_rows,
    "multilabel": _label_rows,
    "regression": _number_rows,
}
