"""Tells the state of an optimizer from the weights of a model, by the tensor's name."""

from __future__ import annotations

STEP = "global_step"
"""The number of steps trained so far, an int64 scalar, in training checkpoints."""

ADAM_M, ADAM_V = "/adam_m", "/adam_v"
"""Endings of the running mean of a variable's gradient and of its square (google-research/bert,
optimization.py; the LAMB optimizer of ALBERT and others keeps the same names)."""

_SLOTS = (ADAM_M, ADAM_V, "/lamb_m", "/lamb_v", "/Adam", "/Adam_1", "/Momentum", "/Adagrad")
_SCALARS = ("beta1_power", "beta2_power")  # of tf.train.AdamOptimizer


def is_slot(name: str) -> bool:
    """Whether the tensor belongs to the optimizer and not to the model.

    >>> is_slot("bert/pooler/dense/kernel/adam_m"), is_slot("bert/pooler/dense/kernel")
    (True, False)
    """
    return name.endswith(_SLOTS) or name in _SCALARS


def is_training_state(name: str) -> bool:
    """Whether it is a slot or the step: what a training checkpoint has more than a release."""
    return is_slot(name) or name == STEP
