"""Converting without Keras; TensorFlow's reader says whether the bits are the same."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bert_tf.checkpoint import CheckpointReader, is_slot, is_training_state, write_release
from bert_tf.cli.convert import show
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.export.convert import convert_checkpoint
from bert_tf.hub.locate import locate

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

GOLDEN = Path(__file__).parent / "golden" / "tiny_ckpt"
ROOT = Path(__file__).parent.parent
KERNEL = "bert/pooler/dense/kernel"


def arrays(prefix: str | Path) -> dict[str, np.ndarray]:
    judge = tf.train.load_checkpoint(str(prefix))
    return {n: np.asarray(judge.get_tensor(n)) for n in judge.get_variable_to_shape_map()}


def same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[n].dtype == other[n].dtype and one[n].tobytes() == other[n].tobytes() for n in one
    )


def test_is_slot() -> None:
    """Names as google-research/bert's optimization.py leaves them."""
    assert is_slot("bert/embeddings/word_embeddings/adam_m")
    assert is_slot("output_bias/adam_v")
    assert is_slot("beta1_power")
    assert not is_slot("bert/encoder/layer_0/adam_model/kernel")
    assert not is_slot("global_step")
    assert is_training_state("global_step")
    assert not is_training_state(KERNEL)


def test_release_from_training_checkpoint(tmp_path: Path) -> None:
    """187 entries: 62 weights, twice as many slots, the step."""
    report = convert_checkpoint(GOLDEN, tmp_path / "out")
    expected = {n: a for n, a in arrays(GOLDEN / "bert_model.ckpt").items() if "adam" not in n}
    del expected["global_step"]
    assert len(expected) == 62
    assert same_bits(arrays(report.prefix), expected)
    assert list(report.written) == sorted(expected)
    assert len(report.dropped) == 125
    assert report.cast == ()
    assert report.nbytes == sum(a.nbytes for a in expected.values())
    assert report.nbytes == os.path.getsize(report.prefix + ".data-00000-of-00001")
    for name in ("bert_config.json", "vocab.txt"):
        assert filecmp.cmp(GOLDEN / name, tmp_path / "out" / name, shallow=False)
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_whole_training_checkpoint_is_byte_for_byte(tmp_path: Path) -> None:
    report = convert_checkpoint(GOLDEN, tmp_path / "out", keep_slots=True)
    assert report.dropped == ()
    for path in GOLDEN.iterdir():
        if path.suffix != ".meta":
            assert filecmp.cmp(path, tmp_path / "out" / path.name, shallow=False), path.name


def test_shards_apart_and_together_again(tmp_path: Path) -> None:
    report = convert_checkpoint(GOLDEN, tmp_path / "many", keep_slots=True, num_shards=5)
    assert report.num_shards == 5
    assert len(list((tmp_path / "many").glob("*.data-*-of-00005"))) == 5
    assert same_bits(arrays(report.prefix), arrays(GOLDEN / "bert_model.ckpt"))
    convert_checkpoint(tmp_path / "many", tmp_path / "one", keep_slots=True)
    for path in GOLDEN.glob("bert_model.ckpt.[di]*"):
        assert filecmp.cmp(path, tmp_path / "one" / path.name, shallow=False)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_narrower_and_back(tmp_path: Path, name: str, caplog) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)
    source = arrays(GOLDEN / "bert_model.ckpt")
    report = convert_checkpoint(GOLDEN, tmp_path / "half", dtype=name, keep_slots=True)
    half = arrays(report.prefix)
    for tensor, value in source.items():
        # Slots stay as they are: the mean of squares would become 0. The step is an integer.
        narrow = "adam" not in tensor and tensor != "global_step"
        expected = tf.cast(value, dtype).numpy() if narrow else value
        assert half[tensor].dtype == expected.dtype
        assert half[tensor].tobytes() == expected.tobytes()
    assert len(report.cast) == 62
    assert len(report.warnings) == 1
    assert caplog.messages == list(report.warnings)
    assert re.search(
        rf"in {name}\..*Google's own code cannot.*`dtype=.float32.`", report.warnings[0]
    )
    wide = convert_checkpoint(tmp_path / "half", tmp_path / "back", dtype="float32")
    assert wide.warnings == ()
    back = arrays(wide.prefix)
    for tensor, value in back.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, half[tensor].astype(np.float32))


def test_too_large_for_float16(tmp_path: Path) -> None:
    values = {KERNEL: np.full((2, 2), 1e5, np.float32)}
    config = BertConfig.from_file(GOLDEN / "bert_config.json")
    write_release(tmp_path / "big", config, GOLDEN / "vocab.txt", values)
    with pytest.raises(BertError, match=rf"{KERNEL}.*100000.*too large for float16"):
        convert_checkpoint(tmp_path / "big", tmp_path / "half", dtype="float16")
    assert not (tmp_path / "half").exists()
    report = convert_checkpoint(tmp_path / "big", tmp_path / "half", dtype="bfloat16")
    assert arrays(report.prefix)[KERNEL].dtype == ml_dtypes.bfloat16


def test_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN, folder)
    before = arrays(folder / "bert_model.ckpt")
    with pytest.raises(BertError, match=r"exists; .*`overwrite=True`"):
        convert_checkpoint(folder, folder)
    report = convert_checkpoint(folder, folder, num_shards=2, overwrite=True)
    after = arrays(report.prefix)
    assert same_bits(after, {n: before[n] for n in after})
    assert sorted(path.name for path in folder.glob("bert_model.ckpt.data*")) == [
        "bert_model.ckpt.data-00000-of-00002",
        "bert_model.ckpt.data-00001-of-00002",
    ]
    assert (folder / "vocab.txt").read_bytes() == (GOLDEN / "vocab.txt").read_bytes()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_damage_stops_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN, folder)
    data = folder / "bert_model.ckpt.data-00000-of-00001"
    raw = bytearray(data.read_bytes())
    raw[-1] ^= 128
    data.write_bytes(raw)
    with pytest.raises(BertError, match=r"is damaged.*checksum"):
        convert_checkpoint(folder, tmp_path / "out", keep_slots=True)
    assert not (tmp_path / "out").exists()


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(BertError, match=r"'int8' is not one of float32, float16, bfloat16"):
        convert_checkpoint(GOLDEN, tmp_path / "out", dtype="int8")
    shutil.copytree(GOLDEN, tmp_path / "m")
    (tmp_path / "m" / "bert_config.json").write_text("{}")
    with pytest.raises(BertError, match=r"bert_config.json.*vocab_size"):
        convert_checkpoint(tmp_path / "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strings_are_dropped_and_said_so(tmp_path: Path) -> None:
    for name in ("bert_config.json", "vocab.txt"):
        shutil.copy(GOLDEN / name, tmp_path)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt-3"),
        tensor_names=["note", KERNEL],
        shape_and_slices=["", ""],
        tensors=[tf.constant(["text"]), tf.constant([1.0])],
    )
    report = convert_checkpoint(tmp_path, tmp_path / "out")
    assert report.dropped == ("note",)
    assert arrays(report.prefix).keys() == {KERNEL}
    shown = show(report, None)
    assert "left out 1 tensors that hold text, not numbers: note" in shown
    assert "training state" not in shown


def test_random_checkpoint_of_the_benchmarks(tmp_path: Path) -> None:
    """The tiny size has 46 tensors: 5 + 16 for each of 2 layers + pooler 2 + heads 7."""
    script = ROOT / "benchmarks" / "make_checkpoint.py"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(tmp_path / "r"), "--size", "tiny"]
    subprocess.run(command, check=True, env=env, capture_output=True)
    with locate(tmp_path / "r") as files, CheckpointReader(files.prefix) as reader:
        assert len(reader.tensors) == 5 + 2 * 16 + 2 + 7
        table = reader.read("bert/embeddings/word_embeddings")
        lines = (tmp_path / "r" / "vocab.txt").read_text(encoding="utf-8").split("\n")
        assert len(set(lines[:-1])) == len(table) == 1000
        assert lines[103] == "[MASK]"
        # A normal of deviation 0.02 cut off at two deviations has the deviation 0.88 * 0.02.
        assert np.abs(table).max() <= 0.04
        assert np.std(table) == pytest.approx(0.0176, rel=0.01)
        golden = set(arrays(GOLDEN / "bert_model.ckpt"))
        assert {n for n in golden if "/layer_1/" in n and not is_slot(n)} <= set(reader.tensors)
    again = subprocess.run(command, env=env, capture_output=True, text=True)
    assert again.returncode == 1
    assert "exists; " in again.stderr
