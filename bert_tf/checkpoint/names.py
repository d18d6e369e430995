"""Which parts of a model the tensors of a checkpoint make, and whether they fit its config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bert_tf.errors import BertError
from bert_tf.heads import HEADS, PARTS, Weight

_ADVICE = "Pass the bert_config.json that belongs to this checkpoint (config=..., --config)."


def parts_in(names: Iterable[str]) -> set[str]:
    """The parts of which a checkpoint holds at least one weight.

    What such a part lacks is an error; a part that is not there at all the model does without.
    """
    part = {row.original: head.name for head in PARTS.values() for row in head.weights}
    layered = "bert/encoder/layer_"
    return {part.get(name, "encoder") for name in names if name in part or name.startswith(layered)}


def labels_in(shapes: Mapping[str, tuple[int, ...]], heads: Iterable[str]) -> dict[str, int]:
    """The number of labels, of those heads that have one, by the tensors' shapes in a checkpoint.

    Raises:
        BertError: such a tensor has no axis of labels.
    """
    found: dict[str, int] = {}
    for name, row in ((head, row) for head in heads for row in HEADS[head].weights):
        if row.original in shapes and "labels" in row.shape:
            sizes = dict(zip(row.shape, shapes[row.original]))
            if "labels" not in sizes:
                raise BertError(f"{row.original} in the checkpoint has no axis of labels.")
            found.setdefault(name, sizes["labels"])
    return found


def check_shapes(
    weights: Iterable[Weight], shapes: Mapping[str, tuple[int, ...]], where: str, config_where: str
) -> list[str]:
    """The names of the weights that a config promises and a file, with these shapes, lacks.

    The checkpoint is at `where`, the config at `config_where`, for messages.

    Raises:
        BertError: a tensor has another shape than the config says, or the file has more layers.
    """
    promised = {weight.original: weight.shape for weight in weights}
    for name, wanted in promised.items():
        shape = shapes.get(name, wanted)
        if shape != wanted:
            raise BertError(
                f"{config_where} does not fit {where}: tensor {name} has the shape {list(shape)} "
                f"in the file, and {list(wanted)} by the config{_hint(name)}. {_ADVICE}"
            )
    for name in shapes:
        layered = name.startswith("bert/encoder/layer_") and name.endswith(("/kernel", "/bias"))
        if layered and name not in promised:
            raise BertError(
                f"{config_where} does not fit {where}: the file has a tensor {name}, but by the "
                f"config (num_hidden_layers) {name.split('/')[2]} does not exist. {_ADVICE}"
            )
    return [name for name in promised if name not in shapes]


def _hint(name: str) -> str:
    shapes = {row.original: row.shape for head in PARTS.values() for row in head.weights}
    fields = [dim for dim in shapes.get(name, ()) if isinstance(dim, str)]
    return f" (its {' and '.join(fields)})" if fields else ""
