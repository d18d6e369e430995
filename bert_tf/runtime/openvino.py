"""OpenVINO: a Keras model's graph, compiled in the precision asked for and for all shapes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

THREADS_VARIABLE = "BERT_TF_THREADS"
"""Environment variable: how many threads to compute with; all cores when not set."""

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def compile_graph(
    graph: Any, precision: str | None
) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Compiles an `openvino.Model` with open shapes: one compilation for every batch and length.

    The precision of matrix products is float32 when left out. OpenVINO's own default is bfloat16
    wherever the processor has it. Any number of threads may call the result; it takes turns.
    """
    import openvino as ov

    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision or "float32"],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads := os.environ.get(THREADS_VARIABLE):
        properties["INFERENCE_NUM_THREADS"] = int(threads)

    def new_request() -> Any:
        return ov.Core().compile_model(graph, "CPU", properties).create_infer_request()

    request, lock = new_request(), threading.Lock()

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        nonlocal request
        with lock:
            try:
                request.infer(arrays, share_inputs=True)
                return [tensor.data.copy() for tensor in request.output_tensors]
            except BaseException:
                request = new_request()  # the model keeps half of this call's shapes
                raise

    return run


def trace(model: keras.Model, holes: list[Any] | None = None) -> Any:
    """The graph of a functional Keras model with int32 inputs (batch, length): `openvino.Model`.

    `holes` are parameter nodes that the model's variables stand for, if they are to be inputs.
    """
    import keras
    import openvino as ov
    import openvino.opset13 as ops
    from keras.src.backend.openvino.core import OpenVINOKerasTensor

    parameters = [ops.parameter([-1, -1], ov.Type.i32, name=t.name) for t in model.inputs]
    outputs = model([OpenVINOKerasTensor(p.output(0)) for p in parameters], training=False)
    results = [ops.result(output.output) for output in keras.tree.flatten(outputs)]
    return ov.Model(results, [*parameters, *(holes or [])], model.name)
