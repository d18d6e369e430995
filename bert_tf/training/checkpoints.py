"""`TrainingCheckpoints`: a training's whole state, saved and restored in the original format."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from bert_tf.checkpoint import CheckpointReader, allocate
from bert_tf.checkpoint.names import ADAM_M, ADAM_V, STEP
from bert_tf.checkpoint.writer import CheckpointWriter
from bert_tf.config import CONFIG_NAME, VOCAB_NAME
from bert_tf.errors import BertError
from bert_tf.files.locks import lock
from bert_tf.files.log import warn
from bert_tf.files.reading import read_bounded, read_object
from bert_tf.files.whole import make_folder, remove_unfinished, write_whole, writing
from bert_tf.models.weights import SavedWeight
from bert_tf.training.optimizer import BertAdam
from bert_tf.training.starting import BASE, steps_in

STATE = ".training.json"
"""Ending of a checkpoint's file for what the original format cannot hold."""


class TrainingCheckpoints:
    """Saves and restores weights, Adam's slots, step, random states and the position in the data.

    A checkpoint is three files, `model.ckpt-<step>.data-*`, `.training.json` and `.index`; the
    index gets its name last, so that it exists only if all do. A process killed while writing
    leaves the previous checkpoint as the last one, or a new one that the next start completes; it
    also removes hidden files.
    The file `checkpoint` names the last one, as TensorFlow expects.

    Args:
        folder: made if it is not there.
        weights: what is trained, see `bert_tf.models.weights.saved_weights`.
        model: the trained model, for the states of its random generators.
        optimizer: built.
        keep: how many checkpoints are kept; older ones are removed once a new one is complete.
        extra: further float32 arrays by name, such as the best weights so far. The dictionary is
            read when a checkpoint is saved, and filled when one is restored.

    Raises:
        BertError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        weights: Iterable[SavedWeight],
        model: keras.Model,
        optimizer: BertAdam,
        keep: int = 2,
        extra: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.folder = os.path.expanduser(os.fspath(folder))
        self._random = [v for v in model.non_trainable_variables if "seed_generator" in v.path]
        self._optimizer = optimizer
        self._keep = max(1, keep)
        self._damaged: set[int] = set()
        make_folder(self.folder)
        self._weights = list(weights)
        self._extra = {} if extra is None else extra

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from training in the folder at the same time.

        Raises:
            BertError: one does already.
        """

        def refuse() -> None:
            raise BertError(
                f"another process is training in {self.folder}. Wait for it, or give another "
                f"output folder."
            )

        path = os.path.join(self.folder, ".training.lock")
        with contextlib.ExitStack() as stack:
            with writing(path):
                stack.enter_context(lock(path, refuse))
            yield

    def prefix(self, step: int) -> str:
        """The path of a step's checkpoint, without an ending."""
        return os.path.join(self.folder, f"{BASE}-{step}")

    def save(self, step: int, state: Mapping[str, Any]) -> str:
        """Writes a checkpoint, all of it or nothing.

        Args:
            step: how many steps were trained.
            state: what JSON can hold: the position in the data and the like.

        Returns:
            Its prefix.

        Raises:
            BertError: the disk is full or cannot be written, or a weight is no longer a finite
                number; older checkpoints are untouched.
        """
        prefix = self.prefix(step)
        random = [keras.ops.convert_to_numpy(v).reshape(-1).tolist() for v in self._random]
        written = {"state": dict(state), "random": random, "extra": sorted(self._extra)}
        with CheckpointWriter(prefix) as writer:
            written["sha256"] = _digest(written)
            writer.add_file(os.path.basename(prefix) + STATE, json.dumps(written).encode())
            for name, value in itertools.chain(self._tensors(step), sorted(self._extra.items())):
                writer.add(name, value)
            writer.add(STEP, np.asarray(step, np.int64))
        self._damaged.discard(step)
        self.tidy(step)
        for number in self._damaged:
            self._remove(number)
        return prefix

    def tidy(self, step: int) -> None:
        """Names a step's checkpoint as the last, and removes older ones than are to be kept.

        A killed process may have come to neither.
        """
        steps = [n for n in self.steps() if n <= step and n not in self._damaged]
        lines = [f'model_checkpoint_path: "{BASE}-{step}"\n']
        lines += [f'all_model_checkpoint_paths: "{BASE}-{n}"\n' for n in steps[-self._keep :]]
        path, text = os.path.join(self.folder, "checkpoint"), "".join(lines)
        if not os.path.isfile(path) or read_bounded(path) != text.encode():
            write_whole(path, text)
        for number in steps[: -self._keep]:
            self._remove(number)

    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, ascending."""
        return steps_in(self.folder)

    def last_state(self) -> dict[str, Any]:
        """The state that the last checkpoint was saved with; empty if none can be read."""
        for step in reversed(self.steps()):
            with contextlib.suppress(BertError, ValueError, KeyError, TypeError):
                return dict(self._written(step)["state"])
        return {}

    def discard(self) -> None:
        """Removes all checkpoints, so that training starts over."""
        for step in self.steps():
            self._remove(step)

    def restore_last(self, *, tidy: bool = True) -> tuple[int, dict[str, Any]] | None:
        """Goes back to the last checkpoint; with a warning to one before, if that is damaged.

        Args:
            tidy: whether what a killed process left is removed.

        Returns:
            Its step and the state saved with it; None if there is no checkpoint.

        Raises:
            BertError: all are damaged, or it is of another model.
        """
        if tidy:
            self._remove_unfinished()
        earlier = self.steps()
        while earlier:
            last = earlier.pop()
            try:
                return last, self._restore(last)
            except _DamagedError as error:
                self._damaged.add(last)
                if not earlier:
                    damaged = " and ".join(f"{self.prefix(n)}.*" for n in sorted(self._damaged))
                    raise BertError(
                        f"{error} No earlier checkpoint is there. To start over, remove the files "
                        f"{damaged}, or give another output folder."
                    ) from error
                warn(
                    f"{error} Training resumes from the one before, {self.prefix(earlier[-1])}; "
                    f"when the next checkpoint is saved, the damaged one is removed."
                )
        return None

    def _restore(self, step: int) -> dict[str, Any]:
        prefix = self.prefix(step)
        try:
            written = self._written(step)
            state = dict(written["state"])
            random = [np.array([*map(int, row)], np.int64) for row in written["random"]]
            extra = [str(name) for name in written.get("extra", [])]
        except (BertError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise _DamagedError(
                f"{prefix} cannot be continued from: {prefix + STATE} is missing or damaged."
            ) from error
        with _damage(prefix), CheckpointReader(prefix) as reader:
            for saved, name, variable in self._variables():
                value = _read_array(reader, name, saved.weight.shape)
                saved.assign(value, variable, copy=False)
            self._extra.clear()
            self._extra.update({name: _read_array(reader, name, None) for name in extra})
        self._optimizer.iterations.assign(step)
        if [len(numbers) for numbers in random] != [math.prod(v.shape) for v in self._random]:
            raise BertError(
                f"{prefix} was trained with another dropout: it has {len(random)} random states, "
                f"this model {len(self._random)}. Continue with the same dropout."
            )
        for variable, numbers in zip(self._random, random, strict=True):
            variable.assign(numbers.reshape(tuple(variable.shape)))
        return state

    def _written(self, step: int) -> dict[str, Any]:
        """What `save` wrote to a state file; before 0.2.0 that had no checksum."""
        path = self.prefix(step) + STATE
        written = read_object(path, nan=True)
        if written.pop("sha256", None) not in (None, _digest(written)):
            raise BertError(f"{path} is damaged: its checksum is wrong.")
        return written

    def _variables(self) -> Iterator[tuple[SavedWeight, str, Any]]:
        """Each weight, and each of its slots, with the name of its tensor and its variable."""
        for saved in self._weights:
            m, v = self._optimizer.slots(saved.variable)
            for ending, variable in (("", saved.variable), (ADAM_M, m), (ADAM_V, v)):
                yield saved, saved.name + ending, variable

    def _tensors(self, step: int) -> Iterator[tuple[str, np.ndarray]]:
        for saved, name, variable in self._variables():
            value = saved.value(variable)
            # The loss shows it one step later: what is saved here would be of no use.
            if not np.isfinite(value).all():
                raise BertError(
                    f"after step {step} {name} holds numbers that are not finite; no checkpoint "
                    f"was saved. Lower `learning_rate` or lengthen the warm-up, and start again."
                )
            yield name, value

    def _remove(self, step: int) -> None:
        prefix = self.prefix(step)
        # The index first: without it the rest is no longer a checkpoint.
        for end in (".index", STATE, ".data-*"):
            for path in glob.glob(glob.escape(prefix) + end):
                with contextlib.suppress(OSError):
                    os.remove(path)

    def _remove_unfinished(self) -> None:
        """Removes what a killed process left: hidden files, and data without an index."""
        whole, others = self.steps(), ("checkpoint", CONFIG_NAME, VOCAB_NAME)
        remove_unfinished(self.folder, lambda name: name in others or name.startswith(f"{BASE}-"))
        for name in os.listdir(self.folder):
            found = re.match(re.escape(BASE) + r"-(\d+)", name)
            if found and int(found[1]) not in whole:
                with contextlib.suppress(OSError):
                    os.remove(os.path.join(self.folder, name))


class NoCheckpoints(TrainingCheckpoints):
    """For a training that nobody will continue: neither writes nor finds anything.

    That saves three times the model's size on disk; some machines hold their temporary folder in
    memory.
    """

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """There is nothing that another process could disturb."""
        yield

    def save(self, step: int, state: Mapping[str, Any]) -> str:
        """Only checks that the weights are finite; a `BertError` if one is not."""
        for _ in self._tensors(step):
            pass
        return self.prefix(step)

    def steps(self) -> list[int]:
        """None."""
        return []

    def restore_last(self, *, tidy: bool = True) -> tuple[int, dict[str, Any]] | None:
        """None."""
        return None


def _digest(written: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


class _DamagedError(BertError):
    """A checkpoint that cannot be read, where an older one may do."""


class _OtherModelError(BertError):
    """A checkpoint that is not of this training."""


@contextlib.contextmanager
def _damage(prefix: str) -> Iterator[None]:
    """Turns what a reader says of a file into a `_DamagedError`, without its advice."""
    try:
        yield
    except _OtherModelError:
        raise
    except BertError as error:
        reason = re.split(r"[.:;] (?=copy or download|put it)", str(error), flags=re.I)[0].rstrip(
            "."
        )
        raise _DamagedError(f"{prefix} cannot be continued from: {reason}.") from error


def _read_array(reader: CheckpointReader, name: str, shape: tuple[int, ...] | None) -> np.ndarray:
    """A tensor in memory of its own, not a view of the file: a variable may take it over."""
    if name not in reader.tensors:
        raise _OtherModelError(
            f"training cannot resume from {reader.prefix}, only begin: it lacks the tensor {name}."
        )
    found = reader.tensors[name].shape
    if shape not in (None, found):
        raise _OtherModelError(
            f"{reader.prefix} is of another model: its {name} has the shape {list(found)}, here "
            f"it is {list(shape or ())}. Give another output folder, or the config that this "
            f"one was started with."
        )
    value = allocate(found, np.float32)
    reader.read_into(name, value)
    return value
