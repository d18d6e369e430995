"""`Heads`: which heads a model has, and how its classifier is laid out; imports no Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.heads import HEADS, MODELS, TITLES, Weight, check_names, weights_of
from bert_tf.options import HEAD_ACTIVATIONS, check_hidden

OUTPUTS = {"classes": "softmax", "multilabel": "sigmoid", "regression": "linear"}
"""What turns the scores of a classification head into its answer: one of several classes, any
number of them at once, or a number."""

POOLINGS = ("pooled", "mean")
"""One vector for a text: the pooler's output on [CLS], or the mean of the last layer's outputs."""


@dataclasses.dataclass(frozen=True)
class ClassifierLayout:
    """How a classification head is made; the defaults are those of `run_classifier.py`.

    Args:
        task: one of `OUTPUTS`.
        pooling: one of `POOLINGS`. The mean counts every token that is not padding, [CLS] and
            [SEP] too.
        dense_layers: 1, or 2 for a hidden layer before the last.
        dropout: rate before each dense layer, in training.
        hidden_units: width of the hidden layer; None for the encoder's.
        activation: of the hidden layer, one of `HEAD_ACTIVATIONS`.

    Raises:
        BertError: a value is none of these.
    """

    task: str = "classes"
    pooling: str = "pooled"
    dense_layers: int = 1
    # 0.1 whatever the config says: run_classifier.py drops with a fixed keep_prob of 0.9.
    dropout: float = 0.1
    hidden_units: int | None = None
    activation: str = "tanh"

    @classmethod
    def of(cls, info: Any) -> ClassifierLayout:
        """That of a `ClassifierInfo`."""
        task = info.task if info.task in OUTPUTS else cls.task  # another head's
        head = (info.pooling, info.dense_layers, info.dropout, info.hidden_units, info.activation)
        return cls(task, *head)

    def __post_init__(self) -> None:
        allowed = {"task": tuple(OUTPUTS), "pooling": POOLINGS, "dense_layers": (1, 2)}
        allowed["activation"] = HEAD_ACTIVATIONS
        for name, values in allowed.items():
            if (value := getattr(self, name)) not in values:
                raise BertError(
                    f"{name} of a classification head is {value!r}; it must be one of "
                    f"{', '.join(map(str, values))}."
                )
        if not 0 <= self.dropout < 1:
            raise BertError(f"dropout of a classification head is {self.dropout}; give 0 to 0.99.")
        check_hidden(self.dense_layers, self.hidden_units, self.activation)


_FIELDS: list[tuple[str, Any, Any]] = [
    (row.name, int | None, None) if row.sized else (row.name, bool, row.by_default)
    for row in HEADS.values()
    if not row.of
]
_FIELDS.append(("layout", ClassifierLayout, ClassifierLayout()))
_VALUES: Any = dataclasses.make_dataclass("_VALUES", _FIELDS, frozen=True)


class Heads(_VALUES):
    """Which heads a model has in addition to the encoder; immutable.

    Args:
        pooler: tanh layer on [CLS]; next sentence and, as a rule, classification stand on it.
            The one head that is there by default.
        mlm: masked-word head; its decoder is the word-embedding table.
        nsp: next-sentence head.
        classifier: number of labels of a `run_classifier.py` head, or None.
        span: start-and-end head of a SQuAD model.
        layout: `ClassifierLayout` of the classifier, if there is one.

    Any other row of the table is an argument and an attribute too: a bool, or the number of
    labels or None.
    """

    def __getattr__(self, name: str) -> Any:
        """Whether a head is there that is a part of another, such as `classifier_hidden`."""
        if name in HEADS and HEADS[name].of:
            return self.has(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @staticmethod
    def of(
        names: Iterable[str],
        labels: Mapping[str, int] | None = None,
        layout: ClassifierLayout = ClassifierLayout(),
        *,
        complete: bool = True,
    ) -> Heads:
        """The heads of these names, keys of `bert_tf.heads.HEADS`, with what they stand on.

        `labels` are the numbers of labels, by head, as the property has them; the layout is the
        classifier's, and a part of it among the names changes it. With `complete=False` nothing
        is added.
        """
        values: dict[str, Any] = {name: False for name, row in HEADS.items() if row.by_default}
        units = layout.hidden_units or (labels or {}).get("hidden_units")
        for name in _with_needs(names, layout) if complete else names:
            if changes := HEADS[name].layout:
                layout = dataclasses.replace(layout, **changes, hidden_units=units)
            if not HEADS[name].of:
                values[name] = labels[name] if labels and HEADS[name].sized else True
        return Heads(layout=layout, **values)

    def has(self, name: str) -> bool:
        """Whether a head is there; a `BertError` if there is no head of that name."""
        check_names([name])
        row = HEADS[name]
        if row.of:
            return self.has(row.of) and row.layout.items() <= vars(self.layout).items()
        return bool(getattr(self, name))

    @property
    def parts(self) -> tuple[str, ...]:
        """The encoder and the heads that there are, in the order of the table."""
        return ("encoder", *filter(self.has, HEADS))

    @property
    def labels(self) -> dict[str, int]:
        """The number of labels, by head, of those that have one; and `hidden_units`, if given."""
        found = {name: getattr(self, name) for name in filter(self.has, HEADS) if HEADS[name].sized}
        units = self.layout.hidden_units
        return found if units is None else {**found, "hidden_units": units}

    def weights(self, config: BertConfig) -> list[Weight]:
        """All weights of the encoder and the heads; see `weights_of`."""
        return weights_of(config, self.parts, self.labels)

    def require(self, *names: str) -> None:
        """Makes sure that heads are there, and what they stand on.

        Raises:
            BertError: some are not; the message names them.
        """
        lacking = [name for name in _with_needs(names, self.layout) if not self.has(name)]
        if lacking:
            raise BertError(
                f"this model has no {' and no '.join(TITLES[name] for name in lacking)}; "
                f"its checkpoint lacks them. Ask for a fresh, untrained one with "
                f"bert_tf.load(path, new_heads={lacking!r})."
            )

    def of_model(self, name: str, options: Mapping[str, Any]) -> Heads:
        """The heads alone that a model of `MODELS` computes when it is built with these options.

        Raises:
            BertError: one of them is not there, or there is no such model.
        """
        if name not in MODELS:
            raise BertError(f"there is no model {name!r}; there are {', '.join(MODELS)}.")
        used = MODELS[name].needs({**vars(self), **options})
        self.require(*used)
        sized = any(HEADS[name].sized for name in used)
        return self.of(used, self.labels, self.layout if sized else ClassifierLayout())


def _with_needs(names: Iterable[str], layout: ClassifierLayout) -> list[str]:
    """The heads and what they stand on, each after what it stands on."""
    found: list[str] = []
    for name in names:
        needed = HEADS[name].needs(vars(layout))
        found += [one for one in (*_with_needs(needed, layout), name) if one not in found]
    return found
