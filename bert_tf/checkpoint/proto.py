"""The two protobuf messages of a checkpoint index, decoded and encoded without protobuf.

Field numbers are those of TensorFlow's `tensor_bundle.proto`, `tensor_shape.proto`,
`tensor_slice.proto` and `versions.proto`. Fields that are not known are skipped, as protobuf does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bert_tf.errors import BertError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf; 3 and 4 (groups) do not occur in these messages."""

MAX_RANK = 254
"""The most dimensions TensorFlow gives a tensor (`TensorShapeRep::MaxDimensions`)."""


class TensorSlice(NamedTuple):
    """One part of a variable that was stored in parts, by `starts` and `lengths` on each axis.

    A length of -1 means the whole axis, from 0 on.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


class BundleEntry(NamedTuple):
    """One tensor of the index, as stored; its type is the number in TensorFlow's `types.proto`.

    Its `size` bytes, of the masked checksum `crc32c`, begin at the byte `offset` of the data file
    `shard`; of a variable stored in parts these say nothing, and `slices` are the parts.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc32c: int = 0
    slices: tuple[TensorSlice, ...] = ()


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned number of up to 64 bits that starts at byte `at`, and where it ends.

    Raises:
        BertError: the data ends within the number, or the number is longer than 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise BertError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise BertError("a number is longer than 64 bits")


def write_varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signed(value: int) -> int:
    """An int64 field: varints carry it as two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value


def fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(number, wire type, value as bytes) of each field; a varint's value is its own bytes.

    Raises:
        BertError: the bytes are no protobuf message, or one with groups.
    """
    at, size = 0, len(data)
    while at < size:
        tag, at = (data[at], at + 1) if data[at] < 0x80 else read_varint(data, at)
        wire, start = tag & 7, at
        if wire == BYTES:
            length, start = read_varint(data, at)
            at = start + length
        elif wire == VARINT:
            _, at = read_varint(data, at)
        elif wire in (FIXED32, FIXED64):
            at += 4 if wire == FIXED32 else 8
        else:
            raise BertError(f"a field has the unknown wire type {wire}")
        if at > size:
            raise BertError("a field is cut off")
        yield tag >> 3, wire, data[start:at]


def _known(data: bytes, expected: dict[int, int]) -> Iterator[tuple[int, Any]]:
    """The fields of a message named in `expected` as (number, int or bytes); others are skipped."""
    for number, wire, value in fields(data):
        if number in expected:
            if wire != expected[number]:
                raise BertError(f"field {number} has wire type {wire}, not {expected[number]}")
            if wire == VARINT:
                yield number, _signed(read_varint(value, 0)[0])
            else:
                yield number, value if wire == BYTES else int.from_bytes(value, "little")


def decode_header(data: bytes) -> tuple[int, bool, int]:
    """Decodes a `BundleHeaderProto`, the entry under the empty key.

    Returns:
        The number of `.data-*` files, whether the numbers in them are big-endian, and the version
        of the format that a reader must know.

    Raises:
        BertError: the bytes are no such message.
    """
    found = dict(_known(data, {1: VARINT, 2: VARINT, 3: BYTES}))
    version = dict(_known(found.get(3, b""), {1: VARINT, 2: VARINT}))
    return found.get(1, 0), found.get(2, 0) != 0, version.get(2, 0)


def encode_header(num_shards: int) -> bytes:
    """Encodes the `BundleHeaderProto` of version 1; fields that are 0 are left out."""
    return _field(1, num_shards) + _message(3, _field(1, 1))


def decode_entry(data: bytes) -> BundleEntry:
    """Decodes a `BundleEntryProto`.

    Raises:
        BertError: the bytes are no such message, or the shape is none of a stored tensor.
    """
    plain = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    slices: list[TensorSlice] = []
    kinds = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: BYTES}
    for number, value in _known(data, kinds):
        if number == 2:
            shape = _decode_shape(value)
        elif number == 7:
            slices.append(_decode_slice(value))
        else:
            plain[number] = value
    dtype, shard, offset, size, crc = plain.values()
    if min(shard, offset, size) < 0:
        raise BertError("a shard number, an offset or a size is negative")
    return BundleEntry(dtype, shape, shard, offset, size, crc, tuple(slices))


def encode_entry(entry: BundleEntry) -> bytes:
    """Encodes a `BundleEntryProto` of a tensor that is stored whole.

    The bytes are those that TensorFlow's writer gives: the shape is there even for a scalar, other
    fields only where they are not 0, and a dimension of size 0 is an empty message.
    """
    dims = b"".join(_message(2, _field(1, size)) for size in entry.shape)
    numbers = zip((3, 4, 5), (entry.shard, entry.offset, entry.size))
    out = _field(1, entry.dtype) + _message(2, dims) + b"".join(_field(*pair) for pair in numbers)
    crc = write_varint(6 << 3 | FIXED32) + entry.crc32c.to_bytes(4, "little")
    return out + crc if entry.crc32c else out


def _field(number: int, value: int) -> bytes:
    return write_varint(number << 3 | VARINT) + write_varint(value) if value else b""


def _message(number: int, body: bytes) -> bytes:
    return write_varint(number << 3 | BYTES) + write_varint(len(body)) + body


def _decode_shape(data: bytes) -> tuple[int, ...]:
    shape: list[int] = []
    for number, value in _known(data, {2: BYTES, 3: VARINT}):
        if number == 3 and value:
            raise BertError("the shape is of unknown rank")
        if number == 2:
            shape.append(dict(_known(value, {1: VARINT})).get(1, 0))
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise BertError("the shape is none a stored tensor can have")
    return tuple(shape)


def _decode_slice(data: bytes) -> TensorSlice:
    axes = [dict(_known(value, {1: VARINT, 2: VARINT})) for _, value in _known(data, {1: BYTES})]
    # The length is a `oneof` in the proto: absent means the whole axis, which is not 0.
    return TensorSlice(tuple(x.get(1, 0) for x in axes), tuple(x.get(2, -1) for x in axes))


def slice_key(name: bytes, part: TensorSlice) -> bytes:
    """The key under which TensorFlow stores one part of the variable `name`.

    It is an "ordered code" (tensorflow/core/util/saved_tensor_slice_util.cc): a 0 that no name
    begins with, the name, the rank, then start and length of each axis.
    """
    # In a name, 00 becomes 00 FF and FF becomes FF 00, so that 00 01 can only be its end.
    escaped = re.sub(rb"[\x00\xff]", lambda match: match[0] + bytes([255 - match[0][0]]), name)
    # The rank: the number of its bytes, then these (one, since it is at most MAX_RANK; none for 0).
    rank = bytes([1, len(part.starts)] if part.starts else [0])
    axes = b"".join(map(_ordered_signed, itertools.chain(*zip(part.starts, part.lengths))))
    return b"\x00" + escaped + b"\x00\x01" + rank + axes


def _ordered_signed(value: int) -> bytes:
    """Big-endian two's complement in n bytes, its leading n bits then turned over.

    A positive number starts with n ones and a 0, a negative one with n zeros and a 1: so the
    encodings sort as the numbers do. n = 1 holds -64 to 63, each further byte seven bits more.
    """
    size = (~value if value < 0 else value).bit_length() // 7 + 1
    flipped = ((1 << size) - 1) << (7 * size)
    return ((value & ((1 << 8 * size) - 1)) ^ flipped).to_bytes(size, "big")
