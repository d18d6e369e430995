"""A fine-tuning that is killed again and again ends with the bits of one that was not.

Each run is a process of its own (`tiny_classifiers.py`), killed at moments that are given by what
it is about to do. The best weights and the patience left are part of what must survive.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_classifiers import Run, write_bert

import bert_tf
from bert_tf.checkpoint import CheckpointReader

SCRIPT = Path(__file__).with_name("tiny_classifiers.py")
KILLED = -signal.SIGKILL

# 40 rows in batches of 8: 5 steps an epoch, 40 in all, and an evaluation every 2 steps. With this
# rate all rows are said to be of one class for a while, so that patience runs out.
PLAN = {
    "mode": "full",
    "epochs": 8,
    "batch_size": 8,
    "learning_rate": 2e-2,
    "metric": "accuracy",
    "patience": 5,
    "evaluate_every": 2,
    "save_every": 3,
    "log_every": 1,
    "deterministic": True,
}

BREAKS = [
    # Amid the tensors of the second checkpoint.
    {"at": "add", "count": 300},
    # Before a step: what was trained since the last checkpoint is trained again.
    {"at": "step", "count": 3},
    # While an evaluation is due (steps go on from a multiple of 3): it is made up for.
    {"at": "step", "count": 5, "signal": "SIGTERM"},
    # Before a checkpoint gets its names.
    {"at": "replace", "count": 2},
]


def run_all(folder, env, backend, runs):
    specification = folder / f"{backend}.json"
    specification.write_text(json.dumps([run._asdict() for run in runs]))
    result = subprocess.run(
        [sys.executable, SCRIPT, specification],
        env={**env, "KERAS_BACKEND": backend},
        capture_output=True,
        encoding="utf-8",
        timeout=1800,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    ended = json.loads(result.stdout.splitlines()[-1])
    assert all(one["status"] in (0, KILLED) for one in ended), result.stderr[-3000:]
    return ended


def tensors(prefix):
    with CheckpointReader(prefix) as reader:
        return {name: np.array(reader.read(name)) for name in reader.tensors}


def assert_same(one, other):
    """The models, and all that the last checkpoints hold, to the last bit."""
    name = sorted(p.name for p in (one / "training").glob("*.index"))[-1].removesuffix(".index")
    for part in ("bert_model.ckpt", f"training/{name}"):
        a, b = tensors(one / part), tensors(other / part)
        assert list(a) == list(b)
        assert [n for n in a if a[n].tobytes() != b[n].tobytes()] == []
    state = f"training/{name}.training.json"
    assert json.loads((one / state).read_text()) == json.loads((other / state).read_text())
    assert any(n.startswith("best/") for n in tensors(one / "training" / name))
    return json.loads((one / state).read_text())


def rows(folder):
    """The last row of each step, without what a clock measured."""
    lines = Path(str(folder) + ".rows.jsonl").read_text().splitlines()
    found = {row.pop("step"): row for row in map(json.loads, lines)}
    return {
        step: {n: v for n, v in row.items() if "per_second" not in n} for step, row in found.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_bert(folder / "bert_uncased")
    return folder


@pytest.mark.slow
def test_killed_several_times_it_ends_the_same(folder, fresh_env):
    bert, whole, broken = (str(folder / name) for name in ("bert_uncased", "whole", "broken"))
    runs = [
        Run(bert, whole, PLAN),
        *(Run(bert, broken, PLAN, **where) for where in BREAKS),
        Run(bert, broken, PLAN),
        Run(bert, broken, PLAN),
    ]
    unbroken, *others, last, again = run_all(folder, fresh_env, "tensorflow", runs)
    assert unbroken["status"] == 0
    assert unbroken["stopped"]
    # Five evaluations after the best, and before the 40 steps were over.
    assert 0 < unbroken["best"] == unbroken["step"] - 10 < 28
    assert [one["status"] for one in others] == [KILLED, KILLED, 0, KILLED]
    assert others[2]["interrupted"]
    assert {n: last[n] for n in ("step", "best", "stopped")} == {
        n: unbroken[n] for n in ("step", "best", "stopped")
    }
    assert last["resumed"]
    assert again["step"] == last["step"]
    assert_same(folder / "whole", folder / "broken")
    assert rows(whole) == rows(broken)
    results = [
        bert_tf.Classify(bert_tf.load(one))("w1 w5 w8").probability for one in (whole, broken)
    ]
    assert results[0] == results[1]


@pytest.mark.slow
def test_on_jax_too(folder, fresh_env):
    pytest.importorskip("jax")
    bert, whole, broken = (str(folder / name) for name in ("bert_uncased", "jax", "jax_broken"))
    plan = {**PLAN, "mode": "last:1", "accumulation": 2}
    runs = [
        Run(bert, whole, plan),
        Run(bert, broken, plan, at="step", count=6),
        Run(bert, broken, plan),
    ]
    unbroken, killed, last = run_all(folder, fresh_env, "jax", runs)
    assert killed["status"] == KILLED
    assert last["resumed"]
    assert (last["step"], last["best"]) == (unbroken["step"], unbroken["best"])
    assert_same(folder / "jax", folder / "jax_broken")
    # And it is told the same on this backend as the metrics were there.
    assert os.path.exists(folder / "jax" / "classifier.json")
    assert bert_tf.Classify(bert_tf.load(whole))("w1").label in ("no", "yes")
