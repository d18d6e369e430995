"""A server on loopback that gives one file, well or badly, and notes what it was asked for.

Tests that import its two fixtures have them as `loopback` and `home`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import io
import re
import socket
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bert_tf.hub import store

GOLDEN = Path(__file__).parent / "golden" / "tiny_ckpt"
TINY = "uncased_L-2_H-128_A-2"
PATH = f"/2020_02_20/{TINY}.zip"


@dataclasses.dataclass
class Loopback:
    """What the server does; tests change it while it runs."""

    body: bytes
    url: str = ""
    path: str = PATH
    ranges: bool = True
    etag: str | None = '"first"'
    check_if_range: bool = True
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    statuses: list[int] = dataclasses.field(default_factory=list)  # the next answers
    cuts: list[int] = dataclasses.field(default_factory=list)  # after so many bytes, the next ones
    drips: list[int] = dataclasses.field(default_factory=list)  # then a byte at a time, likewise
    slow_headers: bool = False  # they come one by one, without end
    reset: bool = False  # cut rudely
    length: int | None = None  # to claim; -1 for none
    pause: float = 0.0  # after every 64 kB
    asked: list[str | None] = dataclasses.field(default_factory=list)  # the Range of each request
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    timeout = 20

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):  # clients in these tests leave early
            self._answer(self.server.loopback)  # type: ignore[attr-defined]

    def _answer(self, loop: Loopback) -> None:
        loop.asked.append(self.headers["Range"])
        if loop.statuses:
            self.send_error(loop.statuses.pop(0))
            return
        if self.path != loop.path:
            self.send_error(404)
            return
        body, size, start = loop.body, len(loop.body), 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        same = not loop.check_if_range or self.headers["If-Range"] == loop.etag
        if wanted and loop.ranges and same:
            start = int(wanted[1])
            if start >= size:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        length = len(body) - start if loop.length is None else loop.length
        if length >= 0:
            self.send_header("Content-Length", str(length))
        if loop.etag:
            self.send_header("ETag", loop.etag)
        for name, value in {"Content-Type": "application/zip", **loop.headers}.items():
            self.send_header(name, value)
        while loop.slow_headers:
            self.send_header("X", "y")
            self.flush_headers()
            time.sleep(0.02)
        self.end_headers()
        end = start + loop.cuts.pop(0) if loop.cuts else size
        drip = start + loop.drips.pop(0) if loop.drips else size
        while start < min(end, size):
            slow = start >= drip
            block = body[start : min(start + (1 if slow else 1 << 16), end)]
            self.wfile.write(block)
            start += len(block)
            loop.sent += len(block)
            time.sleep(0.02 if slow else loop.pause)
        if loop.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *_: object) -> None:
        pass


def pack(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def release_files(folder: str = "") -> dict[str, bytes]:
    """The files of the tiny checkpoint, by their name in an archive."""
    return {folder + path.name: path.read_bytes() for path in sorted(GOLDEN.iterdir())}


def last_modified() -> str:
    return email.utils.formatdate(1e9, usegmt=True)


@pytest.fixture(name="loopback")
def loopback_fixture() -> Iterator[Loopback]:
    """The server, with the tiny checkpoint under the name `tiny`."""
    loop = Loopback(pack(release_files(f"{TINY}/"), zipfile.ZIP_STORED))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.loopback = loop  # type: ignore[attr-defined]
    loop.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield loop
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(name="home")
def home_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback: Loopback) -> Path:
    """An empty store, the only one; downloads come from the server and no proxy is asked."""
    monkeypatch.setenv("BERT_TF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BERT_TF_URL", loopback.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(store, "_checkout", lambda: None)
    monkeypatch.setattr("bert_tf.hub.fetch.DELAYS", (0.01,) * 4)
    return tmp_path / "home"


def names(folder: Path) -> list[str]:
    """All that lies in a folder, hidden or not; nothing if it is not there."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
