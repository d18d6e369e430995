"""`ClassifierSession`: what the command line does, from Python; and how it chooses."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from tiny_classifiers import LENGTH, VOCAB, head, tiny_texts, write_bert

import bert_tf
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.text import BertTokenizer, Vocabulary
from bert_tf.training.finetuning.job import (
    ClassifierJob,
    choose_max_seq_length,
    default_output_dir,
)
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.finetuning.session import ClassifierSession
from bert_tf.training.finetuning.start import start_bert
from bert_tf.training.objectives.classifier import Classes

stats = pytest.importorskip("scipy.stats")

FAST = FineTuningPlan(epochs=2, batch_size=7, learning_rate=2e-2, eval_batch_size=8)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    # One layer is enough here, and is compiled sooner.
    above = ("bert/encoder/layer_1", "bert/encoder/layer_2")
    folder = tmp_path_factory.mktemp("start") / "bert_uncased"
    return str(write_bert(folder, drop=above, num_hidden_layers=1))


def write_tsv(path, rows, seed, label, pairs=False):
    """A table whose label is a function of the class that a text tells."""
    data = tiny_texts(rows, seed, classes=3, pairs=pairs)
    columns = ["text", "text_pair", "label"] if pairs else ["text", "label"]
    lines = ["\t".join(columns)]
    for row, (text, pair) in enumerate(data.each()):
        told = label(int(data.labels[row]), row)
        lines.append("\t".join([text, *([pair] if pairs else []), str(told)]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def session_of(job):
    warnings = []
    return ClassifierSession(job, warnings.append), warnings


def test_a_regression_on_pairs(bert, tmp_path):
    """The correlation told is SciPy's, of the answers of the model that was written."""
    train = write_tsv(tmp_path / "a.tsv", 40, 1, lambda c, row: c + 0.25 * (row % 2), pairs=True)
    test = write_tsv(tmp_path / "b.tsv", 12, 2, lambda c, row: c + 0.5, pairs=True)
    layout = Layout(text="text", text_pair="text_pair", label="label")
    out = tmp_path / "out"
    job = ClassifierJob(str(out), [train], test=[test], layout=layout, checkpoint=bert, plan=FAST)
    session, _ = session_of(job)
    session.prepare()
    assert session.max_seq_length == LENGTH  # no more than the model takes
    assert session.plan.metric == "pearson_spearman"
    found = session.train(progress=False)
    assert (found.step, session.steps) == (10, 10)  # 33 rows in 5 steps of 7, twice
    by_name = {judged.split: judged for judged in session.evaluate()}
    assert set(by_name) == {"validation", "test"}
    data = by_name["test"].data
    classify = bert_tf.Classify(bert_tf.load(out))
    answers = [answer.value for answer in classify(list(zip(data.texts, data.pairs)))]
    assert by_name["test"].outputs[:, 0] == pytest.approx(answers, abs=1e-4)
    expected = stats.pearsonr(data.labels, answers).statistic
    assert by_name["test"].result.pearson == pytest.approx(expected, abs=1e-4)
    lines = (out / "eval_results_test.txt").read_text().splitlines()
    assert f"eval_pearson = {by_name['test'].result.pearson:.4f}"[:19] in "\n".join(lines)
    worst = (out / "evaluation" / "test_worst.tsv").read_text().splitlines()
    assert worst[0].split("\t")[:3] == ["place", "text", "text_pair"]
    assert worst[1].split("\t")[0].startswith(f"{test}:")


@pytest.mark.parametrize("module", ["sklearn", "scipy"])
def test_a_missing_package_is_noticed_at_the_start(module, bert, tmp_path, monkeypatch):
    train = write_tsv(tmp_path / "a.tsv", 40, 1, lambda c, row: "abc"[c])
    monkeypatch.setitem(sys.modules, module, None)
    job = ClassifierJob(str(tmp_path / "out"), [train], checkpoint=bert, plan=FAST)
    for do_eval in (True, False):  # training evaluates by itself, to keep the best weights
        with pytest.raises(BertError, match=r"not installed, which an evaluation needs; type: pip"):
            ClassifierSession(dataclasses.replace(job, do_eval=do_eval))
    plan = dataclasses.replace(FAST, keep_best=False)
    ClassifierSession(dataclasses.replace(job, do_eval=False, plan=plan))


def test_several_labels_with_a_frozen_encoder(bert, tmp_path):
    path = write_tsv(tmp_path / "a.tsv", 50, 1, lambda c, row: ["red", "red|blue", ""][c])
    job = ClassifierJob(
        str(tmp_path / "out"),
        [path],
        layout=Layout(label_separator="|"),
        checkpoint=bert,
        plan=FineTuningPlan(mode="frozen", pooling="mean", epochs=3, batch_size=8),
    )
    session, _ = session_of(job)
    session.train(progress=False)  # prepares itself
    assert session.data.label_names == ("blue", "red")
    validation, test = session.evaluate()
    answers = bert_tf.Classify(bert_tf.load(tmp_path / "out"))(test.data.texts)
    exact = np.mean(
        [set(a.labels) == set(right) for a, right in zip(answers, test.data.labels, strict=True)]
    )
    assert test.result.subset_accuracy == pytest.approx(exact)
    assert validation.result.kind == "multilabel"


def test_without_training_what_lies_there_is_evaluated(tmp_path):
    """A model of Google's script has no labels: those of the data are taken."""
    old = write_bert(tmp_path / "google_uncased", extra=head(3))
    path = write_tsv(tmp_path / "a.tsv", 30, 4, lambda c, row: "abc"[c])
    names = ("c", "a", "b")
    job = ClassifierJob(
        str(tmp_path / "out"), test=[path], checkpoint=str(old), label_names=names, do_train=False
    )
    session, _ = session_of(job)
    (judged,) = session.evaluate()
    answers = bert_tf.Classify(bert_tf.load(old))(judged.data.texts)
    told = [names[int(answer.label)] for answer in answers]
    right = np.mean([a == b for a, b in zip(told, judged.data.labels, strict=True)])
    assert judged.result.accuracy == pytest.approx(right)
    with pytest.raises(BertError, match="do_train=False"):
        session.train()


def test_a_job_that_does_not_fit_the_model_is_told(bert, tmp_path):
    path = write_tsv(tmp_path / "a.tsv", 30, 4, lambda c, row: "abc"[c])
    there = {"test": [path], "do_train": False}
    with pytest.raises(BertError, match="no fine-tuned model in"):
        ClassifierSession(ClassifierJob(str(tmp_path / "out"), checkpoint=bert, **there))
    old = str(write_bert(tmp_path / "google_uncased", extra=head(2)))
    session = ClassifierSession(ClassifierJob(str(tmp_path / "out"), checkpoint=old, **there))
    with pytest.raises(BertError, match="2 outputs for classes, the data 3 labels"):
        session.evaluate()


def test_an_unfinished_training_is_no_model(bert, tmp_path):
    """Its checkpoints lie in a folder within, which `bert_tf.load` would look into."""
    inner = write_bert(tmp_path / "out" / "training", extra=head(2))
    assert (inner / "bert_model.ckpt.index").exists()
    path = write_tsv(tmp_path / "a.tsv", 30, 4, lambda c, row: "ab"[c % 2])
    with pytest.raises(BertError, match="train it to its end"):
        ClassifierSession(ClassifierJob(str(tmp_path / "out"), test=[path], do_train=False))


def test_what_is_odd_is_told_once(bert, tmp_path, caplog):
    path = write_tsv(tmp_path / "a.tsv", 60, 1, lambda c, row: "rare" if row % 12 == 0 else "often")
    plan = FineTuningPlan(epochs=1, batch_size=8, learning_rate=1e-7)
    job = ClassifierJob(str(tmp_path / "out"), [path], checkpoint=bert, plan=plan)
    session, warnings = session_of(job)
    session.prepare()
    assert sum("the classes are uneven: 'often'" in warning for warning in warnings) == 1
    session.train(progress=False)
    session.evaluate()
    assert sum("learning rate 1e-07 is below" in warning for warning in warnings) == 1
    assert sum("validation rows are predicted as" in warning for warning in warnings) <= 1
    assert len(warnings) == len(set(warnings))
    assert warnings == caplog.messages
    assert any("is split at random" in line for line in session.lines())


def test_the_best_weights_and_their_step_are_noted(bert, tmp_path):
    path = write_tsv(tmp_path / "a.tsv", 60, 1, lambda c, row: "ab"[c % 2])
    job = ClassifierJob(str(tmp_path / "out"), [path], checkpoint=bert, plan=FAST)
    session, _ = session_of(job)
    found = session.train(progress=False)
    session.evaluate()
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["step"], record["last_step"]) == (found.best_step, found.step)
    assert f"global_step = {found.best_step}\n" in (tmp_path / "out/eval_results.txt").read_text()


def test_mnli_has_two_sets_to_evaluate_on(bert, tmp_path):
    """Both in the original's four entries; the test file has no labels and is left out."""
    from bert_tf.data.labelled.glue import TASKS

    task = TASKS["mnli"]
    for number, (split, part) in enumerate(task.files.items()):
        if split == "test_mismatched":
            continue
        data = tiny_texts(24 if split == "train" else 9, number, classes=3, pairs=True)
        lines = ["\t".join(part.columns)]
        for label, a, b in zip(data.labels, data.texts, data.pairs):
            row = dict.fromkeys(part.columns, "x") | {"sentence1": a, "sentence2": b}
            if part.label:
                row[part.label] = task.labels[int(label)]
            lines.append("\t".join(row.values()))
        (tmp_path / part.file).write_text("\n".join(lines) + "\n")
    plan = FineTuningPlan(epochs=1, batch_size=8, keep_best=False, bias_correction=False)
    out = tmp_path / "out"
    job = ClassifierJob(
        str(out), task_name="mnli", data_dir=str(tmp_path), checkpoint=bert, plan=plan,
        max_seq_length=LENGTH,
    )  # fmt: skip
    session, _ = session_of(job)
    assert session.train(progress=False).step == 3
    assert [judged.split for judged in session.evaluate()] == [
        "validation",
        "validation_mismatched",
    ]
    for name in ("eval_results.txt", "eval_results_mm.txt"):
        names = [line.split(" = ")[0] for line in (out / name).read_text().splitlines()]
        assert names == ["eval_accuracy", "eval_loss", "global_step", "loss"]


# ---- what it begins from


def test_a_random_start_keeps_architecture_and_vocabulary(bert, tmp_path, caplog):
    job = ClassifierJob(str(tmp_path), ["a.csv"], checkpoint=bert, start="random")
    pretrained = start_bert(ClassifierJob(str(tmp_path), ["a.csv"], checkpoint=bert))
    drawn = start_bert(job)
    assert any("random weights" in warning for warning in caplog.messages)
    assert drawn.config == pretrained.config
    assert (drawn.vocab.raw, drawn.lower_case) == (pretrained.vocab.raw, True)
    name = "bert/encoder/layer_0/intermediate/dense/kernel"
    kernel = dict(drawn.weights())[name]
    assert np.abs(kernel).max() <= 2 * drawn.config.initializer_range + 1e-7
    assert np.abs(dict(pretrained.weights())[name]).max() > 0.1
    again = start_bert(job)
    assert np.array_equal(dict(again.weights())[name], kernel)


def test_config_and_vocabulary_alone_begin_at_random_as_in_the_original(bert, tmp_path, caplog):
    files = {"config": f"{bert}/bert_config.json", "vocab": f"{bert}/vocab.txt"}
    drawn = start_bert(ClassifierJob(str(tmp_path), ["a.csv"], **files))
    assert drawn.lower_case is True  # by the name of the folder
    assert "random weights" in caplog.messages[0]
    with pytest.raises(BertError, match="`config` is given without `vocab`"):
        start_bert(ClassifierJob(str(tmp_path), ["a.csv"], config=files["config"]))


# ---- choices


def test_steps_are_counted_as_the_original_does_only_with_a_task():
    """MRPC: int(3668 / 32 * 3) = 343 steps, int(34.3) of warm-up, as Google's README tells."""
    plan = FineTuningPlan(epochs=3.0, batch_size=32)
    task = ClassifierJob("o", task_name="MRPC", data_dir="d", plan=plan)
    filled, steps = task.plan_for(3668, 768)
    assert steps == 343
    assert round(filled.epochs * 115) == 343  # 115 batches hold 3668 rows
    assert round(filled.warmup * 343) == 34
    own, steps = ClassifierJob("o", ["a.csv"], plan=plan).plan_for(3668, 768)
    assert (own.epochs, own.warmup, steps) == (3.0, 0.1, 345)


def texts_of(lengths):
    """Texts of so many tokens with [CLS] and [SEP]."""
    texts = [" ".join(["w1"] * (length - 2)) for length in lengths]
    return LabelledTexts(texts, None, None, [("", i) for i in range(len(texts))])


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [
        ([10] * 100, 512, 128),  # short texts cost nothing more
        ([10] * 90 + [400] * 10, 512, 128),  # a tenth is cut, and no more
        ([10] * 89 + [200] * 11, 512, 256),
        ([10] * 89 + [200] * 10 + [400], 512, 256),  # 99 % are whole
        ([10] * 88 + [200] * 10 + [400] * 2, 512, 512),
        ([600] * 10, 512, 512),
        ([600] * 10, 64, 64),
    ],
)
def test_max_seq_length_follows_the_texts(lengths, limit, expected):
    tokenizer = BertTokenizer(Vocabulary(VOCAB), lower_case=True)
    assert choose_max_seq_length(texts_of(lengths), tokenizer, limit) == expected


def test_the_folder_is_called_after_the_data():
    assert default_output_dir(["/data/My reviews (2).csv"]) == "My_reviews_2_classifier"
    assert default_output_dir(["*.csv"]) == "my_classifier"
    assert default_output_dir([], "STS-B") == "sts-b_classifier"


def test_the_original_s_loss_is_a_mean_over_batches():
    """Of 8 rows with loss ln 2 and one with ln 4: (ln 2 + ln 4) / 2."""
    outputs = np.array([[0.5, 0.5]] * 8 + [[0.75, 0.25]], np.float32)
    mean_of_batches = Classes("ab").mean_of_batches
    labels = np.ones(9, np.int32)
    assert mean_of_batches(labels, outputs, 8) == pytest.approx(
        (np.log(2) + np.log(4)) / 2, abs=1e-6
    )
    assert mean_of_batches(labels, outputs, 9) == pytest.approx(
        (8 * np.log(2) + np.log(4)) / 9, abs=1e-6
    )


def test_data_are_read_before_anything_heavy_is_imported(run_python, tmp_path):
    """What is wrong with them is told at once, not after the frameworks' many seconds."""
    rows = [f"text {number},{number % 2}\n" for number in range(40)]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(rows))
    code = (
        "import sys\n"
        "import bert_tf.cli.classify_output\n"
        "from bert_tf.training.finetuning.job import ClassifierJob\n"
        "from bert_tf.training.finetuning.session import ClassifierSession\n"
        f"data = ClassifierSession(ClassifierJob('out', [{str(tmp_path / 'a.csv')!r}])).data\n"
        "heavy = ('keras', 'tensorflow', 'jax', 'sklearn', 'matplotlib', 'pandas')\n"
        "print(len(data.splits), [name for name in heavy if name in sys.modules])\n"
    )
    run = run_python("-c", code)
    assert run.stdout.strip() == "3 []", run.stderr
