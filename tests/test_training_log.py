"""The log of a training: what a restart or a kill leaves, and what TensorBoard reads."""

import csv
import io
import json
import struct

import pytest
import tensorflow as tf

from bert_tf.errors import BertError
from bert_tf.training.events import EventWriter
from bert_tf.training.log import TrainingLog, read_log

ROWS = [
    {"step": 10, "learning_rate": 0.001, "loss": 7.5},
    {"step": 20, "learning_rate": 2e-05, "loss": 1 / 3, "eval_loss": 7.25},
    {"step": 30, "learning_rate": 0.0, "loss": 7.0},
]


def log_of(folder, rows=ROWS, **options):
    log = TrainingLog(folder, **options)
    for row in rows:
        log.add(row)
    return log


def events(folder):
    """(step, name, value) of all scalars and the steps of restarts, read by TensorFlow."""
    found = []
    for path in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            if event.HasField("session_log"):
                assert event.session_log.status == event.session_log.START
                found.append((event.step, "start", None))
            for value in event.summary.value:
                found.append((event.step, value.tag, value.simple_value))
    return found


def test_the_table_has_a_column_for_each_name(tmp_path):
    log_of(tmp_path, events=False)
    assert (tmp_path / "log.csv").read_text() == (
        "step,learning_rate,loss,eval_loss\n10,0.001,7.5,\n20,2e-05,0.3333333,7.25\n30,0,7,\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
    found = read_log(tmp_path / "log.csv")
    assert found == [ROWS[0], {**ROWS[1], "loss": 0.3333333}, ROWS[2]]
    assert type(found[0]["step"]) is int


def test_a_new_log_replaces_that_of_a_run_that_left_no_checkpoint(tmp_path):
    log_of(tmp_path, events=False)
    log = TrainingLog(tmp_path, events=False)
    assert len(log.rows()) == 3  # untouched before the first row
    log.add({"step": 10, "loss": 5.0})
    assert (tmp_path / "log.csv").read_text() == "step,loss\n10,5\n"


@pytest.mark.parametrize(("step", "kept"), [(30, 3), (29, 2), (10, 1), (0, 0)])
def test_a_restart_cuts_off_what_it_will_repeat(step, kept, tmp_path):
    log_of(tmp_path, events=False)
    whole = (tmp_path / "log.csv").read_text()
    log = TrainingLog(tmp_path, events=False)
    log.start(step)
    assert [row["step"] for row in log.rows()] == [10, 20, 30][:kept]
    for row in ROWS[kept:]:
        log.add(row)
    assert (tmp_path / "log.csv").read_text() == whole


def test_a_line_that_was_cut_anywhere_is_no_row(tmp_path):
    """At each byte that a killed process may have stopped at, a restart ends up with the same."""
    log_of(tmp_path, events=False)
    whole = (tmp_path / "log.csv").read_text()
    before = whole.index("30,0")
    for end in range(before, len(whole)):
        (tmp_path / "log.csv").write_text(whole[:end])
        assert [row["step"] for row in read_log(tmp_path / "log.csv")] == [10, 20]
        log = TrainingLog(tmp_path, events=False)
        log.start(20)
        log.add(ROWS[2])
        assert (tmp_path / "log.csv").read_text() == whole


def test_a_table_of_something_else_is_left_alone(tmp_path):
    for text in ("name,price\na,1\n", ""):
        (tmp_path / "log.csv").write_text(text)
        with pytest.raises(BertError, match=r"log\.csv is no log of a training"):
            TrainingLog(tmp_path).add(ROWS[0])
        assert (tmp_path / "log.csv").read_text() == text


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(BertError, match=r"cannot write .*log\.csv: No such file"):
        TrainingLog(tmp_path / "missing").add(ROWS[0])
    (tmp_path / "file").touch()
    with pytest.raises(BertError, match=r"cannot write .*tfevents"):
        EventWriter(tmp_path / "file")


def test_json_lines(tmp_path):
    out = io.StringIO()
    log_of(tmp_path, json_lines=out, events=False)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == ROWS


def test_a_reader_of_json_lines_that_leaves_ends_nothing(tmp_path):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    log = log_of(tmp_path, json_lines=Closed(), events=False)
    assert len(log.rows()) == 3


def test_tensorflow_reads_the_events(tmp_path):
    log_of(tmp_path).close()
    narrow = struct.unpack("<f", struct.pack("<f", 1 / 3))[0]
    assert events(tmp_path / "tensorboard" / "train") == [
        (1, "start", None),
        (10, "learning_rate", pytest.approx(0.001)),
        (10, "loss", 7.5),
        (20, "learning_rate", pytest.approx(2e-05)),
        (20, "loss", narrow),
        (30, "learning_rate", 0),
        (30, "loss", 7.0),
    ]
    assert events(tmp_path / "tensorboard" / "eval") == [(1, "start", None), (20, "loss", 7.25)]


def test_a_restart_tells_tensorboard_from_which_step_on_to_forget(tmp_path):
    """It drops what earlier files say of the step of a START and of later ones."""
    log_of(tmp_path).close()
    log = TrainingLog(tmp_path)
    log.start(20)
    log.add(ROWS[2])
    assert events(tmp_path / "tensorboard" / "train")[-3:] == [
        (21, "start", None),
        (30, "learning_rate", 0),
        (30, "loss", 7.0),
    ]
    first = next(
        tf.compat.v1.train.summary_iterator(
            str(sorted((tmp_path / "tensorboard" / "train").iterdir())[0])
        )
    )
    assert first.file_version == "brain.Event:2"
    assert first.wall_time > 1.5e9


def test_other_programs_read_the_table(tmp_path):
    log_of(tmp_path, events=False)
    with open(tmp_path / "log.csv", newline="") as file:
        assert [row["eval_loss"] for row in csv.DictReader(file)] == ["", "7.25", ""]
