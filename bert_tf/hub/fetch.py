"""Fetches one large file over HTTP into a `.part` file that can be resumed after any break.

The client is `urllib.request`: it finds proxies, their logins and certificates in the environment,
which urllib3 leaves to its caller. The tries are counted here: urllib3's `Retry` counts those up to
an answer's headers, and what breaks is the body.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER
from bert_tf.files.progress import Progress
from bert_tf.files.whole import no_link
from bert_tf.hub import paced, partial
from bert_tf.hub.partial import Remote

TIMEOUT_SECONDS = 30.0
"""Without a byte for so long, a connection counts as cut."""

DELAYS = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each further try; from the first again after one that was fast enough."""

_LONGEST_DELAY = 60.0
"""The most that a server can ask us to wait (Retry-After)."""

_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_BLOCK = 1 << 18


class _BrokenError(Exception):
    """A try failed in a way that another one may not."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.delay = delay


def fetch(url: str, part: str, limit: int, progress: Progress) -> Remote:
    """Fetches a .zip, resuming what an earlier call left if that is possible.

    Args:
        url: http or https; proxies and certificates are those of the environment.
        part: the file to write. When an exception ends the call, what has come stays there to be
            resumed; `partial.discard` removes it.
        limit: the most bytes to take.
        progress: shows how far it is.

    Returns:
        What the server said of the file.

    Raises:
        BertError: the server refuses, has no such file, sends something else or too much; it
            cannot be reached, or the connection was too slow or broke too often.
        OSError: the disk is full, or `part` cannot be written.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise BertError(f"{url} is no address to download from: it has to start with https://.")
    furthest, since = partial.size(part), time.monotonic()
    failures = 0
    while True:
        try:
            return _try(url, part, limit, progress)
        except _BrokenError as failure:
            gained, now = partial.size(part) - furthest, time.monotonic()
            if gained > paced.LEAST_RATE * (now - since):
                failures = 0
            furthest, since = furthest + max(gained, 0), now
            if failures == len(DELAYS):
                have = partial.kept(url, part)[1]
                advice = "Check the network, and HTTPS_PROXY if there is a proxy."
                if have:
                    advice = f"What has come ({have / 1e6:,.1f} MB) is kept for the next try."
                raise BertError(
                    f"could not download {url}: {failure}. {advice} Or download it in another "
                    "way, and name the .zip as the checkpoint."
                ) from None
            delay = max(DELAYS[failures], min(failure.delay, _LONGEST_DELAY))
            failures += 1
            LOGGER.warning(f"{failure}; trying again in {delay:.0f} s")
            time.sleep(delay)


def _try(url: str, part: str, limit: int, progress: Progress) -> Remote:
    """One connection."""
    remote, have = partial.kept(url, part)
    if remote is not None and have and have == remote.size:
        return remote
    headers = {"User-Agent": "bert_tf", "Accept-Encoding": "identity"}
    if remote is not None and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(remote.validator)}
    with _open(urllib.request.Request(url, headers=headers), part) as response:
        if response.status == 206:
            if remote is None or not remote.continues(response.headers, have):
                partial.discard(part)
                raise _BrokenError("the server sent another range than requested")
        elif response.status == 200:
            have, remote = 0, Remote.described(url, response.headers)
        else:
            raise BertError(f"{url} answered with status {response.status}, not with a file.")
        _check_size(remote, have, limit, part)
        progress.start(remote.size, have)
        have = _receive(response, remote, part, have, limit, progress)
    return remote if remote.size is not None else dataclasses.replace(remote, size=have)


def _receive(
    body: http.client.HTTPResponse, remote: Remote, part: str, have: int, limit: int, bar: Progress
) -> int:
    """Appends what comes to the part, and gives its size; raises as `_open`."""
    with contextlib.ExitStack() as opened:
        file = None
        while remote.size is None or have < remote.size:
            try:
                block = body.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenError(_cut(have, remote, _reason(error))) from None
            if not block:
                if remote.size is None and have:
                    break
                raise _BrokenError(_cut(have, remote, "the other end closed it"))
            if file is None:
                if not have:
                    _check_start(block, body)
                    partial.discard(part)  # not before: a login page must not cost what has come
                    partial.write_note(part, remote)
                file = opened.enter_context(open(part, "ab", buffering=0, opener=no_link))
            have += len(block)
            if have > limit:
                file.close()
                partial.discard(part)
                raise BertError(
                    f"{remote.url} sends more than this release can have ({limit / 1e6:,.0f} MB). "
                    "Nothing of it was kept."
                )
            rest = memoryview(block)
            while rest:  # unbuffered, so that nothing is left to fail when closing
                rest = rest[file.write(rest) :]
            bar.add(len(block))
    return have


def _open(request: urllib.request.Request, part: str) -> http.client.HTTPResponse:
    """Sends a request; a `BertError` if another try will not help, else a `_BrokenError`."""
    url, host = request.full_url, request.host
    try:
        opener = urllib.request.build_opener(_Redirects, paced.Http, paced.Https)
        return opener.open(request, timeout=TIMEOUT_SECONDS)
    except BertError:  # of a redirect
        raise
    except urllib.error.HTTPError as error:
        with error:
            status, said = error.code, f"{error.code} {error.reason}"
            if status == 416:  # it is shorter than what we have of it
                partial.discard(part)
                raise _BrokenError("the file at the server is another one than before") from None
            if status in _TRY_AGAIN:
                wait = error.headers.get("Retry-After", "")
                delay = float(wait) if wait.isdecimal() else 0.0
                raise _BrokenError(f"the server answered {said}", delay) from None
        if status in (404, 410):
            said = f"there is no file at {url} ({said}). If BERT_TF_URL is set, check it."
        elif status == 407:
            said = f"the proxy wants a login ({said}): HTTPS_PROXY=http://user:password@host:port."
        else:
            said = (
                f"the server refuses to give {url} ({said}). A proxy may be the reason. Try the "
                "address in a browser, and name the .zip as the checkpoint."
            )
        raise BertError(said) from None
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise BertError(
                f"{host} could not prove who it is ({reason.verify_message}). If a proxy "
                "stands between, put its certificate into a file and set SSL_CERT_FILE to it."
            ) from None
        raise _BrokenError(f"cannot reach {host} ({_reason(reason)})") from None
    except (ValueError, http.client.InvalidURL) as error:
        raise BertError(f"{url} is no address to download from: {error}.") from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"no answer from {host} ({_reason(error)})") from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something that others can change on the way."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise BertError(f"{req.full_url} leads to {newurl}, which is not secure.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_size(remote: Remote, have: int, limit: int, part: str) -> None:
    """Refuses early what is too large for this release or for the disk."""
    if remote.size is None:
        return
    if not remote.size:
        raise BertError(f"{remote.url} sent an empty file. Try again later.")
    if remote.size > limit:
        raise BertError(
            f"{remote.url} has {remote.size / 1e6:,.0f} MB, more than this release can have "
            f"({limit / 1e6:,.0f} MB). If BERT_TF_URL is set, check it."
        )
    # It stays until it is unpacked, and weights hardly get smaller in a .zip.
    need = remote.size - have + remote.size
    free = shutil.disk_usage(os.path.dirname(part)).free
    if need > free:
        raise BertError(
            f"{os.path.dirname(part)} has {free / 1e6:,.0f} MB left, and the download with what "
            f"is unpacked from it needs about {need / 1e6:,.0f} MB. Make room, or set BERT_TF_HOME "
            "to another folder."
        )


def _check_start(block: bytes, response: http.client.HTTPResponse) -> None:
    """Refuses what is no .zip by its first bytes, before anything is written."""
    if block[:2] == b"PK"[: len(block)]:
        return
    kind = response.headers.get_content_type()
    page = kind == "text/html" or block.lstrip()[:1] == b"<"
    raise BertError(
        f"{response.url} sent {'a web page' if page else f'something else ({kind})'} instead of a "
        ".zip, perhaps the login page of a proxy or network: open the address in a browser."
    )


def _cut(have: int, remote: Remote, reason: str) -> str:
    of = f" of {remote.size:,}" if remote.size is not None else ""
    return f"the connection broke after {have:,}{of} bytes ({reason})"


def _reason(error: Any) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {TIMEOUT_SECONDS:.0f} s"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
