"""`MaskedWordModel`: asks a loaded BERT for pieces at positions, batched by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.tasks.base import Predicting
from bert_tf.tasks.masked_text import MaskedRow


class Top(NamedTuple):
    """The best pieces at the asked positions of one row, best first."""

    ids: np.ndarray
    """int32, (positions, k)."""
    scores: np.ndarray
    """Log-probabilities, float32, (positions, k)."""


class MaskedWordModel(Predicting):
    """The masked-word head of a `Bert`, compiled to list `k` pieces at each position.

    Raises:
        BertError: the checkpoint has no masked-word head.
    """

    def __init__(self, bert: Bert, k: int, batch_size: int) -> None:
        if not bert.has("mlm"):
            raise BertError(
                f"{bert.name} cannot fill masks: its checkpoint has no cls/predictions. Load the "
                f"pretrained checkpoint that it was fine-tuned from."
            )
        super().__init__(bert, batch_size)
        self.limit = bert.config.max_position_embeddings
        self.k = k
        vocab = bert.vocab
        wanted = {"any": True, "whole": ~vocab.continuation, "continuation": vocab.continuation}
        padding = (0, bert.config.vocab_size - len(vocab))  # a table may be longer than that
        self.allowed = {k: np.pad(vocab.offerable & one, padding) for k, one in wanted.items()}

    def top(self, rows: Sequence[MaskedRow], kind: str = "any") -> list[Top]:
        """The best tokens at each row's one or more positions.

        They are of a kind: `"any"`, `"whole"` (those that start a word) or `"continuation"`.
        Special tokens, [unused...] entries and ids without a token are never among them.
        """
        if not rows:
            return []
        k, blocked = min(self.k, int(self.allowed[kind].sum())), ~self.allowed[kind]
        values = {"top.blocked": blocked.astype(np.float32)}
        options = {"values": values, "top_k": self.k}
        found = self._asked(kind, "top_k", options, rows, [row.positions for row in rows])
        found = zip(found["top_ids"], found["top_log_probabilities"], strict=True)
        return [Top(ids[:, :k], scores[:, :k]) for ids, scores in found]

    def scores(
        self, rows: Sequence[MaskedRow], pieces: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """For each row, of one position, the log-probabilities of the ids in `pieces`, float32."""
        return self._asked("scores", "scores", {}, rows, pieces, piece_input=pieces)

    def _asked(
        self,
        name: str,
        output: str,
        options: dict[str, Any],
        rows: Sequence[MaskedRow],
        asked: Sequence[Sequence[int]],
        **extra: Sequence[Sequence[int]],
    ) -> Any:
        """The outputs for each row, as many as it has in `asked`."""
        options |= {"max_predictions": None, "output": output}
        extra["position_input"] = [row.positions for row in rows]
        predictor = self._compiled(name, lambda: self.bert.predictor("mlm", **options))
        return self._outputs(predictor, [x.packed for x in rows], list(map(len, asked)), extra)
