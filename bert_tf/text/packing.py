"""From tokens to `token_input`, `seg_input`, `mask_input`: [CLS] a [SEP] b [SEP], cut, padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bert_tf.errors import BertError
from bert_tf.text.vocab import Vocabulary


class Packed(NamedTuple):
    """One row of input before padding.

    Attributes:
        token_ids: [CLS] a [SEP], or [CLS] a [SEP] b [SEP].
        segment_ids: 0 up to the first [SEP], then 1; as long as `token_ids`.
    """

    token_ids: list[int]
    segment_ids: list[int]


class Window(NamedTuple):
    """A part of a long text.

    Attributes:
        start: position of its first token in the whole text.
        ids: its tokens, without [CLS] and [SEP].
    """

    start: int
    ids: list[int]


def pack(
    ids_a: Sequence[int], ids_b: Sequence[int] | None = None, *, vocab: Vocabulary, max_length: int
) -> Packed:
    """Puts one or two texts into a row and cuts what is too long.

    A single text loses its end. Of a pair, tokens go from the end of whichever text is longer at
    that moment, from the second if both are equal (run_classifier.py, `_truncate_seq_pair`). An
    empty second text counts as none, as there.

    Args:
        ids_a: tokens of the first text.
        ids_b: tokens of the second text, if any.
        vocab: gives the ids of [CLS] and [SEP].
        max_length: most tokens of the row, [CLS] and [SEP] counted.

    Raises:
        BertError: `max_length` leaves no room for [CLS] and the [SEP]s.
    """
    special = 3 if ids_b else 2
    room = max_length - special
    if room < 0:
        raise BertError(f"max_length {max_length} is too small: [CLS] and [SEP] take {special}.")
    a, b = list(ids_a), list(ids_b or ())
    if len(a) + len(b) > room:
        # What fits into its half stays whole; an odd token is the first's, as ties cut the second.
        a = a[: max(room - room // 2, room - len(b))]
        b = b[: room - len(a)]
    tokens = [vocab.cls_id, *a, vocab.sep_id]
    segments = [0] * len(tokens)
    if special == 3:
        tokens += [*b, vocab.sep_id]
        segments += [1] * (len(b) + 1)
    return Packed(tokens, segments)


def pad_batch(
    rows: Sequence[Packed], length: int | None = None, *, batch_size: int | None = None
) -> dict[str, np.ndarray]:
    """Stacks rows into the model's inputs, padded with 0 on the right.

    Args:
        rows: what `pack` gave.
        length: width of the result; by default the longest row's.
        batch_size: height of the result, filled up with rows of padding, so that a smaller last
            batch has a shape that is compiled already; by default `len(rows)`.

    Returns:
        `token_input` and `seg_input`, int32, shape (batch_size, length).

    Raises:
        BertError: a row is longer than `length`, or there are more rows than `batch_size`.
    """
    longest = max((len(row.token_ids) for row in rows), default=0)
    length = longest if length is None else length
    batch_size = len(rows) if batch_size is None else batch_size
    if longest > length:
        raise BertError(f"a row of {longest} tokens does not fit the length {length}.")
    if len(rows) > batch_size:
        raise BertError(f"{len(rows)} rows do not fit a batch of {batch_size}.")
    tokens, segments = np.zeros((2, batch_size, length), np.int32)
    for index, row in enumerate(rows):
        tokens[index, : len(row.token_ids)] = row.token_ids
        segments[index, : len(row.segment_ids)] = row.segment_ids
    return {"token_input": tokens, "seg_input": segments}


def mask_input(token_input: np.ndarray, mask_id: int) -> np.ndarray:
    """Marks each [MASK] (`vocab.mask_id`) as asked for: int32 (batch, length), 1 there, else 0.

    It is not the attention mask, which Google's code calls `input_mask`: the model derives that one
    by itself (`token_input != 0`).
    """
    return (np.asarray(token_input) == mask_id).astype(np.int32)


def check_mask_input(token_input: np.ndarray, mask_input: np.ndarray) -> None:
    """Refuses a `mask_input` that cannot be meant, above all an attention mask.

    A row that equals `token_input != 0` would ask for [CLS] and [SEP] too, which no one does; it is
    Google's `input_mask` under the wrong name. Two kinds of such rows are let through: one of
    padding only, and one of a single token, where [MASK] can be alone. To score every token, name
    their positions: `build_mlm_model` with `max_predictions=None` takes `position_input`.

    Raises:
        BertError: the shapes, (batch, length), differ, a value is neither 0 nor 1, or a row is an
            attention mask.
    """
    tokens, mask = np.asarray(token_input), np.asarray(mask_input)
    if tokens.shape != mask.shape:
        raise BertError(f"mask_input has shape {mask.shape}, but token_input {tokens.shape}.")
    if not np.isin(mask, (0, 1)).all():
        raise BertError("mask_input must hold 0 and 1 only: 1 at each position asked for.")
    present = np.atleast_2d(tokens != 0)
    same = (present == (np.atleast_2d(mask) != 0)).all(axis=-1) & (present.sum(axis=-1) > 1)
    if len(rows := np.flatnonzero(same)):
        raise BertError(
            f"mask_input marks every token of row {rows[0]} ({len(rows)} such row(s)): this looks "
            "like Google's input_mask, an attention mask. mask_input is 1 only at the positions "
            "whose word is asked for ([MASK]); padding needs no mask, the model finds it itself. "
            'To score every token, bert.predictor("mlm", max_predictions=None) takes positions: '
            "position_input, (batch, n), in place of mask_input."
        )


def windows(ids: Sequence[int], max_length: int, stride: int, *, reserved: int = 2) -> list[Window]:
    """Cuts a long text into overlapping windows, as run_squad.py does with `--doc_stride`.

    Args:
        ids: tokens of the whole text.
        max_length: most tokens of a packed row.
        stride: tokens from the start of one window to the start of the next; where it is larger
            than a window, windows follow without a gap.
        reserved: positions of the row that are not for the window: 2 for [CLS] and [SEP]; after a
            question, its length and 3.

    Returns:
        Windows that cover every position, each as long as fits. An empty text has one, empty.

    Raises:
        BertError: `stride` is not positive, or nothing is left of `max_length`.
    """
    room = max_length - reserved
    if room < 1:
        raise BertError(
            f"max_length {max_length} leaves no room for the text: {reserved} are taken."
        )
    if stride < 1:
        raise BertError(f"stride is {stride}; it must be at least 1.")
    ids, step = list(ids), min(room, stride)
    count = 1 + max(0, -(-(len(ids) - room) // step))
    return [Window(at, ids[at : at + room]) for at in range(0, count * step, step)]


def best_windows(found: Sequence[Window]) -> np.ndarray:
    """For each position of the text, the window in which it has the most context.

    Context is the smaller of what is left and right of it in the window; a hundredth of the
    window's length decides between equal ones, then the earlier window (run_squad.py,
    `_check_is_max_context`).

    Returns:
        Indices into `found`, what `windows` gave: int32, shape (tokens of the whole text,).
    """
    size = max((window.start + len(window.ids) for window in found), default=0)
    best = np.zeros(size, np.int32)
    score = np.full(size, -1.0)
    for index, window in enumerate(found):
        length = len(window.ids)
        left = np.arange(length)
        # Counted in hundredths, so that equal scores are equal without rounding.
        context = 100 * np.minimum(left, left[::-1]) + length
        here = slice(window.start, window.start + length)
        better = context > score[here]
        best[here][better] = index
        score[here][better] = context[better]
    return best
