"""Rows of numbers shuffled on disk, so that memory does not grow with how many there are."""

from __future__ import annotations

import os
import pathlib

import numpy as np

_BUCKET_BYTES = 8 << 20
_MOST_BUCKETS = 8192


class DiskShuffle:
    """A shuffle of any number of rows by several processes: it sorts by random keys.

    Whoever adds a row draws a key for it. The key says which bucket, a file, the row goes to; a
    bucket is sorted in memory when it is read. So the order of all rows follows from the keys
    alone, whichever process added which row when.

    Args:
        folder: of the buckets; it must exist.
        width: numbers in a row.
        dtype: of the numbers.
        expected_rows: about how many there will be, which decides on the number of buckets.

    Attributes:
        num_buckets: each is of some 8 MB.
    """

    def __init__(
        self, folder: str | os.PathLike[str], width: int, dtype: np.dtype | type, expected_rows: int
    ) -> None:
        self._folder = pathlib.Path(folder)
        # `order` decides between equal keys, so that the result stays the same even then.
        self._row = np.dtype([("key", "<u8"), ("order", "<u8"), ("values", dtype, (width,))])
        buckets = -(-expected_rows * self._row.itemsize // _BUCKET_BYTES)
        self.num_buckets = min(max(1, buckets), _MOST_BUCKETS)

    def add(self, rows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Appends rows, (n, width), to their buckets.

        Args:
            rows: of the type given.
            number: of these rows; no two calls may have the same.
            rng: draws the keys.

        Returns:
            Rows that went to each bucket, int64 (num_buckets,).
        """
        table = np.empty(len(rows), self._row)
        table["key"] = rng.integers(0, 1 << 64, len(rows), np.uint64)
        table["order"] = np.arange(len(rows)) + (number << 32)
        table["values"] = rows
        # The upper 32 bits of the key, as a fraction of the buckets; no product exceeds 64 bits.
        buckets = (table["key"] >> np.uint64(32)) * np.uint64(self.num_buckets) >> np.uint64(32)
        counts = np.bincount(buckets.astype(np.int64), minlength=self.num_buckets)
        table = table[np.argsort(buckets, kind="stable")]
        # A folder for each process, so that no two append to one file.
        own = self._folder / str(os.getpid())
        own.mkdir(exist_ok=True)
        start = 0
        for bucket in np.flatnonzero(counts):
            end = start + counts[bucket]
            with open(own / str(bucket), "ab") as file:
                file.write(table[start:end].view(np.uint8).data)
            start = end
        return counts

    def take(self, bucket: int) -> np.ndarray:
        """The rows of a bucket in their final order, (n, width); its files are removed."""
        tables = [np.empty(0, self._row)]
        for path in filter(pathlib.Path.is_file, self._folder.glob(f"*/{bucket}")):
            tables.append(np.fromfile(path, self._row))
            path.unlink()
        table = np.concatenate(tables)
        return table["values"][np.lexsort((table["order"], table["key"]))]
