"""The scikit-learn estimators, on tiny models: by scikit-learn's own checks, and by `Classify`."""

import dataclasses
import functools
import inspect
import os
import pickle
import signal
import tempfile
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted, validate_data
from tiny_classifiers import tiny_texts, write_bert

import bert_tf
from bert_tf.errors import BertError
from bert_tf.options import Range
from bert_tf.training.finetuning import fine_tune as finetuning

pytestmark = pytest.mark.filterwarnings("ignore:the learning rate", "ignore:all .* predicted as")

AGAIN = """
import sys
import joblib
import numpy as np

estimator = joblib.load(sys.argv[1], mmap_mode="r")
print(estimator.predict_proba(["w0 w5", "w1 w6 w7", "w8 w1 w9"]).tolist())
"""
NO_SKLEARN = """
import sys
sys.modules["sklearn"] = None
import bert_tf
try:
    bert_tf.BertClassifier
except bert_tf.BertError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a tiny BERT of one layer."""
    return str(
        write_bert(
            tmp_path_factory.mktemp("bert"),
            drop=("bert/encoder/layer_1/", "bert/encoder/layer_2/", "cls/"),
            num_hidden_layers=1,
        )
    )


@pytest.fixture(scope="module")
def classifier(folder):
    """Makes a classifier that is trained quickly, on its head alone unless told otherwise."""
    quick = {"lower_case": True, "mode": "frozen", "epochs": 1, "batch_size": 16}
    return lambda **params: bert_tf.BertClassifier(folder, **{"random_state": 3, **quick, **params})


@pytest.fixture(scope="module")
def data():
    """Texts, and their classes as words."""
    rows = tiny_texts(64, 1)
    return rows.texts, words_of(rows)


def words_of(rows):
    return np.where(np.array(rows.labels) == "1", "yes", "no")


@pytest.fixture(scope="module")
def fitted(classifier):
    rows = tiny_texts(160, 1)
    model = classifier(
        mode="full",
        pooling="mean",
        epochs=6,
        batch_size=8,
        learning_rate=1e-2,
        dropout=0.0,
        head_dropout=0.0,
    )
    return model.fit(rows.texts, words_of(rows))


def told_by(bert, texts):
    """What `Classify`, which packs and batches for itself, says: (n, classes)."""
    return [list(one.probabilities.values()) for one in bert_tf.Classify(bert)(texts)]


def test_it_learns_what_can_be_learnt(fitted):
    """In each text a word tells the class; the texts are others than those learnt."""
    new = tiny_texts(60, 2)
    assert fitted.score(new.texts, words_of(new)) > 0.9
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.history_[-1]["step"] == 120
    assert fitted.metrics_ == {}


def test_probabilities_are_those_of_the_saved_folder(fitted, data, tmp_path):
    texts = data[0]
    probabilities = fitted.predict_proba(texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    fitted.save(tmp_path / "out")
    loaded = bert_tf.load(tmp_path / "out")
    np.testing.assert_allclose(probabilities, told_by(loaded, texts), atol=1e-5)
    again = bert_tf.BertClassifier.from_folder(tmp_path / "out")
    np.testing.assert_array_equal(again.predict(texts), fitted.predict(texts))
    assert fitted.predict(texts).tolist() == fitted.classes_[probabilities.argmax(axis=1)].tolist()
    with pytest.raises(BertError, match="exists; name a new folder"):
        fitted.save(tmp_path / "out")
    with pytest.raises(BertError, match="holds a model for classes"):
        bert_tf.BertRegressor.from_folder(tmp_path / "out")


def test_all_kinds_of_sequences_are_texts(fitted, data):
    import pandas

    texts = data[0][:6]
    expected = fitted.predict_proba(texts)
    for given in (
        tuple(texts),
        np.array(texts),
        np.array(texts, object)[:, None],
        pandas.Series(texts, index=range(6, 0, -1)),
        pandas.DataFrame({"anything": texts}),
    ):
        np.testing.assert_array_equal(fitted.predict_proba(given), expected)
    np.testing.assert_array_equal(fitted.predict([None, np.nan]), fitted.predict(["", ""]))


def test_pickled_into_another_process(fitted, run_python, tmp_path):
    """With joblib, its weights mapped from the file and not to be written to."""
    import joblib

    joblib.dump(fitted, tmp_path / "model.joblib")
    done = run_python("-c", AGAIN, tmp_path / "model.joblib")
    assert done.returncode == 0, done.stderr
    expected = fitted.predict_proba(["w0 w5", "w1 w6 w7", "w8 w1 w9"])
    np.testing.assert_allclose(eval(done.stdout), expected, atol=1e-6)
    here = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(here.predict_proba(["w0 w5"]), expected[:1])


def test_parameters_and_clones(fitted):
    same = clone(fitted)
    assert same.get_params() == fitted.get_params()
    assert not hasattr(same, "classes_")
    with pytest.raises(NotFittedError):
        same.predict(["w1"])
    assert same.set_params(mode="last:1", class_weight={"yes": 2}).mode == "last:1"
    with pytest.raises(ValueError, match="Invalid parameter"):
        same.set_params(learning_rat=1)
    names = set(bert_tf.BertClassifier().get_params())
    assert names - set(bert_tf.BertRegressor().get_params()) == {"class_weight", "label_smoothing"}


def test_the_same_seed_gives_the_same(classifier, data, monkeypatch, tmp_path):
    """Numpy's common generator goes on as if nothing had been, and no file stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    np.random.seed(8)
    expected = np.random.random(2)
    np.random.seed(8)
    first, second = (classifier().fit(*data).predict_proba(data[0]) for _ in range(2))
    np.testing.assert_array_equal(np.random.random(2), expected)
    np.testing.assert_allclose(first, second, atol=1e-6)
    other = classifier(random_state=np.random.RandomState(4)).fit(*data).predict_proba(data[0])
    assert np.abs(first - other).max() > 1e-3
    assert not list(tmp_path.glob("bert_tf-*"))  # TensorFlow leaves files of its own there


def test_a_share_is_held_out(classifier, data, tmp_path):
    """Of 64 texts a quarter; the folder given becomes the model, and is of that fit alone."""
    told = {"validation_fraction": 0.25, "patience": 2, "epochs": 3, "output_dir": tmp_path}
    model = classifier(**told).fit(*data)
    assert set(model.metrics_) >= {"accuracy", "loss"}
    assert model.best_step_ in (3, 6, 9)
    assert model.history_[-1]["step"] % 3 == 0
    np.testing.assert_allclose(
        model.predict_proba(data[0]), told_by(bert_tf.load(tmp_path), data[0]), atol=1e-5
    )
    with pytest.raises(BertError, match="other settings"):
        classifier(**told, label_smoothing=0.1).fit(*data)


def test_pairs(classifier, data, tmp_path):
    import pandas

    pairs = [(text, text[::-1]) for text in data[0]]
    model = classifier().fit(pairs, data[1])
    assert model.pairs_
    expected = model.predict_proba(pairs)
    np.testing.assert_allclose(expected, told_by(model.bert_, pairs), atol=1e-5)
    for given in (np.array(pairs), pandas.DataFrame(pairs, columns=["b", "a"])):
        np.testing.assert_array_equal(model.predict_proba(given), expected)
    with pytest.raises(
        BertError, match="X are single texts, but BertClassifier was fitted on pairs"
    ):
        model.predict(data[0])
    model.save(tmp_path / "out")
    assert bert_tf.BertClassifier.from_folder(tmp_path / "out").pairs_


def test_several_classes_at_once(classifier, data):
    """Zeros and ones for y, with a class that no text has; predictions have the same form."""
    hot = np.stack([data[1] == "no", data[1] == "yes", np.zeros(64)], axis=1).astype(int)
    model = classifier(epochs=3).fit(data[0], hot)
    probabilities = model.predict_proba(data[0])
    np.testing.assert_allclose(probabilities, told_by(model.bert_, data[0]), atol=1e-5)
    np.testing.assert_array_equal(model.predict(data[0]), probabilities >= 0.5)
    assert model.classes_.tolist() == [0, 1, 2]


def test_a_data_frames_columns_are_the_labels(classifier, data, tmp_path):
    import pandas

    y = pandas.DataFrame({"toxic": data[1] == "no", "odd": data[1] == "yes"}, dtype=int)
    model = classifier(class_weight={"odd": 2.0}).fit(data[0], y)
    assert model.classes_.tolist() == ["toxic", "odd"]
    assert model.bert_.classifier.labels == ("toxic", "odd")
    model.save(tmp_path / "out")
    again = bert_tf.BertClassifier.from_folder(tmp_path / "out")
    assert again.classes_.tolist() == ["toxic", "odd"]
    np.testing.assert_array_equal(again.predict(data[0]), model.predict(data[0]))


def test_a_column_is_one_label_each_with_scikit_learns_warning(classifier, data):
    for y in (data[1][:, None], [[label] for label in data[1]]):
        with pytest.warns(DataConversionWarning, match="column-vector y"):
            model = classifier().fit(data[0], y)
        assert model.classes_.tolist() == ["no", "yes"]


def test_numbers(folder, data, tmp_path):
    """The folder, read by `Classify`, tells the same numbers; and they rise with the class."""
    y = np.where(data[1] == "yes", 70.0, 50.0)
    model = bert_tf.BertRegressor(
        folder, lower_case=True, epochs=6, batch_size=8, learning_rate=1e-2, random_state=0
    ).fit(data[0], y)
    assert model.score(data[0], y) > 0.5  # R squared
    model.save(tmp_path / "out")
    classify = bert_tf.Classify(bert_tf.load(tmp_path / "out"))
    told = [one.value for one in classify(data[0])]
    np.testing.assert_allclose(model.predict(data[0]), told, rtol=1e-5)
    again = bert_tf.BertRegressor.from_folder(tmp_path / "out")
    np.testing.assert_allclose(again.predict(data[0]), told, rtol=1e-5)


def test_weights_of_classes_that_are_numbers(classifier, data):
    """A weight of 0 for class 0 leaves only texts of class 7, so that all are said to be of it."""
    y = np.where(data[1] == "yes", 7, 0)
    model = classifier(epochs=30, learning_rate=3e-2, class_weight={0: 0.0}).fit(data[0], y)
    assert model.predict(data[0]).tolist() == [7] * 64
    assert model.classes_.tolist() == [0, 7]
    with pytest.raises(BertError, match="names '7', which is no class in y; there are 0, 7"):
        classifier(class_weight={"7": 2}).fit(data[0], y)


def test_in_a_pipeline_in_a_search(classifier, data):
    """Of 64 texts 48 are "yes", of any content: to say so of all is right in three of four.

    A weight of 0 for one of two classes has all said to be of the other. Numpy's numbers, of
    which a grid may be made, will do.
    """
    texts, y = data[0], np.array(["yes", "yes", "yes", "no"] * 16)
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = Pipeline([("lower", lower), ("bert", classifier(epochs=8))])
    grid = {
        "bert__class_weight": [{"yes": 0.0}, {"no": 0.0}],
        "bert__learning_rate": np.array([3e-2]),
        "bert__dense_layers": np.array([2]),
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(texts, y)
    assert search.cv_results_["mean_test_score"].tolist() == [0.25, 0.75]
    assert search.best_params_["bert__class_weight"] == {"no": 0.0}
    assert search.predict([texts[0].upper()]) == ["yes"]


@pytest.mark.slow
def test_cross_validation_in_two_processes(classifier, data, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(os.path.dirname(bert_tf.__file__)))
    estimator = classifier(mode="full", epochs=6, batch_size=8, learning_rate=1e-2)
    alone = cross_val_score(estimator, *data, cv=2)
    np.testing.assert_allclose(cross_val_score(estimator, *data, cv=2, n_jobs=2), alone, atol=0.1)


def test_a_signal_leaves_it_as_it_was(classifier, data):
    """Interrupted in the middle of training, as by Ctrl-C: nothing is fitted."""
    model = classifier(epochs=1000)
    interrupt = functools.partial(os.kill, os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        whole = finetuning.fine_tune
        patch.setattr(
            finetuning,
            "fine_tune",
            lambda *args, **options: whole(*args, **{**options, "on_row": lambda row: interrupt()}),
        )
        # A shell starts what it puts into the background with SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                model.fit(*data)
        finally:
            signal.signal(signal.SIGINT, before)
    with pytest.raises(NotFittedError):
        model.predict(["w1"])
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize(
    ("x", "y", "params", "message"),
    [
        ("w1", ["a"], {}, "a list of strings, not one"),
        ([], [], {}, "0 texts in X"),
        ([1.5, 2.5], ["a", "b"], {}, "a text must be str, not float"),
        (np.array([["w1"] * 3] * 2), ["a", "b"], {}, "the shape .2, 3."),
        (["w1", "w2"], None, {}, "requires y to be passed"),
        (["w1", "w2"], ["a", "a"], {}, "one class only, a"),
        (["w1", "w2"], ["a"], {}, "inconsistent numbers of samples"),
        (["w1", "w2"], [0.5, 1.5], {}, "Unknown label type"),
        (["w1", "w2"], [["a", "b"], ["a"]], {}, "MultiLabelBinarizer"),
        (["w1", "w2"], ["a", "b"], {"mode": "half"}, "mode is 'half'"),
        (["w1", "w2"], ["a", "b"], {"patience": 1}, "validation_fraction=0.1"),
        (
            ["w1", "w2"],
            ["a", "b"],
            {"validation_fraction": 2},
            "validation_fraction is 2; it must be below 1",
        ),
        (["w1", "w2"], ["a", "b"], {"max_seq_length": 64}, "takes 16 tokens at most"),
        (["w1", "w2"], ["a", "b"], {"checkpoint": "nowhere/at all"}, "nowhere/at all"),
    ],
)
def test_what_cannot_be_fitted(classifier, x, y, params, message):
    with pytest.raises(ValueError, match=message):
        classifier().set_params(**params).fit(x, y)


def test_every_field_of_the_plan_can_be_set():
    """Under scikit-learn's names where it has some; how often to save is the folder's matter."""
    fields = {field.name for field in dataclasses.fields(bert_tf.FineTuningPlan)}
    theirs = {"class_weights": "class_weight", "seed": "random_state"}
    left = {theirs.get(name, name) for name in fields} - set(bert_tf.BertClassifier().get_params())
    assert left == {"save_every", "log_every", "keep"}
    defaults = bert_tf.FineTuningPlan()
    for name, value in bert_tf.BertRegressor().get_params().items():
        if name in fields:
            assert value == getattr(defaults, name), name


def test_the_constructor_takes_what_the_plan_has(capsys):
    """The checkpoint by place or name, all else by name; what there is not is an error at once."""
    assert (
        bert_tf.BertClassifier("a").checkpoint == bert_tf.BertRegressor(checkpoint="a").checkpoint
    )
    first, *others = inspect.signature(bert_tf.BertClassifier).parameters.values()
    assert (first.name, first.default) == ("checkpoint", "demo_multi_cased")
    assert {one.kind for one in others} == {inspect.Parameter.KEYWORD_ONLY}
    assert len(others) == len(bert_tf.BertRegressor().get_params()) + 1
    for wrong in ({"learning_rat": 1}, {"seed": 1}, {"class_weights": None}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            bert_tf.BertClassifier(**wrong)
    with pytest.raises(TypeError, match="label_smoothing"):
        bert_tf.BertRegressor(label_smoothing=0.1)
    with pytest.raises(TypeError, match="positional"):
        bert_tf.BertClassifier("a", "full")
    help(bert_tf.BertClassifier)
    text = capsys.readouterr().out
    assert "class_weight: " in text
    assert "batch_size: 'int' = 32" in text


def test_weights_that_overflow_are_no_model(classifier, data, monkeypatch, tmp_path):
    """Though nothing is saved on the way: the last step is looked at as well."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Range, "check", lambda *_: None)  # no allowed rate overflows in a step
    model = classifier(epochs=1, batch_size=64, warmup=0.0, learning_rate=1e39)
    with pytest.raises(BertError, match="not finite"):
        model.fit(*data)
    assert not list(tmp_path.glob("bert_tf-*"))  # TensorFlow leaves files of its own there


def test_without_scikit_learn(run_python):
    assert "pip install 'bert_tf[train]'" in run_python("-c", NO_SKLEARN).stdout


# scikit-learn's own checks. They are of estimators that take rows of numbers; so here are numbers
# written as words, and everything below that is the estimator itself.


class OnNumbers(bert_tf.BertClassifier):
    """Takes rows of finite numbers, each as one of 35 words."""

    def fit(self, X, y=None):  # noqa: N803
        if y is None:
            return super().fit(["w1"], y)
        rows, _ = validate_data(self, X, y, multi_output=True)
        return super().fit(words(rows), y)

    def _outputs(self, X):  # noqa: N803
        check_is_fitted(self)
        return super()._outputs(words(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = tags.input_tags.allow_nan = False
        # What depends on it is asked as well: the head alone on a processor comes out the same.
        tags.non_deterministic = False
        # Numbers as words, and one step: accuracy is tested above.
        tags.classifier_tags.poor_score = True
        return tags


def words(rows):
    numbers = np.clip(np.asarray(rows, float) * 4 + 17, 0, 34).astype(int)
    return [" ".join(f"w{number}" for number in row[:12]) for row in numbers]


SKIPPED = {
    # They are of what the estimator does not claim to have.
    "check_array_api_input",
    "check_classifiers_multilabel_output_format_decision_function",
}
QUICK = {
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_dont_overwrite_parameters",
    "check_estimators_unfitted",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_supervised_y_no_nan",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_dict_unchanged",
    "check_methods_subset_invariance",
    "check_requires_y_none",
}
"""Those that train once or not at all."""


def test_checks_of_scikit_learn_that_train_little(folder):
    estimator = on_numbers(folder)
    done = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one, check in estimator_checks.estimator_checks_generator(estimator):
            name = check.func.__name__
            if name in QUICK:
                check(one)
                done.add(name)
    assert done == QUICK


@pytest.mark.slow
def test_all_checks_of_scikit_learn(folder):
    """None is expected to fail; those skipped are `SKIPPED`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = estimator_checks.check_estimator(on_numbers(folder), on_skip=None)
    assert {r["check_name"] for r in results if r["status"] != "passed"} == SKIPPED
    assert len(results) > 50


def test_on_texts_scikit_learn_asks_no_more(classifier):
    """It has no checks of its own for texts, and says so."""
    with pytest.warns(Warning, match="Can't test estimator"):
        results = estimator_checks.check_estimator(classifier(), on_skip=None)
    assert [r["status"] for r in results] == ["passed"]


def on_numbers(folder):
    return OnNumbers(
        folder, lower_case=True, mode="frozen", epochs=1, batch_size=64, random_state=3
    )
