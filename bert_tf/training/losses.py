"""What pretraining minimises: the loss of masked words and that of the next sentence, added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from bert_tf.models.fused import fused

Sums = dict[str, Any]

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
            only there to fill up, and `next_sentence_labels` (batch,).

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
    loss = sums[0] / (sums[2] + 1e-5) + sums[3] / ops.maximum(sums[5], 1.0)
    return loss, ops.stack([ops.convert_to_tensor(x) for x in sums])
