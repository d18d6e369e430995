"""Which parts of a model the tensors of a checkpoint make, and whether they fit its config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bert_tf.errors import BertError
from bert_tf.heads import HEADS, PARTS, Weight


def parts_in(names: Iterable[str]) -> set[str]:
    """The parts of which a checkpoint holds at least one weight.

    A part that is there only in places is in the result: its missing weights are then an error,
    where a part that is not there at all is simply something the model cannot do.
    """
    layerless = {row.original: head.name for head in PARTS.values() for row in head.weights}
    return {
        "encoder" if name.startswith("bert/encoder/layer_") else layerless[name]
        for name in names
        if name in layerless or name.startswith("bert/encoder/layer_")
    }


def labels_in(shapes: Mapping[str, tuple[int, ...]], heads: Iterable[str]) -> dict[str, int]:
    """The number of labels by head, as the tensors of a checkpoint tell it.

    Args:
        shapes: shape by name.
        heads: those to look for; one that has no such number is not in the result.

    Raises:
        BertError: such a tensor has no axis of labels.
    """
    found: dict[str, int] = {}
    for name in heads:
        for row in HEADS[name].weights:
            shape = shapes.get(row.original)
            if shape is not None and "labels" in row.shape:
                axis = row.shape.index("labels")
                if len(shape) <= axis:
                    raise BertError(f"{row.original} in the checkpoint has no axis of labels.")
                found.setdefault(name, shape[axis])
    return found


def check_shapes(
    weights: Iterable[Weight], shapes: Mapping[str, tuple[int, ...]], where: str, config_where: str
) -> list[str]:
    """Compares the weights that a config promises with the tensors of a file.

    Args:
        weights: what the config promises.
        shapes: what the file holds: shape by name.
        where: the checkpoint, for messages.
        config_where: the config, for messages.

    Returns:
        The names of the weights that the file lacks.

    Raises:
        BertError: a tensor has another shape than the config says, or the file has more layers.
    """
    missing = []
    promised = {weight.original for weight in weights}
    for weight in weights:
        shape = shapes.get(weight.original)
        if shape is None:
            missing.append(weight.original)
        elif shape != weight.shape:
            raise BertError(
                f"{config_where} does not fit {where}: tensor {weight.original} has the shape "
                f"{list(shape)} in the file, and {list(weight.shape)} by the config"
                f"{_hint(weight.original)}. Pass the bert_config.json that belongs to this "
                f"checkpoint (config=..., --config)."
            )
    for name in shapes:
        last = name.rsplit("/", 1)[-1]
        if name.startswith("bert/encoder/layer_") and last in ("kernel", "bias"):
            number = int(name.split("/")[2].removeprefix("layer_"))
            if name not in promised:
                raise BertError(
                    f"{config_where} does not fit {where}: the file has a tensor {name}, but by "
                    f"the config (num_hidden_layers) layer_{number} does not exist. Pass the "
                    f"bert_config.json that belongs to this checkpoint (config=..., --config)."
                )
    return missing


def _hint(name: str) -> str:
    shapes = {row.original: row.shape for head in PARTS.values() for row in head.weights}
    fields = [dim for dim in shapes.get(name, ()) if isinstance(dim, str)]
    return f" (its {' and '.join(fields)})" if fields else ""
