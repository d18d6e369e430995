"""Runs a task over any number of inputs, in order and in memory that does not grow."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from bert_tf.errors import BertError

T = TypeVar("T")
U = TypeVar("U")

CHUNK_BATCHES = 16
"""Batches that are looked ahead, so that rows of like length can be run together."""


def stream_in_chunks(
    items: Iterable[T | BertError],
    prepare: Callable[[T], U],
    run: Callable[[list[U]], list[Any]],
    batch_size: int,
    errors: str = "raise",
) -> Iterator[Any]:
    """Yields the result of each item, in the order of the items.

    While the model runs one chunk, another thread takes and tokenizes the next.

    Args:
        items: a `BertError` stands for one that could not be read.
        prepare: turns an item into what `run` takes; may raise `BertError`.
        run: turns a list of prepared items into as many results.
        batch_size: rows of a batch; `CHUNK_BATCHES` of them make a chunk, and two are held.
        errors: `"raise"`, or `"yield"` to give a `BertError` as the result of its item.

    Raises:
        BertError: `errors` is neither, or an item cannot be prepared and `errors` is `"raise"`.
    """
    if errors not in ("raise", "yield"):
        raise BertError(f"errors={errors!r} is not one of 'raise', 'yield'.")
    iterator = iter(items)

    def take() -> list[U | BertError]:
        prepared: list[U | BertError] = []
        for item in itertools.islice(iterator, batch_size * CHUNK_BATCHES):
            try:
                prepared.append(item if isinstance(item, BertError) else prepare(item))
            except BertError as error:
                prepared.append(error)
        return prepared

    with concurrent.futures.ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(take)
        while chunk := coming.result():
            coming = ahead.submit(take)
            if errors == "raise":  # what is before the first bad item is still answered
                bad = next((i for i, one in enumerate(chunk) if isinstance(one, BertError)), None)
                chunk = chunk if bad is None else chunk[: bad + 1]
            results = iter(run([one for one in chunk if not isinstance(one, BertError)]))
            for one in chunk:
                if isinstance(one, BertError) and errors == "raise":
                    raise one
                yield one if isinstance(one, BertError) else next(results)
