"""What computes a `TrainingStep`: on TensorFlow, on several devices of TensorFlow, and on JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from bert_tf.errors import BertError
from bert_tf.training.distribution import Distribution, Mirrored, Sharded
from bert_tf.training.optimizer import BertAdam

Batch = Mapping[str, np.ndarray]
Loss = Callable[[Any, Mapping[str, Any]], tuple[Any, Any]]
"""Takes the model's outputs and the batch; gives the loss to minimise and an array to report."""


def engine_for(model: keras.Model, loss: Loss, optimizer: Any, distribution: Distribution) -> Any:
    """The engine of the present backend, one of `ENGINES`, for these devices.

    Raises:
        BertError: the optimizer does not give the same on several devices.
    """
    if not isinstance(distribution, Mirrored):
        return ENGINES[keras.backend.backend()](model, loss, optimizer, distribution)
    clips = (optimizer.clipnorm, optimizer.clipvalue, optimizer.global_clipnorm)
    if not isinstance(optimizer, BertAdam) and any(clip is not None for clip in clips):
        raise BertError(
            f"{type(optimizer).__name__} clips the gradients of each of several devices by "
            f"itself, which gives other steps than one device; use BertAdam, or no clipping."
        )
    return _MirroredEngine(model, loss, optimizer, distribution)


def _inputs(model: keras.Model, batch: Mapping[str, Any]) -> list[Any]:
    return [batch[tensor.name] for tensor in model.inputs]


def _sum(a: Any, b: Any) -> Any:
    # None: the loss does not depend on that variable.
    return a if b is None else a + b


def _added(results: Iterable[tuple[list[Any], Any]], add: Callable[..., Any]) -> tuple[Any, Any]:
    """The gradients and sums of several parts, added up by `add`, which takes two lists."""
    gradients: Any = None
    total: Any = None
    for found, sums in results:
        gradients = found if gradients is None else add(gradients, found)
        total = [sums] if total is None else add(total, [sums])
    return gradients, total[0]


def _add_lists(ours: list[Any], theirs: list[Any]) -> list[Any]:
    return [_sum(a, b) for a, b in zip(ours, theirs, strict=True)]


class _TensorFlowEngine:
    """A `tf.function` over the variables themselves."""

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: Any, distribution: Distribution
    ) -> None:
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

        def apply(gradients):
            optimizer.apply(gradients, trained)

        def evaluate(batch):
            return loss(model(_inputs(model, batch), training=False), batch)[1]

        self._tensors = lambda batch: {name: tf.constant(x) for name, x in batch.items()}
        function = functools.partial(tf.function, autograph=False)
        self._evaluate = function(evaluate)
        self._predict = function(lambda batch: model(_inputs(model, batch), training=False))
        self._define(train, differentiate, apply, function)

    def _define(self, train: Any, differentiate: Any, apply: Any, function: Any) -> None:
        self._train = function(train)
        self._differentiate = function(differentiate)
        self._apply = function(apply)

    def train(self, batch: Batch) -> Any:
        return self._train(self._tensors(batch))

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        parts = (self._differentiate(self._tensors(batch)) for batch in batches)
        gradients, sums = _added(parts, _add_lists)
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


class _MirroredEngine(_TensorFlowEngine):
    """The same in every replica; judged and asked is the first one alone.

    The optimizer adds the gradients up over the replicas, then each takes the same step.
    """

    def __init__(self, model: keras.Model, loss: Loss, optimizer: Any, devices: Mirrored) -> None:
        self._devices = devices
        super().__init__(model, loss, optimizer, devices)

    def _define(self, train: Any, differentiate: Any, apply: Any, function: Any) -> None:
        import tensorflow as tf

        strategy = self._devices.strategy

        def everywhere(work: Any) -> Any:
            return function(lambda *arguments: strategy.run(work, arguments))

        self._train = function(
            lambda batch: strategy.reduce(
                tf.distribute.ReduceOp.SUM, strategy.run(train, (batch,)), axis=None
            )
        )
        self._differentiate = everywhere(differentiate)
        self._apply = everywhere(apply)
        self._add = everywhere(_add_lists)

    def train(self, batch: Batch) -> Any:
        return self._train(self._devices.place(batch))

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        import tensorflow as tf

        parts = (self._differentiate(self._devices.place(batch)) for batch in batches)
        gradients, sums = _added(parts, self._add)
        self._apply(gradients)
        return self._devices.strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)


class _JaxEngine:
    """A jitted function from state to state; the state is donated, so it is held just once.

    Over several devices it is the same function: of arrays whose rows lie on several devices, the
    compiler makes a program for each that exchanges what is needed.
    """

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: Any, distribution: Distribution
    ) -> None:
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
        self._devices = distribution if isinstance(distribution, Sharded) else None
        # Every result is whole on every device: so each process can read it.
        whole = {} if self._devices is None else {"out_shardings": self._devices.replicated}
        jit = functools.partial(jax.jit, **whole)
        self._train = jit(train, donate_argnums=(0, 1, 2))
        self._evaluate = jit(evaluate)
        self._predict = jit(predict)
        self._differentiate = jit(differentiate)
        self._apply = jit(apply, donate_argnums=(0, 1))
        self._state: list[Any] = []
        self.reload()

    def _settled(self, results: Any) -> Any:
        """The same; on several CPU devices not before they are computed.

        There, two programs at a time can take each other's threads and wait for ever.
        """
        import jax

        if self._devices is not None and self._devices.on_cpu:
            jax.block_until_ready(results)
        return results

    def _placed(self, batch: Batch) -> dict[str, Any]:
        return dict(batch) if self._devices is None else self._devices.place(batch)

    def train(self, batch: Batch) -> Any:
        *self._state, sums = self._settled(self._train(*self._state, self._placed(batch)))
        return sums

    def train_parts(self, batches: list[dict[str, np.ndarray]]) -> Any:
        trained, other, state = self._state

        def each() -> Iterator[tuple[list[Any], Any]]:
            nonlocal other
            for batch in batches:
                gradients, other, sums = self._settled(
                    self._differentiate(trained, other, self._placed(batch))
                )
                yield gradients, sums

        gradients, sums = _added(each(), _add_lists)
        trained, state = self._settled(self._apply(trained, state, gradients))
        self._state = [trained, other, state]
        return sums

    def evaluate(self, batch: Batch) -> Any:
        return self._settled(self._evaluate(*self._state[:2], self._placed(batch)))

    def predict(self, batch: Batch) -> Any:
        return self._settled(self._predict(*self._state[:2], self._placed(batch)))

    def sync(self) -> None:
        import jax.numpy as jnp

        for variables, values in zip(self._variables, self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                # A copy: the state itself is given away at the next step.
                variable.assign(jnp.copy(value))

    def reload(self) -> None:
        import jax.numpy as jnp

        self._state = [[jnp.copy(v.value) for v in group] for group in self._variables]


ENGINES: dict[str, Any] = {"tensorflow": _TensorFlowEngine, "jax": _JaxEngine}
"""By backend; the others cannot train."""
