"""Functional Keras models on BERT's layers: the encoder, and what each head answers.

Every builder takes as `source` a `BertConfig` (new layers with random weights, `dtype` their dtype
policy) or a `BertLayers` (the given layers, their weights shared) and gives a plain functional
`keras.Model`. Inputs are int32, (batch, length), length free up to `max_position_embeddings`:

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
from typing import TYPE_CHECKING, Any, Literal

import keras

from bert_tf._moved import moved_names
from bert_tf.errors import BertError
from bert_tf.models.parts import BertLayers, Source, layers_of

if not TYPE_CHECKING:
    __getattr__ = moved_names(__name__)


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

    The outputs are `sequence_output` (batch, length, hidden), and as asked for:

    - `pooler`: `pooled_output` (batch, hidden); as the source has it when left out;
    - `layers`: `layer_0`, `layer_1`, ..., each (batch, length, hidden), by number from 0 (negative
      counts from the last), or `"all"`;
    - `embeddings`: `embedding_output`, (batch, length, hidden);
    - `attention_probs`: `attention_0`, ..., each (batch, heads, length, length).

    Raises:
        BertError: a layer number that the model does not have, or a pooler that it lacks.
    """
    if pooler is None:
        pooler = source.heads.pooler if isinstance(source, BertLayers) else True
    built_on = layers_of(source, dtype, *(["pooler"] if pooler else []))
    trunk = built_on.trunk(attention_mask)
    outputs = {"sequence_output": trunk.sequence_output}
    if pooler:
        outputs["pooled_output"] = built_on.pool(trunk.sequence_output)
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
        for number, probs in enumerate(built_on.attention_probs(trunk)):
            outputs[f"attention_{number}"] = probs
    return keras.Model(trunk.inputs, outputs, name="bert_encoder")
