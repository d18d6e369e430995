"""The predict loop: rows through a compiled model in batches of like length, results in order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.batching.buckets import batches_of_like_length, bucket_lengths
from bert_tf.batching.rows import Rows

Run = Callable[[dict[str, np.ndarray]], Any]
"""A compiled model, such as a `bert_tf.runtime.Predictor`: numpy arrays by name in; one array, or
a list or dict of arrays out. Its attribute `fixed_shapes` (False if missing) says that every new
shape is compiled again, so that few should occur."""

Extra = np.ndarray | Sequence[Sequence[int]]
"""A further input: an array (rows, n), or for each row integers, padded with 0."""


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
        >>> from bert_tf.batching.rows import PackedRows
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
