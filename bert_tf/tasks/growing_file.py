"""`GrowingFile`: a file of results that grows beside its name and survives its writer's end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bert_tf.checkpoint.lock import lock
from bert_tf.errors import BertError

SAVE_SECONDS = 2.0
"""So often at most what is written is forced to the disk; so much work a sudden end costs."""

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Progress:
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
        progress: as far as the file has come.
    """

    def __init__(self, path: str, settings: Mapping[str, Any], overwrite: bool) -> None:
        self.path = path
        self.progress = Progress()
        # As it is when read again: tuples are lists.
        self._settings = json.loads(json.dumps(settings))
        self._part, self._note = path + ".part", path + ".part.json"
        check_output(path, overwrite)  # another process may have finished it meanwhile
        if os.path.exists(self._part):
            self._recall(overwrite)
        if not self.progress.rows:
            self._save()  # before the file itself: one without a note is not ours
        self._file = open(self._part, "r+b" if self.progress.rows else "w+b")  # noqa: SIM115
        self._file.truncate(self.progress.bytes)
        self._file.seek(self.progress.bytes)
        self._saved_at = time.monotonic()

    def restart(self) -> None:
        """Throws away what was written."""
        self.progress = Progress()
        self._save()
        self._file.seek(0)
        self._file.truncate()

    def last_chunk(self) -> bytes:
        """What was appended last."""
        self._file.seek(self.progress.before)
        return self._file.read(self.progress.bytes - self.progress.before)

    def append(self, text: bytes, progress: Progress) -> None:
        """Appends a chunk, and notes it if the last note is some time ago.

        Args:
            text: whole lines.
            progress: with `text`; its bytes are filled in.
        """
        before = self.progress.bytes
        self._file.write(text)
        self.progress = dataclasses.replace(progress, before=before, bytes=before + len(text))
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save_all()

    def finish(self, text: bytes, progress: Progress) -> None:
        """Appends the last lines, and gives the file its name."""
        self._file.write(text)
        self.progress = progress
        self._to_disk()
        self._file.close()
        os.replace(self._part, self.path)
        os.unlink(self._note)

    def stop(self) -> None:
        """Notes how far it is, as the writer ends before its time; leaves nothing of nothing."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):
            self._save_all()
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.progress.rows:
            for path in (self._part, self._note):
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _recall(self, overwrite: bool) -> None:
        try:
            with open(self._note, encoding="utf-8") as file:
                note = json.load(file)
            found = Progress(
                **{**note["progress"], "problems": tuple(note["progress"]["problems"])}
            )
            settings = note["settings"]
            known = note["format"] == FORMAT and os.path.getsize(self._part) >= found.bytes
        except (FileNotFoundError, ValueError, KeyError, TypeError):
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
            self.progress = found
        elif not overwrite and found.rows:
            name = other[0]
            raise BertError(
                f"{self._part} is of an interrupted run with other settings: {name} was "
                f"{settings.get(name)!r:.80} and is now {self._settings.get(name)!r:.80}. To go "
                f"on, give the same; to begin anew, say --overwrite"
            )

    def _save_all(self) -> None:
        self._to_disk()
        self._save()
        self._saved_at = time.monotonic()

    def _to_disk(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _save(self) -> None:
        note = {
            "format": FORMAT,
            "progress": dataclasses.asdict(self.progress),
            "settings": self._settings,
        }
        temporary = self._note + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(note, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._note)


def check_output(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Makes sure that a file of results may be written, before anything slow starts.

    Raises:
        BertError: it exists and must not be replaced, or its folder does not exist.
    """
    path = os.path.expanduser(os.fspath(path))
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise BertError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise BertError(f"{path} is a folder; name a file for the results")
    if os.path.exists(path) and not overwrite:
        raise BertError(f"{path} exists; name another output, or say --overwrite")


@contextlib.contextmanager
def growing_file(
    path: str | os.PathLike[str], settings: Mapping[str, Any], overwrite: bool = False
) -> Iterator[GrowingFile]:
    """Opens a file of results, where an interrupted run left it if there was one.

    Args:
        path: of the file when it is finished.
        settings: what must be the same for a run to be gone on with; JSON can hold it.
        overwrite: begin anew, where there is a finished file, or one of other settings.

    Raises:
        BertError: the file exists, cannot be written, is of another run, or another process
            writes it.
    """
    path = os.path.expanduser(os.fspath(path))
    check_output(path, overwrite)

    def held() -> None:
        raise BertError(f"another process writes {path}; wait for it, or name another output")

    try:
        with lock(path + ".part.lock", held):
            file = GrowingFile(path, settings, overwrite)
            try:
                yield file
            finally:
                file.stop()
    except OSError as error:
        raise BertError(f"cannot write {path}: {error.strerror or error}") from error
