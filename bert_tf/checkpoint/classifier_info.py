"""`ClassifierInfo`: what a head's weights do not say, in `classifier.json` or `task.json`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from bert_tf._moved import OldName
from bert_tf.config import INFO_NAME as INFO_NAME
from bert_tf.config import TASK_NAME as TASK_NAME
from bert_tf.errors import BertError
from bert_tf.files.reading import read_object
from bert_tf.files.whole import encoded
from bert_tf.options import COUNT, LENGTH

TASKS = {"classes": 2, "multilabel": 1, "regression": 0}
"""Of a classifier: one of several classes, any number of them at once, or a number; with the fewest
labels that it can have."""

_KINDS: dict[str, Any] = {
    **{"labels": list, "task": str, "pooling": str, "dense_layers": int, "dropout": int | float},
    **{"max_seq_length": int | None, "lower_case": bool | None, "pairs": bool | None},
    **{"head": str, "stride": int | None, "table": dict | None},
    **{"hidden_units": int | None, "activation": str},
}
_SECOND = {"head": "classifier", "stride": None, "hidden_units": None, "activation": "tanh"}
"""What format 1 does not say, and means by that. 0.1.0 passes over what it does not know, which
does no harm with `table` alone."""


@dataclasses.dataclass(frozen=True)
class ClassifierInfo:
    """What belongs to a head and does not stand in its weights.

    Args:
        labels: in the order of the model's outputs; empty for a regression.
        task: of a classifier one of `TASKS`.
        pooling: `"pooled"`, or `"mean"` of all real tokens of the last layer.
        dense_layers: of the head, 1 or 2.
        dropout: before each of them, in training.
        max_seq_length: most tokens of a text that it was trained on, [CLS] and [SEP] counted.
        lower_case: whether text is lower-cased.
        pairs: whether it was trained on pairs of texts; of all three None if that is not known.
        head: which head it is.
        stride: tokens from the start of a window to that of the next, where longer texts are
            read in windows; None where they are cut.
        table: how the table was read that it was trained on, as JSON of
            `bert_tf.data.labelled.columns.Layout`; None if it was no table.
        hidden_units: width of the first of two dense layers; None for the encoder's.
        activation: of that layer; see `bert_tf.models.layout.ClassifierLayout`.

    Raises:
        BertError: the values do not fit one another.
    """

    labels: tuple[str, ...] = ()
    task: str = "classes"
    pooling: str = "pooled"
    dense_layers: int = 1
    dropout: float = 0.1
    max_seq_length: int | None = None
    lower_case: bool | None = None
    pairs: bool | None = None
    head: str = "classifier"
    stride: int | None = None
    table: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    hidden_units: int | None = None
    activation: str = "tanh"
    beside = OldName("beside", "in_folder")

    def __post_init__(self) -> None:
        if self.file_name == INFO_NAME:
            if self.task not in TASKS:
                raise BertError(
                    f"a classifier's task is {self.task!r}; it must be one of {', '.join(TASKS)}."
                )
            fewest = TASKS[self.task]
            if len(self.labels) < fewest or (self.labels and not fewest):
                raise BertError(
                    f"a classifier for {self.task} has {len(self.labels)} labels; it must have "
                    f"{f'at least {fewest}' if fewest else 'none'}."
                )
        if len(set(self.labels)) < len(self.labels):
            raise BertError(f"a {self.head} has a label twice; each belongs to one output.")
        for name, limits in (("max_seq_length", LENGTH), ("stride", COUNT)):
            if (value := getattr(self, name)) is not None:
                limits.check(f"a {self.head}'s {name}", value)

    @property
    def num_outputs(self) -> int:
        """Scores that the head gives for a text, or for each token."""
        return len(self.labels) or 1

    @property
    def several(self) -> bool:
        """Whether a text can have any number of the labels at once."""
        return TASKS.get(self.task) == 1  # a single one is enough, as it holds or does not

    @property
    def file_name(self) -> str:
        """`INFO_NAME` or `TASK_NAME`."""
        return INFO_NAME if self.head == "classifier" else TASK_NAME

    @classmethod
    def of_unknown(cls, outputs: int, layout: Any = None) -> ClassifierInfo:
        """For a head of which nothing but its size is known, as `run_classifier.py` leaves it.

        Its labels are their numbers. With a single output it can only be a regression. The
        `ClassifierLayout` says how many layers it has and how wide the first is.
        """
        dense = {n: getattr(layout, n) for n in ("dense_layers", "hidden_units") if layout}
        labels, task = (map(str, range(outputs)), "classes") if outputs > 1 else ((), "regression")
        return cls(tuple(labels), task, **dense)

    def settings(self) -> dict[str, Any]:
        """All but `table` by name; what format 1 does not say only where it says something."""
        values = {name: getattr(self, name) for name in _KINDS if name != "table"}
        return {n: x for n, x in values.items() if n not in _SECOND or x != _SECOND[n]}

    def to_json(self) -> bytes:
        """The content of the file, in format 1 where that says it all, else in format 2."""
        values = self.settings()
        values = {"format": 2 if _SECOND.keys() & values.keys() else 1, **values}
        table = {} if self.table is None else {"table": self.table}
        return encoded(json.dumps(values | table, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def in_folder(cls, prefix: str, name: str = INFO_NAME) -> ClassifierInfo | None:
        """What the file `name` in the folder of a checkpoint says; None if there is none.

        Raises:
            BertError: it cannot be read, or says what cannot be.
        """
        path = os.path.join(os.path.dirname(prefix), name)
        if not os.path.exists(path):
            return None
        values = read_object(path)
        if values.get("format") not in (1, 2):
            raise BertError(
                f'{path} is of another program or version: it has no "format": 1 or 2. Remove it '
                f"to have the labels called by their numbers."
            )
        found = {name: values[name] for name in _KINDS if name in values}
        wrong = [name for name, value in found.items() if not isinstance(value, _KINDS[name])]
        labels = found.pop("labels", [])
        if wrong or not all(isinstance(label, str) for label in labels):
            raise BertError(f"{path}: {(wrong or ['labels'])[0]} is of the wrong kind.")
        try:
            info = cls(tuple(labels), **found)
        except BertError as error:
            raise BertError(f"{path}: {error}") from None
        if info.file_name != name:
            raise BertError(f"{path}: the head is {info.head}, which belongs in {info.file_name}.")
        return info
