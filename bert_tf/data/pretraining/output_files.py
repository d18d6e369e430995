"""The files of examples: checks of their names, and putting one together from parts."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import IO

from bert_tf.errors import BertError
from bert_tf.files.whole import check_output


def checked_outputs(
    outputs: Sequence[str | os.PathLike[str]], inputs: Sequence[str | os.PathLike[str]]
) -> list[str]:
    """The absolute paths of files to write, none of which may be one of `inputs`.

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
        check_output(path, overwrite=True)
        if os.path.realpath(path) in read:
            raise BertError(f"{path} is an input and an output; the text would be lost.")
    return paths


def append(part: pathlib.Path, target: IO[bytes]) -> None:
    """Moves the content of a file to the end of another."""
    with open(part, "rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)
    part.unlink()
