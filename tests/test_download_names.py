"""Names of checkpoints: the table, the places where they lie, and the commands that use them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from loopback import (  # noqa: F401
    GOLDEN,
    PATH,
    TINY,
    Loopback,
    home_fixture,
    loopback_fixture,
    names,
    pack,
    release_files,
)

import bert_tf
from bert_tf.cli.main import main
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.heads import weights_of
from bert_tf.hub import catalog, store
from bert_tf.hub.catalog import RELEASES
from bert_tf.hub.download import download
from bert_tf.hub.locate import locate
from bert_tf.hub.store import embedded, find, installed
from bert_tf.text import Vocabulary, infer_casing


def test_the_table_is_whole() -> None:
    """9 checkpoints of 2018 and 2019, and 24 small ones."""
    assert len(RELEASES) == 33
    for field in ("name", "folder", "archive"):
        assert len({getattr(release, field) for release in RELEASES}) == 33
    every = [n for r in RELEASES for n in {r.name, r.folder, *r.aliases}]
    assert {catalog.lookup(name) for name in every} == set(RELEASES)
    assert len({catalog._plain(name) for name in every}) == len(catalog._BY_NAME)
    shape = r"20\d\d_\d\d_\d\d/\w+_L-\d+_H-\d+_A-\d+\.zip"
    for release in RELEASES:
        assert re.fullmatch(rf"{catalog.BASE_URL}/{shape}", release.url())
        assert release.hidden == 64 * release.heads
    assert catalog.get("multi_cased").date == "2018-11-23"


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_sizes_are_those_of_the_table_of_weights(release) -> None:
    h = release.hidden
    config = BertConfig(
        release.vocab_size, h, release.layers, release.heads, 4 * h, type_vocab_size=2
    )

    def count(*parts: str) -> int:
        total = 0
        for weight in weights_of(config, parts, None):
            size = 1
            for axis in weight.shape:
                size *= axis
            total += size
        return total

    assert release.parameters == count("encoder", "pooler")
    assert release.nbytes == 4 * count("encoder", "pooler", "mlm", "nsp")


def test_known_sizes() -> None:
    """As keras-hub states them for its presets of the same models."""
    assert catalog.get("multi_cased").parameters == 177_853_440
    assert catalog.get("chinese").parameters == 102_267_648
    assert catalog.get("tiny").parameters == 4_385_920


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_the_folders_name_tells_the_casing(release, tiny_ckpt) -> None:
    vocab = Vocabulary.load(tiny_ckpt / "vocab.txt")
    assert infer_casing(release.folder, vocab)[0] == release.lower_case


@pytest.mark.parametrize(
    "name",
    [
        "multi_cased",
        "Multi-Cased",
        "multi_cased_L-12_H-768_A-12",
        "multi_cased_L-12_H-768_A-12.zip",
        "multi_cased_L-12_H-768_A-12/",
        "bert-base-multilingual-cased",
    ],
)
def test_spellings(name: str) -> None:
    assert catalog.get(name).name == "multi_cased"


def test_one_folder_name_was_given_twice() -> None:
    """Google used it in 2018 and, for other weights, in 2020."""
    assert catalog.get("uncased_L-12_H-768_A-12").name == "base_uncased"
    assert catalog.get("base_uncased_2020").archive == "2020_02_20/uncased_L-12_H-768_A-12"
    assert catalog.get("base_uncased_2020").folder == "uncased_L-12_H-768_A-12_2020"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("multi_casd", "multi_cased or"),
        ("uncased_L-2", "uncased_L-2_H-256"),
        ("bert-base", "base_"),
        ("chinise", "chinese"),
        ("tinny", "tiny"),
    ],
)
def test_misspelt_names(name: str, meant: str) -> None:
    with pytest.raises(BertError, match=rf"no release named '{name}'\. Did you mean .*{meant}"):
        download(name)
    with pytest.raises(BertError, match=r"no release named 'xyzzy'\. All names: `python -m"):
        download("xyzzy")


def test_found_wherever_it_lies(loopback: Loopback, home: Path, monkeypatch, tmp_path) -> None:
    assert find("tiny") is None
    first = download("tiny", progress=False)
    assert find("tiny") == find(TINY) == first == str(home / TINY)
    monkeypatch.setenv("BERT_TF_HOME", str(tmp_path / "moved"))
    assert find("tiny") is None
    assert download("tiny", progress=False) == str(tmp_path / "moved" / TINY)
    monkeypatch.delenv("BERT_TF_HOME")
    cache = tmp_path / "cache" / "bert_tf"
    if sys.platform.startswith("linux"):
        assert store.homes() == [str(cache)]
        assert download("tiny", progress=False) == str(cache / TINY)
        monkeypatch.setenv("BERT_TF_HOME", str(tmp_path / "empty"))
        assert find("tiny") == str(cache / TINY)  # read from there too
        assert download("tiny", progress=False) == str(cache / TINY)
    assert store.home() == str(tmp_path / "empty")


def test_a_checkout_has_its_own_folder(home: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("BERT_TF_HOME", raising=False)
    root = Path(bert_tf.__file__).parent.parent
    assert str(root / "checkpoints") in store.homes()
    monkeypatch.setattr(store, "_checkout", lambda: str(tmp_path / "not" / "to be written"))
    assert store.home() != str(tmp_path / "not" / "to be written" / "checkpoints")
    assert len(store.homes()) == 2
    monkeypatch.setenv("BERT_TF_HOME", "~/somewhere")
    assert store.home() == str(Path.home() / "somewhere")


@pytest.mark.parametrize("place", ["checkout", "installed"])
def test_one_comes_along(home: Path, place, monkeypatch, tmp_path, capsys) -> None:
    """Beside the package in a checkout, in it where it is installed; no download goes there."""
    root = tmp_path / "root"
    ours = root / ("checkpoints" if place == "checkout" else "bert_tf/embedded") / store.EMBEDDED
    (root / "bert_tf").mkdir(parents=True)
    monkeypatch.setattr(store, "_package", lambda: str(root / "bert_tf"))
    monkeypatch.setattr(store, "_checkout", lambda: str(root) if place == "checkout" else None)
    assert embedded() is None
    assert find(store.EMBEDDED) is None
    shutil.copytree(GOLDEN, ours)
    assert embedded() == find(store.EMBEDDED) == str(ours)
    assert [(i.name, i.path, i.release) for i in installed()] == [(store.EMBEDDED, str(ours), None)]
    assert store.home() == str(home)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("demo_multi_cased "))
    assert re.fullmatch(r"\S+ +3 x 32 +cased +\d +yes +6 languages: small, for demonstra.*", row)
    assert f"  {store.EMBEDDED}: {ours}" in lines
    shutil.copytree(GOLDEN, home / store.EMBEDDED)  # by name the user's own, by default ours
    assert find(store.EMBEDDED) == str(home / store.EMBEDDED)
    assert embedded() == str(ours)


def test_the_one_that_comes_along_is_listed_even_if_damaged(
    home: Path, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.setattr(store, "_package", lambda: str(tmp_path))
    ours = tmp_path / "embedded" / store.EMBEDDED
    shutil.copytree(GOLDEN, ours)
    (ours / "bert_model.ckpt.index").write_bytes(b"damaged")
    assert main(["list"]) == 0
    assert f"  {store.EMBEDDED}: {ours}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("relative", ["", "cache"])
def test_the_cache_is_where_the_platform_has_it(monkeypatch, relative) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setattr(store.sys, "platform", "linux")
    assert store._cache() == str(Path.home() / ".cache" / "bert_tf")
    monkeypatch.setattr(store.sys, "platform", "darwin")
    assert store._cache() == str(Path.home() / "Library" / "Caches" / "bert_tf")
    monkeypatch.setattr(store.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert store._cache().startswith("local")


def test_what_is_installed(home: Path) -> None:
    assert installed() == []
    for folder in ("my_own", TINY, "chinese_L-12_H-768_A-12", ".hidden"):
        shutil.copytree(GOLDEN, home / folder)
    (home / "empty").mkdir()
    (home / "a.txt").write_text("x")
    assert [(i.name, Path(i.path).name) for i in installed()] == [
        ("chinese", "chinese_L-12_H-768_A-12"),
        ("tiny", TINY),
        ("my_own", "my_own"),
    ]
    assert installed()[2].release is None
    assert find("my_own") == str(home / "my_own")
    for name in ("../home/my_own", "", ".", "..", "a\0b", "empty", ".hidden/", str(home)):
        assert find(name) is None


def test_locate_by_name(loopback: Loopback, home: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BertError, match=rf"not here yet.*18 MB.*bert_tf download tiny`.*{home}"):
        locate("tiny")
    with pytest.raises(BertError, match=r"no checkpoint at multi_casd. Did you mean multi_cased"):
        locate("multi_casd")
    download("tiny", progress=False)
    with locate("tiny") as files:
        assert files.prefix == str(home / TINY / "bert_model.ckpt")
        assert files.display_name == TINY
    shutil.copytree(GOLDEN, tmp_path / "tiny")  # a path wins over a name
    with locate("tiny") as files:
        assert files.prefix == "tiny/bert_model.ckpt"


def test_load_by_name(loopback: Loopback, home: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    loopback.path = PATH.replace("2020_02_20", "2018_11_23").replace(TINY, multi := _MULTI)
    loopback.body = pack(release_files(f"{multi}/"))
    with pytest.raises(BertError, match=r"`python -m bert_tf download multi_cased`"):
        bert_tf.load("multi_cased")
    assert main(["download", "multi_cased"]) == 0
    bert = bert_tf.load("multi_cased")
    assert bert.name == multi
    assert bert.lower_case is False
    assert (
        bert.config.num_hidden_layers
        == BertConfig.from_file(GOLDEN / "bert_config.json").num_hidden_layers
    )


_MULTI = "multi_cased_L-12_H-768_A-12"


def test_download_command(loopback: Loopback, home: Path, capsys, tmp_path) -> None:
    assert main(["download", "tiny", "tinny"]) == 2
    assert "Did you mean tiny" in capsys.readouterr().err
    assert loopback.asked == []  # a misspelt name is told before the work
    assert main(["download", "tiny"]) == 0
    assert capsys.readouterr() == (f"{home / TINY}\n", "")
    assert main(["download", "--force", "tiny", "--to", str(tmp_path / "there")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'there' / TINY}\n"
    assert names(tmp_path / "there") == [TINY, f"{TINY}.download.json"]
    assert main(["download", "mini"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bert_tf: error: there is no file at http")


def test_list_command(home: Path, capsys, monkeypatch) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "none of them is installed" in out
    assert max(map(len, out.splitlines()[:34])) <= 100
    shutil.copytree(GOLDEN, home / TINY)
    shutil.copytree(GOLDEN, home / "my\x1b[31mown")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    tiny = next(line for line in lines if line.startswith("tiny "))
    assert re.fullmatch(r"tiny +2 x 128 +uncased +18 +yes +English: .*BERT-Tiny", tiny)
    assert any(line.startswith(r"my\x1b[31mown ") and "not one of" in line for line in lines)
    assert f"  tiny: {home / TINY}" in lines
    assert lines[-1] == f"downloads go to {home}"


def test_list_command_for_programs(home: Path, capsys) -> None:
    shutil.copytree(GOLDEN, home / TINY)
    shutil.copytree(GOLDEN, home / "own")
    assert main(["list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 34
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    by_name = {row["name"]: row for row in rows}
    assert by_name["tiny"]["path"] == str(home / TINY)
    assert by_name["multi_cased"]["path"] is None
    assert by_name["own"]["url"] is None
    assert rows[0]["url"].endswith("2018_11_23/multi_cased_L-12_H-768_A-12.zip")


@pytest.mark.parametrize("command", ["mask", "nsp"])
def test_jobs_say_the_command(home: Path, command, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["a [MASK]"] if command == "mask" else ["a", "b"]
    assert main([command, "--checkpoint", "multi_cased", *texts]) == 2
    assert "`python -m bert_tf download multi_cased`" in capsys.readouterr().err


def test_a_bar_on_a_terminal(loopback: Loopback, home: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    loopback.cuts = [300_000]
    assert main(["download", "tiny"]) == 0
    out, error = capsys.readouterr()
    assert out == f"{home / TINY}\n"
    assert "tiny:" in error
    assert "\rbert_tf: the connection broke" in error  # above the bar, which was cleared
    assert "100%" in error
    loopback.cuts = [300_000]
    download("tiny", force=True, progress=False)
    assert capsys.readouterr() == ("", "")
