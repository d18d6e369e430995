"""`new_classifier`: a BERT with a fresh head, for those who train with Keras themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.errors import BertError
from bert_tf.heads import weights_of
from bert_tf.models.layout import ClassifierLayout, Heads


def new_classifier(
    bert: Bert,
    labels: Sequence[Any] = (),
    *,
    task: str = "classes",
    pooling: str = "pooled",
    dense_layers: int = 1,
    dropout: float = 0.1,
    hidden_units: int | None = None,
    activation: str = "tanh",
    max_seq_length: int | None = None,
    dtype: Any = "float32",
) -> Bert:
    """A BERT with a new classification head, on a copy of another's encoder and pooler.

    Its `classifier_model()` is an ordinary functional `keras.Model` to compile and fit; `save`
    writes the present weights as a model's folder with the labels, and `Classify` and
    `predictor("classifier")` answer with them. The BERT passed stays as it is; its other heads
    are left out. The head is drawn by Keras's random generator, the same each time after
    `keras.utils.set_random_seed`.

    Args:
        bert: where encoder and pooler come from.
        labels: in the order of the model's outputs; none for a regression.
        task: `"classes"`, `"multilabel"` or `"regression"`.
        pooling: `"pooled"`, or `"mean"` of all real tokens of the last layer. A pooler that the
            BERT lacks is new.
        dense_layers: of the head, 1 or 2.
        dropout: before each of them, in training.
        hidden_units: width of the first of two; None for the encoder's.
        activation: of the first of two: `"tanh"`, `"relu"`, `"gelu"` or `"gelu_exact"`.
        max_seq_length: most tokens of a text; kept: `encode_texts` and `Classify` cut alike.
        dtype: Keras dtype policy of the layers; `"mixed_bfloat16"` computes in bfloat16 on
            float32 weights.

    Raises:
        BertError: the arguments do not fit one another, or are none of these.

    Example:
        >>> spam = new_classifier(bert, ["ham", "spam"])
        >>> model = spam.classifier_model()
    """
    if isinstance(labels, str):
        raise BertError(f"labels are a list of names, not one: [{labels!r}].")
    limit = bert.config.max_position_embeddings
    if max_seq_length is not None and max_seq_length > limit:
        raise BertError(f"max_seq_length is {max_seq_length}, it takes {limit} tokens at most.")
    head = (task, pooling, dense_layers, dropout)
    layout = ClassifierLayout(*head, hidden_units, activation)
    hidden: dict[str, Any] = {"hidden_units": hidden_units, "activation": activation}
    names = tuple(map(str, labels))
    info = ClassifierInfo(names, *head, max_seq_length, bert.lower_case, **hidden)
    kept = ["pooler"] if bert.has("pooler") else []
    taken = {weight.original for weight in weights_of(bert.config, ["encoder", *kept])}
    made = Bert.from_weights(
        bert.config,
        bert.vocab,
        # Copies, made one at a time: the new layers take the memory over.
        {name: np.array(value, np.float32) for name, value in bert.weights() if name in taken},
        heads=Heads.of(["classifier", *kept], {"classifier": info.num_outputs}, layout),
        name=bert.name,
        lower_case=bert.lower_case,
        classifier=info,
        dtype=dtype,
        copy=False,
    )
    made.report = dataclasses.replace(made.report, checkpoint=bert.report.checkpoint)
    return made
