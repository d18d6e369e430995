"""Unpacks a release as Google ships it, a .zip, into a temporary folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import struct
import textwrap
import zipfile
import zlib

from bert_tf.errors import BertError
from bert_tf.files.temporary import TemporaryFolder

_SUFFIXES = (".index", ".json", ".txt")
"""With `.data-*` and the `checkpoint` file, all that is taken from an archive: the `.meta` file, a
graph of up to 1 GB, is not needed here."""

_MOST_FILES = 1000
"""A release has four files; an archive with so many would fill the disk with their names."""


_DAMAGED: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, LookupError, ArithmeticError),
)
"""What zipfile and the decompressors raise, and what names and places that cannot be do."""
with contextlib.suppress(ImportError):  # Python can be built without it
    import lzma

    _DAMAGED += (lzma.LZMAError,)

_IMPOSSIBLE = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)


class DamagedArchiveError(BertError):
    """It is no .zip, or not as it was packed."""


class NoRoomError(BertError):
    """The disk has no room for what is in it."""


def unpack(path: str) -> TemporaryFolder:
    """Unpacks what a checkpoint consists of; folders in the archive keep their names.

    Args:
        path: of the .zip.

    Returns:
        The temporary folder; its `cleanup` removes it.

    Raises:
        BertError: it is no zip, damaged, encrypted, holds no checkpoint, would write outside its
            folder, or is larger unpacked than the disk has room for.
    """
    try:
        with contextlib.ExitStack() as after_error:
            folder = TemporaryFolder("unpacked")
            after_error.callback(folder.cleanup)
            advice = "Unpack it elsewhere and pass the folder, or set TMPDIR"
            extract(path, folder.name, advice=advice)
            after_error.pop_all()
        return folder
    except OSError as error:
        raise BertError(f"cannot unpack the archive {path}: {error.strerror}.") from error


def extract(
    path: str, folder: str, *, advice: str, limit: int | None = None, durable: bool = False
) -> None:
    """Unpacks what a checkpoint consists of into an empty folder; every file's checksum is checked.

    Args:
        path: of the .zip.
        folder: to unpack into; what an error leaves in it is the caller's to remove.
        advice: what to do if the disk has no room for it.
        limit: the most bytes that it may have unpacked.
        durable: return only when it is on the disk.

    Raises:
        BertError: as `unpack` says; `DamagedArchiveError` if another copy may be better,
            `NoRoomError` if another disk may.
        OSError: the disk is full or otherwise does not do its work.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if _wanted(m)]
            if not any(m.filename.endswith(".index") for m in members):
                raise BertError(
                    f"the archive {path} holds no checkpoint: no bert_model.ckpt.index. It has "
                    f"{textwrap.shorten(', '.join(archive.namelist()) or 'nothing', 200)}."
                )
            targets = [_safe_name(path, m) for m in members]
            if len(set(targets)) < len(targets):
                raise BertError(f"the archive {path} holds the same file twice.")
            _check_room(path, members, folder, advice, limit)
            for member, target in zip(members, targets):
                target = os.path.join(folder, target)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                # A file longer than it claims is cut there, and then its checksum fails.
                with archive.open(member) as source, open(target, "xb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
                    # zipfile takes no checksum of nothing.
                    if out.tell() != member.file_size or (member.CRC and not member.file_size):
                        raise zipfile.BadZipFile(f"Bad length of {member.filename!r}")
                    if durable:
                        out.flush()
                        os.fsync(out.fileno())
    except (FileExistsError, NotADirectoryError) as error:  # names that this disk takes for one
        raise BertError(f"the archive {path} has two files of one path.") from error
    except (RuntimeError, MemoryError) as error:
        # zipfile says so of encrypted members and of compressions that it does not know.
        raise BertError(f"the archive {path} cannot be unpacked: {error}.") from None
    except _DAMAGED as error:
        disk = isinstance(error, OSError) and error.errno not in (None, *_IMPOSSIBLE)
        if disk or isinstance(error, BertError):
            raise
        raise DamagedArchiveError(
            f"the archive {path} is damaged ({error}). Copy or download it again."
        ) from None


def _wanted(member: zipfile.ZipInfo) -> bool:
    """Whether the member belongs to a checkpoint, by its name."""
    name = member.filename.rsplit("/", 1)[-1]
    if member.is_dir() or "__MACOSX/" in member.filename or name.startswith("."):
        return False
    return name.endswith(_SUFFIXES) or ".data-" in name or name == "checkpoint"


def _safe_name(path: str, member: zipfile.ZipInfo) -> str:
    """The member's name as a path that stays in the folder; `BertError` if it would not."""
    name = member.filename.replace("\\", "/")
    pieces = [piece for piece in name.split("/") if piece not in ("", ".")]
    link = stat.S_ISLNK(member.external_attr >> 16)
    if name.startswith("/") or ".." in pieces or ":" in name or link:
        raise BertError(
            f"the archive {path} is not safe: {member.filename!r} "
            f"{'is a link' if link else 'is outside of it'}. Nothing was unpacked."
        )
    return os.path.join(*pieces)


def _check_room(
    path: str, members: list[zipfile.ZipInfo], folder: str, advice: str, limit: int | None
) -> None:
    size = sum(member.file_size for member in members)
    if len(members) > _MOST_FILES or (limit is not None and size > limit):
        raise BertError(
            f"the archive {path} is not safe: it has {len(members):,} files and {size / 1e6:,.0f} "
            "MB unpacked, far more than a checkpoint of its kind. Nothing was unpacked."
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise NoRoomError(
            f"the archive {path} needs {size / 1e6:.0f} MB unpacked, and {os.path.dirname(folder)} "
            f"has {free / 1e6:.0f} MB left. {advice}."
        )
