"""Unpacks a release as Google ships it, a .zip, into a temporary folder."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
import zlib

from bert_tf.errors import BertError

_SUFFIXES = (".index", ".json", ".txt")
"""With `.data-*` and the `checkpoint` file, all that is taken from an archive: the `.meta` file, a
graph of up to 1 GB, is needed by nobody here."""


def unpack(path: str) -> tempfile.TemporaryDirectory[str]:
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
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if _wanted(m)]
            if not any(m.filename.endswith(".index") for m in members):
                raise BertError(
                    f"the archive {path} holds no checkpoint: no bert_model.ckpt.index. It has "
                    f"{_some(archive.namelist())}."
                )
            targets = [_safe_name(path, m) for m in members]
            if len(set(targets)) < len(targets):
                raise BertError(f"the archive {path} holds the same file twice.")
            folder = tempfile.TemporaryDirectory(prefix="bert_tf_")
            try:
                _check_room(path, sum(m.file_size for m in members), folder.name)
                for member, target in zip(members, targets):
                    target = os.path.join(folder.name, target)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    # A file longer than it claims is cut there, and then its checksum fails.
                    with archive.open(member) as source, open(target, "xb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
            except BaseException:
                folder.cleanup()
                raise
            return folder
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BertError(
            f"the archive {path} is damaged ({error}). Copy or download it again."
        ) from None
    except (RuntimeError, NotImplementedError) as error:
        # zipfile says so of encrypted members and of compressions that it does not know.
        raise BertError(f"the archive {path} cannot be unpacked: {error}.") from None
    except OSError as error:
        raise BertError(f"cannot unpack the archive {path}: {error.strerror}.") from error


def _wanted(member: zipfile.ZipInfo) -> bool:
    """Whether the member belongs to a checkpoint, by its name."""
    name = member.filename.rsplit("/", 1)[-1]
    if member.is_dir() or "__MACOSX/" in member.filename or name.startswith("."):
        return False
    return name.endswith(_SUFFIXES) or ".data-" in name or name == "checkpoint"


def _safe_name(path: str, member: zipfile.ZipInfo) -> str:
    """The member's name as a path that stays in the folder.

    Raises:
        BertError: it would not.
    """
    name = member.filename.replace("\\", "/")
    pieces = [piece for piece in name.split("/") if piece not in ("", ".")]
    link = stat.S_ISLNK(member.external_attr >> 16)
    if name.startswith("/") or ".." in pieces or ":" in name or link:
        raise BertError(
            f"the archive {path} is not safe: {member.filename!r} "
            f"{'is a link' if link else 'lies outside of it'}. Nothing was unpacked."
        )
    return os.path.join(*pieces)


def _check_room(path: str, size: int, folder: str) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise BertError(
            f"the archive {path} needs {size / 1e6:.0f} MB unpacked, and {tempfile.gettempdir()} "
            f"has {free / 1e6:.0f} MB left. Unpack it elsewhere and pass the folder, or set TMPDIR."
        )


def _some(names: list[str]) -> str:
    """A few names for a message."""
    shown = ", ".join(names[:5]) or "nothing"
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
