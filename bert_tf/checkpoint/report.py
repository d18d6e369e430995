"""`LoadReport`: what became of a checkpoint's tensors."""

from __future__ import annotations

import dataclasses

from bert_tf.heads import TITLES


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint's tensors.

    Args:
        checkpoint: the prefix that was read.
        read: names of the tensors that are in the model now.
        slots: optimizer slots and the step counter that the file also holds.
        unused: other tensors that this model has no place for, such as other heads.
        missing: heads that the file lacks and that were not asked for; the model does without.
        fresh: heads that start from random weights because the caller asked for them.
        kept: whether `slots` and `unused` are carried along for `Bert.save`.
        remarks: what else is worth knowing, one sentence each.
        unsound: those read that are NaN, infinite or too large to compute with.
    """

    checkpoint: str
    read: tuple[str, ...]
    slots: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    fresh: tuple[str, ...]
    kept: tuple[str, ...]
    remarks: tuple[str, ...]
    unsound: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"read {len(self.read)} tensors from {self.checkpoint}"]
        lines += self._others(self.slots, "optimizer slots and step counters")
        lines += self._others(self.unused, "tensors that this model has no place for")
        heads = {"new, with random weights": self.fresh, "not in the file": self.missing}
        for what, names in heads.items():
            if names:
                lines.append(f"{what}: {', '.join(TITLES[name] for name in names)}")
        return "\n".join([*lines, *self.remarks])

    def _others(self, names: tuple[str, ...], what: str) -> list[str]:
        fate = "kept" if set(names) <= set(self.kept) else "left out"
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return [f"{fate} {len(names)} {what} ({some})"] if names else []
