"""Batches of labelled texts: without end and shuffled to train on, or once and all to judge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.data.lengths import TokenizedTexts
from bert_tf.errors import BertError
from bert_tf.options import ROWS, SEED
from bert_tf.text import bucket_lengths

Batch = dict[str, np.ndarray]

_MOST_BUCKETS = 6
_BUCKET_WORTH = 0.01  # share of all places that one more length must spare


def choose_buckets(
    lengths: np.ndarray, max_seq_length: int, most: int = _MOST_BUCKETS
) -> tuple[int, ...]:
    """The few lengths that rows are padded to, so that all rows together have least padding.

    Of the usual lengths (`bert_tf.text.bucket_lengths`) those are taken whose sum of places over
    all rows is least (dynamic programming); one more must spare a hundredth of the places, as
    XLA compiles the model again for each.

    Args:
        lengths: places of each row, int (rows,).
        max_seq_length: most places of a row.
        most: how many lengths there may be.

    Returns:
        Lengths, ascending; the last holds the longest row.

    Raises:
        BertError: there are no rows, or one is longer than `max_seq_length`.
    """
    if not len(lengths) or lengths.max() > max_seq_length or most < 1:
        raise BertError(
            f"{len(lengths)} rows of up to {max(lengths, default=0)} places do not fit "
            f"max_seq_length {max_seq_length} in {most} buckets"
        )
    usual = bucket_lengths(max_seq_length)
    usual = usual[: int(np.searchsorted(usual, lengths.max())) + 1]
    # Rows up to each length; before the first there is none.
    up_to = np.searchsorted(np.sort(lengths), (0, *usual), side="right")
    price = _BUCKET_WORTH * float(lengths.sum())
    # best[k][j]: least cost of the rows up to usual[j - 1], if that is the k-th length taken.
    start: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    best = [start + [(np.inf, ())] * len(usual)]
    for _ in range(most):
        row: list[tuple[float, tuple[int, ...]]] = [(np.inf, ())]
        for j, length in enumerate(usual, start=1):
            row.append(
                min(
                    (cost + price + float(up_to[j] - up_to[i]) * length, (*taken, length))
                    for i, (cost, taken) in enumerate(best[-1][:j])
                )
            )
        best.append(row)
    return min(row[len(usual)] for row in best[1:])[1]


class LabelledStream:
    """Batches of rows of like length, without end; each epoch has each row once.

    An epoch orders the rows at random, fills batches of each length in that order, and shuffles
    the batches. What does not fill a batch of its length goes to the next longer one, so that an
    epoch has at most one short batch: that is filled up with rows of padding, whose weight is 0.
    All batches thus have `batch_size` rows and one of few lengths. The mean over the rows is
    `sum(weights * loss) / sum(weights)`. Each epoch's order has a generator of its own, made of the
    seed and its number, so where the stream stands is two numbers.

    Args:
        texts: what `tokenize_texts` gave.
        labels: what `encode_labels` gave; its first dimension is that of the rows.
        batch_size: rows of a batch.
        seed: a whole number, not negative.
        buckets: lengths to pad to, ascending; those of `choose_buckets` if left out.

    Attributes:
        buckets: the lengths.

    Raises:
        BertError: there are no rows, numbers do not match, or an argument has no meaning.

    Example:
        >>> from bert_tf.data import labelled_rows, tokenize_texts
        >>> rows = tokenize_texts(labelled_rows(["Well made.", "A bore."]), bert.tokenizer, 64)
        >>> stream = LabelledStream(rows, np.array([1, 0]), batch_size=2, seed=1)
        >>> batch, state = stream.next_batch(), stream.state()
    """

    def __init__(
        self,
        texts: TokenizedTexts,
        labels: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        buckets: Sequence[int] | None = None,
    ) -> None:
        _check(texts, labels, batch_size)
        SEED.check("seed", seed)
        if not len(texts):
            raise BertError("there are no rows to train on")
        self.batch_size = batch_size
        self.seed = seed
        self.buckets: tuple[int, ...] = (
            choose_buckets(texts.lengths, texts.max_seq_length)
            if buckets is None
            else _checked(buckets, texts)
        )
        self._texts = texts
        self._labels = labels
        self._bucket_of = np.searchsorted(self.buckets, texts.lengths)
        self._fingerprint = self._make_fingerprint()
        self._start_epoch(0)

    def steps_per_epoch(self) -> int:
        """Batches in which each row occurs once; the same in each epoch."""
        return -(-len(self._texts) // self.batch_size)

    def next_batch(self) -> Batch:
        """The next batch.

        Returns:
            `token_input` and `seg_input`, int32 (batch_size, a bucket), 0 where padded; `labels`
            as they were given, 0 in rows of padding; `weights`, float32 (batch_size,), 0 for rows
            of padding, else 1.
        """
        if self._batch == len(self._plan):
            self._start_epoch(self._epoch + 1)
        rows, length = self._plan[self._batch]
        self._batch += 1
        return _make(self._texts, self._labels, rows, length, self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.next_batch()

    def state(self) -> dict[str, Any]:
        """Where the stream stands, for `restore`; JSON can hold it.

        Returns:
            `epoch`; `batch`: how many of it were taken; `fingerprint`: of rows and settings.
        """
        return {"epoch": self._epoch, "batch": self._batch, "fingerprint": self._fingerprint}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes where another stream of the same settings stood; what follows is the same bytes.

        Raises:
            BertError: it is no such state, or of other rows or settings; the stream then stays
                where it was.
        """
        try:
            epoch, batch = int(state["epoch"]), int(state["batch"])
            fingerprint = state["fingerprint"]
        except (KeyError, TypeError, ValueError) as error:
            raise BertError(f"this is no state of a labelled stream: {state!r:.200}") from error
        if fingerprint != self._fingerprint:
            raise BertError(
                "the state of the training data is of another run: texts, labels, vocabulary, "
                "max_seq_length, batch size and seed must be those it was taken with"
            )
        if epoch < 0 or not 0 <= batch <= self.steps_per_epoch():
            raise BertError(
                f"the state of the training data is damaged: epoch {epoch}, batch {batch}; an "
                f"epoch has {self.steps_per_epoch()} batches"
            )
        self._start_epoch(epoch)
        self._batch = batch

    def epochs(self) -> float:
        """How often the rows have been gone through so far."""
        return self._epoch + self._batch / len(self._plan)

    def _start_epoch(self, epoch: int) -> None:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self._texts))
        size = self.batch_size
        plan: list[tuple[np.ndarray, int]] = []
        rest = order[:0]
        for number, length in enumerate(self.buckets):
            rows = np.concatenate([rest, order[self._bucket_of[order] == number]])
            full = len(rows) // size * size
            plan += [(rows[start : start + size], length) for start in range(0, full, size)]
            rest = rows[full:]
        if len(rest):
            # As long as its own rows need.
            longest = self._bucket_of[rest].max()
            plan.append((rest, self.buckets[longest]))
        self._plan = [plan[index] for index in rng.permutation(len(plan))]
        self._epoch = epoch
        self._batch = 0

    def _make_fingerprint(self) -> str:
        settings = (
            self._texts.key,
            self.batch_size,
            int(self.seed),
            self.buckets,
            str(self._labels.dtype),
            self._labels.shape,
        )
        digest = hashlib.sha256(repr(settings).encode())
        digest.update(np.ascontiguousarray(self._labels).tobytes())
        return digest.hexdigest()[:16]


def batches_once(
    texts: TokenizedTexts,
    labels: np.ndarray | None = None,
    *,
    batch_size: int,
    by_length: bool = True,
    buckets: Sequence[int] | None = None,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """All rows once, to evaluate or predict.

    Args:
        texts: what `tokenize_texts` gave.
        labels: as for `LabelledStream`; without them batches have none.
        batch_size: rows of a batch; the last is filled up with rows of padding, weight 0.
        by_length: rows of like length together, the longest first, which is faster. Else the
            rows in their order, each batch as long as its longest row's bucket.
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
    lengths = texts.lengths
    chosen = (
        choose_buckets(lengths, texts.max_seq_length)
        if buckets is None
        else _checked(buckets, texts)
    )
    bucket_of = np.searchsorted(chosen, lengths)
    order = np.arange(len(texts))
    if by_length:
        order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, _make(texts, labels, rows, chosen[bucket_of[rows].max()], batch_size)


def _make(
    texts: TokenizedTexts, labels: np.ndarray | None, rows: np.ndarray, length: int, height: int
) -> Batch:
    tokens, segments = texts.pad(rows, length, height)
    weights = np.zeros(height, np.float32)
    weights[: len(rows)] = 1
    batch = {"token_input": tokens, "seg_input": segments, "weights": weights}
    if labels is not None:
        filled = np.zeros((height, *labels.shape[1:]), labels.dtype)
        filled[: len(rows)] = labels[rows]
        batch["labels"] = filled
    return batch


def _check(texts: TokenizedTexts, labels: np.ndarray | None, batch_size: int) -> None:
    if labels is not None and len(labels) != len(texts):
        raise BertError(f"there are {len(texts):,} texts, but {len(labels):,} labels")
    ROWS.check("batch_size", batch_size)


def _checked(buckets: Sequence[int], texts: TokenizedTexts) -> tuple[int, ...]:
    lengths = tuple(int(length) for length in buckets)
    if not lengths or list(lengths) != sorted(set(lengths)) or lengths[-1] < texts.lengths.max():
        raise BertError(
            f"buckets are {list(buckets)}; give lengths in ascending order, the last at least "
            f"{texts.lengths.max()}"
        )
    return lengths
