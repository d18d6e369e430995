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

LONG = (
    *("test_training_distribution.py", "test_training_resume.py", "test_backends.py"),
    *("test_training_finetuning_resume.py", "test_training_step.py", "test_runtime.py"),
    *("test_models_keras.py", "test_cli_classifier.py", "test_tasks_estimator.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no process of several idles at the end."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder with the original code's outputs."""
    return GOLDEN


@pytest.fixture(scope="session")
def tiny_ckpt() -> pathlib.Path:
    """The folder of the tiny checkpoint."""
    return GOLDEN / "tiny_ckpt"


@pytest.fixture(scope="session")
def fresh_env() -> dict[str, str]:
    """The environment of a user who has set nothing, with the checkout on Python's path."""
    ours = ("TF_CPP", "BERT_TF", "KERAS_BACKEND")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**env, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="session")
def run_python(fresh_env, tmp_path_factory):
    """Runs Python in a fresh process, far from the checkout, with a backend if one is named.

    The result has `stdout`, `stderr` (both text) and `returncode`.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments, backend=None, stdin="", timeout=120, **environment):
        if backend is not None:
            environment["KERAS_BACKEND"] = backend
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=elsewhere,
            encoding="utf-8",
            env={**fresh_env, **environment},
            timeout=timeout,
            check=False,
        )

    return run
