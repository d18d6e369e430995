"""Rows that a model takes: tokenized texts, or vectors of texts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from bert_tf.batching.ragged import Ragged
from bert_tf.text.packing import Window, best_windows

Inputs = dict[str, np.ndarray]
"""Of a model, by name; a row each along the first axis."""


class Rows(Protocol):
    """What streams and the predict loop need to know of rows."""

    def __len__(self) -> int:
        """Number of rows."""

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each row, int (rows,)."""

    @property
    def max_seq_length(self) -> int:
        """No row is longer."""

    @property
    def key(self) -> str:
        """Of what the rows come from; empty where nobody needs it."""

    def inputs(self, rows: np.ndarray, length: int, height: int | None = None) -> Inputs:
        """Inputs of a model by name, each (height, ...): some rows, then rows of padding.

        `rows` are their numbers, none longer than `length`; `height` is by default `len(rows)`.
        """


@dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """Rows as the model takes them, [CLS] a [SEP] or [CLS] a [SEP] b [SEP], one after another.

    A text that is read in windows has several rows, which follow one another.

    Attributes:
        pieces: token ids of all rows, uint16 or int32, shape (tokens,).
        starts: where each row starts in `pieces`, and the end; int64, (rows + 1,).
        firsts: positions of each row up to and with the first [SEP]; int32, (rows,).
        full_lengths: of each row before it was cut to `max_seq_length`; int32, (rows,). Windows
            are not cut.
        max_seq_length: most positions of a row.
        key: a hash of texts, vocabulary, casing and whatever else the rows come from.
        offsets: first character of each token in its own text and the one after the last, int32,
            (tokens, 2); 0 and 0 for [CLS] and [SEP]. None where nobody asked for them.
        texts: number of the text or pair of each row, int32, (rows,); None if each has one row.
        window_starts: index of each row's first token among those of the text that is read in
            windows, int32, (rows,); None without windows.
    """

    pieces: np.ndarray
    starts: np.ndarray
    firsts: np.ndarray
    full_lengths: np.ndarray
    max_seq_length: int
    key: str
    offsets: np.ndarray | None = None
    texts: np.ndarray | None = None
    window_starts: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.firsts)

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each row, int64 (rows,)."""
        return np.diff(self.starts)

    @property
    def text_numbers(self) -> np.ndarray:
        """The number of the text that each row is of, int (rows,).

        `labels[rows.text_numbers]` gives each window the label of its text.
        """
        return np.arange(len(self)) if self.texts is None else self.texts

    def pad(
        self, rows: np.ndarray, length: int, height: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`token_input` and `seg_input` of some rows, both int32 (height, length), padded with 0.

        Args as in `Rows.inputs`.
        """
        tokens = Ragged(self.pieces, self.starts).padded(rows, length, height).astype(np.int32)
        segments = np.zeros_like(tokens)
        for number, row in enumerate(rows):
            segments[number, self.firsts[row] : self.starts[row + 1] - self.starts[row]] = 1
        return tokens, segments

    def inputs(self, rows: np.ndarray, length: int, height: int | None = None) -> Inputs:
        """`token_input` and `seg_input` by name; see `pad`."""
        return dict(zip(("token_input", "seg_input"), self.pad(rows, length, height)))

    def tokens_of(self, row: int, second: bool = False) -> slice:
        """Where a row's tokens of its first or second text lie in `pieces` and `offsets`.

        >>> ids = np.array([2, 7, 8, 3, 9, 3])  # [CLS] 7 8 [SEP] 9 [SEP]
        >>> rows = TokenizedTexts(ids, np.array([0, 6]), np.array([4]), np.array([6]), 8, "")
        >>> rows.tokens_of(0), rows.tokens_of(0, second=True)
        (slice(1, 3, None), slice(4, 5, None))
        """
        start, end = self.starts[row : row + 2].tolist()
        middle = start + int(self.firsts[row])
        return slice(middle, max(middle, end - 1)) if second else slice(start + 1, middle - 1)

    def in_best_window(self, second: bool = False) -> np.ndarray:
        """Where each token of a text that is read in windows has the most context.

        With `second` that is the second text of each pair. Gives bool, (tokens,): True once for
        each token of each such text.
        """
        found = np.zeros(len(self.pieces), bool)
        for _, group in groupby(range(len(self)), self.text_numbers.__getitem__):
            rows = list(group)
            slices = [self.tokens_of(row, second) for row in rows]
            windows = [
                Window(self.window_start(row), [0] * (at.stop - at.start))
                for row, at in zip(rows, slices)
            ]
            best = best_windows(windows)
            for number, (at, window) in enumerate(zip(slices, windows)):
                found[at] = best[window.start : window.start + len(window.ids)] == number
        return found

    def window_start(self, row: int) -> int:
        """Index of a row's first token among those of its text."""
        return 0 if self.window_starts is None else int(self.window_starts[row])


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows that are vectors of texts, all of one length.

    Attributes:
        features: float32, (rows, width).
        key: of what they come from.
    """

    features: np.ndarray
    key: str = ""
    max_seq_length = 1

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.features)

    @property
    def lengths(self) -> np.ndarray:
        """1 for each row."""
        return np.ones(len(self), np.int64)

    def inputs(self, rows: np.ndarray, length: int = 1, height: int | None = None) -> Inputs:
        """`feature_input`, float32 (height, width), of some rows."""
        found = np.zeros((len(rows) if height is None else height, self.features.shape[1]), "f4")
        found[: len(rows)] = self.features[rows]
        return {"feature_input": found}
