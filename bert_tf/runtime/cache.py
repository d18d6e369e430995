"""Files that spare work at the next start: keyed by what they depend on, whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable

from bert_tf.errors import BertError
from bert_tf.files.whole import read_sealed, write_sealed
from bert_tf.hub.store import compiled_folder

VARIABLE = "BERT_TF_CACHE"
"""Environment variable: another folder for the cache, or 0 for none."""

_MAGIC = b"bert_tf cache 1\n"


def folder() -> str | None:
    """Where the cache lies; None if it is switched off."""
    chosen = os.environ.get(VARIABLE)
    if chosen == "0":
        return None
    return os.path.abspath(os.path.expanduser(chosen)) if chosen else compiled_folder()


def key(kind: str, parts: Iterable[object]) -> str:
    """A file name of this kind that changes with the `repr` of what the content depends on."""
    digest = hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
    return f"{kind}-{digest[:32]}"


def load(name: str) -> bytes | None:
    """The content kept under a name; None if there is none or it is damaged."""
    if (where := folder()) is None:
        return None
    found = read_sealed(os.path.join(where, name), _MAGIC)
    return None if found is None else bytes(found)


def save(name: str, content: bytes) -> None:
    """Keeps content under a name, atomically; a cache that cannot be written is done without."""
    if (where := folder()) is not None:
        with contextlib.suppress(BertError):
            write_sealed(os.path.join(where, name), _MAGIC, content)
