"""What computes a `TrainingStep`: on TensorFlow, on several devices of TensorFlow, and on JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from bert_tf.errors import BertError
from bert_tf.training.distribution import Batch, Distribution, Mirrored, Sharded
from bert_tf.training.optimizer import BertAdam

Loss = Callable[[Any, Mapping[str, Any]], tuple[Any, Any]]
"""Takes the model's outputs and the batch; gives the loss to minimize and an array to report."""


def engine_for(model: keras.Model, loss: Loss, optimizer: Any, distribution: Distribution) -> Any:
    """The engine of the present backend, one of `ENGINES`, for these devices.

    Raises:
        BertError: the optimizer does not give the same on several devices.
    """
    if isinstance(distribution, Mirrored) and not isinstance(optimizer, BertAdam):
        clips = (optimizer.clipnorm, optimizer.clipvalue, optimizer.global_clipnorm)
        if any(clip is not None for clip in clips):
            raise BertError(
                f"{type(optimizer).__name__} clips the gradients of each device by itself, which "
                f"gives other steps than one device; use BertAdam, or no clipping."
            )
    return ENGINES[keras.backend.backend()](model, loss, optimizer, distribution)


def _inputs(model: keras.Model, batch: Mapping[str, Any]) -> list[Any]:
    names = [tensor.name for tensor in model.inputs]
    if "attention_mask" in names and "attention_mask" not in batch:
        batch = {**batch, "attention_mask": keras.ops.not_equal(batch["token_input"], 0)}
    return [batch[name] for name in names]


def _add(ours: list[Any], theirs: list[Any]) -> list[Any]:
    # None: the loss does not depend on that variable.
    return [a if b is None else a + b for a, b in zip(ours, theirs, strict=True)]


class _TensorFlowEngine:
    """A `tf.function` over the variables themselves.

    Of several devices each has a replica that does the same, but for evaluation and prediction,
    which run on the first alone. The optimizer adds the gradients up over the replicas.
    """

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: Any, distribution: Distribution
    ) -> None:
        import tensorflow as tf

        trained = model.trainable_variables
        devices = distribution if isinstance(distribution, Mirrored) else None

        def run(work, *arguments):
            return devices.strategy.run(work, arguments) if devices else work(*arguments)

        def total(sums):
            return devices.strategy.reduce("SUM", sums, axis=None) if devices else sums

        def differentiate(batch):
            with tf.GradientTape() as tape:
                value, sums = loss(model(_inputs(model, batch), training=True), batch)
            found = tape.gradient(value, [variable.value for variable in trained])
            # The token table is used twice: its gradient comes as rows and as a whole.
            return [*(None if g is None else tf.convert_to_tensor(g) for g in found), sums]

        def train(batch):
            *gradients, sums = differentiate(batch)
            optimizer.apply(gradients, trained)
            return sums

        def evaluate(batch):
            return loss(model(_inputs(model, batch), training=False), batch)[1]

        function: Any = functools.partial(tf.function, autograph=False)

        def everywhere(work: Any) -> Any:
            return function(lambda *arguments: run(work, *arguments))

        self._total = total
        self._train = function(lambda batch: total(run(train, batch)))
        self._differentiate = everywhere(differentiate)
        self._apply = everywhere(lambda gradients: optimizer.apply(gradients, trained))
        self._add = everywhere(_add)
        self._tensors = lambda batch: {name: tf.constant(x) for name, x in batch.items()}
        self._place = devices.place if devices else self._tensors
        self._evaluate = function(evaluate)
        self._predict = function(lambda batch: model(_inputs(model, batch), training=False))

    def train(self, batch: Batch) -> Any:
        return self._train(self._place(batch))

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        parts = (self._differentiate(self._place(batch)) for batch in batches)
        *gradients, sums = functools.reduce(self._add, parts)
        self._apply(gradients)
        return self._total(sums)

    def evaluate(self, batch: Batch) -> Any:
        return self._evaluate(self._tensors(batch))

    def predict(self, batch: Batch) -> Any:
        return self._predict(self._tensors(batch))

    def sync(self) -> None:
        pass

    reload = sync


class _JaxEngine:
    """A jitted function from state to state; the state is donated, so it is held just once.

    Over several devices it is the same function: for arrays whose rows are on several devices, the
    compiler makes a program for each that exchanges what is needed.
    """

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: Any, distribution: Distribution
    ) -> None:
        import jax

        def call(trained, other, batch, training):
            return model.stateless_call(trained, other, _inputs(model, batch), training=training)

        def forward(trained, other, batch):
            outputs, other = call(trained, other, batch, True)
            value, sums = loss(outputs, batch)
            return value, (sums, other)

        def differentiate(trained, other, batch):
            gradient = jax.value_and_grad(forward, has_aux=True)
            (_, (sums, other)), gradients = gradient(trained, other, batch)
            return [*gradients, sums], other

        def apply(trained, state, gradients):
            return optimizer.stateless_apply(state, gradients, trained)

        def train(trained, other, state, batch):
            (*gradients, sums), other = differentiate(trained, other, batch)
            trained, state = apply(trained, state, gradients)
            return trained, other, state, sums

        def evaluate(trained, other, batch):
            return loss(call(trained, other, batch, False)[0], batch)[1]

        def predict(trained, other, batch):
            return call(trained, other, batch, False)[0]

        others, state = model.non_trainable_variables, optimizer.variables
        self._variables = (model.trainable_variables, others, state)
        devices = distribution if isinstance(distribution, Sharded) else None
        # Every result is whole on every device, so that each process can read it.
        whole: Any = {} if devices is None else {"out_shardings": devices.replicated}

        def jit(work: Any, *donated: int) -> Any:
            compiled = jax.jit(work, donate_argnums=donated, **whole)
            if devices is None or not devices.on_cpu:
                return compiled
            # On CPU devices two programs at a time can take each other's threads and wait for ever.
            return lambda *arguments: jax.block_until_ready(compiled(*arguments))

        self._place: Callable[[Batch], dict[str, Any]] = dict if devices is None else devices.place
        self._train = jit(train, 0, 1, 2)
        self._evaluate = jit(evaluate)
        self._predict = jit(predict)
        self._differentiate = jit(differentiate)
        self._apply = jit(apply, 0, 1)
        self._copy = jax.numpy.copy
        self._state: list[Any] = []
        self.reload()

    def train(self, batch: Batch) -> Any:
        *self._state, sums = self._train(*self._state, self._place(batch))
        return sums

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        trained, other, state = self._state

        def part(batch: Batch) -> list[Any]:
            nonlocal other
            found, other = self._differentiate(trained, other, self._place(batch))
            return found

        *gradients, sums = functools.reduce(_add, map(part, batches))
        trained, state = self._apply(trained, state, gradients)
        self._state = [trained, other, state]
        return sums

    def evaluate(self, batch: Batch) -> Any:
        return self._evaluate(*self._state[:2], self._place(batch))

    def predict(self, batch: Batch) -> Any:
        return self._predict(*self._state[:2], self._place(batch))

    def sync(self) -> None:
        for variables, values in zip(self._variables, self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                # A copy: the state itself is given away at the next step.
                variable.assign(self._copy(value))

    def reload(self) -> None:
        self._state = [[self._copy(v.value) for v in group] for group in self._variables]


ENGINES: dict[str, Any] = {"tensorflow": _TensorFlowEngine, "jax": _JaxEngine}
"""By backend; the others cannot train."""
