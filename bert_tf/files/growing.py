"""`GrowingFile`: a file of results that grows under another name and survives its writer's end."""

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
    remove_unfinished,
    write_json,
    writing,
)

SAVE_SECONDS = 2.0
"""So often at most what is written is forced to the disk; so much work a sudden end costs."""

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Extent:
    """How far a file has come.

    Attributes:
        rows: of the input that are answered, always a whole number of chunks.
        bytes: of the results.
        before: bytes before the last chunk.
        digest: of the rows answered.
        failed: rows without a result.
        problems: what was wrong with the first of them.
    """

    rows: int = 0
    bytes: int = 0
    before: int = 0
    digest: str = ""
    failed: int = 0
    problems: tuple[str, ...] = ()


class GrowingFile:
    """Text that is appended to `PATH.part`, with a note in `PATH.part.json` of how far it is.

    What the note tells of is on the disk, whatever happens to the process or the machine; what
    was written after it is cut off when the file is opened again. At the end `PATH.part` becomes
    `PATH`. Made by `growing_file`.

    Attributes:
        extent: how far the file has come.
    """

    def __init__(self, path: str, settings: Mapping[str, Any], overwrite: bool) -> None:
        self.path = path
        self.extent = Extent()
        # As it is when read again: tuples are lists.
        self._settings = json.loads(json.dumps(settings))
        self._part, self._note = path + ".part", path + ".part.json"
        check_output(path, overwrite)  # another process may have finished it meanwhile
        if os.path.exists(self._part):
            self._recall(overwrite)
        if not self.extent.rows:
            self._save()  # before the file itself: one without a note is not ours
        # Unbuffered: on a full disk nothing waits to be written that is noted already.
        mode = "r+b" if self.extent.rows else "w+b"
        self._file = open(self._part, mode, buffering=0)  # noqa: SIM115
        self._file.truncate(self.extent.bytes)
        self._file.seek(self.extent.bytes)
        self._saved_at = time.monotonic()

    def restart(self) -> None:
        """Throws away what was written."""
        self.extent = Extent()
        self._save()
        self._file.seek(0)
        self._file.truncate()

    def last_chunk(self) -> bytes:
        """What was appended last."""
        self._file.seek(self.extent.before)
        return self._file.read(self.extent.bytes - self.extent.before)

    def append(self, text: bytes, extent: Extent) -> None:
        """Appends a chunk, and notes it if the last note is some time ago.

        Args:
            text: whole lines.
            extent: with `text`; its bytes are filled in.
        """
        before = self.extent.bytes
        self._write(text)
        self.extent = dataclasses.replace(extent, before=before, bytes=before + len(text))
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save_all()

    def finish(self, text: bytes, extent: Extent) -> None:
        """Appends the last lines, and gives the file its name."""
        self._write(text)
        os.fsync(self._file.fileno())
        self._file.close()
        self.extent = extent
        os.replace(self._part, self.path)
        os.unlink(self._note)

    def stop(self) -> None:
        """Notes how far it is, as the writer ends before its time; leaves nothing of nothing."""
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
        if not known:
            if overwrite:
                return
            raise BertError(
                f"{self._part} is there, but nothing tells what it is of; remove it, or say "
                f"--overwrite"
            )
        names = {*settings, *self._settings}
        other = sorted(n for n in names if settings.get(n) != self._settings.get(n))
        if not other:
            self.extent = found
        elif not overwrite and found.rows:
            name = other[0]
            raise BertError(
                f"{self._part} is of an interrupted run with other settings: {name} was "
                f"{settings.get(name)!r:.80} and is now {self._settings.get(name)!r:.80}. To go "
                f"on, give the same; to begin anew, say --overwrite"
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
        note = {
            "format": FORMAT,
            "progress": dataclasses.asdict(self.extent),
            "settings": self._settings,
        }
        write_json(self._note, note)


@contextlib.contextmanager
def growing_file(
    path: str | os.PathLike[str], settings: Mapping[str, Any], overwrite: bool = False
) -> Iterator[GrowingFile]:
    """Opens a file of results, where an interrupted run left it if there was one.

    Args:
        path: of the file when it is finished.
        settings: what must be the same for a run to be resumed; JSON can hold it.
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
