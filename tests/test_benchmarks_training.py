"""The benchmark of training: its batches, what it compares, and a run of a tiny model."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def case():
    import training

    return dataclasses.asdict(training.QUICK[0])


def test_every_case_has_its_name_and_twice_the_dropout():
    import training

    names = [case.name for case in training.CASES]
    assert len(set(names)) == len(names) == 6
    assert [case.dropout for case in training.CASES] == [0, 0.1] * 3
    for case in training.CASES:
        assert case.masked == round(case.length / 5)
        assert case.config["hidden_size"] == 64 * case.config["num_attention_heads"]


def test_goals_name_contenders_and_cases_that_exist():
    import training

    names = {one.name for one in training.ALL}
    assert len(names) == len(training.ALL)
    goals = training.goals(training.CASES)
    assert len(goals) == len(training.CASES) * 4  # two backends, two precisions
    assert all({goal.own, goal.other} <= names for goal in goals)
    assert {goal.task for goal in goals} == {case.name for case in training.CASES}


def test_batches_are_whole_and_repeat(case):
    import training_engines

    first, again = (training_engines.make_batches(case) for _ in range(2))
    for batch, same in zip(first, again, strict=True):
        ids, positions = batch["token_input"], batch["position_input"]
        assert ids.shape == (2, 16)
        assert (ids > 0).all()
        assert positions.shape == (2, 3)
        assert (np.diff(positions) > 0).all()
        found = np.zeros(ids.shape, bool)
        np.put_along_axis(found, positions.astype(np.int64), True, axis=1)
        np.testing.assert_array_equal(ids == 3, found)
        assert (batch["masked_lm_ids"] > 3).all()
        for name, value in batch.items():
            np.testing.assert_array_equal(value, same[name])
    assert (first[0]["token_input"] != first[1]["token_input"]).any()


def test_who_trains_otherwise_is_found_out():
    import training
    from check import MismatchError

    losses = {
        "hugging_face-float32": [5.0, 4.0],
        "jax-float32": [5.0005, 4.0],
        "jax-bfloat16": [5.0, 4.02],
    }
    assert training.agree(losses, 0.0) == pytest.approx(0.02)
    for name, wrong in (
        ("jax-float32", [5.0, 4.02]),
        ("jax-bfloat16", [5.1, 4.0]),
        ("jax-bfloat16", [5.0, math.nan]),
    ):
        with pytest.raises(MismatchError, match=name):
            training.agree(losses | {name: wrong}, 0.0)
    # With dropout masks differ, yet not by anything.
    training.agree(losses | {"jax-float32": [5.1, 4.1]}, 0.1)
    with pytest.raises(MismatchError):
        training.agree(losses | {"jax-float32": [5.3, 4.0]}, 0.1)


def test_an_engine_trains_and_chooses(case, monkeypatch):
    import training_engines

    class Engine(training_engines.HuggingFace):
        def __init__(self):
            self.seen, self.used = [], []

        def prepare(self, batch):
            return int(batch["token_input"].sum())

        def step(self, batch):
            self.seen.append(batch)
            return float(len(self.seen))

        def use(self, attention):
            self.used.append(attention)

    engine = Engine()
    trainer = training_engines.Trainer(engine, case)
    assert training_engines.answer(trainer, {"do": "losses", "count": 2}) == {"losses": [1, 2]}
    assert engine.seen[0] == engine.seen[1]
    found = training_engines.answer(trainer, {"do": "train", "repeat": 3})
    assert len(found["seconds"]) == 3
    assert len(set(engine.seen[2:])) == 3
    # Eager attention takes 1, the other 2 seconds.
    monkeypatch.setattr(
        training_engines.worker, "timed", lambda *_: [{"eager": 1, "sdpa": 2}[engine.used[-1]]]
    )
    chosen = training_engines.answer(trainer, {"do": "choose", "repeat": 2})
    assert chosen == {"seconds": {"sdpa": 2, "eager": 1}}
    assert engine.used[-1] == "eager"
    assert training_engines.answer(trainer, {"do": "memory"})["bytes"] > 1e6
    with pytest.raises(ValueError, match="no such step"):
        training_engines.answer(trainer, {"do": "sing"})


def test_the_readme_has_its_place():
    import report
    import training

    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert text.count(training.MARKERS[0]) == text.count(training.MARKERS[1]) == 1
    assert report.BEGIN not in training.MARKERS


@pytest.mark.slow
def test_quick_run_writes_all_files(tmp_path, run_python):
    out = tmp_path / "out"
    result = run_python(BENCHMARKS / "training.py", "--quick", "--out", out, timeout=900)
    assert result.returncode == 0, result.stderr
    found = json.loads((out / "results-training.json").read_text(encoding="utf-8"))
    import training

    assert set(found["tasks"]) == {case.name for case in training.QUICK}
    for task in found["tasks"].values():
        for one in task["contenders"].values():
            assert 0 < one["min"] <= one["q1"] <= one["median"] <= one["q3"]
            assert one["rate"] > 0
        assert all(losses[-1] < losses[0] for losses in task["losses"].values())
    assert result.stdout.strip() in (out / "results-training.md").read_text(encoding="utf-8")
