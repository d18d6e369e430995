"""The golden outputs and both jobs again on JAX and on OpenVINO, each in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("test_models_golden.py", "test_tasks.py")


def run(backend, *command):
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(
        [sys.executable, *command], env=env, cwd=HERE, capture_output=True, text=True, check=False
    )


@pytest.fixture(params=["jax", "openvino"])
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


def test_golden_outputs_and_jobs(backend):
    files = [str(HERE / name) for name in FILES]
    result = run(backend, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
    assert "skipped" not in result.stdout


def test_tensorflow_is_not_imported(backend):
    """Not by loading, both jobs, nor the keras-hub backbone, although keras-hub requires it."""
    code = """
import sys, bert_tf
bert = bert_tf.load("golden/tiny_ckpt")
bert_tf.FillMask(bert)("the [MASK]")
bert_tf.NextSentence(bert)("the man", "a dog")
bert.encoder
loaded = [name for name in ("tensorflow", "tensorflow_text") if name in sys.modules]
assert "keras_hub" in sys.modules and not loaded, loaded
"""
    result = run(backend, "-c", code)
    assert result.returncode == 0, result.stderr[-2000:]


def test_that_keras_narrows_on_openvino_is_said_once(backend):
    code = """
import sys, bert_tf
bert = bert_tf.load("golden/tiny_ckpt", lower_case=True)
bert_tf.FillMask(bert)("the [MASK]")
print("handed out", file=sys.stderr, flush=True)
bert.encoder, bert.encoder_model(), bert.nsp_model()
"""
    result = run(backend, "-c", code)
    assert result.returncode == 0, result.stderr[-2000:]
    before, _, after = result.stderr.partition("handed out")
    assert "bfloat16" not in before
    assert after.count("computes in bfloat16") == (backend == "openvino")


def test_the_mask_is_heeded_on_a_tpu():
    """Keras's kernel for TPUs ignores the bias, assumes a causal mask and does not scale.

    Simulated: JAX says that it runs on a TPU, and the kernel runs in interpret mode. It takes
    lengths that are multiples of 128.
    """
    pytest.importorskip("jax")
    code = """
import functools, types, jax, numpy as np
from keras.src.backend.jax import nn
from bert_tf.config import BertConfig
from bert_tf.models.builders import build_encoder
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
model = build_encoder(BertConfig(vocab_size=99, initializer_range=0.5, **sizes))
ids = np.random.default_rng(0).integers(1, 99, (2, 128))
ids[1, 50:] = 0
hidden = lambda: np.array(model([ids, 0 * ids])["sequence_output"])
wanted = hidden()
jax.devices = lambda *kind: [types.SimpleNamespace(platform="tpu")]
kernels = nn.splash_attention_kernel
kernels.make_splash_mha = functools.partial(kernels.make_splash_mha, interpret=True)
assert nn._can_use_flash_attention(None, None, None, None)  # the simulation works
np.testing.assert_array_equal(hidden(), wanted)
"""
    result = run("jax", "-c", code)
    assert result.returncode == 0, result.stderr[-2000:]
