"""`TrainingStep`: one compiled step of training on TensorFlow or JAX, and the same for judging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from bert_tf.errors import BertError
from bert_tf.models.layers import PositionEmbedding

Batch = Mapping[str, np.ndarray]
Loss = Callable[[Any, Mapping[str, Any]], tuple[Any, Any]]
"""Takes the model's outputs and the batch; gives the loss to minimise and an array to report."""


class TrainingStep:
    """Trains a model batch by batch.

    On TensorFlow the step is a graph whose matrix products oneDNN computes and whose elementwise
    parts are compiled (`models.fused`); on JAX it is compiled as a whole, and the weights live in
    it: `sync` brings them back into the model's variables.

    A batch is a dict of numpy arrays with the model's inputs by name and what the loss looks at.
    Each new shape is compiled anew.

    Args:
        model: a functional model.
        loss: see `Loss`.
        optimizer: a Keras optimizer; built here if it is not.

    Raises:
        BertError: the backend cannot train; later, that a batch is longer than the model.
    """

    def __init__(self, model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer):
        name = keras.backend.backend()
        if name not in _ENGINES:
            raise BertError(
                f"Keras runs on {name}, which cannot train; choose {' or '.join(_ENGINES)} "
                f"(--backend, or the environment's KERAS_BACKEND)."
            )
        self.model = model
        self.optimizer = optimizer
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self._engine = _ENGINES[name](model, loss, optimizer)
        self._longest = min(
            (layer.max_length for layer in model.layers if isinstance(layer, PositionEmbedding)),
            default=None,
        )

    def __call__(self, batch: Batch) -> Any:
        """One step; gives the array that the loss reports, perhaps still being computed."""
        self._check(batch)
        return self._engine.train(batch)

    def evaluate(self, batch: Batch) -> Any:
        """The same array without a step, and without dropout."""
        self._check(batch)
        return self._engine.evaluate(batch)

    def sync(self) -> None:
        """Brings weights and the optimizer's state into their variables; before they are read."""
        self._engine.sync()

    def reload(self) -> None:
        """Takes weights and the optimizer's state from their variables; after they were set."""
        self._engine.reload()

    def _check(self, batch: Batch) -> None:
        # The layer would tell it too, but in the middle of what Keras adds to its errors.
        length = batch["token_input"].shape[1] if "token_input" in batch else 0
        if self._longest is not None and length > self._longest:
            raise BertError(
                f"the texts are {length} word pieces long, but this model has only "
                f"{self._longest} positions. Make them shorter (--max_seq_length), or raise "
                f"max_position_embeddings in the BERT config."
            )


def _inputs(model: keras.Model, batch: Mapping[str, Any]) -> list[Any]:
    return [batch[tensor.name] for tensor in model.inputs]


class _TensorFlowEngine:
    """A `tf.function` over the variables themselves."""

    def __init__(self, model: keras.Model, loss: Loss, optimizer: Any) -> None:
        import tensorflow as tf

        trained = model.trainable_variables

        def train(batch):
            with tf.GradientTape() as tape:
                value, sums = loss(model(_inputs(model, batch), training=True), batch)
            found = tape.gradient(value, [variable.value for variable in trained])
            # Two uses of the token table: its gradient comes as rows and as a whole.
            gradients = [None if g is None else tf.convert_to_tensor(g) for g in found]
            optimizer.apply(gradients, trained)
            return sums

        def evaluate(batch):
            return loss(model(_inputs(model, batch), training=False), batch)[1]

        self._tensors = lambda batch: {name: tf.constant(x) for name, x in batch.items()}
        self._train = tf.function(train, autograph=False)
        self._evaluate = tf.function(evaluate, autograph=False)

    def train(self, batch: Batch) -> Any:
        return self._train(self._tensors(batch))

    def evaluate(self, batch: Batch) -> Any:
        return self._evaluate(self._tensors(batch))

    def sync(self) -> None:
        pass

    def reload(self) -> None:
        pass


class _JaxEngine:
    """A jitted function from state to state; the state is donated, so it is held just once."""

    def __init__(self, model: keras.Model, loss: Loss, optimizer: Any) -> None:
        import jax

        def forward(trained, other, batch):
            outputs, other = model.stateless_call(
                trained, other, _inputs(model, batch), training=True
            )
            value, sums = loss(outputs, batch)
            return value, (sums, other)

        def train(trained, other, state, batch):
            gradient = jax.value_and_grad(forward, has_aux=True)
            (_, (sums, other)), gradients = gradient(trained, other, batch)
            trained, state = optimizer.stateless_apply(state, gradients, trained)
            return trained, other, state, sums

        def evaluate(trained, other, batch):
            outputs, _ = model.stateless_call(trained, other, _inputs(model, batch), training=False)
            return loss(outputs, batch)[1]

        self._variables = (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )
        self._train = jax.jit(train, donate_argnums=(0, 1, 2))
        self._evaluate = jax.jit(evaluate)
        self._state: list[Any] = []
        self.reload()

    def train(self, batch: Batch) -> Any:
        *self._state, sums = self._train(*self._state, dict(batch))
        return sums

    def evaluate(self, batch: Batch) -> Any:
        return self._evaluate(*self._state[:2], dict(batch))

    def sync(self) -> None:
        import jax.numpy as jnp

        for variables, values in zip(self._variables, self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                # A copy: the state itself is given away at the next step.
                variable.assign(jnp.copy(value))

    def reload(self) -> None:
        import jax.numpy as jnp

        self._state = [[jnp.copy(v.value) for v in group] for group in self._variables]


_ENGINES: dict[str, Any] = {"tensorflow": _TensorFlowEngine, "jax": _JaxEngine}
