"""Batches of texts of similar length, padded to one of a few lengths and not to the longest."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from bert_tf.errors import BertError

T = TypeVar("T")

BUCKETS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""The lengths that rows are padded to: two to each doubling, as XLA compiles the model again for
each length that occurs. On SST-2, MRPC, SMS and SQuAD 18 to 23 % of the places are then padding on
top of the pieces; with doublings alone it is 41 to 47 %."""


class Batch(NamedTuple):
    """Rows that run through the model together.

    Attributes:
        indices: their positions in the input order.
        length: the length to pad them to.
    """

    indices: tuple[int, ...]
    length: int


class ItemBatch(NamedTuple, Generic[T]):
    """A batch of a stream, with its items.

    Attributes:
        indices: positions of the items in the stream.
        length: the length to pad them to.
        items: the items themselves.
    """

    indices: tuple[int, ...]
    length: int
    items: tuple[T, ...]


@functools.cache
def bucket_lengths(max_positions: int = 512) -> tuple[int, ...]:
    """The padded lengths for a model; its own longest input is always the last of them.

    Raises:
        BertError: `max_positions` is not positive.
    """
    if max_positions < 1:
        raise BertError(f"max_positions is {max_positions}; it must be at least 1.")
    lengths = [length for length in BUCKETS if length < max_positions]
    # A model that takes more than 512 goes on in the same steps: 768, 1024, 1536, ...
    step = BUCKETS[-1]
    while step < max_positions:
        lengths += [length for length in (step, step * 3 // 2) if lengths[-1] < length]
        step *= 2
    return (*[length for length in lengths if length < max_positions], max_positions)


def bucket_length(length: int, max_positions: int = 512) -> int:
    """The length to pad a row to: the shortest bucket that holds it.

    Args:
        length: pieces of the row, [CLS] and [SEP] counted.
        max_positions: the model's `max_position_embeddings`.

    Raises:
        BertError: the row is longer than the model takes.
    """
    if length > max_positions:
        raise BertError(
            f"a row has {length} pieces with [CLS] and [SEP], the model takes {max_positions}: "
            "shorten the text, split it, or ask for windows."
        )
    buckets = bucket_lengths(max_positions)
    return buckets[bisect.bisect_left(buckets, length)]


def batches_by_length(
    lengths: Sequence[int],
    batch_size: int | None = None,
    *,
    max_tokens: int | None = None,
    max_positions: int = 512,
) -> list[Batch]:
    """Groups rows by bucket, the longest bucket first, so that lack of memory shows at once.

    Args:
        lengths: pieces of each row, [CLS] and [SEP] counted.
        batch_size: most rows in a batch.
        max_tokens: most places in a batch, padding counted: short rows come in larger batches.
            At least one row is always taken. With both limits the tighter one holds; with none,
            32 rows.
        max_positions: the model's `max_position_embeddings`.

    Returns:
        Batches in which each index occurs once. `results[i]` of row `indices[i]` puts them back
        in order.

    Raises:
        BertError: a row is longer than the model takes, or a limit is not positive.
    """
    limit = _row_limit(batch_size, max_tokens)
    buckets = bucket_lengths(max_positions)
    groups: dict[int, list[int]] = {bucket: [] for bucket in buckets}
    for index, length in enumerate(lengths):
        groups[bucket_length(length, max_positions)].append(index)
    batches = []
    for bucket in reversed(buckets):
        indices, rows = groups[bucket], limit(bucket)
        batches += [
            Batch(tuple(indices[start : start + rows]), bucket)
            for start in range(0, len(indices), rows)
        ]
    return batches


def batches_of_like_length(lengths: Sequence[int], batch_size: int = 32) -> list[Batch]:
    """Groups rows of nearly the same length, each batch as wide as its longest row.

    Less padding than `batches_by_length`, but a new shape for nearly every batch: for backends
    that compile once for all shapes.

    Args:
        lengths: pieces of each row, [CLS] and [SEP] counted.
        batch_size: most rows in a batch.

    Returns:
        Batches in which each index occurs once, the longest first.

    Raises:
        BertError: `batch_size` is not positive.
    """
    rows = _row_limit(batch_size, None)(1)
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return [
        Batch(tuple(order[start : start + rows]), lengths[order[start]])
        for start in range(0, len(order), rows)
    ]


def stream_batches(
    items: Iterable[T],
    length_of: Callable[[T], int],
    batch_size: int | None = None,
    *,
    max_tokens: int | None = None,
    max_positions: int = 512,
    look_ahead: int = 1024,
) -> Iterator[ItemBatch[T]]:
    """`batches_by_length` over a stream: takes `look_ahead` items, gives their batches, goes on.

    At most `look_ahead` items are held, however long the stream; a result never comes more than
    that many places too early or too late, which bounds what `in_order` holds.

    Args:
        items: any iterable.
        length_of: pieces of an item's row, [CLS] and [SEP] counted.
        batch_size: as in `batches_by_length`.
        max_tokens: as in `batches_by_length`.
        max_positions: as in `batches_by_length`.
        look_ahead: items to sort at a time; more make fuller batches.

    Raises:
        BertError: as `batches_by_length`, or `look_ahead` is not positive.
    """
    if look_ahead < 1:
        raise BertError(f"look_ahead is {look_ahead}; it must be at least 1.")
    iterator = iter(items)
    done = 0
    while part := list(islice(iterator, look_ahead)):
        lengths = [length_of(item) for item in part]
        for indices, length in batches_by_length(
            lengths, batch_size, max_tokens=max_tokens, max_positions=max_positions
        ):
            chosen = tuple(part[index] for index in indices)
            yield ItemBatch(tuple(done + index for index in indices), length, chosen)
        done += len(part)


def in_order(results: Iterable[tuple[Sequence[int], Sequence[T]]]) -> Iterator[T]:
    """Puts the results of batches back into the input's order, each as soon as it can go out.

    Args:
        results: for each batch its `indices` and one result for each of them.
    """
    waiting: dict[int, T] = {}
    due = 0
    for indices, values in results:
        waiting.update(zip(indices, values, strict=True))
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _row_limit(batch_size: int | None, max_tokens: int | None) -> Callable[[int], int]:
    """How many rows a batch of a given length may have."""
    for name, value in (("batch_size", batch_size), ("max_tokens", max_tokens)):
        if value is not None and value < 1:
            raise BertError(f"{name} is {value}; it must be at least 1.")
    if batch_size is None and max_tokens is None:
        batch_size = 32

    def limit(length: int) -> int:
        by_tokens = max(1, max_tokens // length) if max_tokens else None
        return min(rows for rows in (batch_size, by_tokens) if rows is not None)

    return limit
