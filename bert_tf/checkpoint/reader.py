"""Reads the tensors of a checkpoint from its mapped shards and checks each one's checksum."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import mmap
import os
import threading

import numpy as np

from bert_tf.checkpoint import bundle, crc, dtypes, proto
from bert_tf.checkpoint.bundle import TensorInfo
from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER
from bert_tf.files.reading import LFS, reading, regular, stand_in

BLOCK_BYTES = 1 << 20
"""Copied and checked at a time: it fits the second-level cache, so that the checksum reads what the
copy has just written. Measured best from 0.5 to 2 MiB."""

_ALIGNMENT = 64  # a cache line, and what XLA and OpenVINO ask for to take a buffer as it is


def allocate(shape: tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
    """An uninitialised array whose first byte lies on a multiple of 64.

    numpy asks for huge pages by itself where an array is 4 MB or larger, so this is as fast as a
    map of our own: 367 MB are filled in 0.07 s, where pages of 4 KB need 0.2 s.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


class CheckpointReader(contextlib.AbstractContextManager["CheckpointReader"]):
    """A checkpoint in the original format, open for reading.

    Every method may be called from several threads at once; copying and checking run without the
    interpreter lock. `unsound` has the names of what `read_into` gave with a warning, as it is NaN,
    infinite or too large to compute with. `name` is that of the checkpoint in warnings.

    Example:
        >>> from bert_tf.hub import locate
        >>> with CheckpointReader(locate("demo_multi_cased").prefix) as reader:
        ...     gamma = reader.read("bert/embeddings/LayerNorm/gamma").copy()

    Args:
        prefix: path without `.index` or `.data-*`.
        verify: whether to check the checksum of every tensor that is read. The index is always
            checked.

    Raises:
        BertError: a file is missing, cut off, damaged or of another kind.
    """

    def __init__(self, prefix: str | os.PathLike[str], verify: bool = True) -> None:
        self.prefix = self.name = os.path.expanduser(os.fspath(prefix))
        self.verify = verify
        self._lock = threading.Lock()
        self._files: list[io.FileIO] = []
        self._maps: dict[int, np.ndarray] = {}
        self.unsound: set[str] = set()
        self.num_shards, entries = bundle.read_index(self.prefix)
        try:
            self._open_shards()
            sizes = [os.fstat(file.fileno()).st_size for file in self._files]
            self.tensors: dict[str, TensorInfo] = bundle.tensor_infos(self.prefix, entries, sizes)
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files. Arrays that `read` gave stay usable; copies depend on nothing."""
        for file in self._files:
            file.close()
        self._files = []
        # A map goes when the last view of it does: closing it here would pull it from under them.
        self._maps = {}

    def shard_path(self, shard: int) -> str:
        """Path of a `.data-*` file."""
        return bundle.shard_path(self.prefix, shard, self.num_shards)

    def info(self, name: str) -> TensorInfo:
        """What the index says about the tensor; a `BertError` if there is no such tensor."""
        if name not in self.tensors:
            raise BertError(f"there is no tensor {name!r} in {self.prefix}.index.")
        return self.tensors[name]

    def read(self, name: str) -> np.ndarray:
        """The tensor, checked; read-only, of the stored type and shape, strings as `bytes` objects.

        It is a view of the mapped file, perhaps unaligned: no memory is spent, but it shows what
        somebody later writes into that file (not what replaces or deletes it). Take `read_into` or
        copy it to keep it. Strings and variables stored in pieces are copies.

        Raises:
            BertError: no such tensor, wrong checksum, or a type that cannot be read.
        """
        info = self._readable(name)
        if info.parts:
            whole = allocate(info.shape, info.dtype)
            self.read_into(name, whole)
            whole.flags.writeable = False
            return whole
        raw = self._raw(info)
        if info.dtype.hasobject:
            return self._strings(info, raw)
        if self.verify:
            self._check(info, crc.masked(raw.data))
        return raw.view(info.dtype).reshape(info.shape)

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Copies the tensor into `out`, checking it on the way.

        The bytes are checked after they were copied: what is in `out` is what was checked. They
        come by `pread`, which is as fast as the map (714 MB in 0.08 s, both) and gives an error
        where a file that somebody cuts off while it is read would kill the process through the map.

        `out` is writable and of its shape; another float type than the stored one is cast.

        Raises:
            BertError: no such tensor, another shape, a type that cannot be cast, a value too
                large for the type of `out`, or a wrong checksum; `out` is then unusable.
        """
        info = self._readable(name)
        if info.dtype.hasobject:
            raise BertError(f"the tensor {name!r} holds strings; take `read`.")
        if out.shape != info.shape:
            raise BertError(
                f"the tensor {name!r} has the shape {info.shape} in {self.prefix}.index; it does "
                f"not fit an array of shape {out.shape}."
            )
        if not out.flags.writeable:
            raise BertError(f"the array that the tensor {name!r} is to be read into is read-only.")
        for part in info.parts:
            self._copy(part.info, out[part.where])
        if not info.parts:
            self._copy(info, out)

    def _open_shards(self) -> None:
        for shard in range(self.num_shards):
            path = self.shard_path(shard)
            try:
                with reading(path):
                    self._files.append(io.FileIO(path, opener=regular))
            except BertError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                raise BertError(
                    f"{path} is missing: {self.prefix}.index needs {self.num_shards} such "
                    f"file{'s' * (self.num_shards > 1)}, which hold the weights. Put it next to "
                    "the index, or copy or download the whole checkpoint again."
                ) from None
            if stand_in(path) == LFS:
                raise BertError(f"{path} {LFS}")

    def _readable(self, name: str) -> TensorInfo:
        info = self.info(name)
        if not dtypes.is_number(info.dtype) and not info.dtype.hasobject:
            raise BertError(f"the tensor {name!r} is of a type that bert_tf cannot read.")
        if not self._files:
            raise BertError(f"the checkpoint {self.prefix} is closed.")
        return info

    def _raw(self, info: TensorInfo) -> np.ndarray:
        """The stored bytes, uint8, as a view of the map."""
        if not info.nbytes:
            return np.frombuffer(b"", np.uint8)  # an empty file cannot be mapped
        with self._lock:
            if info.shard not in self._maps:
                mapped = mmap.mmap(self._files[info.shard].fileno(), 0, access=mmap.ACCESS_READ)
                self._maps[info.shard] = np.frombuffer(mapped, np.uint8)
            raw = self._maps[info.shard][info.offset : info.offset + info.nbytes]
        if len(raw) != info.nbytes:
            self._fail_short(info)
        return raw

    def _copy(self, info: TensorInfo, out: np.ndarray) -> None:
        """Reads, checks and casts a tensor that is in one piece on disk."""
        # What is not one stretch of memory is gathered first: for odd callers and pieces alone.
        whole = out.flags.c_contiguous
        flat = out.reshape(-1) if whole else np.empty(out.size, info.dtype)
        per_block = BLOCK_BYTES // info.dtype.itemsize
        scratch = None if flat.dtype == info.dtype else np.empty(per_block, info.dtype)
        checksum, sound = 0, True
        failure: BertError | None = None
        for start in range(0, flat.size, per_block):
            target = flat[start : start + per_block]
            block = target if scratch is None else scratch[: len(target)]
            raw = block.view(np.uint8)
            self._pread(info, start * info.dtype.itemsize, raw)
            if self.verify:
                checksum = crc.crc32c(raw.data, checksum)
            if scratch is not None and failure is None:
                try:
                    dtypes.cast_into(target, block, info.name)
                except BertError as error:
                    failure = error  # kept until it is clear that the bytes are the right ones
            if sound and dtypes.is_float(info.dtype):
                sound = dtypes.is_sound(target if block.dtype != np.float32 else block)
        if self.verify:
            self._check(info, crc.mask(checksum))
        if failure is not None:
            raise failure
        if not sound:
            LOGGER.warning(f"{info.name} in {self.name}: {dtypes.UNSOUND}.")
            self.unsound.add(info.name)
        if not whole:
            dtypes.cast_into(out, flat.reshape(out.shape), info.name)

    def _pread(self, info: TensorInfo, at: int, out: np.ndarray) -> None:
        """Fills `out`, uint8, with the bytes of the tensor from its byte `at` on."""
        if not hasattr(os, "preadv"):  # Windows
            out[:] = self._raw(info)[at : at + len(out)]
            return
        done = 0
        view = out.data
        while done < len(out):
            with reading(f"the tensor {info.name!r} from {self.shard_path(info.shard)}"):
                file = self._files[info.shard].fileno()
                count = os.preadv(file, [view[done:]], info.offset + at + done)
            if not count:
                self._fail_short(info)
            done += count

    def _check(self, info: TensorInfo, checksum: int) -> None:
        if checksum != info.crc32c:
            raise BertError(
                f"the tensor {info.name!r} in {self.shard_path(info.shard)} is damaged: its bytes "
                f"have the checksum {checksum:#010x}, the index says {info.crc32c:#010x}. The file "
                "was changed, or belongs to another index. Copy or download it again."
            )

    def _fail_short(self, info: TensorInfo) -> None:
        raise BertError(
            f"{self.shard_path(info.shard)} ends within the tensor {info.name!r}: it was cut off "
            "while it was read. Copy or download it again."
        )

    def _strings(self, info: TensorInfo, raw: np.ndarray) -> np.ndarray:
        """Decodes a tensor of strings.

        It holds the length of each as a varint, a checksum of the lengths as 4 bytes each, 8 from
        4 GiB on, and the strings (tensorflow/core/util/tensor_bundle, `WriteStringTensor`).
        """
        data = raw.tobytes()
        count = math.prod(info.shape)
        if count > len(data):
            raise BertError(f"the tensor {info.name!r} has fewer bytes than strings.")
        lengths, at = [], 0
        try:
            for _ in range(count):
                length, at = proto.read_varint(data, at)
                lengths.append(length)
        except BertError as error:
            raise BertError(f"the lengths in the tensor {info.name!r}: {error}.") from None
        widths = (4 if length < 1 << 32 else 8 for length in lengths)
        counted = b"".join(n.to_bytes(width, "little") for n, width in zip(lengths, widths))
        checksum = crc.crc32c(data[at:], crc.crc32c(counted))
        if self.verify:
            self._check(info, crc.mask(checksum))
        at += 4
        if at + sum(lengths) != len(data):
            raise BertError(f"the lengths in the tensor {info.name!r} do not fit its bytes.")
        ends = itertools.accumulate(lengths, initial=at)
        out = np.empty(count, object)
        out[:] = [data[start:end] for start, end in itertools.pairwise(ends)]
        out.flags.writeable = False
        return out.reshape(info.shape)
