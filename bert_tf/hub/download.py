"""Downloads a released checkpoint into a store: whole and verified, or not at all."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import shutil
from collections.abc import Iterator

from bert_tf.checkpoint import crc
from bert_tf.checkpoint.release import CHECKPOINT_NAME
from bert_tf.config import CONFIG_NAME, VOCAB_NAME
from bert_tf.errors import DISK_FULL, BertError
from bert_tf.files.locks import lock
from bert_tf.files.log import LOGGER
from bert_tf.files.progress import Progress
from bert_tf.files.whole import sync_folder, write_json
from bert_tf.hub import archive, catalog, partial, store
from bert_tf.hub.archive import DamagedArchiveError
from bert_tf.hub.catalog import Release
from bert_tf.hub.fetch import fetch
from bert_tf.hub.locate import ALL_LEVELS, locate
from bert_tf.hub.partial import Remote

URL_VARIABLE = "BERT_TF_URL"
"""The environment variable that names a mirror to download from."""

_ROOM = 64 << 20
"""Bytes that a release may have beyond twice its weights: vocabulary, and in the .zip a graph."""


def download(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: bool = True,
    url: str | None = None,
) -> str:
    """Makes sure that a released checkpoint is here; downloads it if it is not.

    Safe to break off at any time: a later call resumes. Safe to call twice at once: the second
    waits for the first.

    Args:
        name: of a release, as `bert_tf.checkpoint.RELEASES` has them, e.g. "multi_cased".
        folder: to put the checkpoint's folder into; the usual store when left out.
        force: download it again, in place of what is there.
        progress: show the progress on stderr.
        url: of a mirror with the same paths as Google's; `$BERT_TF_URL`, else Google's.

    Returns:
        The checkpoint's folder.

    Raises:
        BertError: the name is unknown, it cannot be downloaded, what came is damaged, unsafe or
            not what came before, or the disk is full. What was there before is still there.
    """
    release = catalog.get(name)
    address = release.url(url or os.environ.get(URL_VARIABLE) or catalog.BASE_URL)
    home = store.home() if folder is None else os.path.abspath(os.path.expanduser(folder))
    here = store.find(release.name) if folder is None else _target(home, release)
    if not force and here is not None and store.has_checkpoint(here):
        return here
    shown = Progress(progress, release.name)
    try:
        os.makedirs(home, exist_ok=True)
        waiting = f"another process downloads {release.name}; waiting for it"
        with lock(_hidden(home, release, "lock"), lambda: LOGGER.info(waiting)):
            return _downloaded(release, address, home, force, shown)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise BertError(
                f"the disk is full: no more can be written to {home} ({error.strerror}). Make "
                f"room, or set {store.HOME_VARIABLE} to another folder. What was downloaded is "
                "kept: the same command resumes."
            ) from error
        raise BertError(
            f"cannot write to {error.filename or home}: {error.strerror}. Set "
            f"{store.HOME_VARIABLE} (or pass `folder`) to a folder that you may write to."
        ) from error
    finally:
        shown.close()


def _downloaded(release: Release, url: str, home: str, force: bool, shown: Progress) -> str:
    """`download` while the lock is held."""
    target = _target(home, release)
    _restore(home, release)
    if store.has_checkpoint(target) and not force:
        return target  # by the process that held the lock before
    _check_replaceable(target)
    part = _hidden(home, release, "zip.part")
    while True:
        resumed = partial.kept(url, part)[1] > 0
        try:
            remote = fetch(url, part, _limit(release), shown)
            sha256 = _verified(release, remote, part, home)
            with _scratch(_hidden(home, release, "unpacking")) as scratch:
                _place(_unpacked(release, url, part, scratch), home, release)
            break
        except KeyboardInterrupt:
            shown.close()
            LOGGER.info("stopped; the same command resumes there.")
            raise
        except DamagedArchiveError as error:
            partial.discard(part)
            if not resumed:
                raise
            # What an earlier call left may have been spoilt by a crash of the machine.
            LOGGER.warning(f"put together from parts, it is damaged; starting over ({error})")
    today = datetime.date.today().isoformat()
    record = {"url": url, "size": os.path.getsize(part), "sha256": sha256, "date": today}
    # To compare later downloads with.
    write_json(store.record_path(home, release), record, ours=True)
    partial.discard(part)
    return target


def _limit(release: Release) -> int:
    return 2 * release.nbytes + _ROOM


def _verified(release: Release, remote: Remote, part: str, home: str) -> str:
    """The archive's SHA-256; a `DamagedArchiveError` if server or earlier download say another."""
    sha256, crc32c = hashlib.sha256(), 0
    with open(part, "rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            crc32c = crc.crc32c(block, crc32c)
    if remote.crc32c not in (None, crc32c):
        raise DamagedArchiveError(
            f"what came from {remote.url} is damaged: its checksum (CRC32C) is {crc32c:08x}, and "
            f"the server says {remote.crc32c:08x}. Download it again; nothing of it was kept."
        )
    known = store.recorded(home, release)
    if known is not None and known[1]["sha256"] != sha256.hexdigest():
        path, record = known
        raise DamagedArchiveError(
            f"what came from {remote.url} is not what came before: its SHA-256 is "
            f"{sha256.hexdigest()}, and that of {record.get('date', 'an earlier download')} is "
            f"{record['sha256']} ({path}). It is damaged, or somebody changed it; nothing of it "
            "was kept. Download it again; if it stays so and you trust it, delete that file first."
        )
    return sha256.hexdigest()


def _unpacked(release: Release, url: str, part: str, scratch: str) -> str:
    """Unpacks into an empty folder; returns the one of the checkpoint: that, or one in it."""
    try:
        advice = f"Make room, or set {store.HOME_VARIABLE} to another folder"
        archive.extract(part, scratch, advice=advice, limit=_limit(release), durable=True)
        with locate(scratch, levels=ALL_LEVELS) as files:
            return os.path.dirname(files.prefix)
    except BertError as error:
        if not isinstance(error, archive.NoRoomError):
            partial.discard(part)  # it will never be better
        # The user knows the address, not our hidden files.
        message = str(error).replace(part, url).replace(scratch, url)
        raise type(error)(message) from None


def _place(folder: str, home: str, release: Release) -> None:
    """Gives the folder its name, in place of what has it."""
    target, old = _target(home, release), _hidden(home, release, "replaced")
    for path in (folder, home):
        sync_folder(path)
    if os.path.lexists(target):
        os.rename(target, old)
    try:
        os.rename(folder, target)
    finally:
        _restore(home, release)
    sync_folder(home)


def _restore(home: str, release: Release) -> None:
    """Ends a replacing: the old folder goes, or comes back if there is no new one."""
    target, old = _target(home, release), _hidden(home, release, "replaced")
    if not os.path.lexists(old):
        return
    if not os.path.lexists(target):
        os.rename(old, target)
    elif os.path.islink(old):
        os.unlink(old)
    else:
        shutil.rmtree(old)


def _check_replaceable(target: str) -> None:
    """Raises a `BertError` where something would be replaced that no download put there."""
    if not os.path.lexists(target) or os.path.islink(target):
        return
    names = os.listdir(target) if os.path.isdir(target) else [os.path.basename(target)]
    ours = (CHECKPOINT_NAME, CONFIG_NAME, VOCAB_NAME, ".")
    strange = [name for name in names if not name.startswith(ours)]
    if strange:
        raise BertError(
            f"{target} holds what no download put there ({', '.join(sorted(strange)[:3])}). Move "
            "it away first, or pass another `folder`."
        )


@contextlib.contextmanager
def _scratch(path: str) -> Iterator[str]:
    """An empty folder that is gone afterwards."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # a link
    shutil.rmtree(path, ignore_errors=True)  # of a process that was killed
    os.mkdir(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _target(home: str, release: Release) -> str:
    return os.path.join(home, release.folder)


def _hidden(home: str, release: Release, kind: str) -> str:
    """A file or folder of ours next to the checkpoint, on the same disk."""
    return os.path.join(home, f".{release.folder}.{kind}")
