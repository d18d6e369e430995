"""The small checkpoint that comes along: its files, its weights, and that it answers by default."""

from __future__ import annotations

import csv
import json
import pathlib
import runpy
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import bert_tf
from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.names import check_shapes, parts_in
from bert_tf.config import BertConfig
from bert_tf.export.convert import convert_checkpoint
from bert_tf.heads import weights_of
from bert_tf.hub.locate import locate
from bert_tf.hub.store import EMBEDDED, embedded, installed
from bert_tf.text import Vocabulary

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "checkpoints" / EMBEDDED
FILES = {
    "README.md",
    "bert_config.json",
    "bert_model.ckpt.data-00000-of-00001",
    "bert_model.ckpt.index",
    "curve.png",
    "judgement.json",
    "log.csv",
    "vocab.txt",
}
MEGABYTE = 10**6


def stored(folder: pathlib.Path = FOLDER) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint as they are stored."""
    with CheckpointReader(str(folder / "bert_model.ckpt")) as reader:
        return {name: np.array(reader.read(name)) for name in reader.tensors}


def test_its_files_are_there_and_small():
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 16 * MEGABYTE


def test_git_keeps_its_files_byte_for_byte():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    paths = [f"checkpoints/{EMBEDDED}/{name}" for name in sorted(FILES)]
    other = "checkpoints/multi_cased_L-12_H-768_A-12/x"
    command = ["git", "check-ignore", "--no-index", "--", *paths, other]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.splitlines() == [other]
    command = ["git", "check-attr", "text", "--", *paths]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    by_path = dict(line.split(": text: ") for line in said.splitlines())
    for name in ("vocab.txt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"):
        assert by_path[f"checkpoints/{EMBEDDED}/{name}"] == "unset"


def test_the_weights_are_those_that_the_config_promises():
    """In float16, finite, with the heads of pretraining, and none besides."""
    config = BertConfig.from_file(FOLDER / "bert_config.json")
    vocab = Vocabulary.load(FOLDER / "vocab.txt")
    assert len(vocab) == config.vocab_size
    assert vocab.warnings == ()
    tensors = stored()
    shapes = {name: value.shape for name, value in tensors.items()}
    parts = parts_in(shapes)
    assert parts == {"encoder", "pooler", "mlm", "nsp"}
    wanted = weights_of(config, parts, None)
    assert check_shapes(wanted, shapes, EMBEDDED, "its config") == []
    assert set(shapes) == {weight.original for weight in wanted}
    assert {value.dtype for value in tensors.values()} == {np.dtype(np.float16)}
    for name, value in tensors.items():
        assert np.isfinite(value).all(), name


def test_the_card_says_what_it_is_and_under_which_licences():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for words in (
        "demonstration",
        "python -m bert_tf download multi_cased",
        "--dtype float32",
        "CC BY-SA 4.0",  # of the weights
        "CC BY-SA 3.0",  # of the text
        "CC BY 2.5",
        "public domain",
        "log.csv",
        "curve.png",
    ):
        assert words in card, words
    for left_to_fill_in in ("JUDGEMENT", "RUNTIME", "TODO"):
        assert left_to_fill_in not in card


def test_the_log_of_its_training_is_whole():
    with open(FOLDER / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert len(steps) > 10
    assert steps == sorted(set(steps))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert (FOLDER / "curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert json.loads((FOLDER / "judgement.json").read_text(encoding="utf-8"))


def test_it_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_TF_HOME", str(tmp_path))
    assert embedded() == str(FOLDER)
    assert str(FOLDER) in [found.path for found in installed()]
    with locate(EMBEDDED) as files:
        assert files.prefix == str(FOLDER / "bert_model.ckpt")
        assert files.display_name == EMBEDDED


def test_load_by_name_widens_without_loss(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_TF_HOME", str(tmp_path))
    bert = bert_tf.load(EMBEDDED)
    assert bert.lower_case is False
    assert bert.report.slots == bert.report.unused == bert.report.missing == ()
    before = stored()
    seen = 0
    for name, value in bert.weights():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, before[name].astype(np.float32))
        seen += 1
    assert seen == len(before)


def test_convert_writes_what_googles_code_reads(tmp_path):
    report = convert_checkpoint(FOLDER, tmp_path / "wide", dtype="float32")
    assert report.warnings == ()
    wide, before = stored(tmp_path / "wide"), stored()
    assert set(wide) == set(before)
    for name, value in wide.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, before[name].astype(np.float32))


def said(stderr: str) -> str:
    """The one line on stderr."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("bert_tf: no --checkpoint, ")
    for words in (EMBEDDED, "demonstration", "`python -m bert_tf download multi_cased`"):
        assert words in lines[0]
    return lines[0]


def test_masks_are_filled_by_default(run_python, tmp_path):
    """In each language with a word that any model which has learnt from text must know."""
    expected = {
        "He shook his [MASK] and said nothing.": "head",
        "Она покачала [MASK] и ничего не сказала.": "головой",
        "Sie schüttelte den [MASK] und sagte nichts.": "Kopf",
        "Abrió la [MASK] y salió a la calle.": "puerta",
    }
    (tmp_path / "texts.txt").write_text("\n".join(expected), encoding="utf-8")
    flags = ["--input", tmp_path / "texts.txt", "--json", "--top-k", "20"]
    result = run_python(ROOT / "run_mask.py", *flags)
    assert result.returncode == 0
    said(result.stderr)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == list(expected)
    right = 0
    for answer, word in zip(answers, expected.values(), strict=True):
        guesses = answer["masks"][0]["guesses"]
        assert len(guesses) == 20
        right += word in [guess["word"] for guess in guesses]
    assert right >= 3  # of 4, among the 20 best of 16,000


def test_sentences_are_judged_by_default(run_python, tmp_path):
    """Those that speak of the same thing are judged likelier to follow."""
    follows = [
        ("She opened the door.", "There was nobody in the room."),
        ("He went to bed early.", "In the morning he felt better."),
    ]
    random = [
        ("She opened the door.", "The company was founded in 1998."),
        ("He went to bed early.", "The river is 200 km long."),
    ]
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("\n".join("\t".join(pair) for pair in follows + random), encoding="utf-8")
    result = run_python(ROOT / "run_nsp.py", "--input", pairs, "--json")
    assert result.returncode == 0
    said(result.stderr)
    probabilities = [json.loads(line)["probability"] for line in result.stdout.splitlines()]
    assert len(probabilities) == 4
    assert sum(probabilities[:2]) > sum(probabilities[2:])


def test_setup_puts_it_into_the_package(monkeypatch):
    """`setup.py` names each folder with code, and this one as a package of data."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: given.update(options))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    data = f"bert_tf.embedded.{EMBEDDED}"
    code = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("bert_tf/**/__init__.py")}
    assert set(given["packages"]) == {*code, data}
    assert given["package_dir"] == {data: f"checkpoints/{EMBEDDED}"}
    assert f"\n{data} = *\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_installed_wheel_answers_by_default(run_python, tmp_path):
    """The wheel is built in a copy, unpacked as pip does, and used far from the checkout."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path / "copy"
    for name in ("bert_tf", f"checkpoints/{EMBEDDED}"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    flags = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *flags, str(copy)]
    subprocess.run(command, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 20 * MEGABYTE
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    packaged = site / "bert_tf" / "embedded" / EMBEDDED
    for path in FOLDER.iterdir():
        assert (packaged / path.name).read_bytes() == path.read_bytes(), path.name
    shutil.rmtree(copy)
    arguments = ["-m", "bert_tf", "mask", "--json", "He shook his [MASK]."]
    result = run_python(*arguments, PYTHONPATH=str(site))
    assert result.returncode == 0
    said(result.stderr)
    assert len(json.loads(result.stdout)["masks"][0]["guesses"]) == 5
    result = run_python("-m", "bert_tf", "list", PYTHONPATH=str(site))
    assert f"  {EMBEDDED}: {packaged}" in result.stdout.splitlines()
