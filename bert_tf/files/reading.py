"""Reads files, among them small ones of JSON, with clear errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from typing import Any

from bert_tf.errors import BertError

MOST_BYTES = 64 << 20
"""Far more than any vocabulary or file of settings, labels or notes has."""
MOST_NESTED = 100
"""Levels of JSON; the modules that copy or write it recurse."""

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


def regular(path: str, flags: int) -> int:
    """The `opener` of `open` for regular files: of a folder, a pipe or a device an `OSError`.

    Opening a pipe would wait for a writer, and reading a device may never end.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    what = "folder" if stat.S_ISDIR(mode) else "pipe or a device"
    raise OSError(errno.EINVAL, f"it is a {what}, not a file", path)


def head_of(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file, at most 512; none if it cannot be read."""
    try:
        with open(path, "rb", opener=regular) as file:
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


def _number(text: str) -> float:
    """Of JSON; a `BertError` if it is none, or more than a float can hold."""
    if math.isfinite(value := float(text)):
        return value
    raise BertError(f"{text:.20} is no number that can be computed with")


def _whole(text: str) -> int:
    if len(text) > 299:
        _number(text)
    return int(text)


_STRICT = json.JSONDecoder(parse_int=_whole, parse_float=_number, parse_constant=_number)
_LENIENT = json.JSONDecoder(parse_int=_whole)


def parse_json(text: str | bytes, *, nan: bool = False) -> Any:
    """The values in JSON; a byte order mark is allowed.

    Args:
        text: as bytes in UTF-8, UTF-16 or UTF-32.
        nan: whether NaN and infinity, which are no JSON, are allowed as Python writes them.

    Raises:
        BertError: it is no JSON, is nested too deeply, or has a number that no float can hold.

    Example:
        >>> parse_json(b'{"labels": ["no", "yes"]}')
        {'labels': ['no', 'yes']}
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        values = (_LENIENT if nan else _STRICT).decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise BertError("it is nested too deeply") from None
    except ValueError as error:
        raise BertError(str(error)) from None
    level = [values] if text.count("[") + text.count("{") > MOST_NESTED else []
    for _ in range(MOST_NESTED):
        if not level:
            break
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for some in inner for one in some if isinstance(one, dict | list)]
    if level:
        raise BertError(f"it is nested too deeply, in more than {MOST_NESTED} levels")
    return values


@contextlib.contextmanager
def reading(name: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an `OSError` of the block into the `BertError` "cannot read NAME: reason."."""
    try:
        yield
    except OSError as error:
        raise BertError(f"cannot read {os.fspath(name)}: {error.strerror or error}.") from error


def read_bounded(path: str | os.PathLike[str], name: str = "") -> bytes:
    """The content of a regular file of at most `MOST_BYTES`; `name` is what messages call it.

    Raises:
        BertError: the file cannot be read, is none, or is too large.
    """
    name = name or os.fspath(path)
    with reading(name), open(path, "rb", opener=regular) as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise BertError(f"{name} has more than {MOST_BYTES >> 20} MB; it is another kind of file.")
    return raw


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


def read_object(
    path: str | os.PathLike[str], what: str = "", *, nan: bool = False
) -> dict[str, Any]:
    """The JSON object in a file, in UTF-8 with or without a byte order mark, or marked UTF-16.

    Args:
        path: of the file.
        what: its content, for messages, such as "the BERT config".
        nan: see `parse_json`.

    Raises:
        BertError: the file cannot be read, is too large, is no JSON, or holds no object.
    """
    name = f"{what} {os.fspath(path)}".lstrip()
    raw = read_bounded(path, name)
    try:
        values = parse_json(raw, nan=nan)
    except BertError as error:
        raise BertError(f"{name} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BertError(f"{name} is {json.dumps(values):.40}, not a JSON object.")
    return values


def read_sealed(path: str | os.PathLike[str], magic: bytes) -> memoryview | None:
    """What `write_sealed` wrote; None if there is nothing, or it is damaged or another's."""
    try:
        with open(path, "rb", opener=regular) as file:
            whole = memoryview(file.read())
    except OSError:
        return None
    start = len(magic) + hashlib.sha256().digest_size
    content = whole[start:]
    return content if whole[:start] == magic + hashlib.sha256(content).digest() else None
