"""`MaskedWordModel`: asks a loaded BERT for pieces at positions, batched by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.runtime.predictor import Predictor
from bert_tf.tasks.masked_text import Row
from bert_tf.text import Packed, batches_by_length, batches_of_like_length, pad_batch
from bert_tf.text.batching import Batch

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


class MaskedWordModel:
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
        self.bert = bert
        self.limit = bert.config.max_position_embeddings
        self.batch_size = batch_size
        self.allowed = {kind: self._allowed(kind) for kind in KINDS}
        self.k = k
        self._predictors: dict[str, Predictor] = {}

    def _allowed(self, kind: str) -> np.ndarray:
        vocab, rows = self.bert.vocab, self.bert.config.vocab_size
        allowed = np.zeros(rows, bool)  # a table may be longer than the vocabulary
        allowed[: len(vocab)] = vocab.offerable
        if kind != "any":
            allowed[: len(vocab)] &= vocab.continuation == (kind == "continuation")
        return allowed

    def _predictor(self, kind: str) -> Predictor:
        if kind not in self._predictors:
            if kind == "scores":
                made = self.bert.predictor("mlm", max_predictions=None, output="scores")
            else:
                made = self.bert.predictor(
                    "mlm",
                    values={"top.blocked": (~self.allowed[kind]).astype(np.float32)},
                    max_predictions=None,
                    output="top_k",
                    top_k=self.k,
                )
            self._predictors[kind] = made
        return self._predictors[kind]

    def top(self, rows: Sequence[Row], kind: str = "any") -> list[Top]:
        """The best pieces at each row's positions.

        Args:
            rows: what to ask; each has at least one position.
            kind: one of `KINDS`.
        """
        results: list[Top | None] = [None] * len(rows)
        k = min(self.k, int(self.allowed[kind].sum()))
        predictor = self._predictor(kind)
        for indices, length in self._batches([row.packed for row in rows], predictor):
            batch = [rows[i] for i in indices]
            inputs = pad_batch([row.packed for row in batch], length)
            inputs["position_input"] = _rectangle([row.positions for row in batch], predictor)
            found = predictor(inputs)
            for place, (i, row) in enumerate(zip(indices, batch, strict=True)):
                n = len(row.positions)
                results[i] = Top(
                    found["top_ids"][place, :n, :k],
                    found["top_log_probabilities"][place, :n, :k],
                )
        return results  # type: ignore[return-value]  # every row is in one batch

    def scores(self, rows: Sequence[Row], pieces: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Log-probabilities of given pieces.

        Args:
            rows: what to ask, one position each.
            pieces: for each row the ids to score there.

        Returns:
            For each row float32, (number of its pieces,).
        """
        results: list[np.ndarray] = [np.empty(0)] * len(rows)
        predictor = self._predictor("scores")
        for indices, length in self._batches([row.packed for row in rows], predictor):
            inputs = pad_batch([rows[i].packed for i in indices], length)
            inputs["position_input"] = _rectangle([rows[i].positions for i in indices], predictor)
            inputs["piece_input"] = _rectangle([pieces[i] for i in indices], predictor)
            found = predictor(inputs)
            for place, i in enumerate(indices):
                results[i] = found[place, : len(pieces[i])]
        return results

    def _batches(self, packed: Sequence[Packed], predictor: Predictor) -> list[Batch]:
        lengths = [len(row.token_ids) for row in packed]
        return batches_for(predictor, lengths, self.batch_size, self.limit)


def batches_for(
    predictor: Predictor, lengths: Sequence[int], batch_size: int, limit: int
) -> list[Batch]:
    """Batches of a kind that suits the backend: in few shapes, or with little padding."""
    if predictor.fixed_shapes:
        return batches_by_length(lengths, batch_size, max_positions=limit)
    return batches_of_like_length(lengths, batch_size)


def _rectangle(rows: Sequence[Sequence[int]], predictor: Predictor) -> np.ndarray:
    """Rows of differing length as one int32 array, filled up with 0."""
    width = max(map(len, rows))
    if predictor.fixed_shapes:
        width = 1 << (width - 1).bit_length()
    array = np.zeros((len(rows), width), np.int32)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array
