"""Runs a task over any number of inputs, in order and in memory that does not grow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from bert_tf.errors import BertError

T = TypeVar("T")
U = TypeVar("U")

CHUNK_BATCHES = 16
"""How many batches are looked ahead, so that rows of like length can be run together."""


def stream_in_chunks(
    items: Iterable[T],
    prepare: Callable[[T], U],
    run: Callable[[list[U]], list[Any]],
    batch_size: int,
    errors: str = "raise",
) -> Iterator[Any]:
    """Yields the result of each item, in the order of the items.

    Args:
        items: what comes in.
        prepare: turns one item into what `run` takes; may raise `BertError`.
        run: turns a list of prepared items into as many results.
        batch_size: rows of a batch; so many times `CHUNK_BATCHES` items are held at once.
        errors: `"raise"`, or `"yield"` to give a `BertError` as the result of its item.

    Raises:
        BertError: `errors` is neither, or an item cannot be prepared and `errors` is `"raise"`.
    """
    if errors not in ("raise", "yield"):
        raise BertError(f"errors={errors!r} is not one of 'raise', 'yield'.")
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, batch_size * CHUNK_BATCHES)):
        prepared: list[U | BertError] = []
        for item in chunk:
            try:
                prepared.append(prepare(item))
            except BertError as error:
                if errors == "raise":
                    raise
                prepared.append(error)
        results = iter(run([one for one in prepared if not isinstance(one, BertError)]))
        for one in prepared:
            yield one if isinstance(one, BertError) else next(results)
