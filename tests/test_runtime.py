"""Precision by one argument, and the kept OpenVINO graph: used, keyed, and made anew if damaged."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import bert_tf
from bert_tf.runtime.openvino import keep, key, load_kept

TINY = Path(__file__).parent / "golden/tiny_ckpt"
PAIR = {
    "token_input": np.arange(1, 25, dtype=np.int32).reshape(2, 12),
    "seg_input": np.zeros((2, 12), np.int32),
}
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_bfloat16_by_one_argument():
    exact = bert_tf.load(TINY).predictor("nsp", logits=True)(PAIR)
    bert = bert_tf.load(TINY, precision="bfloat16")
    near = bert.predictor("nsp", logits=True)(PAIR)
    assert near.dtype == np.float32
    np.testing.assert_allclose(near, exact, atol=0.15)
    assert np.abs(near - exact).max() > 1e-4
    if keras.backend.backend() != "openvino":
        assert bert.layers.token_embedding.embeddings.dtype == "bfloat16"


def test_precision_and_dtype_together_are_refused():
    with pytest.raises(bert_tf.BertError, match="not both"):
        bert_tf.load(TINY, precision="bfloat16", dtype="mixed_bfloat16")
    with pytest.raises(bert_tf.BertError, match="float32, bfloat16"):
        bert_tf.load(TINY, precision="float16")


def test_a_predictor_by_name_is_the_model():
    bert = bert_tf.load(TINY)
    by_name = bert.predictor("encoder", layers=[0])(PAIR)
    of_model = bert.predictor(bert.encoder_model(layers=[0]))(PAIR)
    assert set(by_name) == set(of_model) == {"sequence_output", "pooled_output", "layer_0"}
    for name, value in by_name.items():
        np.testing.assert_allclose(value, of_model[name], atol=1e-5)
    with pytest.raises(bert_tf.BertError, match="encoder, pretraining, mlm"):
        bert.predictor("mask")
    with pytest.raises(bert_tf.BertError, match="no answer-span head"):
        bert.predictor("span")


def test_cache_keeps_whole_files_only(place):
    name = key("thing", ["a", 1])
    assert load_kept(name) is None
    keep(name, b"content")
    assert load_kept(name) == b"content"
    assert [path.name for path in place.iterdir()] == [name]
    path = place / name
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:5], b"", whole[:-1] + b"X", b"other" + whole):
        path.write_bytes(damaged)
        assert load_kept(name) is None
    assert key("thing", ["a", 2]) != name != key("other", ["a", 1])


def test_cache_switched_off_or_not_writable(place, monkeypatch, tmp_path):
    monkeypatch.setenv("BERT_TF_CACHE", "0")
    keep("x", b"content")
    assert load_kept("x") is None
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BERT_TF_CACHE", str(tmp_path / "file"))
    keep("x", b"content")  # done without
    assert load_kept("x") is None
    assert not place.exists()


START = """
import json, sys, dataclasses, bert_tf
bert = bert_tf.load("{tiny}")
result = bert_tf.FillMask(bert)("Мама мыла [MASK], и кошка [MASK] дом.")
nsp = bert_tf.NextSentence(bert)("the man", "a dog")
assert "tensorflow" not in sys.modules
print(json.dumps([dataclasses.asdict(result), nsp.probability, "keras" in sys.modules]))
"""


@needs_openvino
def test_the_second_start_needs_no_keras_and_answers_alike(place, run_python):
    """And a damaged, an empty or a foreign file in the cache is made anew."""
    code = START.format(tiny=TINY)

    def start():
        result = run_python("-c", code, backend="openvino", BERT_TF_CACHE=str(place))
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    first = start()
    files = sorted(place.glob("openvino-graph-*"))
    assert len(files) == 2
    assert first[2] is True
    second = start()
    assert second[2] is False
    assert second[:2] == first[:2]
    files[0].write_bytes(files[0].read_bytes()[:-100])
    files[1].write_bytes(b"")
    third = start()
    assert third[2] is True
    assert third[:2] == first[:2]
    assert start()[2] is False
    expected = bert_tf.FillMask(bert_tf.load(TINY))("Мама мыла [MASK], и кошка [MASK] дом.")
    for mask, found in zip(dataclasses.asdict(expected)["masks"], first[0]["masks"], strict=True):
        for guess, other in zip(mask["guesses"], found["guesses"], strict=True):
            assert guess["word"] == other["word"]
            assert abs(guess["probability"] - other["probability"]) < 1e-5


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_keeps_what_it_compiles(place, run_python):
    code = START.format(tiny=TINY)
    for _ in range(2):
        result = run_python("-c", code, backend="jax", BERT_TF_CACHE=str(place))
        assert result.returncode == 0, result.stderr
    kept = {path.name for path in (place / "jax").iterdir() if path.name.endswith("-cache")}
    assert kept
    result = run_python("-c", code, backend="jax", BERT_TF_CACHE=str(place))
    assert {p.name for p in (place / "jax").iterdir() if p.name.endswith("-cache")} == kept
