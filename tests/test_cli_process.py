"""The commands as users start them: in a process of their own, on every backend."""

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from processes import heed_ctrl_c

TEXT = "the [MASK] of the house."


@pytest.fixture
def start(fresh_env, tiny_ckpt, tmp_path):
    """Starts a command with pipes, for one JSON result a line, and leaves it running."""
    started = []

    def start_it(command):
        flags = ["--json", "--no-lower-case", "--checkpoint", tiny_ckpt]
        process = subprocess.Popen(
            [sys.executable, "-m", "bert_tf", command, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=fresh_env,
            encoding="utf-8",
            preexec_fn=heed_ctrl_c,
        )
        started.append(process)
        return process

    yield start_it
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "openvino"])
def test_both_scripts_answer_on_every_backend(backend, run_python, tiny_ckpt, request):
    if backend != "tensorflow":
        pytest.importorskip(backend)
    root = request.config.rootpath
    flags = ["--checkpoint", tiny_ckpt, "--backend", backend, "--json", "--do_lower_case=false"]
    results = []
    for script, texts in (("run_mask.py", [TEXT]), ("run_nsp.py", ["the house", "it is"])):
        result = run_python(root / script, *flags, *texts)
        assert result.stderr == ""
        assert result.returncode == 0
        results.append(json.loads(result.stdout))
    guesses = results[0]["masks"][0]["guesses"]
    assert guesses[0]["word"] == "à"
    assert guesses[0]["probability"] == pytest.approx(0.01683, abs=1e-4)
    assert results[1]["probability"] == pytest.approx(0.27758, abs=1e-4)


def test_warnings_go_to_stderr_and_results_to_stdout(run_python, tiny_ckpt):
    result = run_python("-m", "bert_tf", "nsp", "--checkpoint", tiny_ckpt, "the house", "it is")
    assert result.returncode == 0
    assert result.stdout.startswith("Sentence is okay: 28 %\nprobability that B follows A: 0.2776")
    assert len(result.stderr.splitlines()) == 1
    assert "--lower-case" in result.stderr


def test_a_folder_without_a_checkpoint_is_told_without_a_traceback(run_python, tmp_path):
    result = run_python("-m", "bert_tf", "mask", "--checkpoint", tmp_path, TEXT)
    assert result.returncode == 2
    assert result.stderr.startswith("bert_tf: error: ")
    assert "Traceback" not in result.stderr


# As Ctrl-C and a closed terminal do, while it waits for a line.
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGHUP])
def test_a_line_is_answered_before_the_next_one_comes(start, stop):
    process = start("mask")
    for text in (TEXT, "a [MASK]"):
        process.stdin.write(text + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == text
    process.send_signal(stop)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.strip() == ""


def test_a_reader_that_leaves_is_no_error(start):
    process = start("nsp")
    process.stdin.write("the house\tit is\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):  # it may have left already
        process.stdin.write("the house\tit is\n" * 100)
        process.stdin.flush()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""


def test_ctrl_c_during_imports_is_no_traceback(monkeypatch):
    from bert_tf.cli import main

    def import_module(name):
        raise KeyboardInterrupt

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(main.importlib, "import_module", import_module)
    monkeypatch.setattr(main.os, "_exit", leave)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["bert_tf", "list"])
    with pytest.raises(SystemExit) as stopped:
        main.run()
    assert stopped.value.code == 130


def test_a_full_standard_output_is_told(fresh_env):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "bert_tf", "list"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=fresh_env
        )
    assert done.returncode == 2
    assert done.stderr == "bert_tf: error: cannot write the results: No space left on device.\n"


@pytest.mark.parametrize(
    "start", [["run_mask.py"], ["-m", "bert_tf", "mask"], ["-c", "import bert_tf"]]
)
@pytest.mark.parametrize("have", [[], ["lazy_loader"]])
def test_without_the_requirements_a_sentence_says_how_to_install_them(
    start, have, request, tmp_path
):
    """Without site-packages (`-S`), or with the one module that `import bert_tf` needs."""
    for name in have:
        (tmp_path / name).symlink_to(pathlib.Path(importlib.util.find_spec(name).origin).parent)
    result = subprocess.run(
        [sys.executable, "-S", *start, *(["the [MASK]"] if start[0] != "-c" else [])],
        cwd=request.config.rootpath,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "BERT_TF_CHECKPOINT": "demo_multi_cased"},
        capture_output=True,
        text=True,
    )
    if start[0] == "-c":
        assert result.returncode == (0 if have else 1)
        assert have or "ImportError: the module lazy_loader is not installed" in result.stderr
    else:
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        assert "nstall" in result.stderr.splitlines()[-1]
    assert have or ("run make" in result.stderr and "run pip install" in result.stderr)
