"""`Predictor`: runs a functional model on numpy batches, compiled in the way its backend likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from bert_tf.errors import BertError

Arrays = Mapping[str, np.ndarray]
Run = Callable[[list[np.ndarray]], list[np.ndarray]]

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""Our names of the precisions, and OpenVINO's."""


class Predictor:
    """A compiled function of a functional Keras model's weights as they are at the first call.

    `model.predict` would do, but: on OpenVINO it compiles with default properties, which on
    processors with bfloat16 units means bfloat16 (hidden states off by 0.1 and more), and anew
    for every shape; on TensorFlow it makes a data set and a callback list for every call.

    Args:
        model: a functional model with named inputs.
        precision: `"float32"` or `"bfloat16"`. On OpenVINO it is what the matrix products run
            in; on the others it follows from the model's dtype policy, and asking for another
            than that is an error.

    Raises:
        BertError: a precision that is not known or that the model was not made with.
    """

    def __init__(self, model: keras.Model, precision: str | None = None) -> None:
        if precision is not None and precision not in PRECISIONS:
            raise BertError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}.")
        self.model = model
        self.precision = precision
        self._names = [tensor.name for tensor in model.inputs]
        self._structure = model.output
        self._run: Run | None = None  # compiled at the first call

    def __call__(self, inputs: Arrays) -> Any:
        """Runs one batch.

        Args:
            inputs: an int32 array, (batch, length), for each input by its name.

        Returns:
            The outputs as numpy arrays, in the model's structure (array, list or dict).

        Raises:
            BertError: an input is missing or not known.
        """
        if set(inputs) != set(self._names):
            raise BertError(
                f"the model takes the inputs {', '.join(self._names)}; given were "
                f"{', '.join(inputs)}."
            )
        if self._run is None:
            self._run = _COMPILERS[keras.backend.backend()](self.model, self.precision)
        arrays = [np.ascontiguousarray(inputs[name], dtype=np.int32) for name in self._names]
        return keras.tree.pack_sequence_as(self._structure, self._run(arrays))


def _check_policy(model: keras.Model, precision: str | None) -> None:
    """On TensorFlow and JAX the layers fix the precision, so it can only be confirmed."""
    if precision is None:
        return
    made = model.get_layer("transformer_layer_0").compute_dtype
    if precision != made:
        wanted = "mixed_bfloat16" if precision == "bfloat16" else "float32"
        raise BertError(
            f"precision={precision!r}, but the model computes in {made}; load it with "
            f"dtype={wanted!r}."
        )


def _compile_tensorflow(model: keras.Model, precision: str | None) -> Run:
    import tensorflow as tf

    _check_policy(model, precision)
    # Shapes stay open: one trace serves every batch size and length.
    specs = [tf.TensorSpec((None, None), tf.int32, name=t.name) for t in model.inputs]

    @tf.function(input_signature=specs)
    def run(*arrays):
        return keras.tree.flatten(model(list(arrays), training=False))

    traced = run.get_concrete_function()  # calling it directly skips the search for a trace
    return lambda arrays: [output.numpy() for output in traced(*map(tf.constant, arrays))]


def _compile_jax(model: keras.Model, precision: str | None) -> Run:
    import jax

    _check_policy(model, precision)

    @jax.jit
    def run(trainable, non_trainable, arrays):
        outputs, _ = model.stateless_call(trainable, non_trainable, arrays, training=False)
        return keras.tree.flatten(outputs)

    def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
        trainable = [variable.value for variable in model.trainable_variables]
        non_trainable = [variable.value for variable in model.non_trainable_variables]
        # Every shape is compiled anew, so the number of rows is rounded up to a power of two.
        rows = len(arrays[0])
        spare = (1 << (rows - 1).bit_length()) - rows
        padded = [np.pad(array, ((0, spare), (0, 0))) for array in arrays]
        outputs = run(trainable, non_trainable, padded)
        return [np.asarray(output)[:rows] for output in outputs]

    return call


def _compile_openvino(model: keras.Model, precision: str | None) -> Run:
    import openvino as ov
    import openvino.opset13 as ops13
    from keras.src.backend.openvino.core import OpenVINOKerasTensor

    parameters = [ops13.parameter([-1, -1], ov.Type.i32, name=t.name) for t in model.inputs]
    outputs = model([OpenVINOKerasTensor(p.output(0)) for p in parameters], training=False)
    results = [ops13.result(output.output) for output in keras.tree.flatten(outputs)]
    graph = ov.Model(results, parameters, model.name)
    hint = PRECISIONS[precision or "float32"]
    compiled = ov.Core().compile_model(
        graph, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    )
    request = compiled.create_infer_request()

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        request.infer(arrays, share_inputs=True)
        return [request.get_output_tensor(i).data.copy() for i in range(len(results))]

    return run


_COMPILERS: dict[str, Callable[[keras.Model, str | None], Run]] = {
    "tensorflow": _compile_tensorflow,
    "jax": _compile_jax,
    "openvino": _compile_openvino,
}
