"""Reads files, among them small ones of JSON, with clear errors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from bert_tf.errors import BertError

MOST_BYTES = 64 << 20
"""Far more than any file of settings, labels or notes has."""

COMMITTED = ".committed"
"""Ending of the folder of a `FileGroup` whose files are only to be renamed."""

LFS_POINTER = b"version https://git-lfs"
"""First bytes of what Git leaves in a checkout where Git-LFS did not fetch the file."""
LFS = (
    "is a Git-LFS pointer, three lines of text and not the file itself: run `git lfs pull` in that "
    "repository."
)
_PAGE = (
    "is a web page saved in place of the file: the download went wrong, or needed a login. "
    "Download it again."
)


def head_of(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file, at most 512; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(512)
    except OSError:
        return b""


def stand_in(path: str | os.PathLike[str]) -> str | None:
    """What was saved in a file's place, and what to do: `LFS`, or a clause on a web page."""
    head = head_of(path)
    if head.startswith(LFS_POINTER):
        return LFS
    page = head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml"))
    return _PAGE if page else None


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, a byte order mark allowed; too deep nesting is a `ValueError` as well.

    >>> parse_json(b'{"labels": ["no", "yes"]}')
    {'labels': ['no', 'yes']}
    """
    try:
        return json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextlib.contextmanager
def reading(name: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an `OSError` of the block into the `BertError` "cannot read NAME: reason."."""
    try:
        yield
    except OSError as error:
        raise BertError(f"cannot read {os.fspath(name)}: {error.strerror or error}.") from error


def finish_groups(folder: str | os.PathLike[str]) -> None:
    """Completes what a killed process had committed in a folder, see `FileGroup`.

    Raises:
        BertError: the folder cannot be written.
    """
    folder, found = os.fspath(folder) or ".", []
    with contextlib.suppress(OSError):
        found = [name for name in os.listdir(folder) if name.endswith(COMMITTED)]
    for name in found:
        from bert_tf.files.group import finish

        finish(folder, os.path.join(folder, name))


def read_object(path: str | os.PathLike[str], what: str = "") -> dict[str, Any]:
    """The JSON object in a file, in UTF-8 with or without a byte order mark, or marked UTF-16.

    Args:
        path: of the file.
        what: its content, for messages, such as "the BERT config".

    Raises:
        BertError: the file cannot be read, is too large, is no JSON, or holds no object.
    """
    name = f"{what} {os.fspath(path)}".lstrip()
    with reading(name), open(path, "rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise BertError(f"{name} has more than {MOST_BYTES >> 20} MB; it is another kind of file.")
    try:
        values = parse_json(raw)
    except ValueError as error:
        raise BertError(f"{name} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BertError(f"{name} holds a {type(values).__name__}, no object.")
    return values


def read_sealed(path: str | os.PathLike[str], magic: bytes) -> memoryview | None:
    """What `write_sealed` wrote; None if there is nothing, or it is damaged or another's."""
    try:
        with open(path, "rb") as file:
            whole = memoryview(file.read())
    except OSError:
        return None
    start = len(magic) + hashlib.sha256().digest_size
    content = whole[start:]
    return content if whole[:start] == magic + hashlib.sha256(content).digest() else None
