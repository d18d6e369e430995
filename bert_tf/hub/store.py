"""Where downloaded checkpoints are, and which ones.

A store is a folder with a folder for each checkpoint, named as the release: Google's names say
the casing. Next to it may be `<folder>.download.json`, the checksum of what was downloaded. One
small checkpoint comes with the package: in `checkpoints` of a source checkout, and in the package
where that is installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bert_tf.errors import BertError
from bert_tf.files.reading import read_object

if TYPE_CHECKING:  # most commands get paths, and need no table of names
    from bert_tf.hub.catalog import Release

HOME_VARIABLE = "BERT_TF_HOME"

CACHE_VARIABLE = "BERT_TF_CACHE"
"""Environment variable: another folder for what was compiled, or 0 for none."""

EMBEDDED = "demo_multi_cased"
"""Name and folder of the small checkpoint for demonstration that comes with the package."""


@dataclasses.dataclass(frozen=True)
class Installed:
    """A checkpoint that is here.

    Args:
        name: what to type to load it.
        path: its folder.
        release: what it is, if it is one of Google's.
    """

    name: str
    path: str
    release: Release | None


def home() -> str:
    """The folder to download into.

    `$BERT_TF_HOME`; else `checkpoints` of the source checkout that runs, if it can be written; else
    a cache folder of the user, where the platform has it.
    """
    return next(store for store in _stores() if store[1])[0]


def homes() -> list[str]:
    """All folders to look in, the one to download into first."""
    return list(dict.fromkeys([home(), *(path for path, _ in _stores())]))


def _stores() -> list[tuple[str, bool]]:
    """The folders to look in, and whether each is for downloading into."""
    moved, checkout, packaged = _moved(), _checkout(), _packaged()
    stores = [(moved, True)] if moved else []
    if checkout is not None:
        stores.append((os.path.join(checkout, "checkpoints"), os.access(checkout, os.W_OK)))
    stores.append((_cache(), True))
    return [*stores, (packaged, False)] if os.path.isdir(packaged) else stores


def _moved() -> str | None:
    """The folder that the user set, if any."""
    moved = os.environ.get(HOME_VARIABLE)
    return os.path.abspath(os.path.expanduser(moved)) if moved else None


def _checkout() -> str | None:
    """The source checkout that the package lies in, if it is not installed."""
    folder = os.path.dirname(_package())
    return folder if os.path.isfile(os.path.join(folder, "setup.cfg")) else None


def _packaged() -> str:
    """Where setup.py puts the checkpoint of the package; not there in a checkout."""
    return os.path.join(_package(), "embedded")


def _package() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _cache() -> str:
    """The user's cache folder for us; the XDG specification ignores relative paths."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return os.path.join(base, "bert_tf")


def compiled_folder() -> str | None:
    """The folder for what was compiled: `$BERT_TF_CACHE`, or in `$BERT_TF_HOME`, else in the cache.

    None if it is switched off.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return None if chosen == "0" else os.path.abspath(os.path.expanduser(chosen))
    return os.path.join(_moved() or _cache(), ".compiled")


def installed() -> list[Installed]:
    """The checkpoints in all folders: Google's in the order of the table, then others by name."""
    from bert_tf.hub.catalog import RELEASES

    found: dict[str, Installed] = {}
    by_folder = {release.folder: release for release in RELEASES}
    for store in homes():
        for folder in sorted(_list(store)):
            path = os.path.join(store, folder)
            if folder[0] != "." and folder not in found and has_checkpoint(path):
                release = by_folder.get(folder)
                found[folder] = Installed(release.name if release else folder, path, release)
    order = {folder: rank for rank, folder in enumerate(by_folder)}
    return [found[f] for f in sorted(found, key=lambda f: (order.get(f, len(order)), f))]


def find(name: str) -> str | None:
    """The folder of a checkpoint that is here, by the name of its release or folder; or None."""
    from bert_tf.hub.catalog import lookup

    release = lookup(name)
    folder = release.folder if release else name
    if folder in ("", ".", "..") or os.path.basename(folder) != folder:
        return None
    return _first(homes(), folder)


def embedded() -> str | None:
    """The folder of the small checkpoint of the package; None if somebody removed it.

    Never one of the same name that a user keeps elsewhere.
    """
    checkout = _checkout()
    stores = [] if checkout is None else [os.path.join(checkout, "checkpoints")]
    return _first([*stores, _packaged()], EMBEDDED)


def _first(stores: Iterable[str], folder: str) -> str | None:
    """The path of a checkpoint's folder in the first store that has it."""
    paths = (os.path.join(store, folder) for store in stores)
    return next((path for path in paths if has_checkpoint(path)), None)


def by_name(name: str) -> str | None:
    """What `find` gives, or None if the name is unknown.

    Raises:
        BertError: it is known, but not here; the message has the command that fetches it.
    """
    from bert_tf.hub.catalog import lookup

    path, release = find(name), lookup(name)
    if path is None and release is not None:
        raise BertError(
            f"{name} is not here yet. Download it (about {release.nbytes / 1e6:,.0f} MB) with "
            f"`python -m bert_tf download {release.name}`. Looked for {release.folder} in "
            f"{', '.join(homes())}."
        )
    return path


def has_checkpoint(path: str) -> bool:
    """Whether a folder holds a checkpoint, by the names of its files."""
    return any(name.endswith(".index") and name[0] != "." for name in _list(path))


def record_path(store: str, release: Release) -> str:
    """The file in which a store keeps the checksum of a release."""
    return os.path.join(store, f"{release.folder}.download.json")


def recorded(store: str, release: Release) -> tuple[str, dict[str, Any]] | None:
    """What is known of an earlier download: from this store, else from any other.

    Returns:
        The path of the record and what it holds, with at least `sha256`; None if none can be read.
    """
    for home in dict.fromkeys([store, *homes()]):
        path = record_path(home, release)
        with contextlib.suppress(BertError):
            record = read_object(path)
            if isinstance(record.get("sha256"), str):
                return path, record
    return None


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):  # not there, not a folder, not ours to read, no possible name
        return []
