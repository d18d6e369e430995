"""Functional Keras models on BERT's layers: the encoder, and what each head answers.

Every builder takes a `BertConfig` (new layers with random weights) or a `BertLayers` (the given
layers, their weights shared) and gives a plain functional `keras.Model`. Inputs are int32,
(batch, length), length free up to `max_position_embeddings`:

- `token_input`: word-piece ids, 0 where padded;
- `seg_input`: 0 for the first text with its [CLS] and [SEP], 1 for the second with its [SEP];
- `mask_input`: 1 at each position whose word is asked for, else 0. This is NOT the attention mask
  that Google's code calls `input_mask`: attention ignores padding by itself. Feeding
  `token_input != 0` here asks for every word.

`attention_mask=True` adds an input of that name, 1 where a position may be attended to, for masks
that are not simply `token_input != 0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras

from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.models.head_layers import (
    AskedPositions,
    ClsAndPositions,
    DropFirst,
    GatherPositions,
    MaskedProbabilities,
    PieceScores,
    TopPieces,
)
from bert_tf.models.heads import OUTPUTS, POOLINGS, ClassifierLayout, Heads
from bert_tf.models.parts import BertLayers, Trunk, ids_input

Source = BertConfig | BertLayers


def _layers(source: Source, dtype: Any, **needed: Any) -> BertLayers:
    """The source's layers if it is a `BertLayers` that has what is needed, else new ones."""
    if isinstance(source, BertConfig):
        needed.setdefault("pooler", False)
        return BertLayers(source, Heads(**needed), dtype)
    if dtype is not None:
        raise BertError(
            "dtype cannot be chosen for layers that exist already; pass it where they are made, "
            "e.g. bert_tf.load(path, dtype='mixed_bfloat16')."
        )
    source.heads.require(*(name for name, value in needed.items() if value))
    return source


def _inputs(trunk: Trunk, third: str) -> list:
    """The trunk's inputs with one more in the third place; an attention mask comes last."""
    tokens, segments, *mask = trunk.inputs
    return [tokens, segments, ids_input(third), *mask]


def build_encoder(
    source: Source,
    *,
    layers: Sequence[int] | Literal["all"] = (),
    embeddings: bool = False,
    attention_probs: bool = False,
    attention_mask: bool = False,
    pooler: bool | None = None,
    dtype: Any = None,
) -> keras.Model:
    """The encoder: inputs `token_input`, `seg_input`; a dict of named outputs.

    Args:
        source: a config or existing layers.
        layers: further layers to give, by number from 0 (negative counts from the last), or
            `"all"`; outputs `layer_0`, `layer_1`, ..., each (batch, length, hidden).
        embeddings: also give `embedding_output`, (batch, length, hidden).
        attention_probs: also give `attention_0`, ..., each (batch, heads, length, length).
        attention_mask: add the input `attention_mask`.
        pooler: whether to give `pooled_output`; as the source has it when left out.
        dtype: dtype policy, for new layers.

    Returns:
        A model with `sequence_output` (batch, length, hidden), `pooled_output` (batch, hidden)
        where there is a pooler, and what was asked for besides.

    Raises:
        BertError: a layer number that the model does not have, or a pooler that it lacks.
    """
    if pooler is None:
        pooler = source.heads.pooler if isinstance(source, BertLayers) else True
    parts = _layers(source, dtype, pooler=pooler)
    trunk = parts.trunk(attention_mask)
    outputs = {"sequence_output": trunk.sequence_output}
    if pooler:
        outputs["pooled_output"] = parts.pool(trunk.sequence_output)
    if embeddings:
        outputs["embedding_output"] = trunk.embedded
    count = len(trunk.hidden)
    for number in range(count) if layers == "all" else layers:
        if not -count <= number < count:
            raise BertError(
                f"layer {number} does not exist: this model has layers 0 to {count - 1} "
                f"(or -1, the last, to {-count})."
            )
        outputs[f"layer_{number % count}"] = trunk.hidden[number]
    if attention_probs:
        for number, probs in enumerate(parts.attention_probs(trunk)):
            outputs[f"attention_{number}"] = probs
    return keras.Model(trunk.inputs, outputs, name="bert_encoder")


def build_pretraining_model(
    source: Source, *, logits: bool = False, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """Masked words and next sentence at once, as the Keras wrappers of 2018 gave them.

    The dense first output is large: 245 MB a text of 512 pieces with 119,547 vocabulary entries.
    `build_mlm_model` gives the same numbers at the asked positions alone.

    Args:
        source: a config or existing layers.
        logits: give logits instead of probabilities, at every position.
        attention_mask: add the input `attention_mask`.
        dtype: dtype policy, for new layers.

    Returns:
        A model from `token_input`, `seg_input`, `mask_input` to two outputs:
        `[0]` `mlm`, (batch, length, vocab): probabilities, zero where `mask_input` is 0;
        `[1]` `nsp`, (batch, 2): probabilities, index 0 "B follows A", index 1 "B is random".

    Raises:
        BertError: the source lacks one of the heads.
    """
    parts = _layers(source, dtype, pooler=True, mlm=True, nsp=True)
    trunk = parts.trunk(attention_mask)
    inputs = _inputs(trunk, "mask_input")
    mlm = parts.predict_masked(trunk.sequence_output)
    nsp = parts.nsp_dense(parts.pool(trunk.sequence_output))
    if not logits:
        mlm = MaskedProbabilities(name="mlm")(mlm, inputs[2])
        nsp = _softmax("nsp")(nsp)
    return keras.Model(inputs, [mlm, nsp], name="bert_pretraining")


def build_gathered_pretraining_model(
    source: Source, *, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """What pretraining trains: both heads, each computed only where its loss looks.

    The last layer is computed at [CLS] and the asked positions alone, the vocabulary projection
    at the asked positions: of 128 positions with 20 asked for, that is a sixth of both.

    Args:
        source: a config or existing layers.
        attention_mask: add the input `attention_mask`.
        dtype: dtype policy, for new layers.

    Returns:
        A model from `token_input`, `seg_input` and `position_input`, (batch, n) int32, the
        original's `masked_lm_positions`, to two outputs: `[0]` MLM logits, (batch, n, vocab);
        `[1]` NSP logits, (batch, 2), index 0 "B follows A", index 1 "B is random".

    Raises:
        BertError: the source lacks one of the heads.
    """
    parts = _layers(source, dtype, pooler=True, mlm=True, nsp=True)
    trunk = parts.trunk(attention_mask)
    inputs = _inputs(trunk, "position_input")
    pick = ClsAndPositions(dtype=parts.dtype, name="cls_and_positions")
    hidden = parts.last_layer_at(trunk, lambda x: pick(x, inputs[2]))
    mlm = parts.predict_masked(DropFirst(dtype=parts.dtype, name="asked")(hidden))
    nsp = parts.nsp_dense(parts.pool(hidden))
    return keras.Model(inputs, [mlm, nsp], name="bert_gathered_pretraining")


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

    Args:
        source: a config or existing layers.
        max_predictions: asked positions a row at most, in order; a row may ask for fewer. 20 is
            the original's default `max_predictions_per_seq`. With None the positions are an
            input instead: `position_input`, (batch, n), takes the place of `mask_input`, and n
            may differ from call to call (the original's `masked_lm_positions`).
        output: `"probabilities"`, `"logits"`, `"top_k"` or `"scores"`.
        top_k: how many pieces a position, for `"top_k"`.
        attention_mask: add the input `attention_mask`.
        dtype: dtype policy, for new layers.

    Returns:
        A model from `token_input`, `seg_input`, `mask_input` to `mlm`,
        (batch, max_predictions, vocab), zero where a row asks for fewer. For `"top_k"` to a
        dict of `top_ids` int32 and `top_log_probabilities` float32,
        (batch, max_predictions, top_k), most probable first; pieces whose entry in the weight
        `blocked` of the layer `top` is 1 are skipped. For `"scores"`, with one position a row,
        there is one more input, `piece_input`, (batch, count), and the output is the
        log-probability of each of these pieces there, (batch, count).

    Raises:
        BertError: the source has no masked-word head, or `output` is not one of the four.
    """
    if output not in ("probabilities", "logits", "top_k", "scores"):
        raise BertError(
            f"output={output!r} is not one of 'probabilities', 'logits', 'top_k', 'scores'."
        )
    parts = _layers(source, dtype, mlm=True)
    asked = "position_input" if max_predictions is None else "mask_input"
    trunk = parts.trunk(attention_mask)
    inputs = _inputs(trunk, asked)
    if max_predictions is None:
        positions, real = inputs[2], None
    else:
        positions, real = AskedPositions(max_predictions, name="asked_positions")(inputs[2])
    gather = GatherPositions(dtype=parts.dtype, name="gather")
    # The last layer is needed at the asked positions alone, the vocabulary projection likewise.
    logits = parts.predict_masked(parts.last_layer_at(trunk, lambda x: gather(x, positions)))
    if output == "logits":
        outputs = logits
    elif output == "probabilities":
        masked = MaskedProbabilities(name="mlm")
        outputs = _softmax("mlm")(logits) if real is None else masked(logits, real)
    elif output == "top_k":
        ids, scores = TopPieces(min(top_k, parts.config.vocab_size), name="top")(logits)
        outputs = {"top_ids": ids, "top_log_probabilities": scores}
    else:
        inputs = [*inputs, ids_input("piece_input")]
        outputs = PieceScores(name="scores")(logits, inputs[-1])
    return keras.Model(inputs, outputs, name="bert_mlm")


def build_nsp_model(
    source: Source, *, logits: bool = False, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """Next sentence: from `token_input`, `seg_input` to `nsp`, (batch, 2).

    Index 0 is "B follows A", index 1 "B is random", which is the reverse of what most expect.

    Raises:
        BertError: the source has no pooler or no next-sentence head.
    """
    parts = _layers(source, dtype, pooler=True, nsp=True)
    trunk = parts.trunk(attention_mask)
    nsp = parts.nsp_dense(parts.pool_alone(trunk))
    return keras.Model(trunk.inputs, nsp if logits else _softmax("nsp")(nsp), name="bert_nsp")


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

    Args:
        source: a config or existing layers.
        num_labels: how many labels (1 for a regression); existing layers know it.
        layout: of a new classifier; existing layers have theirs.
        logits: give the scores before softmax or sigmoid.
        attention_mask: add the input `attention_mask`.
        dtype: dtype policy, for new layers.

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
        layout = layout or ClassifierLayout()
        heads = Heads(pooler=layout.pooling == "pooled", classifier=num_labels, layout=layout)
        parts = BertLayers(source, heads, dtype)
    else:
        parts = _layers(source, dtype)
        parts.heads.require_classifier()
        if num_labels not in (None, parts.heads.classifier):
            raise BertError(
                f"num_labels={num_labels}, but this model's head has {parts.heads.classifier} "
                f"labels."
            )
        if layout not in (None, parts.heads.layout):
            raise BertError(f"this model's classifier has another layout: {parts.heads.layout}.")
    trunk = parts.trunk(attention_mask)
    scores = parts.classify(parts.sentence_vector(trunk, parts.heads.layout.pooling))
    outputs = scores if logits else _answer(parts.heads.layout.task)(scores)
    return keras.Model(trunk.inputs, outputs, name="bert_classifier")


def build_sentence_model(
    source: Source, *, pooling: str = "pooled", attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """One vector for each text, what a classifier's head stands on.

    Args:
        source: a config or existing layers.
        pooling: `"pooled"`, the pooler's output, or `"mean"` of the last layer's outputs at all
            pieces that are not padding, [CLS] and [SEP] counted.
        attention_mask: add the input `attention_mask`.
        dtype: dtype policy, for new layers.

    Returns:
        A model from `token_input`, `seg_input` to `(batch, hidden)`.

    Raises:
        BertError: there is no such pooling, or the source lacks the pooler.
    """
    if pooling not in POOLINGS:
        raise BertError(f"pooling={pooling!r} is not one of {', '.join(POOLINGS)}.")
    parts = _layers(source, dtype, pooler=pooling == "pooled")
    trunk = parts.trunk(attention_mask)
    vectors = parts.sentence_vector(trunk, pooling)
    return keras.Model(trunk.inputs, vectors, name="bert_sentence")


def build_head_model(parts: BertLayers) -> keras.Model:
    """The classifier's head alone, for vectors that `build_sentence_model` gave.

    Returns:
        A model from `feature_input`, float32 (batch, hidden), to the head's scores,
        (batch, num_labels), before softmax or sigmoid.

    Raises:
        BertError: the layers have no classifier.
    """
    parts.heads.require("classifier")
    vectors = keras.Input((parts.config.hidden_size,), dtype="float32", name="feature_input")
    return keras.Model([vectors], parts.classify(vectors), name="bert_head")


def build_span_model(
    source: Source, *, attention_mask: bool = False, dtype: Any = None
) -> keras.Model:
    """Start and end of an answer, as `run_squad.py` makes it.

    Returns:
        A model from `token_input`, `seg_input` to `span_logits`, (batch, length, 2): the logit
        of a position being the answer's start (index 0) and its end (index 1).

    Raises:
        BertError: the source has no span head.
    """
    parts = _layers(source, dtype, span=True)
    trunk = parts.trunk(attention_mask)
    return keras.Model(trunk.inputs, parts.span_dense(trunk.sequence_output), name="bert_span")


def _answer(task: str) -> keras.layers.Layer:
    """From a classifier's scores to its answer; in float32 in every precision."""
    if task == "classes":
        return _softmax("classifier")
    return keras.layers.Activation(OUTPUTS[task], dtype="float32", name="classifier")


def _softmax(name: str) -> keras.layers.Softmax:
    return keras.layers.Softmax(dtype="float32", name=name)
