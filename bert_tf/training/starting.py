"""What a training begins from: an earlier checkpoint, its config and its vocabulary."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
from typing import Any

import numpy as np

from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.dtypes import is_sound, refuse_unsound
from bert_tf.checkpoint.names import STEP, check_shapes, parts_in
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.files.reading import finish_groups
from bert_tf.heads import RELEASED, weights_of
from bert_tf.hub.locate import locate
from bert_tf.text import Vocabulary
from bert_tf.training.pretraining.spectral import random_start

BASE = "model.ckpt"
"""Checkpoints are called `model.ckpt-<step>`, like those of the original."""

POSITIONS = "bert/embeddings/position_embeddings"

_located = functools.partial(locate, need_config=False, need_vocab=False)


def start_from_checkpoint(
    path: str | os.PathLike[str], config: BertConfig, seed: int = 0
) -> dict[str, np.ndarray]:
    """Start weights from a checkpoint in the original format.

    A head that the checkpoint lacks starts at random. If the config has more positions than the
    checkpoint, its position table is repeated, say from 128 to 512 (as Longformer was made from
    RoBERTa; Beltagy et al. 2020, section 5).

    Args:
        path: folder, prefix or file, as for `bert_tf.load`.
        config: the architecture that the model shall have.
        seed: of what starts at random.

    Returns:
        float32 weights by the original's name.

    Raises:
        BertError: the checkpoint does not fit the config, or holds NaN or infinite numbers.
    """
    start = random_start(config, seed)
    with _located(path) as files, CheckpointReader(files.prefix) as reader:
        shapes = {name: info.shape for name, info in reader.tensors.items()}
        have = parts_in(shapes) & set(RELEASED)
        held = shapes.get(POSITIONS, (0,))[0]
        wanted = config.max_position_embeddings
        if held < wanted and held:
            warn(f"the position table of {held} rows is repeated to fill {wanted}.")
            shapes[POSITIONS] = start[POSITIONS].shape
        missing = check_shapes(weights_of(config, have), shapes, files.prefix, "the config")
        if missing or "encoder" not in have:
            raise BertError(
                f"{files.prefix} is no BERT checkpoint to start from: it lacks "
                f"{', '.join(missing[:5]) or 'the encoder'}."
            )
        for part in sorted(set(RELEASED) - have):
            warn(f"the checkpoint has no {part} weights; they start at random.")
        for weight in weights_of(config, have):
            value = reader.read(weight.original).astype(np.float32)
            if weight.original == POSITIONS and held < wanted:
                value = np.resize(value, start[POSITIONS].shape)
            start[weight.original] = value
            if not is_sound(value):
                refuse_unsound([weight.original], files.prefix)
    return start


def config_and_vocab(path: str | None) -> tuple[BertConfig | None, Vocabulary | None]:
    """Config and vocabulary in the folder of an init checkpoint, if there are any.

    Args:
        path: as for `start_from_checkpoint`; None for no checkpoint.

    Raises:
        BertError: there is no checkpoint at the path, or config or vocabulary are damaged.
    """
    if path is None:
        return None, None
    with _located(path) as files:
        warn(*files.warnings)
        config = None if files.config_path is None else BertConfig.from_file(files.config_path)
        return config, None if files.vocab_path is None else Vocabulary.load(files.vocab_path)


def last_checkpoint(folder: str) -> str | None:
    """The prefix of the training checkpoint with the highest step in a folder, or None."""
    steps = steps_in(folder)
    return os.path.join(folder, f"{BASE}-{steps[-1]}") if steps else None


def steps_in(folder: str) -> list[int]:
    """The steps of all complete training checkpoints in a folder, ascending."""
    finish_groups(folder)
    names = glob.glob(f"{BASE}-*.index", root_dir=folder)
    found = (re.fullmatch(re.escape(BASE) + r"-(\d+)\.index", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def step_of(path: str) -> int:
    """The step that a checkpoint says it is of; 0 if it does not."""
    with _located(path) as files, CheckpointReader(files.prefix) as reader:
        found: Any = reader.read(STEP) if STEP in reader.tensors else files.step
    with contextlib.suppress(TypeError):
        return int(found)
    return 0
