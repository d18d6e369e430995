"""`MaskedWordModel`: asks a loaded BERT for pieces at positions, batched by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.tasks.base import Predicting
from bert_tf.tasks.masked_text import Row

if TYPE_CHECKING:
    from bert_tf.runtime.predictor import Predictor

KINDS = ("any", "whole", "continuation")
"""Which pieces may be listed: all, only those that start a word, only those that go on with it.
Special tokens, [unused...] entries and ids without a piece are never listed."""


class Top(NamedTuple):
    """The best pieces at the asked positions of one row.

    Attributes:
        ids: int32, (positions, k), best first.
        scores: log-probabilities, float32, (positions, k).
    """

    ids: np.ndarray
    scores: np.ndarray


class MaskedWordModel(Predicting):
    """The masked-word head of a `Bert`, compiled for asking.

    Args:
        bert: a loaded BERT.
        k: how many pieces to list at each position.
        batch_size: rows run at once.

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
        self.allowed = {kind: self._allowed(kind) for kind in KINDS}
        self.k = k

    def _allowed(self, kind: str) -> np.ndarray:
        vocab, rows = self.bert.vocab, self.bert.config.vocab_size
        allowed = np.zeros(rows, bool)  # a table may be longer than the vocabulary
        allowed[: len(vocab)] = vocab.offerable
        if kind != "any":
            allowed[: len(vocab)] &= vocab.continuation == (kind == "continuation")
        return allowed

    def top(self, rows: Sequence[Row], kind: str = "any") -> list[Top]:
        """The best pieces at each row's positions.

        Args:
            rows: what to ask; each has at least one position.
            kind: one of `KINDS`.
        """
        if not rows:
            return []
        k = min(self.k, int(self.allowed[kind].sum()))
        predictor = self._compiled(
            kind,
            lambda: self.bert.predictor(
                "mlm",
                values={"top.blocked": (~self.allowed[kind]).astype(np.float32)},
                max_predictions=None,
                output="top_k",
                top_k=self.k,
            ),
        )
        found = self._asked(predictor, rows, [row.positions for row in rows])
        return [
            Top(ids[:, :k], scores[:, :k])
            for ids, scores in zip(found["top_ids"], found["top_log_probabilities"], strict=True)
        ]

    def scores(self, rows: Sequence[Row], pieces: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Log-probabilities of given pieces.

        Args:
            rows: what to ask, one position each.
            pieces: for each row the ids to score there.

        Returns:
            For each row float32, (number of its pieces,).
        """
        predictor = self._compiled(
            "scores",
            lambda: self.bert.predictor("mlm", max_predictions=None, output="scores"),
        )
        return self._asked(predictor, rows, pieces, piece_input=pieces)

    def _asked(
        self,
        predictor: Predictor,
        rows: Sequence[Row],
        asked: Sequence[Sequence[int]],
        **extra: Sequence[Sequence[int]],
    ) -> Any:
        """The outputs for each row, as many as it has in `asked`."""
        extra["position_input"] = [row.positions for row in rows]
        packed = [row.packed for row in rows]
        return self._outputs(predictor, packed, [len(one) for one in asked], extra)
