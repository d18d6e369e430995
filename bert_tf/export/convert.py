"""Rewrites a checkpoint in the original format: other type, other shards, without the slots."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from bert_tf.checkpoint import dtypes, names, release
from bert_tf.checkpoint.classifier_info import INFO_NAME, TASK_NAME, ClassifierInfo
from bert_tf.checkpoint.reader import CheckpointReader
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import Warned, warn
from bert_tf.files.reading import read_bounded
from bert_tf.hub.locate import locate

_NARROW = (dtypes.FLOATS["float16"], dtypes.FLOATS["bfloat16"])

_NARROWED = (
    "Its weights are in {type}. bert_tf widens them on loading; Google's own code cannot, it needs "
    'what `dtype="float32"` writes.'
)


@dataclasses.dataclass(frozen=True)
class ConvertReport(Warned):
    """What `convert_checkpoint` did.

    Args:
        prefix: of the new checkpoint.
        written: names of its tensors.
        dropped: names of those left out: the training state, and strings, which no BERT has.
        cast: names of those stored in another type than before.
        nbytes: bytes of the new data files together.
        num_shards: how many these are.
        warnings: choices that were made on reading, and who cannot read the result.
    """

    prefix: str
    written: tuple[str, ...]
    dropped: tuple[str, ...]
    cast: tuple[str, ...]
    nbytes: int
    num_shards: int
    warnings: tuple[str, ...] = ()


def convert_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    config_path: str | os.PathLike[str] | None = None,
    vocab_path: str | os.PathLike[str] | None = None,
    keep_slots: bool = False,
    dtype: str | None = None,
    num_shards: int = 1,
    overwrite: bool = False,
) -> ConvertReport:
    """Rewrites a checkpoint into the folder `target`, a tensor at a time and without Keras.

    Values keep their bits unless `dtype` changes their type. Config and vocabulary are copied
    byte for byte. `target` may be the folder of `source`.

    Args:
        source: anything that `locate` takes.
        target: folder for bert_config.json, vocab.txt and bert_model.ckpt.*.
        config_path: of the config, if it is not next to the checkpoint.
        vocab_path: of the vocabulary; likewise.
        keep_slots: whether to keep the optimizer's slots and `global_step`, to train on.
        dtype: "float32", "float16" or "bfloat16" for the weights; None keeps the type of each.
            Slots that are kept are made wider, never narrower.
        num_shards: number of data files to write.
        overwrite: whether files in `target` may be replaced.

    Raises:
        BertError: the source is missing or damaged, the target has files already, a weight is too
            large for `dtype`, or the disk is full. The target is then as it was.
    """
    wanted = None if dtype is None else dtypes.float_type(dtype)
    target = os.path.expanduser(os.fspath(target))
    if not overwrite:
        release.refuse_to_overwrite(target)  # before a large archive is unpacked
    with locate(source, config_path, vocab_path) as files, CheckpointReader(files.prefix) as reader:
        assert files.config_path is not None
        assert files.vocab_path is not None
        BertConfig.from_file(files.config_path)  # check what is copied
        config = read_bounded(files.config_path)
        infos = [ClassifierInfo.in_folder(files.prefix, name) for name in (INFO_NAME, TASK_NAME)]
        tensors: dict[str, Any] = {}
        dropped = []
        for name, info in reader.tensors.items():
            if info.dtype.hasobject or (names.is_training_state(name) and not keep_slots):
                dropped.append(name)
            elif not dtypes.is_number(info.dtype):
                raise BertError(f"the tensor {name!r} is of a type that bert_tf cannot read.")
            else:
                tensors[name] = info
        if not tensors:
            raise BertError(f"there are no weights in {reader.prefix}.index.")
        types = {name: release.stored_type(name, t.dtype, wanted) for name, t in tensors.items()}
        prefix = release.write_release(
            target,
            config,
            files.vocab_path,
            ((name, reader.read(name)) for name in tensors),  # each a view of the file
            dtype=dtype,
            num_shards=num_shards,
            overwrite=overwrite,
            files={info.file_name: info.to_json() for info in infos if info},
        )
        narrow = sorted({stored.name for stored in types.values() if stored in _NARROW})
        return ConvertReport(
            prefix,
            tuple(tensors),
            tuple(dropped),
            tuple(name for name, t in tensors.items() if types[name] != t.dtype),
            sum(t.nbytes // t.dtype.itemsize * types[n].itemsize for n, t in tensors.items()),
            num_shards,
            warn(*files.warnings, *(_NARROWED.format(type=name) for name in narrow)),
        )
