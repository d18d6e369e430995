"""Weights and inputs that are no numbers to compute with are refused, the same on every backend."""

import importlib.util
import io
import json
import logging

import numpy as np
import pytest
from tiny_classifiers import write_bert

import bert_tf
from bert_tf.checkpoint import CheckpointReader, write_release
from bert_tf.checkpoint.dtypes import is_sound
from bert_tf.cli import main as cli
from bert_tf.files.whole import to_json
from bert_tf.training.log import TrainingLog
from bert_tf.training.starting import start_from_checkpoint

KERNEL = "bert/encoder/layer_0/output/dense/kernel"
NSP = "cls/seq_relationship/output_bias"
BAD = [np.nan, -np.nan, np.inf, -np.inf, 1e38, -1e38]


@pytest.fixture(scope="module")
def tiny(tiny_ckpt):
    return bert_tf.load(tiny_ckpt)


@pytest.fixture
def broken(tiny, tmp_path):
    """Makes a release, checksums and all, in which one number of a tensor is bad."""

    def make(name=KERNEL, value=np.nan, **options):
        weights = {n: np.array(x) for n, x in tiny.weights()}
        weights[name].flat[-1] = value
        write_release(tmp_path / "broken", tiny.config, tiny.vocab.raw, weights, **options)
        return tmp_path / "broken"

    return make


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, "bfloat16"])
def test_one_number_of_many_is_found(value, dtype):
    import ml_dtypes

    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    values = np.random.default_rng(0).normal(0, 1, (37, 41)).astype(dtype)
    assert is_sound(values)
    assert is_sound(values * 1e6)
    values[5, 6] = value
    assert not is_sound(values)


@pytest.mark.parametrize("value", BAD)
def test_load_names_the_tensor_and_tasks_refuse_it(broken, value, caplog):
    with caplog.at_level(logging.WARNING, "bert_tf"):
        bert = bert_tf.load(broken(value=value))
    assert [KERNEL in record.getMessage() for record in caplog.records] == [True]
    assert bert.report.unsound == (KERNEL,)
    with pytest.raises(bert_tf.BertError, match=f"{KERNEL}.*NaN"):
        bert_tf.FillMask(bert)("the [MASK]")
    with pytest.raises(bert_tf.BertError, match=f"{KERNEL}.*NaN"):
        list(bert_tf.NextSentence(bert).stream([("the", "man")], errors="yield"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_of_narrow_types_too(broken, dtype):
    assert bert_tf.load(broken(value=np.inf, dtype=dtype)).report.unsound == (KERNEL,)


def test_only_what_needs_the_tensor_is_refused(broken, tiny):
    """And nothing any more once other weights are in its place."""
    bert = bert_tf.load(broken(NSP))
    assert bert_tf.FillMask(bert)("the [MASK]").masks[0].guesses
    with pytest.raises(bert_tf.BertError, match=NSP):
        bert_tf.NextSentence(bert)("the", "man")
    bert.take_weights(tiny.pretraining_model())
    assert bert_tf.NextSentence(bert)("the", "man").probability > 0


def test_a_result_that_is_not_finite_is_an_error(tiny):
    """Of arrays nothing is known before they are used."""
    weights = {name: np.array(value) for name, value in tiny.weights()}
    weights["bert/pooler/dense/bias"][:] = np.nan
    bert = bert_tf.Bert.from_weights(tiny.config, tiny.vocab, weights)
    with pytest.raises(bert_tf.BertError, match="outputs are not finite"):
        bert_tf.NextSentence(bert)("the", "man")


def test_training_refuses_before_its_first_step(broken, tmp_path):
    path = broken()
    with pytest.raises(bert_tf.BertError, match=f"{KERNEL}.*NaN"):
        start_from_checkpoint(path, bert_tf.load(path).config)
    texts, labels = ["the man", "a dog"] * 4, ["a", "b"] * 4
    with pytest.raises(bert_tf.BertError, match=f"{KERNEL}.*NaN"):
        bert_tf.BertClassifier(path, epochs=1, max_seq_length=8).fit(texts, labels)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_at_the_command_line(broken, more, capsys):
    assert cli.main(["mask", "--checkpoint", str(broken()), *more, "a [MASK] b"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert KERNEL in err
    assert "Traceback" not in err


def test_the_reader_reads_it_all_the_same(broken):
    """Only what is computed with it is refused: it can be looked at, and mended."""
    with CheckpointReader(broken().joinpath("bert_model.ckpt")) as reader:
        out = np.empty(reader.info(KERNEL).shape, np.float32)
        reader.read_into(KERNEL, out)
        assert np.isnan(out).sum() == 1
        assert reader.unsound == {KERNEL}


def test_json_never_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        to_json({"probability": float("nan")})
    out = io.StringIO()
    log = TrainingLog(tmp_path, json_lines=out, events=False, json_file=True)
    log.add({"step": 1, "eval_pearson": float("nan")})
    log.add({"step": 2, "eval_pearson": 0.5})
    TrainingLog(tmp_path, events=False, json_file=True).start(2)
    for text in (out.getvalue(), (tmp_path / "log.jsonl").read_text()):
        assert [json.loads(line)["eval_pearson"] for line in text.splitlines()] == [None, 0.5]
        assert "NaN" not in text


# What is given, and what is said of it.
GIVEN = """
import json, sys
import numpy as np, bert_tf
bert = bert_tf.load(sys.argv[1])
zeros = np.zeros((2, 12), np.int32)
sevens = zeros + 7
cases = {
    "large": dict(token_input=sevens + 10**6), "next": dict(token_input=sevens * 0 + 1000),
    "negative": dict(token_input=sevens * 0 - 1), "segment": dict(seg_input=zeros + 2),
    "wide": dict(token_input=sevens.astype(np.int64) + 2**40),
    "long": dict(token_input=np.full((2, 65), 7), seg_input=np.zeros((2, 65), int)),
    "none": dict(token_input=sevens[:, :0], seg_input=zeros[:, :0]),
    "one": dict(token_input=sevens[0], seg_input=zeros[0]),
    "three": dict(token_input=sevens[None], seg_input=zeros[None]),
    "number": dict(token_input=np.array(7), seg_input=np.array(0)),
    "float": dict(token_input=sevens + 0.5), "whole float": dict(seg_input=zeros.astype(float)),
    "text": dict(token_input=sevens.astype(str)), "narrow": dict(seg_input=zeros[:, :5]),
    "fewer": dict(seg_input=zeros[:1]), "position": dict(position_input=zeros + 12),
    "before": dict(position_input=zeros - 1), "rows": dict(position_input=zeros[:1]),
    "token": dict(piece_input=zeros + 1000),
}
found = {}
sizes = dict(output="scores", max_predictions=None)
for kind, run in {
    "name": bert.predictor("mlm", **sizes), "model": bert.predictor(bert.mlm_model(**sizes)),
}.items():
    good = dict(token_input=sevens, seg_input=zeros, piece_input=sevens)
    good["position_input"] = zeros[:, :1]
    right = run(good)
    for name, case in cases.items():
        if {"token_input", "seg_input"} <= case.keys():
            rows = case["token_input"].shape[:1] or (1,)
            case = dict(case, position_input=zeros[:1].repeat(rows[0], 0)[:, :1])
            case["piece_input"] = case["position_input"]
        try:
            found[kind, name] = np.asarray(run({**good, **case})).tolist()
        except bert_tf.BertError as error:
            found[kind, name] = str(error)
    np.testing.assert_array_equal(run(good), right)
    for kind_of in (np.int8, np.int64, np.uint16):  # whole numbers of any kind are taken
        np.testing.assert_array_equal(run({n: x.astype(kind_of) for n, x in good.items()}), right)
assert all(isinstance(said, str) for said in found.values()), found
assert all(found["name", name] == found["model", name] for name in cases)
print(json.dumps({name: found["name", name] for name in cases}))
"""
SAID = {
    "large": "token_input has 1000007 to 1000007; it takes 0 to 999",
    "negative": "token_input has -1 to -1; it takes 0 to 999",
    "segment": "seg_input has 2 to 2; it takes 0 to 1",
    "long": "rows have 65 tokens; the model takes 1 to 64",
    "one": "token_input is an array of int32, [12]",
    "float": "token_input is an array of float64, [2, 12]",
    "narrow": "seg_input is an array of int32, [2, 5], and token_input is [2, 12]",
    "position": "position_input has 12 to 12; it takes 0 to 11",
}


@pytest.mark.slow
def test_inputs_out_of_range_are_refused_alike(tiny_ckpt, run_python):
    said = []
    for backend in ("tensorflow", "jax", "openvino"):
        if importlib.util.find_spec(backend) is not None:
            result = run_python("-c", GIVEN, tiny_ckpt, backend=backend)
            assert result.returncode == 0, result.stderr[-3000:]
            said.append(json.loads(result.stdout))
    assert all(one == said[0] for one in said)
    for name, start in SAID.items():
        assert said[0][name].startswith(start)


def test_a_mask_for_attention_is_0_or_1(tmp_path):
    bert = bert_tf.load(write_bert(tmp_path))
    run = bert.predictor("encoder", attention_mask=True)
    ids = np.full((1, 4), 7)
    inputs = {"token_input": ids, "seg_input": ids * 0, "attention_mask": ids * 0 + 2}
    with pytest.raises(bert_tf.BertError, match="attention_mask has 2 to 2; it takes 0 to 1"):
        run(inputs)
