"""CRC32C as checkpoints use it: Castagnoli's polynomial, stored "masked".

The `crc32c` package does 16 GB/s on 256 MB blocks (`google-crc32c`: 13 GB/s), takes any buffer
without a copy (`google-crc32c` refuses writable ones) and releases the interpreter lock, so that
two threads can check two tensors at once.
"""

from __future__ import annotations

import os

from crc32c import crc32c

_MASK_DELTA = 0xA282EAD8
"""Added by `crc32c::Mask` in LevelDB and TensorFlow, so that a checksum of data that holds
checksums stays a good one."""


def mask(value: int) -> int:
    """Turns a checksum into the form in which files store it."""
    return ((value >> 15 | value << 17) + _MASK_DELTA) & 0xFFFFFFFF


def masked(data: bytes | memoryview) -> int:
    """The checksum of `data` in the stored form."""
    return mask(crc32c(data))


def of_file(path: str | os.PathLike[str]) -> int:
    """The plain checksum of a file; an `OSError` if it cannot be read."""
    value = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            value = crc32c(block, value)
    return value
