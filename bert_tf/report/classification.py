"""Tables of a classification's result for the screen.

All take the dict that is saved as JSON, so that an old evaluation can be shown again; None is a
value that is undefined there, and shown as a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.report.tables import percent, printable, shorten, table

_NAME_CELLS = 32
_MATRIX_CLASSES = 10
_CONFUSIONS = 10

_TITLES = {
    "accuracy": "accuracy",
    "subset_accuracy": "all labels right",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "f1": "F1",
    "f1_accuracy": "mean of F1 and accuracy",
    "matthews": "Matthews",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "pearson_spearman": "mean of both",
    "mse": "mean square error",
    "mae": "mean absolute error",
    "r2": "R²",
    "loss": "loss",
}
"""The metrics of the summary, in its order."""
_SAME = {"micro_f1": "accuracy", "loss": "mse"}
"""Those that equal another one, and are left out where an evaluation has both."""
_OF_ONE = ("f1", "average_precision")
"""Of two classes these are the second's, and shown with its name."""
_SHARES = ("accuracy", "subset_accuracy")


def summary_table(result: Mapping[str, Any]) -> str:
    """The main numbers of any kind of task, each with its 95 % interval where there is one."""
    rows, metrics = [], result["metrics"]
    for name, title in _TITLES.items():
        if name not in metrics or _SAME.get(name) in metrics:
            continue
        shown, percents = "", name in _SHARES
        if interval := result["intervals"].get(name):
            shown = "95 %: " + " to ".join(_number(end, percents) for end in interval)
        if name in _OF_ONE and "two_classes" in result:
            title += f" of {_name(result['labels'][-1]['label'])}"
        rows.append([title, _number(metrics[name], percents), shown])
    return table([*rows, ["examples", str(result["examples"]), ""]], "<><")


def labels_table(result: Mapping[str, Any]) -> str:
    """Precision, recall, F1 and counts of each label, then the averages.

    Args:
        result: of classes or of several labels at once.
    """
    several = any(label.get("average_precision") is not None for label in result["labels"])
    rows = [["label", "precision", "recall", "F1", "examples", "predicted"]]
    rows[0] += ["average precision"] * several
    for label in result["labels"]:
        cells = [_name(label["label"]), *_scores(label)]
        cells += [str(label["examples"]), str(label["predicted"])]
        rows.append(cells + ([_number(label["average_precision"])] if several else []))
    blank = [""] * len(rows[0])
    rows.append(blank)
    for name, average in result["averages"].items():
        rows.append([f"{name} average", *_scores(average), *blank[4:]])
    return table(rows, "<" + ">" * 6)


def confusion_table(result: Mapping[str, Any]) -> str:
    """Counts by right and predicted class; of many classes the most frequent confusions."""
    names = [_name(label["label"]) for label in result["labels"]]
    if len(names) > _MATRIX_CLASSES:
        return _most_confused(names, result["confusion"])
    rows = [["right \\ predicted", *(shorten(name, 12) for name in names)]]
    rows += [[name, *map(str, counts)] for name, counts in zip(names, result["confusion"])]
    return table(rows, "<" + ">" * len(names))


def _most_confused(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    wrong = [
        (count, count / sum(counts), right, predicted)
        for right, counts in enumerate(confusion)
        for predicted, count in enumerate(counts)
        if count and right != predicted
    ]
    wrong.sort(key=lambda entry: (-entry[0], -entry[1], entry[2:]))
    rows = [["right", "predicted", "times", "of these"]]
    for count, fraction, right, predicted in wrong[:_CONFUSIONS]:
        rows.append([names[right], names[predicted], str(count), percent(fraction)])
    return table(rows, "<<>>") if wrong else "  no class is taken for another"


def _scores(of: Mapping[str, Any]) -> list[str]:
    return [_number(of[key]) for key in ("precision", "recall", "f1")]


def _name(label: str) -> str:
    return shorten(printable(label), _NAME_CELLS)


def _number(value: float | None, fraction: bool = False) -> str:
    if value is None:
        return "–"
    return percent(value) if fraction else f"{value:.4f}"
