"""`NoCheckpoints`: for a training that nobody will continue, such as one of a search's many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from bert_tf.training.checkpoints import TrainingCheckpoints


class NoCheckpoints(TrainingCheckpoints):
    """Looks like `TrainingCheckpoints`, but neither writes nor finds anything.

    That saves three times the model's size on disk; some machines hold their temporary folder in
    memory.
    """

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """There is nothing that another process could disturb."""
        yield

    def save(self, step: int, state: Mapping[str, Any]) -> str:
        """Only checks that the weights are finite; a `BertError` if one is not."""
        for _ in self._tensors(step):
            pass
        return self.prefix(step)

    def steps(self) -> list[int]:
        """None."""
        return []

    def restore_last(self, *, tidy: bool = True) -> tuple[int, dict[str, Any]] | None:
        """None."""
        return None
