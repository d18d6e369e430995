"""`Dropout`: Keras's, with random bits that cost a few instructions and no memory.

On TensorFlow's CPU Keras's dropout writes a tensor of random numbers, reads it, writes a mask and
reads that again in the backward pass. Here each element's bits are a hash of its index and of a
key: elementwise, so that it is compiled into the loop that uses it (`models.fused`), and computed
again, not read, in the backward pass.

The key is the state of Keras's `SeedGenerator`, which counts up at every call: a training that is
resumed drops the same elements as one without a break, on TensorFlow as on JAX. Where TensorFlow's
replicas have a part of the rows each, an element's index counts from the first row of all, so that
they drop what one device would drop.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import keras
import numpy as np
from keras import ops

from bert_tf.models.fused import fused

register = keras.saving.register_keras_serializable(package="bert_tf")

GOLDEN = np.uint32(0x9E3779B9)
"""2**32 over the golden ratio: an arbitrary number without a pattern in its bits."""


def _mix(x):
    """A permutation of the 32-bit numbers in which each output bit depends on all input bits.

    Two rounds of folding the upper half onto the lower and multiplying, with the constants of least
    bias that C. Wellons found by search ("Prospecting for hash functions", 2018, lowbias32).
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(shift)))
        x = ops.multiply(x, np.uint32(factor))
    return ops.bitwise_xor(x, ops.right_shift(x, np.uint32(16)))


def random_bits(shape, key):
    """32 random bits, uint32, for each element of a tensor of fewer than 2**31 elements.

    The key is (2,) uint32; two that differ in any bit give unrelated results. Or (3,), the third
    the number of the replica: replicas, each with a tensor of this shape, get what one tensor with
    all their rows would get.
    """
    # 64 bits of key, spread first: those of two steps differ in the lowest bit alone.
    first = _mix(ops.bitwise_xor(key[0], _mix(key[1])))
    second = _mix(ops.bitwise_xor(key[1], _mix(ops.add(key[0], GOLDEN))))
    size = functools.reduce(operator.mul, shape, 1)
    index = ops.cast(ops.arange(size, dtype="int32"), "uint32")
    if key.shape[0] == 3:
        index = ops.add(index, ops.multiply(key[2], ops.cast(size, "uint32")))
    bits = _mix(ops.bitwise_xor(_mix(ops.add(index, first)), second))
    return ops.reshape(bits, shape)


def dropped(x, key, rate: float):
    """Sets each float to 0 with the probability `rate`; divides the others by `1 - rate`.

    The rate, from 0 to 1, is taken to the nearest multiple of 2**-32. The key, (2,) or (3,) uint32,
    is that of `random_bits`; it is not looked at if nothing or everything is dropped.
    """
    if not rate:
        return x
    limit = round(rate * 2**32)
    if limit >= 2**32:
        return ops.zeros_like(x)
    kept = ops.greater_equal(random_bits(ops.shape(x), key), np.uint32(limit))
    return ops.where(kept, x * (1.0 / (1.0 - rate)), ops.zeros_like(x))


@functools.cache
def _training_dropout(rate: float):
    return fused(lambda x, key: dropped(x, key, rate))


def _replica():
    """The number of TensorFlow's present replica, (1,) uint32; None if there is but one."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return ops.reshape(ops.cast(context.replica_id_in_sync_group, "uint32"), (1,))


@register
class Dropout(keras.layers.Dropout):
    """Keras's dropout on every element by itself, with the random bits of this module.

    Same arguments, state and saved form, except that there is no `noise_shape`.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)

    def keys(self) -> tuple[Any, ...]:
        """One key for `random_bits`, another one at every call; none if nothing is ever dropped."""
        if not self.rate:
            return ()
        key = ops.cast(self.seed_generator.next(), "uint32")
        replica = _replica()
        return (key if replica is None else ops.concatenate([key, replica]),)

    def call(self, inputs, training=False):
        """Drops elements in training; (any shape) to the same."""
        keys = self.keys() if training else ()
        return _training_dropout(float(self.rate))(inputs, *keys) if keys else inputs

    def get_config(self) -> dict[str, Any]:
        """Keras's, without `noise_shape`."""
        config = super().get_config()
        del config["noise_shape"]
        return config
