"""Downloads over bad connections: whole in the end, or a clear message and nothing half-written."""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import GOLDEN, TINY, Loopback, home_fixture, last_modified, loopback_fixture, names  # noqa: F401

from bert_tf.checkpoint import CheckpointReader
from bert_tf.errors import BertError
from bert_tf.hub.download import download
from bert_tf.hub.fetch import _Redirects

CUT = 300_000
ENDED = [TINY, f"{TINY}.download.json"]
KEPT = [f".{TINY}.zip.part", f".{TINY}.zip.part.json"]


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The first failure ends the download."""
    monkeypatch.setattr("bert_tf.hub.fetch.DELAYS", ())


def is_whole(folder: str | Path) -> bool:
    """Whether it holds the tiny checkpoint, without the .meta file that nobody needs."""
    folder = Path(folder)
    wanted = [name for name in names(GOLDEN) if not name.endswith(".meta")]
    same = all((folder / name).read_bytes() == (GOLDEN / name).read_bytes() for name in wanted)
    return same and names(folder) == wanted


def test_download(loopback: Loopback, home: Path, capsys) -> None:
    path = download("tiny")
    assert path == str(home / TINY)
    assert is_whole(path)
    assert names(home) == ENDED
    with CheckpointReader(f"{path}/bert_model.ckpt") as reader:
        assert len(reader.tensors) == 187
    assert download("tiny") == path  # it is here
    assert loopback.asked == [None]
    assert capsys.readouterr() == ("", "")  # no bar where there is no terminal


@pytest.mark.parametrize("rudely", [False, True])
def test_a_cut_connection_is_gone_on_with(loopback, home, rudely, caplog) -> None:
    loopback.cuts = [CUT, 200_000]
    loopback.reset = rudely
    if rudely:
        loopback.pause = 0.02  # so that the client has read what it must not lose
    assert is_whole(download("tiny"))
    first, second, third = loopback.asked
    assert first is None
    places = [int((asked or "bytes=0-")[6:-1]) for asked in (second, third)]
    if not rudely:
        assert places == [CUT, 500_000]
        assert loopback.sent == len(loopback.body)  # not a byte twice
    assert places == sorted(places)  # a reset may lose what came last
    assert "the connection broke after" in caplog.text


def test_a_later_call_goes_on(loopback, home, no_patience) -> None:
    loopback.cuts = [CUT]
    with pytest.raises(BertError, match=r"could not download .*broke after 300,000 of .*0\.3 MB"):
        download("tiny", progress=False)
    assert names(home) == KEPT
    assert is_whole(download("tiny"))
    assert loopback.asked == [None, f"bytes={CUT}-"]
    assert loopback.sent == len(loopback.body)
    assert names(home) == ENDED


def test_tries_are_counted_anew_when_one_gets_further(loopback, home) -> None:
    loopback.cuts = [70_000] * 10
    assert is_whole(download("tiny", progress=False))
    assert len(loopback.asked) == 11
    assert loopback.sent == len(loopback.body)


def test_server_without_ranges(loopback, home) -> None:
    loopback.cuts = [CUT]
    loopback.ranges = False
    assert is_whole(download("tiny", progress=False))
    assert loopback.asked == [None, f"bytes={CUT}-"]
    assert loopback.sent == CUT + len(loopback.body)


@pytest.mark.parametrize(("etag", "ranged"), [('W/"weak"', True), (None, True), (None, False)])
def test_other_validators(loopback, home, etag, ranged) -> None:
    """A weak ETag does not count; without the date of a change there is no going on."""
    loopback.cuts = [CUT]
    loopback.etag = etag
    loopback.check_if_range = False
    if ranged:
        loopback.headers = {"Last-Modified": last_modified()}
    assert is_whole(download("tiny", progress=False))
    assert loopback.asked == [None, f"bytes={CUT}-" if ranged else None]


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changed_in_between(loopback, home, no_patience, honest, monkeypatch) -> None:
    old, loopback.body = loopback.body, bytes(reversed(loopback.body))
    loopback.body = b"PK" + loopback.body  # of another length too
    loopback.cuts = [CUT]
    with pytest.raises(BertError, match=r"broke"):
        download("tiny", progress=False)
    loopback.body, loopback.etag, loopback.check_if_range = old, '"second"', honest
    monkeypatch.setattr("bert_tf.hub.fetch.DELAYS", (0.01,))
    assert is_whole(download("tiny", progress=False))
    anew = [] if honest else [None]
    assert loopback.asked == [None, f"bytes={CUT}-", *anew]


def test_a_file_that_became_shorter(loopback, home, no_patience, monkeypatch) -> None:
    whole, loopback.body = loopback.body, b"PK" + bytes(2_000_000)
    loopback.cuts = [1_500_000]
    with pytest.raises(BertError, match=r"broke"):
        download("tiny", progress=False)
    loopback.body, loopback.check_if_range = whole, False  # it answers 416
    monkeypatch.setattr("bert_tf.hub.fetch.DELAYS", (0.01,))
    assert is_whole(download("tiny", progress=False))


def test_a_part_that_a_crash_spoilt(loopback, home, no_patience, caplog) -> None:
    loopback.cuts = [CUT]
    with pytest.raises(BertError, match=r"broke"):
        download("tiny", progress=False)
    part = home / f".{TINY}.zip.part"
    part.write_bytes(part.read_bytes()[:-100] + bytes(100))
    assert is_whole(download("tiny"))
    assert loopback.asked == [None, f"bytes={CUT}-", None]
    assert "starting over" in caplog.text


def test_a_note_that_a_crash_spoilt(loopback, home, no_patience) -> None:
    for note in ("", "[]", '{"url": 1}', '{"url": "http://other", "size": 1}'):
        loopback.cuts = [CUT]
        with pytest.raises(BertError, match=r"broke"):
            download("tiny", progress=False)
        (home / f".{TINY}.zip.part.json").write_text(note)
    assert is_whole(download("tiny", progress=False))
    assert loopback.asked == [None] * 5


def test_length_that_is_too_long(loopback, home) -> None:
    loopback.length = len(loopback.body) + 1000
    with pytest.raises(BertError, match=rf"{len(loopback.body):,} of {loopback.length:,} bytes"):
        download("tiny", progress=False)
    assert TINY not in names(home)


def test_length_that_is_too_short(loopback, home) -> None:
    loopback.length = CUT
    with pytest.raises(BertError, match=rf"{loopback.url}.*is damaged.*download it again"):
        download("tiny", progress=False)
    assert names(home) == []


def test_no_length_at_all(loopback, home) -> None:
    loopback.length = -1
    assert is_whole(download("tiny", progress=False))
    loopback.length = 0
    with pytest.raises(BertError, match=r"empty file"):
        download("tiny", progress=False, force=True)
    assert is_whole(home / TINY)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, r"no file at http.*404.*BERT_TF_URL"),
        (403, r"refuses to give http.*403.*the .zip as the checkpoint"),
        (407, r"proxy wants a login.*HTTPS_PROXY"),
        (204, r"status 204"),
    ],
)
def test_refusals_are_final(loopback, home, status, words) -> None:
    loopback.statuses = [status] * 3
    with pytest.raises(BertError, match=words):
        download("tiny", progress=False)
    assert len(loopback.asked) == 1
    assert names(home) == []


def test_errors_of_the_server_may_pass(loopback, home) -> None:
    loopback.statuses = [503, 500, 429]
    assert is_whole(download("tiny", progress=False))
    loopback.statuses = [503] * 9
    with pytest.raises(BertError, match=r"server answered 503.*Check the network.*name the .zip"):
        download("tiny", progress=False, force=True)
    assert len(loopback.asked) == 4 + 5
    assert is_whole(home / TINY)  # the old one is still there


def test_no_network(home, monkeypatch, caplog) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BERT_TF_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(BertError, match=r"cannot reach 127.*refused.*HTTPS_PROXY.*name the .zip"):
        download("tiny")
    assert caplog.text.count("trying again in 0 s") == 4
    assert names(home) == []


def test_a_server_that_falls_silent(loopback, home, no_patience, monkeypatch) -> None:
    monkeypatch.setattr("bert_tf.hub.fetch.TIMEOUT_SECONDS", 0.2)
    loopback.pause = 1.0
    with pytest.raises(BertError, match=r"broke after 65,536 of .*no answer for 0 s.*kept"):
        download("tiny", progress=False)
    assert names(home) == KEPT


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bert_tf.hub.paced.WINDOW_SECONDS", 0.2)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_that_sends_a_byte_now_and_then(loopback, home, short_window, chunked) -> None:
    """It was waited for without end: each byte began the time limit again."""
    loopback.drips = [0] * 5
    if chunked:
        loopback.length, loopback.headers = -1, {"Transfer-Encoding": "chunked"}
        loopback.body = b"1;" + b"x" * 10_000  # the length of a chunk with an endless remark
    with pytest.raises(BertError, match=r"could not download .*broke after .* bytes in .*too few"):
        download("tiny", progress=False)
    assert len(loopback.asked) == 5  # a few bytes further each time do not count
    assert TINY not in names(home)


def test_headers_that_do_not_end(loopback, home, short_window, no_patience) -> None:
    loopback.slow_headers = True
    with pytest.raises(BertError, match=r"no answer from 127.* bytes in .* too few"):
        download("tiny", progress=False)


def test_a_connection_that_becomes_slow_is_left_and_the_rest_resumed(
    loopback, home, short_window
) -> None:
    """Ten times: each comes further at a good rate, so tries are counted again."""
    loopback.drips = [1 << 16] * 10
    assert is_whole(download("tiny", progress=False))
    assert len(loopback.asked) == 11


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 400, "-1", "", "\xb2", "0x10"])
def test_a_length_that_is_no_number(loopback, home, length) -> None:
    """It counts as none. Python reads no number of over 4,300 digits, nor divides 400."""
    loopback.length, loopback.headers = -1, {"Content-Length": length}
    assert is_whole(download("tiny", progress=False))


def test_notes_with_wrong_types(loopback, home, no_patience) -> None:
    loopback.cuts = [CUT]
    with pytest.raises(BertError, match=r"broke"):
        download("tiny", progress=False)
    path = home / f".{TINY}.zip.part.json"
    note, part = json.loads(path.read_text()), home / f".{TINY}.zip.part"
    content = part.read_bytes()
    for name, value in (
        ("size", "many"),
        ("size", 1e999),
        ("size", True),
        ("size", [1]),
        ("validator", 7),
        ("validator", "x\r\nEvil: y"),
        ("crc32c", "e3069283"),
        ("url", None),
    ):
        path.write_text(json.dumps({**note, name: value}))
        part.write_bytes(content)
        loopback.asked.clear()
        assert is_whole(download("tiny", progress=False, folder=home, force=True))
        assert loopback.asked == [None], (name, value)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    "name", [f".{TINY}.zip.part", f".{TINY}.zip.part.json", f"{TINY}.download.json"]
)
def test_links_in_a_shared_store_are_not_followed(loopback, home, tmp_path, name, hard) -> None:
    """Another user may put them there; what they lead to stays as it is."""
    home.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (os.link if hard else os.symlink)(victim, home / name)
    assert is_whole(download("tiny", progress=False))
    assert victim.read_text() == "precious"
    assert names(home) == ENDED
    assert not (home / ENDED[1]).is_symlink()


def test_links_are_not_followed_when_resuming(loopback, home, tmp_path, no_patience) -> None:
    """With a note that fits, what comes would be appended to what the link leads to."""
    loopback.cuts = [CUT]
    with pytest.raises(BertError, match=r"broke"):
        download("tiny", progress=False)
    part, victim = home / f".{TINY}.zip.part", tmp_path / "victim"
    note = home / f".{TINY}.zip.part.json"
    noted = note.read_bytes()
    for link in (os.symlink, os.link):
        part.unlink(missing_ok=True)
        victim.write_bytes(loopback.body[:CUT])
        link(victim, part)
        note.write_bytes(noted)
        loopback.asked.clear()
        assert is_whole(download("tiny", progress=False, force=True))
        assert loopback.asked == [None]
        assert victim.read_bytes() == loopback.body[:CUT]


@pytest.mark.parametrize("name", [f".{TINY}.unpacking", f".{TINY}.lock"])
def test_links_to_folders_and_locks(loopback, home, tmp_path, name) -> None:
    home.mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("precious")
    target = tmp_path / "other" / ("file" if name.endswith("lock") else "")
    (home / name).symlink_to(target)
    if name.endswith("lock"):
        with pytest.raises(BertError, match=r"cannot write to .*lock"):
            download("tiny", progress=False)
    else:
        assert is_whole(download("tiny", progress=False))
    assert (tmp_path / "other" / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"<!DOCTYPE html><html>Log in", "text/html", "a web page"),
        (b" \n<html>Log in", "application/zip", "a web page"),
        (b"hello", "text/plain", r"something else \(text/plain\)"),
    ],
)
def test_something_else_costs_nothing_that_has_come(
    loopback,
    home,
    no_patience,
    body,
    kind,
    words,
) -> None:
    whole, loopback.cuts = loopback.body, [CUT]
    with pytest.raises(BertError, match=r"broke"):
        download("tiny", progress=False)
    loopback.body, loopback.etag, loopback.headers = body, None, {"Content-Type": kind}
    with pytest.raises(BertError, match=rf"sent {words} instead of a .zip.*browser"):
        download("tiny", progress=False)
    assert names(home) == KEPT
    loopback.body, loopback.etag, loopback.headers = whole, '"first"', {}
    assert is_whole(download("tiny", progress=False))
    assert loopback.asked[-1] == f"bytes={CUT}-"


def test_more_than_the_release_can_have(loopback, home, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["bert_tf.hub.download"], "_limit", lambda _: 100_000)
    for length, words in ((None, r"has 1 MB, more than"), (-1, r"sends more than")):
        loopback.length = length
        with pytest.raises(BertError, match=words):
            download("tiny", progress=False)
        assert names(home) == []


@pytest.mark.parametrize("right", [True, False])
def test_the_servers_own_checksum(loopback, home, right) -> None:
    """In Google's form: the value of b"123456789" by RFC 3720 is e3069283, in base64 4waSgw==."""
    import crc32c

    assert base64.b64encode(crc32c.crc32c(b"123456789").to_bytes(4, "big")) == b"4waSgw=="
    value = crc32c.crc32c(loopback.body) if right else 0xE3069283
    text = base64.b64encode(value.to_bytes(4, "big")).decode()
    loopback.headers = {"x-goog-hash": f"crc32c={text},md5=CS9tHYTtyFntzj7B9nkkJQ=="}
    if right:
        assert is_whole(download("tiny", progress=False))
        return
    with pytest.raises(BertError, match=r"damaged.*CRC32C.*the server says e3069283"):
        download("tiny", progress=False)
    assert names(home) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///tmp", "mirror", "http://a b/", ""])
def test_addresses_that_are_none(home, url) -> None:
    if not url:
        assert is_whole(download("tiny", url=url, progress=False))  # as if left out
        return
    with pytest.raises(BertError, match=r"is no address to download from"):
        download("tiny", url=url, progress=False)
    assert names(home) == []


def test_no_redirect_to_what_is_not_secure() -> None:
    request = urllib.request.Request("https://127.0.0.1/a.zip")
    with pytest.raises(BertError, match=r"not secure"):
        _Redirects().redirect_request(request, None, 302, "", {}, "http://127.0.0.1/a.zip")
    assert _Redirects().redirect_request(request, None, 302, "", {}, "https://127.0.0.1/b.zip")


def test_no_room_is_told_before_anything_is_fetched(loopback, home, monkeypatch) -> None:
    monkeypatch.setattr(
        "bert_tf.hub.fetch.shutil.disk_usage", lambda _: SimpleNamespace(free=10**6)
    )
    with pytest.raises(BertError, match=r"has 1 MB left.*needs about 2 MB.*BERT_TF_HOME"):
        download("tiny", progress=False)
    assert names(home) == []
