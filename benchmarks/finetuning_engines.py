"""A process that fine-tunes or predicts with one library, told what to do by `finetuning.py`.

    python benchmarks/finetuning_engines.py '{"kind": "ours", "part": "train", ...}'

The protocol is that of `worker.py`. What is timed is each library's own loop, `fine_tune` and
`Trainer.train`: it runs in the main thread and is held up where it reports, after each epoch.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import finetuning_prediction
import worker
from finetuning_libraries import (
    ROWS,
    HuggingFace,
    Library,
    Ours,
    Report,
    Run,
    Settings,
    fastest,
    saved,
)
from finetuning_rows import Rows

WITHOUT_END = 1000
"""Epochs of a run that is timed in turns; nobody waits for the last."""


class MainThread:
    """Has things done in the main thread, asked for in another.

    PyTorch keeps a pool of threads for each thread that computes, and a second pool changes how
    the first one waits. So all computing is left to the thread where users' programs do it.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def serve(self) -> NoReturn:
        """Does what is asked for, without end; to be called in the main thread."""
        while True:
            self._calls.get()()

    def begin(self, call: Callable[[], Any]) -> None:
        """Has something done and does not wait for it; it raises nothing."""
        self._calls.put(call)

    def run(self, call: Callable[[], Any]) -> Any:
        """Has something done; gives or raises what it does."""
        future: Future[Any] = Future()

        def settle() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

        self.begin(settle)
        return future.result()


class Turns:
    """Lets a loop that calls something every so often run on until its next call, and no further.

    Args:
        loop: takes what it calls.
        main: where it runs, from the first turn on.
    """

    def __init__(self, loop: Callable[[Report], Any], main: MainThread) -> None:
        self._loop = loop
        self._main = main
        self._begun = False
        self._go, self._held = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._loop(self._hold)
            raise RuntimeError("the loop has come to its end")
        except BaseException as error:  # raised again where the next turn is waited for
            self._error = error
            self._held.release()

    def _hold(self, loss: float) -> None:
        self._held.release()
        self._go.acquire()

    def __call__(self) -> None:
        """One turn."""
        if not self._begun:
            self._begun = True
            self._main.begin(self._run)
            self._held.acquire()
        elif self._error is None:
            self._go.release()
            self._held.acquire()
        if self._error is not None:
            raise self._error


class Training:
    """A library that fine-tunes, an epoch of the shared rows at a turn."""

    def __init__(self, library: Library, settings: Settings, main: MainThread) -> None:
        self._library = library
        self._main = main
        self._rows = Rows.load(Path(settings.folder, ROWS))
        self._few = self._rows.head(settings.batch)
        steps = len(self._rows.labels) // settings.batch
        run = Run(self._rows, WITHOUT_END, steps, settings.dropout)
        self._turns = Turns(lambda report: library.train(run, report), main)

    def step(self) -> None:
        """One turn; the first begins with all that comes before training."""
        self._turns()
        self._library.settle()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Does what a line asks for."""
        do = question["do"]
        if do == "scores":
            found = self._main.run(lambda: self._library.logits(self._few))
            return saved(found, question["path"])
        if do == "losses":
            losses: list[float] = []
            # All of the few rows are one batch, so that their order does not matter.
            run = Run(self._few, question["count"], 1, 0.0)
            self._main.run(lambda: self._library.train(run, losses.append))
            return {"losses": losses[: question["count"]]}
        if do == "train":
            return {"seconds": worker.timed(self.step, question["repeat"])}
        if do == "choose":
            ways = ("sdpa", "eager")
            return {"seconds": fastest(ways, self._library.use, self.step, question["repeat"])}
        raise ValueError(f"no such step: {do}")


class Whole:
    """A library that fine-tunes once, to the end."""

    def __init__(self, library: Library, settings: Settings) -> None:
        self._library = library
        self._folder = Path(settings.folder)
        self._dropout = settings.dropout

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Does what a line asks for."""
        rows, judged = (Rows.load(self._folder / name) for name in (ROWS, "validation.npz"))
        run = Run(
            rows,
            question["epochs"],
            10**9,
            self._dropout,
            question["rate"],
            question["seed"],
            judged,
        )
        start = perf_counter()
        accuracy = self._library.train(run, lambda loss: None)
        return {"accuracy": accuracy, "seconds": perf_counter() - start}


def make(
    main: MainThread, kind: str, backend: str, precision: str, part: str, **settings: Any
) -> Any:
    """The engine of a name.

    Args:
        main: where `Training` computes; the others are to be made and asked there.
        kind: `"ours"`, `"hugging_face"` or `"hugging_face_by_length"`.
        backend: of ours.
        precision: `"float32"` or `"bfloat16"`.
        part: `"train"`, `"predict"` or `"whole"`.
        settings: the fields of `Settings`.
    """
    told = Settings(**settings)
    by_length = kind == "hugging_face_by_length"
    if part == "predict":
        return finetuning_prediction.make(told, backend, precision, by_length)
    library: Library
    library = Ours(told, backend, precision) if backend else HuggingFace(told, precision, by_length)
    return Training(library, told, main) if part == "train" else Whole(library, told)


def serve() -> NoReturn:
    """Answers lines in another thread, so that the main one is free to compute."""
    main = MainThread()

    def answer(engine: Any, question: dict[str, Any]) -> dict[str, Any]:
        if question["do"] == "memory":
            return {"bytes": worker.peak_memory()}
        if isinstance(engine, Training):
            return engine.answer(question)
        return main.run(lambda: engine.answer(question))

    def listen() -> None:
        code = 1
        try:
            worker.serve(lambda **spec: main.run(lambda: make(main, **spec)), answer)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # the main thread may be held up in the middle of a loop

    threading.Thread(target=listen, daemon=True).start()
    main.serve()


if __name__ == "__main__":
    serve()
