"""`TrainingStep`: one compiled step of training on TensorFlow or JAX, and the same for judging."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
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
        parts: in how many parts of equal size the rows of a batch are computed, one after
            another, for want of memory. Their gradients are added up before the optimizer sees
            them, so that a step is what it is in one part: for that, the loss must be a sum over
            rows divided by `batch["total_weight"]`, the sum of `batch["weights"]` over all parts.

    Raises:
        BertError: the backend cannot train; later, that a batch is longer than the model.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        optimizer: keras.optimizers.Optimizer,
        parts: int = 1,
    ):
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
        self.parts = parts
        self._names = [tensor.name for tensor in model.inputs]
        self._engine = _ENGINES[name](model, loss, optimizer)
        self._longest = min(
            (layer.max_length for layer in model.layers if isinstance(layer, PositionEmbedding)),
            default=None,
        )

    def __call__(self, batch: Batch) -> Any:
        """One step; gives the array that the loss reports, perhaps still being computed.

        Raises:
            BertError: the rows of the batch cannot be divided into the parts.
        """
        self._check(batch)
        if self.parts == 1:
            return self._engine.train(batch)
        return self._engine.train_parts(_divided(batch, self.parts))

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


def make_deterministic() -> None:
    """Has the backend give the same numbers each time; before anything is computed."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _divided(batch: Batch, parts: int) -> list[dict[str, np.ndarray]]:
    """The batch's rows in parts of equal size, each with the weight of all."""
    rows = len(batch["weights"])
    if rows % parts:
        raise BertError(
            f"a batch of {rows} rows cannot be computed in {parts} equal parts; choose a batch "
            f"size that {parts} divides."
        )
    size = rows // parts
    total = np.asarray(batch["weights"], np.float32).sum()
    return [
        {**{name: x[at : at + size] for name, x in batch.items()}, "total_weight": total}
        for at in range(0, rows, size)
    ]


class _TensorFlowEngine:
    """A `tf.function` over the variables themselves."""

    def __init__(self, model: keras.Model, loss: Loss, optimizer: Any) -> None:
        import tensorflow as tf

        trained = model.trainable_variables

        def differentiate(batch):
            with tf.GradientTape() as tape:
                value, sums = loss(model(_inputs(model, batch), training=True), batch)
            found = tape.gradient(value, [variable.value for variable in trained])
            # Two uses of the token table: its gradient comes as rows and as a whole.
            return [None if g is None else tf.convert_to_tensor(g) for g in found], sums

        def train(batch):
            gradients, sums = differentiate(batch)
            optimizer.apply(gradients, trained)
            return sums

        def evaluate(batch):
            return loss(model(_inputs(model, batch), training=False), batch)[1]

        self._tensors = lambda batch: {name: tf.constant(x) for name, x in batch.items()}
        function = functools.partial(tf.function, autograph=False)
        self._train = function(train)
        self._evaluate = function(evaluate)
        self._predict = function(lambda batch: model(_inputs(model, batch), training=False))
        self._differentiate = function(differentiate)
        self._apply = function(lambda gradients: optimizer.apply(gradients, trained))

    def train(self, batch: Batch) -> Any:
        return self._train(self._tensors(batch))

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        gradients, sums = _added(self._differentiate(self._tensors(batch)) for batch in batches)
        self._apply(gradients)
        return sums

    def evaluate(self, batch: Batch) -> Any:
        return self._evaluate(self._tensors(batch))

    def predict(self, batch: Batch) -> Any:
        return self._predict(self._tensors(batch))

    def sync(self) -> None:
        pass

    def reload(self) -> None:
        pass


def _added(results: Iterable[tuple[list[Any], Any]]) -> tuple[list[Any], Any]:
    """The gradients and sums of several parts, added up."""
    gradients: list[Any] = []
    total: Any = 0.0
    for found, sums in results:
        # None: the loss does not depend on that variable.
        gradients = (
            [a if b is None else a + b for a, b in zip(gradients, found, strict=True)]
            if gradients
            else list(found)
        )
        total = total + sums
    return gradients, total


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

        def differentiate(trained, other, batch):
            gradient = jax.value_and_grad(forward, has_aux=True)
            (_, (sums, other)), gradients = gradient(trained, other, batch)
            return gradients, other, sums

        def apply(trained, state, gradients):
            return optimizer.stateless_apply(state, gradients, trained)

        def train(trained, other, state, batch):
            gradients, other, sums = differentiate(trained, other, batch)
            trained, state = optimizer.stateless_apply(state, gradients, trained)
            return trained, other, state, sums

        def evaluate(trained, other, batch):
            outputs, _ = model.stateless_call(trained, other, _inputs(model, batch), training=False)
            return loss(outputs, batch)[1]

        def predict(trained, other, batch):
            return model.stateless_call(trained, other, _inputs(model, batch), training=False)[0]

        self._variables = (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )
        self._train = jax.jit(train, donate_argnums=(0, 1, 2))
        self._evaluate = jax.jit(evaluate)
        self._predict = jax.jit(predict)
        self._differentiate = jax.jit(differentiate)
        self._apply = jax.jit(apply, donate_argnums=(0, 1))
        self._state: list[Any] = []
        self.reload()

    def train(self, batch: Batch) -> Any:
        *self._state, sums = self._train(*self._state, dict(batch))
        return sums

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        trained, other, state = self._state

        def each() -> Iterator[tuple[list[Any], Any]]:
            nonlocal other
            for batch in batches:
                gradients, other, sums = self._differentiate(trained, other, batch)
                yield gradients, sums

        gradients, sums = _added(each())
        trained, state = self._apply(trained, state, gradients)
        self._state = [trained, other, state]
        return sums

    def evaluate(self, batch: Batch) -> Any:
        return self._evaluate(*self._state[:2], dict(batch))

    def predict(self, batch: Batch) -> Any:
        return self._predict(*self._state[:2], dict(batch))

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
