"""Remarks on labels and predictions that a user should see; each is a sentence, or ""."""

from __future__ import annotations

from collections.abc import Sequence

_FEW = 10  # of so few predictions, all of one class may well be right
_UNEVEN = 3.0


def one_class_remark(predicted: Sequence[int], label_names: Sequence[str]) -> str:
    """Says so if all predictions are one class.

    Args:
        predicted: how many examples were given each class (classes,).
        label_names: of the classes.

    >>> one_class_remark([0, 40], ["ham", "spam"]).split(";")[0]
    "all 40 predictions are 'spam'"
    """
    counts = [int(count) for count in predicted]
    total = sum(counts)
    if total < _FEW or max(counts) < total:
        return ""
    name = str(label_names[counts.index(total)])
    return (
        f"all {total} predictions are {name!r}; the model has learned no more than the labels' "
        "frequencies. Try more epochs, another learning rate, or class weights (balanced); and "
        "check that the labels belong to the texts."
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
