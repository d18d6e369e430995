"""Files that are written under other names first, so that nothing half-made is left behind."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator, Sequence

from bert_tf.errors import BertError


def checked_outputs(
    outputs: Sequence[str | os.PathLike[str]], inputs: Sequence[str | os.PathLike[str]]
) -> list[str]:
    """The absolute paths of files to write.

    Args:
        outputs: what was asked for.
        inputs: files that will be read.

    Raises:
        BertError: there is none, one is named twice, is a folder, is an input, or its folder is
            missing.
    """
    paths = [os.path.abspath(os.path.expanduser(path)) for path in outputs]
    if not paths:
        raise BertError("no output file given.")
    if len(set(map(os.path.realpath, paths))) < len(paths):
        raise BertError(f"an output file is named twice: {', '.join(map(str, outputs))}.")
    read = {os.path.realpath(path) for path in inputs}
    for path in paths:
        if not os.path.isdir(os.path.dirname(path)):
            raise BertError(f"there is no folder {os.path.dirname(path)} to write {path} to.")
        if os.path.isdir(path):
            raise BertError(f"{path} is a folder; name a file to write to.")
        if os.path.realpath(path) in read:
            raise BertError(f"{path} is an input and an output; the text would be lost.")
    return paths


@contextlib.contextmanager
def scratch_folder(output: str) -> Iterator[pathlib.Path]:
    """A hidden folder beside a file, which is gone at the end whatever happens.

    Raises:
        BertError: a file in it cannot be written, for example because the disk is full.
    """
    folder, name = os.path.split(output)
    scratch = pathlib.Path(folder, f".{name}.{secrets.token_hex(4)}")
    try:
        scratch.mkdir()
        yield scratch
    except OSError as error:
        raise BertError(f"cannot write beside {output}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def temporary_files(paths: Sequence[str]) -> Iterator[list[str]]:
    """Empty hidden files beside those named; those that remain are removed at the end."""
    token = secrets.token_hex(4)
    temporary = []
    for path in paths:
        folder, name = os.path.split(path)
        temporary.append(os.path.join(folder, f".{name}.{token}.part"))
    try:
        for path in temporary:
            with open(path, "xb"):
                pass
        yield temporary
    finally:
        for path in temporary:
            with contextlib.suppress(OSError):
                os.remove(path)


def append(part: pathlib.Path, path: str) -> None:
    """Moves the content of a file to the end of another."""
    with open(part, "rb") as source, open(path, "ab") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    part.unlink()
