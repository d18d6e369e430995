"""Whole files: written under a temporary name in the same folder, then renamed.

Temporary names are `.NAME.xxxxxxxx.tmp` with eight random hexadecimal digits: hidden, on the same
disk, and of one writer only, who holds a lock on it. After an error nothing of it is left. What a
killed process leaves is removed by the next that writes `NAME`, or that is alone in the folder
(`remove_unfinished`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import IO, Any

from bert_tf.errors import BertError

Path = str | os.PathLike[str]

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError`, but no `BrokenPipeError`, into "cannot write PATH: reason."."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BertError(f"cannot write {os.fspath(path)}: {error.strerror or error}.") from error


def make_temporary(path: Path, *, folder: bool = False) -> tuple[str, int]:
    """Makes a hidden file or folder next to `path`, and removes those that killed writers left.

    Gives its path and a descriptor: while that is open, no other process removes it.
    """
    from bert_tf.files.locks import hold

    at, name = os.path.split(os.fspath(path))
    with contextlib.suppress(OSError):
        remove_unfinished(at or ".", lambda found: found == name, alone=False)
    while True:
        temporary = os.path.join(at, f".{name}.{os.urandom(4).hex()}.tmp")
        if folder:
            os.mkdir(temporary)
            descriptor = os.open(os.devnull if os.name == "nt" else temporary, os.O_RDONLY)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            descriptor = os.open(temporary, flags, 0o666)
        hold(descriptor)
        if os.path.exists(temporary):  # else it was removed before it was held
            return temporary, descriptor
        os.close(descriptor)


def remove_unfinished(folder: Path, ours: Callable[[str], bool], *, alone: bool = True) -> None:
    """Removes what killed writers left.

    Args:
        folder: need not exist.
        ours: whether only we write a file, or folder, of this final name.
        alone: whether no other process can be writing them, so that no lock is needed to know.
    """
    from bert_tf.files.locks import unused

    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if (match := _TEMPORARY.fullmatch(name)) and ours(match[1]):
                path = os.path.join(folder, name)
                with unused(path) as free:
                    if (free or alone) and os.path.isdir(path):
                        shutil.rmtree(path, ignore_errors=True)
                    elif free or alone:
                        os.remove(path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[str]:
    """Yields a name with the same ending; the file written there replaces `path` at the end.

    Args:
        path: of the file, in a folder that exists.

    Raises:
        BertError: a file cannot be written; an old one at `path` stays.
    """
    with scratch_folder(path) as scratch:
        temporary = os.fspath(scratch / os.path.basename(path))
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def whole_file(
    path: Path, mode: str = "w", *, durable: bool = True, ours: bool = False
) -> Iterator[IO[Any]]:
    r"""Opens a file that gets its name, and replaces an older one, when all is written.

    A pipe or a device that a user names is written to directly.

    Args:
        path: of the file, in a folder that exists.
        mode: "w" for text in UTF-8, where a lone surrogate becomes `\udcxx` and line ends stay as
            they are; "wb" for bytes.
        durable: whether the content is on the disk before the rename, so that a crash of the
            machine leaves the old file or the new one. A cache does not need that.
        ours: whether only we name such a file: a link or a pipe in its place is replaced.

    Raises:
        BertError: the file cannot be written; an old one at `path` stays.
    """
    options: dict[str, Any] = {}
    if "b" not in mode:
        options = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    if not ours and is_special(path):
        with writing(path), open(path, mode, **options) as file:
            yield file
        return
    with writing(path):
        temporary, descriptor = make_temporary(path)
        try:
            with open(descriptor, mode, **options) as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(descriptor)
                if os.name == "nt":  # Windows renames no open file
                    file.close()
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def write_whole(path: Path, content: str | bytes, **options: bool) -> None:
    """Writes a file in one step, with the options of `whole_file`."""
    with whole_file(path, "wb" if isinstance(content, bytes) else "w", **options) as file:
        file.write(content)


def to_json(values: Any, **options: Any) -> str:
    """JSON for programs, with the options of `json.dumps`; a `ValueError` for NaN or infinity."""
    return json.dumps(values, **{"ensure_ascii": False, "allow_nan": False, **options})


def encoded(text: str) -> bytes:
    r"""UTF-8, where a lone surrogate becomes `\udcxx`, as JSON escapes it."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path, values: Any, **options: bool) -> None:
    """Writes JSON indented by two spaces, with a line end; a `ValueError` for NaN or infinity."""
    write_whole(path, to_json(values, indent=2) + "\n", **options)


def no_link(path: str, flags: int) -> int:
    """The `opener` of a file that only we name: an `OSError` where somebody put a link there."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder are on the disk, where the system can be asked for that.

    It cannot on Windows and some network drives.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> None:
    """Makes a folder, with its parents, if it does not exist; a `BertError` if it cannot."""
    if not os.fspath(path):
        raise BertError("'' names no folder; give a path, or '.' for the current folder.")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise BertError(f"cannot make the folder {path}: {error.strerror}.") from error


def is_special(path: Path) -> bool:
    """Whether there is a pipe or a device, which has no old content to keep."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def check_output(
    path: Path, overwrite: bool, source: str | None = None, *, in_new_folder: bool = False
) -> str:
    """Makes sure, before anything slow starts, that a file of results may be written.

    A pipe or a device may: nothing in it would be lost.

    Args:
        path: of the file.
        overwrite: whether it may exist.
        source: the file that the results are made from, if there is one.
        in_new_folder: whether the folder need not exist yet.

    Returns:
        The path, with "~" expanded.

    Raises:
        BertError: it exists and must not be replaced, is the source, or has no (writable) folder.
    """
    path = os.path.expanduser(os.fspath(path))
    folder = os.path.dirname(path) or "."
    while in_new_folder and not os.path.lexists(folder):
        folder = os.path.dirname(folder) or "."
    if path in ("", "-"):
        raise BertError(f"`output={path!r}` names no file; leave it out to print the results")
    if not os.path.isdir(folder):
        raise BertError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise BertError(f"{path} is a folder; name a file for the results")
    with contextlib.suppress(FileNotFoundError):
        if source is not None and os.path.samefile(path, source):
            raise BertError(f"the input and the output are the same file, {path}")
    if os.path.isfile(path) and not overwrite:
        raise BertError(f"{path} exists; name another output, or pass `overwrite=True`")
    if not is_special(path) and not os.access(folder, os.W_OK):
        raise BertError(f"cannot write {path}: the folder {folder} is not writable")
    return path


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[pathlib.Path]:
    """A hidden folder in the folder of `path`, always removed at the end.

    An `OSError` within, for example on a full disk, becomes a `BertError`.
    """
    with writing(path):
        scratch, descriptor = make_temporary(path, folder=True)
        try:
            yield pathlib.Path(scratch)
        finally:
            remove_scratch(scratch, descriptor)


def remove_scratch(path: str, descriptor: int) -> None:
    """Removes a folder that `make_temporary` made."""
    shutil.rmtree(path, ignore_errors=True)
    os.close(descriptor)


def write_sealed(path: Path, magic: bytes, content: bytes | memoryview) -> None:
    """Writes `magic` (kind and version), the SHA-256 of the content, and the content.

    The folder is made if it does not exist; a `BertError` if something cannot be written.
    """
    make_folder(os.path.dirname(path))
    with whole_file(path, "wb", durable=False, ours=True) as file:
        file.write(magic + hashlib.sha256(content).digest())
        file.write(content)
