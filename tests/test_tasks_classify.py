"""Classifiers that are loaded and asked: the original's head, ours, their labels, all backends."""

import json

import keras
import numpy as np
import pytest
import reference
from tiny_classifiers import LENGTH, VOCAB, head, row_of, scores_by_hand, write_bert

import bert_tf
from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.errors import BertError
from bert_tf.models import ClassifierLayout, build_classifier, build_head_model
from bert_tf.runtime.predictor import Predictor
from bert_tf.training.finetuning.plan import FineTuningPlan

TEXTS = ["w1 w5 w7", "w30", ("w2 w3 w4", "w9 w8"), "", "w6 " * 40]
LABELS = ("bad", "so so", "good")


def write_classifier(folder, extra, **info):
    files = {"classifier.json": ClassifierInfo(**info).to_json()} if info else None
    return write_bert(folder, extra, drop=("cls/",), files=files)


@pytest.fixture(scope="module")
def googles(tmp_path_factory):
    """What `run_classifier.py` leaves for three classes: no file knows the labels' names."""
    return write_classifier(tmp_path_factory.mktemp("googles"), head(3))


@pytest.fixture(scope="module")
def classify(googles):
    return bert_tf.Classify(bert_tf.load(googles, lower_case=True), batch_size=2)


def probabilities_of(results):
    return np.array([list(result.probabilities.values()) for result in results])


def test_googles_classifier_predicts_what_numpy_does(classify):
    """Also in batches with padding; the long text is cut at what the model takes."""
    expected = reference.softmax(scores_by_hand(head(3), TEXTS))
    assert np.ptp(expected.argmax(axis=1)) > 0
    found = classify(TEXTS)
    np.testing.assert_allclose(probabilities_of(found), expected, atol=1e-5)
    assert [result.label for result in found] == [str(i) for i in expected.argmax(axis=1)]
    np.testing.assert_allclose([x.probability for x in found], expected.max(axis=1), atol=1e-5)
    assert [result.cut for result in found] == [False, False, False, False, True]
    assert (found[2].text, found[2].text_pair) == TEXTS[2]
    assert classify.labels == ("0", "1", "2")


def test_labels_that_no_file_names_are_warned_of(googles):
    bert = bert_tf.load(googles, lower_case=True)
    assert any(
        "no classifier.json with the classifier's weights: its 3 labels" in warning
        for warning in bert.report.warnings
    )
    assert "classifier" in repr(bert)


def test_one_text_a_pair_and_a_stream_agree(classify):
    found = classify(TEXTS)
    one = classify(TEXTS[0])
    assert one.text == TEXTS[0]
    np.testing.assert_allclose(one.probability, found[0].probability, atol=1e-5)
    pair = classify(*TEXTS[2])
    np.testing.assert_allclose(pair.probability, found[2].probability, atol=1e-5)
    streamed = list(classify.stream(iter(TEXTS * 20)))
    assert [result.text for result in streamed] == [result.text for result in found * 20]
    np.testing.assert_allclose(
        probabilities_of(streamed), np.tile(probabilities_of(found), (20, 1)), atol=1e-5
    )


def test_what_is_no_text(classify):
    found = list(classify.stream(["w1", 3, ("w1",), ("a", "b", "c"), ("w2", None)], "yield"))
    assert [isinstance(one, BertError) for one in found] == [False, True, False, True, True]
    with pytest.raises(BertError, match="neither a text nor a pair"):
        classify([3])
    with pytest.raises(BertError, match="one text, two texts"):
        classify(["w1"], "w2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_seq_length": 17}, "max_seq_length is 17; it must be at most 16"),
        ({"batch_size": 10**9}, "batch_size is 1000000000; it must be at most"),
        ({"max_seq_length": 2}, "max_seq_length is 2; it must be at least 3"),
        ({"threshold": 2}, "threshold is 2"),
        ({"threshold": float("nan")}, "threshold is nan; it must be a finite number"),
    ],
)
def test_options_that_are_refused(classify, options, message):
    with pytest.raises(BertError, match=message):
        bert_tf.Classify(classify.bert, **options)


def test_a_checkpoint_without_a_classifier(tmp_path):
    bert = bert_tf.load(write_bert(tmp_path), lower_case=True)
    assert bert.classifier is None
    with pytest.raises(BertError, match="cannot classify: its checkpoint has no output_weights"):
        bert_tf.Classify(bert)


KINDS = {
    "labels": ({"labels": LABELS}, {}),
    "mean of two layers": (
        {"labels": LABELS, "pooling": "mean", "dense_layers": 2},
        {"mean": True},
    ),
    "a narrow hidden layer": (
        {"labels": LABELS, "dense_layers": 2, "hidden_units": 5, "activation": "relu"},
        {"activation": lambda x: np.maximum(x, 0)},
    ),
    "several": ({"labels": LABELS, "task": "multilabel"}, {}),
    "number": ({"task": "regression"}, {}),
}


def hidden_of(info):
    return (info.hidden_units or 16) if info.dense_layers == 2 else 0


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    """A classifier of each kind: its folder, its info and the scores by hand."""
    values, how = KINDS[request.param]
    info = ClassifierInfo(max_seq_length=LENGTH, lower_case=True, **values)
    extra = head(info.num_outputs, hidden_of(info))
    folder = tmp_path_factory.mktemp("kind")
    write_bert(folder, extra, drop=("cls/",), files={"classifier.json": info.to_json()})
    return folder, info, scores_by_hand(extra, TEXTS, **how)


def check(found, info, scores):
    """Results against the scores by hand."""
    if info.task == "regression":
        np.testing.assert_allclose([x["value"] for x in found], scores[:, 0], atol=1e-4)
        assert {x["label"] for x in found} == {None}
        return
    several = info.task == "multilabel"
    expected = 1 / (1 + np.exp(-scores)) if several else reference.softmax(scores)
    assert list(found[0]["probabilities"]) == list(LABELS)
    shown = [list(x["probabilities"].values()) for x in found]
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    assert [x["label"] for x in found] == [LABELS[i] for i in expected.argmax(axis=1)]
    for x, row in zip(found, expected, strict=True):
        wanted = [name for name, p in zip(LABELS, row, strict=True) if p >= 0.5]
        assert x["labels"] == (wanted if several else None)


def plain(results):
    return json.loads(json.dumps([vars(result) for result in results]))


def test_a_folder_knows_its_labels_and_its_head(kind):
    folder, info, scores = kind
    bert = bert_tf.load(folder)
    assert bert.classifier == info
    assert bert.lower_case is True
    assert bert.report.unused == ()
    check(plain(bert_tf.Classify(bert)(TEXTS)), info, scores)


def test_saved_again_it_is_the_same(kind, tmp_path):
    folder, info, _ = kind
    bert_tf.load(folder).save(tmp_path / "again")
    assert bert_tf.load(tmp_path / "again").classifier == info
    with (
        CheckpointReader(folder / "bert_model.ckpt") as one,
        CheckpointReader(tmp_path / "again/bert_model.ckpt") as other,
    ):
        assert list(one.tensors) == list(other.tensors)
        for name in one.tensors:
            np.testing.assert_array_equal(one.read(name), other.read(name))


def test_a_converted_one_keeps_its_labels(tmp_path):
    info = ClassifierInfo(LABELS, lower_case=True)
    write_bert(tmp_path / "one", head(3), files={"classifier.json": info.to_json()})
    bert_tf.convert_checkpoint(tmp_path / "one", tmp_path / "two", dtype="float16")
    assert bert_tf.load(tmp_path / "two").classifier == info


def test_as_a_keras_file(kind, tmp_path):
    """Built on new layers in another program; here it need only be another model."""
    folder, info, scores = kind
    model = bert_tf.load(folder).classifier_model()
    model.save(tmp_path / "c.keras")
    again = keras.saving.load_model(tmp_path / "c.keras")
    rows = [row_of(text) for text in TEXTS]
    width = max(len(ids) for ids, _ in rows)
    batch = [
        np.array([[*row[i], *([0] * (width - len(row[i])))] for row in rows], np.int32)
        for i in (0, 1)
    ]
    found = Predictor(again)(dict(zip(("token_input", "seg_input"), batch, strict=True)))
    answers = {
        "classes": reference.softmax,
        "multilabel": lambda x: 1 / (1 + np.exp(-x)),
        "regression": lambda x: x,
    }
    np.testing.assert_allclose(found, answers[info.task](scores), atol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts the others")
@pytest.mark.parametrize("backend", ["openvino", "jax"])
def test_other_backends_tell_the_same(backend, run_python, tmp_path):
    """All kinds in one process each, the stream too; on OpenVINO without a Keras model."""
    pytest.importorskip(backend)
    folders = {}
    for number, (values, how) in enumerate(KINDS.values()):
        info = ClassifierInfo(max_seq_length=LENGTH, lower_case=True, **values)
        extra = head(info.num_outputs, hidden_of(info))
        folder = tmp_path / str(number)
        write_bert(folder, extra, drop=("cls/",), files={"classifier.json": info.to_json()})
        folders[str(folder)] = (info, scores_by_hand(extra, TEXTS, **how))
    code = f"""
import json, sys
import bert_tf
for folder in {list(folders)!r}:
    classify = bert_tf.Classify(bert_tf.load(folder), batch_size=3)
    print(json.dumps([vars(x) for x in classify.stream(json.loads(sys.argv[1]))]))
"""
    result = run_python(
        "-c", code, json.dumps(TEXTS), backend=backend, timeout=900, BERT_TF_CACHE=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for line, (info, scores) in zip(result.stdout.splitlines(), folders.values(), strict=True):
        check(json.loads(line), info, scores)


def test_new_heads(tmp_path):
    folder = write_bert(tmp_path)
    bert = bert_tf.load(
        folder,
        lower_case=True,
        new_heads=["classifier", "classifier_hidden"],
        num_labels=4,
        parts=["pooler"],
    )
    assert bert.heads.layout == ClassifierLayout(dense_layers=2)
    assert bert.classifier.labels == ("0", "1", "2", "3")
    assert dict(bert.weights())["classifier/hidden/kernel"].std() > 0
    assert len(bert_tf.Classify(bert)("w1").probabilities) == 4
    assert build_head_model(bert.layers).output.shape == (None, 4)


def test_a_hidden_layer_of_another_width(tmp_path):
    """Without classifier.json the width is that of the file."""
    bert = bert_tf.load(write_bert(tmp_path / "a", extra=head(3, 5)), lower_case=True)
    assert bert.heads.layout == ClassifierLayout(dense_layers=2, hidden_units=5)
    new = bert_tf.new_classifier(bert, LABELS, dense_layers=2, hidden_units=40, activation="gelu")
    new.save(tmp_path / "b")
    again = bert_tf.load(tmp_path / "b")
    assert again.classifier == new.classifier
    assert dict(again.weights())["classifier/hidden/kernel"].shape == (16, 40)
    found = bert_tf.Classify(again)("w1 w5").probabilities
    assert found == pytest.approx(bert_tf.Classify(new)("w1 w5").probabilities, abs=1e-6)
    for given in (
        {"hidden_units": 5},
        {"activation": "relu"},
        {"dense_layers": 2, "hidden_units": 0},
    ):
        with pytest.raises(BertError, match="hidden_units"):
            bert_tf.new_classifier(bert, LABELS, **given)
    with pytest.raises(BertError, match=r"pass `dense_layers=2`"):
        FineTuningPlan(hidden_units=5)


def test_a_new_classifier_on_the_mean_needs_no_pooler():
    from tiny_classifiers import tiny_config

    layout = ClassifierLayout("multilabel", "mean", 2, 0.3)
    model = build_classifier(tiny_config(), 3, layout=layout)
    names = {layer.name for layer in model.layers}
    assert "pooled_dense" not in names
    assert model.get_layer("classifier_hidden_dropout").rate == 0.3
    assert model.get_layer("classifier_dropout").rate == 0.3
    # H=16: embeddings (40+16+2)*16 + 32, three layers of 4*(256+16)+64+16*32+32+32*16+16, head
    # 16*16+16 and 16*3+3.
    assert model.count_params() == 960 + 3 * (1088 + 64 + 544 + 528) + 272 + 51


def test_the_original_classifier_is_the_default():
    assert ClassifierLayout() == ClassifierLayout("classes", "pooled", 1, 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a"]}, "has 1 labels; it must have at least 2"),
        ({"labels": ["a", "b", "b"]}, "a label twice"),
        ({"labels": ["a", "b"]}, "has 2 labels, the weights .output_weights. have 3"),
        ({"labels": 3}, "labels is of the wrong kind"),
        ({"labels": ["a", 2, "c"]}, "labels is of the wrong kind"),
        ({"task": "classify"}, "task is 'classify'"),
        ({"pooling": "max"}, "pooling of a classification head is 'max'"),
        ({"dense_layers": 2}, "lacks 2 of the weights.*classifier/hidden"),
        ({"format": 3}, 'no "format": 1'),
        ({"max_seq_length": 2}, "max_seq_length is 2"),
    ],
)
def test_a_classifier_json_that_cannot_be(tmp_path, change, message):
    values = json.loads(ClassifierInfo(LABELS).to_json()) | change
    write_bert(
        tmp_path, head(3), drop=("cls/",), files={"classifier.json": json.dumps(values).encode()}
    )
    with pytest.raises(BertError, match=message):
        bert_tf.load(tmp_path)


def test_a_classifier_json_that_is_no_json(googles, tmp_path):
    write_bert(tmp_path, head(3), files={"classifier.json": b"{"})
    with pytest.raises(BertError, match=r"classifier.json is not valid JSON"):
        bert_tf.load(tmp_path)


def test_a_classifier_json_without_a_classifier_is_warned_of(tmp_path):
    write_bert(tmp_path, files={"classifier.json": ClassifierInfo(LABELS).to_json()})
    bert = bert_tf.load(tmp_path)
    assert bert.classifier is None
    assert any("was not used" in warning for warning in bert.report.warnings)


def test_the_vocabulary_is_what_these_tests_think():
    assert VOCAB.decode().split("\n")[5:7] == ["w0", "w1"]
