"""Connections for `urllib.request` that count as cut when too little comes, in headers or body."""

from __future__ import annotations

import http.client
import io
import time
import urllib.request
from typing import Any

LEAST_RATE = 1000.0
"""Bytes a second; with fewer over `WINDOW_SECONDS`, a connection counts as cut."""

WINDOW_SECONDS = 60.0


class _TooSlowError(OSError):
    """Less than `LEAST_RATE` has come."""


class _Paced(io.RawIOBase):
    """What a connection gives, as long as it comes at `LEAST_RATE`.

    The time limit of a socket starts again with each byte.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._seconds, self._count = raw, 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        start = time.monotonic()
        count = self._raw.readinto(buffer)
        self._seconds += time.monotonic() - start  # without the time between two reads
        self._count += count
        if self._seconds >= WINDOW_SECONDS:
            if self._count < LEAST_RATE * self._seconds:
                slow = f"{self._count:,} bytes in {self._seconds:.0f} s are too few"
                raise _TooSlowError(slow)
            self._seconds, self._count = 0.0, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class Http(urllib.request.HTTPHandler):
    """Opens http addresses."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As `HTTPHandler` does."""
        return self.do_open(_Connection, req)


class Https(urllib.request.HTTPSHandler):
    """Opens https addresses."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As `HTTPSHandler` does."""
        return self.do_open(_SecureConnection, req)
