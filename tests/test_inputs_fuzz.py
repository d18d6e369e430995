"""Damaged archives, corpora and records: a `BertError` or the right values, never anything else.

Each has thousands of cases from fixed seeds; `pytest -s` shows how many had which outcome.
"""

from __future__ import annotations

import gzip
import itertools
import json
import pathlib
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from loopback import pack

from bert_tf.data import TokenCorpus, tokenize_corpus
from bert_tf.data.pretraining.create import write_records
from bert_tf.data.pretraining.pairs import PairRules
from bert_tf.data.pretraining.records import RecordStream
from bert_tf.errors import BertError
from bert_tf.hub.archive import unpack
from bert_tf.text import SPECIAL_TOKENS, BertTokenizer, Vocabulary

pytestmark = pytest.mark.slow

CASES = 3000
VOCAB = Vocabulary.from_lines([*SPECIAL_TOKENS, *"abcdefgh"])


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """With up to three of: bits flipped, a number of bytes set, cut, zeroed, repeated, moved."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(raw)) if len(raw) else 0)
        size = int(rng.choice([1, 2, 4, 8, 30, 200]))
        part = raw[at : at + size]
        kind = rng.choice(["flip", "set", "cut", "zero", "repeat", "move", "edge"])
        if kind == "flip" and part:
            raw = raw[:at] + bytes([part[0] ^ 1 << rng.integers(8)]) + raw[at + 1 :]
        elif kind == "set":
            raw = raw[:at] + rng.bytes(len(part)) + raw[at + size :]
        elif kind == "edge":  # numbers of all ones, as sizes and places are often damaged
            raw = raw[:at] + b"\xff" * len(part) + raw[at + size :]
        elif kind == "cut":
            raw = raw[:at] if rng.integers(2) else raw[at:]
        elif kind == "zero":
            raw = raw[:at] + bytes(len(part)) + raw[at + size :]
        elif kind == "repeat":
            raw = raw[:at] + part + raw[at:]
        else:
            to = int(rng.integers(len(raw) + 1))
            rest = raw[:at] + raw[at + size :]
            raw = rest[:to] + part + rest[to:]
    return raw


def outcomes(cases: int, run: Callable[[np.random.Generator], None]) -> Counter[str]:
    """Runs cases, and counts those that were right and the kinds of errors of the others."""
    counts: Counter[str] = Counter()
    for case in range(cases):
        try:
            run(np.random.default_rng(case))
            counts["right"] += 1
        except BertError:
            counts["BertError"] += 1
        except AssertionError as error:
            raise AssertionError(f"case {case}") from error
    print(dict(counts))
    assert counts["BertError"] > cases // 10
    return counts


MEMBERS = {
    "a_L-2/bert_config.json": b'{"vocab_size": 9}' * 9,
    "a_L-2/vocab.txt": "\n".join(map(str, range(400))).encode(),
    "a_L-2/bert_model.ckpt.index": np.random.default_rng(0).bytes(500),
    "a_L-2/bert_model.ckpt.data-00000-of-00001": np.random.default_rng(1).bytes(3000),
}


@pytest.mark.parametrize("method", ["STORED", "DEFLATED", "BZIP2", "LZMA"])
def test_archives(tmp_path: pathlib.Path, method: str) -> None:
    """What is unpacked is one of the files that were packed; nothing is left after an error."""
    whole, path = pack(MEMBERS, getattr(zipfile, f"ZIP_{method}")), tmp_path / "x.zip"
    directory = whole.index(b"PK\x01\x02")

    def run(rng: np.random.Generator) -> None:
        if rng.integers(2):  # in the directory, which is small
            raw = whole[:directory] + damaged(whole[directory:], rng)
        else:
            raw = damaged(whole, rng)
        path.write_bytes(raw)
        folder = unpack(str(path))
        try:
            for file in pathlib.Path(folder.name).rglob("*"):
                assert not file.is_symlink()
                assert file.is_dir() or file.read_bytes() in MEMBERS.values()
        finally:
            folder.cleanup()

    assert outcomes(CASES, run)["right"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> TokenCorpus:
    """30 documents in two groups."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(3)
    for name in ("x", "y"):
        sentences = [" ".join(rng.choice(list("abcdefgh"), rng.integers(1, 9))) for _ in range(90)]
        documents = ["\n".join(sentences[i : i + 6]) for i in range(0, 90, 6)]
        (folder / name).write_text("\n\n".join(documents))
    files = {name: [folder / name] for name in ("x", "y")}
    return tokenize_corpus(files, BertTokenizer(VOCAB, False), folder / "corpus", progress=False)


@pytest.mark.parametrize("sums", [True, False])
def test_corpora(corpus: TokenCorpus, tmp_path: pathlib.Path, sums: bool) -> None:
    """With checksums it is as it was; without, as those of 0.1.0, it can be used all the same."""
    folder = tmp_path / "corpus"
    shutil.copytree(corpus.folder, folder)
    if not sums:
        info = json.loads((folder / "corpus.json").read_text())
        del info["crc32c"]
        (folder / "corpus.json").write_text(json.dumps(info))
    files = {file: file.read_bytes() for file in sorted(folder.iterdir())}
    del files[folder / "vocab.txt"]

    def run(rng: np.random.Generator) -> None:
        file = list(files)[rng.integers(len(files))]
        raw = files[file]
        if file.suffix == ".npy" and rng.integers(2):  # the numbers rather than the header
            file.write_bytes(raw[:128] + damaged(raw[128:], rng))
        else:
            file.write_bytes(damaged(raw, rng))
        try:
            found = TokenCorpus.open(folder)
            assert found.tokens.max() < found.vocab_size
            for document in itertools.pairwise(found.sentences[found.documents]):
                assert len(found.tokens[slice(*document)])
            assert found.groups.max() < len(found.group_names)
            if "crc32c" in found.info:
                assert (found.tokens == corpus.tokens).all()
                for name in ("sentences", "documents", "sources", "groups"):
                    assert (getattr(found, name) == getattr(corpus, name)).all()
        finally:
            file.write_bytes(raw)

    assert outcomes(CASES, run)["right"]


@pytest.mark.parametrize("module", [None, gzip, zlib])
def test_records(corpus: TokenCorpus, tmp_path: pathlib.Path, module) -> None:
    """Each example that comes is one of those that were written."""
    path = tmp_path / "x.tfrecord"
    write_records(
        corpus,
        [path],
        VOCAB,
        pair_rules=PairRules(16),
        dupe_factor=1,
        num_workers=1,
        progress=False,
    )
    plain = path.read_bytes()
    written = {
        row.tobytes()
        for row in RecordStream([path], batch_size=500, seed=0).next_batch()["token_input"]
    }
    size = RecordStream([path], batch_size=1, seed=0).num_examples

    def run(rng: np.random.Generator) -> None:
        raw = damaged(plain, rng) if module is None or rng.integers(4) == 0 else plain
        if module is not None:
            raw = module.compress(raw)
            raw = damaged(raw, rng) if rng.integers(4) else raw
        path.write_bytes(raw)
        stream = RecordStream([path], batch_size=size, seed=0, vocab_size=len(VOCAB))
        for row in stream.next_batch()["token_input"]:
            assert row.tobytes() in written

    assert outcomes(CASES // 2, run)["right"]
