"""What a training begins from: an earlier checkpoint, and what lies beside it."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from typing import Any

import numpy as np

from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.names import check_shapes, parts_in
from bert_tf.checkpoint.slots import STEP
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER
from bert_tf.heads import RELEASED, weights_of
from bert_tf.hub.locate import locate
from bert_tf.text import Vocabulary
from bert_tf.training.pretraining.spectral import random_start

POSITIONS = "bert/embeddings/position_embeddings"


def start_from_checkpoint(
    path: str | os.PathLike[str], config: BertConfig, seed: int = 0
) -> dict[str, np.ndarray]:
    """Start weights from a checkpoint in the original format.

    A head that the checkpoint lacks starts at random. If the config has more positions than the
    checkpoint, its position table is repeated: to train on from 128 to 512 positions, say (the
    way Longformer was made from RoBERTa; Beltagy et al. 2020, section 5).

    Args:
        path: folder, prefix or file, as for `bert_tf.load`.
        config: the architecture that the model shall have.
        seed: of what starts at random.

    Returns:
        float32 weights by the original's name.

    Raises:
        BertError: the checkpoint does not fit the config.
    """
    start = random_start(config, seed)
    with (
        locate(path, None, None, need_config=False, need_vocab=False) as files,
        CheckpointReader(files.prefix) as reader,
    ):
        shapes = {name: info.shape for name, info in reader.tensors.items()}
        have = parts_in(shapes) & set(RELEASED)
        held = shapes.get(POSITIONS, (0,))[0]
        wanted = config.max_position_embeddings
        if held < wanted and held:
            LOGGER.warning(f"the position table of {held} rows is repeated to fill {wanted}.")
            shapes[POSITIONS] = start[POSITIONS].shape
        missing = check_shapes(weights_of(config, have), shapes, files.prefix, "the config")
        if missing or "encoder" not in have:
            raise BertError(
                f"{files.prefix} is no BERT checkpoint to begin from: it lacks "
                f"{', '.join(missing[:5]) or 'the encoder'}."
            )
        for part in sorted(set(RELEASED) - have):
            LOGGER.warning(f"the checkpoint has no {part} weights; they start at random.")
        for weight in weights_of(config, have):
            value = reader.read(weight.original).astype(np.float32)
            if weight.original == POSITIONS and held < wanted:
                value = np.resize(value, start[POSITIONS].shape)
            start[weight.original] = value
    return start


class Beside:
    """Config and vocabulary that lie beside an init checkpoint, if there are any.

    Args:
        path: as for `start_from_checkpoint`; None for no checkpoint.

    Raises:
        BertError: there is no checkpoint at the path, or a file beside it is damaged.
    """

    def __init__(self, path: str | None) -> None:
        self.config: BertConfig | None = None
        self.vocab: Vocabulary | None = None
        if path is None:
            return
        with locate(path, None, None, need_config=False, need_vocab=False) as files:
            if files.config_path is not None:
                self.config = BertConfig.from_file(files.config_path)
            if files.vocab_path is not None:
                self.vocab = Vocabulary.load(files.vocab_path)


def last_checkpoint(folder: str) -> str | None:
    """The prefix of the training checkpoint with the highest step in a folder, or None."""
    # As `TrainingCheckpoints` finds it, but without a framework.
    paths = glob.glob(os.path.join(glob.escape(folder), "model.ckpt-*.index"))
    steps = [int(found[1]) for path in paths if (found := re.search(r"-(\d+)\.index$", path))]
    return os.path.join(folder, f"model.ckpt-{max(steps)}") if steps else None


def step_of(path: str) -> int:
    """The step that a checkpoint says it is of; 0 if it does not."""
    with (
        locate(path, None, None, need_config=False, need_vocab=False) as files,
        CheckpointReader(files.prefix) as reader,
    ):
        found: Any = reader.read(STEP) if STEP in reader.tensors else files.step
    with contextlib.suppress(TypeError):
        return int(found)
    return 0
