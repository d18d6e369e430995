"""`fused`: on TensorFlow's CPU, elementwise work of a training step runs as one compiled loop.

TensorFlow runs a gelu as eight kernels and its gradient as twelve, each of which walks through
the whole tensor in memory, many of them slowly in bfloat16. XLA makes one loop of them, but its
matrix products in bfloat16 are half as fast as oneDNN's, which TensorFlow uses outside of XLA. So
a training step on TensorFlow keeps its products outside and has what is between them compiled,
one function at a time. JAX compiles the whole step by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, compiled by XLA where that pays: forward one program, backward one.

    The backward program computes what it needs of the forward one again, from the arguments, which
    are in memory anyway. Only the first derivative is defined.

    Args:
        function: takes tensors and returns one tensor (or, if nothing is to be differentiated,
            several), written in `keras.ops`. Integer arguments have no gradient.
    """
    chosen = functools.cache(lambda: _compiled(function) if _pays() else function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return chosen()(*arguments)

    return call


@functools.cache
def _pays() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # A GPU has kernels of its own, and there XLA can take the whole step (jit_compile=True).
    return not tf.config.list_physical_devices("GPU")


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    # Without autograph: the functions are plain tensor algebra.
    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    forward = compiled(function)

    @compiled
    def backward(upstream: Any, *arguments: Any) -> list[Any]:
        floating = [x for x in arguments if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floating)
            result = function(*arguments)
        return tape.gradient(
            result, floating, output_gradients=upstream, unconnected_gradients="zero"
        )

    @tf.custom_gradient
    def call(*arguments: Any) -> Any:
        def gradient(*upstream: Any) -> list[Any]:
            found = iter(backward(upstream[0], *arguments))
            return [next(found) if x.dtype.is_floating else None for x in arguments]

        return forward(*arguments), gradient

    def with_tensors(*arguments: Any) -> Any:
        return call(*(tf.convert_to_tensor(x) for x in arguments))

    return with_tensors
