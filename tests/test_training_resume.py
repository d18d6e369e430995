"""A pretraining that is killed again and again ends with the bits of one that was not.

Each run is a process of its own (`training_runs.py`). Moments are given by what the process is
about to do, so that the tests need no clock; the long ones, at random times, are marked slow.
"""

import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from training_runs import Ended, Run, tiny_config

import bert_tf
from bert_tf.heads import weights_of
from bert_tf.training.pretraining.spectral import PARTS, random_start

SCRIPT = Path(__file__).with_name("training_runs.py")
KILLED = -signal.SIGKILL
TERMINATED = -signal.SIGTERM
"""How a process ends that gets a SIGTERM before its training has begun: nothing is to be saved."""

BREAKS = [
    # Config and vocabulary have got their names, data and state of step 4 too: the index has not.
    # The next start gives it its name.
    {"at": "replace", "count": 5},
    # The sixth step is ended and saved.
    {"at": "step", "count": 2, "signal": "SIGTERM"},
    # Step 8 is saved; of the old checkpoint, of step 4, the index is gone.
    {"at": "remove", "count": 2},
]


class Started:
    """A process of `training_runs.py`; what came of its runs is waited for when it is needed."""

    def __init__(self, folder, env, backend, runs):
        specification = folder / f"{backend}.json"
        specification.write_text(json.dumps(runs))
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT, specification],
            env={**env, "KERAS_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._ended = None

    def ended(self) -> list[Ended]:
        if self._ended is None:
            out, err = self._process.communicate(timeout=3600)
            assert self._process.returncode == 0, err[-3000:]
            self._ended = [Ended(*x) for x in json.loads(out.splitlines()[-1])]
            statuses = {x.status for x in self._ended}
            assert statuses <= {0, KILLED, TERMINATED}, f"{statuses} {err[-3000:]}"
        return self._ended


def run(folder, **changes):
    return Run(str(folder), **changes)._asdict()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def on_tensorflow(folders, fresh_env):
    """An unbroken run, one that is broken several times, and one beyond its end."""
    broken = folders / "broken"
    runs = [run(folders / "whole"), *(run(broken, **where) for where in BREAKS), run(broken)]
    return Started(folders, fresh_env, "tensorflow", runs)


@pytest.fixture(scope="module")
def on_jax(folders, fresh_env, on_tensorflow):
    """Likewise, with one kill; started at once, so that both run at the same time."""
    pytest.importorskip("jax")
    broken = folders / "jax_broken"
    runs = [run(folders / "jax_whole"), run(broken, at="step", count=7), run(broken)]
    return Started(folders, fresh_env, "jax", runs)


def files_of(folder):
    return sorted(p.name for p in folder.iterdir() if p.is_file())


def rows(folder):
    """The last row of each step, without what a clock measured."""
    lines = (folder / "rows.jsonl").read_text().splitlines()
    found = {row.pop("step"): row for row in map(json.loads, lines)}
    for row in found.values():
        assert row.pop("pieces_per_second") > 0
        assert row.pop("steps_per_second") > 0
    return found


def assert_same(one, other):
    """All files of two output folders are equal to the last bit, and the log but for the clock."""
    names = [name for name in files_of(one) if name != "rows.jsonl"]
    assert [name for name in files_of(other) if name != "rows.jsonl"] == names
    assert "release" in os.listdir(one)
    names += [f"release/{name}" for name in files_of(one / "release")]
    _, wrong, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    assert not wrong
    assert not missing
    assert rows(one) == rows(other)


@pytest.mark.usefixtures("on_jax")
def test_killed_several_times_and_amid_writing_it_ends_the_same(on_tensorflow, folders):
    whole, *broken = on_tensorflow.ended()
    assert whole == Ended(0, [14, str(folders / "whole/model.ckpt-14"), False], None, [])
    assert [x.status for x in broken] == [KILLED, 0, KILLED, 0]
    assert [x.resumed for x in broken[1::2]] == [[4], [8]]
    assert broken[1].outcome == [6, str(folders / "broken/model.ckpt-6"), True]
    assert broken[-1].outcome == [14, str(folders / "broken/model.ckpt-14"), False]
    assert_same(folders / "whole", folders / "broken")


def test_on_jax_too(on_jax, folders):
    whole, killed, last = on_jax.ended()
    assert [whole.status, killed.status, last.status] == [0, KILLED, 0]
    assert last.resumed == [4]
    assert_same(folders / "jax_whole", folders / "jax_broken")


def test_what_is_left_and_what_is_not(on_tensorflow, folders):
    """Two checkpoints of three files, and the log's rows at 3, 6, 9, 12 and the end."""
    on_tensorflow.ended()
    for name in ("whole", "broken"):
        parts = ("data-00000-of-00001", "index", "training.json")
        checkpoints = [f"model.ckpt-{step}.{part}" for step in (12, 14) for part in parts]
        assert files_of(folders / name) == sorted(
            [*checkpoints, "bert_config.json", "checkpoint", "rows.jsonl", "vocab.txt"]
        )
        assert list(rows(folders / name)) == [3, 6, 9, 12, 14]
    state = json.loads((folders / "whole/model.ckpt-14.training.json").read_text())
    assert state["state"]["stream"]["batch"] == 14
    # Dropout after the embeddings, on the probabilities and before two sums: without them equal
    # bits would prove less.
    assert len(state["random"]) == 4
    assert len({str(x) for x in state["random"]}) == 4
    before = json.loads((folders / "whole/model.ckpt-12.training.json").read_text())
    assert before["random"] != state["random"]


def test_tensorflow_reads_the_checkpoint(on_tensorflow, folders):
    on_tensorflow.ended()
    prefix = tf.train.latest_checkpoint(str(folders / "whole"))
    assert prefix == str(folders / "whole/model.ckpt-14")
    reader = tf.train.load_checkpoint(prefix)
    shapes = {weight.original: list(weight.shape) for weight in weights_of(tiny_config(), PARTS)}
    for slot in ("/adam_m", "/adam_v"):
        shapes |= {name + slot: shape for name, shape in shapes.items() if "/adam_" not in name}
    assert reader.get_variable_to_shape_map() == {**shapes, "global_step": []}
    assert reader.get_tensor("global_step") == 14
    assert reader.get_variable_to_dtype_map()["global_step"] == tf.int64
    start = random_start(tiny_config(), 1)
    for name, shape in shapes.items():
        value = reader.get_tensor(name)
        assert value.dtype == np.float32
        assert value.shape == tuple(shape)
        if name in start and value.ndim == 2:
            # Fourteen steps of at most 0.01 in each number, or little more: m / sqrt(v) is not
            # corrected, so that it may reach 0.1 / sqrt(0.001) = 3.2 at the beginning.
            assert 0.001 < np.abs(value - start[name]).max() < 14 * 0.01 * 3.5
        if name.endswith("/adam_v"):
            assert (value >= 0).all()
            assert value.any()


def test_the_loader_reads_folder_and_release(on_tensorflow, folders):
    on_tensorflow.ended()
    reader = tf.train.load_checkpoint(str(folders / "whole/model.ckpt-14"))
    table = reader.get_tensor("bert/embeddings/word_embeddings")
    output = reader.get_tensor("cls/seq_relationship/output_weights")
    for folder in (folders / "whole", folders / "whole/release"):
        bert = bert_tf.load(folder)
        layers = {layer.name: layer for layer in bert.pretraining_model().layers}
        np.testing.assert_array_equal(layers["token_embedding"].embeddings.numpy(), table)
        np.testing.assert_array_equal(layers["nsp_logits"].kernel.numpy(), output.T)
    names = {
        name for name, _ in tf.train.list_variables(str(folders / "whole/release/bert_model.ckpt"))
    }
    assert names == {weight.original for weight in weights_of(tiny_config(), PARTS)}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_storm_of_kills(backend, fresh_env, tmp_path):
    """Up to forty of them: at random times, and before random tensors, renames and removals."""
    pytest.importorskip(backend)
    rng = random.Random(backend)
    plan = {"steps": 400, "save_every": 7, "log_every": 9, "warmup_steps": 20}
    runs = [run(tmp_path / "whole", plan=plan)]
    for _ in range(20):
        signals = {"signal": rng.choice(["SIGKILL", "SIGKILL", "SIGTERM"])}
        seconds = rng.random() ** 2
        runs.append(run(tmp_path / "broken", at="seconds", count=seconds, plan=plan, **signals))
        at, most = rng.choice([("add", 200), ("replace", 15), ("remove", 8), ("step", 20)])
        count = rng.randrange(1, most)
        runs.append(run(tmp_path / "broken", at=at, count=count, plan=plan, **signals))
    runs.append(run(tmp_path / "broken", plan=plan))
    ended = Started(tmp_path, fresh_env, backend, runs).ended()
    assert sum(x.status == KILLED for x in ended) > 4  # the faster the machine, the fewer
    assert ended[-1].outcome == [400, str(tmp_path / "broken/model.ckpt-400"), False]
    assert_same(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_more_steps_lengthen_a_run_that_is_over(on_tensorflow, folders, fresh_env, tmp_path):
    on_tensorflow.ended()
    shutil.copytree(folders / "whole", tmp_path / "longer")
    runs = [
        run(tmp_path / "longer"),
        run(tmp_path / "longer", plan={"steps": 5}),
        run(tmp_path / "longer", plan={"steps": 17}),
    ]
    over, beyond, longer = Started(tmp_path, fresh_env, "tensorflow", runs).ended()
    assert over.outcome[::2] == beyond.outcome[::2] == [14, False]
    assert longer.outcome[::2] == [17, False]
    assert [x.resumed for x in (over, beyond, longer)] == [[14]] * 3
    assert list(rows(tmp_path / "longer")) == [3, 6, 9, 12, 14, 15, 17]
