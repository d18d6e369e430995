"""A head is a row of the table and a file: a toy one is added to a copy of the package, and used.

The rest of the package must do everything with it that it does with its own heads.
"""

import copy
import dataclasses
import importlib
import json
import pathlib
import pickle
import pkgutil
import shutil

import numpy as np
import pytest

import bert_tf
from bert_tf.checkpoint import CheckpointReader
from bert_tf.heads import HEADS, MODELS, PARTS
from bert_tf.models.layout import ClassifierLayout, Heads

PACKAGE = pathlib.Path(bert_tf.__file__).parent
TINY = pathlib.Path(__file__).parent / "golden/tiny_ckpt"
PAIR = {
    "token_input": np.arange(1, 25, dtype=np.int32).reshape(2, 12),
    "seg_input": np.zeros((2, 12), np.int32),
}

ROW = """
    Head(
        "toy",
        "toy head (cls/toy)",
        (
            Weight("cls/toy/scale", "toy_scale", "scale", ("hidden_size",)),
            *_scores("cls/toy/", "toy", "labels"),
        ),
        "toy_scale toy_dense",
        models={"toy": Model("heads.toy:build_toy_model", these("toy"), {"factor": 2.0})},
        objectives={"toys": "toy:Toys"},
        classes="ToyScale",
    ),
)

PARTS"""

FILE = '''"""A toy head: scores of every token, of hidden states times a learned scale."""

import keras

from bert_tf.models.layers import dense, register
from bert_tf.models.parts import layers_of


@register
class ToyScale(keras.layers.Layer):
    """Multiplies with one number for each dimension."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.scale


def make_layers(config, heads, dtype):
    """The head's layers."""
    return {
        "toy_scale": ToyScale(dtype=dtype, name="toy_scale"),
        "toy_dense": dense(heads.toy, "toy", config.initializer_range, dtype),
    }


def build_toy_model(source, *, factor=1.0, dtype=None):
    """From the ids to (batch, length, labels)."""
    layers = layers_of(source, dtype, "toy")
    trunk = layers.trunk()
    scores = layers.toy_dense(layers.toy_scale(trunk.sequence_output))
    return keras.Model(trunk.inputs, scores * factor, name="bert_toy")
'''

OBJECTIVE = '''"""One label for each token: the class with the highest score."""

import numpy as np

from bert_tf.evaluation.names import Metric
from bert_tf.training.objectives.base import Objective


class Toys(Objective):
    """Labels are `Ragged`, a class for each token."""

    task = "toys"
    head = "toy"
    per_token = True
    metrics = {"right": Metric("right", (), True, "fraction of tokens that are right")}
    main_metric = "right"

    def check(self, labels, rows, split):
        assert len(labels) == rows

    def losses(self, scores, labels):
        from keras import ops

        wanted = ops.one_hot(ops.maximum(labels, 0), len(self.labels))
        loss = -ops.sum(wanted * ops.log_softmax(scores), axis=-1)
        hit = ops.cast(ops.argmax(scores, axis=-1) == labels, "float32")
        return ops.stack([loss, hit])

    def measured(self, labels, scores):
        starts, values = labels.starts, labels.values
        found = [values[a:b] == one.argmax(1) for a, b, one in zip(starts, starts[1:], scores)]
        return {"right": float(np.concatenate(found).mean())}
'''

TASK = '''"""`Toy`: the class of each token of a text."""

from bert_tf.tasks.base import Task, pack_texts


class Toy(Task):
    """A list of labels for each text."""

    def __call__(self, texts):
        return self._answer([self._prepare(text) for text in texts])

    def _prepare(self, text):
        return pack_texts(self.bert, [text], self.bert.config.max_position_embeddings)[0]

    def _answer(self, prepared):
        packed = [one.packed for one in prepared]
        sizes = [len(one.token_ids) for one in packed]
        found = self._outputs(self._compiled("toy"), packed, sizes)
        return [[self.bert.task.labels[i] for i in one.argmax(axis=1)] for one in found]
'''

TRAIN = """
import os, signal
from bert_tf.batching import Ragged, tokenize_texts
from bert_tf.data import labelled_rows
from bert_tf.tasks.toy import Toy
from bert_tf.training.finetuning.batches import LabelledRows
from bert_tf.training.finetuning.fine_tune import FineTuningPlan, fine_tune
from bert_tf.training.objectives.base import objective_class

bert = bert_tf.load(sys.argv[1])
rng = np.random.default_rng(5)
words = [token for token in bert.vocab.pieces if token.isalpha()]
texts = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(48)]
rows = tokenize_texts(labelled_rows(texts), bert.tokenizer, 16)
labels = Ragged((rows.pieces % 3).astype(np.int32), rows.starts, -100)  # told by the token alone
folder, kill_at = sys.argv[2], int(sys.argv[3])
resumed = []

def on_row(row):
    if row["step"] == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

found = fine_tune(
    bert, LabelledRows(rows, labels), LabelledRows(rows, labels),
    FineTuningPlan(epochs=20, batch_size=16, learning_rate=1e-2, save_every=4, log_every=1,
                   deterministic=True, dropout=0.0),
    folder, objective=objective_class("toys")(["a", "b", "c"]),
    on_row=on_row, on_resume=resumed.append, progress=False,
)
after = bert_tf.load(folder)
after.model("toy").save("trained.keras")
answers = Toy(after)(texts[:5])
print(json.dumps([resumed, found.step, found.metrics, answers, after.task.labels]))
"""

ANSWER = """
from bert_tf.tasks.toy import Toy
bert = bert_tf.load(sys.argv[1])
rng = np.random.default_rng(5)
words = [token for token in bert.vocab.pieces if token.isalpha()]
texts = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(48)]
"""

START = """
import json, pathlib, sys
import bert_tf, numpy as np
pair = dict(np.load("pair.npz"))
"""

MAKE = """
bert = bert_tf.load(sys.argv[1])
assert not bert.has("toy") and bert.layers.toy_dense is None
for ask in (bert.model, bert.predictor):
    try:
        ask("toy")
    except bert_tf.BertError as error:
        assert "no toy head (cls/toy)" in str(error) and "new_heads=['toy']" in str(error), error
    else:
        raise AssertionError("it answered")
bert = bert_tf.load(sys.argv[1], new_heads=["toy"], num_labels=3)
assert bert.report.fresh == ("toy",) and "toy head (cls/toy)" in str(bert.report)
bert.layers.toy_scale.scale.assign(np.linspace(0.5, 2, 32, dtype=np.float32))
model = bert.model("toy", factor=2.0)
model.save("toy.keras")
bert.save("toy")
np.save("made.npy", bert.predictor("toy", factor=2.0)(pair))
np.save("hidden.npy", bert.predictor("encoder")(pair)["sequence_output"])
"""

LOAD = """
bert = bert_tf.load("toy")
assert bert.has("toy") and bert.heads.toy == 3 and bert.heads.labels == {"toy": 3}
assert repr(bert).endswith("+ toy>")
found = bert.predictor("toy", factor=2.0)(pair)
np.save(sys.argv[1], found)
print(json.dumps("keras" in sys.modules))
"""

KERAS = """
import keras
model = keras.saving.load_model("toy.keras")
np.save("keras.npy", model.predict([pair["token_input"], pair["seg_input"]], verbose=0))
"""


@pytest.fixture
def copied(tmp_path):
    """A folder with a copy of the package, to be changed."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "copy/bert_tf", ignore=ignore)
    return tmp_path / "copy"


@pytest.fixture
def with_toy(copied):
    """The copy with one more head: a row and three files, and nothing else."""
    table = copied / "bert_tf/heads.py"
    before, row, after = table.read_text(encoding="utf-8").partition("\n)\n\nPARTS")
    assert row
    table.write_text(before + ROW + after, encoding="utf-8")
    for folder, text in (
        ("models/heads", FILE),
        ("training/objectives", OBJECTIVE),
        ("tasks", TASK),
    ):
        (copied / "bert_tf" / folder / "toy.py").write_text(text, encoding="utf-8")
    np.savez(copied / "pair.npz", **PAIR)
    return copied


@pytest.fixture
def run(run_python, with_toy):
    """Runs a script on the copy, in its folder; gives what it printed."""

    def run(script, *arguments, backend="tensorflow"):
        code = f"import os; os.chdir({str(with_toy)!r})\n{START}{script}"
        cache = str(with_toy / "cache")
        done = run_python(
            "-c", code, *arguments, backend=backend, PYTHONPATH=str(with_toy), BERT_TF_CACHE=cache
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_new_head_is_built_saved_loaded_and_answers_alike_everywhere(run, with_toy):
    run(MAKE, str(TINY))
    with CheckpointReader(with_toy / "toy/bert_model.ckpt") as reader:
        scale, kernel, bias = (
            reader.read(f"cls/toy/{name}") for name in ("scale", "output_weights", "output_bias")
        )
    assert kernel.shape == (3, 32)
    assert 0 < np.abs(kernel).max() <= 0.0400001  # drawn with the config's 0.02, cut at two
    expected = 2 * ((np.load(with_toy / "hidden.npy") * scale) @ kernel.T + bias)
    np.testing.assert_allclose(np.load(with_toy / "made.npy"), expected, atol=1e-5)
    run(KERAS + LOAD, "tensorflow.npy")
    np.testing.assert_allclose(np.load(with_toy / "keras.npy"), expected, atol=1e-5)
    np.testing.assert_allclose(np.load(with_toy / "tensorflow.npy"), expected, atol=1e-5)
    pytest.importorskip("openvino")
    for name, keras_is_there in (("built", True), ("kept", False)):
        # The second time the graph is kept, and neither Keras nor the head's file is imported.
        assert json.loads(run(LOAD, f"{name}.npy", backend="openvino")) is keras_is_there
        np.testing.assert_allclose(np.load(with_toy / f"{name}.npy"), expected, atol=1e-5)


def test_a_new_head_trains_resumes_after_a_kill_and_answers(run, run_python, with_toy):
    whole = json.loads(run(TRAIN, str(TINY), "whole", "0").splitlines()[-1])
    assert whole[0] == []
    assert whole[1] == 60  # 48 texts in batches of 16, 20 times
    assert whole[2]["right"] > 0.9
    with pytest.raises(AssertionError):
        run(TRAIN, str(TINY), "killed", "23")
    assert not (with_toy / "killed/task.json").exists()
    killed = json.loads(run(TRAIN, str(TINY), "killed", "0").splitlines()[-1])
    assert killed == [[20], *whole[1:]]
    info = json.loads((with_toy / "killed/task.json").read_text(encoding="utf-8"))
    assert (info["format"], info["head"], info["labels"]) == (2, "toy", ["a", "b", "c"])
    for name in ("bert_config.json", "task.json", "bert_model.ckpt.data-00000-of-00001"):
        assert (with_toy / "killed" / name).read_bytes() == (with_toy / "whole" / name).read_bytes()
    pytest.importorskip("openvino")
    ask = ANSWER + "print(json.dumps(Toy(bert)(texts[:5])))"
    assert json.loads(run(ask, "killed", backend="openvino").splitlines()[-1]) == whole[3]


def test_the_kept_graphs_key_changes_with_every_file_it_comes_from(run_python, copied):
    code = "from bert_tf.runtime.openvino import _versions; print(_versions())"

    def key():
        done = run_python("-c", code, PYTHONPATH=str(copied))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def edit(name):
        with open(copied / "bert_tf" / name, "a", encoding="utf-8") as file:
            file.write("# edited\n")

    pytest.importorskip("openvino")
    seen = [key()]
    assert key() == seen[0]
    for name in ("models/heads/mlm.py", "heads.py", "models/layers.py", "runtime/openvino.py"):
        edit(name)
        assert key() not in seen
        seen.append(key())
    edit("tasks/base.py")
    assert key() == seen[-1]


def test_the_table_is_of_one_piece():
    weights = [weight for part in PARTS.values() for weight in part.weights]
    assert len({weight.original for weight in weights}) == len(weights)
    for model in MODELS.values():
        module, _, function = model.builder.partition(":")
        assert callable(getattr(importlib.import_module(f"bert_tf.models.{module}"), function))
    from bert_tf.config import BertConfig
    from bert_tf.models import BertLayers

    config = BertConfig.from_file(TINY / "bert_config.json")
    made = BertLayers(config, Heads(mlm=True, nsp=True, classifier=2, span=True))
    less = BertLayers(config, Heads(pooler=False))
    named = {name for head in HEADS.values() for name in head.layers.split()}
    # One pooling and one dense layer: the classifier's other layers are not made.
    others = {"mean_pooling", "classifier_hidden", "classifier_hidden_dropout"}
    others |= {"classifier_hidden_activation"}
    assert {name for name in named if getattr(made, name) is None} == others
    assert all(getattr(less, name) is None for name in named)
    with pytest.raises(AttributeError, match="no attribute 'toy_dense'"):
        _ = made.toy_dense


def test_every_registered_class_is_known_before_its_module_is_imported(run_python):
    from bert_tf._register import CLASSES

    for module in pkgutil.walk_packages([str(PACKAGE / "models")], "bert_tf.models."):
        importlib.import_module(module.name)
    import keras.src.saving.object_registration as registration

    import bert_tf.training.optimizer  # noqa: F401

    registered = {name for name in registration.GLOBAL_CUSTOM_OBJECTS if name[:8] == "bert_tf>"}
    listed = " ".join([*CLASSES.values(), *(head.classes for head in HEADS.values())]).split()
    assert registered == {f"bert_tf>{name}" for name in listed}
    # Half-imported modules of ours are no hindrance: this one imports Keras first.
    code = "import bert_tf.models.layers, keras; print(keras.saving.get_registered_object({!r}))"
    done = run_python("-c", code.format("bert_tf>TransformerLayer"), backend="tensorflow")
    assert "TransformerLayer" in done.stdout, done.stderr


def test_heads_are_values():
    heads = Heads(mlm=True, classifier=3, layout=ClassifierLayout(dense_layers=2))
    values = [heads.pooler, heads.mlm, heads.nsp, heads.classifier, heads.span]
    assert values == [True, True, False, 3, False]
    assert heads.classifier_hidden is True
    assert heads.parts == ("encoder", "pooler", "mlm", "classifier", "classifier_hidden")
    for again in (copy.copy(heads), pickle.loads(pickle.dumps(heads))):
        assert again == heads
        assert (hash(again), repr(again)) == (hash(heads), repr(heads))
    assert heads != Heads(mlm=True, classifier=3)
    assert Heads.of(["nsp"]) == Heads(nsp=True)
    assert Heads.of(["mlm"]) == Heads(pooler=False, mlm=True)
    with pytest.raises(AttributeError):
        heads.mlm = False
    with pytest.raises(TypeError):
        Heads(toy=True)
    with pytest.raises(bert_tf.BertError, match="heads are pooler, mlm"):
        heads.has("toy")
    assert heads.of_model("classifier", {}) == dataclasses.replace(heads, mlm=False)
    assert heads.of_model("sentence", {"pooling": "mean"}) == Heads(pooler=False)
    assert heads.of_model("encoder", {}) == Heads()


@pytest.fixture(scope="module")
def tiny():
    return bert_tf.load(TINY)


def test_a_bert_from_arrays(tiny):
    arrays = {name: np.array(value) for name, value in tiny.weights()}
    before = {name: value.copy() for name, value in arrays.items()}
    bert = bert_tf.Bert.from_weights(tiny.config, tiny.vocab, {**arrays, "mine": np.zeros(3)})
    assert bert.heads == tiny.heads
    assert bert.report.unused == ("mine",)
    assert bert.lower_case is tiny.lower_case
    np.testing.assert_allclose(bert.predictor("nsp")(PAIR), tiny.predictor("nsp")(PAIR), atol=1e-6)
    kernel = bert.layers.nsp_dense.kernel
    kernel.assign(kernel.numpy() + 1)
    table = bert.layers.token_embedding.embeddings
    table.assign(table.numpy() + 1)
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, before[name])
    lean = bert_tf.Bert.from_weights(tiny.config, tiny.vocab, arrays, copy=False)
    name = "bert/embeddings/word_embeddings"
    assert np.shares_memory(lean._weights[name], arrays[name])  # no second copy while loading
    del arrays["cls/seq_relationship/output_bias"]
    with pytest.raises(bert_tf.BertError, match="lack cls/seq_relationship/output_bias"):
        bert_tf.Bert.from_weights(tiny.config, tiny.vocab, arrays)
    arrays["cls/seq_relationship/output_bias"] = np.zeros(3, np.float32)
    with pytest.raises(bert_tf.BertError, match=r"output_bias has the shape \[3\]"):
        bert_tf.Bert.from_weights(tiny.config, tiny.vocab, arrays)
    with pytest.raises(bert_tf.BertError, match="lack bert/embeddings/word_embeddings"):
        bert_tf.Bert.from_weights(tiny.config, tiny.vocab, {})


def test_new_heads_and_classifiers_from_arrays(tiny, tmp_path):
    arrays = {name: value for name, value in tiny.weights() if name.startswith("bert/")}
    fresh = bert_tf.Bert.from_weights(
        tiny.config, tiny.vocab, arrays, heads=Heads(nsp=True), name="mine_cased"
    )
    assert (fresh.report.fresh, fresh.name, fresh.lower_case) == (("nsp",), "mine_cased", False)
    assert 0 < np.abs(fresh.layers.nsp_dense.kernel.numpy()).max() <= 0.0400001
    arrays |= {
        "output_weights": np.linspace(-1, 1, 96, dtype=np.float64).reshape(3, 32),
        "output_bias": np.arange(3.0),
    }
    bert = bert_tf.Bert.from_weights(tiny.config, tiny.vocab, arrays, lower_case=False)
    assert bert.classifier.labels == ("0", "1", "2")
    bert.save(tmp_path / "out")
    pooled = tiny.predictor("encoder")(PAIR)["pooled_output"]
    expected = pooled @ arrays["output_weights"].T + arrays["output_bias"]
    for one in (bert, bert_tf.load(tmp_path / "out")):
        np.testing.assert_allclose(
            one.predictor("classifier", logits=True)(PAIR), expected, atol=1e-5
        )
    info = bert_tf.load(tmp_path / "out").classifier
    arrays |= {name: arrays[name][:2] for name in ("output_weights", "output_bias")}
    with pytest.raises(bert_tf.BertError, match="it has 3 labels, the weights"):
        bert_tf.Bert.from_weights(tiny.config, tiny.vocab, arrays, classifier=info)
