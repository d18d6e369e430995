"""`FileGroup`: files of one folder that get their names together, or not at all.

They are written into a hidden folder `.NAME.xxxxxxxx.tmp`, as `000001+FILE` in their order.
Committing renames it to `.NAME.committed`; then each file gets its name. A process that is killed
before the renaming leaves all as it was. After it, the next process that reads or writes in the
folder does the rest (`finish_groups`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import BinaryIO

from bert_tf.files.reading import COMMITTED, finish_groups
from bert_tf.files.whole import Path, make_temporary, remove_scratch, sync_folder, writing

_ENTRY = re.compile(r"\d{6}([+-])(.+)")


class FileGroup:
    """Files to be written, and old ones to be removed with that.

    Args:
        path: names the group; the files are in its folder.

    Raises:
        OSError: the folder cannot be written; so also from the methods.
    """

    def __init__(self, path: Path) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        self._folder, self._committed = folder, os.path.join(folder, f".{name}{COMMITTED}")
        finish_groups(folder)
        self._scratch, self._descriptor = make_temporary(path, folder=True)
        self._names: list[str] = []

    def open(self, name: str) -> BinaryIO:
        """A file to write, bring to the disk and close."""
        return open(self._entry("+", name), "xb")

    def remove(self, name: str) -> None:
        """Has a file removed if it exists, after the files before it have their names."""
        if name not in self._names:
            with open(self._entry("-", name), "xb"):
                pass

    def commit(self) -> None:
        """Gives all files their names, in the order in which they were opened."""
        for name in self._names:
            if os.path.isdir(path := os.path.join(self._folder, name)):
                raise IsADirectoryError(errno.EISDIR, f"{path} is a folder", path)
        sync_folder(self._scratch)
        finish_groups(self._folder)  # what another process has committed since
        os.rename(self._scratch, self._committed)
        sync_folder(self._folder)
        finish(self._folder, self._committed)
        os.close(self._descriptor)

    def abort(self) -> None:
        """Removes all that was written."""
        with contextlib.suppress(OSError):
            remove_scratch(self._scratch, self._descriptor)

    def _entry(self, kind: str, name: str) -> str:
        self._names.append(name)
        return os.path.join(self._scratch, f"{len(self._names):06d}{kind}{name}")


def finish(folder: str, committed: str) -> None:
    """Gives the files of a committed folder their names; several processes may do it at once.

    Raises:
        BertError: the folder cannot be written.
    """
    what = f"{folder}, where an interrupted write is to be completed"
    with writing(what), contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(committed)):
            if (found := _ENTRY.fullmatch(name)) is None:
                return  # not ours
            source, target = os.path.join(committed, name), os.path.join(folder, found[2])
            with contextlib.suppress(FileNotFoundError):
                if found[1] == "+":
                    os.replace(source, target)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(target)
                os.unlink(source)
        sync_folder(folder)
        with contextlib.suppress(OSError):
            os.rmdir(committed)
