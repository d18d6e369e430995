"""What pretraining minimises: masked words and next sentences, two losses added."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Row = dict[str, float]

SUMS = ("mlm_loss", "mlm_correct", "mlm_count", "nsp_loss", "nsp_correct", "nsp_count")
"""What a step reports, each a sum over the batch, so that batches can be added up."""


def _scores(logits, ids):
    """Cross entropy in nats, and 1 where the right class has the highest logit.

    (n, classes) and (n,) int32 -> (2, n) float32: one array, so that both come of one pass over
    the logits, of which there are a batch's worth times the vocabulary.
    """
    from keras import ops

    logits = ops.cast(logits, "float32")
    highest = ops.max(logits, axis=-1, keepdims=True)
    total = ops.log(ops.sum(ops.exp(logits - highest), axis=-1)) + highest[:, 0]
    # A comparison instead of a look-up: its gradient is an elementwise product, not a scatter.
    classes = ops.arange(logits.shape[-1], dtype="int32")
    right = ops.sum(ops.where(classes[None, :] == ids[:, None], logits, 0.0), axis=-1)
    hit = ops.cast(right >= highest[:, 0], "float32")
    return ops.stack([total - right, hit])


@functools.cache
def _fused_scores() -> Callable[..., Any]:
    from bert_tf.models.fused import fused

    return fused(_scores)


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
    from keras import ops

    mlm, nsp = outputs
    weights = ops.reshape(ops.cast(batch["masked_lm_weights"], "float32"), (-1,))
    ids = ops.reshape(batch["masked_lm_ids"], (-1,))
    words = _fused_scores()(ops.reshape(mlm, (-1, mlm.shape[-1])), ids)
    pairs = _fused_scores()(nsp, ops.reshape(batch["next_sentence_labels"], (-1,)))
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


def metrics_of(sums: np.ndarray) -> Row:
    """The numbers that a person reads, of the sums of `SUMS`.

    Losses are means in nats, accuracies fractions; `loss` is what is minimised.
    """
    mlm_loss, mlm_correct, mlm_count, nsp_loss, nsp_correct, nsp_count = (float(x) for x in sums)
    words, pairs = max(mlm_count, 1.0), max(nsp_count, 1.0)
    return {
        "loss": mlm_loss / words + nsp_loss / pairs,
        "mlm_loss": mlm_loss / words,
        "mlm_accuracy": mlm_correct / words,
        "nsp_loss": nsp_loss / pairs,
        "nsp_accuracy": nsp_correct / pairs,
    }
