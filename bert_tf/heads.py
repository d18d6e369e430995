"""Every head as data: its weights by the original's names, what it stands on, what it offers.

A new head is one row of the table and one file in `bert_tf/models/heads/`, called as the head,
which makes its layers and builds its models. Nothing here imports Keras or numpy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from bert_tf.config import BertConfig
from bert_tf.errors import BertError


class Weight(NamedTuple):
    """A weight: in the table with names for numbers, of a model with the numbers.

    Args:
        original: name in the checkpoint; `{layer}` is the number of a transformer layer.
        layer: name of the Keras layer, likewise.
        attribute: dotted path from the layer to its variable.
        shape: in the checkpoint; a string is a field of `BertConfig`, and `"labels"` the number
            of labels of the head; `"hidden_units"` is the width of what the last dense layer of
            a classification head reads.
        transpose: whether the Keras variable is the transpose of what is stored.
        part: the row that it belongs to; empty in the table.
    """

    original: str
    layer: str = ""
    attribute: str = ""
    shape: tuple[Any, ...] = ()
    transpose: bool = False
    part: str = ""

    def turned(self, value: Any) -> Any:
        """An array from the checkpoint's layout to that of Keras, or back; a view."""
        return value.T if self.transpose else value


Needs = Callable[[Mapping[str, Any]], tuple[str, ...]]
"""What gives names of heads for options by name."""


def these(*names: str) -> Needs:
    """These heads, whatever the options."""
    return lambda options: names


_NONE = these()


class Model(NamedTuple):
    """A model that `Bert.model` and `Bert.predictor` know by name.

    Args:
        builder: `"module:function"` in `bert_tf.models`; called with `BertLayers` and the options.
        needs: the heads that it computes, for its options and the heads that there are, by name.
        training: options with which it gives the scores that its head is trained on.
    """

    builder: str
    needs: Needs = _NONE
    training: Mapping[str, Any] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Head:
    """A row of the table: a part of a model, with the weights that belong to it.

    Args:
        name: what `Heads`, `load(new_heads=...)` and `LoadReport` call it.
        title: what a message calls it.
        weights: in the order in which they are drawn. A Keras layer is built for inputs as wide
            as the first axis of its first weight.
        layers: attributes of `BertLayers` that its file makes, with spaces between; None where
            the head is not there.
        needs: heads that it stands on, for the fields of the layout.
        models: by name.
        of: the head that it is a part of, whose file makes its layers.
        layout: fields of the `ClassifierLayout` of that head with which it is there.
        by_default: whether `Heads()` has it.
        released: whether every release of the original has it.
        classes: registered Keras classes that its file defines, with spaces between.
        objectives: what it is trained for, by the name of the task: `"module:class"` in
            `bert_tf.training.objectives`.
        on_vectors: `"module:function"` in `bert_tf.models` that builds the head alone, on vectors
            that a frozen encoder gave once for all; empty where it reads more than one vector.
    """

    name: str
    title: str
    weights: tuple[Weight, ...]
    layers: str = ""
    needs: Needs = _NONE
    models: Mapping[str, Model] = dataclasses.field(default_factory=dict)
    of: str = ""
    layout: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    by_default: bool = False
    released: bool = False
    classes: str = ""
    objectives: Mapping[str, str] = dataclasses.field(default_factory=dict)
    on_vectors: str = ""

    @property
    def module(self) -> str:
        """The module that makes its layers: `make_layers(config, heads, dtype)`."""
        return f"bert_tf.models.heads.{self.of or self.name}"

    @property
    def sized(self) -> bool:
        """Whether it has a number of labels, which is then its value in `Heads`."""
        return any("labels" in weight.shape for weight in self.weights)

    @property
    def base(self) -> bool:
        """Whether it answers nothing itself: other heads stand on it."""
        return not (self.models or self.of)


def _dense(original: str, layer: str, n_in: str, n_out: str, at: str = ""):
    yield Weight(f"{original}/kernel", layer, f"{at}kernel", (n_in, n_out))
    yield Weight(f"{original}/bias", layer, f"{at}bias", (n_out,))


def _norm(original: str, layer: str, at: str = ""):
    yield Weight(f"{original}/LayerNorm/beta", layer, f"{at}beta", ("hidden_size",))
    yield Weight(f"{original}/LayerNorm/gamma", layer, f"{at}gamma", ("hidden_size",))


def _scores(original: str, layer: str, units: str | int, n_in: str = "hidden_size"):
    # Stored [units, hidden]: the original multiplies with the transpose (transpose_b=True).
    yield Weight(f"{original}output_weights", layer, "kernel", (units, n_in), True)
    yield Weight(f"{original}output_bias", layer, "bias", (units,))


def _one_vector(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("pooler",) if options.get("pooling", "pooled") == "pooled" else ()


_E, _L, _T = "bert/embeddings", "bert/encoder/layer_{layer}", "transformer_layer_{layer}"
_H, _I, _V, _U = "hidden_size", "intermediate_size", "vocab_size", "hidden_units"
_P, _S = "max_position_embeddings", "type_vocab_size"

_TABLE = (
    Head(
        "encoder",
        "encoder (bert/embeddings, bert/encoder)",
        (
            Weight(f"{_E}/word_embeddings", "token_embedding", "embeddings", (_V, _H)),
            Weight(f"{_E}/position_embeddings", "position_embedding", "embeddings", (_P, _H)),
            Weight(f"{_E}/token_type_embeddings", "segment_embedding", "embeddings", (_S, _H)),
            *_norm(_E, "embeddings_layer_norm"),
            *_dense(f"{_L}/attention/self/query", _T, _H, _H, "attention.query."),
            *_dense(f"{_L}/attention/self/key", _T, _H, _H, "attention.key."),
            *_dense(f"{_L}/attention/self/value", _T, _H, _H, "attention.value."),
            *_dense(f"{_L}/attention/output/dense", _T, _H, _H, "attention.output_dense."),
            *_norm(f"{_L}/attention/output", _T, "attention_norm."),
            *_dense(f"{_L}/intermediate/dense", _T, _H, _I, "intermediate."),
            *_dense(f"{_L}/output/dense", _T, _I, _H, "output_dense."),
            *_norm(f"{_L}/output", _T, "output_norm."),
        ),
        models={
            "encoder": Model("builders:build_encoder", lambda o: ("pooler",) if o["pooler"] else ())
        },
        released=True,
    ),
    Head(
        "pooler",
        "pooler (bert/pooler)",
        tuple(_dense("bert/pooler/dense", "pooled_dense", _H, _H)),
        "first_token pooled_dense",
        by_default=True,
        released=True,
    ),
    Head(
        "mlm",
        "masked-word head (cls/predictions)",
        (
            *_dense("cls/predictions/transform/dense", "mlm_transform", _H, _H),
            *_norm("cls/predictions/transform", "mlm_layer_norm"),
            # The decoder's kernel is the word-embedding table; only its bias is stored apart.
            Weight("cls/predictions/output_bias", "mlm_logits", "bias", (_V,)),
        ),
        "mlm_transform mlm_activation mlm_layer_norm mlm_bias",
        models={
            "pretraining": Model("heads.pretraining:build_pretraining_model", these("mlm", "nsp")),
            "mlm": Model("heads.mlm:build_mlm_model", these("mlm")),
        },
        released=True,
    ),
    Head(
        "nsp",
        "next-sentence head (cls/seq_relationship)",
        tuple(_scores("cls/seq_relationship/", "nsp_logits", 2)),
        "nsp_dense",
        needs=these("pooler"),
        models={"nsp": Model("heads.nsp:build_nsp_model", these("nsp"))},
        released=True,
    ),
    Head(
        "classifier",
        "classification head (output_weights, output_bias)",
        tuple(_scores("", "classifier_logits", "labels", _U)),
        "mean_pooling classifier_hidden_dropout classifier_hidden classifier_hidden_activation "
        "classifier_dropout classifier_dense",
        needs=_one_vector,
        models={
            "classifier": Model(
                "heads.classifier:build_classifier", these("classifier"), {"logits": True}
            ),
            "sentence": Model("heads.classifier:build_sentence_model", _one_vector),
        },
        objectives={
            "classes": "classifier:Classes",
            "multilabel": "classifier:Multilabel",
            "regression": "classifier:Regression",
        },
        on_vectors="heads.classifier:build_head_model",
    ),
    Head(
        # Not the original's: its head has one layer.
        "classifier_hidden",
        "hidden layer of the classification head (classifier/hidden)",
        tuple(_dense("classifier/hidden", "classifier_hidden", _H, _U)),
        of="classifier",
        layout={"dense_layers": 2},
    ),
    Head(
        "span",
        "answer-span head (cls/squad)",
        tuple(_scores("cls/squad/", "span_logits", 2)),
        "span_dense",
        models={"span": Model("heads.span:build_span_model", these("span"))},
    ),
)

PARTS: dict[str, Head] = {row.name: row for row in _TABLE}
"""Every weight that Google's scripts leave, part by part, and what ours add to them."""

HEADS: dict[str, Head] = {name: row for name, row in PARTS.items() if name != "encoder"}
"""The parts that a model may lack."""

MODELS: dict[str, Model] = {name: model for row in _TABLE for name, model in row.models.items()}
"""The models by name."""

TITLES: dict[str, str] = {name: row.title for name, row in PARTS.items()}
"""What a message calls each part."""

RELEASED: tuple[str, ...] = tuple(name for name, row in PARTS.items() if row.released)
"""The parts of every release of the original, which pretraining trains."""


def parts_of(name: str) -> tuple[str, ...]:
    """A head, and the rows that are parts of it."""
    return tuple(part for part, row in HEADS.items() if name in (part, row.of))


def weights_of(
    config: BertConfig, parts: Iterable[str], labels: Mapping[str, int] | None = None
) -> list[Weight]:
    """All weights of the parts, keys of `PARTS`, layers in numerical order.

    (Not in that of the names: as a string, `layer_10` sorts before `layer_2`.) `labels` has the
    number of labels by head, of those among the parts that have one, and perhaps `hidden_units`.
    """
    wanted = set(parts)
    units = (labels or {}).get(_U, config.hidden_size)
    rows = [(head, row) for head in _TABLE if head.name in wanted for row in head.weights]
    return [
        row._replace(
            original=row.original.format(layer=layer),
            layer=row.layer.format(layer=layer),
            shape=tuple(
                (labels or {})[head.name]
                if dim == "labels"
                else (units if dim == _U else getattr(config, str(dim), dim))
                for dim in row.shape
            ),
            part=head.name,
        )
        for layer in (None, *range(config.num_hidden_layers))
        for head, row in rows
        if (layer is not None) == ("{layer}" in row.original)
    ]


def check_names(names: Iterable[str]) -> None:
    """Makes sure that there are heads of these names.

    Raises:
        BertError: there are not.
    """
    for name in names:
        if name not in HEADS:
            raise BertError(f"there is no head {name!r}; heads are {', '.join(HEADS)}.")
