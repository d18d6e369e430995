"""Writes a folder as Google released them: bert_config.json, vocab.txt and bert_model.ckpt.*."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from bert_tf.checkpoint import dtypes, names
from bert_tf.checkpoint.writer import CheckpointWriter
from bert_tf.config import CONFIG_NAME, INFO_NAME, TASK_NAME, VOCAB_NAME, BertConfig
from bert_tf.errors import BertError
from bert_tf.files.reading import finish_groups, read_bounded
from bert_tf.files.whole import encoded, make_folder, write_whole

CHECKPOINT_NAME = "bert_model.ckpt"


def write_release(
    folder: str | os.PathLike[str],
    config: BertConfig | bytes,
    vocab: bytes | str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]],
    *,
    dtype: str | None = None,
    num_shards: int = 1,
    overwrite: bool = False,
    files: Mapping[str, bytes] | None = None,
) -> str:
    """Writes the three parts of a checkpoint into `folder`, all or nothing; gives its prefix.

    No `checkpoint` file is written, as releases have none. Of the files that are there, those of
    an older release are replaced or removed, and all others stay.

    Args:
        folder: made if it is not there.
        config: the architecture, or the bytes of a `bert_config.json` to keep as they are.
        vocab: the bytes of a `vocab.txt`, or the path of one; copied byte for byte.
        tensors: by name, or pairs of name and values, which are taken one at a time.
        dtype: "float32", "float16" or "bfloat16" to store the weights in; None keeps the type of
            each. Optimizer slots are never made narrower: Adam's mean of squares would become 0.
        num_shards: number of data files.
        overwrite: whether files that are there may be replaced.
        files: further files to write there, by name.

    Raises:
        BertError: a file is there already, the vocabulary cannot be read, a tensor cannot be
            stored, or the disk is full.
    """
    folder = os.path.expanduser(os.fspath(folder))
    wanted = None if dtype is None else dtypes.float_type(dtype)
    prefix = os.path.join(folder, CHECKPOINT_NAME)
    if not overwrite:
        refuse_to_overwrite(folder, *(files or {}))
    if not isinstance(vocab, bytes):
        vocab = read_bounded(vocab, f"the vocabulary {os.fspath(vocab)}")
    path = pathlib.Path(os.path.abspath(folder))
    made = [at for at in (path, *path.parents) if not os.path.lexists(at)]
    make_folder(folder)
    try:
        with CheckpointWriter(prefix, num_shards) as writer:
            config = config if isinstance(config, bytes) else encoded(config.to_json())
            for name, data in {CONFIG_NAME: config, VOCAB_NAME: vocab, **(files or {})}.items():
                writer.add_file(name, data)
            for name in (INFO_NAME, TASK_NAME):  # of an older release with another head
                writer.remove_file(name)
            pairs = sorted(tensors.items()) if isinstance(tensors, Mapping) else tensors
            for name, values in pairs:
                writer.add(name, values, stored_type(name, values.dtype, wanted))
    except BaseException:
        for path in made:  # the innermost first
            with contextlib.suppress(OSError):
                os.rmdir(path)
        raise
    return prefix


def write_side_files(folder: str | os.PathLike[str], config: BertConfig, vocab: bytes) -> None:
    """Writes `bert_config.json` and `vocab.txt` into a folder that exists, replacing older ones.

    Raises:
        BertError: they cannot be written.
    """
    for name, data in ((CONFIG_NAME, encoded(config.to_json())), (VOCAB_NAME, vocab)):
        write_whole(os.path.join(os.path.expanduser(os.fspath(folder)), name), data)


def stored_type(name: str, dtype: np.dtype, wanted: np.dtype | None) -> np.dtype:
    """The type to store a tensor in, if weights are to be stored as `wanted`."""
    if wanted is None or not dtypes.is_float(dtype):
        return dtype
    return dtype if names.is_slot(name) and wanted.itemsize < dtype.itemsize else wanted


def refuse_to_overwrite(folder: str, *names: str) -> None:
    """Refuses a folder with a file that `write_release` would replace; `names` are further ones.

    Raises:
        BertError: there is one; the message names it.
    """
    finish_groups(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise BertError(f"{folder} is a file; give a folder to write the checkpoint to.")
    escaped = glob.escape(folder)
    ours = (CONFIG_NAME, VOCAB_NAME, CHECKPOINT_NAME + ".index", CHECKPOINT_NAME + ".data-*")
    for name in (*ours, *names):
        for path in glob.glob(os.path.join(escaped, name)):
            raise BertError(f"{path} exists; name a new folder or pass `overwrite=True`.")
