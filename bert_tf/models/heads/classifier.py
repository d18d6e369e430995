"""The classification head, and the one vector for each text that it stands on."""

from __future__ import annotations

from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.models.dropout import Dropout
from bert_tf.models.head_layers import MeanPooling, softmax
from bert_tf.models.layers import Activation, dense
from bert_tf.models.layout import OUTPUTS, POOLINGS, ClassifierLayout, Heads
from bert_tf.models.parts import BertLayers, Source, layers_of


def make_layers(config: BertConfig, heads: Heads, dtype: Any) -> dict[str, keras.layers.Layer]:
    """The head's layers, by their attribute of `BertLayers`."""
    made: dict[str, keras.layers.Layer] = {}
    rate, std = heads.layout.dropout, config.initializer_range
    if heads.layout.pooling == "mean":
        made["mean_pooling"] = MeanPooling(dtype=dtype, name="mean_pooling")
    if heads.has("classifier_hidden"):
        name = "classifier_hidden"
        made[f"{name}_dropout"] = Dropout(rate, dtype=dtype, name=f"{name}_dropout")
        units, activation = heads.layout.hidden_units, heads.layout.activation
        own = "tanh" if activation == "tanh" else None  # as in files of earlier versions
        made[name] = dense(units or config.hidden_size, name, std, dtype, own)
        if own is None:
            path = f"{name}_activation"
            made[path] = Activation(activation, dtype=dtype, name=path)
    made["classifier_dropout"] = Dropout(rate, dtype=dtype, name="classifier_dropout")
    made["classifier_dense"] = dense(heads.classifier, "classifier_logits", std, dtype)
    return made


def classify(layers: BertLayers, vectors):
    """Scores of vectors of texts: (batch, hidden) -> (batch, labels), before the softmax."""
    if layers.classifier_hidden is not None:
        vectors = layers.classifier_hidden(layers.classifier_hidden_dropout(vectors))
    if layers.classifier_hidden_activation is not None:
        vectors = layers.classifier_hidden_activation(vectors)
    return layers.classifier_dense(layers.classifier_dropout(vectors))


def build_classifier(
    source: Source,
    num_labels: int | None = None,
    *,
    layout: ClassifierLayout | None = None,
    logits: bool = False,
    attention_mask: bool = False,
    dtype: Any = None,
) -> keras.Model:
    """A classifier; by default as `run_classifier.py` makes it: one dense layer on the pooler.

    The number of labels (1 for a regression) and the layout are those of a new classifier; existing
    layers have theirs. With `logits` it gives the scores before softmax or sigmoid.

    Returns:
        A model from `token_input`, `seg_input` to `classifier`, (batch, num_labels): for classes
        probabilities that add up to 1, for several labels at once a probability each, for a
        regression the number itself.

    Raises:
        BertError: the source has no classification head, lacks the pooler that it stands on, or
            has another number of labels or layout.
    """
    if isinstance(source, BertConfig):
        if not num_labels:
            raise BertError("say how many labels the new classifier has: num_labels=2.")
        labels = {"classifier": num_labels}
        heads = Heads.of(["classifier"], labels, layout or ClassifierLayout())
        layers = BertLayers(source, heads, dtype)
    else:
        layers = layers_of(source, dtype, "classifier")
        if num_labels not in (None, layers.heads.classifier):
            known = layers.heads.classifier
            raise BertError(f"num_labels={num_labels}, but this model's head has {known} labels.")
        if layout not in (None, layers.heads.layout):
            raise BertError(f"this model's classifier has another layout: {layers.heads.layout}.")
    trunk = layers.trunk(attention_mask)
    scores = classify(layers, layers.sentence_vector(trunk, layers.heads.layout.pooling))
    outputs = scores if logits else _answer(layers.heads.layout.task)(scores)
    return keras.Model(trunk.inputs, outputs, name="bert_classifier")


def build_sentence_model(
    source: Source, *, pooling: str = "pooled", attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """One vector for each text, (batch, hidden): what a classifier's head stands on.

    The pooling is `"pooled"`, the pooler's output, or `"mean"` of the last layer's outputs at all
    tokens that are not padding, [CLS] and [SEP] counted. The inputs are `token_input`, `seg_input`.

    Raises:
        BertError: there is no such pooling, or the source lacks the pooler.
    """
    if pooling not in POOLINGS:
        raise BertError(f"pooling={pooling!r} is not one of {', '.join(POOLINGS)}.")
    layers = layers_of(source, dtype, *(["pooler"] if pooling == "pooled" else []))
    trunk = layers.trunk(attention_mask)
    vectors = layers.sentence_vector(trunk, pooling)
    return keras.Model(trunk.inputs, vectors, name="bert_sentence")


def build_head_model(layers: BertLayers) -> keras.Model:
    """The classifier's head alone, for vectors that `build_sentence_model` gave.

    From `feature_input`, float32 (batch, hidden), to scores, (batch, num_labels), before softmax or
    sigmoid.

    Raises:
        BertError: the layers have no classifier.
    """
    layers.heads.require("classifier")
    vectors = keras.Input((layers.config.hidden_size,), dtype="float32", name="feature_input")
    return keras.Model([vectors], classify(layers, vectors), name="bert_head")


def _answer(task: str) -> keras.layers.Layer:
    """From a classifier's scores to its answer; in float32 in every precision."""
    if task == "classes":
        return softmax("classifier")
    return keras.layers.Activation(OUTPUTS[task], dtype="float32", name="classifier")
