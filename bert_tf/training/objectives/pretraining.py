"""What pretraining minimises: masked words and next sentences, two losses added."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bert_tf.training.log import LogRow

SUMS = ("mlm_loss", "mlm_correct", "mlm_count", "nsp_loss", "nsp_correct", "nsp_count")
"""What a step reports, each a sum over the batch, so that batches can be added up."""


def _scores(logits, ids):
    """(n, classes), (n,) int32 -> (2, n) float32: cross entropy in nats, and whether right.

    One array, so that both come of one pass over the many logits.
    """
    from keras import ops

    logits = ops.cast(logits, "float32")
    highest = ops.max(logits, axis=-1, keepdims=True)
    total = ops.log(ops.sum(ops.exp(logits - highest), axis=-1)) + highest[:, 0]
    # A comparison instead of a look-up: its gradient is an elementwise product, not a scatter.
    classes = ops.arange(logits.shape[-1], dtype="int32")
    right = ops.sum(ops.where(classes[None, :] == ids[:, None], logits, 0.0), axis=-1)
    return ops.stack([total - right, ops.cast(right >= highest[:, 0], "float32")])


@functools.cache
def _fused_scores() -> Callable[..., Any]:
    from bert_tf.models.fused import fused

    return fused(_scores)


def pretraining_loss(outputs: list[Any], batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """The original's loss: the mean over the masked words plus the mean over the pairs.

    Args:
        outputs: MLM logits, (batch, n, vocab), and NSP logits, (batch, 2).
        batch: `masked_lm_ids` (batch, n), `masked_lm_weights` (batch, n), 0 for padding, and
            `next_sentence_labels` (batch,). Where it is a part of a batch, the sums are divided
            by `total_words`, the weights of all words, and `total_pairs`, the number of all.

    Returns:
        The loss, a scalar, and the sums of `SUMS` as one float32 array.
    """
    from keras import ops

    mlm, nsp = outputs
    weights = ops.reshape(ops.cast(batch["masked_lm_weights"], "float32"), (-1,))
    ids = ops.reshape(batch["masked_lm_ids"], (-1,))
    words = _fused_scores()(ops.reshape(mlm, (-1, mlm.shape[-1])), ids)
    pairs = _fused_scores()(nsp, ops.reshape(batch["next_sentence_labels"], (-1,)))
    of_words = [ops.sum(words[0] * weights), ops.sum(words[1] * weights), ops.sum(weights)]
    number = ops.cast(ops.shape(pairs)[1], "float32")
    sums = [*of_words, ops.sum(pairs[0]), ops.sum(pairs[1]), number]
    total_words = ops.cast(batch.get("total_words", sums[2]), "float32")
    total_pairs = ops.cast(batch.get("total_pairs", sums[5]), "float32")
    # 1e-5 as in run_pretraining.py: a batch without any masked word has no loss, not NaN.
    loss = sums[0] / (total_words + 1e-5) + sums[3] / ops.maximum(total_pairs, 1.0)
    return loss, ops.stack([ops.convert_to_tensor(x) for x in sums])


def metrics_of(sums: np.ndarray) -> LogRow:
    """The numbers that a person reads, of the sums of `SUMS`.

    Losses are means in nats, accuracies fractions; `loss` is what is minimised.
    """
    found: LogRow = {"loss": 0.0}
    for name, (loss, correct, count) in zip(("mlm", "nsp"), np.reshape(sums, (2, 3)).tolist()):
        found[f"{name}_loss"] = loss / max(count, 1.0)
        found[f"{name}_accuracy"] = correct / max(count, 1.0)
        found["loss"] += found[f"{name}_loss"]
    return found
