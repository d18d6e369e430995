"""Pictures of a classification's result: confusion matrix, curves, calibration, scatter."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bert_tf.errors import BertError
from bert_tf.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    drawable_names,
    new_figure,
    plain_axes,
    save_figure,
)
from bert_tf.report.tables import width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

_Path = str | os.PathLike[str]

_WRITTEN = 40
"""Up to so many classes the cells of a confusion matrix are written in."""
_MOST = 200


def draw_confusion(result: Mapping[str, Any], path: _Path, title: str = "") -> None:
    """Draws the confusion matrix: counts, and as colour and number the share of the row.

    Args:
        result: of classes, as its JSON.
        path: of the PNG.
        title: above the picture; a word of its own if empty.

    Raises:
        BertError: there are more classes than can be drawn, matplotlib is not installed, or the
            file cannot be written.
    """
    counts: list[list[int]] = result["confusion"]
    classes = len(counts)
    if classes > _MOST:
        raise BertError(
            f"a confusion matrix of {classes} classes cannot be read; up to {_MOST} are drawn."
        )
    totals = [sum(row) for row in counts]
    shares = [[n / total if total else 0.0 for n in row] for row, total in zip(counts, totals)]
    names = drawable_names([label["label"] for label in result["labels"]])
    written = classes <= _WRITTEN
    cell = 0.85 if classes <= 6 else 0.62 if classes <= 12 else 0.5 if written else 0.17
    size = 10 if classes <= 6 else 9 if written else 6
    # The room that names take: about 0.6 of the letter's height for each cell of width.
    longest = max(width(name) for name in names.shown) * 0.6 * (size + 1) / 72
    side = max(cell * classes, 2.4)
    figure = new_figure(side + longest + 2.2, side + longest + 1.5)
    from matplotlib.colors import PowerNorm

    # Layout that knows of square cells; the plain one pushes labels over the edge.
    figure.set_layout_engine("compressed", w_pad=0.1, h_pad=0.1)
    axes = figure.add_subplot()
    # Among many classes what is wrong is spread thin: the root makes 1 % visible.
    norm = PowerNorm(0.5 if classes > 12 else 1.0, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03, aspect=20 + classes / 2)
    in_cells = ", in the cells as percent" if written and classes > 12 else ""
    bar.set_label(f"share of the right class's examples{in_cells}")
    bar.outline.set_visible(False)
    steep = classes > 6 or longest > 0.9 * cell
    axes.set_xticks(range(classes), names.shown, fontsize=size + 1)
    for text in axes.get_xticklabels():
        if steep:
            text.set(rotation=90 if classes > 12 else 45, rotation_mode="anchor")
            text.set(ha="right", va="center" if classes > 12 else "top")
    axes.set_yticks(range(classes), names.shown, fontsize=size + 1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("right class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    edges = [edge - 0.5 for edge in range(classes + 1)]  # white lines between the cells
    axes.hlines(edges, -0.5, classes - 0.5, color="white", linewidth=1)
    axes.vlines(edges, -0.5, classes - 0.5, color="white", linewidth=1)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5))
    if written:
        _write_cells(axes, counts, shares, norm, size, sparse=classes > 12)
    axes.set_title(title or f"Confusion matrix, {sum(totals):,} examples", fontsize=12, pad=12)
    if names.remark:
        figure.supxlabel(names.remark, fontsize=8, color=GREY)
    save_figure(figure, path)


def _write_cells(
    axes: Axes,
    counts: Sequence[Sequence[int]],
    shares: Sequence[Sequence[float]],
    norm: Normalize,
    size: int,
    sparse: bool,
) -> None:
    for row, (numbers, parts) in enumerate(zip(counts, shares)):
        for column, (number, part) in enumerate(zip(numbers, parts)):
            if sparse and not number:
                continue
            colour = "white" if norm(part) > 0.55 else "#222222"
            place: dict[str, Any] = {"ha": "center", "color": colour}
            axes.text(column, row - 0.04, f"{number}", va="bottom", fontsize=size, **place)
            shown = f"{100 * part:.0f}" + ("" if sparse else " %")
            axes.text(column, row + 0.08, shown, va="top", fontsize=size - 2, **place)


def draw_curves(result: Mapping[str, Any], path: _Path, title: str = "") -> bool:
    """Draws the ROC curve and precision by recall, beside each other.

    Args:
        result: of two classes, as its JSON.
        path: of the PNG.
        title: above the picture.

    Returns:
        Whether there was something to draw: two classes, and both occur.

    Raises:
        BertError: matplotlib is not installed, or the file cannot be written.
    """
    two = result.get("two_classes")
    if two is None or two["roc"] is None:
        return False
    figure = new_figure(10, 5)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="by chance")
    left.plot(two["roc"]["x"], two["roc"]["y"], color=BLUE, linewidth=2, label="model")
    left.set_title(f"ROC curve: area {two['roc_auc']:.4f}", fontsize=12)
    left.set_xlabel("false positive rate")
    left.set_ylabel("true positive rate")
    positive = result["labels"][1]["examples"] / result["examples"]
    right.axhline(positive, color=GREY, linestyle="--", linewidth=1, label="by chance")
    points = two["precision_recall"]
    right.plot(
        points["x"], points["y"], color=BLUE, linewidth=2, drawstyle="steps-pre", label="model"
    )
    average = two["average_precision"]
    right.set_title(f"Precision by recall: average precision {average:.4f}", fontsize=12)
    right.set_xlabel("recall")
    right.set_ylabel("precision")
    for axes in (left, right):
        plain_axes(axes)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), aspect="equal")
    left.legend(loc="lower right", frameon=False)
    names = drawable_names([two["positive"]], 40)
    note = f"positive class: {names.shown[0]}" if not names.remark else "positive class: the second"
    count = result["labels"][1]["examples"]
    figure.supxlabel(
        f"{note}, {count:,} of {result['examples']:,} examples", fontsize=9, color=GREY
    )
    if title:
        figure.suptitle(title, fontsize=13)
    save_figure(figure, path)
    return True


def draw_calibration(result: Mapping[str, Any], path: _Path, title: str = "") -> None:
    """Draws how often the model is right where it is how sure, and how often it is that sure.

    Args:
        result: of classes, as its JSON.
        path: of the PNG.
        title: above the picture; a word of its own if empty.

    Raises:
        BertError: matplotlib is not installed, or the file cannot be written.
    """
    calibration = result["calibration"]
    bins = [entry for entry in calibration["bins"] if entry["examples"]]
    figure = new_figure(6, 7)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middles = [(entry["low"] + entry["high"]) / 2 for entry in bins]
    wide = 0.092
    top.bar(middles, [entry["accuracy"] for entry in bins], wide, color=SKY, label="share right")
    top.plot(
        [entry["confidence"] for entry in bins],
        [entry["accuracy"] for entry in bins],
        "o",
        color=ORANGE,
        markeredgecolor="black",
        markersize=7,
        label="at the mean probability",
    )
    top.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="well calibrated")
    top.set(xlim=(0, 1), ylim=(0, 1.04), ylabel="share of right predictions")
    top.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none")
    error = 100 * calibration["error"]
    top.set_title(title or f"Calibration: expected error {error:.1f} %", fontsize=12)
    bottom.bar(
        middles, [entry["examples"] / result["examples"] for entry in bins], wide, color=GREY
    )
    bottom.set(ylabel="share of\nexamples", xlabel="probability of the predicted class")
    bottom.set_xticks([place / 10 for place in range(11)])
    plain_axes(top, "y")
    plain_axes(bottom, "y")
    save_figure(figure, path)


def draw_scatter(
    labels: Sequence[float],
    outputs: Sequence[float],
    result: Mapping[str, Any],
    path: _Path,
    title: str = "",
) -> None:
    """Draws predicted by right numbers with the line on which they are equal.

    Args:
        labels: float (examples,).
        outputs: float (examples,).
        result: of a regression, as its JSON.
        path: of the PNG.
        title: above the picture.

    Raises:
        BertError: matplotlib is not installed, or the file cannot be written.
    """
    figure = new_figure(6, 6.2)
    axes = figure.add_subplot()
    low = float(min(min(labels), min(outputs)))
    high = float(max(max(labels), max(outputs)))
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    alpha = min(0.8, max(0.08, 40 / len(labels) ** 0.7))
    axes.scatter(labels, outputs, s=18, color=BLUE, alpha=alpha, linewidths=0)
    axes.plot(limits, limits, color=VERMILION, linestyle="--", linewidth=1.5)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="right", ylabel="predicted")
    plain_axes(axes)
    parts = [
        f"{name} {_three(result[key])}"
        for name, key in (("Pearson", "pearson"), ("Spearman", "spearman"), ("MAE", "mae"))
    ]
    facts = ", ".join([*parts, f"{result['examples']:,} examples"])
    axes.set_title(f"{title}\n{facts}" if title else facts, fontsize=11)
    save_figure(figure, path)


def _three(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
