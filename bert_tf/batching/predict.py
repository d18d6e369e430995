"""The predict loop: rows through a compiled model in batches of like length, results in order."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bert_tf.options import ROWS
from bert_tf.text.packing import Packed, pad_batch

if TYPE_CHECKING:
    from bert_tf.batching.rows import Inputs, Rows

Run = Callable[[dict[str, np.ndarray]], Any]
"""A compiled model, such as a `bert_tf.runtime.Predictor`: numpy arrays by name in; one array, or
a list or dict of arrays out. Its attribute `fixed_shapes` (False if missing) says that every new
shape is compiled again, so that few should occur."""

Extra = np.ndarray | Sequence[Sequence[int]]
"""A further input: an array (rows, n), or for each row integers, padded with 0."""


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Rows that are packed already, such as those that a task asks.

    Attributes:
        packed: what `bert_tf.text.pack` gave.
        max_seq_length: no row is longer.
    """

    packed: Sequence[Packed]
    max_seq_length: int
    key = ""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.packed)

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each row, int64 (rows,)."""
        return np.array([len(row.token_ids) for row in self.packed])

    def inputs(self, rows: np.ndarray, length: int, height: int | None = None) -> Inputs:
        """`token_input` and `seg_input`; see `bert_tf.text.pad_batch`."""
        return pad_batch([self.packed[row] for row in rows], length, batch_size=height)


class Batch(NamedTuple):
    """Rows that run through the model together.

    Attributes:
        indices: their positions in the input order.
        length: the length to pad them to.
    """

    indices: tuple[int, ...]
    length: int


def batches_of_like_length(
    lengths: Sequence[int] | np.ndarray, batch_size: int = 32, buckets: Sequence[int] | None = None
) -> list[Batch]:
    """Groups rows of nearly the same length, so that little is padded.

    Args:
        lengths: tokens of each row, [CLS] and [SEP] counted.
        batch_size: most rows in a batch; all batches but the last have as many.
        buckets: lengths to pad to, ascending, where few shapes are wanted; else each batch is as
            long as its longest row, for backends that compile once for all shapes.

    Returns:
        Batches in which each index occurs once, the longest first, so that lack of memory shows
        at once. `results[i]` is of row `indices[i]`.

    Raises:
        BertError: `batch_size` is not positive, or a row is longer than all buckets.

    Example:
        >>> for batch in batches_of_like_length([5, 40, 16, 17, 3], 2):
        ...     print(batch)
        Batch(indices=(1, 3), length=40)
        Batch(indices=(2, 0), length=16)
        Batch(indices=(4,), length=3)
        >>> [batch.length for batch in batches_of_like_length([5, 40, 16, 17, 3], 2, (16, 48))]
        [48, 16, 16]
    """
    ROWS.check("batch_size", batch_size)
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable").tolist()
    longest = [int(lengths[index]) for index in order[::batch_size]]
    if buckets is not None and longest:
        from bert_tf.batching.buckets import check_buckets

        check_buckets(buckets, longest[0])
        longest = [buckets[bisect.bisect_left(buckets, length)] for length in longest]
    return [
        Batch(tuple(order[number * batch_size : (number + 1) * batch_size]), length)
        for number, length in enumerate(longest)
    ]


def predict(
    run: Run,
    rows: Rows,
    *,
    batch_size: int,
    extra: Mapping[str, Extra] | None = None,
    buckets: Sequence[int] | None = None,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Runs all rows, those of like length together, the longest first.

    Args:
        run: what predicts.
        rows: what to predict.
        batch_size: most rows in a batch.
        extra: further inputs by name, such as the positions asked for.
        buckets: lengths to pad to, where shapes shall be few: all batches then have `batch_size`
            rows. By default the usual lengths on backends that compile each shape, elsewhere the
            longest row of the batch.

    Yields:
        (numbers of the rows, int64; the outputs for them in that order, as `run` gives them:
        arrays (rows, ...)). `found[numbers] = outputs` puts them in the rows' order.

    Raises:
        BertError: as `run` does.

    Example:
        >>> from bert_tf.batching.rows import Vectors
        >>> rows = Vectors(np.array([[1.0], [2.0], [3.0]]))
        >>> for numbers, outputs in predict(lambda i: i["feature_input"] * 10, rows, batch_size=2):
        ...     print(numbers.tolist(), outputs.tolist())
        [0, 1] [[10.0], [20.0]]
        [2] [[30.0]]
    """
    fixed = bool(getattr(run, "fixed_shapes", False))
    height = None if buckets is None else batch_size
    if buckets is None and fixed:
        from bert_tf.batching.buckets import bucket_lengths

        buckets = bucket_lengths(rows.max_seq_length)
    for indices, length in batches_of_like_length(rows.lengths, batch_size, buckets):
        numbers = np.array(indices)
        inputs = rows.inputs(numbers, length, height)
        for name, values in (extra or {}).items():
            inputs[name] = _extra(values, indices, height or len(indices), fixed)
        real = slice(len(numbers))
        yield numbers, _each(lambda found, real=real: np.asarray(found)[real], run(inputs))


def predict_all(
    run: Run, rows: Rows, *, sizes: Sequence[int] | np.ndarray | None = None, **options: Any
) -> Any:
    """The outputs for all rows, in their order.

    Args:
        run: see `predict`.
        rows: see `predict`.
        sizes: for outputs that differ in length: how many of a row's, from the first, belong to
            it, such as its length where there is one for each position.
        options: of `predict`.

    Returns:
        Arrays (rows, ...), in the structure that `run` gives; with `sizes`, for each array a list
        of one for each row, (size, ...). An empty list if there are no rows.

    Raises:
        BertError: as `run` does.

    Example:
        >>> from bert_tf.text import Packed
        >>> rows = PackedRows([Packed([2, 9, 3], [0] * 3), Packed([2, 7, 8, 3], [0] * 4)], 8)
        >>> run = lambda inputs: {"sum": inputs["token_input"].sum(1), "ids": inputs["token_input"]}
        >>> predict_all(run, rows, batch_size=2)["sum"].tolist()
        [14, 20]
        >>> [ids.tolist() for ids in predict_all(
        ...     lambda inputs: inputs["token_input"], rows, batch_size=2, sizes=rows.lengths)]
        [[2, 9, 3], [2, 7, 8, 3]]
    """
    count, found = len(rows), None

    def room(outputs: np.ndarray) -> Any:
        shape = (count, *outputs.shape[1:])
        return np.empty(shape, outputs.dtype) if sizes is None else [None] * count

    def put(numbers: np.ndarray, outputs: np.ndarray, into: Any) -> None:
        if sizes is None:
            into[numbers] = outputs
        else:
            for output, number in zip(outputs, numbers.tolist()):
                into[number] = output[: sizes[number]].copy()

    for numbers, outputs in predict(run, rows, **options):
        found = _each(room, outputs) if found is None else found
        _each(functools.partial(put, numbers), outputs, found)
    return [] if found is None else found


def _each(function: Callable[..., Any], outputs: Any, *others: Any) -> Any:
    """`map` over one array, or the arrays in a list or dict."""
    if isinstance(outputs, dict):
        return {name: function(outputs[name], *(x[name] for x in others)) for name in outputs}
    if isinstance(outputs, list | tuple):
        return [function(*each) for each in zip(outputs, *others)]
    return function(outputs, *others)


def _extra(values: Extra, indices: Sequence[int], height: int, fixed: bool) -> np.ndarray:
    width = max(len(values[index]) for index in indices)
    if fixed and not isinstance(values, np.ndarray):
        width = 1 << (width - 1).bit_length()
    array = np.zeros((height, width), np.int32)
    for row, index in enumerate(indices):
        array[row, : len(values[index])] = values[index]
    return array
