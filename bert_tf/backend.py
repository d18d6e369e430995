"""Chooses the Keras backend, makes models one at a time, and silences the frameworks' log lines.

`import bert_tf` changes nothing about the process; only the command line chooses and silences.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, BinaryIO, TypeVar

from bert_tf.errors import BertError
from bert_tf.files.reading import read_object
from bert_tf.options import THREADS

T = TypeVar("T")

BACKENDS = ("tensorflow", "jax", "openvino")
AUTO = "auto"
_MAKING = threading.RLock()  # of the process: models share layers, and no object has to pickle it


def choose_backend(name: str | None = None, *, predict: bool = False) -> str:
    """Sets the backend that Keras takes when it is imported.

    Args:
        name: one of `BACKENDS`, or `AUTO`: OpenVINO if `predict` and it is installed, else
            "tensorflow". Left out, the environment's KERAS_BACKEND, else `AUTO`.
        predict: whether nothing will be trained; OpenVINO cannot train.

    Returns:
        The backend's name.

    Raises:
        BertError: there is no such backend, it is not installed, or Keras already has another.
    """
    source = "the backend" if name else "KERAS_BACKEND"
    name = name or os.environ.get("KERAS_BACKEND") or AUTO
    if name not in (*BACKENDS, AUTO):
        raise BertError(f"{source} is {name!r}; the backends are {', '.join((*BACKENDS, AUTO))}.")
    if (keras := sys.modules.get("keras")) is not None:
        running = keras.backend.backend()
        if name == AUTO:
            name = running
        if running != name:
            raise BertError(
                f"Keras runs on {running} already, and the backend cannot change after that. "
                f"Choose {name} before Keras is imported, for example in a new process."
            )
    elif name == AUTO:
        fast = predict and importlib.util.find_spec("openvino") is not None
        name = "openvino" if fast else "tensorflow"
    if keras is None and importlib.util.find_spec(name) is None:
        from bert_tf.files.extras import require

        if name == "tensorflow":
            raise BertError(f"{name} is not installed; type: pip install tensorflow")
        require(f"the backend {name}", name)
    os.environ["KERAS_BACKEND"] = name
    return name


def current() -> str:
    """The backend that Keras runs on, or would; it is not imported, as OpenVINO may not need it."""
    keras = sys.modules.get("keras")
    # Another thread may be importing it at this moment; then the environment decides.
    if keras is not None and not getattr(keras.__spec__, "_initializing", False):
        return keras.backend.backend()
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    # What Keras reads where the environment is silent (keras.io, "Configuring your backend").
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    with contextlib.suppress(BertError):
        return str(read_object(os.path.join(home, "keras.json")).get("backend", "tensorflow"))
    return "tensorflow"


def set_threads(number: int) -> None:
    """Limits every backend's threads, before any is imported; more than cores are of no use."""
    THREADS.check("number", number)
    for variable in ("BERT_TF_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = str(number)
    # JAX has no setting of its own: it takes as many threads as there are cores to run on.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def preload(name: str) -> None:
    """Imports what a backend needs; what fails here fails again, with a message, when used."""
    modules = ["openvino"] if name == "openvino" else [name, "keras", "bert_tf.models.builders"]
    with contextlib.suppress(Exception):
        for module in modules:
            importlib.import_module(module)


def silence() -> None:
    """Hides what the frameworks log, and nothing else; nothing with TF_CPP_MIN_LOG_LEVEL=0.

    TensorFlow's C++ code writes to file descriptor 2 itself, in part before it reads the settings
    that should keep it quiet. So descriptor 2 becomes a pipe to a small process that passes on
    every line but the known ones, and outlives a crash of this one, so that its last words are
    seen. Python's own stderr goes to the screen directly, as before.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors only; works once the C++ log is set up
    logging.getLogger().setLevel(logging.ERROR)  # of all loggers but ours, which has its own
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"bert_tf\b")
    if hasattr(os, "fork"):
        _filter_stderr()


# An absl log line: severity, date, time, thread, file:line]. Information and warnings are noise.
_LOG_LINE = re.compile(rb"[IW]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w./-]+:\d+\] |[IW]0000 00:00:\d")
# Errors that are none: what a machine without a GPU, or with two users of CUDA, says at the start,
# and an integer product that oneDNN leaves to other code.
_FALSE_ALARM = re.compile(
    rb"E\d{4} .*(failed call to cuInit|Unable to register cu\w+ (factory|plugin)"
    rb"|computation placer already registered|oneDNN supports DT_INT64 only)"
)
_PREAMBLE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    b"To enable the following instructions: ",
)


def pass_on(lines: Iterable[bytes], screen: BinaryIO) -> None:
    """Writes all lines but the frameworks' log lines that tell a user nothing."""
    for line in lines:
        if not (line.startswith(_PREAMBLE) or _LOG_LINE.match(line) or _FALSE_ALARM.match(line)):
            screen.write(line)
            screen.flush()


def _filter_stderr() -> None:
    """Puts a filtering process between file descriptor 2 and the screen."""
    try:
        sys.stderr.flush()
        screen = os.dup(2)
    except (OSError, ValueError, AttributeError):
        return  # no stderr: nothing can be written there anyway
    reading, writing = os.pipe()
    if os.fork() == 0:
        _run_filter(reading, writing, screen)
    os.dup2(writing, 2)
    os.close(writing)
    os.close(reading)
    sys.stderr = io.TextIOWrapper(
        io.FileIO(screen, "w"),
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )


def _run_filter(reading: int, writing: int, screen: int) -> None:
    """The life of the filtering process: until nobody can write to the pipe any more."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        for descriptor in (0, 1, 2):  # a reader of our stdout must not wait for this process
            os.close(descriptor)
        with open(reading, "rb") as lines, open(screen, "wb", buffering=0) as out:
            pass_on(lines, out)
    finally:
        os._exit(0)


_computes = _forked = False  # in this process; and in the one that it was forked from


def computing() -> None:
    """Notes that models are made or run in this process; cheap.

    Raises:
        BertError: so they were in the process that this one was forked from, on TensorFlow or
            JAX. Their threads are not there after a fork, and are waited for without end.
    """
    global _computes
    if _forked and (name := current()) != "openvino":
        raise BertError(
            f"this process was forked from one in which models were made or run; {name} would hang "
            "here. Start processes with multiprocessing.get_context('spawn'), or fork before the "
            "first model is made."
        )
    _computes = True


def _note_fork() -> None:
    global _forked, _MAKING
    _forked = _computes
    _MAKING = threading.RLock()  # another thread of the parent may hold it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def making() -> Iterator[None]:
    """Inside, or in what it decorates, no other thread makes a model: Keras is not safe there."""
    with _MAKING:
        yield


class made_once(cached_property[T]):  # noqa: N801
    """A `cached_property` that is made once, however many threads ask for it at the same time."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        with _MAKING:
            return super().__get__(instance, owner)
