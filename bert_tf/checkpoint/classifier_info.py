"""`ClassifierInfo`: what a classifier's weights do not tell, as `classifier.json` states it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from bert_tf.errors import BertError

INFO_NAME = "classifier.json"
"""The file beside the weights; the original has none, so its labels are known by number alone."""

TASKS = ("classes", "multilabel", "regression")
"""One of several classes, any number of them at once, or a number."""

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ClassifierInfo:
    """What belongs to a classifier beside its weights.

    Args:
        labels: in the order of the model's outputs; empty for a regression.
        task: one of `TASKS`.
        pooling: `"pooled"`, or `"mean"` of all real pieces of the last layer.
        dense_layers: of the head, 1 or 2.
        dropout: before each of them, in training.
        max_seq_length: most pieces of a text that it was trained on, [CLS] and [SEP] counted;
            None if that is not known.
        lower_case: whether text is lower-cased; None if that is not known.
        pairs: whether it was trained on pairs of texts; None if that is not known.

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

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BertError(
                f"a classifier's task is {self.task!r}; it must be one of {', '.join(TASKS)}."
            )
        least = {"classes": 2, "multilabel": 1, "regression": 0}[self.task]
        if len(self.labels) < least or (self.task == "regression" and self.labels):
            raise BertError(
                f"a classifier for {self.task} has {len(self.labels)} labels; it must have "
                f"{'none' if self.task == 'regression' else f'at least {least}'}."
            )
        if len(set(self.labels)) < len(self.labels):
            raise BertError("a classifier has a label twice; each must stand for one output.")
        if self.max_seq_length is not None and self.max_seq_length < 3:
            raise BertError(
                f"a classifier's max_seq_length is {self.max_seq_length}; [CLS], a piece and "
                f"[SEP] alone take 3."
            )

    @property
    def num_outputs(self) -> int:
        """Scores that the head gives for a text."""
        return 1 if self.task == "regression" else len(self.labels)

    @classmethod
    def of_unknown(cls, outputs: int, dense_layers: int = 1) -> ClassifierInfo:
        """For a head of which nothing but its size is known, as `run_classifier.py` leaves it.

        Its labels are their numbers. With a single output it can only be a regression.
        """
        if outputs == 1:
            return cls(task="regression", dense_layers=dense_layers)
        return cls(tuple(map(str, range(outputs))), dense_layers=dense_layers)

    def to_json(self) -> bytes:
        """The content of a `classifier.json`."""
        values = {"format": FORMAT, **dataclasses.asdict(self), "labels": list(self.labels)}
        return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def beside(cls, prefix: str) -> ClassifierInfo | None:
        """Reads the `classifier.json` that lies beside a checkpoint.

        Args:
            prefix: of the checkpoint.

        Returns:
            What it says; None if there is none.

        Raises:
            BertError: it cannot be read, or says what cannot be.
        """
        path = os.path.join(os.path.dirname(prefix), INFO_NAME)
        try:
            with open(path, encoding="utf-8") as file:
                values = json.load(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BertError(f"cannot read {path}: {error.strerror}.") from error
        except ValueError as error:
            raise BertError(f"{path} is not valid JSON: {error}.") from error
        return cls._from_values(values, path)

    @classmethod
    def _from_values(cls, values: Any, path: str) -> ClassifierInfo:
        if not isinstance(values, Mapping) or values.get("format") != FORMAT:
            raise BertError(
                f'{path} is of another program or version: it has no "format": {FORMAT}. Remove '
                f"it to have the labels called by their numbers."
            )
        known = {field.name: field.type for field in dataclasses.fields(cls)}
        found = {name: values[name] for name in known if name in values}
        labels = found.get("labels", [])
        kinds: dict[str, type | tuple[type, ...]] = {
            "labels": list,
            "task": str,
            "pooling": str,
            "dense_layers": int,
            "dropout": (int, float),
            "max_seq_length": (int, type(None)),
            "lower_case": (bool, type(None)),
            "pairs": (bool, type(None)),
        }
        wrong = [name for name, value in found.items() if not isinstance(value, kinds[name])]
        if wrong or not all(isinstance(label, str) for label in labels):
            raise BertError(f"{path}: {(wrong or ['labels'])[0]} is of the wrong kind.")
        try:
            return cls(**{**found, "labels": tuple(labels)})
        except BertError as error:
            raise BertError(f"{path}: {error}") from None
