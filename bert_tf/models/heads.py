"""`Heads`: which heads a model has beside the encoder, and how its classifier is laid out."""

from __future__ import annotations

import dataclasses

from bert_tf.errors import BertError

TITLES = {
    "pooler": "pooler",
    "mlm": "masked-word head (cls/predictions)",
    "nsp": "next-sentence head (cls/seq_relationship)",
    "classifier": "classification head (output_weights, output_bias)",
    "classifier_hidden": "hidden layer of the classification head (classifier/hidden)",
    "span": "answer-span head (cls/squad)",
}
"""What a message calls each head, in the order in which the parts of a model are listed."""

OUTPUTS = {"classes": "softmax", "multilabel": "sigmoid", "regression": "linear"}
"""What turns the scores of a classification head into its answer, by what is to be told: one of
several classes, any number of them at once, or a number."""

POOLINGS = ("pooled", "mean")
"""One vector for a text: the pooler's output on [CLS], or the mean of the last layer's outputs."""


@dataclasses.dataclass(frozen=True)
class ClassifierLayout:
    """How a classification head is made; the defaults are those of `run_classifier.py`.

    Args:
        task: one of `OUTPUTS`.
        pooling: one of `POOLINGS`. The mean counts every piece that is not padding, [CLS] and
            [SEP] too.
        dense_layers: 1, or 2 for a tanh layer of the encoder's width before the last.
        dropout: rate before each dense layer, in training.

    Raises:
        BertError: a value is none of these.
    """

    task: str = "classes"
    pooling: str = "pooled"
    dense_layers: int = 1
    # 0.1 whatever the config says: run_classifier.py drops with a fixed keep_prob of 0.9.
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, allowed in (
            ("task", tuple(OUTPUTS)),
            ("pooling", POOLINGS),
            ("dense_layers", (1, 2)),
        ):
            if getattr(self, name) not in allowed:
                raise BertError(
                    f"{name} of a classification head is {getattr(self, name)!r}; it must be one "
                    f"of {', '.join(map(str, allowed))}."
                )
        if not 0 <= self.dropout < 1:
            raise BertError(f"dropout of a classification head is {self.dropout}; give 0 to 0.99.")


@dataclasses.dataclass(frozen=True)
class Heads:
    """Which heads a model has beside the encoder.

    Args:
        pooler: tanh layer on [CLS]; next sentence and, as a rule, classification stand on it.
        mlm: masked-word head; its decoder is the word-embedding table.
        nsp: next-sentence head.
        classifier: number of labels of a `run_classifier.py` head, or None.
        span: start-and-end head of a SQuAD model.
        layout: of the classifier, if there is one.
    """

    pooler: bool = True
    mlm: bool = False
    nsp: bool = False
    classifier: int | None = None
    span: bool = False
    layout: ClassifierLayout = ClassifierLayout()

    @property
    def classifier_hidden(self) -> bool:
        """Whether the classifier has a dense layer before its last."""
        return bool(self.classifier) and self.layout.dense_layers == 2

    @property
    def parts(self) -> tuple[str, ...]:
        """The encoder and the heads that there are, as the table of weight names calls them."""
        return ("encoder", *(name for name in TITLES if getattr(self, name)))

    def require(self, *names: str) -> None:
        """Makes sure that heads are there.

        Raises:
            BertError: some are not; the message names them.
        """
        lacking = [name for name in names if not getattr(self, name)]
        if lacking:
            raise BertError(
                f"this model has no {' and no '.join(TITLES[name] for name in lacking)}; "
                f"its checkpoint lacks them. Ask for a fresh, untrained one with "
                f"bert_tf.load(path, new_heads={lacking!r})."
            )

    def require_classifier(self) -> None:
        """Makes sure that there is a classifier, and the pooler if it stands on it.

        Raises:
            BertError: one is not.
        """
        self.require("classifier", *(["pooler"] if self.layout.pooling == "pooled" else []))
