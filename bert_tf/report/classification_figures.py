"""Pictures of a classification's result: confusion matrix, curves, calibration, scatter.

Each takes `result`, the JSON of an evaluation of its kind, `path`, the PNG to write, and `title`,
what stands above the picture (by default its facts). `BertError` is raised if matplotlib or
scikit-learn is not installed, or the file cannot be written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.report import figures
from bert_tf.report.figures import save_figure
from bert_tf.report.tables import width

_Path = str | os.PathLike[str]

_WRITTEN = 40
"""With up to so many classes, numbers are written into the cells of a confusion matrix."""
_MOST = 200


def draw_confusion(result: Mapping[str, Any], path: _Path, title: str = "") -> None:
    """Draws the confusion matrix: counts, and as colour and number the fraction of the row.

    Raises:
        BertError: there are more classes than can be drawn.
    """
    counts = np.array(result["confusion"])
    classes = len(counts)
    if classes > _MOST:
        raise BertError(f"a confusion matrix of {classes} classes is too large; at most {_MOST}.")
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = figures.drawable_names([label["label"] for label in result["labels"]])
    written, sparse = classes <= _WRITTEN, classes > 12
    cell = 0.85 if classes <= 6 else 0.62 if not sparse else 0.5 if written else 0.17
    size = 10 if classes <= 6 else 9 if written else 6
    # The room that names take: about 0.6 of the letter's height for each cell of width.
    longest = max(width(name) for name in names.shown) * 0.6 * (size + 1) / 72
    side = max(cell * classes, 2.4)
    figure = figures.new_figure(side + longest + 2.2, side + longest + 1.5)
    from matplotlib.colors import PowerNorm

    # A layout that knows of square cells; the plain one pushes labels over the edge.
    figure.set_layout_engine("compressed", w_pad=0.1, h_pad=0.1)
    axes = figure.add_subplot()
    # Among many classes what is wrong is spread thin: the root makes 1 % visible.
    norm = PowerNorm(0.5 if sparse else 1.0, vmin=0, vmax=1)
    steep = 90 if sparse else 45 if classes > 6 or longest > 0.9 * cell else 0
    drawn = figures.display("ConfusionMatrixDisplay")(fractions, display_labels=names.shown).plot(
        ax=axes,
        cmap="Blues",
        im_kw={"norm": norm},
        include_values=written,
        text_kw={"fontsize": size, "linespacing": 1.4},
        xticks_rotation=steep,
        colorbar=False,
    )
    for at, text in np.ndenumerate(drawn.text_ if written else []):
        shown = f"{counts[at]}\n{100 * fractions[at]:.0f} %"
        text.set_text("" if sparse and not counts[at] else shown)
        text.set_color("white" if norm(fractions[at]) > 0.55 else "#222222")
    bar = figure.colorbar(drawn.im_, ax=axes, fraction=0.05, pad=0.03, aspect=20 + classes / 2)
    bar.set_label("fraction of the right class's examples")
    bar.outline.set_visible(False)
    if steep:
        for text in axes.get_xticklabels():
            text.set(rotation_mode="anchor", ha="right", va="center" if sparse else "top")
    axes.set(xlabel="predicted class", ylabel="right class")
    axes.tick_params(length=0, labelsize=size + 1)
    axes.spines[:].set_visible(False)
    # White lines between the cells.
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    axes.set_title(title or f"Confusion matrix, {counts.sum():,} examples", fontsize=12, pad=12)
    if names.note:
        figure.supxlabel(names.note, fontsize=8, color=figures.GREY)
    save_figure(figure, path)


def draw_curves(result: Mapping[str, Any], path: _Path, title: str = "") -> bool:
    """Draws the ROC curve and precision by recall, next to each other.

    Returns:
        Whether there was something to draw: two classes, and both occur.
    """
    two = result.get("two_classes")
    if two is None or two["roc"] is None:
        return False
    figure = figures.new_figure(10, 5)
    left, right = figure.subplots(1, 2)
    (fpr, tpr), (recall, precision) = (
        [np.array(two[name][axis]) for axis in "xy"] for name in ("roc", "precision_recall")
    )
    examples = result["labels"][1]["examples"]
    chance = {"color": figures.GREY, "linewidth": 1, "label": "by chance"}
    common = examples / result["examples"]
    curves = (
        figures.display("RocCurveDisplay")(fpr=fpr, tpr=tpr),
        # From the greatest recall to the least, as scikit-learn has them.
        figures.display("PrecisionRecallDisplay")(
            precision=precision[::-1], recall=recall[::-1], prevalence_pos_label=common
        ),
    )
    for curve, axes in zip(curves, (left, right)):
        curve.plot(ax=axes, name="model", plot_chance_level=True, chance_level_kw=chance)
        curve.line_.set(color=figures.BLUE, linewidth=2)
    average = two["average_precision"]
    left.set_title(f"ROC curve: area {two['roc_auc']:.4f}", fontsize=12)
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set_title(f"Precision by recall: average precision {average:.4f}", fontsize=12)
    right.set(xlabel="recall", ylabel="precision")
    right.get_legend().remove()
    for axes in (left, right):
        figures.plain_axes(axes)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), aspect="equal")
    left.legend(loc="lower right", frameon=False)
    names = figures.drawable_names([two["positive"]], 40)
    positive = "the second" if names.note else names.shown[0]
    note = f"positive class: {positive}, {examples:,} of {result['examples']:,} examples"
    figure.supxlabel(note, fontsize=9, color=figures.GREY)
    if title:
        figure.suptitle(title, fontsize=13)
    save_figure(figure, path)
    return True


def draw_calibration(result: Mapping[str, Any], path: _Path, title: str = "") -> None:
    """Draws how often the model is right where it is how sure, and how often it is that sure."""
    calibration = result["calibration"]
    bins = [entry for entry in calibration["bins"] if entry["examples"]]
    figure = figures.new_figure(6, 7)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middles = [(entry["low"] + entry["high"]) / 2 for entry in bins]
    wide = 0.092
    accuracies = [entry["accuracy"] for entry in bins]
    top.bar(middles, accuracies, wide, color=figures.SKY, label="fraction right")
    confidences = [entry["confidence"] for entry in bins]
    style = {"color": figures.ORANGE, "markeredgecolor": "black", "markersize": 7}
    figures.display("CalibrationDisplay")(accuracies, confidences, None).plot(
        ax=top, name="at the mean probability", linestyle="", marker="o", **style
    )
    top.lines[0].set_label("well calibrated")
    top.set(xlim=(0, 1), ylim=(0, 1.04), xlabel="", ylabel="fraction of right predictions")
    top.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none")
    error = 100 * calibration["error"]
    top.set_title(title or f"Calibration: expected error {error:.1f} %", fontsize=12)
    fractions = [entry["examples"] / result["examples"] for entry in bins]
    bottom.bar(middles, fractions, wide, color=figures.GREY)
    bottom.set(ylabel="fraction of\nexamples", xlabel="probability of the predicted class")
    bottom.set_xticks([tenth / 10 for tenth in range(11)])
    figures.plain_axes(top, "y")
    figures.plain_axes(bottom, "y")
    save_figure(figure, path)


def draw_scatter(
    labels: Sequence[float],
    outputs: Sequence[float],
    result: Mapping[str, Any],
    path: _Path,
    title: str = "",
) -> None:
    """Draws predicted by right numbers, float (examples,), with the line where they are equal."""
    figure = figures.new_figure(6, 6.2)
    axes = figure.add_subplot()
    low, high = float(min(*labels, *outputs)), float(max(*labels, *outputs))
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    alpha = min(0.8, max(0.08, 40 / len(labels) ** 0.7))
    axes.scatter(labels, outputs, s=18, color=figures.BLUE, alpha=alpha, linewidths=0)
    axes.plot(limits, limits, color=figures.VERMILION, linestyle="--", linewidth=1.5)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="right", ylabel="predicted")
    figures.plain_axes(axes)
    parts = [
        f"{name} {'undefined' if (value := result[name.lower()]) is None else f'{value:.3f}'}"
        for name in ("Pearson", "Spearman", "MAE")
    ]
    facts = ", ".join([*parts, f"{result['examples']:,} examples"])
    axes.set_title(f"{title}\n{facts}" if title else facts, fontsize=11)
    save_figure(figure, path)
