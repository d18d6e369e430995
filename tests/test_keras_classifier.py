"""The plain Keras model with a fresh head: compiled, fitted, kept and brought back by Keras."""

import copy
import pickle

import numpy as np
import pytest
from tiny_classifiers import LENGTH, tiny_config, tiny_texts, tiny_weights, write_bert

import bert_tf
from bert_tf.errors import BertError

LABELS = ("no", "yes")
TRAINS = """
import sys
import keras
import numpy as np
import bert_tf

folder, stored, out = sys.argv[1:]
bert = bert_tf.load(folder, lower_case=True)
texts = ["w0 w5", "w1 w6 w7", "w8 w1 w9", "w3 w0 w4"]
# What the other backend stored: no custom_objects, and the same answers.
model = keras.saving.load_model(stored)
print(model.predict(bert_tf.encode_texts(bert, texts), verbose=0).tolist())
# A fresh one, trained here and written as a folder.
keras.utils.set_random_seed(1)
tuned = bert_tf.new_classifier(bert, ["no", "yes"], dropout=0.0)
fresh = tuned.classifier_model()
optimizer = bert_tf.BertAdam(1e-2, bias_correction=True)
fresh.compile(optimizer, "sparse_categorical_crossentropy")
inputs = bert_tf.encode_texts(tuned, texts)
seen = fresh.fit(inputs, np.array([0, 1, 1, 0]), epochs=15, verbose=0).history["loss"]
tuned.save(out)
print(fresh.predict(inputs, verbose=0).tolist())
print([seen[0], seen[-1]])
"""


def one_layer(folder, *dropped):
    """Writes a tiny BERT of one layer, without dropout; gives its folder."""
    return write_bert(
        folder,
        drop=("bert/encoder/layer_1/", "bert/encoder/layer_2/", *dropped),
        num_hidden_layers=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return bert_tf.load(one_layer(tmp_path_factory.mktemp("bert")), lower_case=True)


@pytest.fixture(scope="module")
def trained(bert):
    """(the tuned BERT, its Keras model, what it was trained on) after some epochs of `fit`."""
    import keras

    data = tiny_texts(48, 1)
    labels = np.array([LABELS.index("yes") * int(label) for label in data.labels])
    keras.utils.set_random_seed(3)
    tuned = bert_tf.new_classifier(bert, LABELS, dropout=0.0, max_seq_length=LENGTH)
    model = tuned.classifier_model()
    model.compile(
        optimizer=bert_tf.BertAdam(bert_tf.WarmUpLinearDecay(1e-2, 48, 4), bias_correction=True),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    inputs = bert_tf.encode_texts(tuned, data.texts)
    history = model.fit(inputs, labels, batch_size=8, epochs=8, verbose=0).history
    return tuned, model, data, inputs, history


def test_fit_learns_and_leaves_the_bert_as_it_is(trained, bert):
    history = trained[-1]
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["accuracy"][-1] > 0.9
    for name, value in dict(bert.weights()).items():
        np.testing.assert_array_equal(value, tiny_weights()[name])
    assert bert.classifier is None


def test_the_folder_has_the_labels_and_the_same_answers(trained, tmp_path):
    tuned, model, data, inputs, _ = trained
    tuned.save(tmp_path / "out")
    classify = bert_tf.Classify(bert_tf.load(tmp_path / "out"))
    assert (classify.labels, classify.max_seq_length) == (LABELS, LENGTH)
    told = [list(one.probabilities.values()) for one in classify(data.texts)]
    np.testing.assert_allclose(told, model.predict(inputs, verbose=0), atol=1e-5)
    # The object itself answers alike, on the weights that Keras has trained.
    assert [one.label for one in bert_tf.Classify(tuned)(data.texts[:5])] == [
        LABELS[np.argmax(row)] for row in told[:5]
    ]


def test_keras_file_goes_there_and_back(trained, bert, tmp_path):
    """Kept and loaded by Keras, with its optimizer; then a folder again, by way of a fresh BERT."""
    import keras

    tuned, model, _, inputs, _ = trained
    model.save(tmp_path / "kept.keras")
    loaded = keras.saving.load_model(tmp_path / "kept.keras")
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0), expected, atol=1e-6)
    assert type(loaded.optimizer).__name__ == "BertAdam"
    assert int(loaded.optimizer.iterations) == 48
    other = bert_tf.new_classifier(bert, LABELS, max_seq_length=LENGTH)
    other.take_weights(loaded)
    for (name, value), (_, own) in zip(tuned.weights(), other.weights(), strict=True):
        np.testing.assert_array_equal(value, own, err_msg=name)


@pytest.mark.slow
def test_on_jax(trained, bert, run_python, tmp_path):
    """There the file that TensorFlow's Keras kept says the same, and training works alike."""
    _, model, _, _, _ = trained
    model.save(tmp_path / "kept.keras")
    script = tmp_path / "trains.py"
    script.write_text(TRAINS, encoding="utf-8")
    bert.save(tmp_path / "bert")
    done = run_python(
        script, tmp_path / "bert", tmp_path / "kept.keras", tmp_path / "out", backend="jax"
    )
    assert done.returncode == 0, done.stderr
    answers, fresh, losses = (np.array(eval(line)) for line in done.stdout.splitlines())
    texts = ["w0 w5", "w1 w6 w7", "w8 w1 w9", "w3 w0 w4"]
    inputs = bert_tf.encode_texts(bert, texts)
    np.testing.assert_allclose(answers, model.predict(inputs, verbose=0), atol=1e-5)
    assert losses[1] < losses[0] / 2
    told = bert_tf.Classify(bert_tf.load(tmp_path / "out"))(texts)
    np.testing.assert_allclose([list(r.probabilities.values()) for r in told], fresh, atol=1e-5)


def test_other_heads(bert):
    """Two dense layers on the mean, several labels: a probability each, of (batch, labels)."""
    several = bert_tf.new_classifier(
        bert, ["a", "b", "c"], task="multilabel", pooling="mean", dense_layers=2
    )
    inputs = bert_tf.encode_texts(bert, ["w1 w2", "w3"])
    told = several.predictor("classifier")(inputs)
    assert told.shape == (2, 3)
    assert ((told > 0) & (told < 1)).all()
    number = bert_tf.new_classifier(bert, task="regression", dtype="mixed_bfloat16")
    assert number.classifier_model().output.shape == (None, 1)
    assert number.layers.classifier_dense.kernel.dtype == "float32"
    vectors = several.predictor("sentence", pooling="mean")(inputs)
    np.testing.assert_allclose(
        vectors, bert.predictor("sentence", pooling="mean")(inputs), atol=1e-6
    )


def test_a_pooler_is_made_where_there_is_none(tmp_path):
    bert = bert_tf.load(one_layer(tmp_path, "bert/pooler/", "cls/"), lower_case=True)
    made = bert_tf.new_classifier(bert, LABELS)
    assert set(made.report.fresh) == {"pooler", "classifier"}
    kernel = dict(made.weights())["bert/pooler/dense/kernel"]
    assert 0.01 < kernel.std() < 0.03  # drawn with the config's 0.02, cut off at two deviations
    assert not bert_tf.new_classifier(bert, LABELS, pooling="mean").has("pooler")


def test_copies_and_pickles_are_bert_s_of_their_own(bert, tmp_path):
    """Also of a BERT whose head is fresh: the copy has the same one."""
    first = bert_tf.new_classifier(bert, LABELS)
    for made in (pickle.loads(pickle.dumps(first)), copy.copy(first), copy.deepcopy(first)):
        for (name, value), (_, own) in zip(first.weights(), made.weights(), strict=True):
            np.testing.assert_array_equal(value, own, err_msg=name)
        kernel = made.layers.classifier_dense.kernel
        kernel.assign(kernel.numpy() + 1)
    assert np.abs(dict(first.weights())["output_weights"]).max() < 0.1
    untouched = bert_tf.load(one_layer(tmp_path), lower_case=True)
    again = pickle.loads(pickle.dumps(untouched))
    for name, value in again.weights():
        np.testing.assert_array_equal(value, tiny_weights()[name])
    assert again.tokenizer.encode_ids_batch(["w0 w1"]) == [[5, 6]]


def test_encode_texts(bert):
    """[CLS] is 2, [SEP] 3 and w0 is 5; the model has 16 places, and 16 is the shortest length."""
    found = bert_tf.encode_texts(bert, [("w0 w1", "w2"), ("w3", "w4 w5")])
    assert {name: value.dtype for name, value in found.items()} == {
        "token_input": np.int32,
        "seg_input": np.int32,
    }
    rows = [[2, 5, 6, 3, 7, 3], [2, 8, 3, 9, 10, 3]]
    segments = [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    np.testing.assert_array_equal(found["token_input"], np.pad(rows, ((0, 0), (0, 10))))
    np.testing.assert_array_equal(found["seg_input"], np.pad(segments, ((0, 0), (0, 10))))
    apart = bert_tf.encode_texts(bert, ["w0 w1", "w3"], ["w2", "w4 w5"])
    np.testing.assert_array_equal(apart["seg_input"], found["seg_input"])
    cut = bert_tf.encode_texts(bert, np.array(["w0 w1 w2", "w3"]), max_seq_length=4)
    assert cut["token_input"].tolist() == [[2, 5, 6, 3], [2, 8, 3, 0]]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ("yes", {}, "a list of names"),
        (["yes"], {}, "at least 2"),
        (LABELS, {"task": "regression"}, "must have none"),
        (LABELS, {"task": "ranking"}, "ranking"),
        (LABELS, {"pooling": "max"}, "pooling"),
        (LABELS, {"max_seq_length": 17}, "16 tokens at most"),
    ],
)
def test_what_cannot_be_a_classifier(bert, labels, options, message):
    with pytest.raises(BertError, match=message):
        bert_tf.new_classifier(bert, labels, **options)


def test_weights_of_another_model_are_refused(bert):
    tuned = bert_tf.new_classifier(bert, LABELS)
    with pytest.raises(BertError, match="has no layer classifier_logits"):
        tuned.take_weights(bert.sentence_model())
    from bert_tf.models import build_classifier

    wider = build_classifier(tiny_config(num_hidden_layers=1, intermediate_size=40), 2)
    before = dict(tuned.weights())
    with pytest.raises(BertError, match="of the shape"):
        tuned.take_weights(wider)
    for name, value in tuned.weights():
        np.testing.assert_array_equal(value, before[name])


def test_texts_that_cannot_be_encoded(bert):
    with pytest.raises(BertError, match="no texts to encode"):
        bert_tf.encode_texts(bert, [])
    with pytest.raises(BertError, match="16 tokens at most"):
        bert_tf.encode_texts(bert, ["w1"], max_seq_length=64)
