"""Who takes part, and the driver's side of the line protocol to their processes."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORKER = [sys.executable, str(ROOT / "benchmarks" / "worker.py")]


class WorkerError(Exception):
    """A contender's process ended or answered nonsense.

    Args:
        name: whose.
        code: its exit code.
        log: file with what it said on stderr.
    """

    def __init__(self, name: str, code: int, log: Path) -> None:
        words = log.read_text("utf-8", "replace").strip()
        super().__init__(f"{name} ended with code {code}:\n{words[-2000:]}")
        self.brief = f"{name} ended with code {code}: {words.splitlines()[-1] if words else ''}"


@dataclasses.dataclass(frozen=True)
class Contender:
    """One bar of the plot.

    Args:
        kind: what `engines.make` takes.
        precision: `"float32"` or `"bfloat16"`.
        title: for tables.
        needs: modules that have to be installed.
        backend: of ours.
    """

    kind: str
    precision: str
    title: str
    needs: tuple[str, ...]
    backend: str = ""

    @property
    def name(self) -> str:
        """Short name, e.g. `openvino-float32`."""
        return f"{self.backend or self.kind}-{self.precision}"

    @property
    def rival(self) -> str:
        """The name of the contender that this one is compared with."""
        return f"hugging_face-{self.precision}"

    def lacking(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def present(asked: Iterable[Contender]) -> tuple[list[Contender], list[str]]:
    """Those whose packages are installed; a note on each of the others."""
    found, notes = [], []
    for contender in asked:
        if lacking := contender.lacking():
            notes.append(f"{contender.name} left out: {', '.join(lacking)} not installed")
        else:
            found.append(contender)
    return found, notes


_TITLES = {"openvino": "OpenVINO", "tensorflow": "TensorFlow", "jax": "JAX"}


def _ours(backend: str, precision: str) -> Contender:
    return Contender("ours", precision, f"bert_tf, {_TITLES[backend]}", (backend,), backend)


ALL = (
    Contender("hugging_face", "float32", "Hugging Face", ("torch", "transformers")),
    Contender("hugging_face", "bfloat16", "Hugging Face", ("torch", "transformers")),
    _ours("openvino", "float32"),
    _ours("openvino", "bfloat16"),
    _ours("tensorflow", "float32"),
    _ours("tensorflow", "bfloat16"),
    _ours("jax", "float32"),
    Contender(
        "onnxruntime", "float32", "ONNX Runtime", ("onnxruntime", "onnx", "torch", "transformers")
    ),
    *(
        Contender(
            "raw_openvino", precision, "raw OpenVINO", ("openvino", "onnx", "torch", "transformers")
        )
        for precision in ("float32", "bfloat16")
    ),
)
"""Every contender; one whose packages are not installed is left out with a note."""


def share_processors(threads: int) -> None:
    """Lets this process and all that it starts run on so many processors.

    Every library takes its number of threads from that, told or not.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    os.environ["PYTHONIOENCODING"] = "utf-8"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"


class Worker:
    """A contender's process.

    Between two questions it is frozen, so that threads which spin while they wait for work, as
    those of most of these libraries do, take no time from the one that is being measured.

    Args:
        contender: who it is.
        log: file for what it says on stderr.
        command: the process, its settings as JSON in the last place.
    """

    def __init__(self, contender: Contender, log: Path, command: list[str]) -> None:
        self.contender = contender
        self.log = log
        self._frozen = False
        with open(log, "wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
            )

    def receive(self) -> dict[str, Any]:
        """The next reply.

        Raises:
            WorkerError: there is none.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            self._process.kill()
            code = self._process.wait()
            raise WorkerError(self.contender.name, code, self.log) from None

    def ask(self, **question: Any) -> dict[str, Any]:
        """Sends a question and waits for the reply; see `worker.answer`."""
        assert self._process.stdin is not None
        self._freeze(False)
        with contextlib.suppress(BrokenPipeError):  # `receive` tells why
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        reply = self.receive()
        self._freeze(True)
        return reply

    def _freeze(self, frozen: bool) -> None:
        if hasattr(signal, "SIGSTOP") and frozen != self._frozen and self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)
            self._frozen = frozen

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def start(
    contenders: list[Contender],
    settings: dict[str, Any],
    logs: Path,
    worker: Sequence[str] = WORKER,
) -> tuple[list[Worker], dict[str, dict[str, Any]], list[str]]:
    """Starts a process for each contender and waits until all are loaded.

    Args:
        contenders: whose.
        settings: for all of them, with `kind`, `backend` and `precision`.
        logs: folder for what they say on stderr.
        worker: the command; takes the settings as JSON in the last place.

    Returns:
        The workers, what each says about itself, and a note for each that could not start.
    """
    logs.mkdir(parents=True, exist_ok=True)
    started = []
    for contender in contenders:
        own = {
            "kind": contender.kind,
            "backend": contender.backend,
            "precision": contender.precision,
        }
        command = [*worker, json.dumps(settings | own)]
        started.append(Worker(contender, logs / f"{contender.name}.log", command))
    workers, about, notes = [], {}, []
    for one in started:
        try:
            about[one.contender.name] = one.receive()
            workers.append(one)
        except WorkerError as failure:
            print(failure, file=sys.stderr)
            notes.append(f"left out: {failure.brief}")
            one.close()
    return workers, about, notes
