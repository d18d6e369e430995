"""The examples in docstrings run, on the checkpoint that comes along and on made-up files."""

from __future__ import annotations

import doctest
import importlib
import pathlib
from typing import Any

import numpy as np
import pytest

import bert_tf
from bert_tf.checkpoint import write_release
from bert_tf.data import split_by_source, tokenize_corpus, write_records
from bert_tf.data.pretraining.masking import MaskRules
from bert_tf.data.pretraining.pairs import PairRules

PACKAGE = pathlib.Path(bert_tf.__file__).parent
DEMO = "demo_multi_cased"


def modules_with_examples() -> list[str]:
    paths = sorted(p for p in PACKAGE.rglob("*.py") if ">>> " in p.read_text(encoding="utf-8"))
    return [".".join(["bert_tf", *p.relative_to(PACKAGE).with_suffix("").parts]) for p in paths]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict[str, Any]:
    """What an example finds in addition to its module; the files lie in the folder `here`."""
    here = tmp_path_factory.mktemp("examples")
    bert = bert_tf.load(DEMO, lower_case=False)
    (here / "new.csv").write_text("text\nA fine day.\nRain again.\n")
    texts = [
        "".join(f"Sentence {j} of document {i} is short. {'Or not. ' * i}\n" for j in range(6))
        for i in range(30)
    ]
    (here / "text.txt").write_text("\n".join(texts))
    corpus = tokenize_corpus({"en": [here / "text.txt"]}, bert.tokenizer, here / "corpus")
    write_records(
        corpus,
        [here / "train.tfrecord"],
        bert.vocab,
        pair_rules=PairRules(),
        mask_rules=MaskRules(),
        num_workers=1,
    )
    new = bert_tf.new_classifier(bert, ["negative", "positive"])
    weights = dict(new.weights()) | {"output_bias": np.array([-9, 9], np.float32)}  # all is fine
    info = {"classifier.json": new.classifier.to_json()}
    write_release(here / "my_classifier", bert.config, bert.vocab.raw, weights, files=info)
    return {
        "here": here,
        "bert_tf": bert_tf,
        "bert": bert,
        "vocab": bert.vocab,
        "corpus": corpus,
        "held_out": split_by_source(corpus, 1000, 1),
        "classify": bert_tf.Classify(bert_tf.load(here / "my_classifier")),
    }


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name, given, monkeypatch):
    monkeypatch.chdir(given["here"])
    load = bert_tf.load
    monkeypatch.setattr(bert_tf, "load", lambda path: given["bert"] if path == DEMO else load(path))
    module = importlib.import_module(name)
    assert not doctest.testmod(module, extraglobs=given).failed
