"""`run_training`: steps, log rows and checkpoints, from where the last start ended to the end."""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from bert_tf.errors import BertError
from bert_tf.files.progress import Progress

if TYPE_CHECKING:  # they import Keras, and who reads data first can do without it for long
    from bert_tf.training.checkpoints import TrainingCheckpoints
    from bert_tf.training.distribution import Distribution
    from bert_tf.training.step import TrainingStep

Row = dict[str, float]


class Stream(Protocol):
    """Endless batches that go on from any place: see `bert_tf.data.PretrainingStream`."""

    def next_batch(self) -> dict[str, np.ndarray]:
        """The next batch."""

    def state(self) -> dict[str, Any]:
        """Where it stands; JSON can hold it."""

    def restore(self, state: Any) -> None:
        """Goes there."""


class Rhythm(NamedTuple):
    """When something happens, in steps.

    Attributes:
        total: where training ends.
        save: between checkpoints.
        log: between rows of the log.
        evaluate: between evaluations, each of which gives a row too; 0 for none but the last.
    """

    total: int
    save: int = 1000
    log: int = 100
    evaluate: int = 0


class Hooks(NamedTuple):
    """What the loop calls.

    Attributes:
        metrics: turns the sums of a window, added up, into the numbers of a row; `loss` among
            them is watched.
        on_row: is given each row, `step` first.
        evaluate: judges the present weights; None for no evaluation.
        on_resume: is told the step that training goes on from.
        should_stop: is asked after each evaluation, and at the start, whether training ends here.
        remember: what of the caller's state is saved with each checkpoint; JSON can hold it.
        recall: is given that when training goes on, before anything else is called.
        rise: how far above its lowest the running mean of the loss may come.
    """

    metrics: Callable[[np.ndarray], Row]
    on_row: Callable[[Row], None]
    evaluate: Callable[[], Row] | None = None
    on_resume: Callable[[int], None] = lambda step: None
    should_stop: Callable[[], bool] = lambda: False
    remember: Callable[[], dict[str, Any]] = dict
    recall: Callable[[dict[str, Any]], None] = lambda memory: None
    rise: float = 3.0


class Outcome(NamedTuple):
    """How a call of `run_training` ended.

    Attributes:
        step: the last step trained.
        prefix: the checkpoint of it.
        interrupted: whether a signal ended it before the total, or before the last evaluation.
    """

    step: int
    prefix: str
    interrupted: bool


def run_training(
    step: TrainingStep,
    stream: Stream,
    checkpoints: TrainingCheckpoints,
    rhythm: Rhythm,
    hooks: Hooks,
    *,
    progress: bool = True,
) -> Outcome:
    """Trains until `rhythm.total`, until a hook or a SIGTERM or SIGINT stops it; saves at its end.

    If the folder of `checkpoints` holds one, training goes on from the last as if it had never
    stopped: same weights, optimizer, random numbers and data. The next batch is made while the
    present one is computed. A signal is heeded between two steps; no evaluation is begun after it,
    and one that was due then is made up for when training goes on.

    Where several processes train together (`bert_tf.training.distribution`), each makes this call,
    with the same folder. One of them writes, reports rows and shows progress; a signal to any
    ends all.

    Args:
        step: the compiled step.
        stream: the batches; its state is saved with each checkpoint.
        checkpoints: where the state is kept.
        rhythm: when what happens.
        hooks: what is called.
        progress: whether to show a progress bar (on a terminal only).

    Returns:
        How it ended.

    Raises:
        BertError: the loss is not a number any more or runs away (nothing is saved then; the
            last checkpoint is untouched), a checkpoint cannot be written or read, the one there
            is of another run, or another process trains in the folder.
    """
    devices = step.distribution
    with contextlib.ExitStack() as stack:
        with devices.together():
            if devices.leads:
                stack.enter_context(checkpoints.alone())
        return _train(step, stream, checkpoints, rhythm, hooks, progress and devices.leads)


def _train(
    step: TrainingStep,
    stream: Stream,
    checkpoints: TrainingCheckpoints,
    rhythm: Rhythm,
    hooks: Hooks,
    progress: bool,
) -> Outcome:
    devices = step.distribution
    check_same_checkpoints(devices, checkpoints)
    with devices.together():
        restored = checkpoints.restore_last(tidy=devices.leads)
    done, window, watch, owed = 0, None, _LossWatch(), False
    if restored is not None:
        done, state = restored
        with devices.together():
            window, watch = _take_up(state, stream, hooks, checkpoints.prefix(done))
        owed = bool(state.get("owed"))
        step.reload()
        if devices.leads:
            hooks.on_resume(done)
    saved = done if restored else None

    def save(number: int, stream_state: Any) -> None:
        step.sync()
        kept = [] if window is None else [float(x) for x in window]
        state = {"stream": stream_state, "window": kept, "watch": watch.state()}
        state |= {"memory": hooks.remember(), "owed": owed}
        with devices.together():
            if devices.leads:
                checkpoints.save(number, state)

    def report(row: Row) -> None:
        if devices.leads:
            hooks.on_row(row)

    def judge() -> Row:
        assert hooks.evaluate is not None
        step.sync()
        return {f"eval_{name}": value for name, value in hooks.evaluate().items()}

    last_state = stream.state()
    stopped = hooks.should_stop()
    if owed and hooks.evaluate and not stopped:
        begun = {} if window is None else hooks.metrics(window)
        report({"step": done, **begun, **judge()})
        owed, window, saved, stopped = False, None, None, hooks.should_stop()
    with (
        _Interruption() as interruption,
        _batches(stream, 0 if stopped else rhythm.total - done) as batches,
        Progress(progress, unit="step") as bar,
    ):
        bar.start(rhythm.total, done)
        clock, work, since = time.perf_counter(), _Work(), done
        for batch, last_state in batches:
            sums = np.asarray(step(batch), np.float64)
            done += 1
            bar.add(1)
            watch.check(hooks.metrics(sums)["loss"], done, hooks.rise)
            window = sums if window is None else window + sums
            work.add(batch)
            at_end = done == rhythm.total
            judged = at_end or (rhythm.evaluate > 0 and done % rhythm.evaluate == 0)
            judged = judged and hooks.evaluate is not None
            owed = judged and devices.any(interruption.came)
            judged = judged and not owed
            if (done % rhythm.log == 0 or at_end or judged) and not owed:
                passed = time.perf_counter() - clock
                row: Row = {"step": done, **hooks.metrics(window)}
                row |= work.speed(passed)
                row["steps_per_second"] = (done - since) / passed
                if judged:
                    row |= judge()
                    stopped = hooks.should_stop()
                report(row)
                bar.note(_shown(row))
                clock, work, since, window = time.perf_counter(), _Work(), done, None
            ending = stopped or devices.any(interruption.came)
            if done % rhythm.save == 0 or at_end or ending:
                save(done, last_state)
                saved = done
            if ending:
                break
    if saved != done:
        save(done, last_state)
    return Outcome(done, checkpoints.prefix(done), owed or (done < rhythm.total and not stopped))


def check_same_checkpoints(devices: Distribution, checkpoints: TrainingCheckpoints) -> None:
    """Makes sure that all processes of a training go on from the same checkpoint, or from none.

    Raises:
        BertError: they see different ones.
    """
    if not devices.same(max(checkpoints.steps(), default=0)):
        raise BertError(
            f"the processes of this training see different checkpoints in {checkpoints.folder}; "
            f"give an output folder that all hosts share."
        )


class _Work:
    """Counts what the steps between two rows of the log worked on."""

    def __init__(self) -> None:
        self._pieces = 0
        self._examples = 0

    def add(self, batch: dict[str, np.ndarray]) -> None:
        if "token_input" in batch:
            self._pieces += int(np.count_nonzero(batch["token_input"]))
        if "weights" in batch:
            self._examples += int(np.count_nonzero(batch["weights"]))

    def speed(self, seconds: float) -> Row:
        counts = {"pieces": self._pieces, "examples": self._examples}
        return {f"{name}_per_second": n / seconds for name, n in counts.items() if n}


def _take_up(
    state: dict[str, Any], stream: Stream, hooks: Hooks, prefix: str
) -> tuple[np.ndarray | None, _LossWatch]:
    """Puts stream and caller where they stood; gives the sums of the begun window and the watch."""
    try:
        window = np.asarray(state["window"], np.float64) if state["window"] else None
        watch = _LossWatch(*state["watch"])
        hooks.recall(dict(state.get("memory", {})))
        stream.restore(state["stream"])
    except BertError as error:
        reason = str(error).rstrip(".")
        raise BertError(
            f"{prefix} cannot be continued from: {reason}. Or give another output folder, and "
            f"this checkpoint as --init_checkpoint."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise BertError(
            f"{prefix} cannot be continued from: its state of training is damaged. Remove this "
            f"checkpoint to go on from the one before."
        ) from error
    return window, watch


def _shown(row: Row) -> str:
    wanted = ("loss", "mlm_accuracy", "nsp_accuracy", "accuracy", "pieces_per_second")
    return ", ".join(f"{name} {row[name]:.4g}" for name in wanted if name in row)


class _LossWatch:
    """Notices a loss that is not a number, or that runs away from the best it has been.

    A running mean over some 100 steps is compared with its own minimum; 3 nats above it, say, is
    far more than noise and a long way before the weights overflow.
    """

    SHARE = 0.01

    def __init__(self, mean: float | None = None, lowest: float | None = None) -> None:
        self._mean = mean
        self._lowest = lowest

    def state(self) -> list[float | None]:
        return [self._mean, self._lowest]

    def check(self, loss: float, step: int, rise: float) -> None:
        advice = (
            "Nothing was saved since the last checkpoint. Lower --learning_rate or lengthen the "
            "warm-up (--num_warmup_steps), and start again."
        )
        if not math.isfinite(loss):
            raise BertError(f"at step {step} the loss is {loss}. {advice}")
        mean = loss if self._mean is None else self._mean + self.SHARE * (loss - self._mean)
        lowest = mean if self._lowest is None else min(mean, self._lowest)
        self._mean, self._lowest = mean, lowest
        if mean > lowest + rise:
            raise BertError(
                f"at step {step} the loss has run away: about {mean:.2f}, after {lowest:.2f} at "
                f"its best. {advice}"
            )


class _Interruption:
    """Notes SIGTERM and SIGINT, so that the present step is ended and saved; a second one kills."""

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # None: set by other than Python code, and so not to be given back.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def _note(self, *_: object) -> None:
        self.came = True
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextlib.contextmanager
def _batches(stream: Stream, count: int) -> Iterator[Iterator[tuple[dict, Any]]]:
    """`count` batches, each with the stream's state behind it, made ahead by another thread."""
    ready: queue.Queue = queue.Queue(maxsize=4)
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def make() -> None:
        try:
            for _ in range(count):
                if stopped.is_set():
                    return
                put((stream.next_batch(), stream.state()))
            put(None)
        except BaseException as error:  # handed on to the thread that trains
            put(error)

    def take() -> Iterator[tuple[dict, Any]]:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()
