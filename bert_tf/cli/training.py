"""What commands that train have in common: flags, rows on the screen, the curve, paths."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bert_tf.cli.options import Parser, say
from bert_tf.errors import BertError
from bert_tf.files.extras import require

if TYPE_CHECKING:
    from bert_tf.report.curves import Panel
    from bert_tf.training.log import LogRow, TrainingLog

    Show = Callable[[LogRow], str]

CURVE = "curve.png"


def add_tpu(parser: Parser) -> None:
    """Adds the original's flags for TPUs, each mapped to today's way or explained."""
    parser.switch("use_tpu", "train on a TPU: the same as --backend=jax")
    here = (
        "JAX finds TPUs by itself: install its TPU build and pass --backend=jax, and "
        "--distribute=data to use all cores."
    )
    for name in ("tpu_name", "tpu_zone", "gcp_project", "master", "num_tpu_cores"):
        parser.ignored(name, here)
    parser.ignored("iterations_per_loop", "each step is started by itself, and none waits for it.")


class Watcher:
    """Logs a training's rows, shows them, and draws the curve.

    Args:
        log: where rows go, and the curve next to it.
        show: makes of a row a line for people; None shows none.
        panels: of the curve; pretraining's if empty.
    """

    def __init__(
        self, log: TrainingLog, show: Show | None = None, panels: Sequence[Panel] = ()
    ) -> None:
        self._log, self._show, self._panels = log, show, panels
        self.kept: int | None = None  # the step whose weights are kept, once that is known
        self._draws = True
        with self._drawing():  # at the start, not after the first evaluation
            require("a picture", "matplotlib")

    def row(self, row: LogRow) -> None:
        """Takes a row, and shows it above the progress bar if there is one."""
        self._log.add(row)
        if self._show is not None:
            from tqdm import tqdm

            try:
                tqdm.write(self._show(row), file=sys.stdout)
                sys.stdout.flush()
            except OSError:  # its reader has gone, which is no reason to end a training
                self._show = None
        if any(name.startswith("eval_") for name in row):
            self.draw()

    def draw(self) -> None:
        """Draws the curve of all rows so far; says once if that cannot be done."""
        if not self._draws:
            return
        from bert_tf.report import curves

        with self._drawing():
            # Training's loss by itself too, for where it has another unit than the evaluations'.
            rows = [
                {**row, "training_loss": row["loss"]} if "loss" in row else row
                for row in self._log.rows()
            ]
            path = os.path.join(os.path.dirname(self._log.path), CURVE)
            if rows:
                curves.draw_curves(rows, path, self._panels or curves.PRETRAINING, self.kept)

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """Says once if the curve cannot be drawn."""
        try:
            yield
        except BertError as error:
            self._draws = False
            say(f"the curve is not drawn: {error}")

    def close(self) -> None:
        """Ends the log and draws the curve for the last time."""
        self.draw()
        self._log.close()


def watched(
    train: Callable[..., Any],
    folder: str,
    json: bool,
    row_text: Show,
    resumed: Callable[[int], str],
    panels: Sequence[Panel] = (),
    **log_options: Any,
) -> Any:
    """Trains with a log and a curve; with rows as JSON on stdout, or as text for people.

    Args:
        train: takes `on_row` and `on_resume`, or `progress` in a process that does not lead.
        folder: for log and curve.
        json: whether rows are shown as JSON.
        row_text: a row as a line for people.
        resumed: what to say of the step that training resumes from.
        panels: of the curve; pretraining's if empty.
        log_options: of `TrainingLog`.
    """
    from bert_tf.training.distribution import leads
    from bert_tf.training.log import TrainingLog

    if not leads():
        return train(progress=False)
    log = TrainingLog(folder, sys.stdout if json else None, **log_options)
    watcher = Watcher(log, None if json else row_text, panels)

    def on_resume(step: int) -> None:
        log.start(step)
        say(resumed(step))

    try:
        found = train(on_row=watcher.row, on_resume=on_resume)
        if not found.interrupted:
            watcher.kept = getattr(found, "best_step", None)
        return found
    finally:
        watcher.close()


def paths_of(folder: str, **more: str) -> dict[str, Any]:
    """The paths of what a training wrote into a folder, and `more` by name, of those that exist."""
    from bert_tf.training.log import EVENTS, NAME

    names: Mapping[str, str] = {**more, "log": NAME, "tensorboard": EVENTS, "curve": CURVE}
    paths = {key: os.path.join(folder, name) for key, name in names.items()}
    return {key: path for key, path in paths.items() if os.path.exists(path)}


def stopped(step: int, steps: int, where: str) -> str:
    """What to say after a signal; `where` ends the phrase "which is saved"."""
    return (
        f"stopped after step {step:,}, which is saved{where}\n"
        f"The same command resumes there; {steps - step:,} steps are left."
    )
