"""`Ragged`: rows of numbers of differing length, stored one after another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of differing length, padded only when a batch is made of some of them.

    Attributes:
        values: of all rows, (values, ...).
        starts: where each row starts in `values`, and the end; int64, (rows + 1,).
        pad: what fills shorter rows up.

    Example:
        >>> rows = Ragged.of([[5, 6], [], [7]], pad=-1)
        >>> len(rows), rows.lengths.tolist()
        (3, [2, 0, 1])
        >>> rows.padded([2, 0], 3).tolist()
        [[7, -1, -1], [5, 6, -1]]
    """

    values: np.ndarray
    starts: np.ndarray
    pad: Any = 0

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]], dtype: Any = np.int32, pad: Any = 0) -> Ragged:
        """Rows that are given as lists."""
        starts = ends_of([len(row) for row in rows])
        values = np.fromiter(itertools.chain.from_iterable(rows), dtype, int(starts[-1]))
        return cls(values, starts, pad)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The values of one row."""
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Values of each row, int64 (rows,)."""
        return np.diff(self.starts)

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """As an array's, with None for what differs between rows: (rows, None, ...)."""
        return (len(self), None, *self.values.shape[1:])

    def tobytes(self) -> bytes:
        """All that distinguishes these rows from others of the same type."""
        return self.starts.astype("<i8").tobytes() + self.values.tobytes()

    def padded(
        self, rows: np.ndarray | Sequence[int], length: int, height: int | None = None
    ) -> np.ndarray:
        """Some rows as one array (height, length, ...), `pad` where a row has ended.

        `rows` are their numbers, none longer than `length`. The rest of `height`, by default
        `len(rows)`, is rows of padding only.
        """
        shape = (len(rows) if height is None else height, length, *self.values.shape[1:])
        array = np.full(shape, self.pad, self.dtype)
        for into, values in zip(array, map(self.__getitem__, rows)):
            into[: len(values)] = values
        return array


def ends_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where rows of these lengths start, and the end: int64, (rows + 1,).

    >>> ends_of([2, 0, 1]).tolist()
    [0, 2, 2, 3]
    """
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
