"""OpenVINO: the graph of a model, kept without its weights, filled in and compiled.

Building the graph needs Keras, whose import takes longer than all the rest of a start. It does not
depend on the weights' values, so it is kept in a file of about a megabyte with a hole for each
weight. From then on a checkpoint's tensors go straight into the holes, without Keras.
(OpenVINO's compiled form has 713 MB for multi_cased, and importing it takes as long, 0.75 s, as
compiling the filled graph.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.backend import made_once
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.files.reading import read_sealed
from bert_tf.files.whole import write_sealed
from bert_tf.hub.store import compiled_folder
from bert_tf.models.layout import Heads
from bert_tf.runtime import profile
from bert_tf.runtime.predictor import (
    Predictor,
    Run,
    check_precision,
    compile_graph,
    facts_of,
    trace,
)

if TYPE_CHECKING:
    import keras

_MAGIC = b"bert_tf cache 1\n"


class GraphPredictor(Predictor):
    """A `Predictor` on weights by name, without a Keras model where the graph is kept already.

    Args:
        build: builds the Keras model on given `BertLayers`; only called if the graph is not kept.
        recipe: what `build` does, in words that change with it.
        config: the architecture.
        heads: the heads that the model has.
        weights: arrays by the original's names, laid out as Keras has them, which the compiled
            model shares.
        values: further weights, by `layer.attribute`, e.g. `top.blocked`.
        precision: what matrix products run in.

    Raises:
        BertError: a precision that is not known.
    """

    def __init__(
        self,
        build: Callable[[Any], keras.Model],
        recipe: str,
        config: BertConfig,
        heads: Heads,
        weights: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray],
        precision: str | None,
    ) -> None:
        check_precision(precision)
        self.precision = precision
        # Dropout and the initial deviation do not show in a graph for prediction, but listing what
        # does is harder than counting them in.
        parts = (recipe, config.to_json(), heads, sorted(values), _versions())
        name = key("openvino-graph", parts)
        with profile.phase("build"):
            kept = _unpack(load_kept(name))
            if kept is None:
                content = _template(build, config, heads, values)
                keep(name, content)
                kept = _unpack(content)
            assert kept is not None
            facts, self._graph = kept
            vars(self).update(facts)
            _fill(self._graph, {**weights, **values})

    def __getstate__(self) -> dict[str, Any]:
        """Weights included: an `openvino.Model` itself cannot be pickled."""
        return {**super().__getstate__(), "_graph": _packed(self._graph, {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = _unpack(state["_graph"])
        if kept is None:
            raise BertError("this predictor was pickled by another version of OpenVINO.")
        vars(self).update({**state, "_graph": kept[1]})

    @made_once
    def _compiled(self) -> Run:
        return compile_graph(self._graph, self.precision)


def key(kind: str, parts: Iterable[object]) -> str:
    """A file name of this kind that changes with the `repr` of what the content depends on."""
    digest = hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
    return f"{kind}-{digest[:32]}"


def load_kept(name: str) -> bytes | None:
    """The content kept under a name; None if there is none or it is damaged."""
    folder = compiled_folder()
    found = None if folder is None else read_sealed(os.path.join(folder, name), _MAGIC)
    return None if found is None else bytes(found)


def keep(name: str, content: bytes) -> None:
    """Keeps content under a name, atomically; a cache that cannot be written is done without."""
    if (folder := compiled_folder()) is not None:
        with contextlib.suppress(BertError):
            write_sealed(os.path.join(folder, name), _MAGIC, content)


def _versions() -> tuple[str, ...]:
    """What else the graph comes from: the libraries, and our own code to the letter."""
    package = pathlib.Path(__file__).parents[1]
    digest = hashlib.sha256()
    for pattern in ("config.py", "heads.py", "models/**/*.py", "runtime/*.py"):
        for path in sorted(package.glob(pattern)):
            digest.update(f"\0{path.relative_to(package)}\0".encode() + path.read_bytes())
    return (digest.hexdigest(), *(metadata.version(name) for name in ("keras", "openvino")))


def _template(
    build: Callable[[Any], keras.Model],
    config: BertConfig,
    heads: Heads,
    values: Mapping[str, np.ndarray],
) -> bytes:
    """The model with a parameter for each weight, as `_packed` gives it."""
    import openvino as ov
    import openvino.opset13 as ops
    from keras.src.backend.openvino.core import OpenVINOKerasTensor

    from bert_tf.models.parts import BertLayers
    from bert_tf.models.weights import saved_weights, variable_at

    layers = BertLayers(config, heads, "float32")
    layers.build()
    model = build(layers)
    variables = {saved.name: saved.variable for saved in saved_weights(layers)}
    for path in values:
        layer, _, attribute = path.partition(".")
        variables[path] = variable_at(model.get_layer(layer), attribute)
    holes = []
    for name, variable in variables.items():
        hole = ops.parameter(list(variable.shape), ov.Type.f32, name=name)
        variable.assign(OpenVINOKerasTensor(hole.output(0)))
        holes.append(hole)
    graph = trace(model, holes)
    return _packed(graph, facts_of(model))


def _packed(graph: Any, facts: Mapping[str, Any]) -> bytes:
    """A line of header with the facts, then the graph's XML and constants; see `_unpack`."""
    import openvino as ov

    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, name) for name in ("graph.xml", "graph.bin")]
        ov.serialize(graph, *map(str, paths))
        xml, constants = [path.read_bytes() for path in paths]
    return json.dumps({**facts, "xml": len(xml)}).encode() + b"\n" + xml + constants


def _unpack(content: bytes | None) -> tuple[dict[str, Any], Any] | None:
    """Facts and graph; None if there is nothing, or nothing that this OpenVINO can read."""
    if content is None:
        return None
    import openvino as ov

    line, _, rest = content.partition(b"\n")
    facts = json.loads(line)
    size = facts.pop("xml")
    constants = np.frombuffer(rest[size:] or b"\0", np.uint8)
    try:
        return facts, ov.Core().read_model(rest[:size], ov.Tensor(constants))
    except RuntimeError:
        return None


def _fill(graph: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts constants on the arrays' memory, kept with them, in the place of their parameters."""
    from openvino import op

    for parameter in list(graph.get_parameters()):
        name = parameter.get_friendly_name()
        if name in arrays:
            constant = op.Constant(arrays[name], shared_memory=True)
            constant.set_friendly_name(name)
            parameter.output(0).replace(constant.output(0))
            graph.remove_parameter(parameter)
