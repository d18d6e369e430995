"""The compiled step and its parts: fused functions, losses, the gathered model; on JAX as well."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from test_training_optimizer import small_model
from training_runs import random_batches, tiny_config, tiny_training, twenty_losses

from bert_tf import models
from bert_tf.errors import BertError
from bert_tf.models import fused as fused_module
from bert_tf.models.fused import fused
from bert_tf.models.heads.pretraining import build_gathered_pretraining_model
from bert_tf.training.losses import SUMS, pretraining_loss
from bert_tf.training.pretraining.pretrain import metrics_of
from bert_tf.training.step import TrainingStep

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
INPUTS = ("token_input", "seg_input", "position_input")


ON_JAX = """
import json, sys
import bert_tf, keras
here, saved, report = sys.argv[1:]
optimizer = keras.saving.load_model(saved).optimizer
sys.path.insert(0, here)
import pytest
from training_runs import twenty_losses
with open(report, "w") as file:
    json.dump([type(optimizer).__name__, int(optimizer.iterations), twenty_losses()], file)
files = [f"{here}/test_training_{name}.py" for name in ("optimizer", "step")]
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={here}/..", *files]))
"""


@pytest.fixture(scope="module")
def on_jax(fresh_env, tmp_path_factory):
    """A process that does all this on JAX; and the file it reports in."""
    if not ON_TENSORFLOW or importlib.util.find_spec("jax") is None:
        yield None
        return
    folder = tmp_path_factory.mktemp("on_jax")
    model = small_model(keras.layers.Embedding(7, 3))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(8)
    model.save(folder / "saved.keras")
    report = folder / "report.json"
    process = subprocess.Popen(
        [sys.executable, "-c", ON_JAX, os.path.dirname(__file__), folder / "saved.keras", report],
        cwd=folder,
        env={**fresh_env, "KERAS_BACKEND": "jax"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    yield process, report
    process.kill()
    process.communicate()


def value_and_gradients(function, arguments):
    """The value, and the gradient of its sum, weighted 0, 1, 2 ..., for each float argument."""
    tensors = [ops.convert_to_tensor(x) for x in arguments]
    where = [
        i for i, x in enumerate(tensors) if "float" in keras.backend.standardize_dtype(x.dtype)
    ]

    def weighted(*floats):
        whole = list(tensors)
        for i, x in zip(where, floats, strict=True):
            whole[i] = x
        result = function(*whole)
        weights = ops.reshape(ops.arange(0, np.prod(result.shape), dtype="float32"), result.shape)
        return ops.sum(ops.cast(result, "float32") * weights), result

    floats = [tensors[i] for i in where]
    if ON_TENSORFLOW:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(floats)
            total, value = weighted(*floats)
        gradients = tape.gradient(total, floats)
    else:
        import jax

        gradient = jax.value_and_grad(weighted, argnums=tuple(range(len(floats))), has_aux=True)
        (_, value), gradients = gradient(*floats)
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in (value, *gradients)]
    return wide, [keras.backend.standardize_dtype(x.dtype) for x in (value, *gradients)]


def example(x, ids, y):
    """Something with a broadcast, an integer argument and a result in the type of `x`."""
    wide = ops.tanh(ops.cast(x, "float32")) * y
    chosen = ops.where(ids[:, None] > 2, wide, ops.square(wide))
    return ops.cast(chosen, x.dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fused_function_is_the_plain_one(dtype):
    """In bfloat16 within its rounding: 8 bits, twice 2^-8 for a rounding here and there."""
    rng = np.random.default_rng(0)
    x = ops.cast(rng.standard_normal((6, 5)).astype(np.float32), dtype)
    arguments = (x, np.arange(6, dtype=np.int32), rng.standard_normal(5).astype(np.float32))
    found, found_types = value_and_gradients(fused(example), arguments)
    wanted, wanted_types = value_and_gradients(example, arguments)
    assert found_types == wanted_types == [dtype, dtype, "float32"]
    tolerance = 1e-5 if dtype == "float32" else 2**-7
    for a, b in zip(found, wanted, strict=True):
        assert np.abs(b).max() > 0.5
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def test_fused_gives_several_results_where_nothing_is_differentiated():
    both = fused(lambda x, y: (x + y, x * y))(ops.convert_to_tensor([2.0]), keras.Variable([3.0]))
    assert [float(x[0]) for x in both] == [5, 6]


def test_fused_compiles_on_tensorflow_and_leaves_alone_on_jax():
    assert fused_module._pays() is ON_TENSORFLOW


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_without_dropout_training_computes_what_inference_does(dtype, tolerance):
    """Logits are of the order of 1 here; bfloat16 rounds some twenty times on the way to them."""
    layers, model, _ = tiny_training(dtype=dtype)
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:  # logits that are not all nearly equal
        noise = 0.2 * rng.standard_normal(variable.shape)
        variable.assign(ops.convert_to_numpy(variable) + noise)
    batch = random_batches(1, layers.config)[0]
    x = [batch[name] for name in INPUTS]
    for a, b in zip(model(x, training=True), model(x, training=False), strict=True):
        a, b = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (a, b))
        assert np.std(b) > 0.2
        np.testing.assert_allclose(a, b, atol=tolerance)


def test_the_gathered_model_is_the_whole_one_at_the_asked_positions(tmp_path):
    config = tiny_config(num_hidden_layers=2, initializer_range=0.3)
    layers = models.BertLayers(config, models.Heads(pooler=True, mlm=True, nsp=True))
    whole = models.build_pretraining_model(layers, logits=True)
    gathered = build_gathered_pretraining_model(layers)
    assert [x.name for x in gathered.inputs] == list(INPUTS)
    batch = random_batches(1, config)[0]
    asked = np.zeros_like(batch["token_input"])
    x = [batch[name] for name in INPUTS]
    mlm, nsp = whole.predict([*x[:2], asked], verbose=0)
    found = gathered.predict(x, verbose=0)
    wanted = np.take_along_axis(mlm, batch["position_input"][:, :, None], axis=1)
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)
    np.testing.assert_allclose(found[1], nsp, atol=1e-5)
    assert np.std(wanted) > 0.1
    gathered.save(tmp_path / "gathered.keras")
    again = keras.saving.load_model(tmp_path / "gathered.keras")
    for a, b in zip(again.predict(x, verbose=0), found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def losses_in_numpy(mlm, nsp, batch):
    """Sums as in `SUMS`, in float64."""

    def scores(logits, ids):
        logits = logits.astype(np.float64).reshape(len(ids), -1)
        log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log[np.arange(len(ids)), ids], logits.argmax(axis=1) == ids

    weights = batch["masked_lm_weights"].ravel()
    words, right = scores(mlm, batch["masked_lm_ids"].ravel())
    pairs, same = scores(nsp, batch["next_sentence_labels"])
    sums = (words @ weights, right @ weights, weights.sum(), pairs.sum(), same.sum(), len(pairs))
    return np.array(sums, float)


@pytest.fixture
def outputs():
    """A batch, and made-up logits of which some are right."""
    rng = np.random.default_rng(4)
    batch = random_batches(1, tiny_config())[0]
    mlm = (3 * rng.standard_normal((4, 3, 85))).astype(np.float32)
    nsp = rng.standard_normal((4, 2)).astype(np.float32)
    mlm[0, 1, batch["masked_lm_ids"][0, 1]] = 20
    mlm[1, 2, batch["masked_lm_ids"][1, 2]] = 20  # right, where the weight is 0
    return mlm, nsp, batch


def loss_of(mlm, nsp, batch):
    loss, sums = pretraining_loss([ops.convert_to_tensor(mlm), ops.convert_to_tensor(nsp)], batch)
    return float(loss), ops.convert_to_numpy(sums)


def test_losses_are_those_of_numpy(outputs):
    loss, sums = loss_of(*outputs)
    wanted = losses_in_numpy(*outputs)
    assert sums.shape == (len(SUMS),)
    assert sums.dtype == np.float32
    np.testing.assert_allclose(sums, wanted, rtol=1e-5)
    assert 1 <= wanted[1] < wanted[2] == 9
    assert loss == pytest.approx(wanted[0] / 9 + wanted[3] / 4, rel=1e-5)
    row = metrics_of(sums)
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    assert row["mlm_accuracy"] == pytest.approx(wanted[1] / 9)
    assert row["nsp_accuracy"] == pytest.approx(wanted[4] / 4)


def test_places_of_weight_0_count_for_nothing(outputs):
    mlm, nsp, batch = outputs
    other = mlm.copy()
    other[batch["masked_lm_weights"] == 0] = 1e4
    assert loss_of(other, nsp, batch)[0] == loss_of(mlm, nsp, batch)[0]


def test_a_batch_without_masked_words_has_the_loss_of_its_pairs(outputs):
    mlm, nsp, batch = outputs
    empty = {**batch, "masked_lm_weights": np.zeros((4, 3), np.float32)}
    loss, sums = loss_of(mlm, nsp, empty)
    assert sums[:3].tolist() == [0, 0, 0]
    assert loss == pytest.approx(sums[3] / 4)
    assert all(np.isfinite(value) for value in metrics_of(sums).values())
    (_, *gradients), _ = value_and_gradients(
        lambda a, b: ops.reshape(pretraining_loss([a, b], empty)[0], (1,)) + 0.0, (mlm, nsp)
    )
    assert not gradients[0].any()


def test_a_batch_of_nothing_has_the_loss_0():
    none = {
        "masked_lm_ids": np.zeros((0, 3), np.int32),
        "masked_lm_weights": np.zeros((0, 3), np.float32),
        "next_sentence_labels": np.zeros(0, np.int32),
    }
    loss, sums = loss_of(np.zeros((0, 3, 85), np.float32), np.zeros((0, 2), np.float32), none)
    assert loss == 0
    assert not sums.any()


def test_sync_and_reload_carry_the_state_both_ways():
    """Judging trains nothing; from the same weights and slots comes the same step."""
    _, model, step = tiny_training()
    batch = random_batches(1, tiny_config())[0]
    variables = [*model.trainable_variables, *step.optimizer.variables]

    def values():
        step.sync()
        return [ops.convert_to_numpy(x).copy() for x in variables]

    start = values()
    judged = np.asarray(step.evaluate(batch))
    for a, b in zip(values(), start, strict=True):
        np.testing.assert_array_equal(a, b)
    first, second = np.asarray(step(batch)), np.asarray(step(batch))
    np.testing.assert_allclose(judged, first, rtol=1e-5)
    assert second[0] < first[0] - 0.1
    trained = values()
    assert not any(np.array_equal(a, b) for a, b in zip(start, trained, strict=True) if a.ndim > 1)
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    step.reload()
    np.testing.assert_allclose(np.asarray(step(batch)), first, rtol=1e-6)
    step(batch)
    for a, b in zip(values(), trained, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_backend_that_cannot_train(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(BertError, match="runs on openvino, which cannot train; choose tensorflow"):
        TrainingStep(None, pretraining_loss, None)


@pytest.mark.slow
@pytest.mark.skipif(not ON_TENSORFLOW, reason="it is this process")
def test_jax_gives_the_same_losses_and_passes_these_tests(on_jax):
    """Twenty steps from the same start within 1e-4; and JAX loads what TensorFlow saved."""
    if on_jax is None:
        pytest.skip("JAX is not installed")
    process, report = on_jax
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, out[-3000:] + err[-2000:]
    name, iterations, theirs = json.loads(report.read_text())
    assert (name, iterations) == ("BertAdam", 8)
    ours = np.array(twenty_losses())
    assert ours[-1, 0] < ours[1, 0] - 5  # it learnt this batch
    counts = ours[:, [2, 5]]
    np.testing.assert_allclose(
        ours[:, [0, 3]] / counts, np.array(theirs)[:, [0, 3]] / counts, atol=1e-4
    )
