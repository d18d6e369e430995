"""Writes a checkpoint in the original format, a tensor at a time, whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np

from bert_tf.checkpoint import crc, dtypes, proto, table
from bert_tf.checkpoint.bundle import shard_path
from bert_tf.errors import DISK_FULL, BertError
from bert_tf.files.group import FileGroup
from bert_tf.options import SHARDS

_BLOCK_ELEMENTS = 1 << 18  # written, checked and, where asked, cast at a time


class CheckpointWriter(contextlib.AbstractContextManager["CheckpointWriter"]):
    """Takes tensors one after another; the files appear under their names on success only.

    Everything goes to a hidden folder in the target folder first. `commit` brings it to the disk,
    and gives all files their names, the index last: who finds an index finds its data. A process
    that is killed leaves the old files, or what the next that reads or writes there completes (see
    `FileGroup`). A checkpoint may be written over the one that a `CheckpointReader` is reading.
    Leaving the `with` block by an exception leaves the old files as they were and nothing else.

    Example:
        >>> with CheckpointWriter("bert_model.ckpt") as writer:
        ...     writer.add("bert/pooler/dense/bias", np.zeros(768, np.float32))

    Args:
        prefix: path of the checkpoint, without `.index`. The folder must exist.
        num_shards: number of data files; each tensor goes to the one that is shortest so far.

    Raises:
        BertError: a file cannot be written, or the disk is full.
    """

    def __init__(self, prefix: str | os.PathLike[str], num_shards: int = 1) -> None:
        self.prefix = os.path.expanduser(os.fspath(prefix))
        SHARDS.check("num_shards", num_shards)
        folder, base = os.path.split(os.path.abspath(self.prefix))
        if not os.path.isdir(folder):
            raise BertError(f"there is no folder {folder} to write the checkpoint to.")
        if not base or base.startswith(".") or os.fspath(prefix).endswith(("/", os.sep)):
            raise BertError(
                f"{self.prefix!r} names no checkpoint; give a path like out/bert_model.ckpt."
            )
        self._entries: dict[bytes, proto.BundleEntry] = {}
        self._offsets = [0] * num_shards
        self._files: list[BinaryIO] = []  # the data files, then the files next to them
        self._done = True  # finished or given up
        with self._writing():
            self._group = FileGroup(self.prefix)
            self._done = False
            for shard in range(num_shards):
                self._files.append(self._open(shard_path(self.prefix, shard, num_shards)))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        (self.abort if kind else self.commit)()

    def add(self, name: str, values: np.ndarray, dtype: np.dtype | None = None) -> None:
        """Writes one tensor, as another float type if `dtype` says so; not copied as a whole.

        No two may have the same name. After a failure within one the writer takes no more.

        Raises:
            BertError: the name was there before or cannot be one, the type cannot be stored, a
                value does not fit into `dtype`, or the disk is full.
        """
        self._check_open()
        key = name.encode()
        if not key or key.startswith(b"\0"):
            raise BertError(f"{name!r} cannot be the name of a tensor.")
        if key in self._entries:
            raise BertError(f"the tensor {name!r} is to be written twice.")
        values = np.asarray(values)
        stored = (values.dtype if dtype is None else dtype).newbyteorder("<")
        number = dtypes.to_number(stored, name)
        shard = min(range(len(self._offsets)), key=self._offsets.__getitem__)
        size = values.size * stored.itemsize
        checksum = 0
        flat = values.reshape(-1)  # a copy only where the array is no single stretch of memory
        with self._writing():
            for start in range(0, flat.size, _BLOCK_ELEMENTS):
                block = _stored(flat[start : start + _BLOCK_ELEMENTS], stored, name)
                checksum = crc.crc32c(block.data, checksum)
                self._files[shard].write(block.data)
        self._entries[key] = proto.BundleEntry(
            number, values.shape, shard, self._offsets[shard], size, crc.mask(checksum)
        )
        self._offsets[shard] += size

    def add_file(self, name: str, data: bytes) -> None:
        """Writes a file of any content next to the checkpoint, to appear together with it.

        Raises:
            BertError: the disk is full.
        """
        with self._writing():
            self._files.append(self._open(os.path.join(os.path.dirname(self.prefix), name)))
            self._files[-1].write(data)

    def commit(self) -> None:
        """Writes the index and gives the files their names.

        Further data files that an older checkpoint of the same prefix had are removed.

        Raises:
            BertError: the disk is full, or a file cannot be renamed.
        """
        self._check_open()
        header = proto.encode_header(len(self._offsets))
        entries = sorted((key, proto.encode_entry(e)) for key, e in self._entries.items())
        with self._writing():
            self._files.append(self._open(self.prefix + ".index"))
            table.write_table(self._files[-1], [(b"", header), *entries])
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            digits = "[0-9]" * 5
            for path in glob.glob(f"{glob.escape(self.prefix)}.data-{digits}-of-{digits}"):
                self._group.remove(os.path.basename(path))
            self._group.commit()
        self._files, self._done = [], True

    def remove_file(self, name: str) -> None:
        """Has an older file next to the checkpoint removed when this one appears."""
        with self._writing():
            self._group.remove(name)

    def abort(self) -> None:
        """Removes what was written; does nothing after `commit`."""
        for file in self._files:
            with contextlib.suppress(OSError):  # what is buffered need not arrive any more
                file.close()
        self._files = []
        if not self._done:
            self._group.abort()
        self._done = True

    def _check_open(self) -> None:
        if self._done:
            raise BertError(f"writing {self.prefix} was finished or given up before.")

    def _open(self, path: str) -> BinaryIO:
        return self._group.open(os.path.basename(path))  # closed by commit and abort

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Gives up where the block fails, and turns errors of the file system into `BertError`s."""
        try:
            yield
        except BaseException as error:
            self.abort()
            if not isinstance(error, OSError):
                raise
            if error.errno in DISK_FULL:
                raise BertError(
                    f"the disk is full: {self.prefix} was not written, and nothing of it is left "
                    f"({error.strerror}). Free some space or choose another folder."
                ) from error
            raise BertError(f"cannot write {self.prefix}: {error.strerror}.") from error


def write_checkpoint(
    prefix: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]],
    num_shards: int = 1,
) -> None:
    """Writes a whole checkpoint; see `CheckpointWriter`, also for what happens on failure.

    Tensors by name are stored in the order of names, as TensorFlow does; pairs are taken one at a
    time and stored as they come.
    """
    pairs = sorted(tensors.items()) if isinstance(tensors, Mapping) else tensors
    with CheckpointWriter(prefix, num_shards) as writer:
        for name, values in pairs:
            writer.add(name, values)


def _stored(block: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """The bytes, uint8, of a block of values in the type they are stored in."""
    if block.dtype == dtype:
        return np.ascontiguousarray(block).view(np.uint8)
    out = np.empty(len(block), dtype)
    if block.dtype.newbyteorder("<") == dtype:
        out[:] = block  # from a big-endian array
    else:
        dtypes.cast_into(out, block, name)
    return out.view(np.uint8)
