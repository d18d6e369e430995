"""What is removed in the next version; `bert_tf._moved.MOVED` has the old paths to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from bert_tf.batching.buckets import bucket_length, bucket_lengths
from bert_tf.batching.predict import Batch
from bert_tf.data.labelled import reading
from bert_tf.data.labelled.cleaning import clean
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.problems import Policy, Tally
from bert_tf.data.labelled.reading import give_task
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.text.packing import Packed, pack
from bert_tf.text.vocab import Vocabulary

T = TypeVar("T")


def pack_exact(
    ids_a: Sequence[int], ids_b: Sequence[int] | None = None, *, vocab: Vocabulary, max_length: int
) -> Packed:
    """As `pack`, but raises a `BertError` where it would cut."""
    length = len(ids_a) + (len(ids_b) + 3 if ids_b else 2)
    if length > max_length:
        size = f"{length} tokens with [CLS] and [SEP], the limit is {max_length}"
        raise BertError(f"the text has {size}: shorten it, split it, or ask for windows.")
    return pack(ids_a, ids_b, vocab=vocab, max_length=max_length)


class ItemBatch(NamedTuple, Generic[T]):
    """A batch of a stream: positions of its items, the length to pad them to, and the items."""

    indices: tuple[int, ...]
    length: int
    items: tuple[T, ...]


def batches_by_length(
    lengths: Sequence[int],
    batch_size: int | None = None,
    *,
    max_tokens: int | None = None,
    max_positions: int = 512,
) -> list[Batch]:
    """Batches of one bucket each, the longest bucket first.

    A batch has at most `batch_size` rows, 32 if neither limit is given, and `max_tokens`
    positions, but at least one row. `batches_of_like_length` makes fewer batches. A `BertError` if
    a row is longer than the model takes, or a limit is not positive.
    """
    for name, value in (("batch_size", batch_size), ("max_tokens", max_tokens)):
        if value is not None and value < 1:
            raise BertError(f"{name} is {value}; it must be at least 1.")
    groups: dict[int, list[int]] = {length: [] for length in bucket_lengths(max_positions)}
    for index, length in enumerate(lengths):
        groups[bucket_length(length, max_positions)].append(index)
    batches = []
    for length, indices in reversed(groups.items()):
        rows = batch_size or (32 if max_tokens is None else len(lengths))
        rows = rows if max_tokens is None else min(rows, max(1, max_tokens // length))
        starts = range(0, len(indices), rows or 1)
        batches += [Batch(tuple(indices[start : start + rows]), length) for start in starts]
    return batches


def stream_batches(
    items: Iterable[T],
    length_of: Callable[[T], int],
    batch_size: int | None = None,
    *,
    max_tokens: int | None = None,
    max_positions: int = 512,
    look_ahead: int = 1024,
) -> Iterator[ItemBatch[T]]:
    """`batches_by_length` over a stream, of which `look_ahead` (at least 1) items are held."""
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
    """Results of batches, each with its `indices`, in the input's order, as early as possible."""
    waiting: dict[int, T] = {}
    due = 0
    for indices, values in results:
        waiting.update(zip(indices, values, strict=True))
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def stream_labelled(
    path: str | os.PathLike[str],
    layout: Layout | None = None,
    policy: Policy | None = None,
    *,
    rows: int = 8192,
    on_remark: Callable[[str], None] | None = None,
) -> Iterator[LabelledTexts]:
    """The rows of a file of any size, `rows` at a time and in order, to predict on.

    They have labels if a column was named for them, or has a usual name. All odd rows are kept if
    `policy` is left out; `on_remark` is given what was inferred, and the problems at the end. A
    `BertError` as from `read_labelled`.
    """
    layout, policy = layout or Layout(), policy or Policy("predict")
    inferred: list[str] = []
    opened = reading._open(path, layout, policy, inferred)
    tell = on_remark or str
    for text in inferred:
        tell(text)
    first = [reading._record(row.fields, opened.columns, ("", 0)) for row in opened.table.sample]
    task = give_task(reading._as_data(first, opened.columns), layout, []).task
    layout = replace(layout, task=task)
    tally = Tally(policy)
    records = reading._records(opened, tally)
    while chunk := list(islice(records, rows if rows > 0 else None)):
        data = give_task(reading._as_data(chunk, opened.columns), layout, [])
        yield clean(data, policy, tally)[0]
    for problem in tally.settle(opened.seen, opened.advice):
        tell(f"{os.fspath(path)}: {problem}")
