"""What version 0.1.0 left on disks still loads, answers and resumes; its names still import.

The files were made by `legacy/make.py` with 0.1.0, the expected values with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pathlib
import pickle
import shutil
import sys
import tarfile
import warnings

import keras
import numpy as np
import pytest
import training_runs

import bert_tf

LEGACY = pathlib.Path(__file__).parent / "legacy"


def _made() -> dict:
    """The functions of `make.py`, for the inputs that the expected values belong to."""
    spec = importlib.util.spec_from_file_location("legacy_make", LEGACY / "make.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return vars(module)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("legacy")
    with tarfile.open(LEGACY / "files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(files) -> dict[str, np.ndarray]:
    with np.load(files / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def copied(files, tmp_path, monkeypatch) -> pathlib.Path:
    """A copy that may be changed, as the present folder: what is kept has relative paths."""
    shutil.copytree(files, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


KERAS = (
    *("encoder", "encoder_model", "encoder_attention_mask", "pretraining", "gathered_pretraining"),
    *("mlm", "mlm_positions", "mlm_top_k", "mlm_scores", "nsp", "sentence_pooled"),
    *("sentence_mean", "span", "classifier", "classifier_two_layers", "classifier_multilabel"),
    *("classifier_regression", "head", "classifier_trained"),
)


@pytest.mark.parametrize("name", KERAS)
def test_a_model_of_each_kind_loads_and_answers(files, expected, name):
    model = keras.saving.load_model(files / "keras" / f"{name}.keras")
    given = _made()["inputs"]()
    if name == "encoder":
        given = {
            "token_ids": given["token_input"],
            "segment_ids": given["seg_input"],
            "padding_mask": given["attention_mask"],
        }
    else:
        given = {tensor.name: given[tensor.name] for tensor in model.inputs}
    outputs = keras.tree.flatten(model(given))
    wanted = [key for key in expected if key.startswith(f"keras/{name}/")]
    assert len(outputs) == len(wanted) > 0
    for number, output in enumerate(outputs):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(output), expected[f"keras/{name}/{number}"], atol=1e-5
        )


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "openvino"])
def test_models_load_after_import_bert_tf_alone(files, run_python, backend):
    """Of each kind, in a fresh process; keras-hub is not imported before it is needed."""
    pytest.importorskip(backend)
    code = """
import pathlib, sys, bert_tf, keras
paths = pathlib.Path(sys.argv[1]).glob("*.keras")
for path in sorted(paths, key=lambda path: path.stem == "encoder"):
    assert "keras_hub" not in sys.modules, path
    model = keras.saving.load_model(path)
print(type(model).__module__)
"""
    done = run_python("-c", code, files / "keras", backend=backend)
    assert done.stdout == "bert_tf.models.encoder\n", done.stderr[-2000:]


def test_a_preset_loads_after_import_bert_tf_alone(tmp_path, run_python):
    """keras-hub asks whether the registered class is one of its own."""
    bert_tf.BertEncoder(50, 1, 2, 8, 16).save_to_preset(str(tmp_path))
    code = "import sys, bert_tf, keras_hub; keras_hub.models.Backbone.from_preset(sys.argv[1])"
    done = run_python("-c", code, tmp_path, backend="jax")
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_training_goes_on_with_a_saved_model(files):
    model = keras.saving.load_model(files / "keras" / "classifier_trained.keras")
    assert type(model.optimizer).__name__ == "BertAdam"
    assert int(model.optimizer.iterations) == 1
    given = _made()["inputs"]()
    inputs = {tensor.name: given[tensor.name] for tensor in model.inputs}
    model.fit(inputs, np.array([0, 1]), verbose=0)
    assert int(model.optimizer.iterations) == 2


def test_a_pickled_bert_answers(files, expected):
    bert = pickle.loads((files / "bert.pickle").read_bytes())
    guesses = bert_tf.FillMask(bert)("w3 [MASK] w5").masks[0].guesses
    found = np.array([guess.probability for guess in guesses])
    np.testing.assert_allclose(found, expected["mask"], rtol=1e-4)
    assert bert.has("span")
    assert "span" in repr(bert)


def test_a_pickled_estimator_answers(files, expected):
    estimator = pickle.loads((files / "estimator.pickle").read_bytes())
    found = estimator.predict_proba(_made()["TEXTS"])
    np.testing.assert_allclose(found, expected["estimator"], atol=1e-5)
    assert estimator.classes_.tolist() == ["0", "1"]


def test_a_classifiers_folder_answers_and_keeps_its_format(files, expected, tmp_path):
    bert = bert_tf.load(files / "classifier")
    found = [list(one.probabilities.values()) for one in bert_tf.Classify(bert)(_made()["TEXTS"])]
    np.testing.assert_allclose(found, expected["classifier"], atol=1e-5)
    bert.save(tmp_path / "again")
    kept, again = (
        json.loads((folder / "classifier.json").read_text())
        for folder in (files / "classifier", tmp_path / "again")
    )
    assert again == kept
    assert kept["format"] == 1


def test_a_stopped_fine_tuning_resumes(copied, expected):
    from bert_tf.training.finetuning.session import ClassifierSession

    session = ClassifierSession(_made()["job"]("stopped_classifier"))
    session.prepare()
    resumed: list[int] = []
    found = session.train(on_resume=resumed.append, progress=False)
    assert resumed == [6]
    assert found.step == session.steps
    # The unbroken run of 0.1.0, on another processor perhaps: not to the bit.
    classify = bert_tf.Classify(bert_tf.load("stopped_classifier"))
    answers = [list(one.probabilities.values()) for one in classify(_made()["TEXTS"])]
    np.testing.assert_allclose(answers, expected["classifier"], atol=1e-3)


def test_a_stopped_pretraining_resumes(copied, expected):
    from bert_tf.checkpoint import CheckpointReader
    from bert_tf.training.pretraining.plan import PretrainingPlan
    from bert_tf.training.pretraining.pretrain import pretrain

    def start():
        raise AssertionError("it started over")

    resumed: list[int] = []
    stream, vocab = training_runs.tiny_stream()
    outcome = pretrain(
        training_runs.tiny_config(),
        vocab,
        start,
        stream,
        "stopped_pretraining",
        PretrainingPlan(steps=14, warmup_steps=3, learning_rate=1e-2, save_every=4, log_every=3),
        on_resume=resumed.append,
        progress=False,
    )
    assert (resumed, outcome.step) == ([6], 14)
    with CheckpointReader("stopped_pretraining/release/bert_model.ckpt") as reader:
        for name in reader.tensors:
            np.testing.assert_allclose(
                reader.read(name), expected[f"pretraining/{name}"], atol=2e-3, err_msg=name
            )


def test_a_stopped_prediction_resumes(copied):
    from bert_tf.data.labelled.prediction_rows import PredictionRows
    from bert_tf.tasks.classify_files import predict_file

    begun = pathlib.Path("answers.tsv.part").read_bytes()
    classify = bert_tf.Classify(bert_tf.load("classifier"), batch_size=4)
    resumed: list[int] = []
    rows = PredictionRows("texts.txt")
    try:
        found = predict_file(classify, rows, "answers.tsv", on_resume=resumed.append)
    except bert_tf.BertError as error:
        if "machine" not in str(error):
            raise
        pytest.skip(f"another processor rounds otherwise, and this is said: {error}")
    assert (resumed, found.rows, found.resumed_from) == ([128], 300, 128)
    assert pathlib.Path("answers.tsv").read_bytes().startswith(begun)
    assert sorted(name for name in os.listdir() if name.startswith("answers.tsv.")) in (
        [],
        ["answers.tsv.part.lock"],
    )


def _old_names() -> list[tuple[str, list[str] | None]]:
    with tarfile.open(LEGACY / "files.tar.xz") as archive:
        member = archive.extractfile("./all.json")
        assert member is not None
        return list(json.load(member).items())


@pytest.mark.parametrize(("module", "names"), _old_names(), ids=lambda value: str(value)[:40])
def test_old_names_import(module, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = importlib.import_module(module)
        for name in names or ():
            assert getattr(loaded, name) is not None
