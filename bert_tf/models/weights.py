"""Moves weights between Keras's variables and arrays in a checkpoint's layout."""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from bert_tf.errors import BertError
from bert_tf.heads import HEADS, Weight
from bert_tf.models import buffers

if TYPE_CHECKING:
    from bert_tf.models.parts import BertLayers


class SavedWeight(NamedTuple):
    """A weight of a checkpoint and the Keras variable that has it."""

    weight: Weight
    variable: Any

    @property
    def name(self) -> str:
        """Of the tensor; its optimizer slots have the same name with an ending."""
        return self.weight.original

    def value(self, variable: Any = None) -> np.ndarray:
        """The value, or an optimizer slot's, in a checkpoint's layout, without LoRA's product."""
        source = self.variable if variable is None else variable
        return self.weight.turned(keras.ops.convert_to_numpy(source))

    def assign(self, value: np.ndarray, variable: Any = None, *, copy: bool = True) -> None:
        """Sets it to a value in a checkpoint's layout; `copy=False` takes over memory if it can."""
        turned = self.weight.turned(value)
        own = np.array(turned, order="C") if copy else np.ascontiguousarray(turned)
        assign(self.variable if variable is None else variable, own)


def saved_weights(layers: BertLayers) -> list[SavedWeight]:
    """All weights of built layers under the original's names."""
    by_name = layers.by_name()
    return [
        SavedWeight(weight, variable_at(by_name[weight.layer], weight.attribute))
        for weight in layers.heads.weights(layers.config)
    ]


def values(
    layers: BertLayers, parts: Collection[str] | None = None
) -> Iterator[tuple[Weight, np.ndarray]]:
    """The weights of built layers, or of parts, in a checkpoint's layout, LoRA's product added.

    They come one at a time; an array may be a view of its variable, so copy what you keep.
    """
    by_name = layers.by_name()
    for weight in layers.heads.weights(layers.config):
        if parts is None or weight.part in parts:
            yield weight, weight.turned(value_at(by_name[weight.layer], weight.attribute))


def assign_all(layers: BertLayers, start: Mapping[str, np.ndarray]) -> None:
    """Sets all weights of built float32 layers to copies of arrays in a checkpoint's layout.

    Raises:
        BertError: one is missing or has another shape; nothing is changed then.
    """
    weights = saved_weights(layers)
    missing = [saved.name for saved in weights if saved.name not in start]
    if missing:
        raise BertError(f"the start weights lack {', '.join(missing[:5])}.")
    for weight, _ in weights:
        if (shape := start[weight.original].shape) != weight.shape:
            raise BertError(
                f"the start weight {weight.original} has the shape {list(shape)}; by the config "
                f"it is {list(weight.shape)}."
            )
    for saved in weights:
        saved.assign(start[saved.name])


def copy_from(layers: BertLayers, model: keras.Model, whose: str) -> None:
    """Sets the weights of built layers to copies of a model's; see `Bert.take_weights`.

    `whose` says what the layers belong to, for messages.
    """
    theirs = {layer.name: layer for layer in model.layers}
    found = []
    for saved in saved_weights(layers):
        weight, variable = saved
        if weight.layer not in theirs:
            if weight.part in HEADS and HEADS[weight.part].base:
                continue
            raise BertError(
                f"the model {model.name} has no layer {weight.layer}; give one that was made by "
                f"a BERT like this, {whose}."
            )
        value = value_at(theirs[weight.layer], weight.attribute)
        if value.shape != tuple(variable.shape):
            raise BertError(
                f"{weight.layer} of the model {model.name} is of the shape {list(value.shape)}, "
                f"but here it is {list(variable.shape)}."
            )
        found.append((saved, weight.turned(value)))
    for saved, value in found:
        saved.assign(value)


def variable_at(layer: Any, path: str) -> Any:
    """The `keras.Variable` at a dotted path such as `attention.query.kernel`.

    (`Dense.kernel` and `Embedding.embeddings` are properties that add LoRA's product to it.)
    """
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, layer)
    hidden = getattr(owner, f"_{name}", None)
    return getattr(owner, name) if hidden is None else hidden


def value_at(layer: Any, path: str) -> np.ndarray:
    """The value at such a path, LoRA's product added."""
    return keras.ops.convert_to_numpy(operator.attrgetter(path)(layer))


def assign(variable: Any, value: np.ndarray) -> None:
    """Assigns a C-contiguous array of the variable's shape, cast if it is of another type.

    The variable takes its memory over, so do not write to it afterwards.
    """
    # bfloat16 is a name that ml_dtypes, which `buffers` imports, makes known to numpy.
    dtype = keras.backend.standardize_dtype(variable.dtype)
    variable.assign(buffers.adopt(value.astype(dtype, copy=False)))
