"""Choosing the backend, and what is kept off the screen."""

import io

import pytest

from bert_tf import backend
from bert_tf.errors import BertError

NOISE = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1795249311.289460    5957 port.cc:153] oneDNN custom operations are on.\n",
    b"I0000 00:00:1795249311.364311    5957 cpu_feature_guard.cc:227] This TensorFlow binary\n",
    b"To enable the following instructions: AVX2 AVX512F FMA, in other operations, rebuild\n",
    b"E0000 00:00:1795249313.707930    5957 cuda_platform.cc:52] failed call to cuInit: INTERNAL\n",
    b"W1121 08:30:01.123456    5957 gpu_device.cc:2341] Cannot dlopen some GPU libraries.\n",
]
SIGNAL = [
    b"Traceback (most recent call last):\n",
    b"ValueError: I0000 is not a number\n",
    b"E0000 00:00:1795249313.707930    5957 bfc_allocator.cc:52] out of memory\n",
    b"F0000 00:00:1795249313.707930    5957 tensor.cc:852] Check failed\n",
    b"Fatal Python error: Segmentation fault\n",
    b"In the beginning\n",
    b"no newline at the end",
]


def test_only_noise_is_hidden():
    screen = io.BytesIO()
    lines = [line for pair in zip(NOISE, SIGNAL) for line in pair] + SIGNAL[len(NOISE) :]
    backend.pass_on(lines, screen)
    assert screen.getvalue() == b"".join(SIGNAL)


def test_the_filter_outlives_a_crash_and_keeps_python_errors(run_python):
    code = (
        "import os, sys\n"
        "from bert_tf.backend import silence\n"
        "silence()\n"
        "os.write(2, b'I0000 00:00:1.2  34 port.cc:1] noise\\n')\n"
        "print('a warning', file=sys.stderr)\n"
        "os.write(2, b'last words')\n"
        "os.abort()\n"
    )
    result = run_python("-c", code)
    assert result.returncode < 0
    assert "a warning\n" in result.stderr
    assert "last words" in result.stderr
    assert "noise" not in result.stderr


def test_whoever_asks_for_log_lines_gets_them(run_python):
    code = (
        "import os\n"
        "from bert_tf.backend import silence\n"
        "silence()\n"
        "os.write(2, b'I0000 00:00:1.2  34 port.cc:1] wanted\\n')\n"
    )
    assert "wanted" in run_python("-c", code, TF_CPP_MIN_LOG_LEVEL="0").stderr


@pytest.mark.parametrize(
    ("asked", "environment", "chosen"),
    [
        (None, None, "tensorflow"),
        (None, "jax", "jax"),
        ("openvino", "jax", "openvino"),
    ],
)
def test_the_argument_wins_over_the_environment(run_python, asked, environment, chosen):
    code = (
        "import os, importlib.util\n"
        "from bert_tf.backend import choose_backend\n"
        "importlib.util.find_spec = lambda name: True\n"
        f"print(choose_backend({asked!r}), os.environ['KERAS_BACKEND'])\n"
    )
    assert run_python("-c", code, backend=environment).stdout.split() == [chosen, chosen]


def test_an_unknown_backend_is_named():
    with pytest.raises(BertError, match=r"the backend is 'torch'; .*tensorflow, jax, openvino"):
        backend.choose_backend("torch")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.delitem(backend.sys.modules, "keras", raising=False)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BertError, match=r"pip install 'bert_tf\[jax\]'"):
        backend.choose_backend("jax")


def test_keras_on_another_backend_is_an_error(monkeypatch):
    import keras

    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    with pytest.raises(BertError, match="already"):
        backend.choose_backend(other)
