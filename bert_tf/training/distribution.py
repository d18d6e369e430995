"""`distribute`: has a training use all devices, each for its part of a batch's rows."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.files.reading import parse_json
from bert_tf.options import check_choice

Batch = Mapping[str, np.ndarray]

_HOSTS = tuple(
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)
"""The environment variables by which `keras.distribution` finds the other hosts."""


class Distribution:
    """One device: the default, and what several are compared with.

    Each device has all weights. Of several, each gets equally many rows of a batch, and their
    gradients are added up before they are clipped, so that a step is that of one device with the
    whole batch. Weights in checkpoints are those of one device: a training resumes with any number
    of them.

    Attributes:
        count: devices in all.
        processes: that they are in. All make the same calls with the same batches.
        leads: whether this process is the one that writes files and messages.
        warning: what a user should know, or None.
    """

    count = 1
    processes = 1
    leads = True
    warning: str | None = None

    def scope(self) -> AbstractContextManager[Any]:
        """Where model and optimizer are made (and the optimizer is built)."""
        return contextlib.nullcontext()

    def check(self, rows: int, parts: int = 1) -> None:
        """Makes sure that each device gets equally many rows of a batch.

        Args:
            rows: of a batch.
            parts: that it is computed in, one after another.

        Raises:
            BertError: they cannot be divided so.
        """
        each = self.count * parts
        if rows % each:
            among = f"among {self.count} devices" + (f" in {parts} parts" if parts > 1 else "")
            below = rows - rows % each
            raise BertError(
                f"a batch of {rows} rows cannot be divided equally {among}; choose a batch size "
                f"that {each} divides, such as {f'{below} or ' if below else ''}{below + each}."
            )

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process. All must ask; that takes a message to and fro."""
        return bool(self._of_all(int(flag)).any())

    def same(self, number: int) -> bool:
        """Whether all processes have the same number. All must ask."""
        return bool((self._of_all(number) == number).all())

    def _of_all(self, number: int) -> np.ndarray:
        """The number that each process has."""
        if self.processes == 1:
            return np.asarray([number])
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(np.asarray(number, np.int32)))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What fails in this block in one process fails in all, instead of leaving them to wait.

        All leave it at the same time.

        Raises:
            BertError: it failed in another process.
        """
        error = None
        try:
            yield
        except BertError as found:
            error = found
        failed = self.any(error is not None)
        if error is not None:
            raise error
        if failed:
            raise BertError("another process of this training has stopped; it says why.")


class Mirrored(Distribution):
    """The devices of one machine on TensorFlow.

    Args:
        devices: their names.

    Attributes:
        strategy: a `tf.distribute.MirroredStrategy`.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        import tensorflow as tf

        self.count = len(devices)
        self._devices = devices
        self.strategy = tf.distribute.MirroredStrategy(list(devices))

    def scope(self) -> AbstractContextManager[Any]:
        """The strategy's: variables made in it are on every device."""
        return self.strategy.scope()

    def place(self, batch: Batch) -> Any:
        """Each replica's rows on its device; what has no rows goes to all."""
        import tensorflow as tf

        def own(context: Any) -> dict[str, Any]:
            number = int(context.replica_id_in_sync_group)
            with tf.device(self._devices[number]):
                return {
                    name: tf.constant(np.split(x, self.count)[number] if np.ndim(x) else x)
                    for name, x in batch.items()
                }

        return self.strategy.experimental_distribute_values_from_function(own)


class Sharded(Distribution):
    """The devices of one or several hosts on JAX, by `keras.distribution.DataParallel`.

    Attributes:
        replicated: the `jax.sharding.NamedSharding` of what every device has whole.
        on_cpu: whether they are CPU devices, as in tests.
    """

    def __init__(self) -> None:
        import jax
        import keras

        # Each process makes all batches itself: no data set is to be divided.
        self._parallel = keras.distribution.DataParallel(
            devices=keras.distribution.list_devices(), auto_shard_dataset=False
        )
        mesh = self._parallel.device_mesh.backend_mesh
        self.count = mesh.size
        self.on_cpu = mesh.devices.flat[0].platform == "cpu"
        self.processes = jax.process_count()
        self.leads = jax.process_index() == 0
        sharding, spec = jax.sharding.NamedSharding, jax.sharding.PartitionSpec
        self.replicated = sharding(mesh, spec())
        self._by_rows = sharding(mesh, spec(mesh.axis_names[0]))

    def scope(self) -> AbstractContextManager[Any]:
        """That of `keras.distribution`: variables made in it are on every device."""
        return self._parallel.scope()

    def place(self, batch: Batch) -> dict[str, Any]:
        """The rows over all devices if they can be divided, else all of them on each."""
        import jax

        def placed(x: np.ndarray) -> Any:
            divides = x.ndim > 0 and len(x) % self.count == 0
            # All processes have the batch; each takes what its own devices need.
            return jax.make_array_from_callback(
                x.shape, self._by_rows if divides else self.replicated, lambda index: x[index]
            )

        return {name: placed(np.asarray(x)) for name, x in batch.items()}


def connect() -> None:
    """Joins the processes of several hosts, if the environment names them, on JAX.

    Call it before anything is computed, so before a model is loaded. Each process has
    `KERAS_DISTRIBUTION_JOB_ADDRESSES` (host:port of process 0, or of all),
    `KERAS_DISTRIBUTION_NUM_PROCESSES` and `KERAS_DISTRIBUTION_PROCESS_ID` (from 0). If they are
    not set, or the processes are joined already, nothing happens. All processes need the data and
    a common output folder.

    Raises:
        BertError: the variables make no sense, Keras does not run on JAX, something was computed
            already, or the others do not answer.
    """
    given = {name: os.environ[name] for name in _HOSTS if os.environ.get(name)}
    if not given:
        return
    import keras

    if keras.backend.backend() != "jax":
        raise BertError(
            f"{next(iter(given))} is set, but does nothing on {keras.backend.backend()}; several "
            f"hosts need JAX (`KERAS_BACKEND=jax`)."
        )
    if missing := [name for name in _HOSTS if name not in given]:
        raise BertError(
            f"{', '.join(missing)} is not set; each process needs {', '.join(_HOSTS)}, such as "
            f"10.0.0.1:1234, 2 and 0."
        )
    numbers = (given[name].strip() for name in _HOSTS[1:])
    number, own = (int(x) if x.isdecimal() else -1 for x in numbers)
    if not 0 <= own < number:
        raise BertError(
            f"{_HOSTS[1]} is {given[_HOSTS[1]]!r} and {_HOSTS[2]} {given[_HOSTS[2]]!r}; give a "
            f"number of processes, and which of them this is, from 0."
        )
    import jax

    if jax.distributed.is_initialized():
        return
    first = given[_HOSTS[0]].split(",")[0].strip()
    try:
        # `keras.distribution.initialize` calls this too, and then takes some seconds to agree on
        # a seed in the first collective operation, which a training has already.
        jax.distributed.initialize(first, number, own)
    except (RuntimeError, ValueError) as error:
        raise BertError(
            f"the processes at {first} could not be joined: "
            f"{str(error).splitlines()[0].rstrip('.')}. From Python, call "
            f"bert_tf.training.distribution.connect() before a model is loaded."
        ) from error


def leads() -> bool:
    """Whether this process is the one that writes files; of one process alone, true."""
    jax = sys.modules.get("jax")
    return jax is None or not jax.distributed.is_initialized() or jax.process_index() == 0


def distribute(kind: str) -> Distribution:
    """The devices to train on.

    Args:
        kind: `"none"` for one device; `"data"` for all: on TensorFlow the GPUs of this machine
            (or else its logical CPU devices), on JAX all that it finds, also on other hosts (see
            `connect`).

    Raises:
        BertError: there is no such kind, or not on this backend or in this environment.
    """
    check_choice("distribute", kind, ("none", "data"))
    if kind == "none":
        return Distribution()
    import keras

    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise BertError(
            f"Keras runs on {backend}, which cannot train; choose tensorflow (the GPUs of one "
            f"machine) or jax (GPUs, TPUs, several hosts) with `KERAS_BACKEND`."
        )
    connect()
    if backend == "jax":
        names = keras.distribution.list_devices()
    else:
        _refuse_on_tensorflow()
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        names = [device.name for device in devices]
    if len(names) > 1:
        return Sharded() if backend == "jax" else _mirrored(tuple(names))
    one = Distribution()
    one.warning = (
        f"there is only one device to train on, {names[0].removeprefix('/device:')}: distribute="
        f"'data' changes nothing."
    )
    return one


# Only one: each strategy numbers its sums from the same start, and TensorFlow confuses the
# sums of two strategies that have the same number.
_mirrored = functools.cache(Mirrored)


def _refuse_on_tensorflow() -> None:
    """Raises a `BertError` if the environment asks for what does not work there."""
    import keras
    import tensorflow as tf

    try:
        cluster = parse_json(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        tasks = sum(len(addresses) for addresses in cluster.values())
    except (AttributeError, TypeError, ValueError) as error:
        raise BertError(
            "the environment's TF_CONFIG is no description of a cluster; unset it to train on "
            "the GPUs of this machine."
        ) from error
    if tasks > 1:
        raise BertError(
            f"TF_CONFIG names {tasks} workers, but MultiWorkerMirroredStrategy does not work with "
            f"Keras 3. On several hosts train on JAX (`KERAS_BACKEND=jax`), with "
            f"{', '.join(_HOSTS)} set in each process. To train here alone, unset TF_CONFIG."
        )
    if keras.distribution.distribution() is not None:
        raise BertError(
            "keras.distribution is set, but does nothing on TensorFlow; use JAX "
            "(`KERAS_BACKEND=jax`), or unset it: the GPUs of this machine are found without it."
        )
    if tf.distribute.has_strategy():
        raise BertError(
            "this was called in the scope of a tf.distribute strategy; call it outside: it makes "
            "its own MirroredStrategy."
        )
    if tf.config.list_physical_devices("TPU"):
        raise BertError("to train on TPUs use JAX: `KERAS_BACKEND=jax`.")
