"""`run_training`: steps, log rows and checkpoints, from where the last run stopped to the end."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from bert_tf.errors import BertError
from bert_tf.files.progress import Progress
from bert_tf.training.log import LogRow

if TYPE_CHECKING:  # they import Keras, which reading data does not need
    from bert_tf.training.checkpoints import TrainingCheckpoints
    from bert_tf.training.distribution import Distribution
    from bert_tf.training.step import TrainingStep


SIGNALS = [getattr(signal, x) for x in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, x)]
"""What ends a training, which saves first: a request, Ctrl-C, a terminal that was closed."""

_SHOWN = ("loss", "mlm_accuracy", "nsp_accuracy", "accuracy", "pieces_per_second")
"""What of a row stands in the progress bar."""


class Stream(Protocol):
    """Endless batches that resume at any position: see `bert_tf.data.PretrainingStream`."""

    def next_batch(self) -> dict[str, np.ndarray]:
        """The next batch."""

    def state(self) -> dict[str, Any]:
        """Its position; JSON can hold it."""

    def restore(self, state: Any) -> None:
        """Goes to that position."""


class Rhythm(NamedTuple):
    """When something happens, in steps.

    Attributes:
        total: where training ends.
        save: between checkpoints.
        log: between rows of the log.
        evaluate: between evaluations, each of which gives a row too; 0 for only the last.
    """

    total: int
    save: int = 1000
    log: int = 100
    evaluate: int = 0


class Hooks(NamedTuple):
    """What the loop calls.

    Attributes:
        metrics: turns the added-up sums of a window into the numbers of a row; its `loss` is
            watched.
        on_row: gets each row, `step` first.
        evaluate: evaluates the present weights; None for no evaluation.
        on_resume: gets the step that training resumes from.
        should_stop: whether training ends here; asked at the start and after each evaluation.
        remember: what of the caller's state is saved with each checkpoint; JSON can hold it.
        recall: gets that when training resumes, before anything else is called.
        rise: how far above its lowest the running mean of the loss may come.
    """

    metrics: Callable[[np.ndarray], LogRow]
    on_row: Callable[[LogRow], None]
    evaluate: Callable[[], LogRow] | None = None
    on_resume: Callable[[int], None] = lambda step: None
    should_stop: Callable[[], bool] = lambda: False
    remember: Callable[[], dict[str, Any]] = dict
    recall: Callable[[dict[str, Any]], None] = lambda memory: None
    rise: float = 3.0


class Outcome(NamedTuple):
    """How a call of `run_training` ended.

    Attributes:
        step: the last step trained.
        prefix: its checkpoint.
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
    """Trains until `rhythm.total`, or until a hook or one of `SIGNALS` stops it; saves at its end.

    If the folder of `checkpoints` holds one, training resumes from the last as if it had never
    stopped: same weights, optimizer, random numbers and data. The next batch is made while the
    present one is computed. A signal takes effect between two steps; no evaluation begins after
    it, and one that was due then is made when training resumes.

    Where several processes train together (`bert_tf.training.distribution`), each makes this call
    with the same folder. One of them writes, reports rows and shows progress; a signal to any
    ends all.

    Args:
        step: the compiled step.
        stream: the batches; its state is saved with each checkpoint.
        checkpoints: where the state is kept.
        rhythm: when what happens.
        hooks: what is called.
        progress: whether to show progress: a bar, or lines in the log off a terminal.

    Raises:
        BertError: the loss is no longer a number or runs away (nothing is saved then; the last
            checkpoint is untouched), a checkpoint cannot be written or read, the one there is of
            another run, or another process trains in the folder.
    """
    devices = step.distribution
    with contextlib.ExitStack() as stack:
        with devices.together():
            if devices.leads:
                stack.enter_context(checkpoints.alone())
        check_same_checkpoints(devices, checkpoints)
        with devices.together():
            restored = checkpoints.restore_last(tidy=devices.leads)
        check_same_checkpoints(devices, checkpoints, restored and restored[0])
        done, window, watch, owed = 0, None, _LossWatch(), False
        if restored is not None:
            done, state = restored
            with devices.together():
                window, watch = _take_up(state, stream, hooks, checkpoints.prefix(done))
                if devices.leads:
                    checkpoints.tidy(done)
            owed = bool(state.get("owed"))
            step.reload()
            if devices.leads:
                hooks.on_resume(done)
        saved = done if restored else None

        def save(stream_state: Any) -> None:
            nonlocal saved
            step.sync()
            kept = [] if window is None else window.tolist()
            state = {"stream": stream_state, "window": kept, "watch": [watch.mean, watch.lowest]}
            state |= {"memory": hooks.remember(), "owed": owed}
            with devices.together():
                if devices.leads:
                    checkpoints.save(done, state)
            saved = done

        def report(row: LogRow) -> None:
            if devices.leads:
                hooks.on_row(row)

        def evaluation() -> LogRow:
            assert hooks.evaluate is not None
            step.sync()
            return {f"eval_{name}": value for name, value in hooks.evaluate().items()}

        last_state = stream.state()
        stopped = hooks.should_stop()
        if owed and hooks.evaluate and not stopped:
            unfinished = {} if window is None else hooks.metrics(window)
            report({"step": done, **unfinished, **evaluation()})
            owed, window, saved, stopped = False, None, None, hooks.should_stop()
        with (
            _interruption() as came,
            _batches(stream, 0 if stopped else rhythm.total - done) as batches,
            Progress(progress and devices.leads, unit="steps") as bar,
        ):
            bar.start(rhythm.total, done)
            clock, work, since = time.perf_counter(), Counter[str](), done
            for batch, last_state in batches:
                sums = np.asarray(step(batch), np.float64)
                done += 1
                bar.add(1)
                watch.check(hooks.metrics(sums)["loss"], done, hooks.rise)
                window = sums if window is None else window + sums
                for name, worked in (("token_input", "pieces"), ("weights", "examples")):
                    if name in batch:
                        work[worked] += int(np.count_nonzero(batch[name]))
                at_end = done == rhythm.total
                due = hooks.evaluate is not None and (
                    at_end or (rhythm.evaluate > 0 and done % rhythm.evaluate == 0)
                )
                owed = due and devices.any(bool(came))
                if (done % rhythm.log == 0 or at_end or due) and not owed:
                    passed = time.perf_counter() - clock
                    row: LogRow = {"step": done, **hooks.metrics(window)}
                    row |= {f"{name}_per_second": n / passed for name, n in work.items() if n}
                    row["steps_per_second"] = (done - since) / passed
                    if due:
                        row |= evaluation()
                        stopped = hooks.should_stop()
                    report(row)
                    bar.note(", ".join(f"{name} {row[name]:.4g}" for name in _SHOWN if name in row))
                    clock, work, since, window = time.perf_counter(), Counter(), done, None
                ending = stopped or devices.any(bool(came))
                if done % rhythm.save == 0 or at_end or ending:
                    save(last_state)
                if ending:
                    break
        if saved != done:
            save(last_state)
        return Outcome(
            done, checkpoints.prefix(done), owed or (done < rhythm.total and not stopped)
        )


def check_same_checkpoints(
    devices: Distribution, checkpoints: TrainingCheckpoints, step: int | None = None
) -> None:
    """Makes sure that all processes of a training resume from the same checkpoint, or from none.

    It is that of `step`, or else the last one.

    Raises:
        BertError: they see different ones.
    """
    if not devices.same(step or max(checkpoints.steps(), default=0)):
        raise BertError(
            f"the processes of this training see different checkpoints in {checkpoints.folder}; "
            f"give an output folder that all hosts share."
        )


def _take_up(
    state: dict[str, Any], stream: Stream, hooks: Hooks, prefix: str
) -> tuple[np.ndarray | None, _LossWatch]:
    """Restores stream and caller; gives the sums of the unfinished window and the watch."""
    try:
        window = np.asarray(state["window"], np.float64) if state["window"] else None
        watch = _LossWatch(*(x if x is None else float(x) for x in state["watch"]))
        hooks.recall(dict(state.get("memory", {})))
        stream.restore(state["stream"])
    except BertError as error:
        reason = str(error).rstrip(".")
        raise BertError(
            f"{prefix} cannot be continued from: {reason}. Or start another training from it."
        ) from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise BertError(
            f"{prefix} cannot be continued from: its state of training is damaged. Remove the "
            f"files {prefix}.* to resume from the checkpoint before."
        ) from error
    return window, watch


@dataclasses.dataclass
class _LossWatch:
    """Notices a loss that is not a number, or that runs away from its best.

    A running mean over some 100 steps is compared with its own minimum; 3 nats above it, say, is
    far more than noise and far below where the weights overflow.
    """

    mean: float | None = None
    lowest: float | None = None

    def check(self, loss: float, step: int, rise: float) -> None:
        advice = (
            "Nothing was saved since the last checkpoint. Lower `learning_rate` or lengthen "
            "the warm-up, and start again."
        )
        if not math.isfinite(loss):
            raise BertError(f"at step {step} the loss is {loss}. {advice}")
        self.mean = loss if self.mean is None else self.mean + 0.01 * (loss - self.mean)
        self.lowest = self.mean if self.lowest is None else min(self.mean, self.lowest)
        if self.mean > self.lowest + rise:
            raise BertError(
                f"at step {step} the loss has run away: about {self.mean:.2f}, after "
                f"{self.lowest:.2f} at best. {advice}"
            )


@contextlib.contextmanager
def _interruption() -> Iterator[list[int]]:
    """Gives a list that one of `SIGNALS` gets into, to end and save; a second one kills."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        came.append(number)
        give_back()

    def give_back() -> None:
        while before:
            signal.signal(*before.popitem())

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            # None: set by other than Python code, and so not to be given back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
    try:
        yield came
    finally:
        give_back()


@contextlib.contextmanager
def _batches(stream: Stream, count: int) -> Iterator[Iterator[tuple[dict, Any]]]:
    """`count` batches, each with the stream's state after it, made ahead by another thread."""

    def make() -> tuple[dict, Any]:
        return stream.next_batch(), stream.state()

    def take() -> Iterator[tuple[dict, Any]]:
        ready = deque(pool.submit(make) for _ in range(min(4, count)))
        for number in range(count):
            made = ready.popleft().result()
            if number + 4 < count:
                ready.append(pool.submit(make))
            yield made

    with ThreadPoolExecutor(1, "batches") as pool:
        try:
            yield take()
        finally:
            pool.shutdown(cancel_futures=True)
