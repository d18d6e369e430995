"""`find_files`: the files that names and patterns stand for."""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Iterable

from bert_tf.errors import BertError


def find_files(
    patterns: Iterable[str | os.PathLike[str]],
    *,
    wanted: str = "give text files, one sentence a line",
) -> list[pathlib.Path]:
    """The files that names and patterns stand for.

    Args:
        patterns: names of files, or patterns such as `books/*.txt.gz` (`**` goes into folders).
        wanted: what to type, for the message where there is none.

    Returns:
        The files in the order of the patterns, those of one pattern sorted, none twice.

    Raises:
        BertError: a pattern matches nothing, a name is no file, or there is no pattern.
    """
    if isinstance(patterns, str | os.PathLike):
        patterns = [patterns]
    found: dict[pathlib.Path, None] = {}
    for pattern in patterns:
        path = pathlib.Path(pattern)
        if path.is_dir():
            raise BertError(f"{path} is a folder; name its files, as in {path / '*.txt'}")
        # A file whose own name holds a bracket is taken as it is.
        matches = [path] if path.exists() else _matches(os.fspath(pattern))
        if not matches:
            kind = "pattern matches no file" if glob.has_magic(str(pattern)) else "file is missing"
            raise BertError(f"{pattern}: this {kind}; {wanted}")
        found.update(dict.fromkeys(matches))
    if not found:
        raise BertError(f"no input files; {wanted}")
    return list(found)


def _matches(pattern: str) -> list[pathlib.Path]:
    names = sorted(glob.glob(pattern, recursive=True))
    return [pathlib.Path(name) for name in names if os.path.isfile(name)]
