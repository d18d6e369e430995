"""What is kept of a download that was broken off, and how to know the rest of the same file."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import email.message
import os
import re
import stat

from bert_tf.errors import BertError
from bert_tf.files.reading import read_object
from bert_tf.files.whole import write_json


@dataclasses.dataclass(frozen=True)
class Remote:
    """The file at the other end, as its server describes it; noted next to the `.part`.

    Args:
        url: its address.
        size: in bytes, if the server says.
        validator: its ETag, if strong, else when it was changed: to ask for the rest of this file
            and of no other (If-Range, RFC 9110, section 13.1.5).
        crc32c: its checksum, if the server says. Google's does, in `x-goog-hash`, in base64 and
            big-endian: https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash
    """

    url: str
    size: int | None
    validator: str | None
    crc32c: int | None

    @classmethod
    def described(cls, url: str, headers: email.message.Message) -> Remote:
        """Takes it from the headers of a whole answer (200)."""
        length = headers.get("Content-Length", "")
        etag = headers.get("ETag", "")
        # A weak one ("W/...") may stand for two files that differ.
        validator = etag if etag.startswith('"') else headers.get("Last-Modified")
        sums = ",".join(headers.get_all("x-goog-hash", []))
        crc, raw = re.search(r"crc32c=([A-Za-z0-9+/]+=*)", sums), b""
        with contextlib.suppress(ValueError):
            raw = base64.b64decode(crc[1]) if crc else b""
        crc32c = int.from_bytes(raw, "big") if len(raw) == 4 else None
        size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        return cls(url, size, validator, crc32c)

    def continues(self, headers: email.message.Message, have: int) -> bool:
        """Whether a partial answer (206) is the rest of this file, from byte `have` on."""
        given = headers.get("Content-Range", "").strip()
        piece = re.fullmatch(rf"bytes {have}-\d+/(\d+|\*)", given)
        if piece is None or (self.size is not None and piece[1] not in ("*", str(self.size))):
            return False
        etag = headers.get("ETag")
        return etag is None or not str(self.validator).startswith('"') or etag == self.validator


def kept(url: str, part: str) -> tuple[Remote | None, int]:
    """What an earlier try left, if it can be resumed, and how many bytes that are.

    A link, which another user of the store may have put there, is nothing of ours.
    """
    try:
        remote = Remote(**read_object(_note_path(part)))
        status = os.lstat(part)
    except (BertError, TypeError, OSError):
        return None, 0
    ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    kinds = (remote.size, int), (remote.validator, str), (remote.crc32c, int)
    typed = all(value is None or type(value) is kind for value, kind in kinds)
    validator = str(remote.validator)
    if not (ours and typed and validator.isascii() and validator.isprintable()):
        return None, 0
    have = status.st_size
    fits = remote.size is None or have <= remote.size
    if remote.url != url or not fits or (not remote.validator and have != remote.size):
        return None, 0
    return remote, have


def write_note(part: str, remote: Remote) -> None:
    """Notes what the part is a part of; whole or not at all.

    Raises:
        BertError: it cannot be written.
    """
    write_json(_note_path(part), dataclasses.asdict(remote), ours=True)


def discard(part: str) -> None:
    """Removes what has come, so that the next try starts over."""
    for path in (_note_path(part), part):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def size(path: str) -> int:
    """Size of a file in bytes; 0 if it is not there."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _note_path(part: str) -> str:
    return part + ".json"
