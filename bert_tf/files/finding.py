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
        patterns: names of files, or patterns such as `books/*.txt.gz` (`**` for any folders).
        wanted: what to type, for the message where there is none.

    Returns:
        The files in the order of the patterns, those of one pattern sorted, each once.

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
        # A file whose own name has a bracket is taken as it is.
        names = [path] if path.exists() else sorted(glob.glob(os.fspath(pattern), recursive=True))
        matches = [pathlib.Path(name) for name in names if name == path or os.path.isfile(name)]
        if not matches:
            kind = "pattern matches no file" if glob.has_magic(str(pattern)) else "file is missing"
            raise BertError(f"{pattern}: this {kind}; {wanted}")
        found.update(dict.fromkeys(matches))
    if not found:
        raise BertError(f"no input files; {wanted}")
    return list(found)
