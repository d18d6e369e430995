"""`GrowingFile`: a file of results that grows under a temporary name and survives a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bert_tf.errors import BertError
from bert_tf.files.locks import lock
from bert_tf.files.reading import read_object
from bert_tf.files.whole import (
    check_output,
    is_special,
    no_link,
    remove_unfinished,
    write_json,
    writing,
)

SAVE_SECONDS = 2.0
"""How often, at most, the file is forced to the disk: so much work a crash can cost."""

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much of a file is written.

    Rows of the input with results (whole chunks), bytes of the results, bytes before the last
    chunk, digest of these rows, rows that failed, and what was wrong with the first of those.
    """

    rows: int = 0
    bytes: int = 0
    before: int = 0
    digest: str = ""
    failed: int = 0
    problems: tuple[str, ...] = ()


class GrowingFile:
    """Text appended to `PATH.part`, and in `PATH.part.json` a note of its `extent`.

    What the note counts is on the disk, even if the process or the machine crashes; what was
    written after it is cut off when the file is opened again. At the end `PATH.part` becomes
    `PATH`. Made by `growing_file`.
    """

    def __init__(self, path: str, settings: Mapping[str, Any], overwrite: bool) -> None:
        self.path = path
        self.extent = Extent()
        # As when read again: tuples are lists.
        self._settings = json.loads(json.dumps(settings))
        self._part, self._note = path + ".part", path + ".part.json"
        check_output(path, overwrite)  # another process may just have finished it
        if os.path.exists(self._part):
            self._recall(overwrite)
        if not self.extent.rows:
            self._save()  # before the file itself: one without a note is not ours
        # Unbuffered: on a full disk, nothing unwritten has been noted.
        mode = "r+b" if self.extent.rows else "w+b"
        self._file = open(self._part, mode, buffering=0, opener=no_link)  # noqa: SIM115
        self._file.truncate(self.extent.bytes)
        self._file.seek(self.extent.bytes)
        self._saved_at = time.monotonic()

    def restart(self) -> None:
        """Removes what was written."""
        self.extent = Extent()
        self._save()
        self._file.seek(0)
        self._file.truncate()

    def last_chunk(self) -> bytes:
        """The last that was appended."""
        self._file.seek(self.extent.before)
        return self._file.read(self.extent.bytes - self.extent.before)

    def append(self, text: bytes, extent: Extent) -> None:
        """Appends whole lines, with which the extent is this; saves a note if the last is old."""
        before = self.extent.bytes
        self._write(text)
        self.extent = dataclasses.replace(extent, before=before, bytes=before + len(text))
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save_all()

    def finish(self, text: bytes, extent: Extent) -> None:
        """Appends the last lines, and renames the file."""
        self._write(text)
        os.fsync(self._file.fileno())
        self._file.close()
        self.extent = extent
        os.replace(self._part, self.path)
        os.unlink(self._note)

    def stop(self) -> None:
        """Saves the note when the writer ends early; removes a file without rows."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError, BertError):
            self._save_all()
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.extent.rows:
            for path in (self._part, self._note):
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _recall(self, overwrite: bool) -> None:
        try:
            note = read_object(self._note)
            found = Extent(**{**note["progress"], "problems": tuple(note["progress"]["problems"])})
            settings = note["settings"]
            known = note["format"] == FORMAT and os.path.getsize(self._part) >= found.bytes
        except (BertError, KeyError, TypeError):
            known = False
        if not known and overwrite:
            return
        if not known:
            raise BertError(
                f"{self._part} is of an unknown run; remove it or pass `overwrite=True`"
            )
        names = {*settings, *self._settings}
        other = sorted(n for n in names if settings.get(n) != self._settings.get(n))
        if not other:
            self.extent = found
        elif not overwrite and found.rows:
            was, now = settings.get(other[0]), self._settings.get(other[0])
            raise BertError(
                f"{self._part} is of an interrupted run with other settings: {other[0]} was "
                f"{was!r:.80} and is now {now!r:.80}. To resume, give the same; to start over, "
                "pass `overwrite=True`"
            )

    def _write(self, text: bytes) -> None:
        view = memoryview(text)
        while view:
            view = view[self._file.write(view) :]

    def _save_all(self) -> None:
        os.fsync(self._file.fileno())
        self._save()
        self._saved_at = time.monotonic()

    def _save(self) -> None:
        progress = dataclasses.asdict(self.extent)
        note = {"format": FORMAT, "progress": progress, "settings": self._settings}
        write_json(self._note, note, ours=True)


@contextlib.contextmanager
def growing_file(
    path: str | os.PathLike[str], settings: Mapping[str, Any], overwrite: bool = False
) -> Iterator[GrowingFile]:
    """Opens a file of results, to resume an interrupted run if there was one.

    Args:
        path: of the finished file.
        settings: what must be the same to resume a run; fit for JSON.
        overwrite: start over, where there is a finished file, or one of other settings.

    Raises:
        BertError: the file exists, cannot be written, is of another run, or another process
            writes it; or it is a pipe or a device, which cannot be resumed.
    """
    path = check_output(path, overwrite)
    if is_special(path):
        raise BertError(f"{path} is no file; results that can be resumed need one")

    def held() -> None:
        raise BertError(f"another process writes {path}; wait for it, or name another output")

    with writing(path), lock(path + ".part.lock", held):
        folder, name = os.path.split(path)
        remove_unfinished(folder or ".", lambda found: found == name + ".part.json")
        file = GrowingFile(path, settings, overwrite)
        try:
            yield file
        finally:
            file.stop()
