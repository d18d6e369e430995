"""`TrainingStep`: one compiled step of training on TensorFlow or JAX, and of evaluation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from bert_tf.backend import computing
from bert_tf.errors import BertError
from bert_tf.models.layers import PositionEmbedding
from bert_tf.training.distribution import Distribution
from bert_tf.training.engines import ENGINES, Batch, Loss, engine_for


class TrainingStep:
    """Trains a model batch by batch.

    On TensorFlow the step is a graph whose matrix products oneDNN computes and whose elementwise
    parts are compiled (`models.fused`); on JAX it is compiled as a whole and holds the weights:
    `sync` brings them back into the model's variables.

    A batch is a dict of numpy arrays with the model's inputs by name and what the loss reads. Each
    new shape is compiled.

    Args:
        model: a functional model.
        loss: see `Loss`.
        optimizer: a Keras optimizer; built here if it is not.
        accumulation: in how many equal parts the rows of a batch are computed, one after the
            other, to save memory. Their gradients are added up before the optimizer gets them, so
            that a step is that of one part: for that, the loss must be a sum over rows divided by
            what `_totals` adds to a batch, as those of `losses` are.
        distribution: the devices that the rows of each part are divided among; the loss must be
            as for parts. Model and optimizer are made in its scope. Evaluation and prediction may
            run on one device.

    Raises:
        BertError: the backend cannot train, or not with this optimizer on several devices;
            later, a batch is longer than the model.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        optimizer: keras.optimizers.Optimizer,
        accumulation: int = 1,
        distribution: Distribution | None = None,
    ):
        name = keras.backend.backend()
        if name not in ENGINES:
            raise BertError(
                f"Keras runs on {name}, which cannot train; choose {' or '.join(ENGINES)} "
                f"with `KERAS_BACKEND`."
            )
        computing()
        self.model = model
        self.optimizer = optimizer
        self.distribution = distribution or Distribution()
        if not optimizer.built:
            with self.distribution.scope():
                optimizer.build(model.trainable_variables)
        self.accumulation = accumulation
        self._names = [tensor.name for tensor in model.inputs]
        self._engine = engine_for(model, loss, optimizer, self.distribution)
        self._longest = min(
            (layer.max_length for layer in model.layers if isinstance(layer, PositionEmbedding)),
            default=None,
        )

    def __call__(self, batch: Batch) -> Any:
        """One step; gives the array that the loss reports, perhaps still being computed.

        Raises:
            BertError: the rows of the batch cannot be divided into the parts or among the devices.
        """
        self._check(batch)
        rows = len(next(iter(batch.values())))
        if several := self.distribution.count > 1:
            self.distribution.check(rows, self.accumulation)
        if self.accumulation == 1:
            return self._engine.train({**batch, **_totals(batch)} if several else batch)
        if rows % self.accumulation:
            raise BertError(
                f"a batch of {rows} rows cannot be computed in {self.accumulation} equal parts; "
                f"choose a batch size that {self.accumulation} divides."
            )
        size, totals = rows // self.accumulation, _totals(batch)
        return self._engine.train_parts(
            [
                {**{name: x[at : at + size] for name, x in batch.items()}, **totals}
                for at in range(0, rows, size)
            ]
        )

    def evaluate(self, batch: Batch) -> Any:
        """The same array without a step, and without dropout."""
        self._check(batch)
        return self._engine.evaluate(batch)

    def predict(self, batch: Batch) -> Any:
        """The model's outputs for a batch, without dropout."""
        self._check(batch)
        return self._engine.predict({name: batch[name] for name in self._names})

    def sync(self) -> None:
        """Brings weights and the optimizer's state into their variables; before they are read."""
        self._engine.sync()

    def reload(self) -> None:
        """Takes weights and the optimizer's state from their variables; after they were set."""
        self._engine.reload()

    def _check(self, batch: Batch) -> None:
        # The layer would say so too, but within what Keras adds to its errors.
        length = batch["token_input"].shape[1] if "token_input" in batch else 0
        if self._longest is not None and length > self._longest:
            raise BertError(
                f"the texts are {length} tokens long, but this model has only {self._longest} "
                f"positions: lower `max_seq_length`, or raise the config's max_position_embeddings."
            )


def make_deterministic() -> None:
    """Makes the backend give the same numbers each time; call it before anything is computed."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _totals(batch: Batch) -> dict[str, np.ndarray]:
    """What a loss divides the sums over its rows by, where these are not all rows of a step.

    `total_weight` is the sum of the rows' `weights`; in pretraining, `total_words` is that of
    `masked_lm_weights`, and `total_pairs` the number of pairs.
    """
    totals: dict[str, Any] = {
        total: np.asarray(batch[name], np.float32).sum()
        for total, name in (("total_weight", "weights"), ("total_words", "masked_lm_weights"))
        if name in batch
    }
    if "masked_lm_weights" in batch:
        totals["total_pairs"] = np.float32(len(batch["masked_lm_weights"]))
    return totals
