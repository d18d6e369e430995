"""A head's objective is all that training knows of it: one defined here trains like the others."""

import ast
import dataclasses
import pathlib

import numpy as np
import pytest
from keras import ops
from tiny_classifiers import LENGTH, tiny_rows, write_bert

import bert_tf
from bert_tf.checkpoint import CheckpointReader
from bert_tf.errors import BertError
from bert_tf.evaluation.names import Metric
from bert_tf.training import losses
from bert_tf.training.finetuning.evaluate_splits import all_scores
from bert_tf.training.finetuning.fine_tune import FineTuningPlan, fine_tune
from bert_tf.training.objectives import base, pretraining
from bert_tf.training.objectives.base import Objective
from bert_tf.training.objectives.registry import OBJECTIVES, objective_class
from bert_tf.training.pretraining.pretrain import metrics_of

PACKAGE = pathlib.Path(bert_tf.__file__).parent
KINDS = {"classes", "multilabel", "regression"}

PLAN = FineTuningPlan(
    epochs=4, batch_size=8, learning_rate=1e-2, dropout=0.0, head_dropout=0.0,
    evaluate_every=2, save_every=2, log_every=1, deterministic=True,
)  # fmt: skip


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores.astype(np.float64)))


class TwoFractions(Objective):
    """Two numbers from 0 to 1 for each row, by their square distance: no head of ours has that."""

    task = "multilabel"  # of the head: each output has a sigmoid of its own
    hits = "closeness"
    labels_are = "fractions, (rows, {outputs})"
    label_shape = (2,)
    metrics = {  # noqa: RUF012
        "furthest": Metric("furthest", (), False, "the largest difference of all"),
        "mean_off": Metric("mean_off", (), False, "the mean difference"),
    }
    main_metric = "furthest"

    def fitted(self, labels, plan):
        found = type(self)(self.labels)
        found.most = labels.max()  # of the training rows
        return found

    def losses(self, scores, labels):
        off = ops.sigmoid(scores) - labels
        return ops.stack([ops.mean(ops.square(off), -1), self.most - ops.mean(ops.abs(off), -1)])

    def measured(self, labels, scores):
        off = np.abs(sigmoid(scores) - labels)
        return {"furthest": float(off.max()), "mean_off": float(off.mean())}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    above = ("bert/encoder/layer_1", "bert/encoder/layer_2")
    folder = tmp_path_factory.mktemp("bert")
    return bert_tf.load(write_bert(folder, drop=above, num_hidden_layers=1), lower_case=True)


def rows_of(bert, count, seed):
    """The first fraction says the class, the second the length of the text."""
    rows = tiny_rows(bert, count, seed)
    lengths = (rows.texts.lengths - 3) / (LENGTH - 3)
    return rows._replace(labels=np.stack([rows.labels, lengths], axis=1).astype(np.float32))


@pytest.fixture(scope="module")
def rows(bert):
    return rows_of(bert, 24, 1), rows_of(bert, 12, 2)


def train(bert, rows, folder, plan=PLAN, **options):
    log = []
    found = fine_tune(
        bert, *rows, plan, folder, objective=TwoFractions(("good", "long")), progress=False,
        **{"on_row": log.append, **options},
    )  # fmt: skip
    return found, log


@pytest.fixture(scope="module")
def unbroken(bert, rows, tmp_path_factory):
    return train(bert, rows, tmp_path_factory.mktemp("whole") / "out")


def tensors(folder):
    with CheckpointReader(f"{folder}/bert_model.ckpt") as reader:
        return {name: np.array(reader.read(name)) for name in reader.tensors}


def test_it_trains_and_keeps_the_best_by_its_own_metric(bert, rows, unbroken):
    found, log = unbroken
    assert found.step == 12  # 24 rows in batches of 8, 4 times
    by_step = {row["step"]: row["eval_furthest"] for row in log if "eval_furthest" in row}
    assert list(by_step) == [2, 4, 6, 8, 10, 12]
    assert found.best_step == min(by_step, key=by_step.get)  # the first of the smallest
    assert found.metrics["furthest"] == min(by_step.values())
    losses_ = [row["loss"] for row in log]
    assert np.mean(losses_[-3:]) < np.mean(losses_[:3])
    after = bert_tf.load(found.folder)
    assert after.classifier.labels == ("good", "long")
    tokens, segments = rows[1].texts.pad(np.arange(12), LENGTH)
    given = {"token_input": tokens, "seg_input": segments}
    off = np.abs(after.predictor("classifier")(given) - rows[1].labels)
    assert off.max() == pytest.approx(found.metrics["furthest"], abs=1e-5)
    assert off.mean() == pytest.approx(found.metrics["mean_off"], abs=1e-5)


def test_the_log_has_its_sums(bert, rows, unbroken):
    """Before the first step: the loss and the closeness of the head that is drawn, by numpy."""
    plan = dataclasses.replace(PLAN, epochs=1, batch_size=24, learning_rate=1e-12)
    _, log = train(bert, rows, pathlib.Path(unbroken[0].folder).parent / "still", plan)
    still = bert_tf.load(pathlib.Path(unbroken[0].folder).parent / "still")
    tokens, segments = rows[0].texts.pad(np.arange(24), LENGTH)
    given = {"token_input": tokens, "seg_input": segments}
    off = still.predictor("classifier")(given) - rows[0].labels
    assert log[0]["loss"] == pytest.approx(np.square(off).mean(), rel=1e-4)
    assert log[0]["closeness"] == pytest.approx(1 - np.abs(off).mean(), rel=1e-4)


def test_killed_and_started_again_it_ends_with_the_same_weights(bert, rows, unbroken, tmp_path):
    class KilledError(Exception):
        """As a power cut: nothing is saved."""

    def kill(row):
        if row["step"] == 7:
            raise KilledError

    resumed = []
    with pytest.raises(KilledError):
        train(bert, rows, tmp_path / "out", on_row=kill)
    assert not (tmp_path / "out" / "classifier.json").exists()
    found, log = train(bert, rows, tmp_path / "out", on_resume=resumed.append)
    assert resumed == [6]
    assert log[0]["step"] == 7
    whole, _ = unbroken
    assert (found.step, found.best_step) == (whole.step, whole.best_step)
    assert found.metrics == whole.metrics
    expected = tensors(whole.folder)
    for name, value in tensors(found.folder).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    again, _ = train(bert, rows, tmp_path / "out", on_resume=resumed.append)
    assert resumed == [6, 12]
    assert again.metrics == whole.metrics


def test_what_does_not_fit_it_is_refused(bert, rows, tmp_path):
    with pytest.raises(BertError, match=r"shape \[24\]; for multilabel they are fractions, .*2\)"):
        train(bert, (rows[0]._replace(labels=rows[0].labels[:, 0]), None), tmp_path / "a")
    with pytest.raises(BertError, match=r"no metric 'furthst' .do you mean 'furthest'"):
        train(bert, rows, tmp_path / "b", dataclasses.replace(PLAN, metric="furthst"))


def test_labels_of_tokens_have_a_weighted_mean():
    """Three tokens in two rows count: losses 1, 2 and 6 with weights 1, 1 and 2, so 15 / 4."""

    class Tokens(Objective):
        task = "tokens"

        def losses(self, scores, labels):
            return ops.stack([ops.abs(scores - labels), ops.ones_like(scores)])

    batch = {
        "labels": np.array([[0, 0, -9], [0, -9, -9]], np.float32),
        "weights": np.array([[1, 1, 0], [2, 0, 0]], np.float32),
    }
    scores = ops.convert_to_tensor(np.array([[1, 2, 7], [6, 7, 7]], np.float32))
    loss, sums = Tokens().loss(scores, batch)
    assert float(loss) == pytest.approx(15 / 4)
    assert Tokens().means(ops.convert_to_numpy(sums)) == pytest.approx(
        {"loss": 15 / 4, "accuracy": 1.0}
    )
    # As a part of a batch that weighs 8.
    part, _ = Tokens().loss(scores, {**batch, "total_weight": np.float32(8)})
    assert float(part) == pytest.approx(15 / 8)


def test_scores_of_tokens_come_by_row(bert, rows):
    """A model that gives each token's id, and 0 where a batch is filled up."""

    class Step:
        def predict(self, batch):
            return batch["token_input"][:, :, None].astype(np.float32)

    class Tokens(Objective):
        per_token = True

    texts = rows[0].texts
    found = all_scores(Step(), texts, Tokens(), batch_size=5)
    expected = np.split(texts.pieces, texts.starts[1:-1])
    for one, ids in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[:, 0], ids)
        assert one.shape == (len(ids), 1)


# Where names of tasks stand


@pytest.mark.parametrize("task", OBJECTIVES)
def test_each_task_has_its_objective(task):
    found = objective_class(task)
    assert found.task == task
    objective = found(["a", "b"])
    assert objective.metric().name == objective.main_metric


def test_an_unknown_task():
    with pytest.raises(BertError, match="no task 'ranking'; tasks are classes, multilabel"):
        objective_class("ranking")


def names_compared(path):
    """Names of tasks that stand in a comparison, or as the keys of a table."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = []
        if isinstance(node, ast.Compare):
            parts = [one for side in (node.left, *node.comparators) for one in ast.walk(side)]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        found |= {one.value for one in parts if isinstance(one, ast.Constant)} & KINDS
    return found


@pytest.mark.parametrize("part", ["training", "tasks", "report", "cli"])
def test_only_objectives_know_tasks_by_name(part):
    files = [path for path in (PACKAGE / part).rglob("*.py") if path.parent.name != "objectives"]
    assert files
    assert {path: found for path in files if (found := names_compared(path))} == {}


def test_an_objective_is_found_without_what_computes(run_python):
    code = (
        "import sys\n"
        "from bert_tf.training.objectives.registry import objective_class\n"
        "print('bert_tf.training.objectives.classifier' in sys.modules)\n"
        "objective_class('classes')(['a', 'b'])\n"
        "print([name for name in ('keras', 'sklearn', 'scipy') if name in sys.modules])\n"
    )
    assert run_python("-c", code).stdout.split("\n")[:2] == ["False", "[]"]


def test_old_paths():
    assert losses.SUMS is pretraining.SUMS
    assert losses.CLASSIFIER_SUMS is base.SUMS
    assert losses.pretraining_loss is pretraining.pretraining_loss
    assert metrics_of is pretraining.metrics_of
    assert callable(losses.classifier_loss("classes"))
