"""The picture: how many times as fast as Hugging Face, by task and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {
    "openvino": "#1b6ca8",
    "tensorflow": "#e07b39",
    "jax": "#3a9d6e",
    "onnxruntime": "#8a8a8a",
    "raw_openvino": "#bcbcbc",
    "hugging_face_gathered": "#8a8a8a",
    "hugging_face_by_length": "#8a8a8a",
}
"""Ours in colour, the others grey."""

LABELS = {
    "read": "read",
    "cold": "cold start",
    "mask": "fill-mask,\n1 sentence",
    "bulk": "fill-mask,\nbulk",
    "encoder_1x16": "encoder\n1 x 16",
    "encoder_8x128": "encoder\n8 x 128",
    "encoder_8x512": "encoder\n8 x 512",
}


def draw(
    results: dict[str, Any],
    path: Path,
    labels: dict[str, str] = LABELS,
    rival: str = "Hugging Face on PyTorch",
) -> bool:
    """Draws the ratios; float32 above, bfloat16 below.

    Args:
        results: what `run.py` or `training.py` measured.
        path: of the picture.
        labels: the tasks to draw, by name, with what stands below them.
        rival: whom all are compared with.

    Returns:
        Whether there was something to draw with and something to draw.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {p: bars for p in ("float32", "bfloat16") if (bars := _bars(results, p, labels))}
    if not panels:
        return False
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(11, 3.6 * len(panels)), squeeze=False, layout="constrained"
    )
    for axis, (precision, bars) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, precision, bars, labels)
    cpu = results["machine"]["cpu"]
    figure.suptitle(f"Times as fast as {rival}, {cpu}, same precision", y=1.04)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
    return True


def _bars(
    results: dict[str, Any], precision: str, labels: dict[str, str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The entries with a ratio, by task and then by the family of the contender."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task in labels:
        for name, entry in results["tasks"].get(task, {}).get("contenders", {}).items():
            family, _, rest = name.partition("-")
            if entry["precision"] == precision and rest == precision and "ratio" in entry:
                found.setdefault(task, {})[family] = entry
    return found


def _panel(
    axis: Any,
    precision: str,
    bars: dict[str, dict[str, dict[str, Any]]],
    titles: dict[str, str],
) -> None:
    families = [f for f in COLOURS if any(f in entries for entries in bars.values())]
    width = 0.8 / len(families)
    for number, family in enumerate(families):
        places, heights, below, above, title = [], [], [], [], family
        for place, entries in enumerate(bars.values()):
            if family in entries:
                ratio, title = entries[family]["ratio"], entries[family]["title"]
                places.append(place + (number - (len(families) - 1) / 2) * width)
                heights.append(ratio["median"])
                below.append(ratio["median"] - ratio["q1"])
                above.append(ratio["q3"] - ratio["median"])
        drawn = axis.bar(
            places,
            heights,
            width * 0.92,
            yerr=(below, above),
            color=COLOURS[family],
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"},
            label=title,
        )
        labels = axis.bar_label(drawn, [f"{h:.1f}" for h in heights], padding=2, fontsize=8)
        for label in labels:  # readable where the line of 1 runs through
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.axhline(1, color="#333333", linewidth=1, linestyle="--")
    axis.set_xticks(range(len(bars)), [titles[task] for task in bars])
    axis.set_xlim(-0.55, len(bars) - 0.45)
    axis.margins(y=0.15)
    axis.set_ylabel("times as fast")
    axis.set_title(precision, loc="left", fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(
        frameon=False, fontsize=8, ncols=len(families), loc="lower right", bbox_to_anchor=(1, 1)
    )
