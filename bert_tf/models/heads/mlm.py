"""The masked-word head: which token stood where there is a [MASK] now."""

from __future__ import annotations

from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.models.head_layers import (
    AskedPositions,
    GatherPositions,
    MaskedProbabilities,
    OutputBias,
    PieceScores,
    TopPieces,
    softmax,
)
from bert_tf.models.layers import Activation, dense, layer_norm
from bert_tf.models.layout import Heads
from bert_tf.models.parts import BertLayers, Source, ids_input, layers_of, with_input


def make_layers(config: BertConfig, heads: Heads, dtype: Any) -> dict[str, keras.layers.Layer]:
    """The head's layers, by their attribute of `BertLayers`."""
    transform = dense(config.hidden_size, "mlm_transform", config.initializer_range, dtype)
    return {
        "mlm_transform": transform,
        "mlm_activation": Activation(config.hidden_act, dtype=dtype, name="mlm_activation"),
        "mlm_layer_norm": layer_norm("mlm_layer_norm", dtype, config.layer_norm_eps),
        "mlm_bias": OutputBias(dtype=dtype, name="mlm_logits"),
    }


def predict_masked(layers: BertLayers, hidden):
    """MLM logits of hidden states: (batch, n, hidden) -> (batch, n, vocab)."""
    x = layers.mlm_layer_norm(layers.mlm_activation(layers.mlm_transform(hidden)))
    return layers.mlm_bias(layers.token_embedding(x, reverse=True))


def build_mlm_model(
    source: Source,
    *,
    max_predictions: int | None = 20,
    output: str = "probabilities",
    top_k: int = 5,
    attention_mask: bool = False,
    dtype: Any = None,
) -> keras.Model:
    """Masked words at the asked positions alone: gathers them before the vocabulary projection.

    Of a row at most `max_predictions` positions are asked for, in order; 20 is the original's
    `max_predictions_per_seq`. With None the positions are an input: `position_input`, (batch, n),
    instead of `mask_input`, n free at each call (the original's `masked_lm_positions`).

    Returns:
        A model from `token_input`, `seg_input`, `mask_input` to what `output` says:

        - `"probabilities"` or `"logits"`: `mlm`, (batch, max_predictions, vocab), zero where a row
          asks for fewer;
        - `"top_k"`: a dict of `top_ids` int32 and `top_log_probabilities` float32,
          (batch, max_predictions, top_k), most probable first, without tokens whose entry in the
          weight `blocked` of the layer `top` is 1;
        - `"scores"`: for one position a row and one more input, `piece_input`, (batch, count),
          the log-probability of each of these tokens there, (batch, count).

    Raises:
        BertError: the source has no masked-word head, or `output` is not one of the four.
    """
    if output not in (known := ("probabilities", "logits", "top_k", "scores")):
        raise BertError(f"output={output!r} is not one of {', '.join(known)}.")
    layers = layers_of(source, dtype, "mlm")
    asked = "position_input" if max_predictions is None else "mask_input"
    trunk = layers.trunk(attention_mask)
    inputs = with_input(trunk, asked)
    if max_predictions is None:
        positions, real = inputs[2], None
    else:
        positions, real = AskedPositions(max_predictions, name="asked_positions")(inputs[2])
    gather = GatherPositions(dtype=layers.dtype, name="gather")
    # The last layer is needed at the asked positions alone, the vocabulary projection likewise.
    logits = predict_masked(layers, layers.last_layer_at(trunk, lambda x: gather(x, positions)))
    if output == "logits":
        outputs = logits
    elif output == "probabilities":
        masked = MaskedProbabilities(name="mlm")
        outputs = softmax("mlm")(logits) if real is None else masked(logits, real)
    elif output == "top_k":
        ids, scores = TopPieces(min(top_k, layers.config.vocab_size), name="top")(logits)
        outputs = {"top_ids": ids, "top_log_probabilities": scores}
    else:
        inputs = [*inputs, ids_input("piece_input")]
        outputs = PieceScores(name="scores")(logits, inputs[-1])
    return keras.Model(inputs, outputs, name="bert_mlm")
