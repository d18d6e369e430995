"""Files that are no files, too deep, too large or full of numbers that cannot be: a sentence each.

What hangs where it should not is ended by an alarm after some seconds.
"""

import contextlib
import json
import os
import pathlib
import time

import numpy as np
import pytest
from processes import within
from tiny_classifiers import VOCAB, tiny_config, write_bert

import bert_tf
from bert_tf.checkpoint import CheckpointReader, write_checkpoint
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.table import has_footer, read_table
from bert_tf.cli.classify_predictions import parse_texts
from bert_tf.cli.nsp import parse_pair
from bert_tf.config import BertConfig
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.prediction_rows import PredictionRows, about_rows
from bert_tf.data.labelled.reading import read_labelled
from bert_tf.data.labelled.splits import split_labelled
from bert_tf.data.labelled.tables import Table, TableOptions
from bert_tf.data.pretraining.records import RecordStream
from bert_tf.errors import BertError
from bert_tf.files import reading
from bert_tf.files.reading import head_of, parse_json, read_bounded, read_object
from bert_tf.text import Vocabulary
from bert_tf.training.checkpoints import TrainingCheckpoints
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.log import read_log

DEEP = [
    "[" * 101 + "]" * 101,
    '{"a":' * 101 + "1" + "}" * 101,
    "[" * 900 + "]" * 900,
    "[" * 5000 + "]" * 5000,
    "[" * 5000,
]
TOO_LARGE = ["2" * 309, "-" + "9" * 400, "1" * 5000]
NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"]


# --- JSON


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
@pytest.mark.parametrize("nan", [True, False])
def test_json_that_is_too_deep(text, nan):
    for raw in (text, text.encode(), f'{{"a": {text}}}'):
        with pytest.raises(BertError, match=r"nested too deeply|Expecting"):
            parse_json(raw, nan=nan)


def test_json_of_a_hundred_levels_and_brackets_in_text():
    depth, value = 0, parse_json("[" * 100 + "]" * 100)
    while value:
        (value,), depth = value, depth + 1
    assert depth == 99  # and the innermost, which is empty
    assert parse_json(json.dumps("[{" * 500)) == "[{" * 500
    assert parse_json(json.dumps([{"a": "[" * 500}] * 200)) == [{"a": "[" * 500}] * 200


@pytest.mark.parametrize("number", TOO_LARGE, ids=len)
def test_whole_numbers_that_no_float_can_hold(number):
    for nan in (True, False):
        with pytest.raises(BertError, match="is no number that can be computed with") as error:
            parse_json(f'{{"a": {number}}}', nan=nan)
        assert len(str(error.value)) < 100
    assert parse_json("9" * 30) == 10**30 - 1
    assert parse_json("9" * 308) == 10**308 - 1
    assert parse_json("[-12, 1.5, 1e3, -0]") == [-12, 1.5, 1000.0, 0]


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_what_is_no_number_is_allowed_where_python_writes_it(number):
    with pytest.raises(BertError, match=f"^{number} is no number"):
        parse_json(f"[{number}]")
    assert str(parse_json(f"[{number}]", nan=True)) in ("[nan]", "[inf]", "[-inf]")


def test_json_that_is_not_utf_8():
    for raw in (b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', "[1]".encode("utf-16")[:-1]):
        with pytest.raises(BertError, match="codec can't decode"):
            parse_json(raw)
    assert parse_json('{"a": "é"}'.encode("utf-16-le")) == {"a": "é"}


@pytest.mark.parametrize("value", [*DEEP, *TOO_LARGE, *NO_NUMBERS], ids=lambda one: one[:4])
def test_every_file_of_json(value, tmp_path):
    """Config, labels, state of a training, any object: the message names the file."""
    config = json.dumps(tiny_config().to_dict())
    (tmp_path / "bert_config.json").write_text(f'{config[:-1]}, "more": {value}}}')
    with pytest.raises(BertError, match=r"bert_config\.json is not valid JSON: "):
        BertConfig.from_file(tmp_path / "bert_config.json")
    (tmp_path / "classifier.json").write_text(f'{{"format": 1, "dropout": {value}}}')
    with pytest.raises(BertError, match=r"classifier\.json is not valid JSON: "):
        ClassifierInfo.in_folder(str(tmp_path / "x"))
    (tmp_path / "config.json").write_text(f'{{"model_type": {value}}}')
    with pytest.raises(BertError):
        bert_tf.load(tmp_path)


@pytest.mark.parametrize("value", [*DEEP, *TOO_LARGE, *NO_NUMBERS], ids=lambda one: one[:4])
def test_every_line_of_json(value, tmp_path):
    """Forty rows are read; a damaged one is counted with its line, where it cannot be read."""
    good = "".join(f'{{"text": "good {i}", "label": "{"ab"[i % 2]}"}}\n' for i in range(40))
    table = tmp_path / "t.jsonl"
    for column in ("text", "label"):
        row = {"text": '"x"', "label": '"a"', column: value}
        table.write_text(good + f'{{"text": {row["text"]}, "label": {row["label"]}}}\n')
        for task in (None, "classes", "multilabel"):
            found = read_labelled(table, Layout(task=task))
            assert len(found.data) in (40, 41)
            assert [p.places[0][1] for p in found.problems] in ([41], [])
        with pytest.raises(BertError, match="is no number"):  # "a" and "b"
            read_labelled(table, Layout(task="regression"))
        assert len(list(PredictionRows(table))) == 41
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f'good {i},"{value}"\n' for i in range(40)))
    with contextlib.suppress(BertError):
        assert len(read_labelled(table).data) == 40
    table = tmp_path / "t.json"
    table.write_text(f'[{{"text": "x", "label": 1}}, {{"text": "y", "label": {value}}}]')
    with contextlib.suppress(BertError):
        read_labelled(table)
    for line in (value, f'["a", {value}]', f'{{"text": {value}}}', f'{{"first": {value}}}'):
        for ask in (parse_pair, lambda line: parse_texts(line, None)):
            with contextlib.suppress(BertError):
                assert all(isinstance(one, str) for one in ask(line))


def test_labels_and_keys_with_lone_surrogates_are_saved(tmp_path):
    """They come from JSON, as an escape, and are saved so; the training is over by then."""
    info = ClassifierInfo(("\ud800", "b\udce9"))
    (tmp_path / "classifier.json").write_bytes(info.to_json())
    assert ClassifierInfo.in_folder(str(tmp_path / "x")) == info
    config = tiny_config().from_dict({**tiny_config().to_dict(), "by": "\ud800"})
    bert = bert_tf.load(write_bert(tmp_path / "bert"), config=config, lower_case=True)
    bert.save(tmp_path / "again")
    assert BertConfig.from_file(tmp_path / "again" / "bert_config.json") == config


# --- what is no regular file, or too large


@pytest.fixture
def special(tmp_path):
    """A pipe that nobody writes to, a folder, a device without end."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    return [tmp_path / "pipe", tmp_path / "folder", pathlib.Path("/dev/zero")]


def test_what_is_no_regular_file(special):
    tables = [
        lambda path, format=format: Table(path, TableOptions(format=format))
        for format in ("csv", "tsv", "jsonl", "json", "parquet", "xlsx", None)
    ]
    readers = [
        *(BertConfig.from_file, Vocabulary.load, read_object, read_bounded, read_log, *tables),
        *(read_labelled, PredictionRows, read_table),
        lambda path: RecordStream([path], batch_size=1, seed=0),
    ]
    for path in special:
        for read in readers:
            with (
                within(5),
                pytest.raises(BertError, match=r"no check|is a folder|a pipe"),
            ):
                read(path)
        with within(5):
            assert head_of(path) == b""
            assert not has_footer(path)
            assert about_rows(path) is None


@pytest.mark.parametrize(
    "name",
    [
        *("bert_config.json", "vocab.txt", "classifier.json", "checkpoint"),
        *("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"),
    ],
)
def test_a_release_with_something_else_in_a_files_place(name, special, tmp_path):
    folder = write_bert(tmp_path / "bert")
    for path in special:
        with contextlib.suppress(FileNotFoundError):
            os.remove(folder / name)
        os.symlink(path, folder / name)
        with within(20), contextlib.ExitStack() as stack:
            if name != "checkpoint":  # it is only asked which one is the last
                stack.enter_context(pytest.raises(BertError))
            bert_tf.load(folder)


def test_a_path_that_is_no_file_is_called_what_it_is(special, tmp_path):
    folder = write_bert(tmp_path / "bert")
    for path in (special[0], special[2]):
        for where, options in ((path, {}), (folder, {"config": path}), (folder, {"vocab": path})):
            with within(5), pytest.raises(BertError, match="it is a pipe or a device, not a file"):
                bert_tf.load(where, **options)


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 100)
    (tmp_path / "vocab.txt").write_bytes(VOCAB)
    with pytest.raises(BertError, match=r"vocab\.txt .*has more than"):
        Vocabulary.load(tmp_path / "vocab.txt")
    (tmp_path / "x.index").write_bytes(
        (write_bert(tmp_path / "bert") / "bert_model.ckpt.index").read_bytes()
    )
    with pytest.raises(BertError, match=r"x\.index has more than"):
        read_table(tmp_path / "x.index")


# --- numbers


@pytest.mark.parametrize(
    "name",
    ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
     "max_position_embeddings", "type_vocab_size"],
)  # fmt: skip
@pytest.mark.parametrize("value", [0, -1, 10**12, 10**300, 1.5, "12", None, True, [3], {"a": 1}])
def test_sizes_of_a_config_are_bounded_before_anything_is_built(name, value, tmp_path):
    folder = write_bert(tmp_path / "bert")
    values = {**tiny_config().to_dict(), name: value}
    (folder / "bert_config.json").write_text(json.dumps(values))
    start = time.perf_counter()
    with within(20), pytest.raises(BertError, match=rf"bert_config\.json.*: {name} in the BERT "):
        bert_tf.load(folder)
    assert time.perf_counter() - start < 5


def test_sizes_that_are_too_large_together():
    with pytest.raises(BertError, match=r"make over 35,184,\d{3},\d{3},\d{3} weights"):
        tiny_config(hidden_size=1 << 20, num_hidden_layers=8, intermediate_size=32)
    BertConfig(30522, 2560, 48, 40, 10240)  # Megatron's BERT, of 3.9 billion


def test_a_config_of_more_layers_than_the_file(tmp_path):
    folder = write_bert(tmp_path / "bert")
    (folder / "bert_config.json").write_text(tiny_config(num_hidden_layers=1000).to_json())
    with within(20), pytest.raises(BertError, match=r"lacks .* weights its config promises"):
        bert_tf.load(folder)


@pytest.mark.parametrize(
    "layer", ["foo", "-1", "٣", "99999999999", "", "1²", "01", " 1", "1e3", "0x1", "9" * 5000]
)
def test_layers_that_are_no_numbers(layer, tmp_path):
    name = f"bert/encoder/layer_{layer}/output/dense/kernel"
    folder = write_bert(tmp_path / "bert", {name: np.zeros((2, 2), np.float32)})
    with pytest.raises(BertError, match=r"the file has a tensor bert/encoder/layer_"):
        bert_tf.load(folder)
    folder = write_bert(tmp_path / "other", {f"bert/encoder/layer_{layer}": np.zeros(2)})
    assert bert_tf.load(folder).report.unused == (f"bert/encoder/layer_{layer}",)


def test_a_classifier_without_labels(tmp_path):
    head = {"output_weights": np.zeros((0, 16)), "output_bias": np.zeros(0)}
    with pytest.raises(BertError, match="has no axis of labels, or none"):
        bert_tf.load(write_bert(tmp_path / "bert", head))


@pytest.mark.parametrize("name", ["max_seq_length", "stride"])
def test_numbers_of_a_heads_file(name, tmp_path):
    for value in (0, -1, 10**12, 10**300):
        values = {"format": 2, "labels": ["a", "b"], name: value}
        (tmp_path / "classifier.json").write_text(json.dumps(values))
        with pytest.raises(BertError, match=f"classifier's {name} is .*; it must be at"):
            ClassifierInfo.in_folder(str(tmp_path / "x"))


# --- Parquet


def parquet(path, texts, labels, **options):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    if isinstance(texts, list) and isinstance(texts[0], bytes) and options.pop("as_text", False):
        buffers = pa.array(texts, pa.binary()).buffers()
        texts = pa.StringArray.from_buffers(len(texts), buffers[1], buffers[2])
    pq.write_table(pa.table({"text": texts, "label": labels}), path, **options)


def test_parquet_whose_text_is_not_utf_8(tmp_path):
    path = tmp_path / "a.parquet"
    for options in ({"as_text": True}, {}):
        parquet(path, [b"fine", b"caf\xe9 noir"] * 5, ["a", "b"] * 5, **options)
        with pytest.raises(BertError, match=r"a\.parquet as Parquet: .*(UTF-?8|utf-8)"):
            read_labelled(path)
    parquet(path, ["café 1".encode(), "café 2".encode()], ["a", "b"])
    assert read_labelled(path).data.texts == ["café 1", "café 2"]


def test_parquet_with_damaged_bytes(tmp_path):
    """Any byte may be another: the rows are read, or a sentence says why not."""
    path, rng = tmp_path / "a.parquet", np.random.default_rng(1)
    texts, labels = [f"text {i}" for i in range(60)], ["a", "b"] * 30
    outcomes = {"read": 0, "refused": 0}
    for options in ({"compression": "NONE", "use_dictionary": False}, {}):
        parquet(path, texts, labels, **options)
        whole = path.read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), rng.choice([1, 3, 20])):
                damaged[at] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                read_labelled(path)
                outcomes["read"] += 1
            except BertError:
                outcomes["refused"] += 1
    print(outcomes)
    assert min(outcomes.values()) > 10


# --- the index


def test_two_tensors_in_the_same_bytes(tmp_path):
    """TensorFlow's writer never does that; two names of one place are two variables that share."""
    from bert_tf.checkpoint import table
    from bert_tf.checkpoint.proto import decode_entry, encode_entry

    values = {"a": np.arange(4, dtype=np.float32), "b": np.arange(4, 8, dtype=np.float32)}
    write_checkpoint(tmp_path / "x", {**values, "empty": np.zeros((0, 2), np.float32)})
    entries = read_table(tmp_path / "x.index")
    sound = decode_entry(entries[b"b"])
    assert (sound.offset, sound.size) == (16, 16)
    for offset, size, shape in ((0, 16, (4,)), (4, 16, (4,)), (12, 16, (4,)), (4, 4, (1,))):
        moved = sound._replace(offset=offset, size=size, shape=shape)
        entries[b"b"] = encode_entry(moved)
        with open(tmp_path / "x.index", "wb") as file:
            table.write_table(file, entries.items())
        with pytest.raises(BertError, match=r"tensors 'a' and 'b' in .*x\.index overlap"):
            CheckpointReader(tmp_path / "x")
    entries[b"b"] = encode_entry(sound)
    with open(tmp_path / "x.index", "wb") as file:
        table.write_table(file, entries.items())
    with CheckpointReader(tmp_path / "x") as reader:
        assert reader.read("b").tolist() == [4, 5, 6, 7]


# --- the state of a training


def state_file(tmp_path, **changes):
    """Restores from a checkpoint whose state is changed; of a model without weights."""
    import keras

    from bert_tf.training.optimizer import BertAdam

    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(inputs))
    optimizer = BertAdam(0.1)
    optimizer.build([])
    checkpoints = TrainingCheckpoints(tmp_path / "out", [], model, optimizer)
    checkpoints.save(3, {"stream": {"batch": 1}, "loss": float("nan")})
    path = tmp_path / "out" / "model.ckpt-3.training.json"
    written = json.loads(path.read_text())
    path.write_text(changes.get("raw", json.dumps({**written, **changes})))
    return checkpoints


def test_a_state_is_restored_with_what_is_no_number(tmp_path):
    step, state = state_file(tmp_path).restore_last()
    assert (step, str(state["loss"])) == (3, "nan")


@pytest.mark.parametrize(
    "changes",
    [
        {"random": [[2**70, 0]]}, {"random": [[-(2**63) - 1, 0]]}, {"random": [[float("inf"), 0]]},
        {"random": [["a", 0]]}, {"random": 5}, {"random": [5]}, {"random": [[[1], 0]]},
        {"random": [[None, 1]]}, {"random": None}, {"state": None}, {"state": 5}, {"extra": 5},
        *({"raw": value} for value in (*DEEP, *TOO_LARGE, "", "[1]", "{}", '{"state": {}')),
    ],
    ids=lambda changes: str(changes)[:30],
)  # fmt: skip
def test_a_state_that_is_damaged(changes, tmp_path):
    checkpoints = state_file(tmp_path, **changes)
    with pytest.raises(BertError, match=r"model\.ckpt-3\.training\.json is missing or damaged"):
        checkpoints.restore_last()
    assert isinstance(checkpoints.last_state(), dict)


# --- numbers in Python


@pytest.mark.parametrize("value", [-1, 0, 0.5, float("inf"), float("nan"), 1e308, 10**20, 10**400])
def test_numbers_that_people_pass(value, tmp_path):
    """What is no option of a plan; the others are in test_options.py."""
    folder = write_bert(
        tmp_path / "bert", {"output_weights": np.zeros((2, 16)), "output_bias": np.zeros(2)}
    )
    bert = bert_tf.load(folder, lower_case=True)
    data = read_labelled(_two_rows(tmp_path)).data
    calls = {
        "num_labels": lambda: bert_tf.load(folder, new_heads=["classifier"], num_labels=value),
        "max_seq_length": lambda: bert_tf.Classify(bert, max_seq_length=value),
        "max_seq_length is": lambda: bert_tf.encode_texts(bert, ["w1"], max_seq_length=value),
        "num_shards": lambda: bert_tf.convert_checkpoint(folder, tmp_path / "c", num_shards=value),
        "seed": lambda: split_labelled(data, {"a": 1, "b": 1}, seed=value) if value else None,
        "shares": lambda: split_labelled(data, {"a": 1, "b": value}),
        **{n: lambda n=n: bert_tf.FillMask(bert, **{n: value}) for n in ("top_k", "stride")},
        **{n: lambda n=n: FineTuningPlan(**{n: value}) for n in ("batch_size", "learning_rate")},
    }
    for name, call in calls.items():
        allowed = {"seed": (0,), "shares": (0.5,), "learning_rate": (0.5,)}
        if value in allowed.get(name, ()):
            call()
            continue
        with within(10), pytest.raises(BertError, match=name):
            call()


def _two_rows(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(8)))
    return path
