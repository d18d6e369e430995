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
