"""`Predictor`: runs a functional model on numpy batches, compiled in the way its backend likes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf import backend
from bert_tf.backend import made_once
from bert_tf.checkpoint.dtypes import UNSOUND
from bert_tf.errors import BertError
from bert_tf.runtime import profile

if TYPE_CHECKING:
    import keras

Run = Callable[[list[np.ndarray]], list[np.ndarray]]
Structure = None | int | Sequence[str]
"""What the outputs are packed into: None for one array, a number for a list, keys for a dict."""

PRECISIONS = ("float32", "bfloat16")

THREADS_VARIABLE = "BERT_TF_THREADS"
"""Environment variable: how many threads to compute with; all cores when not set."""

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def check_precision(precision: str | None) -> None:
    """Refuses a precision that is neither None nor one of `PRECISIONS`.

    Raises:
        BertError: it is.
    """
    if precision not in (None, *PRECISIONS):
        raise BertError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}.")


class Predictor:
    """A compiled functional Keras model: numpy arrays in, numpy arrays out.

    `model.predict` would do, but on OpenVINO it compiles again for every shape, and in bfloat16 on
    processors that have it (hidden states off by 0.1 and more); on TensorFlow it makes a data set
    and a callback list for every call.

    Threads may share it, and it can be pickled at any time. On OpenVINO it has the weights of its
    first call, elsewhere the model's.

    Args:
        model: a functional model with named inputs.
        precision: `"float32"` or `"bfloat16"`. On OpenVINO it is what the matrix products run
            in; on the others it follows from the model's dtype policy, and asking for another
            than that is an error.

    Raises:
        BertError: a precision that is not known; at the first call, one that is not the model's.
    """

    names: list[str]
    structure: Structure
    limits: Mapping[str, int] = {}  # in pickles of 0.1.0, which lack it

    @property
    def fixed_shapes(self) -> bool:
        """Whether every new shape is compiled, so that only a few should be used."""
        return backend.current() == "jax"

    def __init__(self, model: keras.Model, precision: str | None = None) -> None:
        check_precision(precision)
        self.model = model
        self.precision = precision
        vars(self).update(facts_of(model))

    @made_once
    def _compiled(self) -> Run:
        import keras

        return _COMPILERS[keras.backend.backend()](self.model, self.precision)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and `copy` take: all but what is compiled, which the receiver does again."""
        return {name: x for name, x in vars(self).items() if name != "_compiled"}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Any:
        """Runs one batch.

        Args:
            inputs: an int32 array, (batch, length), for each input by its name.

        Returns:
            The outputs as numpy arrays, in the model's structure (array, list or dict).

        Raises:
            BertError: an input is missing, not known or not such an array, a number in it is out
                of the model's range, `mask_input` is an attention mask, or an output is not finite.
        """
        if set(inputs) != set(self.names):
            given = ", ".join(inputs)
            raise BertError(f"the model takes the inputs {', '.join(self.names)}; given: {given}.")
        arrays = {name: np.asarray(inputs[name]) for name in self.names}
        _check(arrays, self.limits)
        backend.computing()
        with profile.phase("compile"):
            run = self._compiled
        with profile.phase("run"):
            outputs = run([np.ascontiguousarray(x, dtype=np.int32) for x in arrays.values()])
        if not all(np.isfinite(output).all() for output in outputs):
            raise BertError(f"the model's outputs are not finite: {UNSOUND}.")
        if self.structure is None:
            return outputs[0]
        if isinstance(self.structure, int):
            return outputs
        return dict(zip(self.structure, outputs, strict=True))


def facts_of(model: keras.Model) -> dict[str, Any]:
    """Names of inputs, structure of outputs, and by input, and `length`, what it stays below."""
    output, limits = model.output, {"attention_mask": 2, "padding_mask": 2}
    for layer in model._flatten_layers():  # those of models within it, too
        rows = getattr(layer, "input_dim", getattr(layer, "max_length", 0))  # 0: not known
        limits |= dict.fromkeys(_READERS.get(layer.name, ()), rows)
    structure: Structure = len(output) if isinstance(output, list | tuple) else None
    if isinstance(output, dict):
        structure = sorted(output)  # the order in which Keras flattens a dict
    return {"names": [t.name for t in model.inputs], "structure": structure, "limits": limits}


_READERS = {
    "token_embedding": ("token_input", "token_ids", "piece_input"),
    "segment_embedding": ("seg_input", "segment_ids"),
    "position_embedding": ("length",),
}


def _check(arrays: Mapping[str, np.ndarray], limits: Mapping[str, int]) -> None:
    """Refuses inputs, the token ids first, of which each backend would make something else."""
    first, shape = next((name, array.shape) for name, array in arrays.items())
    for name, array in arrays.items():
        same = shape[:1] if name in ("position_input", "piece_input") else shape
        if array.dtype.kind not in "iub" or array.ndim != 2 or array.shape[: len(same)] != same:
            raise BertError(
                f"{name} is an array of {array.dtype}, {list(array.shape)}, and {first} is "
                f"{list(shape)}; a model takes whole numbers, (batch, length), all of one shape."
            )
        end = shape[1] if name == "position_input" else limits.get(name)
        if end and array.size and (array.min() < 0 or array.max() >= end):
            raise BertError(f"{name} has {array.min()} to {array.max()}; it takes 0 to {end - 1}.")
    length, most = shape[1], limits.get("length") or shape[1]
    if not 0 < length <= most:
        raise BertError(f"rows have {length} tokens; the model takes 1 to {most}. Cut the texts.")
    if "mask_input" in arrays:
        from bert_tf.text import check_mask_input

        check_mask_input(arrays["token_input"], arrays["mask_input"])


def _check_policy(model: keras.Model, precision: str | None) -> None:
    """On TensorFlow and JAX the layers fix the precision, so it can only be confirmed."""
    if precision and precision != (made := model.get_layer("transformer_layer_0").compute_dtype):
        raise BertError(
            f"precision={precision!r}, but the model computes in {made}; load it with "
            f"bert_tf.load(path, precision={precision!r})."
        )


def _compile_tensorflow(model: keras.Model, precision: str | None) -> Run:
    import keras
    import tensorflow as tf

    _check_policy(model, precision)
    # Shapes stay open: one trace serves every batch size and length.
    specs = [tf.TensorSpec((None, None), tf.int32, name=t.name) for t in model.inputs]

    @tf.function(input_signature=specs)
    def run(*arrays):
        return keras.tree.flatten(model(list(arrays), training=False))

    traced = run.get_concrete_function()  # calling it directly skips the search for a trace
    return lambda arrays: [_numpy(output.numpy()) for output in traced(*map(tf.constant, arrays))]


def _compile_jax(model: keras.Model, precision: str | None) -> Run:
    import jax
    import keras

    from bert_tf.hub.store import compiled_folder

    _check_policy(model, precision)
    # Kept on disk; JAX's own cache is keyed by the computation.
    folder = compiled_folder()
    if folder is not None and not jax.config.values.get("jax_compilation_cache_dir"):
        jax.config.update("jax_compilation_cache_dir", os.path.join(folder, "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

    @jax.jit
    def run(trainable, non_trainable, arrays):
        outputs, _ = model.stateless_call(trainable, non_trainable, arrays, training=False)
        return keras.tree.flatten(outputs)

    def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
        trainable = [variable.value for variable in model.trainable_variables]
        non_trainable = [variable.value for variable in model.non_trainable_variables]
        # Every shape is compiled by itself: the number of rows is rounded up to a power of two.
        rows = len(arrays[0])
        spare = (1 << (rows - 1).bit_length()) - rows
        padded = [np.pad(array, ((0, spare), (0, 0))) for array in arrays]
        outputs = run(trainable, non_trainable, padded)
        return [_numpy(np.asarray(output))[:rows] for output in outputs]

    return call


def _compile_openvino(model: keras.Model, precision: str | None) -> Run:
    return compile_graph(trace(model), precision)


def compile_graph(graph: Any, precision: str | None) -> Run:
    """Compiles an `openvino.Model` with open shapes: one compilation for every batch and length.

    The precision of matrix products is float32 when left out. OpenVINO's own default is bfloat16
    wherever the processor has it. Any number of threads may call the result.
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

    request = new_request()

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        nonlocal request
        try:
            request.infer(arrays, share_inputs=True)
            return [tensor.data.copy() for tensor in request.output_tensors]
        except BaseException:
            request = new_request()  # the model keeps half of this call's shapes
            raise

    return in_turns(run)


_SHARED_TOKENS = 256
"""Tokens up to which calls share a batch: in a larger one a token takes as long (BERT-Base)."""


class _Call:
    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays
        self.outputs: list[np.ndarray] | None = None


def in_turns(run: Run) -> Run:
    """Lets any number of threads call `run`, which takes a list of arrays, (rows, length).

    A short call alone does not keep all cores busy. So the thread whose turn it is takes those
    calls of the same length that are waiting into its batch.
    """
    turn, waiting = threading.Lock(), list[_Call]()

    def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
        mine = _Call(arrays)
        waiting.append(mine)
        try:
            with turn:
                if mine.outputs is None:
                    _run_together(run, _batch(mine, list(waiting)))
        finally:
            waiting.remove(mine)
        assert mine.outputs is not None
        return mine.outputs

    return call


def _batch(mine: _Call, waiting: list[_Call]) -> list[_Call]:
    batch, tokens = [mine], mine.arrays[0].size
    lengths = [array.shape[1:] for array in mine.arrays]
    for other in waiting:
        size = other.arrays[0].size
        if (
            other is not mine
            and other.outputs is None
            and tokens + size <= _SHARED_TOKENS
            and [array.shape[1:] for array in other.arrays] == lengths
        ):
            batch.append(other)
            tokens += size
    return batch


def _run_together(run: Run, batch: list[_Call]) -> None:
    if len(batch) == 1:
        batch[0].outputs = run(batch[0].arrays)
        return
    outputs = run([np.concatenate(same) for same in zip(*(c.arrays for c in batch), strict=True)])
    ends = np.cumsum([len(call.arrays[0]) for call in batch])[:-1]
    for call, *parts in zip(batch, *(np.split(output, ends) for output in outputs), strict=True):
        call.outputs = parts


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


def _numpy(array: np.ndarray) -> np.ndarray:
    """Results in a type that numpy itself knows; bfloat16 it does not."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


_COMPILERS = {"tensorflow": _compile_tensorflow, "jax": _compile_jax, "openvino": _compile_openvino}
