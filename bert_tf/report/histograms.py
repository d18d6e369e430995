"""A picture of how long texts are, and how many of them are cut."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.report.figures import BLUE, GREY, VERMILION, new_figure, plain_axes, save_figure

_MOST_BARS = 80
_TAIL = 0.995  # of the texts each have their own length's bar; the rest are in the last bar


def draw_lengths(
    counts: np.ndarray, max_seq_length: int, path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Writes a PNG (1200 x 675) of a histogram of lengths, with a line where texts are cut.

    Bars are of equally many lengths, those of texts that are cut in another colour and hatched.
    If a few texts are far longer than all others, the last bar holds them all.

    Args:
        counts: texts of each length from 0, in tokens with [CLS] and [SEP]; int (longest + 1,).
        max_seq_length: where they are cut.
        path: of the PNG.
        title: above the picture; by default how many texts there are.

    Raises:
        BertError: there are no texts, matplotlib is missing, or the file cannot be written.
    """
    counts = np.asarray(counts)
    total = int(counts.sum())
    if not total:
        raise BertError("there are no texts whose lengths could be drawn")
    longest = int(np.flatnonzero(counts)[-1])
    usual = max(int(np.searchsorted(np.cumsum(counts), _TAIL * total)), max_seq_length)
    end = int(1.05 * usual) + 1 if longest > 1.5 * usual else longest
    step = -(-(end + 1) // _MOST_BARS)
    # A bar ends exactly where texts are cut, so that none is of both kinds.
    first = (max_seq_length + 1) % step
    starts = np.arange(first - step if first else 0, end + 1, step)
    inner = np.maximum(starts, 0)
    heights = np.add.reduceat(counts, inner[inner <= longest])
    heights = np.pad(heights, (0, len(starts) - len(heights)))
    cut = starts > max_seq_length
    cut_share = float(counts[max_seq_length + 1 :].sum() / total)

    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    plain_axes(axes, "y")
    handles = []
    bar_style: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0}
    for shown, fraction, what, color, hatch in (
        (~cut, 1 - cut_share, "whole", BLUE, ""),
        (cut, cut_share, "cut", VERMILION, "////"),
    ):
        if fraction > 0:
            percent = f"{min(100 * fraction, 99.9) if fraction < 1 else 100:.1f} %"
            label = f"{what}: {percent if fraction >= 0.001 else 'less than 0.1 %'}"
            style = {"color": color, "hatch": hatch, "label": label, **bar_style}
            handles.append(axes.bar(starts[shown] - 0.5, heights[shown], 0.92 * step, **style))
    axes.axvline(max_seq_length + 0.5, color=GREY, linestyle="--", linewidth=1.2)
    right = max(int(starts[-1]) + step, max_seq_length + 2) - 0.5
    near = max_seq_length > 0.6 * right
    axes.annotate(
        f"max_seq_length {max_seq_length}",
        (max_seq_length + 0.5, 1.0),
        (-6 if near else 6, -4),
        ("data", "axes fraction"),
        "offset points",
        ha="right" if near else "left",
        va="top",
        color=GREY,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    if end < longest:
        style = {"ha": "right", "color": GREY, "fontsize": 8, "textcoords": "offset points"}
        axes.annotate(
            f"last bar: all longer ones,\nup to {longest:,}",
            (starts[-1] + step / 2, heights[-1]),
            (0, 14),
            arrowprops={"arrowstyle": "-", "color": GREY},
            **style,
        )
    axes.set(xlim=(-0.5, right), ylim=(0, 1.12 * max(int(heights.max()), 1)), ylabel="texts")
    axes.set_xlabel("tokens, [CLS] and [SEP] counted" + (f"; {step} a bar" if step > 1 else ""))
    axes.locator_params(axis="y", integer=True)
    axes.set_title(title or f"Lengths of {total:,} texts", loc="left")
    # Above the axes, where it hides no bar.
    style = {"ncols": len(handles), "frameon": False, "borderaxespad": 0.2}
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), **style)
    save_figure(figure, path)
