"""`NextSentence`: how probable it is that one text follows another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.tasks.asking import batches_for
from bert_tf.tasks.results import NextSentenceResult
from bert_tf.tasks.streaming import stream_in_chunks
from bert_tf.text import Packed, pack, pad_batch

Pair = tuple[str, str]

FOLLOWS = 0
"""Index of "B follows A" in the model's output; 1 is "B is random" (create_pretraining_data.py
labels a random next sentence 1). Many expect the reverse."""


class _PackedPair(NamedTuple):
    pair: Pair
    packed: Packed
    cut: bool


class NextSentence:
    """Judges whether a second text follows a first.

    A pair that is longer than the model takes is cut from the end of its longer text, as in
    pretraining; the result says so.

    Example:
        >>> follows = NextSentence(bert_tf.load("multi_cased_L-12_H-768_A-12"))
        >>> follows("I went to the store.", "I bought milk.").label
        'follows'

    Args:
        bert: a loaded BERT with a pooler and a next-sentence head.
        batch_size: pairs run at once.

    Raises:
        BertError: the checkpoint has no pooler or no next-sentence head.
    """

    def __init__(self, bert: Bert, *, batch_size: int = 32) -> None:
        if not (bert.has("pooler") and bert.has("nsp")):
            raise BertError(
                f"{bert.name} cannot judge next sentences: its checkpoint has no "
                f"{'pooler' if not bert.has('pooler') else 'cls/seq_relationship'}. Load a "
                f"checkpoint that was pretrained with next sentence, as Google's are."
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise BertError(f"batch_size={batch_size!r} must be a whole number above 0.")
        self.bert = bert
        self.batch_size = batch_size
        self._predictor: Any = None

    @overload
    def __call__(self, first: str, second: str) -> NextSentenceResult: ...

    @overload
    def __call__(self, first: Iterable[Pair]) -> list[NextSentenceResult]: ...

    def __call__(self, first, second=None):
        """Judges one pair, `(first, second)`, or a list of such pairs.

        Raises:
            BertError: a text is empty, or what was passed are no pairs of texts.
        """
        if isinstance(first, str) and isinstance(second, str):
            return self._run([self._pack((first, second))])[0]
        if isinstance(first, str) or second is not None:
            raise BertError("pass two texts, or a list of (first, second) pairs.")
        return self._run([self._pack(pair) for pair in first])

    @overload
    def stream(
        self, pairs: Iterable[Pair], errors: Literal["raise"] = "raise"
    ) -> Iterator[NextSentenceResult]: ...

    @overload
    def stream(
        self, pairs: Iterable[Pair | BertError], errors: Literal["yield"]
    ) -> Iterator[NextSentenceResult | BertError]: ...

    def stream(self, pairs, errors="raise"):
        """Judges pairs as they come, in their order, in memory that does not grow.

        Args:
            pairs: any number of (first, second).
            errors: `"raise"`, or `"yield"` to give the `BertError` in place of the result. A
                `BertError` among the pairs, for a line that could not be read, is treated alike.
        """
        return stream_in_chunks(pairs, self._pack, self._run, self.batch_size, errors)

    def _pack(self, pair: Pair | BertError) -> _PackedPair:
        if isinstance(pair, BertError):
            raise pair
        if isinstance(pair, str) or len(pair) != 2:
            raise BertError(f"{pair!r} is no pair of texts (first, second).")
        limit = self.bert.config.max_position_embeddings
        first, second = self.bert.tokenizer.encode_ids_batch(pair)
        for text, ids in zip(pair, (first, second), strict=True):
            if not ids:
                raise BertError(f"the text {text!r} is empty; next sentence needs two texts.")
        packed = pack(first, second, vocab=self.bert.vocab, max_length=limit)
        cut = len(first) + len(second) + 3 > limit
        return _PackedPair((pair[0], pair[1]), packed, cut)

    def _run(self, pairs: list[_PackedPair]) -> list[NextSentenceResult]:
        if self._predictor is None:
            self._predictor = self.bert.predictor("nsp")
        probabilities = np.empty(len(pairs))
        lengths = [len(pair.packed.token_ids) for pair in pairs]
        limit = self.bert.config.max_position_embeddings
        for indices, length in batches_for(self._predictor, lengths, self.batch_size, limit):
            inputs = pad_batch([pairs[i].packed for i in indices], length)
            probabilities[list(indices)] = self._predictor(inputs)[:, FOLLOWS]
        return [
            NextSentenceResult(
                *pair.pair,
                probability=float(probability),
                label="follows" if probability >= 0.5 else "random",
                cut=pair.cut,
            )
            for pair, probability in zip(pairs, probabilities, strict=True)
        ]
