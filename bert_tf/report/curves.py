"""`draw_curves`: how a training went, as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bert_tf.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    new_figure,
    plain_axes,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTH_FROM = 60
"""With so many rows and more, a running mean is drawn over the numbers themselves."""


class Panel(NamedTuple):
    """One of the diagrams.

    Attributes:
        column: of the rows; what evaluations found is in `eval_<column>`.
        title: what it shows, with its unit.
        percent: whether the number is a fraction, shown in percent.
        chance: what guessing gives, if that is known.
        scientific: whether numbers are written as 5e-5.
    """

    column: str
    title: str
    percent: bool = False
    chance: float | None = None
    scientific: bool = False


PRETRAINING = (
    Panel("loss", "Loss, MLM and NSP together (nats)"),
    Panel("mlm_accuracy", "MLM accuracy (% of masked tokens)", percent=True),
    Panel("nsp_accuracy", "NSP accuracy (% of pairs)", percent=True, chance=0.5),
    Panel("learning_rate", "Learning rate", scientific=True),
)
"""The panels for the rows that `pretrain` gives."""


def draw_curves(
    rows: Sequence[Mapping[str, float]],
    path: str | os.PathLike[str],
    panels: Sequence[Panel] = PRETRAINING,
    kept: int | None = None,
) -> None:
    """Draws numbers over steps and writes a PNG.

    Points of training cover equally many steps each, whatever windows the rows cover. Of many a
    running mean is drawn, and under it the numbers themselves in a light colour.

    Args:
        rows: each with `step` and some of the panels' columns, in the order of the steps.
        path: of the PNG, 1650 pixels wide.
        panels: the diagrams, two a row; those without any number are left out.
        kept: the step whose weights were kept, which is marked.

    Raises:
        BertError: matplotlib is not installed, or the file cannot be written.
    """
    columns = {column for row in rows for column in row}
    wanted = [panel for panel in panels if {panel.column, f"eval_{panel.column}"} & columns]
    lines = max(1, (len(wanted) + 1) // 2)
    figure = new_figure(11, 3.3 * lines + 0.5)
    end = max((row["step"] for row in rows), default=1)
    handles: dict[str, Any] = {}
    for index, axes in enumerate(figure.subplots(lines, 2, squeeze=False).flat):
        if index >= len(wanted):
            axes.remove()
            continue
        _draw(axes, wanted[index], rows, kept)
        axes.set_xlim(0, 1.02 * end)
        for handle, label in zip(*axes.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    if handles:
        style: dict[str, Any] = {"ncols": len(handles), "frameon": False, "fontsize": 10}
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", **style)
    save_figure(figure, path)


def _draw(axes: Axes, panel: Panel, rows: Sequence[Mapping[str, float]], kept: int | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale = 100.0 if panel.percent else 1.0
    found = []
    style: dict[str, Any]
    steps, values = _series(rows, panel.column, scale)
    if not panel.scientific:  # a rate is that of its step
        steps, values = equal_windows(steps, values)
    if len(steps):
        # A point alone would be no line.
        style = {"marker": "o" if len(steps) == 1 else "", "linewidth": 1.8, "label": "training"}
        shown = values
        if len(steps) >= _SMOOTH_FROM and not panel.scientific:
            axes.plot(steps, values, color=BLUE, alpha=0.3, linewidth=0.9)
            window = np.ones(max(3, len(values) // 40) // 2 * 2 + 1)
            sums, counts = (np.convolve(x, window, "same") for x in (values, np.ones(len(values))))
            shown = sums / counts  # at both ends a mean of fewer
        axes.plot(steps, shown, color=BLUE, **style)
        if not panel.scientific:
            found.append(f"training {_number(panel, values[-1])}")
    steps, evaluated = _series(rows, f"eval_{panel.column}", scale)
    if len(steps):
        style = {"markersize": 4.5, "linewidth": 1.4, "label": "evaluation"}
        axes.plot(steps, evaluated, "o-", color=VERMILION, **style)
        found.append(f"evaluation {_number(panel, evaluated[-1])}")
    if kept is not None:
        style = {"linestyle": ":", "linewidth": 1.6, "zorder": 1}
        axes.axvline(kept, color=ORANGE, label=f"weights kept (step {kept:,})", **style)
        at = steps == kept
        axes.plot(steps[at], evaluated[at], "o", color=ORANGE, markersize=9, fillstyle="none")
    if panel.chance is not None:
        style = {"linestyle": (0, (4, 3)), "linewidth": 1, "label": "guessing"}
        axes.axhline(panel.chance * scale, color=GREY, **style)
    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold")
    if found:
        style = {"ha": "right", "va": "top", "fontsize": 9, "color": GREY}
        text = f"last: {', '.join(found)}"
        # Level with the name of the axis.
        axes.annotate(text, (1, 0), (0, -20), "axes fraction", "offset points", **style)
    axes.set_xlabel("step", loc="left", fontsize=9, color=GREY)
    axes.tick_params(labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    if panel.scientific:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: _rate(rate)))
        axes.set_ylim(bottom=0)
    plain_axes(axes)


def equal_windows(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over windows of equally many steps, of means over windows that end at `steps`.

    An evaluation gives a row, too, which ends a window early. The length is the shortest whose
    multiples are all among the steps; an incomplete window at the end is left out.

    >>> equal_windows(np.array([3, 4, 6, 8, 9, 10]), np.array([2, 4, 5.5, 7.5, 9, 10]))
    (array([3, 6, 9]), array([2., 5., 8.]))
    """
    for length in steps:
        ends = np.arange(length, steps[-1] + 1, length)
        if not np.isin(ends, steps).all():
            continue
        if 3 * len(ends) < len(steps):
            break
        sums = np.cumsum(np.diff(steps, prepend=0) * values)[np.searchsorted(steps, ends)]
        return ends, np.diff(sums, prepend=0) / length
    return steps, values  # rows of no rhythm, of a log that was cut


def _series(rows: Sequence[Mapping[str, float]], column: str, scale: float) -> np.ndarray:
    """Steps and values, (2, n)."""
    pairs = [(row["step"], scale * row[column]) for row in rows if column in row]
    return np.array(pairs, float).reshape(-1, 2).T


def _number(panel: Panel, value: float) -> str:
    return f"{value:.1f} %" if panel.percent else f"{value:.3f}"


def _rate(rate: float) -> str:
    """A learning rate with as few digits as it needs.

    >>> _rate(0), _rate(0.002), _rate(2.5e-05)
    ('0', '2e-3', '2.5e-5')
    """
    mantissa, _, exponent = f"{rate:.2e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return "0" if not rate else f"{mantissa}e{int(exponent)}"
