"""What a checkpoint's tensors are to a model, by their names; and what became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from bert_tf.config import other_architecture
from bert_tf.errors import BertError
from bert_tf.files.log import Warned
from bert_tf.heads import HEADS, PARTS, TITLES, Weight

_ADVICE = "Pass the bert_config.json that belongs to this checkpoint (`config`)."

STEP = "global_step"
"""The number of steps trained so far, an int64 scalar, in training checkpoints."""

ADAM_M, ADAM_V = "/adam_m", "/adam_v"
"""Endings of the running mean of a variable's gradient and of its square (google-research/bert,
optimization.py; the LAMB optimizer of ALBERT and others keeps the same names)."""

_SLOTS = (ADAM_M, ADAM_V, "/lamb_m", "/lamb_v", "/Adam", "/Adam_1", "/Momentum", "/Adagrad")
_SCALARS = ("beta1_power", "beta2_power")  # of tf.train.AdamOptimizer


def parts_in(names: Iterable[str]) -> set[str]:
    """The parts of which a checkpoint holds at least one weight.

    What such a part lacks is an error; a part that is not there at all the model does without.
    Raises `BertError` if they are those of another architecture.
    """
    if what := other_architecture(names):
        raise BertError(f"the checkpoint {what}")
    part = {row.original: head.name for head in PARTS.values() for row in head.weights}
    layered = "bert/encoder/layer_"
    return {part.get(name, "encoder") for name in names if name in part or name.startswith(layered)}


def is_slot(name: str) -> bool:
    """Whether the tensor belongs to the optimizer and not to the model.

    >>> is_slot("bert/pooler/dense/kernel/adam_m"), is_slot("bert/pooler/dense/kernel")
    (True, False)
    """
    return name.endswith(_SLOTS) or name in _SCALARS


def is_training_state(name: str) -> bool:
    """Whether it is a slot or the step: what a training checkpoint has more than a release."""
    return is_slot(name) or name == STEP


def labels_in(shapes: Mapping[str, tuple[int, ...]], heads: Iterable[str]) -> dict[str, int]:
    """The number of labels, of those heads that have one, by the tensors' shapes in a checkpoint.

    Also `hidden_units`, if the hidden layer of a classification head is not as wide as the encoder.

    Raises:
        BertError: such a tensor has no axis of labels.
    """
    found: dict[str, int] = {}
    for name, row in ((head, row) for head in heads for row in HEADS[head].weights):
        if row.original in shapes and "labels" in row.shape:
            sizes = dict(zip(row.shape, shapes[row.original]))
            if not sizes.get("labels"):
                raise BertError(f"{row.original} in the checkpoint has no axis of labels, or none.")
            found.setdefault(name, sizes["labels"])
        if row.original in shapes and {"hidden_size", "hidden_units"} <= {*row.shape}:
            wide, units = shapes[row.original][0], shapes[row.original][-1]
            found |= {"hidden_units": units} if units != wide else {}
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


@dataclasses.dataclass(frozen=True)
class LoadReport(Warned):
    """What became of a checkpoint's tensors.

    Args:
        checkpoint: the prefix that was read.
        read: names of the tensors that are in the model now.
        slots: optimizer slots and the step counter that the file also holds.
        unused: other tensors that this model does not use, such as other heads.
        missing: heads that the file lacks and that were not asked for; the model does without.
        fresh: heads that start from random weights because the caller asked for them.
        kept: those of `slots` and `unused` that are carried along for `Bert.save`.
        warnings: what else is worth knowing, one sentence each.
        unsound: those read that are NaN, infinite or too large to compute with.
    """

    checkpoint: str
    read: tuple[str, ...]
    slots: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    fresh: tuple[str, ...]
    kept: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    unsound: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"read {len(self.read)} tensors from {self.checkpoint}"]
        lines += self._others(self.slots, "optimizer slots and step counters")
        lines += self._others(self.unused, "tensors that this model does not use")
        heads = {"new, with random weights": self.fresh, "not in the file": self.missing}
        for what, names in heads.items():
            if names:
                lines.append(f"{what}: {', '.join(TITLES[name] for name in names)}")
        return "\n".join([*lines, *self.warnings])

    def _others(self, names: tuple[str, ...], what: str) -> Iterator[str]:
        for fate in ("kept", "left out"):
            if some := [name for name in names if (name in self.kept) == (fate == "kept")]:
                shown = ", ".join(some[:3]) + (", ..." if len(some) > 3 else "")
                yield f"{fate} {len(some)} {what} ({shown})"


def _hint(name: str) -> str:
    shapes = {row.original: row.shape for head in PARTS.values() for row in head.weights}
    fields = [dim for dim in shapes.get(name, ()) if isinstance(dim, str)]
    return f" (its {' and '.join(fields)})" if fields else ""
