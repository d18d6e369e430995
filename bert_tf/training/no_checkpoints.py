"""`NoCheckpoints`: for a training that nobody will continue, such as one of a search's many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.training.checkpoints import TrainingCheckpoints


class NoCheckpoints(TrainingCheckpoints):
    """Looks like `TrainingCheckpoints`, but neither writes nor finds anything.

    That spares the disk three times the model's size, which the temporary folder of some machines
    holds in memory.
    """

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """There is nothing that another process could disturb."""
        yield

    def save(self, step: int, state: Mapping[str, Any]) -> str:
        """Makes sure that the weights are numbers, and keeps nothing.

        Raises:
            BertError: one is none any more.
        """
        for name, value in self._tensors():
            if not np.isfinite(value).all():
                raise BertError(
                    f"after step {step} {name} holds numbers that are not finite; lower the "
                    f"learning rate, or lengthen the warm-up."
                )
        return self.prefix(step)

    def steps(self) -> list[int]:
        """None."""
        return []

    def restore_last(self, *, tidy: bool = True) -> tuple[int, dict[str, Any]] | None:
        """None."""
        return None
