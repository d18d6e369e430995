"""The two protobuf messages of a checkpoint index, decoded and encoded without protobuf.

Field numbers are those of TensorFlow's `tensor_bundle.proto`, `tensor_shape.proto`,
`tensor_slice.proto` and `versions.proto`. Fields that are not known are skipped, as protobuf does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import cast

from bert_tf.errors import BertError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf; 3 and 4 (groups) do not occur in these messages."""

MAX_RANK = 254
"""The most dimensions TensorFlow gives a tensor (`TensorShapeRep::MaxDimensions`)."""


@dataclasses.dataclass(frozen=True)
class BundleHeader:
    """The entry under the empty key: what holds for the checkpoint as a whole.

    Args:
        num_shards: number of `.data-*` files.
        big_endian: whether the numbers in them are big-endian.
        producer: version of the format that the writer used.
        min_consumer: oldest version of a reader that can read it.
    """

    num_shards: int
    big_endian: bool = False
    producer: int = 1
    min_consumer: int = 0


@dataclasses.dataclass(frozen=True)
class TensorSlice:
    """One part of a variable that was stored in parts, by `starts` and `lengths` on each axis.

    A length of -1 means the whole axis, from 0 on.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class BundleEntry:
    """One tensor of the index, as stored.

    Args:
        dtype: number of the type in TensorFlow's `types.proto`.
        shape: the dimensions.
        shard: number of the `.data-*` file.
        offset: first byte in it.
        size: number of bytes.
        crc32c: masked checksum of these bytes.
        slices: the parts, for a variable stored in parts; then `shard` to `crc32c` say nothing.
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


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Each field of a message as (number, wire type, value).

    Raises:
        BertError: the bytes are no message.
    """
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == VARINT:
            value, at = read_varint(data, at)
        elif wire in (BYTES, FIXED32, FIXED64):
            if wire == BYTES:
                size, at = read_varint(data, at)
            else:
                size = 4 if wire == FIXED32 else 8
            if size > len(data) - at:
                raise BertError("a field is cut off")
            value = data[at : at + size]
            if wire != BYTES:
                value = int.from_bytes(value, "little")
            at += size
        else:
            raise BertError(f"a field has the unknown wire type {wire}")
        yield number, wire, value


_HEADER_FIELDS = {1: VARINT, 2: VARINT, 3: BYTES}
_ENTRY_FIELDS = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: BYTES}
_SHAPE_FIELDS = {2: BYTES, 3: VARINT}
_VERSION_FIELDS = {1: VARINT, 2: VARINT}
_SLICE_FIELDS = {1: BYTES}
_EXTENT_FIELDS = {1: VARINT, 2: VARINT}


def _known(data: bytes, expected: dict[int, int]) -> Iterator[tuple[int, int | bytes]]:
    """The fields named in `expected` as (number, value); others are skipped.

    Raises:
        BertError: a known field has another wire type than `expected` says.
    """
    for number, wire, value in _fields(data):
        if number not in expected:
            continue
        if wire != expected[number]:
            raise BertError(f"field {number} has wire type {wire}, not {expected[number]}")
        yield number, value


def _integers(data: bytes, expected: dict[int, int]) -> dict[int, int]:
    """A message of integers only: number -> value; the last one wins, as in protobuf."""
    return {n: _signed(cast(int, value)) for n, value in _known(data, expected)}


def decode_header(data: bytes) -> BundleHeader:
    """Decodes a `BundleHeaderProto`.

    Raises:
        BertError: the bytes are no such message.
    """
    shards, endianness, versions = 0, 0, b""
    for number, value in _known(data, _HEADER_FIELDS):
        if number == 1:
            shards = _signed(cast(int, value))
        elif number == 2:
            endianness = cast(int, value)
        else:
            versions = cast(bytes, value)
    version = _integers(versions, _VERSION_FIELDS)
    return BundleHeader(shards, endianness != 0, version.get(1, 0), version.get(2, 0))


def encode_header(header: BundleHeader) -> bytes:
    """Encodes a `BundleHeaderProto`; fields that are 0 are left out, as protobuf does."""
    version = _field(1, header.producer) + _field(2, header.min_consumer)
    return _field(1, header.num_shards) + _field(2, int(header.big_endian)) + _message(3, version)


def decode_entry(data: bytes) -> BundleEntry:
    """Decodes a `BundleEntryProto`.

    Raises:
        BertError: the bytes are no such message, or the shape is none of a stored tensor.
    """
    plain = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape: tuple[int, ...] = ()
    slices: list[TensorSlice] = []
    for number, value in _known(data, _ENTRY_FIELDS):
        if number == 2:
            shape = _decode_shape(cast(bytes, value))
        elif number == 7:
            slices.append(_decode_slice(cast(bytes, value)))
        else:
            plain[number] = _signed(cast(int, value))
    dtype, shard, offset, size, crc = plain.values()
    if shard < 0 or offset < 0 or size < 0:
        raise BertError("a shard number, an offset or a size is negative")
    return BundleEntry(dtype, shape, shard, offset, size, crc, tuple(slices))


def encode_entry(entry: BundleEntry) -> bytes:
    """Encodes a `BundleEntryProto` of a tensor that is stored whole.

    The bytes are those that TensorFlow's writer gives: the shape is there even for a scalar, other
    fields only where they are not 0, and a dimension of size 0 is an empty message.
    """
    dims = b"".join(_message(2, _field(1, size)) for size in entry.shape)
    out = _field(1, entry.dtype) + _message(2, dims)
    out += _field(3, entry.shard) + _field(4, entry.offset) + _field(5, entry.size)
    if entry.crc32c:
        out += write_varint(6 << 3 | FIXED32) + entry.crc32c.to_bytes(4, "little")
    return out


def _field(number: int, value: int) -> bytes:
    return write_varint(number << 3 | VARINT) + write_varint(value) if value else b""


def _message(number: int, body: bytes) -> bytes:
    return write_varint(number << 3 | BYTES) + write_varint(len(body)) + body


def _decode_shape(data: bytes) -> tuple[int, ...]:
    shape: list[int] = []
    for number, value in _known(data, _SHAPE_FIELDS):
        if number == 3 and value:
            raise BertError("the shape is of unknown rank")
        if number == 2:
            shape.append(_integers(cast(bytes, value), {1: VARINT}).get(1, 0))
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise BertError("the shape is none a stored tensor can have")
    return tuple(shape)


def _decode_slice(data: bytes) -> TensorSlice:
    starts, lengths = [], []
    for _, value in _known(data, _SLICE_FIELDS):
        extent = _integers(cast(bytes, value), _EXTENT_FIELDS)
        starts.append(extent.get(1, 0))
        # The length is a `oneof` in the proto: absent means the whole axis, which is not 0.
        lengths.append(extent.get(2, -1))
    return TensorSlice(tuple(starts), tuple(lengths))


def slice_key(name: bytes, part: TensorSlice) -> bytes:
    """The key under which TensorFlow stores one part of the variable `name`.

    It is an "ordered code" (tensorflow/core/util/saved_tensor_slice_util.cc): a 0 that no name
    begins with, the name, the rank, then start and length of each axis.
    """
    # In a name, 00 becomes 00 FF and FF becomes FF 00, so that 00 01 can only be its end.
    escaped = re.sub(rb"[\x00\xff]", lambda match: match[0] + bytes([255 - match[0][0]]), name)
    out = b"\x00" + escaped + b"\x00\x01"
    out += _ordered_unsigned(len(part.starts))
    for start, length in zip(part.starts, part.lengths):
        out += _ordered_signed(start) + _ordered_signed(length)
    return out


def _ordered_unsigned(value: int) -> bytes:
    """The number of its bytes, then these, highest first."""
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def _ordered_signed(value: int) -> bytes:
    """Big-endian two's complement in n bytes, its leading n bits then turned over.

    A positive number starts with n ones and a 0, a negative one with n zeros and a 1: so the
    encodings sort as the numbers do. n = 1 holds -64 to 63, each further byte seven bits more.
    """
    size = (~value if value < 0 else value).bit_length() // 7 + 1
    flipped = ((1 << size) - 1) << (7 * size)
    return ((value & ((1 << 8 * size) - 1)) ^ flipped).to_bytes(size, "big")
