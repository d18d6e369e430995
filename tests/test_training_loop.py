"""The loop and its checkpoints: rows, signals, errors and what lies on the disk afterwards.

Nothing is trained here: a step adds 1 to a weight, and batch i has the loss i.
"""

import errno
import json
import math
import os
import signal
import threading

import keras
import numpy as np
import pytest
from training_runs import tiny_config

from bert_tf.checkpoint import CheckpointWriter, write_checkpoint
from bert_tf.errors import BertError
from bert_tf.models import BertLayers, Heads
from bert_tf.models.heads.pretraining import build_gathered_pretraining_model
from bert_tf.models.weights import saved_weights
from bert_tf.training.checkpoints import TrainingCheckpoints
from bert_tf.training.distribution import Distribution
from bert_tf.training.loop import Hooks, Rhythm, run_training
from bert_tf.training.optimizer import BertAdam


class Model:
    """A tiny model with random weights and slots, and an optimizer that is built."""

    def __init__(self, seed=0, **changes):
        self.layers = BertLayers(
            tiny_config(**({"intermediate_size": 32} | changes)),
            Heads(pooler=True, mlm=True, nsp=True),
        )
        self.layers.build()
        self.model = build_gathered_pretraining_model(self.layers)
        self.optimizer = BertAdam(0.1)
        self.optimizer.build(self.model.trainable_variables)
        rng = np.random.default_rng(seed)
        for variable in self.variables():
            if variable.dtype == "float32" and len(variable.shape):  # not the learning rate
                variable.assign(rng.standard_normal(variable.shape).astype(np.float32))

    def variables(self):
        return [*self.model.variables, *self.optimizer.variables]

    def values(self):
        return [keras.ops.convert_to_numpy(variable).copy() for variable in self.variables()]

    def checkpoints(self, folder, keep=2):
        weights = saved_weights(self.layers)
        return TrainingCheckpoints(folder, weights, self.model, self.optimizer, keep)


class Step:
    """Adds 1 to the bias of the next sentence; reports the batch's loss and a count of 1."""

    distribution = Distribution()

    def __init__(self, model, before=lambda number: None):
        self.bias = model.layers.nsp_dense.bias
        self.before = before
        self.steps = []

    def __call__(self, batch):
        number = int(batch["number"][0])
        self.before(number)
        self.steps.append(number)
        self.bias.assign_add([1.0, 1.0])
        return np.array([batch["loss"][0], 1.0], np.float32)

    def sync(self):
        pass

    def reload(self):
        pass


class Stream:
    """Batches numbered from 1, with the number as loss unless there is another."""

    def __init__(self, losses=None, error_at=None):
        self.taken = 0
        self.losses = losses or {}
        self.error_at = error_at

    def next_batch(self):
        self.taken += 1
        if self.taken == self.error_at:
            raise OSError("the corpus went away")
        loss = self.losses.get(self.taken, self.taken)
        return {
            "number": np.array([self.taken]),
            "loss": np.array([loss], np.float64),
            "token_input": np.ones((2, 3), np.int32),
        }

    def state(self):
        return {"taken": self.taken}

    def restore(self, state):
        self.taken = state["taken"]


@pytest.fixture(scope="module")
def shared():
    """One model for tests that do not look at its weights: making one takes its time."""
    return Model()


@pytest.fixture
def train(shared, tmp_path):
    """Trains in a folder; gives the outcome, and keeps rows and steps."""

    class Trainer:
        folder = tmp_path / "out"

        def __call__(self, rhythm, stream=None, *, before=lambda n: None, model=shared, **hooks):
            self.rows, self.resumed = [], []
            self.step = Step(model, before)
            keep = hooks.pop("keep", 2)
            return run_training(
                self.step,
                stream or Stream(),
                model.checkpoints(self.folder, keep),
                rhythm,
                Hooks(
                    lambda sums: {"loss": float(sums[0] / sums[1])},
                    self.rows.append,
                    on_resume=self.resumed.append,
                    **hooks,
                ),
                progress=False,
            )

        def losses(self):
            return [(row["step"], row["loss"]) for row in self.rows]

    return Trainer()


def listing(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def signal_at(number, signum=signal.SIGTERM):
    def before(step):
        if step == number:
            signal.raise_signal(signum)

    return before


@pytest.fixture
def handled():
    """A handler of each signal as an application may have; gives what it was told."""
    told = []
    old = {}
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        old[number] = signal.signal(number, lambda n, frame: told.append(n))
    yield told
    for number, handler in old.items():
        signal.signal(number, handler)


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


WHOLE = [(4, 2.5), (8, 6.5), (10, 9.5)]
"""Means of 1 to 4, 5 to 8 and 9 to 10."""


def test_rows_are_means_over_their_windows(train):
    outcome = train(Rhythm(total=10, save=3, log=4))
    assert train.losses() == WHOLE
    assert outcome == (10, str(train.folder / "model.ckpt-10"), False)
    assert train.step.steps == list(range(1, 11))
    assert train.resumed == []
    assert not threads()
    assert sorted(listing(train.folder)) == [
        "checkpoint",
        *(
            f"model.ckpt-{step}.{part}"
            for step in (10, 9)
            for part in ("data-00000-of-00001", "index", "training.json")
        ),
    ]
    assert (train.folder / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "model.ckpt-10"',
        'all_model_checkpoint_paths: "model.ckpt-9"',
        'all_model_checkpoint_paths: "model.ckpt-10"',
    ]


def test_an_evaluation_is_a_row_whenever_it_is_due(train):
    """Rows every 4 steps and judgements every 3: windows 1-3, 4, 5-6, 7-8, 9 and 10."""
    train(Rhythm(total=10, save=99, log=4, evaluate=3), evaluate=lambda: {"loss": 0.5})
    assert train.losses() == [(3, 2), (4, 4), (6, 5.5), (8, 7.5), (9, 9), (10, 10)]
    assert [row["step"] for row in train.rows if row.get("eval_loss") == 0.5] == [3, 6, 9, 10]


def test_without_a_rhythm_of_its_own_it_is_judged_at_the_end(train):
    train(Rhythm(total=10, save=99, log=4), evaluate=lambda: {"loss": 0.5})
    assert train.losses() == WHOLE
    assert [row["step"] for row in train.rows if "eval_loss" in row] == [10]


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8, 9])
def test_a_signal_ends_and_saves_and_the_next_start_goes_on(train, stop):
    first = train(Rhythm(total=10, save=3, log=4), before=signal_at(stop))
    assert first == (stop, str(train.folder / f"model.ckpt-{stop}"), True)
    rows, steps = train.losses(), train.step.steps
    assert steps == list(range(1, stop + 1))
    assert not threads()
    second = train(Rhythm(total=10, save=3, log=4))
    assert second.step == 10
    assert not second.interrupted
    assert train.resumed == [stop]
    assert steps + train.step.steps == list(range(1, 11))
    assert rows + train.losses() == WHOLE


def test_a_signal_at_the_last_step_changes_nothing(train, handled):
    assert not train(Rhythm(total=10, save=3, log=4), before=signal_at(10)).interrupted
    assert train.losses() == WHOLE
    assert handled == []


def test_no_evaluation_is_begun_after_a_signal(train, handled):
    train(Rhythm(10, 99, 99, 5), evaluate=lambda: 1 / 0, before=signal_at(5))
    assert train.rows == []
    assert handled == []


@pytest.mark.usefixtures("handled")
def test_an_evaluation_that_a_signal_prevented_is_made_up_for(train):
    """Means of 1 and 2, 3 and 4, ...: the same rows as without a signal, only later."""
    evaluate = lambda: {"loss": 0.5}  # noqa: E731
    rhythm = Rhythm(total=10, save=99, log=2, evaluate=4)
    assert train(rhythm, evaluate=evaluate, before=signal_at(4)).interrupted
    assert train.losses() == [(2, 1.5)]
    assert train(rhythm, evaluate=evaluate, before=signal_at(10)) == (
        10,
        str(train.folder / "model.ckpt-10"),
        True,
    )
    assert train.losses() == [(4, 3.5), (6, 5.5), (8, 7.5)]
    assert [row["step"] for row in train.rows if "eval_loss" in row] == [4, 8]
    assert not train(rhythm, evaluate=evaluate).interrupted
    assert train.losses() == [(10, 9.5)]
    assert train.rows[0]["eval_loss"] == 0.5
    assert train.step.steps == []
    assert not train(rhythm, evaluate=evaluate).interrupted
    assert train.rows == []


def test_a_hook_ends_it_after_an_evaluation_and_for_good(train):
    judged = []
    hooks = {
        "evaluate": lambda: judged.append(0) or {"loss": 0.5},
        "should_stop": lambda: len(judged) >= 2,
    }
    for steps in (list(range(1, 7)), []):
        assert train(Rhythm(20, save=99, evaluate=3), **hooks) == (
            6,
            str(train.folder / "model.ckpt-6"),
            False,
        )
        assert train.step.steps == steps
    assert len(judged) == 2


def test_what_the_caller_remembers_is_saved_with_each_checkpoint(train):
    memory = {"best": [0.5, None], "waited": 3}
    told = []
    train(Rhythm(3), remember=lambda: memory)
    train(Rhythm(5), recall=told.append)
    assert told == [memory]

    def refuse(memory):
        raise BertError("it was begun with other settings")

    with pytest.raises(BertError, match=r"model.ckpt-5 cannot be continued from: it was begun"):
        train(Rhythm(7), recall=refuse)
    with pytest.raises(BertError, match=r"model.ckpt-5 cannot be continued.*damaged"):
        train(Rhythm(7), recall=lambda memory: memory["best"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_goes_where_it_went_before(train, handled, number):
    def twice(step):
        if step == 5:
            signal.raise_signal(number)
            assert handled == []
            signal.raise_signal(number)

    assert train(Rhythm(10), before=twice).step == 5
    assert handled == [number]
    signal.raise_signal(number)
    assert handled == [number] * 2


def test_a_second_ctrl_c_stops_at_once_without_saving(train):
    def twice(step):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Rhythm(10, save=3), before=twice)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert not threads()
    assert train(Rhythm(10, save=3)).step == 10
    assert train.resumed == [3]


def test_ignored_signals_stay_ignored(train):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert train(Rhythm(4), before=signal_at(2, signal.SIGINT)) == (
            4,
            str(train.folder / "model.ckpt-4"),
            False,
        )
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_it_trains_without_signals(train):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(train(Rhythm(4))))
    thread.start()
    thread.join()
    assert outcomes[0].step == 4


def test_an_error_of_the_stream_is_handed_on(train):
    """Three batches are trained, one saved; the fourth cannot be made."""
    term = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError, match="the corpus went away"):
        train(Rhythm(10, save=2), Stream(error_at=4))
    assert train.step.steps == [1, 2, 3]
    assert not threads()
    assert signal.getsignal(signal.SIGTERM) is term
    assert train(Rhythm(10, save=2)).step == 10
    assert train.resumed == [2]


def test_what_is_over_is_not_trained_again(train):
    train(Rhythm(10, save=3, log=4))
    before = listing(train.folder)
    for total in (10, 7):
        outcome = train(Rhythm(total, save=3, log=4))
        assert outcome == (10, str(train.folder / "model.ckpt-10"), False)
        assert (train.rows, train.step.steps) == ([], [])
        assert listing(train.folder) == before
    assert train(Rhythm(12, save=3, log=4)).step == 12
    assert train.step.steps == [11, 12]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_saves_nothing(train, bad):
    train(Rhythm(6, save=3))
    before = listing(train.folder)
    with pytest.raises(BertError, match=rf"at step 7 the loss is {bad}.*learning_rate"):
        train(Rhythm(10, save=1), Stream({7: bad}))
    assert listing(train.folder) == before


def test_a_loss_that_runs_away_is_noticed(train):
    """Ten losses of 1, then 101: the mean is 1 + 100 (1 - 0.99^k), above 1 + 3 from k = 4."""
    losses = {step: 1 if step <= 10 else 101 for step in range(1, 30)}
    train(Rhythm(12, save=99), Stream(losses))  # the watch remembers over a restart
    before = listing(train.folder)
    with pytest.raises(BertError, match=r"at step 14 the loss has run away: about 4.94, after 1.0"):
        train(Rhythm(30, save=99), Stream(losses))
    assert train.step.steps == [13, 14]
    assert listing(train.folder) == before


def test_noise_is_no_running_away(train):
    noisy = {step: 2 if step % 2 else 7 for step in range(1, 200)}
    assert train(Rhythm(199, save=999), Stream(noisy)).step == 199


def test_a_full_disk_leaves_the_last_good_one(train, monkeypatch):
    """/dev/full takes nothing that is written to it."""
    train(Rhythm(6, save=3))
    before = listing(train.folder)
    original = CheckpointWriter._open

    def full(self, path):
        original(self, path).close()
        return open("/dev/full", "wb")

    monkeypatch.setattr(CheckpointWriter, "_open", full)
    with pytest.raises(BertError, match=r"disk is full: .*model.ckpt-9 was not written"):
        train(Rhythm(12, save=3))
    assert listing(train.folder) == before
    assert not threads()
    monkeypatch.undo()
    assert train(Rhythm(12, save=3)).step == 12
    assert train.resumed == [6]


def test_a_disk_that_fills_at_the_small_file(train, monkeypatch):
    """The checkpoint itself is complete then; `checkpoint` names the one before."""
    train(Rhythm(3, save=3))
    real = os.replace

    def full(source, target):
        if os.path.basename(target) == "checkpoint":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BertError, match=r"cannot write .*checkpoint: No space left"):
        train(Rhythm(12, save=3))
    monkeypatch.undo()
    assert 'path: "model.ckpt-3"' in (train.folder / "checkpoint").read_text()
    assert train(Rhythm(12, save=3)).step == 12
    assert train.resumed == [6]
    assert not [name for name in listing(train.folder) if name.endswith(".tmp")]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    """The loss of a step is that before its update: the next one would show it, too late."""
    model = Model()
    checkpoints = model.checkpoints(tmp_path)
    checkpoints.save(1, {})
    before = listing(tmp_path)
    model.layers.pooled_dense.bias.assign(np.full(16, np.nan))
    with pytest.raises(BertError, match=r"after step 2 bert/pooler/dense/bias holds .* not finite"):
        checkpoints.save(2, {})
    assert listing(tmp_path) == before


def test_what_is_restored_is_what_was_saved(tmp_path):
    """Weights, slots, step and random states, to the bit; and not in the memory of the file."""
    one, other = Model(1), Model(2)
    random = [v for v in one.model.variables if "seed_generator" in v.path]
    assert len(random) == 4
    for number, variable in enumerate(random):
        variable.assign([2**31 + number, 3])
    one.optimizer.iterations.assign(7)
    one.checkpoints(tmp_path).save(7, {"place": [1, 2]})
    before = listing(tmp_path)
    assert other.checkpoints(tmp_path).restore_last() == (7, {"place": [1, 2]})
    for a, b in zip(other.values(), one.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    for variable in other.variables():
        variable.assign_add(keras.ops.ones_like(variable))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("keep", [1, 3])
def test_so_many_checkpoints_are_kept(train, shared, keep):
    train(Rhythm(10, save=2), keep=keep)
    steps = shared.checkpoints(train.folder).steps()
    assert steps == [2, 4, 6, 8, 10][-keep:]


def test_what_a_killed_process_left_is_removed_and_nothing_else(train):
    train(Rhythm(3, save=3))
    (train.folder / ".model.ckpt-6.index.0a1b2c3d.tmp").write_bytes(b"x")
    (train.folder / ".model.ckpt-6.training.json.0a1b2c3d.tmp").write_bytes(b"x")
    (train.folder / "model.ckpt-6.data-00000-of-00001").write_bytes(b"x")
    (train.folder / "model.ckpt-6.training.json").write_bytes(b"x")
    others = (
        "events.out.tfevents.1",
        "model.ckpt-3.meta",
        "model.ckpt.txt",
        ".notes.tmp",
        "x.ckpt-6.data",
    )
    for name in others:
        (train.folder / name).write_bytes(b"y")
    assert train(Rhythm(3)).step == 3
    assert set(listing(train.folder)) == {
        *others,
        "checkpoint",
        *(f"model.ckpt-3.{part}" for part in ("data-00000-of-00001", "index", "training.json")),
    }


def test_two_processes_do_not_train_in_one_folder(train, shared):
    with (
        shared.checkpoints(train.folder).alone(),
        pytest.raises(BertError, match=r"another process is training in .*out\. Wait"),
    ):
        train(Rhythm(3))
    assert train(Rhythm(3)).step == 3
    assert not (train.folder / ".training.lock").exists()


def test_a_checkpoint_of_another_program_is_not_continued(train):
    train.folder.mkdir()
    write_checkpoint(train.folder / "model.ckpt-5", {"w": np.ones(2, np.float32)})
    before = listing(train.folder)
    with pytest.raises(BertError, match=r"model.ckpt-5 cannot be continued.*training.json is miss"):
        train(Rhythm(10))
    assert listing(train.folder) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 24}, r"another model: its bert/\S+ has the shape \[85, 16\], here it is"),
        ({"num_hidden_layers": 2}, r"lacks the tensor bert/encoder/layer_1/"),
        ({"hidden_dropout_prob": 0.0}, r"another dropout: it has 4 random states, this model 1"),
    ],
)
def test_a_checkpoint_of_another_model_is_not_continued(train, changes, message):
    train(Rhythm(3))
    before = listing(train.folder)
    with pytest.raises(BertError, match=message):
        train(Rhythm(10), model=Model(**changes))
    assert listing(train.folder) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: "{",
        lambda state: "[]",
        lambda state: {"state": state["state"]},
        lambda state: {**state, "random": 3},
        lambda state: {**state, "state": {}},
        lambda state: {**state, "state": {**state["state"], "watch": [1, 2, 3]}},
        lambda state: {**state, "state": {**state["state"], "window": "abc"}},
        lambda state: {**state, "state": {**state["state"], "stream": {}}},
        lambda state: {**state, "state": {**state["state"], "stream": [1]}},
        lambda state: {**state, "state": {**state["state"], "watch": ["a", None]}},
        lambda state: {**state, "state": {**state["state"], "memory": 5}},
        lambda state: {**state, "random": [[2**70, -(2**70)] for _ in state["random"]]},
        lambda state: "[" * 5000,
    ],
)
def test_a_damaged_state_is_told(train, damage):
    train(Rhythm(3))
    path = train.folder / "model.ckpt-3.training.json"
    damaged = damage(json.loads(path.read_text()))
    path.write_text(damaged if isinstance(damaged, str) else json.dumps(damaged))
    with pytest.raises(BertError, match=r"model.ckpt-3 cannot be continued from: .*damaged"):
        train(Rhythm(10))


def test_damaged_weights_are_told(train):
    train(Rhythm(3))
    path = train.folder / "model.ckpt-3.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        BertError,
        match=r"ckpt-3 cannot be continued from: .* checksum .*remove the files .*ckpt-3\.\*, or",
    ) as error:
        train(Rhythm(10))
    assert "ownload" not in str(error.value)


@pytest.mark.parametrize("file", ["data-00000-of-00001", "index", "training.json"])
@pytest.mark.parametrize("cut", [False, True])
def test_after_damage_training_resumes_from_the_checkpoint_before(train, file, cut, caplog):
    """With the rows of an uninterrupted run; the damaged checkpoint is replaced."""
    train(Rhythm(total=10, save=3, log=4), before=signal_at(6))
    before = train.losses()
    path = train.folder / f"model.ckpt-6.{file}"
    data = path.read_bytes()
    at = len(data) // 2
    flipped = data[:at] + bytes([data[at] ^ 128]) + data[at + 1 :]  # also no valid UTF-8
    path.write_bytes(data[:20] if cut else flipped)
    assert train(Rhythm(total=8, save=99, log=4)).step == 8
    assert train.resumed == [3]
    assert before + [row for row in train.losses() if row[0] > 4] == WHOLE[:2]
    (warning,) = [one.getMessage() for one in caplog.records]
    assert "model.ckpt-6" in warning
    assert "resumes from" in warning
    assert "ownload" not in warning
    assert shared_steps(train.folder) == [3, 8]


def test_no_flipped_bit_of_a_state_file_is_taken_for_a_state(train, shared):
    """A digit for another still is JSON, and would be another place in the data."""
    train(Rhythm(total=2, save=1))
    checkpoints = shared.checkpoints(train.folder)
    path = train.folder / "model.ckpt-2.training.json"
    data = path.read_bytes()
    good = checkpoints.last_state()
    assert good["stream"] == {"taken": 2}
    before = 0
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        state = checkpoints.last_state()
        before += state["stream"] == {"taken": 1}
        assert state == good or state["stream"] == {"taken": 1}
    assert before > len(data) * 0.9  # all but blanks and the checksum's own name
    path.write_bytes(data)
    older = json.loads(data)
    del older["sha256"]
    path.write_text(json.dumps(older))
    assert checkpoints.last_state() == good


def test_if_all_are_damaged_all_are_to_be_removed(train):
    train(Rhythm(total=2, save=1))
    for path in train.folder.glob("*.training.json"):
        path.write_text("{")
    with pytest.raises(BertError, match=r"remove the files \S+ckpt-1\.\* and \S+ckpt-2\.\*, or"):
        train(Rhythm(total=3))


def test_a_kill_before_old_checkpoints_are_removed(train, shared):
    """Resuming at the end saves nothing more, and removes and names as saving would have done."""
    train(Rhythm(total=3, save=1), keep=3)
    (train.folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n')
    assert shared_steps(train.folder) == [1, 2, 3]
    assert train(Rhythm(total=3, save=1)).step == 3
    assert shared_steps(train.folder) == [2, 3]
    assert not list(train.folder.glob("model.ckpt-1.*"))
    assert (train.folder / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "model.ckpt-3"',
        'all_model_checkpoint_paths: "model.ckpt-2"',
        'all_model_checkpoint_paths: "model.ckpt-3"',
    ]


def shared_steps(folder):
    return sorted(int(path.name.split("-")[1].split(".")[0]) for path in folder.glob("*.index"))


def test_a_state_that_the_stream_refuses(train):
    class Other(Stream):
        def restore(self, state):
            raise BertError("the batch size must be the same")

    train(Rhythm(3))
    with pytest.raises(BertError, match=r"ckpt-3 cannot be continued from: the batch size must be"):
        train(Rhythm(10), Other())


def test_a_folder_that_cannot_be_made(shared, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BertError, match=r"cannot make the folder .*file/out"):
        shared.checkpoints(tmp_path / "file" / "out")
