"""Fine-tuning on tiny models: what each mode trains, what is kept, and what lies in the folder."""

import dataclasses
import json

import numpy as np
import pytest
import tiny_classifiers
from tiny_classifiers import LAYERS, LENGTH, tiny_rows, tiny_weights, write_bert

import bert_tf
from bert_tf.batching.rows import Vectors
from bert_tf.batching.stream import FeatureStream, batches_once
from bert_tf.checkpoint import CheckpointReader, write_release
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.errors import BertError
from bert_tf.runtime.predictor import Predictor
from bert_tf.training.finetuning import batches
from bert_tf.training.finetuning.best import BestWeights
from bert_tf.training.finetuning.features import features_of
from bert_tf.training.finetuning.fine_tune import FineTuningPlan, fine_tune
from bert_tf.training.finetuning.tuned_model import Scale, TunedModel, digest_of
from bert_tf.training.objectives.classifier import (
    Classes,
    Multilabel,
    Regression,
    one_class_warning,
)
from bert_tf.training.optimizer import BertAdam

LABELS = ("no", "yes")
INFO = ClassifierInfo(LABELS, max_seq_length=LENGTH, lower_case=True)
QUICK = FineTuningPlan(
    epochs=2, batch_size=8, learning_rate=1e-2, dropout=0.0, head_dropout=0.0, log_every=1
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return bert_tf.load(write_bert(tmp_path_factory.mktemp("bert")), lower_case=True)


@pytest.fixture(scope="module")
def rows(bert):
    return tiny_rows(bert, 24, 1), tiny_rows(bert, 12, 2)


@pytest.fixture
def tune(bert, rows, tmp_path):
    """Fine-tunes into a folder of the test; keeps the rows of the log."""

    class Tune:
        def __call__(self, plan=QUICK, name="out", data=rows, bert=bert, **options):
            self.rows = []
            options = {"labels": LABELS} | options
            return fine_tune(
                bert,
                *data,
                plan,
                tmp_path / name,
                on_row=self.rows.append,
                progress=False,
                **options,
            )

    return Tune()


def tensors(folder):
    with CheckpointReader(f"{folder}/bert_model.ckpt") as reader:
        return {name: np.array(reader.read(name)) for name in reader.tensors}


def scores_of(bert, rows):
    """What a loaded classifier says of rows, before softmax."""
    predictor = Predictor(bert.classifier_model(logits=True))
    tokens, segments = rows.texts.pad(np.arange(len(rows.texts)), LENGTH)
    return predictor({"token_input": tokens, "seg_input": segments})


def loss_of(scores, labels):
    wide = scores.astype(np.float64)
    logs = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(labels)), labels].mean()


def changed(folder):
    """Names of the tensors that differ from the start by a bit, of those that it had."""
    start = tiny_weights()
    return {n for n, x in tensors(folder).items() if n in start and (x != start[n]).any()}


def in_layer(name, number):
    return name.startswith(f"bert/encoder/layer_{number}/")


# What each mode trains


def test_the_last_layer_alone_in_one_part_and_in_two(tune, rows):
    """The others stay to the last bit; two half batches give what the whole one does."""
    plan = dataclasses.replace(QUICK, mode="last:1")
    found = tune(plan)
    assert (found.step, found.interrupted, found.stopped_early) == (6, False, False)
    moved = changed(found.folder)
    assert moved == {
        name
        for name in tiny_weights()
        if in_layer(name, LAYERS - 1) or name.startswith("bert/pooler/")
    }
    halves = tune(dataclasses.replace(plan, accumulation=2), "halves")
    one, two = tensors(found.folder), tensors(halves.folder)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=2e-4, err_msg=name)
    assert halves.metrics["loss"] == pytest.approx(found.metrics["loss"], abs=1e-4)


def test_full_stops_early_and_restores_the_best(tune, rows, bert, monkeypatch):
    """Evaluations are said to have 0.5, 0.9, 0.7, 0.8: with patience 2 the fourth is the last.

    Three steps make an epoch, so the best is step 6, and 12 the last of 30.
    """
    seen = []

    def scripted(objective, labels, scores):
        seen.append(scores.copy())
        return {"accuracy": [0.5, 0.9, 0.7, 0.8][len(seen) - 1], "loss": 1.0}

    monkeypatch.setattr(Classes, "measured", scripted)
    found = tune(dataclasses.replace(QUICK, epochs=10, patience=2))
    assert (found.step, found.best_step, found.stopped_early) == (12, 6, True)
    assert found.metrics == {"accuracy": 0.9, "loss": 1.0}
    assert [row["eval_accuracy"] for row in tune.rows if "eval_accuracy" in row] == [
        0.5,
        0.9,
        0.7,
        0.8,
    ]
    after = bert_tf.load(found.folder)
    np.testing.assert_allclose(scores_of(after, rows[1]), seen[1], atol=1e-5)
    assert np.abs(seen[1] - seen[3]).max() > 1e-3
    # All is trained, also the embeddings; but of the position table only the rows in use.
    assert changed(found.folder) == {n for n in tiny_weights() if not n.startswith("cls/")}
    for name, value in dict(bert.weights()).items():
        np.testing.assert_array_equal(value, tiny_weights()[name])  # the BERT passed stays
    # The same call again trains nothing, and writes the same.
    before = tensors(found.folder)
    again = tune(dataclasses.replace(QUICK, epochs=10, patience=2))
    assert (again.step, again.best_step, again.metrics) == (12, 6, found.metrics)
    assert tune.rows == []
    for name, value in tensors(found.folder).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_folder(tune, rows):
    """Mode frozen with two layers: the folder loads, tells labels, and has the metrics told."""
    layers = {"dense_layers": 2, "hidden_units": 12, "head_activation": "gelu"}
    plan = dataclasses.replace(
        QUICK, mode="frozen", pooling="mean", epochs=40, learning_rate=3e-2, **layers
    )
    found = tune(plan)
    after = bert_tf.load(found.folder)
    assert after.classifier == dataclasses.replace(
        INFO,
        pooling="mean",
        dense_layers=2,
        hidden_units=12,
        activation="gelu",
        dropout=0.0,
        pairs=False,
    )
    assert changed(found.folder) == set()
    scores = scores_of(after, rows[1])
    assert loss_of(scores, rows[1].labels) == pytest.approx(found.metrics["loss"], abs=1e-5)
    accuracy = (scores.argmax(axis=1) == rows[1].labels).mean()
    assert accuracy == pytest.approx(found.metrics["accuracy"])
    assert found.metrics["accuracy"] > 0.7
    first = [row for row in tune.rows if row["step"] <= 3]
    last = [row for row in tune.rows if row["step"] > 117]
    assert np.mean([r["loss"] for r in last]) < np.mean([r["loss"] for r in first]) - 0.2
    results = bert_tf.Classify(after)(["w1 w5", "w0 w6 w7"])
    assert list(results[0].probabilities) == list(LABELS)


def test_lora_is_put_into_the_weights(bert, rows, tmp_path):
    """Predictions with the additions apart equal those of the folder; only query and value move."""
    plan = dataclasses.replace(QUICK, mode="lora", lora_rank=2).filled(16)
    tuned = TunedModel(bert, INFO, plan, Scale())
    names = {saved.name for saved in tuned.trained}
    assert len(names) == 2 * 2 * LAYERS + 4
    assert "bert/encoder/layer_1/attention/self/value/lora_b" in names
    rng = np.random.default_rng(5)
    for saved in tuned.trained:
        saved.variable.assign(rng.normal(0, 0.3, saved.variable.shape).astype(np.float32))
    tokens, segments = rows[1].texts.pad(np.arange(12), LENGTH)
    apart = Predictor(tuned.model)({"token_input": tokens, "seg_input": segments})
    files = {"classifier.json": INFO.to_json()}
    write_release(
        tmp_path, bert.config, bert.vocab.raw, tuned.weights(), overwrite=True, files=files
    )
    np.testing.assert_allclose(scores_of(bert_tf.load(tmp_path), rows[1]), apart, atol=1e-4)
    moved = changed(tmp_path)
    assert moved == {
        *(
            f"bert/encoder/layer_{number}/attention/self/{part}/kernel"
            for number in range(LAYERS)
            for part in ("query", "value")
        ),
        "bert/pooler/dense/kernel",
        "bert/pooler/dense/bias",
    }


def test_lora_trains(tune, rows):
    found = tune(dataclasses.replace(QUICK, mode="lora", lora_rank=2))
    scores = scores_of(bert_tf.load(found.folder), rows[1])
    assert loss_of(scores, rows[1].labels) == pytest.approx(found.metrics["loss"], abs=1e-4)
    assert "bert/encoder/layer_0/attention/self/query/kernel" in changed(found.folder)
    assert "bert/encoder/layer_0/attention/self/key/kernel" not in changed(found.folder)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_layer_decay_by_hand(bert, mode):
    """Three layers, decay 0.5: 1/8 for the embeddings, then 1/4, 1/2, 1; the head 10 by itself."""
    plan = FineTuningPlan(mode, learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5)
    wanted = {
        "bert/embeddings": 1 / 8,
        "bert/encoder/layer_0": 1 / 4,
        "bert/encoder/layer_1": 1 / 2,
        "bert/encoder/layer_2": 1,
        "bert/pooler": 1,
        "output_": 10,
    }
    tuned = TunedModel(bert, INFO, plan, Scale())
    optimizer = BertAdam(rate_multipliers=plan.rate_multipliers(LAYERS))
    for saved in tuned.trained:
        factor = next(f for start, f in wanted.items() if saved.name.startswith(start))
        assert optimizer.multiplier(saved.variable.path) == pytest.approx(factor), saved.name
    assert FineTuningPlan(learning_rate=1e-3).rate_multipliers(3) == {}


# Vectors of a frozen encoder


def test_vectors_are_those_of_the_model_and_are_computed_once(bert, rows, tmp_path, monkeypatch):
    digest = digest_of(bert)
    tokens, segments = rows[0].texts.pad(np.arange(24), LENGTH)
    outputs = Predictor(bert.encoder_model())({"token_input": tokens, "seg_input": segments})
    real = (tokens != 0)[:, :, None]
    wanted = {
        "pooled": outputs["pooled_output"],
        "mean": (outputs["sequence_output"] * real).sum(1) / real.sum(1),
    }
    for pooling, expected in wanted.items():
        found = features_of(
            bert, rows[0].texts, pooling, tmp_path, digest=digest, batch_size=5, progress=False
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)
    monkeypatch.setattr(bert, "predictor", None)
    again = features_of(bert, rows[0].texts, "mean", tmp_path, digest=digest)
    np.testing.assert_array_equal(again, found)
    with pytest.raises(TypeError):  # of another encoder: they would have to be computed
        features_of(bert, rows[0].texts, "mean", tmp_path, digest="other")
    assert len(list(tmp_path.iterdir())) == 2


def test_vectors_serve_other_heads(tune, bert, tmp_path, monkeypatch):
    plan = dataclasses.replace(QUICK, mode="frozen")
    tune(plan, features_dir=tmp_path / "vectors")
    monkeypatch.setattr(bert, "predictor", None)
    two = dataclasses.replace(plan, dense_layers=2, seed=3)
    assert tune(two, "two", features_dir=tmp_path / "vectors").step == 6


def test_a_damaged_file_of_vectors_is_made_again(bert, rows, tmp_path):
    make = lambda: features_of(  # noqa: E731
        bert, rows[1].texts, "mean", tmp_path, digest="x", progress=False
    )
    expected = np.array(make())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(make(), expected)


def test_the_stream_of_vectors():
    """Seven rows in batches of three: each epoch has each once, the third batch one row."""
    features = np.arange(14, dtype=np.float32).reshape(7, 2)
    labels = np.arange(7, dtype=np.int32)
    make = lambda **o: FeatureStream(  # noqa: E731
        features, labels, **({"batch_size": 3, "seed": 1, "key": "k"} | o)
    )
    stream = make()
    assert stream.steps_per_epoch() == 3
    orders = []
    for _ in range(2):
        batches = [stream.next_batch() for _ in range(3)]
        assert [batch["weights"].tolist() for batch in batches] == [[1] * 3, [1] * 3, [1, 0, 0]]
        taken = np.concatenate([batch["labels"] for batch in batches])[:7]
        vectors = np.concatenate([batch["feature_input"] for batch in batches])
        np.testing.assert_array_equal(vectors[:7], features[taken])
        assert not vectors[7:].any()
        orders.append(taken.tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(7))
    assert orders[0] != orders[1]
    again = make()
    again.restore(json.loads(json.dumps(stream.state())))
    np.testing.assert_array_equal(again.next_batch()["labels"], stream.next_batch()["labels"])
    for other in (make(seed=2), make(batch_size=2), make(key="other")):
        with pytest.raises(BertError, match="of another run"):
            other.restore(stream.state())
    with pytest.raises(BertError, match="no state of a feature stream"):
        stream.restore({})
    found = [
        (n.tolist(), batch["labels"].tolist())
        for n, batch in batches_once(Vectors(features), labels, batch_size=4)
    ]
    assert found == [([0, 1, 2, 3], [0, 1, 2, 3]), ([4, 5, 6], [4, 5, 6, 0])]


# Tasks and weights


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_other_tasks(tune, bert, task):
    data = (tiny_rows(bert, 24, 1, task=task), tiny_rows(bert, 12, 2, task=task))
    names = () if task == "regression" else LABELS
    plan = dataclasses.replace(
        QUICK, mode="frozen", epochs=30, pooling="mean", dense_layers=2, learning_rate=3e-2
    )
    found = tune(plan, data=data, labels=names, task=task)
    after = bert_tf.load(found.folder)
    scores = scores_of(after, data[1])
    if task == "regression":
        # Numbers of 50 and 70: the scale is in the weights.
        assert found.metrics["mse"] == pytest.approx(
            np.square(scores[:, 0] - data[1].labels).mean(), rel=1e-4
        )
        assert 40 < scores.mean() < 80
        assert found.metrics["mse"] < 100
        value = bert_tf.Classify(after)("w1 w5").value
        assert 30 < value < 90
    else:
        right = ((scores > 0) == data[1].labels).all(axis=1).mean()
        assert found.metrics["subset_accuracy"] == pytest.approx(right)
        assert bert_tf.Classify(after)("w1 w5").labels is not None


def test_training_goes_on_from_a_head_that_is_there(tune, bert, rows):
    """With no step to speak of, what comes out is what went in; also through a scale."""
    data = (tiny_rows(bert, 24, 1, task="regression"), tiny_rows(bert, 12, 2, task="regression"))
    plan = dataclasses.replace(QUICK, mode="frozen", epochs=1)
    first = tune(plan, data=data, labels=(), task="regression")
    before = bert_tf.load(first.folder)
    still = dataclasses.replace(plan, learning_rate=1e-12)
    second = tune(still, "second", data=data, bert=before, labels=(), task="regression")
    assert any("continues from the classifier" in warning for warning in second.warnings)
    np.testing.assert_allclose(
        scores_of(bert_tf.load(second.folder), rows[1]), scores_of(before, rows[1]), rtol=1e-4
    )
    third = tune(still, "third", bert=before)  # other labels
    assert not any("continues" in warning for warning in third.warnings)


def test_class_weights():
    """Of labels 0, 0, 0, 1 in three classes: 4 / (3 * 3), 4 / (3 * 1), and for none 4 / 3."""
    objective = Classes(("a", "b", "c"))
    labels = np.array([0, 0, 0, 1])
    balanced = FineTuningPlan(class_weights="balanced")
    weights = objective.fitted(labels, balanced).row_weights
    np.testing.assert_allclose(weights, [4 / 9, 4 / 3, 4 / 3], rtol=1e-6)
    given = FineTuningPlan(class_weights={"c": 5.0})
    np.testing.assert_allclose(objective.fitted(labels, given).row_weights, [1, 1, 5])
    with pytest.raises(BertError, match="names 'd', which is none of the labels"):
        objective.fitted(labels, FineTuningPlan(class_weights={"d": 1.0}))
    with pytest.raises(BertError, match="a regression has none"):
        Regression().fitted(labels, balanced)
    several = Multilabel(("a", "b"))
    with pytest.raises(BertError, match="'balanced'` is for one class a row"):
        several.fitted(labels, balanced)


def test_rows_have_the_weights_of_their_classes():
    stream = FeatureStream(
        np.zeros((3, 2), np.float32), np.array([0, 1, 1]), batch_size=4, seed=0, key=""
    )
    weighted = batches.Weighted(stream, np.array([0.5, 2.0], np.float32))
    batch = weighted.next_batch()
    expected = np.where(batch["labels"] == 0, 0.5, 2.0) * [1, 1, 1, 0]
    np.testing.assert_array_equal(batch["weights"], expected)
    weighted.restore(weighted.state())


# What is said


def test_warnings(tune, bert):
    """All of one class; a rate that learns nothing; most texts cut at four tokens."""
    data = tiny_classifiers.tiny_texts(16, 3)
    cut = batches.LabelledRows(
        tiny_classifiers.tokenize_texts(data, bert.tokenizer, 4),
        np.array([int(x) for x in data.labels], np.int32),
    )
    plan = FineTuningPlan("frozen", epochs=1, learning_rate=1e-9)
    found = tune(plan, data=(cut, cut))
    said = " ".join(found.warnings)
    assert "the learning rate 1e-09 is below what is useful in the mode frozen" in said
    assert "max_seq_length 4 cuts" in said
    scores = scores_of(bert_tf.load(found.folder), tiny_rows(bert, 4, 0))
    assert scores.shape == (4, 2)
    only = Classes(LABELS).only(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert only == 1
    warning = one_class_warning(np.array([0, 1]), only, LABELS, "validation", fewest=1)
    assert "all 2 validation rows are predicted as 'yes', as 50 % of them are" in warning
    assert one_class_warning(np.array([1, 1]), 1, LABELS, "validation", fewest=1) == ""
    assert Classes(LABELS).only(np.eye(2)) is None


def test_the_best_of_undefined_numbers_is_the_first():
    best = BestWeights("matthews", [], {}, patience=2)
    for step in (1, 2):
        best.look(step, {"loss": 1.0})
    assert (best.kept.step, best.should_stop()) == (1, False)
    best.look(3, {"matthews": 0.1})
    assert best.kept.step == 3
    again = BestWeights("matthews", [], {}, patience=2)
    again.recall(json.loads(json.dumps(best.memory())))
    for step in (4, 5):
        again.look(step, {"matthews": 0.1})  # not better
    assert (again.kept.step, again.should_stop()) == (3, True)
    last = BestWeights("loss", [], {}, keep=False)
    for step, loss in ((1, 0.5), (2, 0.9)):
        last.look(step, {"loss": loss})
    assert last.kept == (2, {"loss": 0.9}, None)


# What is refused


def test_another_run_in_the_folder(tune, tmp_path):
    plan = dataclasses.replace(QUICK, mode="frozen")
    tune(plan)
    with pytest.raises(BertError, match=r"started with other settings \(learning_rate, seed\)"):
        tune(dataclasses.replace(plan, learning_rate=2e-2, seed=1))
    with pytest.raises(BertError, match=r"other settings \(labels\)"):
        tune(plan, labels=("yes", "no"))
    # A head of another shape is told of in the same way, not by its tensors.
    with pytest.raises(BertError, match=r"other settings \(.*dense_layers.*\)"):
        tune(dataclasses.replace(plan, dense_layers=2))
    assert tune(dataclasses.replace(plan, log_every=9, save_every=9)).step == 6
    # Begun anew where that is asked for; said again, it is the same run and goes on.
    other = dataclasses.replace(plan, dense_layers=2)
    resumed = []
    assert tune(other, overwrite=True, on_resume=resumed.append).step == 6
    assert resumed == []
    assert tune(other, overwrite=True, on_resume=resumed.append).step == 6
    assert resumed == [6]


def test_a_model_that_is_there_is_not_replaced_unasked(tune, tmp_path):
    write_bert(tmp_path / "out")
    plan = dataclasses.replace(QUICK, mode="frozen", epochs=0.1)
    with pytest.raises(BertError, match="exists; name a new folder"):
        tune(plan)
    assert tune(plan, overwrite=True).step == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "last:4"}, "mode is last:4, but this encoder has 3 layers"),
        ({"metric": "acuracy"}, "do you mean 'accuracy'"),
    ],
)
def test_plans_that_do_not_fit(tune, changes, message):
    with pytest.raises(BertError, match=message):
        tune(dataclasses.replace(QUICK, **changes))


def test_rows_that_do_not_fit(tune, rows, bert):
    train, validation = rows
    wrong = train._replace(labels=train.labels + 1)
    with pytest.raises(BertError, match="a label of the training rows is number 2; there are 2"):
        tune(data=(wrong, validation))
    with pytest.raises(BertError, match=r"labels of the validation rows have the shape \[3\]"):
        tune(data=(train, validation._replace(labels=validation.labels[:3])))
    with pytest.raises(BertError, match=r"for multilabel they are 0 or 1, \(rows, 2\)"):
        tune(task="multilabel")
    with pytest.raises(BertError, match="`patience` needs validation rows"):
        tune(dataclasses.replace(QUICK, patience=1), data=(train, None))
    nan = train.labels.astype(np.float32) * np.nan
    with pytest.raises(BertError, match="no finite number"):
        tune(task="regression", labels=(), data=(train._replace(labels=nan), None))


def test_without_validation_the_last_weights_are_kept(tune, rows):
    found = tune(dataclasses.replace(QUICK, mode="frozen"), data=(rows[0], None))
    assert (found.step, found.best_step, found.metrics) == (6, None, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "last:0"}, "mode is 'last:0'"),
        ({"mode": "adapters"}, "mode is 'adapters'"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"patience": 0}, "patience is 0"),
        ({"epochs": 0}, "epochs is 0; it must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5; it must be at most 1"),
        ({"layer_decay": 0}, "layer_decay is 0; to train the last layers alone"),
        ({"warmup": 2}, "warmup is 2"),
        ({"label_smoothing": 1}, "label_smoothing is 1; it must be below 1"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"batch_size": 10, "accumulation": 4}, "=10` cannot be divided into `accumulation=4`"),
        ({"class_weights": "equal"}, "`class_weights` is 'equal'"),
        ({"class_weights": {"a": -1}}, "the class weight of a is -1; it must be at least 0"),
    ],
)
def test_plans_without_a_meaning(changes, message):
    with pytest.raises(BertError, match=message):
        FineTuningPlan(**changes)


def test_defaults_go_by_mode_and_width():
    """The table's own numbers, at its border of 768."""
    large, small = (FineTuningPlan().filled(width) for width in (768, 767))
    assert (large.learning_rate, large.epochs) == (3e-5, 3)
    assert (small.learning_rate, small.epochs) == (1e-4, 4)
    assert FineTuningPlan("last:2", epochs=7).filled(768).epochs == 7
    assert FineTuningPlan("lora").filled(768).learning_rate == 4e-4
    for mode in ("full", "frozen", "last:1", "lora"):
        for width in (256, 1024):
            assert FineTuningPlan(mode).filled(width).rate_warning(width) is None
    warning = FineTuningPlan(learning_rate=1e-2).rate_warning(768)
    assert "above what is useful in the mode full, 5e-06 to 0.0001" in warning
