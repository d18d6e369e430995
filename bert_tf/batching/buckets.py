"""The few lengths that rows are padded to."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence

import numpy as np

from bert_tf.errors import BertError

BUCKETS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""The lengths that rows are padded to: two to each doubling, as XLA compiles the model again for
each. On SST-2, MRPC, SMS and SQuAD 18 to 23 % of the positions are then padding on top of the
tokens; with doublings alone it is 41 to 47 %."""

_MOST_BUCKETS = 6
_BUCKET_WORTH = 0.01  # fraction of all positions that one more length must spare


@functools.cache
def bucket_lengths(max_positions: int = 512) -> tuple[int, ...]:
    """The padded lengths for a model; the last is its own longest input, at least 1."""
    if max_positions < 1:
        raise BertError(f"max_positions is {max_positions}; it must be at least 1.")
    lengths = [length for length in BUCKETS if length < max_positions]
    # A model that takes more than 512 continues in the same steps: 768, 1024, 1536, ...
    step = BUCKETS[-1]
    while step < max_positions:
        lengths += [n for n in (step, step * 3 // 2) if lengths[-1] < n < max_positions]
        step *= 2
    return (*lengths, max_positions)


def bucket_length(length: int, max_positions: int = 512) -> int:
    """The shortest bucket that holds a row of so many tokens, [CLS] and [SEP] counted.

    Raises:
        BertError: the row is longer than `max_positions`, the model's `max_position_embeddings`.
    """
    if length > max_positions:
        raise BertError(
            f"a row has {length} tokens with [CLS] and [SEP], the model takes {max_positions}: "
            "shorten the text, split it, or ask for windows."
        )
    buckets = bucket_lengths(max_positions)
    return buckets[bisect.bisect_left(buckets, length)]


def check_buckets(buckets: Sequence[int], longest: int) -> tuple[int, ...]:
    """The lengths as a tuple; a BertError if they do not ascend or end below the longest row."""
    lengths = tuple(map(int, buckets))
    if not lengths or list(lengths) != sorted(set(lengths)) or lengths[-1] < longest:
        raise BertError(
            f"buckets are {list(buckets)}; they must be ascending, the last at least {longest}"
        )
    return lengths


def choose_buckets(
    lengths: np.ndarray, max_seq_length: int, most: int = _MOST_BUCKETS
) -> tuple[int, ...]:
    """The few lengths that rows are padded to, so that all rows together have least padding.

    Of the usual lengths (`bucket_lengths`) it takes those whose sum of positions over all rows is
    least (dynamic programming); one more must spare a hundredth of the positions, as XLA compiles
    the model again for each.

    Args:
        lengths: positions of each row, int (rows,).
        max_seq_length: most positions of a row.
        most: how many lengths there may be.

    Returns:
        Lengths, ascending; the last holds the longest row.

    Raises:
        BertError: there are no rows, or one is longer than `max_seq_length`.
    """
    if not len(lengths) or lengths.max() > max_seq_length or most < 1:
        raise BertError(
            f"{len(lengths)} rows of up to {max(lengths, default=0)} positions do not fit "
            f"max_seq_length {max_seq_length} in {most} buckets"
        )
    usual = bucket_lengths(max_seq_length)
    usual = usual[: int(np.searchsorted(usual, lengths.max())) + 1]
    # Rows up to each length; before the first there is none.
    up_to = np.searchsorted(np.sort(lengths), (0, *usual), side="right")
    price = _BUCKET_WORTH * float(lengths.sum())
    # best[j]: least cost of the rows up to usual[j - 1], if that is the last length taken.
    never: list[tuple[float, tuple[int, ...]]] = [(np.inf, ())]
    best = [(0.0, ()), *never * len(usual)]
    ends = []
    for _ in range(most):
        best = never + [
            min(
                (cost + price + float(up_to[j] - up_to[i]) * length, (*taken, length))
                for i, (cost, taken) in enumerate(best[:j])
            )
            for j, length in enumerate(usual, start=1)
        ]
        ends.append(best[-1])
    return min(ends)[1]
