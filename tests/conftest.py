"""Fixtures that several test files share."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any test imports TensorFlow

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder with the original code's outputs."""
    return GOLDEN


@pytest.fixture(scope="session")
def tiny_ckpt() -> pathlib.Path:
    """The folder of the tiny checkpoint."""
    return GOLDEN / "tiny_ckpt"


@pytest.fixture(scope="session")
def run_python(tmp_path_factory):
    """Runs Python in a fresh process, far from the checkout, with a backend if one is named.

    The result has `stdout`, `stderr` (both text) and `returncode`.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments, backend=None, stdin="", timeout=120, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TF_CPP", "BERT_TF"))}
        env.pop("KERAS_BACKEND", None)
        if backend is not None:
            env["KERAS_BACKEND"] = backend
        env.update(PYTHONPATH=str(ROOT), PYTHONIOENCODING="utf-8", **environment)
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=elsewhere,
            encoding="utf-8",
            env=env,
            timeout=timeout,
            check=False,
        )

    return run
