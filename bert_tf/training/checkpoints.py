"""`TrainingCheckpoints`: a training's whole state in the original format, kept and found again."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from bert_tf.checkpoint import CheckpointReader, allocate
from bert_tf.checkpoint.slots import ADAM_M, ADAM_V, STEP
from bert_tf.checkpoint.writer import CheckpointWriter
from bert_tf.config import CONFIG_NAME, VOCAB_NAME
from bert_tf.errors import BertError
from bert_tf.files.locks import lock
from bert_tf.files.reading import read_object
from bert_tf.files.whole import make_folder, remove_unfinished, write_whole, writing
from bert_tf.models.weights import SavedWeight
from bert_tf.training.optimizer import BertAdam

BASE = "model.ckpt"
"""Checkpoints are called `model.ckpt-<step>`, as the original's Estimator called them."""

STATE = ".training.json"
"""Ending of the file beside a checkpoint with what the original format has no place for."""

_BESIDE = ("checkpoint", CONFIG_NAME, VOCAB_NAME)

_NAME = re.compile(re.escape(BASE) + r"-(\d+)\.index")


class TrainingCheckpoints:
    """Saves and restores weights, Adam's slots, step, random states and the place in the data.

    A checkpoint is three files, `model.ckpt-<step>.data-*`, `.training.json` and `.index`, and
    the index gets its name last: who finds it finds all. So a process that is killed while it
    writes leaves the checkpoint before as the last one, and some hidden files that the next
    start removes. The file `checkpoint` names the last one, as TensorFlow expects.

    Args:
        folder: made if it is not there.
        weights: what is trained, see `bert_tf.models.weights.saved_weights`.
        model: the trained model, for the states of its random generators.
        optimizer: built.
        keep: how many checkpoints are kept; older ones are removed once a new one is complete.
        extra: further float32 arrays by name, such as the best weights so far. The dictionary is
            looked at when a checkpoint is saved, and filled when one is restored.

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
        self._model = model
        self._optimizer = optimizer
        self._keep = max(1, keep)
        make_folder(self.folder)
        self._weights = list(weights)
        self._extra = {} if extra is None else extra

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from training in the same folder meanwhile.

        Raises:
            BertError: one does.
        """

        def refuse() -> None:
            raise BertError(
                f"another process is training in {self.folder}. Wait for its end, or give another "
                f"output folder."
            )

        path = os.path.join(self.folder, ".training.lock")
        with contextlib.ExitStack() as stack:
            with writing(path):
                stack.enter_context(lock(path, refuse))
            yield

    def prefix(self, step: int) -> str:
        """The path of the checkpoint of a step, without an ending."""
        return os.path.join(self.folder, f"{BASE}-{step}")

    def save(self, step: int, state: Mapping[str, Any]) -> str:
        """Writes a checkpoint, all of it or nothing.

        Args:
            step: how many steps were trained.
            state: what JSON can hold: the place in the data and the like.

        Returns:
            Its prefix.

        Raises:
            BertError: the disk is full or cannot be written, or a weight is not a number any
                more; older checkpoints are untouched.
        """
        prefix = self.prefix(step)
        extra = sorted(self._extra)
        written = {
            "state": dict(state),
            "random": self._random_states(),
            "extra": extra,
        }
        with CheckpointWriter(prefix) as writer:
            writer.add_file(os.path.basename(prefix) + STATE, json.dumps(written).encode())
            for name, value in self._tensors():
                # The loss shows it one step later: what is saved here would be of no use.
                if not np.isfinite(value).all():
                    raise BertError(
                        f"after step {step} {name} holds numbers that are not finite; this "
                        f"checkpoint was not saved. Lower --learning_rate or lengthen the "
                        f"warm-up (--num_warmup_steps), and start again."
                    )
                writer.add(name, value)
            for name in extra:
                writer.add(name, self._extra[name])
            writer.add(STEP, np.asarray(step, np.int64))
        self._name_last(step)
        for old in self.steps()[: -self._keep]:
            self._remove(old)
        return prefix

    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, ascending."""
        found = (_NAME.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match.group(1)) for match in found if match)

    def last_state(self) -> dict[str, Any]:
        """The state that the last checkpoint was saved with; empty if none can be read."""
        path = self.prefix(max(self.steps(), default=0)) + STATE
        try:
            return dict(read_object(path)["state"])
        except (BertError, ValueError, KeyError, TypeError):
            return {}

    def discard(self) -> None:
        """Removes all checkpoints, so that training begins anew."""
        for step in self.steps():
            self._remove(step)

    def restore_last(self, *, tidy: bool = True) -> tuple[int, dict[str, Any]] | None:
        """Goes back to the last checkpoint.

        Args:
            tidy: whether what a killed process left is removed.

        Returns:
            Its step and the state that it was saved with; None if there is no checkpoint.

        Raises:
            BertError: it is damaged, or of another model.
        """
        if tidy:
            self._remove_unfinished()
        steps = self.steps()
        if not steps:
            return None
        prefix = self.prefix(steps[-1])
        try:
            written = read_object(prefix + STATE)
            state = dict(written["state"])
            random = [[int(x) for x in numbers] for numbers in written["random"]]
            extra = [str(name) for name in written.get("extra", [])]
        except (BertError, ValueError, KeyError, TypeError) as error:
            raise BertError(
                f"{prefix} cannot be continued from: {prefix + STATE} is missing or damaged. "
                f"Remove this checkpoint to go on from the one before, or give another output "
                f"folder and this checkpoint as --init_checkpoint."
            ) from error
        with CheckpointReader(prefix) as reader:
            for saved in self._weights:
                m, v = self._optimizer.slots(saved.variable)
                for ending, target in (("", saved.variable), (ADAM_M, m), (ADAM_V, v)):
                    value = self._read_array(reader, saved.name + ending, saved.weight.shape)
                    saved.assign(value, target, copy=False)
            self._extra.clear()
            for name in extra:
                self._extra[name] = self._read_array(reader, name, None)
        self._optimizer.iterations.assign(steps[-1])
        self._set_random_states(random, prefix)
        return steps[-1], state

    def _read_array(
        self, reader: CheckpointReader, name: str, shape: tuple[int, ...] | None
    ) -> np.ndarray:
        """A tensor in memory of its own, not a view of the file: a variable may take it over."""
        if name not in reader.tensors:
            raise BertError(
                f"{reader.prefix} lacks the tensor {name}, so that training cannot go on from "
                f"it; give another output folder, and this checkpoint as --init_checkpoint."
            )
        found = reader.tensors[name].shape
        if shape is not None and found != shape:
            raise BertError(
                f"{reader.prefix} is of another model: its {name} has the shape "
                f"{list(found)}, here it is {list(shape)}. Give another "
                f"output folder, or the config that this one was begun with."
            )
        value = allocate(found, np.float32)
        reader.read_into(name, value)
        return value

    def _tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        for saved in self._weights:
            m, v = self._optimizer.slots(saved.variable)
            for ending, source in (("", saved.variable), (ADAM_M, m), (ADAM_V, v)):
                yield saved.name + ending, saved.value(source)

    def _random_states(self) -> list[list[int]]:
        """The states of dropout's generators, in the model's order."""
        return [
            [int(x) for x in keras.ops.convert_to_numpy(variable).reshape(-1)]
            for variable in self._random_variables()
        ]

    def _random_variables(self) -> list[Any]:
        return [
            variable
            for variable in self._model.non_trainable_variables
            if "seed_generator" in variable.path
        ]

    def _set_random_states(self, states: list[list[int]], prefix: str) -> None:
        variables = self._random_variables()
        if [len(state) for state in states] != [math.prod(v.shape) for v in variables]:
            raise BertError(
                f"{prefix} was trained with another dropout: it has {len(states)} random states, "
                f"this model {len(variables)}. Continue with the same dropout."
            )
        for variable, state in zip(variables, states, strict=True):
            variable.assign(np.asarray(state).reshape(tuple(variable.shape)))

    def _name_last(self, step: int) -> None:
        """Writes the small text file by which TensorFlow finds the last checkpoint."""
        path = os.path.join(self.folder, "checkpoint")
        kept = self.steps()[-self._keep :]
        lines = [f'model_checkpoint_path: "{BASE}-{step}"']
        lines += [f'all_model_checkpoint_paths: "{BASE}-{number}"' for number in kept]
        write_whole(path, "\n".join(lines) + "\n")

    def _remove(self, step: int) -> None:
        prefix = self.prefix(step)
        # The index first: without it the rest is no checkpoint any more.
        data = glob.glob(glob.escape(prefix) + ".data-*")
        for path in (prefix + ".index", prefix + STATE, *data):
            with contextlib.suppress(OSError):
                os.remove(path)

    def _remove_unfinished(self) -> None:
        """Removes what a killed process left: hidden files, and data without an index."""
        whole = {f"{BASE}-{step}" for step in self.steps()}
        remove_unfinished(self.folder, lambda name: name in _BESIDE or name.startswith(f"{BASE}-"))
        for name in os.listdir(self.folder):
            match = re.match(re.escape(BASE) + r"-\d+", name)
            if match and match.group() not in whole:
                with contextlib.suppress(OSError):
                    os.remove(os.path.join(self.folder, name))
