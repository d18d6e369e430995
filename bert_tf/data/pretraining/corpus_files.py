"""Whether the files of a tokenized corpus are those that were written."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_tf.checkpoint import crc
from bert_tf.files.whole import to_json

ARRAYS = {"sentences": "<i8", "documents": "<i8", "sources": "<i4", "groups": "<i4"}
"""The arrays next to the tokens, by their names, and their types."""

SUMS = "crc32c"
"""The key of `corpus.json` with the checksums; corpora of version 0.1.0 have none."""

_FIELDS = {
    "groups": list,
    "vocab_size": int,
    "vocab_sha256": str,
    "lower_case": bool,
    "sources": int,
}
_CHUNK = 1 << 20  # numbers that are compared at once


def checksums(folder: pathlib.Path, info: Mapping[str, Any]) -> dict[str, int]:
    """The CRC32C of each file, and of what `corpus.json` has other than these."""
    names = ("tokens.bin", *(f"{name}.npy" for name in ARRAYS))
    rest = to_json({name: info[name] for name in info if name != SUMS}, sort_keys=True)
    sums = {name: crc.of_file(folder / name) for name in names}
    return {**sums, "corpus.json": crc.crc32c(rest.encode("utf-8", "surrogatepass"))}


def changed(folder: pathlib.Path, info: Mapping[str, Any]) -> str | None:
    """Which file is not as it was written, by the checksums in `info`."""
    known, sums = info[SUMS], checksums(folder, info)
    other = [n for n in sums if not isinstance(known, dict) or known.get(n) != sums[n]]
    return f"the checksum of {other[0]} is wrong" if other else None


def odd_fields(info: Mapping[str, Any]) -> str | None:
    """Which field of `corpus.json` is missing or cannot be."""
    for name, kind in _FIELDS.items():
        if type(info.get(name)) is not kind:
            return f"corpus.json has no valid {name}"
    names = all(isinstance(name, str) for name in info["groups"])
    fits = names and 0 < info["vocab_size"] < 1 << 31
    return None if fits else "corpus.json has no valid groups or vocab_size"


def misfit(tokens: np.ndarray, arrays: Mapping[str, np.ndarray]) -> str | None:
    """Why the files do not fit together; takes no time."""
    for name, kind in ARRAYS.items():
        if arrays[name].ndim != 1 or arrays[name].dtype != kind or not arrays[name].size:
            return f"{name}.npy is no array of {kind}"
    sentences, documents = arrays["sentences"], arrays["documents"]
    counts = len(arrays["groups"]), len(sentences) - 1, len(tokens)
    ends = len(documents) - 1, documents[-1], sentences[-1]
    if ends == counts and len(arrays["sources"]) == counts[0] and not documents[0] | sentences[0]:
        return None
    return (
        f"{counts[0]} documents, {counts[1]} sentences and {counts[2]} tokens do not fit together"
    )


def out_of_range(
    info: Mapping[str, Any], tokens: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> str | None:
    """Which numbers cannot be, in files without checksums; reads them all."""
    limits = {"groups": len(info["groups"]), "sources": info["sources"]}
    for name, values, limit in (
        ("tokens.bin", tokens, info["vocab_size"]),
        *((f"{name}.npy", arrays[name], limit) for name, limit in limits.items()),
    ):
        if values.min() < 0 or values.max() >= limit:
            return f"{name} has numbers that are not from 0 to {limit - 1}"
    for name, least in (("sentences", 1), ("documents", 1), ("groups", 0)):
        values = arrays[name]
        for start in range(0, len(values) - 1, _CHUNK):
            part = values[start : start + _CHUNK + 1]
            if (part[1:] < part[:-1]).any() or (least and (part[1:] == part[:-1]).any()):
                return f"the numbers in {name}.npy do not rise"
    return None
