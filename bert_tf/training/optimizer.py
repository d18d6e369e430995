"""The original's optimizer, Adam with decoupled weight decay, and its schedule."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import ops

from bert_tf.models.fused import fused
from bert_tf.options import COUNT, NOT_NEGATIVE, POSITIVE, RATE, Range

register = keras.saving.register_keras_serializable(package="bert_tf")

NOT_DECAYED = ("gamma", "beta", "bias")
"""Names of the variables that do not decay: layer norms and biases. (The original excludes what
matches "LayerNorm", "layer_norm" or "bias"; in Keras layer norms have gamma and beta, and
"LayerNorm" matches nothing.) The embedding tables do decay."""


@register
class WarmUpLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to the peak in the warm-up, then along the line that falls to 0 at the last step.

    That line starts at step 0, as in the original (optimization.py, create_optimizer): after a
    warm-up of 10 % of the steps the rate is 0.9 of the peak.

    Args:
        peak: the learning rate that the line would have at step 0.
        total_steps: the step at which the rate reaches 0; it stays there.
        warmup_steps: steps during which the rate is `peak * step / warmup_steps` instead.

    Raises:
        BertError: a number is negative or too large, or there is no step.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0) -> None:
        NOT_NEGATIVE.check("peak", peak)
        COUNT.check("total_steps", total_steps)
        Range(int, 0, COUNT.maximum).check("warmup_steps", warmup_steps)
        self.peak = float(peak)
        self.total_steps, self.warmup_steps = int(total_steps), int(warmup_steps)

    def __call__(self, step):
        step = ops.cast(step, "float32")
        left = 1.0 - ops.minimum(step, float(self.total_steps)) / float(self.total_steps)
        rate = self.peak * left
        if self.warmup_steps:
            warming = self.peak * step / float(self.warmup_steps)
            rate = ops.where(step < float(self.warmup_steps), warming, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("peak", "total_steps", "warmup_steps")}


@register
class BertAdam(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay, as BERT was trained with; bias correction by choice.

    Under `tf.distribute` the replicas' gradients are added up before they are clipped, so that a
    step is that of one device.

    The update is `w -= rate * (m / (sqrt(v) + epsilon) + weight_decay * w)` with running means
    `m` of the gradient and `v` of its square (google-research/bert, optimization.py,
    AdamWeightDecayOptimizer). Keras's own AdamW always corrects the bias of `m` and `v`.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: of everything but `NOT_DECAYED`.
        beta_1: of the running mean of the gradient.
        beta_2: of the running mean of its square.
        epsilon: added to the root.
        bias_correction: divide `m` by `1 - beta_1**t` and `v` by `1 - beta_2**t` at step t, as
            Adam's paper does. The original does not; for fine-tuning on little data it is safer.
        global_clipnorm: the gradients are scaled so that their common norm is at most this; None
            leaves them alone. Keras's `clipnorm` clips each variable by itself instead.
        rate_multipliers: factors on the learning rate by the beginning of a variable's path,
            e.g. `{"transformer_layer_0": 0.5, "classifier_logits": 10.0}`: the longest beginning
            counts, and without one the factor is 1. A beginning ends where a name in the path
            ends. Weight decay is multiplied with the rate, as always.
        kwargs: what any Keras optimizer takes.

    Raises:
        BertError: a number is out of its range, such as a negative factor.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-4,
        weight_decay: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        bias_correction: bool = False,
        global_clipnorm: float | None = 1.0,
        rate_multipliers: Mapping[str, float] | None = None,
        name: str = "bert_adam",
        **kwargs: Any,
    ) -> None:
        factors = {f"the rate multiplier of {k}": v for k, v in (rate_multipliers or {}).items()}
        for known, value in {"weight_decay": weight_decay, "epsilon": epsilon, **factors}.items():
            NOT_NEGATIVE.check(known, value)
        RATE.check("beta_1", beta_1)
        RATE.check("beta_2", beta_2)
        if isinstance(learning_rate, numbers.Real):
            NOT_NEGATIVE.check("learning_rate", learning_rate)
            learning_rate = float(learning_rate)
        if global_clipnorm is not None:
            POSITIVE.check("global_clipnorm", global_clipnorm)
        # Not Keras's decay, a factor before the step: here it is a summand of the update.
        super().__init__(learning_rate, global_clipnorm=global_clipnorm, name=name, **kwargs)
        self.decay, self.epsilon = float(weight_decay), float(epsilon)
        self.beta_1, self.beta_2 = float(beta_1), float(beta_2)
        self.bias_correction = bool(bias_correction)
        self.rate_multipliers = {k: float(v) for k, v in (rate_multipliers or {}).items()}
        self._new_moments = fused(self._moments)
        self._new_value = fused(self._value)

    def build(self, variables: Iterable[Any]) -> None:
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        self._m, self._v = self.add_optimizer_variables(variables, ["adam_m", "adam_v"])
        self._decays = [self.decay if self._is_decayed(v) else 0.0 for v in variables]
        self._factors = [self.multiplier(v.path) for v in variables]

    def slots(self, variable: Any) -> tuple[Any, Any]:
        """The two running means that belong to a variable, `adam_m` and `adam_v`."""
        index = self._get_variable_index(variable)
        return self._m[index], self._v[index]

    def multiplier(self, path: str) -> float:
        """The factor on the learning rate of the variable with this path."""
        starts = [x for x in self.rate_multipliers if f"{path}/".startswith(f"{x}/")]
        return self.rate_multipliers[max(starts, key=len)] if starts else 1.0

    def apply(self, grads, trainable_variables=None) -> None:
        """One step of all variables; Keras calls it."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # A table's gradient comes as rows, some perhaps several times: their norm is that of
            # the sum, and the running means change in all other rows as well.
            grads = [None if g is None else tf.convert_to_tensor(g) for g in grads]
            context = tf.distribute.get_replica_context()
            known = [g for g in grads if g is not None]
            if known and context is not None and context.num_replicas_in_sync > 1:
                added = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, known))
                grads = [None if g is None else next(added) for g in grads]
        super().apply(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # Keras's would add them up here, after each replica has clipped its own.
        return grads_and_vars

    def _is_decayed(self, variable: Any) -> bool:
        # The second: what a user named in Keras's `exclude_from_weight_decay`.
        name = variable.path.rsplit("/", 1)[-1]
        return name not in NOT_DECAYED and self._use_weight_decay(variable)

    def _moments(self, gradient, m, v):
        m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        v = self.beta_2 * v + (1.0 - self.beta_2) * ops.square(gradient)
        return m, v

    def _value(self, variable, m, v, rate, decay, correction_1, correction_2):
        direction = (m / correction_1) / (ops.sqrt(v / correction_2) + self.epsilon)
        return variable - rate * (direction + decay * variable)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """One step of one variable; Keras calls it."""
        index = self._get_variable_index(variable)
        number = functools.partial(ops.cast, dtype=variable.dtype)
        corrections = [number(1.0)] * 2
        if self.bias_correction:
            step = number(self.iterations + 1)
            corrections = [1.0 - ops.power(number(x), step) for x in (self.beta_1, self.beta_2)]
        m, v = self._new_moments(number(gradient), self._m[index], self._v[index])
        self.assign(self._m[index], m)
        self.assign(self._v[index], v)
        rate = number(learning_rate) * number(self._factors[index])
        decay = number(self._decays[index])
        self.assign(variable, self._new_value(variable, m, v, rate, decay, *corrections))

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "weight_decay": self.decay}
        names = ("beta_1", "beta_2", "epsilon", "bias_correction")
        config |= {name: getattr(self, name) for name in names}
        return config | {"rate_multipliers": dict(self.rate_multipliers)}
