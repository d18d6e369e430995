"""`EventWriter`: scalars for TensorBoard, in its own file format, without TensorFlow.

An event file is a TFRecord file of `tensorflow.Event` messages (tensorflow/core/util/event.proto):
`Event{1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary, 7: SessionLog}`,
`Summary{1: repeated Value{1: string tag, 2: float simple_value}}`, `SessionLog{1: status}`.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping

from bert_tf.checkpoint.proto import BYTES, FIXED32, FIXED64, VARINT, write_varint
from bert_tf.data.pretraining.record_files import frame
from bert_tf.files.whole import writing


class EventWriter:
    """Adds a file of events to a folder, which TensorBoard calls a run.

    Each event is in the file when the call returns. TensorBoard skips an event that a killed
    process left cut off at the end of its file.

    Args:
        folder: made if it is not there.
        first_step: the step that this file begins with. TensorBoard drops what older files of the
            folder say of this step and later ones: after a restart they are trained again.

    Raises:
        BertError: the file cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], first_step: int = 0) -> None:
        moment = time.time_ns()
        # TensorBoard reads files sorted by name, so that is to be the order of time.
        name = f"events.out.tfevents.{moment // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
        self._path = os.path.join(folder, f"{name}.{moment % 10**9}")
        with writing(self._path):
            os.makedirs(folder, exist_ok=True)
            self._file = open(self._path, "xb", buffering=0)  # noqa: SIM115  (held open)
        self._write(_field(3, b"brain.Event:2"))
        self._write(_field(2, first_step) + _field(7, _field(1, 1)))  # status 1: START

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds numbers by name, all of one step, as float32.

        Raises:
            BertError: the disk is full.
        """
        summary = b"".join(
            _field(1, _field(1, name.encode()) + _head(2, FIXED32) + struct.pack("<f", value))
            for name, value in values.items()
        )
        self._write(_field(2, step) + _field(5, summary))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        moment = _head(1, FIXED64) + struct.pack("<d", time.time())
        with writing(self._path):
            self._file.write(frame(moment + event))


def _head(number: int, wire: int) -> bytes:
    return write_varint(number << 3 | wire)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _head(number, VARINT) + write_varint(value)
    return _head(number, BYTES) + write_varint(len(value)) + value
