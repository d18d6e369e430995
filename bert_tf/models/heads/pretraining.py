"""The two heads of pretraining in one model: masked words and next sentence."""

from __future__ import annotations

from typing import Any

import keras

from bert_tf.models.head_layers import ClsAndPositions, DropFirst, MaskedProbabilities, softmax
from bert_tf.models.heads.mlm import predict_masked
from bert_tf.models.parts import Source, layers_of, with_input


def build_pretraining_model(
    source: Source, *, logits: bool = False, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """Masked words and next sentence at once, as the Keras wrappers of 2018 gave them.

    The dense first output is large: 245 MB a text of 512 tokens with 119,547 vocabulary entries.
    `build_mlm_model` gives the same numbers at the asked positions alone. With `logits` the outputs
    are logits instead of probabilities, at every position.

    Returns:
        A model from `token_input`, `seg_input`, `mask_input` to two outputs:
        `[0]` `mlm`, (batch, length, vocab): probabilities, zero where `mask_input` is 0;
        `[1]` `nsp`, (batch, 2): probabilities, index 0 "B follows A", index 1 "B is random".

    Raises:
        BertError: the source lacks one of the heads.
    """
    layers = layers_of(source, dtype, "mlm", "nsp")
    trunk = layers.trunk(attention_mask)
    inputs = with_input(trunk, "mask_input")
    mlm = predict_masked(layers, trunk.sequence_output)
    nsp = layers.nsp_dense(layers.pool(trunk.sequence_output))
    if not logits:
        mlm = MaskedProbabilities(name="mlm")(mlm, inputs[2])
        nsp = softmax("nsp")(nsp)
    return keras.Model(inputs, [mlm, nsp], name="bert_pretraining")


def build_gathered_pretraining_model(
    source: Source, *, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """What pretraining trains: both heads, each computed only where its loss looks.

    The last layer is computed at [CLS] and the asked positions alone, the vocabulary projection
    at the asked positions: of 128 positions with 20 asked for, that is a sixth of both.

    Returns:
        A model from `token_input`, `seg_input` and `position_input`, (batch, n) int32, the
        original's `masked_lm_positions`, to two outputs: `[0]` MLM logits, (batch, n, vocab);
        `[1]` NSP logits, (batch, 2), index 0 "B follows A", index 1 "B is random".

    Raises:
        BertError: the source lacks one of the heads.
    """
    layers = layers_of(source, dtype, "mlm", "nsp")
    trunk = layers.trunk(attention_mask)
    inputs = with_input(trunk, "position_input")
    pick = ClsAndPositions(dtype=layers.dtype, name="cls_and_positions")
    hidden = layers.last_layer_at(trunk, lambda x: pick(x, inputs[2]))
    mlm = predict_masked(layers, DropFirst(dtype=layers.dtype, name="asked")(hidden))
    nsp = layers.nsp_dense(layers.pool(hidden))
    return keras.Model(inputs, [mlm, nsp], name="bert_gathered_pretraining")
