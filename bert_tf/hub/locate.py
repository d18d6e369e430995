"""Finds the parts of a checkpoint from whatever path a user has: `locate`."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import glob
import itertools
import os
import re
import textwrap
from typing import TYPE_CHECKING

from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.names import parts_in
from bert_tf.config import CONFIG_NAME, VOCAB_NAME
from bert_tf.errors import BertError
from bert_tf.files.log import Warned
from bert_tf.files.reading import (
    LFS,
    finish_groups,
    read_bounded,
    reading,
    regular,
    stand_in,
)
from bert_tf.hub import store

if TYPE_CHECKING:
    from bert_tf.files.temporary import TemporaryFolder

STATE_NAME = "checkpoint"
"""The text file in which TensorFlow notes which checkpoint of a folder is the last one."""

ALL_LEVELS = 100
"""More folders in each other than an archive can have."""

_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_STEP = re.compile(r"-(\d+)$")


@dataclasses.dataclass(frozen=True)
class CheckpointFiles(Warned, contextlib.AbstractContextManager["CheckpointFiles"]):
    """Where the parts of one checkpoint are.

    Use it in a `with` block, or call `close`: what was unpacked from a .zip is removed then.

    Args:
        prefix: path of `bert_model.ckpt.index` without `.index`; what `CheckpointReader` takes.
        config_path: of `bert_config.json`; None only if it was not asked for and is not there.
        vocab_path: of `vocab.txt`; likewise.
        step: the number that a training checkpoint has in its name, or None.
        display_name: name of the folder or archive, for example `multi_cased_L-12_H-768_A-12`:
            Google's names say the casing.
        warnings: choices that were made and that the user may want to know, a sentence each.
    """

    prefix: str
    config_path: str | None
    vocab_path: str | None
    step: int | None
    display_name: str
    warnings: tuple[str, ...] = ()
    archive: str | None = None
    """The .zip that it was unpacked from."""
    _unpacked: TemporaryFolder | None = dataclasses.field(default=None, repr=False, compare=False)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()
        if isinstance(error, BertError) and self.named(str(error)) != str(error):
            raise type(error)(self.named(str(error))) from None

    def named(self, text: str) -> str:
        """A path or message for the user, who knows the archive, not the temporary folder."""
        if self._unpacked is None or self.archive is None:
            return text
        return text.replace(self._unpacked.name, self.archive)

    def close(self) -> None:
        """Removes the temporary folder, if there is one; arrays that were copied stay."""
        if self._unpacked is not None:
            self._unpacked.cleanup()


def locate(
    path: str | os.PathLike[str],
    config_path: str | os.PathLike[str] | None = None,
    vocab_path: str | os.PathLike[str] | None = None,
    *,
    need_config: bool = True,
    need_vocab: bool = True,
    levels: int = 1,
) -> CheckpointFiles:
    """Finds checkpoint, config and vocabulary.

    Args:
        path: a folder, a prefix (`.../bert_model.ckpt`), the `.index`, a `.data-*` or `.meta`
            file, the `checkpoint` file, or a `.zip` as Google ships it. With several checkpoints
            in a folder the `checkpoint` file decides, else the highest step, else the newest.
            What is no path may be the name of a downloaded release, e.g. "multi_cased".
        config_path: of the config, if it is not next to the checkpoint; or its folder.
        vocab_path: of the vocabulary; likewise.
        need_config: whether a missing config is an error.
        need_vocab: whether a missing vocabulary is an error.
        levels: how many folders below `path` to look into; in an archive into all.

    Raises:
        BertError: something is missing, of another kind or damaged; the message says what to do.
    """
    path = os.path.expanduser(os.fspath(path))
    if not path or "://" in path:
        raise BertError(
            f"{path!r} is no path on this machine. Download the checkpoint, then pass its folder "
            "or .zip."
        )
    if not os.path.exists(path) and not os.path.exists(path + ".index"):
        path = store.by_name(path) or path
    if not _is_zip(path):
        warnings: list[str] = []
        try:
            finish_groups(os.path.dirname(path))
            prefix = _prefix_of(path, warnings, levels)
            _check_parts(prefix)
            config = _companion("config", prefix, config_path, need_config)
            vocab = _companion("vocab", prefix, vocab_path, need_vocab)
        except OSError as error:  # a folder that may not be looked into, a broken link, a bad disk
            raise BertError(f"cannot read {error.filename or path}: {error.strerror}.") from error
        name = os.path.basename(os.path.dirname(os.path.abspath(prefix)))
        return CheckpointFiles(prefix, config, vocab, _step(prefix), name, tuple(warnings))
    from bert_tf.hub import archive

    unpacked = archive.unpack(path)
    inside, needed = unpacked.name, {"need_config": need_config, "need_vocab": need_vocab}
    try:
        files = locate(inside, config_path, vocab_path, **needed, levels=ALL_LEVELS)
    except BaseException as error:
        unpacked.cleanup()
        if isinstance(error, BertError):
            # The user knows the archive, not the temporary folder.
            raise BertError(str(error).replace(inside, path)) from None
        raise
    name = files.display_name
    if os.path.samefile(os.path.dirname(files.prefix), inside):
        name = re.sub(r"\.zip$", "", os.path.basename(path), flags=re.IGNORECASE)
    renamed = tuple(warning.replace(inside, path) for warning in files.warnings)
    return dataclasses.replace(
        files, display_name=name, warnings=renamed, archive=path, _unpacked=unpacked
    )


def _step(prefix: str) -> int | None:
    found = _STEP.search(prefix)
    return int(found[1]) if found else None


def _is_zip(path: str) -> bool:
    """Whether to open it as a packed release; other files that are zips inside are refused."""
    if not os.path.isfile(path):
        return False
    with reading(path), open(path, "rb", opener=regular) as file:
        start = file.read(4)
    packed = start in (b"PK\x03\x04", b"PK\x05\x06")
    return (packed or path.lower().endswith(".zip")) and _foreign(path) is None


def _foreign(path: str) -> str | None:
    from bert_tf.checkpoint.foreign import describe

    return describe(path)


def _prefix_of(path: str, warnings: list[str], levels: int) -> str:
    """The prefix of the checkpoint that the user means by `path`, which is no archive."""
    if os.path.isdir(path):
        return _in_folder(path, warnings, levels)
    if os.path.basename(path) == STATE_NAME and os.path.isfile(path):
        return _in_folder(os.path.dirname(path) or ".", warnings, levels)
    stem = _DATA.sub("", path)
    if stem == path and path.endswith((".index", ".meta")):
        stem = os.path.splitext(path)[0]
    if os.path.isfile(path) and (stem != path or not os.path.isfile(path + ".index")):
        if advice := _foreign(path):
            raise BertError(f"{path} {advice}")
        if stem == path:
            raise BertError(
                f"{path} is not a file of a checkpoint. Pass the folder, the prefix (a path like "
                "folder/bert_model.ckpt), the .index file, or the .zip."
            )
    if os.path.isfile(stem + ".index") or _shards(stem):
        return stem
    if os.path.exists(path):  # a pipe or a device
        read_bounded(path)
    raise BertError(f"there is no checkpoint at {path}.{_suggestion(path)}")


def _in_folder(folder: str, warnings: list[str], levels: int) -> str:
    """The checkpoint of a folder that may have several; looks further down if it has none."""
    prefixes = _prefixes(folder)
    if not prefixes:
        if advice := _foreign(folder):
            raise BertError(f"{folder} {advice}")
        below: dict[str, list[str]] = {}
        subs = [folder]
        for _ in range(levels):
            subs = list(itertools.chain.from_iterable(map(_folders, subs)))
            if below := {sub: found for sub in subs if (found := _prefixes(sub))}:
                break
        if not below:
            raise BertError(
                f"there is no checkpoint in the folder {folder}: no file that ends in .index. "
                f"It has {_listing(folder)}."
            )
        if len(below) > 1:
            names = ", ".join(sorted(map(os.path.basename, below)))
            raise BertError(f"{folder} has several with a checkpoint ({names}). Pass one of them.")
        folder, prefixes = below.popitem()
    noted = _noted(folder)
    if noted in prefixes:
        return noted
    if noted is not None:
        noted_in, name = os.path.join(folder, STATE_NAME), os.path.basename(noted)
        warnings.append(f"The file {noted_in} names {name}, which is not there.")
    chosen = max(prefixes, key=_age)
    if len(prefixes) > 1:
        names = ", ".join(os.path.basename(p) for p in sorted(prefixes) if p != chosen)
        warnings.append(
            f"Of {len(prefixes)} checkpoints in {folder}, {os.path.basename(chosen)} was taken as "
            f"the newest (others: {names}). Pass a prefix to take another."
        )
    return chosen


def _folders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [e.path for e in entries if e.is_dir() and not e.name.startswith((".", "__"))]


def _prefixes(folder: str) -> list[str]:
    """Checkpoints directly in the folder, also those that lack their index."""
    finish_groups(folder)
    names = os.listdir(folder)
    visible = [name for name in names if not name.startswith(".")]
    stems = {name[: -len(".index")] for name in visible if name.endswith(".index")}
    stems = stems or {_DATA.sub("", name) for name in visible if _DATA.search(name)}
    if "saved_model.pb" in names or os.path.basename(os.path.abspath(folder)) == "variables":
        stems.discard("variables")
    return [os.path.join(folder, stem) for stem in sorted(stems)]


def _age(prefix: str) -> tuple[int, float]:
    """What sorts the newest checkpoint last: its step, and where there is none its time."""
    step, index = _step(prefix), prefix + ".index"
    return -1 if step is None else step, os.path.getmtime(index) if os.path.exists(index) else 0.0


def _noted(folder: str) -> str | None:
    """The checkpoint that the `checkpoint` file of the folder names, looked for in the folder.

    That file often has an absolute path of another machine: only its last part counts.
    """
    try:
        text = read_bounded(os.path.join(folder, STATE_NAME)).decode("utf-8", "replace")
    except BertError:
        return None
    found = re.search(r'^\s*model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    if not found:
        return None
    return os.path.join(folder, re.split(r"[/\\]", re.sub(r"\\(.)", r"\1", found[1]))[-1])


def _shards(prefix: str) -> list[str]:
    return [p for p in glob.glob(glob.escape(prefix) + ".data-*") if _DATA.search(p)]


def _check_parts(prefix: str) -> None:
    """Reports damage that the reader could explain less well."""
    shards = _shards(prefix)
    if not os.path.isfile(prefix + ".index"):
        raise BertError(
            f"{prefix}.index is missing; there is only {os.path.basename(min(shards))}. Copy or "
            "download the index too: it says which weight is where."
        )
    for part in (prefix + ".index", *shards):
        if advice := stand_in(part):
            raise BertError(f"{part} {advice}")
        if not os.path.getsize(part) and part.endswith(".index"):
            raise BertError(f"{part} is empty (0 bytes): copy or download it again.")
    if not shards:
        raise BertError(
            f"the weights are missing: next to {prefix}.index there is no "
            f"{os.path.basename(prefix)}.data-00000-of-00001. Copy or download it too."
        )


_COMPANIONS = {
    "config": (CONFIG_NAME, ("bert_config*.json",)),
    "vocab": (VOCAB_NAME, ("vocab*.txt", "*vocab.txt")),
}
"""The name in a release, patterns of other common names, by the argument to pass instead."""


def _companion(
    kind: str, prefix: str, given: str | os.PathLike[str] | None, needed: bool
) -> str | None:
    name, patterns = _COMPANIONS[kind]
    folder = os.path.dirname(prefix) or "."
    if given is not None:
        given = os.path.expanduser(os.fspath(given))
        if not os.path.isdir(given):
            if not os.path.exists(given):
                raise BertError(f"there is no {name} at {given}.{_suggestion(given)}")
            return _genuine(given)
        folder, needed = given, True
    found = [os.path.join(folder, name)]
    if not os.path.isfile(found[0]):
        every = (glob.glob(os.path.join(glob.escape(folder), pattern)) for pattern in patterns)
        found = sorted(set(itertools.chain.from_iterable(every)))
    if len(found) == 1:
        return _genuine(found[0])
    if not needed:
        return None
    if found:
        names = ", ".join(map(os.path.basename, found))
        raise BertError(
            f"{folder} has no {name}, but several that may be it ({names}). Pass one as `{kind}`."
        )
    if kind == "config":
        with CheckpointReader(prefix) as reader:
            parts_in(reader.tensors)  # says so if it is another architecture, which lacks one
    hint = ""
    if kind == "config" and os.path.isfile(os.path.join(folder, "config.json")):
        hint = (
            ' The config.json there is Hugging Face\'s; it would load, but its "gelu" is what '
            'bert_config.json calls "gelu_exact".'
        )
    raise BertError(
        f"{name} is missing next to the checkpoint, in {folder}. Copy it there, or pass its path "
        f"as `{kind}`.{hint}"
    )


def _genuine(path: str) -> str:
    if stand_in(path) == LFS:
        raise BertError(f"{path} {LFS}")
    return path


def _suggestion(path: str) -> str:
    """The names most like a path that does not exist, as a sentence."""
    parent, name = os.path.split(os.path.abspath(path))
    while not os.path.isdir(parent):
        parent, name = os.path.split(parent)
    names = {_DATA.sub("", n) for n in os.listdir(parent) if not n.startswith(".")}
    names |= {n[: -len(".index")] for n in names if n.endswith(".index")}
    close = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(os.path.join(parent, n) for n in close)}?"
    from bert_tf.hub import catalog

    released = "" if os.path.dirname(path) else catalog.suggestion(path)
    return released or f" The folder {parent} has {_listing(parent)}."


def _listing(folder: str) -> str:
    names = ", ".join(sorted(name for name in os.listdir(folder) if not name.startswith(".")))
    return textwrap.shorten(names or "nothing in it", 200)
