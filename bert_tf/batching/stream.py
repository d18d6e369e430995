"""Batches of labelled rows: shuffled and without end to train on, or all rows once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.batching.buckets import check_buckets, choose_buckets
from bert_tf.batching.labels import Labels, label_batch
from bert_tf.batching.rows import Rows, Vectors
from bert_tf.errors import BertError
from bert_tf.options import ROWS, SEED

Batch = dict[str, np.ndarray]
Plan = list[tuple[np.ndarray, int]]
"""The batches of an epoch: the numbers of the rows, and the length to pad them to."""


class LabelledStream:
    """Batches of rows of like length, without end; each epoch has each row once.

    An epoch orders the rows at random, fills batches of each length in that order, and shuffles
    the batches. What does not fill a batch of its length goes to the next longer one, so that an
    epoch has at most one short batch, which is filled up with rows of padding, whose weight is 0.
    All batches thus have `batch_size` rows and one of few lengths. The mean over the rows is
    `sum(weights * loss) / sum(weights)`. Each epoch's order follows from the seed and its number,
    so where the stream stands is two numbers.

    Args:
        texts: what `tokenize_texts` gave.
        labels: what `encode_labels` gave, see `Labels`.
        batch_size: rows of a batch.
        seed: a whole number, not negative.
        buckets: lengths to pad to, ascending; those of `choose_buckets` if left out.

    Attributes:
        buckets: the lengths.

    Raises:
        BertError: there are no rows, numbers do not match, or an argument has no meaning.

    Example:
        >>> stream = LabelledStream(texts, labels, batch_size=32, seed=1)  # doctest: +SKIP
        >>> batch, state = stream.next_batch(), stream.state()  # doctest: +SKIP
    """

    _kind = "labelled"
    _of = "texts, labels, vocabulary, max_seq_length, batch size and seed"

    def __init__(
        self,
        texts: Rows,
        labels: Labels,
        *,
        batch_size: int,
        seed: int,
        buckets: Sequence[int] | None = None,
    ) -> None:
        _check(texts, labels, batch_size)
        SEED.check("seed", seed)
        if not len(texts):
            raise BertError("there are no rows to train on")
        self.batch_size, self.seed = batch_size, seed
        self.buckets = _buckets(texts, buckets)
        self._rows, self._labels = texts, labels
        self._bucket_of = np.searchsorted(self.buckets, texts.lengths)
        digest = hashlib.sha256(repr(self._settings()).encode())
        digest.update(labels.tobytes())
        self._fingerprint = digest.hexdigest()[:16]
        self._start_epoch(0)

    def steps_per_epoch(self) -> int:
        """Batches in which each row occurs once; the same in each epoch."""
        return -(-len(self._rows) // self.batch_size)

    def next_batch(self) -> Batch:
        """The next batch.

        Returns:
            The rows' inputs by name, each (batch_size, ...), and `labels` and `weights` as
            `label_batch` gives them.
        """
        if self._batch == len(self._plan):
            self._start_epoch(self._epoch + 1)
        numbers, length = self._plan[self._batch]
        self._batch += 1
        at = numbers, length, self.batch_size
        return self._rows.inputs(*at) | label_batch(self._labels, *at)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.next_batch()

    def state(self) -> dict[str, Any]:
        """Where the stream stands, for `restore`; JSON can hold it.

        It is `epoch`; `batch`: how many of it were taken; `fingerprint`: of rows and settings.
        """
        return {"epoch": self._epoch, "batch": self._batch, "fingerprint": self._fingerprint}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes where another stream of the same settings stood; what follows is the same bytes.

        Raises:
            BertError: it is no such state, or of other rows or settings; the stream then stays
                where it was.
        """
        try:
            epoch, batch = self._place(state)
            fingerprint = state["fingerprint"]
        except (KeyError, TypeError, ValueError) as error:
            raise BertError(f"this is no state of a {self._kind} stream: {state!r:.200}") from error
        if fingerprint != self._fingerprint:
            raise BertError(
                f"the state of the training data is of another run: {self._of} must be those "
                "it was taken with"
            )
        if epoch < 0 or not 0 <= batch <= self.steps_per_epoch():
            raise BertError(
                f"the state of the training data is damaged: epoch {epoch}, batch {batch}; an "
                f"epoch has {self.steps_per_epoch()} batches"
            )
        self._start_epoch(epoch)
        self._batch = batch

    def epochs(self) -> float:
        """Passes over the rows so far."""
        return self._epoch + self._batch / len(self._plan)

    def _settings(self) -> tuple[Any, ...]:
        """What distinguishes the stream from others, apart from the labels themselves."""
        kind = (str(self._labels.dtype), self._labels.shape)
        return (self._rows.key, self.batch_size, int(self.seed), self.buckets, *kind)

    def _place(self, state: Mapping[str, Any]) -> tuple[int, int]:
        return int(state["epoch"]), int(state["batch"])

    def _start_epoch(self, epoch: int) -> None:
        rng = np.random.default_rng([self.seed, epoch])
        self._plan = self._planned(rng.permutation(len(self._rows)), rng)
        self._epoch, self._batch = epoch, 0

    def _planned(self, order: np.ndarray, rng: np.random.Generator) -> Plan:
        size, rest = self.batch_size, order[:0]
        plan: Plan = []
        for number, length in enumerate(self.buckets):
            rows = np.concatenate([rest, order[self._bucket_of[order] == number]])
            full = len(rows) // size * size
            plan += [(rows[start : start + size], length) for start in range(0, full, size)]
            rest = rows[full:]
        if len(rest):  # as long as its own rows need
            plan.append((rest, self.buckets[self._bucket_of[rest].max()]))
        return [plan[index] for index in rng.permutation(len(plan))]


class FeatureStream(LabelledStream):
    """Endless batches of vectors with their labels; only the last of an epoch can be short.

    `features` are float32 (rows, width); a state of others, by their `key`, is refused. All else is
    as in `LabelledStream`.
    """

    _kind = "feature"
    _of = "encoder, texts, labels, batch size and seed"

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, *, batch_size: int, seed: int, key: str
    ) -> None:
        super().__init__(Vectors(features, key), labels, batch_size=batch_size, seed=seed)

    def state(self) -> dict[str, Any]:
        """Where the stream stands; JSON can hold it: batches `taken`, and the `fingerprint`."""
        taken = self._epoch * self.steps_per_epoch() + self._batch
        return {"taken": taken, "fingerprint": self._fingerprint}

    def _settings(self) -> tuple[Any, ...]:
        return (self._rows.key, self.batch_size, int(self.seed), self._labels.shape)

    def _place(self, state: Mapping[str, Any]) -> tuple[int, int]:
        return divmod(int(state["taken"]), self.steps_per_epoch())

    def _planned(self, order: np.ndarray, rng: np.random.Generator) -> Plan:
        size = self.batch_size
        return [(order[start : start + size], 1) for start in range(0, len(order), size)]


def batches_once(
    texts: Rows,
    labels: Labels | None = None,
    *,
    batch_size: int,
    by_length: bool = True,
    buckets: Sequence[int] | None = None,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """All rows once, to evaluate or predict.

    Args:
        texts: what `tokenize_texts` gave, or other rows.
        labels: as for `LabelledStream`; without them batches have none.
        batch_size: rows of a batch; the last is filled up with rows of padding, weight 0.
        by_length: rows of like length together, the longest first, which is faster. Else in their
            order, each batch as long as its longest row's bucket.
        buckets: as for `LabelledStream`.

    Yields:
        (numbers of the rows, int64, as many as the batch has real ones; the batch, as
        `LabelledStream.next_batch` gives it). `results[numbers] = outputs[:len(numbers)]` puts
        results in the rows' order.

    Raises:
        BertError: numbers do not match, or an argument has no meaning.
    """
    _check(texts, labels, batch_size)
    if not len(texts):
        return
    chosen, lengths = _buckets(texts, buckets), texts.lengths
    order = np.argsort(-lengths, kind="stable") if by_length else np.arange(len(texts))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        length = chosen[np.searchsorted(chosen, lengths[numbers].max())]
        at = numbers, length, batch_size
        yield numbers, texts.inputs(*at) | label_batch(labels, *at)


def _check(rows: Rows, labels: Labels | None, batch_size: int) -> None:
    if labels is not None and len(labels) != len(rows):
        raise BertError(f"there are {len(rows):,} texts, but {len(labels):,} labels")
    ROWS.check("batch_size", batch_size)


def _buckets(rows: Rows, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return choose_buckets(rows.lengths, rows.max_seq_length)
    return check_buckets(given, rows.lengths.max())
