"""`tf.train.Example`, many at once, encoded and decoded without TensorFlow.

An Example is protobuf: `Example{1: Features}`, `Features{1: map<string, Feature>}`, a map being
repeated `{1: key, 2: value}`, `Feature{1: BytesList | 2: FloatList | 3: Int64List}`, each list `{1:
values}`, packed: varints for int64, four bytes for float (tensorflow/core/example/*.proto).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bert_tf.checkpoint.proto import BYTES, FIXED32, VARINT, fields, write_varint
from bert_tf.errors import BertError

_FLOATS, _INTEGERS = 2, 3
"""Fields of `Feature`."""


def encode_examples(features: Mapping[str, np.ndarray]) -> list[bytes]:
    """Writes n Examples as TensorFlow does, the features in the order given.

    Args:
        features: name to an array of shape (n, values), integers or floats, which become int64
            and float features.
    """
    head = functools.cache(_head)  # sizes are few
    columns = [(name, v.dtype.kind == "f", *_payloads(v)) for name, v in features.items()]
    examples = []
    for row in range(len(next(iter(features.values())))):
        parts = [b""]
        for name, is_float, data, ends in columns:
            start, end = ends[row], ends[row + 1]
            parts += head(name, is_float, end - start), data[start:end]
        parts[0] = b"\x0a" + write_varint(sum(map(len, parts)))
        examples.append(b"".join(parts))
    return examples


def decode_examples(
    examples: Sequence[bytes], wanted: Mapping[str, np.dtype | type]
) -> dict[str, np.ndarray]:
    """Reads Examples that any writer made as arrays (n, values) by name.

    Args:
        examples: one or more Examples, as bytes.
        wanted: name to the type of the result; an integer type reads an int64 feature, a float
            type a float feature. Other features are skipped.

    Raises:
        BertError: the bytes are no Example, a wanted feature is missing or of the other kind, or
            the Examples do not all have equally many values of it.
    """
    parts: dict[str, list[bytes]] = {name: [] for name in wanted}
    kinds = {
        name.encode(): (_FLOATS if np.dtype(kind).kind == "f" else _INTEGERS, parts[name])
        for name, kind in wanted.items()
    }
    for number, example in enumerate(examples):
        for entry in _submessages(example, 1):
            for key, feature in _entries(entry):
                if key not in kinds:
                    continue
                kind, found = kinds[key]
                # Of two entries with a key the last one counts.
                found[number:] = [_payload(feature, kind, key.decode())]
        for name, found in parts.items():
            if len(found) <= number:
                raise BertError(f"an example has no feature {name!r}")
    return {name: _values(found, np.dtype(wanted[name]), name) for name, found in parts.items()}


def encode_varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of any shape and sign in seven bits a byte, lowest first.

    Returns:
        (bytes, sizes): uint8, all numbers one after the other; and int64, the bytes of each.
    """
    flat = values.reshape(-1)
    lowest, highest = (int(flat.min()), int(flat.max())) if flat.size else (0, 0)
    if lowest >= 0 and highest < 128:
        return flat.astype(np.uint8), np.ones(flat.size, np.int64)
    flat = flat.astype(np.int64, copy=False).view(np.uint64) if lowest < 0 else flat
    width = 10 if lowest < 0 else (highest.bit_length() + 6) // 7
    matrix = np.empty((flat.size, width), np.uint8)
    used = np.empty((flat.size, width), bool)
    used[:, 0] = True
    rest = flat
    for byte in range(width):
        np.bitwise_and(rest, 0x7F, out=matrix[:, byte], casting="unsafe")
        if byte + 1 < width:
            rest = rest >> 7
            np.not_equal(rest, 0, out=used[:, byte + 1])
            matrix[:, byte] |= used[:, byte + 1].view(np.uint8) << 7
    return matrix[used], used.sum(axis=1)


def decode_varints(data: np.ndarray) -> np.ndarray:
    """The int64 numbers in an array of bytes; see `encode_varints`.

    Raises:
        BertError: the last number is cut off, or one is longer than 64 bits.
    """
    ends = np.flatnonzero(data < 0x80)
    if data.size and (not ends.size or ends[-1] != data.size - 1):
        raise BertError("a number is cut off")
    sizes = np.diff(ends, prepend=-1)
    starts = ends - sizes + 1
    values = (data[starts] & 0x7F).astype(np.uint64)
    longest = int(sizes.max()) if sizes.size else 0
    if longest > 10:
        raise BertError("a number is longer than 64 bits")
    for byte in range(1, longest):
        longer = np.flatnonzero(sizes > byte)
        bits = (data[starts[longer] + byte] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * byte)
    return values.view(np.int64)


def _payloads(values: np.ndarray) -> tuple[bytes, list[int]]:
    """The packed values of all rows one after the other, and where each row ends, from 0 on."""
    rows, width = values.shape
    if values.dtype.kind == "f":
        size = 4 * width
        return values.astype("<f4").tobytes(), list(range(0, size * rows + 1, size or 1))
    data, sizes = encode_varints(values)
    return data.tobytes(), [0, *np.cumsum(sizes.reshape(rows, width).sum(axis=1)).tolist()]


def _head(name: str, is_float: bool, size: int) -> bytes:
    """What comes before the values of an entry of the map, which take `size` bytes."""
    head = b"\x0a" + write_varint(size)  # field 1, packed
    for tag in (b"\x12" if is_float else b"\x1a", b"\x12"):  # in Feature, and in the entry
        head = tag + write_varint(len(head) + size) + head
    key = name.encode()
    head = b"\x0a" + write_varint(len(key)) + key + head
    return b"\x0a" + write_varint(len(head) + size) + head


def _submessages(data: bytes, wanted: int) -> Iterator[bytes]:
    return (v for number, wire, v in fields(data) if number == wanted and wire == BYTES)


def _entries(features: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, Feature) of each entry of the map."""
    for entry in _submessages(features, 1):
        found = {number: value for number, wire, value in fields(entry) if wire == BYTES}
        yield found.get(1, b""), found.get(2, b"")


def _payload(feature: bytes, kind: int, name: str) -> bytes:
    """The values of a Feature, packed; also where they were written one field each."""
    payload = b""
    for number, wire, value in fields(feature):
        if wire != BYTES or number > _INTEGERS:
            continue
        if number != kind:
            is_kind, other = ("a float", "int64") if kind == _FLOATS else ("an int64", "float")
            raise BertError(
                f"the feature {name!r} is not {is_kind} list but {other if number != 1 else 'text'}"
            )
        unpacked = FIXED32 if kind == _FLOATS else VARINT
        payload = b"".join(v for n, w, v in fields(value) if n == 1 and w in (BYTES, unpacked))
    return payload


def _values(payloads: list[bytes], kind: np.dtype, name: str) -> np.ndarray:
    """The numbers of all Examples as (n, values)."""
    data = np.frombuffer(b"".join(payloads), np.uint8)
    ends = np.cumsum([len(payload) for payload in payloads])
    if kind.kind == "f":
        if data.size % 4:
            raise BertError(f"the feature {name!r} holds a part of a number")
        numbers, upto = data.view("<f4"), ends // 4
    else:
        numbers = decode_varints(data)
        upto = np.concatenate([[0], np.cumsum(data < 0x80)])[ends]
    counts = np.diff(upto, prepend=0)
    if counts.size and (counts != counts[0]).any():
        some = sorted({int(count) for count in counts})
        raise BertError(f"{name!r} has {some[0]} values in one example and {some[-1]} in another")
    return numbers.astype(kind).reshape(len(payloads), -1)
