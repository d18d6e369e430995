"""What the index of a checkpoint says about its tensors, checked to fit the data files."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bert_tf.checkpoint import dtypes, proto, table
from bert_tf.errors import BertError
from bert_tf.files.reading import LFS, stand_in

_MAX_SLICES = 1024  # parts of one variable; keeps the check for overlaps short
_MAX_DIMS = 64  # numpy's limit


@dataclasses.dataclass(frozen=True)
class TensorPart:
    """A piece of a variable that was stored in pieces ("partitioned").

    It starts at the index `starts` and is stored where `info` says, whose `shape` is the piece's.
    """

    starts: tuple[int, ...]
    info: TensorInfo

    @property
    def where(self) -> tuple[slice, ...]:
        """The place of the piece in the whole tensor."""
        return tuple(slice(a, a + n) for a, n in zip(self.starts, self.info.shape))


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """What the index says about one tensor.

    Args:
        name: its name, for example `bert/pooler/dense/kernel`.
        dtype: its numpy type; bfloat16 is that of `ml_dtypes`, strings are `object`, and a type
            that cannot be read is void.
        shape: its dimensions.
        shard: number of the `.data-*` file that holds it.
        offset: its first byte there.
        nbytes: how many bytes it takes.
        crc32c: masked checksum of these bytes.
        parts: its pieces, if it was stored in pieces; then `shard`, `offset` and `crc32c` are 0.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    shard: int
    offset: int
    nbytes: int
    crc32c: int
    parts: tuple[TensorPart, ...] = ()


def shard_path(prefix: str, shard: int, num_shards: int) -> str:
    """Path of the data file number `shard` of `num_shards`, as TensorFlow names it."""
    return f"{prefix}.data-{shard:05d}-of-{num_shards:05d}"


def read_index(prefix: str) -> tuple[int, dict[bytes, bytes]]:
    """The number of data files that `<prefix>.index` says, and its encoded entries by key, sorted.

    Raises:
        BertError: it is missing, damaged, or of a kind that cannot be read.
    """
    path = prefix + ".index"
    if stand_in(path) == LFS:
        raise BertError(f"{path} {LFS}")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise BertError(f"{path} is empty: copy or download it again.")
    entries = table.read_table(path)
    header = entries.pop(b"", None)
    if header is None:
        raise BertError(f"{path} is a table, but no index of a checkpoint: it has no header.")
    try:
        num_shards, big_endian, version = proto.decode_header(header)
    except BertError as error:
        # V1 has a message of its own under the same key, of other types.
        raise BertError(
            f"the header in {path} cannot be read ({error}): it is damaged, or a checkpoint of "
            "TensorFlow's old single-file format (V1)."
        ) from None
    if big_endian:
        raise BertError(
            f"{path} says that its numbers are big-endian, which bert_tf cannot read. Rewrite the "
            "checkpoint with TensorFlow on a machine of the usual kind."
        )
    if version > 1 or num_shards < 1:
        raise BertError(
            f"{path} asks for format version {version} and has {num_shards} data files; bert_tf "
            "reads version 1 with at least one."
        )
    return num_shards, entries


def tensor_infos(
    prefix: str, entries: Mapping[bytes, bytes], sizes: Sequence[int]
) -> dict[str, TensorInfo]:
    """Decodes the entries of `read_index`, by name, sorted, without the keys of single pieces.

    Each must agree with itself and end within its file; `sizes` are the files' bytes. The prefix is
    for messages.

    Raises:
        BertError: an entry is wrong or reaches beyond its file; the message names both.
    """
    bundle = _Bundle(prefix, entries, sizes)
    infos = {}
    for key, value in entries.items():
        if key.startswith(b"\0"):
            continue  # the key of one piece; its variable's entry leads to it
        name = key.decode("utf-8", "backslashreplace")
        try:
            infos[name] = bundle.info(name, proto.decode_entry(value), key)
        except BertError as error:
            raise BertError(f"the tensor {name!r} in {prefix}.index: {error}") from None
    _check_overlap(prefix, infos.values())
    return dict(sorted(infos.items()))


def _check_overlap(prefix: str, infos: Iterable[TensorInfo]) -> None:
    """Raises a `BertError` if two tensors, or pieces, have a stored byte in common."""
    stored = (one for info in infos for one in ([part.info for part in info.parts] or [info]))
    ordered = sorted((one.shard, one.offset, one.nbytes, one.name) for one in stored if one.nbytes)
    for (shard, offset, nbytes, name), (other, start, _, named) in itertools.pairwise(ordered):
        if shard == other and start < offset + nbytes:
            raise BertError(
                f"the tensors {name!r} and {named!r} in {prefix}.index overlap in the data: the "
                "index is damaged. Copy or download it again."
            )


@dataclasses.dataclass(frozen=True)
class _Bundle:
    """The index while it is decoded."""

    prefix: str
    entries: Mapping[bytes, bytes]
    sizes: Sequence[int]

    def info(self, name: str, entry: proto.BundleEntry, key: bytes = b"") -> TensorInfo:
        """Of a tensor; of one in pieces where its key is given."""
        if entry.slices and key:
            return self._pieces(name, key, entry)
        dtype = dtypes.from_number(entry.dtype)
        if entry.shard >= len(self.sizes):
            raise BertError(f"it is in data file {entry.shard} of only {len(self.sizes)}.")
        # Zeros are left out of the product: numpy refuses (0, 2**62) as too large as well.
        if len(entry.shape) > _MAX_DIMS or math.prod(filter(None, entry.shape)) >= 1 << 59:
            raise BertError(f"the shape {entry.shape} is more than can be read.")
        if dtypes.is_number(dtype) and math.prod(entry.shape) * dtype.itemsize != entry.size:
            raise BertError(f"shape {entry.shape} and type {dtype} do not make {entry.size} bytes.")
        if entry.offset + entry.size > self.sizes[entry.shard]:
            raise BertError(
                f"it ends at byte {entry.offset + entry.size} of "
                f"{shard_path(self.prefix, entry.shard, len(self.sizes))}, which has only "
                f"{self.sizes[entry.shard]} bytes: the file was cut off, or belongs to another "
                "checkpoint. Copy or download it again."
            )
        return TensorInfo(name, dtype, *entry[1:6])

    def _pieces(self, name: str, key: bytes, entry: proto.BundleEntry) -> TensorInfo:
        """A variable in pieces, after checking that these make it up exactly."""
        if len(entry.slices) > _MAX_SLICES:
            raise BertError(f"it is stored in {len(entry.slices)} slices, more than can be read.")
        parts = []
        for where in entry.slices:
            if len(where.starts) != len(entry.shape):
                raise BertError("one of its slices has another rank than the whole.")
            stored = self.entries.get(proto.slice_key(key, where))
            if stored is None:
                raise BertError(f"its slice at {where.starts} is missing.")
            piece = proto.decode_entry(stored)
            # A length of -1: the whole axis.
            axes = zip(where.starts, where.lengths, entry.shape)
            lengths = tuple(size - start if length < 0 else length for start, length, size in axes)
            axes = zip(where.starts, lengths, entry.shape)
            inside = all(0 <= start <= start + length <= size for start, length, size in axes)
            if not inside or piece.shape != lengths or piece.dtype != entry.dtype or piece.slices:
                raise BertError(f"its slice at {where.starts} does not fit into it.")
            parts.append(TensorPart(where.starts, self.info(name, piece)))
        dtype = parts[0].info.dtype
        if not dtypes.is_number(dtype):
            raise BertError("it is stored in slices that contain no numbers.")
        total = sum(math.prod(part.info.shape) for part in parts)
        overlap = any(
            all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(one.where, other.where))
            for one, other in itertools.combinations(parts, 2)
        )
        if overlap or total != math.prod(entry.shape):
            raise BertError("its slices do not make up the whole.")
        nbytes = sum(part.info.nbytes for part in parts)
        return TensorInfo(name, dtype, entry.shape, 0, 0, nbytes, 0, tuple(parts))
