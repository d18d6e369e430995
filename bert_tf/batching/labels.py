"""Labels of any shape: one a row, several a row, a number, one a token, a span of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_tf.batching.ragged import Ragged
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.errors import BertError

IGNORED = -100
"""The label of a token without one: its weight is 0."""

Labels = np.ndarray | Ragged
"""An array whose first dimension is that of the rows, for labels of a row: its class, int (rows,);
several classes, float (rows, classes); a number, float (rows,); a span, int (rows, 2). Or `Ragged`
rows, one label for each position of a row, in which `pad` stands where there is no label."""

Mark = tuple[int, int, Any]
"""First character, the one after the last, and the label of that stretch of a text."""


def label_batch(
    labels: Labels | None, rows: np.ndarray, length: int, height: int
) -> dict[str, np.ndarray]:
    """Labels and weights of some rows.

    `labels` are of all rows, `rows` the numbers of some; without labels there are only weights.
    Labels of tokens are padded to `length`, and the batch to `height` with rows of padding.

    Returns:
        `weights`, float32: 1 for each label that counts, else 0; (height,), or (height, length)
        for labels of tokens. `labels`, (height, ...): where the weight is 0, those of tokens are
        `pad`, others 0.

    Example:
        >>> tokens = Ragged.of([[-100, 3, -100], [-100, 4, 5, -100]], pad=-100)
        >>> batch = label_batch(tokens, np.array([1]), length=5, height=1)
        >>> batch["labels"].tolist(), batch["weights"].tolist()
        ([[-100, 4, 5, -100, -100]], [[0.0, 1.0, 1.0, 0.0, 0.0]])
    """
    if isinstance(labels, Ragged):
        padded = labels.padded(rows, length, height)
        return {"weights": (padded != labels.pad).astype(np.float32), "labels": padded}
    weights = np.zeros(height, np.float32)
    weights[: len(rows)] = 1
    batch = {"weights": weights}
    if labels is not None:
        batch["labels"] = np.zeros((height, *labels.shape[1:]), labels.dtype)
        batch["labels"][: len(rows)] = labels[rows]
    return batch


def token_labels(
    rows: TokenizedTexts,
    marks: Sequence[Sequence[Mark]],
    *,
    second: bool = False,
    first_only: bool = True,
    outside: int = IGNORED,
) -> Ragged:
    """A label for each token, from labels of stretches of characters.

    Args:
        rows: tokenized with offsets; windows are welcome.
        marks: for each text the stretches that have a label, in ascending order without overlap:
            words with their tags, or entities.
        second: whether they are of the second text of each pair.
        first_only: label only the first token of each stretch, as BERT does for words with tags.
        outside: the label of tokens in no stretch.

    Returns:
        int32, as many labels for each row as it has positions. `IGNORED` for [CLS], [SEP], the
        other text, and with `first_only` for all but the first token of a stretch.

    Raises:
        BertError: the rows have no offsets, or `marks` are of another number of texts.

    Example:
        With the tokens [CLS] un ##aff ##able dog [SEP], in which "unaffable" has the label 1 and
        "dog" 2:

        >>> offsets = np.array([[0, 0], [0, 2], [2, 5], [5, 9], [10, 13], [0, 0]], np.int32)
        >>> rows = TokenizedTexts(
        ...     np.arange(6), np.array([0, 6]), np.array([6]), np.array([6]), 8, "", offsets
        ... )
        >>> marks = [[(0, 9, 1), (10, 13, 2)]]
        >>> token_labels(rows, marks)[0].tolist()
        [-100, 1, -100, -100, 2, -100]
        >>> token_labels(rows, marks, first_only=False)[0].tolist()
        [-100, 1, 1, 1, 2, -100]
    """
    offsets = _offsets(rows, marks)
    found = np.full(len(rows.pieces), IGNORED, np.int32)
    for row, text in enumerate(rows.text_numbers):
        at = rows.tokens_of(row, second)
        starts, ends = offsets[at].T
        found[at] = outside
        if not marks[text] or not len(starts):
            continue
        begins, stops, labels = map(np.array, zip(*marks[text]))
        # Of the last stretch that begins before the token ends.
        mark = np.searchsorted(begins, ends, side="left") - 1
        inside = (mark >= 0) & (starts < stops[mark])
        found[at] = np.where(inside, labels[mark], outside)
        if first_only:
            again = np.concatenate([[False], mark[1:] == mark[:-1]])
            # A window can begin in the middle of a stretch.
            again[0] = rows.window_start(row) > 0 and starts[0] > begins[mark[0]]
            found[at][again & inside] = IGNORED
    return Ragged(found, rows.starts, IGNORED)


def span_labels(
    rows: TokenizedTexts, spans: Sequence[tuple[int, int]] | np.ndarray, *, second: bool = False
) -> np.ndarray:
    """The first and last token of a stretch of each text, as positions in its rows.

    Args:
        rows: tokenized with offsets; windows are welcome.
        spans: for each text the first character and the one after the last; an empty stretch,
            such as (0, 0), where there is none.
        second: whether they are of the second text of each pair, such as a question's passage.

    Returns:
        int32, (rows, 2): positions of the first and of the last token in the row; 0 and 0, which
        is [CLS], in rows that do not hold the whole stretch.

    Raises:
        BertError: the rows have no offsets, or `spans` are of another number of texts.

    Example:
        "a b c d" in windows of three tokens, two on from one another, [CLS] a b c [SEP] and
        [CLS] c d [SEP]; "c d" starts at character 4 and is at positions 1 and 2 of the second:

        >>> offsets = np.array([[0, 0], [0, 1], [2, 3], [4, 5], [0, 0], [0, 0], [4, 5], [6, 7],
        ...                     [0, 0]], np.int32)
        >>> rows = TokenizedTexts(
        ...     np.arange(9), np.array([0, 5, 9]), np.array([5, 4]), np.array([5, 4]), 5, "",
        ...     offsets, texts=np.array([0, 0]), window_starts=np.array([0, 2])
        ... )
        >>> span_labels(rows, [(4, 7)]).tolist()
        [[0, 0], [1, 2]]
    """
    offsets = _offsets(rows, spans)
    labels = np.zeros((len(rows), 2), np.int32)
    for row, text in enumerate(texts := rows.text_numbers):
        at = rows.tokens_of(row, second)
        starts, ends = offsets[at].T
        begin, stop = spans[text]
        touched = np.flatnonzero((starts < stop) & (ends > begin))
        if stop <= begin or not len(touched):
            continue
        continues = row + 1 < len(rows) and texts[row + 1] == text
        is_cut = continues or rows.full_lengths[row] > rows.lengths[row]
        missing = begin < starts[0] and rows.window_start(row) > 0
        if not missing and not (is_cut and stop > ends[-1]):
            labels[row] = touched[[0, -1]] + (at.start - rows.starts[row])
    return labels


def _offsets(rows: TokenizedTexts, given: Sequence[Any] | np.ndarray) -> np.ndarray:
    if rows.offsets is None:
        raise BertError("the rows have no offsets; tokenize the texts with offsets=True.")
    count = int(rows.text_numbers[-1]) + 1 if len(rows) else 0
    if len(given) != count:
        raise BertError(f"there are {count:,} texts, but labels of {len(given):,}.")
    return rows.offsets
