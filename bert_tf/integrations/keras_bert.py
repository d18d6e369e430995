"""keras-bert's way to load a model, for code that was written for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras

from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.loading import load
from bert_tf.text import Vocabulary


def load_trained_model_from_checkpoint(
    config_file: str | os.PathLike[str],
    checkpoint_file: str | os.PathLike[str],
    training: bool = False,
    trainable: bool | None = None,
    output_layer_num: int | Sequence[int] = 1,
    seq_len: int | None = int(1e9),
    **options: Any,
) -> keras.Model:
    """A checkpoint as a functional Keras model, called as in keras-bert.

    Names, order and defaults are those of keras-bert 0.89. The models differ in this: rows may have
    any length up to `max_position_embeddings`, so that texts need not be padded to 512, and outputs
    agree with Google's code. For all else use `bert_tf.load`.

    Example:
        >>> from bert_tf.hub.store import embedded
        >>> folder = embedded()
        >>> model = load_trained_model_from_checkpoint(
        ...     f"{folder}/bert_config.json", f"{folder}/bert_model.ckpt", training=True
        ... )
        >>> [tensor.name for tensor in model.inputs]
        ['token_input', 'seg_input', 'mask_input']

    Args:
        config_file: `bert_config.json`.
        checkpoint_file: the prefix, e.g. `.../bert_model.ckpt`. No `vocab.txt` is needed.
        training: True for the pretraining model: inputs `token_input`, `seg_input`, `mask_input`,
            outputs `[0]` (batch, length, vocabulary) and `[1]` (batch, 2). False for the encoder:
            inputs `token_input`, `seg_input`, output (batch, length, hidden). All inputs are
            int32, (batch, length).
        trainable: whether the weights can be trained; as `training` when left out.
        output_layer_num: of the encoder: how many of the last layers' outputs are concatenated, or
            a list of their indices, -1 for the last.
        seq_len: accepted and ignored: shorter rows need no other model.
        options: keras-bert's other options, which are refused.

    Raises:
        BertError: a file is missing or damaged, the checkpoint has no pretraining heads and
            `training` is true, or an option is not supported.
    """
    if options:
        raise BertError(
            f"{', '.join(options)}: not supported. Use bert_tf.load, and Keras on its models."
        )
    config = BertConfig.from_file(config_file)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    others = (f"[unused{number}]" for number in range(len(special), config.vocab_size))
    vocab = Vocabulary.from_lines([*special, *others])  # keras-bert takes none here
    bert = load(checkpoint_file, config=config, vocab=vocab, lower_case=False)
    if training:
        model = bert.pretraining_model()
    else:
        count = config.num_hidden_layers
        layers = output_layer_num
        if isinstance(layers, int):
            layers = range(-1, -1 - min(layers, count), -1)
        encoder = bert.encoder_model(layers=layers, pooler=False)
        found = [encoder.output[f"layer_{number % count}"] for number in reversed(layers)]
        output = keras.ops.concatenate(found, axis=-1) if len(found) > 1 else found[0]
        model = keras.Model(encoder.inputs, output, name="bert_encoder")
    model.trainable = training if trainable is None else trainable
    return model
