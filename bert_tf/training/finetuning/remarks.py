"""Remarks on labels and predictions that a user should see; each is a sentence, or ""."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FEW = 10  # of so few predictions, all of one class may well be right
_UNEVEN = 3.0


def one_class_remark(
    labels: np.ndarray,
    only: int | None,
    label_names: Sequence[str],
    split: str,
    fewest: int = _FEW,
) -> str:
    """Says so if all rows are said to be of one class, and are not.

    Args:
        labels: the right ones, places in `label_names` (rows,).
        only: the class that all rows are said to be of; None if there are several.
        label_names: of the classes.
        split: what the rows are called.
        fewest: rows of which it is told at least.

    >>> one_class_remark(np.repeat([0, 1], 20), 1, ["ham", "spam"], "test").split(":")[0]
    "all 40 test rows are said to be 'spam', as 50 % of them are"
    """
    if only is None or len(labels) < fewest or len(np.unique(labels)) == 1:
        return ""
    share = float(np.mean(labels == only))
    return (
        f"all {len(labels):,} {split} rows are said to be {label_names[only]!r}, as "
        f"{100 * share:.0f} % of them are: nothing was learnt beyond that. Train longer or with "
        f"another learning rate, or weigh the classes (balanced); and check that the labels "
        f"belong to the texts."
    )


def imbalance_remark(examples: Sequence[int], label_names: Sequence[str]) -> str:
    """Says so if classes are far from equally frequent, the most frequent thrice the rarest.

    Args:
        examples: how many have each class (classes,).
        label_names: of the classes.

    >>> imbalance_remark([50, 50], ["ham", "spam"])
    ''
    """
    counts = [int(count) for count in examples]
    total = sum(counts)
    if len(counts) < 2 or total == 0:
        return ""
    most, least = max(counts), min(counts)
    if most < _UNEVEN * least:
        return ""
    often, rare = (str(label_names[counts.index(count)]) for count in (most, least))
    return (
        f"the classes are uneven: {often!r} has {most} of {total} examples "
        f"({100 * most / total:.1f} %), {rare!r} has {least} ({100 * least / total:.1f} %). Always "
        f"saying {often!r} has an accuracy of {100 * most / total:.1f} %, so look at macro F1 or "
        "Matthews too; class weights (balanced) make up for it in training."
    )
