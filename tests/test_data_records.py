"""TFRecord files; TensorFlow, which the original writes and reads them with, is the judge."""

import contextlib
import gzip
import itertools
import json
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from processes import limited_files

from bert_tf.data.pretraining.examples import (
    decode_examples,
    decode_varints,
    encode_examples,
    encode_varints,
)
from bert_tf.data.pretraining.record_files import frame
from bert_tf.data.pretraining.records import FEATURES, RecordStream, find_records
from bert_tf.data.pretraining.shuffle import DiskShuffle
from bert_tf.errors import BertError

EDGES = [0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**31 - 1, 2**32, 2**63 - 1]


def examples(count, length=8, predictions=3, first=0):
    """Features of `count` examples; the first id of each is its number."""
    rng = np.random.default_rng(count + first)
    ids = rng.integers(1, 119_547, (count, length), np.int32)
    ids[:, 0] = np.arange(first, first + count) + 1
    ids[:, length - 2 :] = 0
    mask = (ids != 0).astype(np.int32)
    segments = np.zeros_like(ids)
    segments[:, length // 2 : length - 2] = 1
    weights = np.ones((count, predictions), np.float32)
    weights[:, -1] = 0
    return {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": segments,
        "masked_lm_positions": rng.integers(1, length - 2, (count, predictions), np.int32),
        "masked_lm_ids": rng.integers(1, 119_547, (count, predictions), np.int32),
        "masked_lm_weights": weights,
        "next_sentence_labels": rng.integers(0, 2, (count, 1), np.int32),
    }


def as_the_original(features, order=tuple(FEATURES)):
    """The examples as the original's script makes them, with TensorFlow's own classes."""
    for row in range(len(features["input_ids"])):
        proto = {}
        for name in order:
            values = features[name][row].tolist()
            if name == "masked_lm_weights":
                proto[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
            else:
                proto[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        example = tf.train.Example(features=tf.train.Features(feature=proto))
        yield example.SerializeToString()


def write(path, features):
    with open(path, "wb") as file:
        file.writelines(frame(example) for example in encode_examples(features))


def numbers(batch):
    """Which examples a batch holds."""
    return (batch["token_input"][:, 0] - 1).tolist()


def joined(batches):
    """Which examples some batches hold."""
    return [number for batch in batches for number in numbers(batch)]


@pytest.fixture(scope="module")
def two_files(tmp_path_factory):
    """Two files of 700 and 3,000 examples, numbered through: blocks, windows and a short end."""
    folder = tmp_path_factory.mktemp("records")
    paths = [folder / "a.tfrecord", folder / "b.tfrecord"]
    write(paths[0], examples(700))
    write(paths[1], examples(3000, first=700))
    return paths


@pytest.mark.parametrize("values", [EDGES, [-1, 5, -(2**63)], [3], []])
def test_varints_are_those_of_protobuf(values):
    array = np.array(values, np.int64)
    data, sizes = encode_varints(array)
    proto = tf.train.Int64List(value=values).SerializeToString()
    packed = proto[1:].lstrip(proto[1:2]) if not values else proto[2:]
    assert data.tobytes() == packed
    assert sizes.sum() == data.size
    assert decode_varints(data).tolist() == values


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01"])
def test_broken_varints_are_refused(data):
    with pytest.raises(BertError, match="a number is"):
        decode_varints(np.frombuffer(data, np.uint8))


def test_tensorflow_reads_what_is_written(tmp_path):
    features = examples(5)
    features["masked_lm_ids"][0, 0] = 2**31 - 1
    write(tmp_path / "x.tfrecord", features)
    layout = {
        name: tf.io.FixedLenFeature(
            [values.shape[1]], tf.float32 if values.dtype == np.float32 else tf.int64
        )
        for name, values in features.items()
    }
    read = list(tf.data.TFRecordDataset(str(tmp_path / "x.tfrecord")))
    assert len(read) == 5
    for row, record in enumerate(read):
        for name, value in tf.io.parse_single_example(record, layout).items():
            assert value.numpy().tolist() == features[name][row].tolist(), name


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_what_tensorflow_compressed_is_read(tmp_path, two_files, compression):
    """The same batches as of the plain files, in the order of the same seed."""
    paths = []
    for plain in two_files:
        paths.append(tmp_path / plain.name)
        with tf.io.TFRecordWriter(str(paths[-1]), compression) as writer:
            for record in tf.data.TFRecordDataset(str(plain)):
                writer.write(record.numpy())
    (tmp_path / "empty").write_bytes({"GZIP": gzip, "ZLIB": zlib}[compression].compress(b""))
    packed = RecordStream([*paths, tmp_path / "empty"], batch_size=100, seed=5)
    plain = RecordStream(two_files, batch_size=100, seed=5)
    for path in paths:
        path.unlink()  # what was unpacked stays
    for _ in range(40):
        ours, wanted = packed.next_batch(), plain.next_batch()
        assert all((ours[name] == values).all() for name, values in wanted.items())
    assert packed.num_examples == 3700


def test_the_bytes_are_protobufs_own():
    """Protobuf sorts a map's keys when asked to be deterministic, so they go in sorted here."""
    features = dict(sorted(examples(4).items()))
    for ours, theirs in zip(encode_examples(features), as_the_original(features), strict=True):
        example = tf.train.Example.FromString(theirs)
        assert ours == example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("order", [list(FEATURES), list(FEATURES)[::-1]])
def test_what_tensorflow_writes_is_read_whatever_the_order(order, tmp_path):
    features = examples(6)
    path = str(tmp_path / "x.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for example in as_the_original(features, order):
            writer.write(example)
    (batch,) = RecordStream([path], batch_size=6, seed=0).evaluation_batches()
    assert set(batch) == {
        "token_input",
        "seg_input",
        "position_input",
        "masked_lm_ids",
        "masked_lm_weights",
        "next_sentence_labels",
    }
    assert (batch["token_input"] == features["input_ids"]).all()
    assert (batch["seg_input"] == features["segment_ids"]).all()
    assert (batch["position_input"] == features["masked_lm_positions"]).all()
    assert (batch["masked_lm_ids"] == features["masked_lm_ids"]).all()
    assert (batch["masked_lm_weights"] == features["masked_lm_weights"]).all()
    assert (batch["next_sentence_labels"] == features["next_sentence_labels"][:, 0]).all()
    assert batch["next_sentence_labels"].shape == (6,)
    assert {v.dtype.name for n, v in batch.items() if n != "masked_lm_weights"} == {"int32"}
    assert batch["masked_lm_weights"].dtype == np.float32


def test_values_that_are_not_packed_are_read():
    """By hand: field 3 of Feature, then values 5 and 300 (0xAC 0x02) each with its own tag."""
    numbers_list = b"\x08\x05\x08\xac\x02"
    feature = b"\x1a" + bytes([len(numbers_list)]) + numbers_list
    entry = b"\x0a\x01x\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    example = b"\x0a" + bytes([len(features)]) + features
    assert tf.train.Example.FromString(example).features.feature["x"].int64_list.value == [5, 300]
    assert decode_examples([example], {"x": np.int64})["x"].tolist() == [[5, 300]]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"missing": np.int32}, "no feature 'missing'"),
        ({"masked_lm_ids": np.float32}, "not a float list but int64"),
        ({"masked_lm_weights": np.int32}, "not an int64 list but float"),
    ],
)
def test_features_that_are_not_there_are_told(wanted, message):
    with pytest.raises(BertError, match=message):
        decode_examples(encode_examples(examples(2)), wanted)


def test_random_bytes_are_no_example():
    rng = np.random.default_rng(0)
    example = encode_examples(examples(1))[0]
    for _ in range(300):
        damaged = bytearray(example)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        with contextlib.suppress(BertError):  # any other error fails the test
            decode_examples([bytes(damaged[: rng.integers(1, len(damaged) + 1)])], FEATURES)


def test_an_epoch_gives_every_example_once_and_in_another_order(two_files):
    stream = RecordStream(two_files, batch_size=37, seed=1)
    assert (stream.num_examples, stream.max_seq_length, stream.max_predictions_per_seq) == (
        3700,
        8,
        3,
    )
    first, second = (joined(stream.next_batch() for _ in range(100)) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(3700))
    assert first != second
    assert first != sorted(first)


def test_neighbours_do_not_stay_neighbours(two_files):
    """Of 3,699 pairs in an order at random, one on average is (n, n + 1): far below 20."""
    stream = RecordStream(two_files, batch_size=100, seed=3)
    order = joined(stream.next_batch() for _ in range(37))
    assert sum(b == a + 1 for a, b in itertools.pairwise(order)) < 20


def test_the_seed_decides_the_order(two_files):
    def first(seed):
        return numbers(RecordStream(two_files, batch_size=50, seed=seed).next_batch())

    assert first(4) == first(4)
    assert first(4) != first(5)


def test_restoring_goes_on_exactly_across_windows_and_epochs(two_files):
    """A window has 2,048 records, an epoch 3,700: batches of 100 cross both within 80."""
    whole = RecordStream(two_files, batch_size=100, seed=9)
    batches, states = [], []
    for _ in range(80):
        states.append(json.loads(json.dumps(whole.state())))
        batches.append(whole.next_batch())
    for start in (0, 1, 20, 21, 36, 37, 38, 79):
        again = RecordStream(two_files, batch_size=100, seed=9)
        again.next_batch()
        again.restore(states[start])
        for batch in batches[start : start + 3]:
            found = again.next_batch()
            assert all((found[name] == batch[name]).all() for name in batch)


def test_a_position_in_other_data_is_refused(two_files):
    state = RecordStream(two_files, batch_size=4, seed=1).state()
    with pytest.raises(BertError, match="examples=3700"):
        RecordStream(two_files[:1], batch_size=4, seed=1).restore(state)
    with pytest.raises(BertError, match="seed=1"):
        RecordStream(two_files, batch_size=4, seed=2).restore(state)


@pytest.mark.parametrize("position", [-1, 1.5, 10**30, float("inf"), "1", None, [1]])
def test_a_position_that_cannot_be_is_refused(two_files, position):
    stream = RecordStream(two_files, batch_size=4, seed=1)
    with pytest.raises(BertError, match=r"the saved position is .*; it must be"):
        stream.restore({**stream.state(), "position": position})
    with pytest.raises(BertError, match="seed is -1"):
        RecordStream(two_files, batch_size=4, seed=-1)


def test_evaluation_goes_through_once_in_order(two_files):
    stream = RecordStream(two_files, batch_size=1000, seed=0)
    before = stream.state()
    found = list(stream.evaluation_batches())
    assert [len(batch["token_input"]) for batch in found] == [1000, 1000, 1000, 700]
    assert joined(found) == list(range(3700))
    assert [len(numbers(b)) for b in stream.evaluation_batches(2)] == [1000, 1000]
    assert len(list(stream.evaluation_batches(9))) == 4
    assert list(stream.evaluation_batches(0)) == []
    assert stream.state() == before


def test_batches_larger_than_the_data_repeat_them(tmp_path):
    write(tmp_path / "x.tfrecord", examples(3))
    batch = RecordStream([tmp_path / "x.tfrecord"], batch_size=7, seed=0).next_batch()
    assert sorted(numbers(batch)[:6]) == [0, 0, 1, 1, 2, 2]


def test_padding_that_is_not_zero_is_made_so(tmp_path):
    features = examples(2)
    features["input_ids"][:, -2:] = 9  # a [PAD] with another id than 0
    write(tmp_path / "x.tfrecord", features)
    batch = RecordStream([tmp_path / "x.tfrecord"], batch_size=2, seed=0).next_batch()
    assert (batch["token_input"][:, -2:] == 0).all()
    assert (batch["token_input"][:, :-2] != 0).all()


def test_patterns_stand_for_files(tmp_path):
    for name in ("b1", "b0", "a", "[x]"):
        (tmp_path / name).touch()
    patterns = [tmp_path / "b*", tmp_path / "a", tmp_path / "[x]", tmp_path / "b1"]
    names = [path.removeprefix(f"{tmp_path}/") for path in find_records(patterns)]
    assert names == ["b0", "b1", "a", "[x]"]
    with pytest.raises(BertError, match=r"c\*: this pattern matches no file"):
        find_records([tmp_path / "a", tmp_path / "c*"])
    with pytest.raises(BertError, match="no input files; give TFRecord"):
        find_records([])


def damaged(path, at, tmp_path):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    target = tmp_path / f"damaged{at}.tfrecord"
    target.write_bytes(data)
    return target


def test_bad_files_are_told(two_files, tmp_path):
    good = two_files[0]
    cut, text, empty = (tmp_path / name for name in ("cut", "text", "empty"))
    cut.write_bytes(good.read_bytes()[:-3])
    text.write_text("just a line of text\n")
    empty.write_bytes(b"")
    for files, message in (
        ([tmp_path / "none"], "cannot read .*none"),
        ([tmp_path], "cannot read"),
        ([cut], "cut is cut off"),
        ([text], "is no TFRecord file"),
        ([empty], "no record in"),
        ([], "no record in no file"),
        (str(good), "must be a list"),
        ([damaged(good, 0, tmp_path)], "is no TFRecord file"),
        ([damaged(good, 40, tmp_path)], "wrong checksum at byte 0"),
    ):
        with pytest.raises(BertError, match=message):
            RecordStream(files, batch_size=2, seed=0)


@pytest.mark.parametrize("module", [gzip, zlib])
def test_compressed_files_that_are_damaged_are_told(two_files, tmp_path, module):
    content = two_files[0].read_bytes()
    raw = module.compress(content)
    path = tmp_path / "packed"
    for bad, message in (
        (raw[:-3], "packed is cut off"),
        (raw[:9000], "packed is cut off"),
        (raw[:9000] + bytes(9) + raw[9009:], "packed is damaged as a compressed file"),
        (raw + b"x", "packed is cut off"),
        (module.compress(content[:-3]), "packed is cut off or damaged: its last record"),
        (module.compress(b"text\n" * 9), "packed is no TFRecord file"),
    ):
        path.write_bytes(bad)
        with pytest.raises(BertError, match=message):
            RecordStream([path], batch_size=2, seed=0)
    path.write_bytes(raw + raw)  # two members, as of two files that were joined
    assert RecordStream([path], batch_size=2, seed=0).num_examples == 1400


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_no_room_to_unpack_is_told(two_files, tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(two_files[0].read_bytes()))
    with (
        limited_files(10_000),
        pytest.raises(BertError, match=r"cannot write the content of .*packed"),
    ):
        RecordStream([tmp_path / "packed"], batch_size=2, seed=0)


def test_a_record_that_starts_as_gzip_does_is_plain(tmp_path):
    """Lengths of 0x8b1f and 0x0178 bytes: the files start with 1f 8b and 78 01."""
    for size in (0x8B1F, 0x0178):
        path = tmp_path / str(size)
        path.write_bytes(frame(bytes(size)) + frame(b"x"))
        assert path.read_bytes()[:2] in (b"\x1f\x8b", b"\x78\x01")
        with pytest.raises(BertError, match="is that a file of create_pretraining_data"):
            RecordStream([path], batch_size=1, seed=0)


def test_a_damaged_record_is_told_when_it_is_read(two_files, tmp_path):
    path = damaged(two_files[0], 100_000, tmp_path)
    stream = RecordStream([path], batch_size=700, seed=0)
    with pytest.raises(BertError, match=r"damaged100000\.tfrecord is damaged"):
        stream.next_batch()


def test_sizes_that_do_not_fit_are_told(two_files, tmp_path):
    for options, message in (
        ({"max_seq_length": 9}, "made with `max_seq_length=8`"),
        ({"max_predictions_per_seq": 20}, "made with `max_predictions_per_seq=3`"),
        ({"vocab_size": 5}, "has only 5 tokens"),
    ):
        with pytest.raises(BertError, match=message):
            RecordStream(two_files, batch_size=2, seed=0, **options)
    other = tmp_path / "other.tfrecord"
    write(other, examples(50, length=10))
    stream = RecordStream([two_files[0], other], batch_size=750, seed=0)
    with pytest.raises(BertError, match="8 values in one example and 10"):
        stream.next_batch()
    features = examples(2)
    features["masked_lm_positions"][0, 0] = 8
    write(other, features)
    with pytest.raises(BertError, match="position past its end"):
        RecordStream([other], batch_size=2, seed=0).next_batch()
    features = examples(2)
    features["input_ids"][0, 1] = -5
    write(other, features)
    with pytest.raises(BertError, match="holds the id -5; is that"):
        RecordStream([other], batch_size=2, seed=0).next_batch()
    with pytest.raises(BertError, match="batch_size is 0"):
        RecordStream(two_files, batch_size=0, seed=0)


def test_examples_of_another_kind_are_told(tmp_path):
    path = tmp_path / "x.tfrecord"
    path.write_bytes(b"".join(map(frame, encode_examples({"label": np.ones((2, 1), np.int32)}))))
    with pytest.raises(BertError, match=r"no feature 'input_ids'.*create_pretraining_data"):
        RecordStream([path], batch_size=2, seed=0)


def test_reading_needs_no_tensorflow(run_python, two_files):
    code = (
        "import sys\n"
        "from bert_tf.data.pretraining.records import RecordStream\n"
        f"RecordStream([{str(two_files[0])!r}], batch_size=2, seed=0).next_batch()\n"
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))\n"
    )
    assert run_python("-c", code).stdout.strip() == "[]"


def test_a_shuffle_on_disk_is_a_sort_by_the_keys(tmp_path, monkeypatch):
    """Drawn a second time with the same generators: all rows, ordered by their keys."""
    monkeypatch.setattr("bert_tf.data.pretraining.shuffle._BUCKET_BYTES", 2000)
    rows = np.arange(600, dtype=np.uint16).reshape(-1, 2)
    shuffle = DiskShuffle(tmp_path, 2, np.uint16, len(rows))
    counts = np.zeros(shuffle.num_buckets, np.int64)
    parts = [(0, rows[:100]), (1, rows[100:])]
    for number, part in reversed(parts):
        counts += shuffle.add(part, number, np.random.default_rng(number))
    keys = np.concatenate(
        [np.random.default_rng(n).integers(0, 1 << 64, len(p), np.uint64) for n, p in parts]
    )
    found = [shuffle.take(bucket) for bucket in range(shuffle.num_buckets)]
    assert shuffle.num_buckets == 3
    assert list(map(len, found)) == counts.tolist()
    assert (np.concatenate(found) == rows[np.argsort(keys)]).all()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert shuffle.take(0).shape == (0, 2)
