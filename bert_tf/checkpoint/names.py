"""The one table of weight names: the original's name, our layer and attribute, and the shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from bert_tf.config import BertConfig
from bert_tf.errors import BertError


@dataclasses.dataclass(frozen=True)
class WeightName:
    """One row of the table; `{layer}` in it stands for the number of a transformer layer.

    Args:
        part: the part of the model that the weight belongs to (see `PARTS`).
        original: name in the checkpoint.
        layer: name of the Keras layer.
        attribute: dotted path from the layer to its variable.
        shape: shape in the checkpoint; a string is a field of `BertConfig`, and `"labels"` the
            number of labels of a classifier.
        transpose: whether the Keras variable is the transpose of what is stored.
    """

    part: str
    original: str
    layer: str
    attribute: str
    shape: tuple[str | int, ...]
    transpose: bool = False


@dataclasses.dataclass(frozen=True)
class Weight:
    """A `WeightName` of one model: numbers filled in."""

    part: str
    original: str
    layer: str
    attribute: str
    shape: tuple[int, ...]
    transpose: bool


def _dense(part: str, original: str, layer: str, at: str, n_in: str, n_out: str):
    dot = f"{at}." if at else ""
    yield WeightName(part, f"{original}/kernel", layer, f"{dot}kernel", (n_in, n_out))
    yield WeightName(part, f"{original}/bias", layer, f"{dot}bias", (n_out,))


def _norm(part: str, original: str, layer: str, at: str = ""):
    dot = f"{at}." if at else ""
    yield WeightName(part, f"{original}/LayerNorm/beta", layer, f"{dot}beta", ("hidden_size",))
    yield WeightName(part, f"{original}/LayerNorm/gamma", layer, f"{dot}gamma", ("hidden_size",))


def _head(part: str, original: str, layer: str, units: str | int):
    # Stored [units, hidden]: the original multiplies with the transpose (transpose_b=True).
    shape = (units, "hidden_size")
    yield WeightName(part, f"{original}output_weights", layer, "kernel", shape, transpose=True)
    yield WeightName(part, f"{original}output_bias", layer, "bias", (units,))


_E, _L, _T = "bert/embeddings", "bert/encoder/layer_{layer}", "transformer_layer_{layer}"
_H, _I = "hidden_size", "intermediate_size"

TABLE: tuple[WeightName, ...] = (
    WeightName(
        "encoder", f"{_E}/word_embeddings", "token_embedding", "embeddings", ("vocab_size", _H)
    ),
    WeightName(
        "encoder",
        f"{_E}/position_embeddings",
        "position_embedding",
        "embeddings",
        ("max_position_embeddings", _H),
    ),
    WeightName(
        "encoder",
        f"{_E}/token_type_embeddings",
        "segment_embedding",
        "embeddings",
        ("type_vocab_size", _H),
    ),
    *_norm("encoder", _E, "embeddings_layer_norm"),
    *_dense("encoder", f"{_L}/attention/self/query", _T, "attention.query", _H, _H),
    *_dense("encoder", f"{_L}/attention/self/key", _T, "attention.key", _H, _H),
    *_dense("encoder", f"{_L}/attention/self/value", _T, "attention.value", _H, _H),
    *_dense("encoder", f"{_L}/attention/output/dense", _T, "attention.output_dense", _H, _H),
    *_norm("encoder", f"{_L}/attention/output", _T, "attention_norm"),
    *_dense("encoder", f"{_L}/intermediate/dense", _T, "intermediate", _H, _I),
    *_dense("encoder", f"{_L}/output/dense", _T, "output_dense", _I, _H),
    *_norm("encoder", f"{_L}/output", _T, "output_norm"),
    *_dense("pooler", "bert/pooler/dense", "pooled_dense", "", _H, _H),
    *_dense("mlm", "cls/predictions/transform/dense", "mlm_transform", "", _H, _H),
    *_norm("mlm", "cls/predictions/transform", "mlm_layer_norm"),
    # The decoder's kernel is the word-embedding table; only its bias is stored apart.
    WeightName("mlm", "cls/predictions/output_bias", "mlm_logits", "bias", ("vocab_size",)),
    *_head("nsp", "cls/seq_relationship/", "nsp_logits", 2),
    *_head("classifier", "", "classifier_logits", "labels"),
    # Not the original's: its head has one layer.
    *_dense("classifier_hidden", "classifier/hidden", "classifier_hidden", "", _H, _H),
    *_head("span", "cls/squad/", "span_logits", 2),
)
"""Every weight that Google's scripts leave behind, part by part, and what ours add to them."""

PARTS = {
    "encoder": "encoder (bert/embeddings, bert/encoder)",
    "pooler": "pooler (bert/pooler)",
    "mlm": "masked-word head (cls/predictions)",
    "nsp": "next-sentence head (cls/seq_relationship)",
    "classifier": "classification head (output_weights, output_bias)",
    "classifier_hidden": "hidden layer of the classification head (classifier/hidden)",
    "span": "answer-span head (cls/squad)",
}
"""The parts by name, with what a message calls them."""


def weights_of(config: BertConfig, parts: Iterable[str], labels: int | None = None) -> list[Weight]:
    """All weights of the parts, layers in numerical order.

    (Not in that of the names: as a string, `layer_10` sorts before `layer_2`.)

    Args:
        config: the architecture.
        parts: keys of `PARTS`.
        labels: number of labels, if the classifier is among the parts.
    """
    wanted = set(parts)
    found = []
    for layer in (None, *range(config.num_hidden_layers)):
        for row in TABLE:
            if row.part in wanted and (layer is not None) == ("{layer}" in row.original):
                shape = tuple(_size(config, labels, dim) for dim in row.shape)
                found.append(
                    Weight(
                        row.part,
                        row.original.format(layer=layer),
                        row.layer.format(layer=layer),
                        row.attribute,
                        shape,
                        row.transpose,
                    )
                )
    return found


def _size(config: BertConfig, labels: int | None, dim: str | int) -> int:
    if dim == "labels":
        if labels is None:
            raise ValueError("the number of labels is needed for a classifier's weights")
        return labels
    return dim if isinstance(dim, int) else getattr(config, dim)


def parts_in(names: Iterable[str]) -> set[str]:
    """The parts of which a checkpoint holds at least one weight.

    A part that is there only in places is in the result: its missing weights are then an error,
    where a part that is not there at all is simply something the model cannot do.
    """
    layerless = {row.original: row.part for row in TABLE if "{layer}" not in row.original}
    return {
        "encoder" if name.startswith("bert/encoder/layer_") else layerless[name]
        for name in names
        if name in layerless or name.startswith("bert/encoder/layer_")
    }


def check_shapes(
    weights: Iterable[Weight], shapes: Mapping[str, tuple[int, ...]], where: str, config_where: str
) -> list[str]:
    """Compares the weights that a config promises with the tensors of a file.

    Args:
        weights: what the config promises.
        shapes: what the file holds: shape by name.
        where: the checkpoint, for messages.
        config_where: the config, for messages.

    Returns:
        The names of the weights that the file lacks.

    Raises:
        BertError: a tensor has another shape than the config says, or the file has more layers.
    """
    missing = []
    promised = {weight.original for weight in weights}
    for weight in weights:
        shape = shapes.get(weight.original)
        if shape is None:
            missing.append(weight.original)
        elif shape != weight.shape:
            raise BertError(
                f"{config_where} does not fit {where}: tensor {weight.original} has the shape "
                f"{list(shape)} in the file, and {list(weight.shape)} by the config"
                f"{_hint(weight.original)}. Pass the bert_config.json that belongs to this "
                f"checkpoint (config=..., --config)."
            )
    for name in shapes:
        last = name.rsplit("/", 1)[-1]
        if name.startswith("bert/encoder/layer_") and last in ("kernel", "bias"):
            number = int(name.split("/")[2].removeprefix("layer_"))
            if name not in promised:
                raise BertError(
                    f"{config_where} does not fit {where}: the file has a tensor {name}, but by "
                    f"the config (num_hidden_layers) layer_{number} does not exist. Pass the "
                    f"bert_config.json that belongs to this checkpoint (config=..., --config)."
                )
    return missing


def _hint(name: str) -> str:
    row = next((row for row in TABLE if row.original == name), None)
    fields = [dim for dim in row.shape if isinstance(dim, str)] if row else []
    return f" (its {' and '.join(fields)})" if fields else ""
