"""What weights do not tell: `classifier.json` as 0.1.0 wrote and reads it, and `task.json`."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_classifiers import LENGTH, head, tiny_texts, write_bert

import bert_tf
from bert_tf.checkpoint.classifier_info import INFO_NAME, TASK_NAME, ClassifierInfo
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.tables import TableOptions
from bert_tf.errors import BertError
from bert_tf.export.convert import convert_checkpoint
from bert_tf.training.finetuning.job import ClassifierJob
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.finetuning.session import ClassifierSession

# Written by 0.1.0.
FORMAT_1 = """\
{
  "format": 1,
  "labels": [
    "nein",
    "für"
  ],
  "task": "multilabel",
  "pooling": "mean",
  "dense_layers": 2,
  "dropout": 0.25,
  "max_seq_length": 64,
  "lower_case": false,
  "pairs": null
}
""".encode()

INFO = ClassifierInfo(("nein", "für"), "multilabel", "mean", 2, 0.25, 64, False)
SPAN = ClassifierInfo(task="spans", head="span", max_seq_length=LENGTH, lower_case=True, stride=4)


def read_by_0_1_0(content):
    """Its check, and the fields that it knew."""
    values = json.loads(content)
    if not isinstance(values, dict) or values.get("format") != 1:
        raise BertError("of another program or version")
    return {name: values[name] for name in json.loads(FORMAT_1) if name in values}


def write(folder, info):
    folder.mkdir(exist_ok=True)
    (folder / info.file_name).write_bytes(info.to_json())
    return f"{folder}/"


def test_format_1_comes_back_byte_for_byte(tmp_path):
    (tmp_path / INFO_NAME).write_bytes(FORMAT_1)
    found = ClassifierInfo.in_folder(f"{tmp_path}/bert_model.ckpt")
    assert found == INFO
    assert found.to_json() == FORMAT_1


def test_format_2_is_written_where_format_1_does_not_say_it_all(tmp_path):
    windows = dataclasses.replace(INFO, stride=32)
    with pytest.raises(BertError, match="another program or version"):
        read_by_0_1_0(windows.to_json())
    assert ClassifierInfo.in_folder(write(tmp_path, windows)) == windows
    assert json.loads(windows.to_json()) == {**json.loads(FORMAT_1), "format": 2, "stride": 32}


def test_how_the_table_was_read_does_no_harm_to_0_1_0(tmp_path):
    """It passes over what it does not know, and needs none of it."""
    read = dataclasses.replace(INFO, table={"text": "body", "label": 3, "delimiter": ";"})
    assert read_by_0_1_0(read.to_json()) == json.loads(FORMAT_1)
    assert ClassifierInfo.in_folder(write(tmp_path, read)) == read
    assert hash(read) == hash(INFO)


def test_another_head_has_a_file_of_its_own(tmp_path):
    prefix = write(tmp_path, SPAN)
    assert (tmp_path / TASK_NAME).exists()
    assert ClassifierInfo.in_folder(prefix) is None
    assert ClassifierInfo.in_folder(prefix, TASK_NAME) == SPAN
    assert json.loads(SPAN.to_json()) == {
        "format": 2,
        "labels": [],
        "task": "spans",
        "pooling": "pooled",
        "dense_layers": 1,
        "dropout": 0.1,
        "max_seq_length": LENGTH,
        "lower_case": True,
        "pairs": None,
        "head": "span",
        "stride": 4,
    }


def span_weights():
    rng = np.random.default_rng(3)
    return {
        "cls/squad/output_weights": rng.normal(size=(2, 16)).astype(np.float32),
        "cls/squad/output_bias": rng.normal(size=2).astype(np.float32),
    }


def test_it_goes_with_the_weights(tmp_path):
    """Loaded, saved and converted; its casing is known, whatever the folder is called."""
    write_bert(tmp_path / "cased", span_weights(), files={TASK_NAME: SPAN.to_json()})
    bert = bert_tf.load(tmp_path / "cased")
    assert (bert.task, bert.classifier, bert.lower_case) == (SPAN, None, True)
    bert.save(tmp_path / "again")
    convert_checkpoint(tmp_path / "cased", tmp_path / "converted")
    for name in ("again", "converted"):
        assert (tmp_path / name / TASK_NAME).read_bytes() == SPAN.to_json()
        assert not (tmp_path / name / INFO_NAME).exists()


def test_a_classifier_and_another_head_in_one_folder(tmp_path):
    files = {INFO_NAME: ClassifierInfo(("a", "b")).to_json(), TASK_NAME: SPAN.to_json()}
    write_bert(tmp_path, span_weights() | head(2), files=files)
    bert = bert_tf.load(tmp_path)
    assert (bert.task, bert.classifier.labels) == (SPAN, ("a", "b"))


def test_without_the_head_the_file_is_warned_of(tmp_path):
    write_bert(tmp_path / "uncased", files={TASK_NAME: SPAN.to_json()})
    bert = bert_tf.load(tmp_path / "uncased")
    assert bert.task is None
    assert any("task.json was not used" in warning for warning in bert.report.warnings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff{}", "is not valid JSON"),
        (b"[]", r"is \[\], not a JSON object"),
        ({"format": 3}, 'has no "format": 1 or 2'),
        ({"format": None}, 'has no "format": 1 or 2'),
        ({"labels": {"a": 1}}, "labels is of the wrong kind"),
        ({"head": 7}, "head is of the wrong kind"),
        ({"stride": "4"}, "stride is of the wrong kind"),
        ({"stride": 0}, "a span's stride is 0"),
        ({"table": ["text"]}, "table is of the wrong kind"),
        ({"labels": ["x", "x"]}, "a span has a label twice"),
        ({"max_seq_length": 2}, "a span's max_seq_length is 2"),
        (
            {"head": "classifier", "labels": ["x"], "task": "multilabel"},
            "belongs in classifier.json",
        ),
    ],
)
def test_a_damaged_file_gives_one_sentence(tmp_path, content, message):
    if isinstance(content, dict):
        content = json.dumps(json.loads(SPAN.to_json()) | content).encode()
    (tmp_path / TASK_NAME).write_bytes(content)
    with pytest.raises(BertError, match=message) as error:
        ClassifierInfo.in_folder(f"{tmp_path}/", TASK_NAME)
    assert str(tmp_path / TASK_NAME) in str(error.value)
    assert "\n" not in str(error.value)


def test_training_keeps_how_its_table_was_read(tmp_path):
    data = tiny_texts(24, 1)
    rows = [f"{label};x;{text}" for label, text in zip(data.labels, data.texts)]
    (tmp_path / "rows.csv").write_text("\n".join(["kind;id;words", *rows]) + "\n")
    above = ("bert/encoder/layer_1", "bert/encoder/layer_2")
    start = write_bert(tmp_path / "bert_uncased", drop=above, num_hidden_layers=1)
    job = ClassifierJob(
        str(tmp_path / "out"),
        [str(tmp_path / "rows.csv")],
        layout=Layout(text="words", label=0, table=TableOptions(header=True)),
        checkpoint=str(start),
        plan=FineTuningPlan("frozen", epochs=1),
        do_eval=False,
    )
    ClassifierSession(job).train(progress=False)
    written = json.loads((tmp_path / "out" / INFO_NAME).read_text())
    assert written["format"] == 1
    assert written["table"] == {
        **{"text": "words", "label": "kind", "header": True, "columns": ["kind", "id", "words"]},
        **{"format": "csv", "delimiter": ";", "quoting": "csv"},
    }
    assert bert_tf.load(tmp_path / "out").classifier.table == written["table"]
