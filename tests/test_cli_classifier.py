"""run_classifier.py: whole tiny trainings and evaluations, as users type them."""

import contextlib
import csv
import io
import json
import pathlib
import re
import shlex
import types
from typing import NamedTuple

import numpy as np
import pytest
import reference
from tiny_classifiers import VOCAB, WIDTH, WORDS, tiny_config, tiny_texts, write_bert

import bert_tf
from bert_tf.checkpoint import CheckpointReader, write_release
from bert_tf.cli import classify_output as classifier_output
from bert_tf.cli.main import build_parser, main
from bert_tf.training.log import read_log

metrics = pytest.importorskip("sklearn.metrics")

# As Google's README has it (the section on sentence-pair classification), with its two variables.
README = """
  --task_name=MRPC \\
  --do_train=true \\
  --do_eval=true \\
  --data_dir=$GLUE_DIR/MRPC \\
  --vocab_file=$BERT_BASE_DIR/vocab.txt \\
  --bert_config_file=$BERT_BASE_DIR/bert_config.json \\
  --init_checkpoint=$BERT_BASE_DIR/bert_model.ckpt \\
  --max_seq_length=128 \\
  --train_batch_size=32 \\
  --learning_rate=2e-5 \\
  --num_train_epochs=3.0 \\
  --output_dir=$OUT/mrpc_output/
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


def classify(*arguments):
    """Runs the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["classify", *map(str, arguments)])
        except SystemExit as error:
            code = error.code
    return Result(code, out.getvalue(), err.getvalue())


def write_csv(path, rows=60, seed=1, labels=("no", "yes")):
    """Texts whose class is told by their last word but one."""
    data = tiny_texts(rows, seed)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([t, labels[int(c)]] for t, c in zip(data.texts, data.labels))


def write_mrpc(folder, rows):
    """GLUE's files of MRPC, with so many rows of train; 20 of dev and 5 of test."""
    folder.mkdir(parents=True)
    for number, (name, size) in enumerate((("train", rows), ("dev", 20), ("test", 5))):
        data = tiny_texts(size, number, pairs=True)
        first = "index" if name == "test" else "Quality"
        lines = [f"{first}\t#1 ID\t#2 ID\t#1 String\t#2 String"]
        for row, (label, a, b) in enumerate(zip(data.labels, data.texts, data.pairs)):
            lines.append(f"{row if name == 'test' else label}\t{row}\t{row}\t{a}\t{b}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a tiny release, a table, and MRPC as GLUE lays it out."""
    folder = tmp_path_factory.mktemp("classifier")
    # One layer is enough here, and is compiled sooner.
    above = ("bert/encoder/layer_1", "bert/encoder/layer_2")
    write_bert(folder / "bert_uncased", drop=above, num_hidden_layers=1)
    write_csv(folder / "data.csv")
    write_mrpc(folder / "glue" / "MRPC", rows=50)
    return folder


def short(here, output, *more):
    """The short form, on a tiny BERT: 42 rows in 6 steps an epoch."""
    return (
        "--train", here / "data.csv", "--output_dir", output, "--init_checkpoint",
        here / "bert_uncased", "--batch_size=7", "--epochs=2", "--lr=2e-2",
        "--log_steps=5", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(here):
    """A training in the short form, and what it printed."""
    return here / "out", classify(*short(here, here / "out"))


def values_of(path):
    """The entries of `eval_results.txt`."""
    pairs = (line.split(" = ") for line in path.read_text().splitlines())
    return {name: float(value) for name, value in pairs}


def judged_by_hand(folder, texts, labels, batch=8):
    """The four entries from probabilities of one text at a time, by scikit-learn."""
    answers = bert_tf.Classify(bert_tf.load(folder), batch_size=1)(texts)
    names = list(answers[0].probabilities)
    right = np.array([names.index(label) for label in labels])
    outputs = np.array([list(answer.probabilities.values()) for answer in answers])
    outputs /= outputs.sum(axis=1, keepdims=True)
    losses = -np.log(outputs[np.arange(len(right)), right])
    starts = range(0, len(losses), batch)
    return {
        "eval_accuracy": metrics.accuracy_score(right, outputs.argmax(axis=1)),
        "eval_loss": metrics.log_loss(right, outputs, labels=range(len(names))),
        "loss": np.mean([losses[start : start + batch].mean() for start in starts]),
    }


def test_a_file_alone_becomes_a_classifier_and_its_evaluation(trained):
    folder, result = trained
    assert result.code == 0, result.err
    for name in (
        *("bert_config.json", "vocab.txt", "bert_model.ckpt.index", "classifier.json"),
        *("eval_results.txt", "eval_results_test.txt", "curve.png", "lengths.png"),
        *("evaluation/validation.json", "evaluation/test_worst.tsv", "tensorboard/eval"),
        *("evaluation/test_confusion.png", "evaluation/test_curves.png"),
        "evaluation/validation_calibration.png",
    ):
        assert (folder / name).exists(), name
    assert "trained 12 steps" in result.out
    assert "right \\ predicted" in result.out
    assert re.search(r"yes +\S+ +\S+ +\S+ +\d+ +\d+", result.out)
    assert f'--model {folder} "a text"' in result.out
    assert re.search(rf"lengths +{folder}/lengths.png", result.out)
    assert re.search(rf"state +{folder}/training, to resume from", result.out)
    for line in ("rows: train 42, validation 9, test 9", "is split at random", "cuts 0 %"):
        assert line in result.err
    assert "mode full: 12 steps of 7 rows, 2 epochs, learning rate 0.02" in result.err


def test_as_many_epochs_are_told_as_there_are():
    """Those given, else those of the plan; a short last batch of each makes them no more."""
    told = []
    for given, filled in ((None, 2.0), (None, 1.0), (3.0, 2.7)):
        plans = [types.SimpleNamespace(epochs=epochs) for epochs in (filled, given)]
        job = types.SimpleNamespace(plan=plans[1])
        told.append(classifier_output._epochs(types.SimpleNamespace(plan=plans[0], job=job)))
    assert told == ["2 epochs", "1 epoch", "3 epochs"]


def test_both_logs_hold_the_same_rows(trained):
    folder, _ = trained
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 6, 10, 12]
    for row, logged in zip(rows, read_log(folder / "log.csv"), strict=True):
        assert row == pytest.approx(logged, rel=1e-6)
    assert {"loss", "accuracy", "eval_accuracy", "eval_macro_f1"} <= set(rows[-1])


def test_eval_results_are_what_the_written_model_gives(here, trained):
    """By scikit-learn, from the answers to one text after the other."""
    folder, _ = trained
    from bert_tf.data import load_splits

    splits = load_splits(str(here / "data.csv")).splits
    record = json.loads((folder / "training.json").read_text())
    for split, name in (("validation", "eval_results.txt"), ("test", "eval_results_test.txt")):
        found = values_of(folder / name)
        expected = judged_by_hand(folder, splits[split].texts, splits[split].labels)
        assert set(found) == {"eval_accuracy", "eval_loss", "global_step", "loss"}
        assert found.pop("global_step") == record["step"] in (6, 12)
        assert found == pytest.approx(expected, rel=1e-4)
    best = json.loads((folder / "evaluation/validation.json").read_text())["metrics"]
    assert best["accuracy"] == pytest.approx(record["metrics"]["accuracy"])


def test_the_same_command_again_trains_nothing_and_evaluates(here, trained):
    folder, _ = trained
    before = {name: (folder / name).read_bytes() for name in ("eval_results.txt", "log.csv")}
    (folder / "eval_results.txt").unlink()
    again = classify(*short(here, folder))
    assert again.code == 0, again.err
    assert "trained already, all 12 steps; nothing is trained again" in again.err
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_what_stopped_early_is_not_said_to_go_on(here, tmp_path):
    """At a rate of nearly 0 the second evaluation, at step 12, is no better than the first."""
    flags = ("--patience", 1, "--learning_rate", "1e-9", "--num_train_epochs", 6)
    command = short(here, tmp_path / "out", *flags)
    assert classify(*command).code == 0
    again = classify(*command)
    assert again.code == 0, again.err
    assert "stopped early, after step 12 of 36, and nothing is trained again" in again.err
    assert "resumes" not in again.err


def test_evaluation_alone_needs_no_training(here, trained, tmp_path):
    folder, _ = trained
    write_csv(tmp_path / "new.csv", rows=11, seed=5)
    result = classify("--model", folder, "--test", tmp_path / "new.csv", "--output_dir", tmp_path)
    assert result.code == 0, result.err
    texts = list(csv.DictReader((tmp_path / "new.csv").read_text().splitlines()))
    found = values_of(tmp_path / "eval_results_test.txt")
    expected = judged_by_hand(folder, [r["text"] for r in texts], [r["label"] for r in texts])
    assert found == pytest.approx({**expected, "global_step": found["global_step"]}, rel=1e-4)
    assert found["global_step"] == json.loads((folder / "training.json").read_text())["step"]


def test_json_lines(here, tmp_path):
    result = classify(*short(here, tmp_path / "out", "--json", "--mode", "last:1", "--keras"))
    assert result.code == 0, result.err
    *rows, found = map(json.loads, result.out.splitlines())
    assert [row["step"] for row in rows] == [5, 6, 10, 12]
    assert set(found["evaluation"]) == {"validation", "test"}
    for path in (*found["evaluation"]["test"]["files"].values(), found["keras"], found["log"]):
        assert pathlib.Path(path).is_file()
    keras = pytest.importorskip("keras")
    model = keras.saving.load_model(found["keras"])
    inputs = {"token_input": np.array([[2, 6, 3]]), "seg_input": np.zeros((1, 3), int)}
    assert np.asarray(model(inputs)).sum() == pytest.approx(1, abs=1e-5)


# ---- the original form


@pytest.fixture(scope="module")
def as_in_the_readme(here):
    """Google's command line for MRPC, unchanged, on a tiny release with 128 positions."""
    bert = here / "uncased_L-1_H-16_A-2"
    weights = reference.random_weights(
        np.random.default_rng(0), vocab=len(WORDS), hidden=WIDTH, layers=1, intermediate=32,
        positions=128, scale=0.25,
    )  # fmt: skip
    write_release(
        bert, tiny_config(max_position_embeddings=128, num_hidden_layers=1), VOCAB, weights
    )
    line = README.replace("\\\n", " ")
    for name, value in (("GLUE_DIR", here / "glue"), ("BERT_BASE_DIR", bert), ("OUT", here)):
        line = line.replace(f"${name}", str(value))
    return here / "mrpc_output", classify(*shlex.split(line)), bert


def test_the_command_line_of_the_original_runs_unchanged(here, as_in_the_readme):
    folder, result, _ = as_in_the_readme
    assert result.code == 0, result.err
    found = values_of(folder / "eval_results.txt")
    # int(50 / 32 * 3): the last batch of an epoch goes on with the next one.
    assert found.pop("global_step") == 4
    rows = [line.split("\t") for line in (here / "glue/MRPC/dev.tsv").read_text().splitlines()[1:]]
    expected = judged_by_hand(folder, [tuple(row[3:]) for row in rows], [row[0] for row in rows])
    assert found == pytest.approx(expected, rel=1e-4)
    log = read_log(folder / "log.csv")
    # Its own defaults: no warm-up here (int(4 * 0.1) steps), linear to 0 over 4 steps.
    assert log[-1]["learning_rate"] == pytest.approx(2e-5 / 4)


def test_prediction_of_the_test_file_follows(here, as_in_the_readme):
    folder, _, bert = as_in_the_readme
    result = classify(
        "--task_name=mrpc", "--do_predict=true", f"--data_dir={here / 'glue' / 'MRPC'}",
        f"--vocab_file={bert / 'vocab.txt'}", f"--bert_config_file={bert / 'bert_config.json'}",
        f"--init_checkpoint={folder}", "--max_seq_length=128", f"--output_dir={folder}",
    )  # fmt: skip
    assert result.code == 0, result.err
    lines = (folder / "test_results.tsv").read_text().splitlines()
    assert len(lines) == 5
    assert [sum(map(float, line.split("\t"))) for line in lines] == pytest.approx([1] * 5, abs=1e-5)


ORIGINAL = {
    "data_dir": "d", "bert_config_file": "c", "task_name": "cola", "vocab_file": "v",
    "output_dir": "o", "init_checkpoint": "i", "max_seq_length": 64, "train_batch_size": 16,
    "eval_batch_size": 4, "predict_batch_size": 4, "learning_rate": 1e-5,
    "num_train_epochs": 2.5, "warmup_proportion": 0.2, "save_checkpoints_steps": 50,
    "iterations_per_loop": "7", "tpu_name": "t", "tpu_zone": "z", "gcp_project": "g",
    "master": "m", "num_tpu_cores": "8",
}  # fmt: skip
SWITCHES = ("do_lower_case", "do_train", "do_eval", "do_predict", "use_tpu")


def parsed(*arguments):
    return vars(build_parser().parse_args(["classify", *arguments]))


def test_all_flags_of_the_original_are_there():
    assert len(ORIGINAL) + len(SWITCHES) == 25
    for spell in ("--{}={}", "-{}={}"):
        found = parsed(*(spell.format(name, value) for name, value in ORIGINAL.items()))
        assert {name: found[name] for name in ORIGINAL} == ORIGINAL
    apart = parsed(*(part for name, value in ORIGINAL.items() for part in (f"-{name}", str(value))))
    assert {name: apart[name] for name in ORIGINAL} == ORIGINAL


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_in_all_spellings(name):
    for spelling in (f"--{name}", f"-{name}", f"--{name}=true", f"--{name}=True", f"--{name}=1"):
        assert parsed(spelling)[name] is True
    for spelling in (f"--no{name}", f"-no{name}", f"--{name}=false", f"--{name}=f"):
        assert parsed(spelling)[name] is False


def test_the_help_names_what_can_be_odd():
    from bert_tf.data.labelled.problems import PROBLEMS

    shown = " ".join(classify("--help").out.split())
    assert f"Kinds are {', '.join(PROBLEMS)}; actions" in shown


def test_do_lower_is_accepted():
    assert parsed("--do_lower=False")["do_lower_case"] is False


def test_defaults_are_the_original_s_with_a_task_and_the_mode_s_without():
    from bert_tf.cli.classify import make_job

    def job(*arguments):
        return make_job(build_parser().parse_args(["classify", *arguments]))

    original = job("--task_name=CoLA", "--data_dir=d", "--do_train")
    plan = original.plan
    assert (plan.learning_rate, plan.epochs, plan.batch_size, plan.warmup) == (5e-5, 3.0, 32, 0.1)
    assert (plan.bias_correction, plan.keep_best, plan.save_every) == (False, False, 1000)
    assert (original.max_seq_length, original.do_eval, original.loss_batch) == (128, False, 8)
    own = job("--train=data/my.reviews.csv")
    assert (own.plan.learning_rate, own.plan.epochs, own.max_seq_length) == (None, None, None)
    assert (own.plan.bias_correction, own.plan.keep_best) == (True, True)
    assert (own.do_train, own.do_eval, own.output_dir) == (True, True, "my_classifier")
    assert job("--task_name=CoLA", "--data_dir=d", "--do_train", "--patience=2").plan.keep_best
    given = job("--train=a.csv", "--learning_rate=5e-5", "--class_weights=no=1,yes=2.5")
    assert given.plan.learning_rate == 5e-5
    assert given.plan.class_weights == {"no": 1.0, "yes": 2.5}


def test_flags_that_messages_name_exist():
    """Each --flag in an error or a warning on the data can be typed."""
    flags = set(re.findall(r"--\w+", classify("--help").out))
    package = pathlib.Path(bert_tf.__file__).parent
    files = [
        *package.glob("data/labelled/*.py"),
        *package.glob("batching/*.py"),
        *package.glob("training/finetuning/*.py"),
        *package.glob("cli/classif*.py"),
        package / "files/text_lines.py",
    ]
    for file in files:
        for name in set(re.findall(r"--\w+", file.read_text())):
            assert name in flags or name.replace("--no", "--") in flags, (file.name, name)


# ---- what is wrong is told in one line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "{}/none.csv"], "none.csv"),
        (["--train", "{}/data.csv", "--label", "colour"], "no column 'colour': it has text, label"),
        (["--train", "{}/texts.txt"], "the table has one column; is --delimiter right?"),
        (["--train", "{}/one.csv"], "at least 2"),
        (["--task_name", "MRQC", "--data_dir", "{}", "--do_train"], "there is no task 'MRQC'"),
        (["--task_name", "MRPC", "--do_train"], "needs --data_dir"),
        (["--task_name", "MRPC", "--data_dir", "{}/nowhere", "--do_train"], "train.tsv"),
        (["--task_name", "MRPC", "--data_dir", "{}"], "--do_train, --do_eval and --do_predict"),
        (["--data_dir", "{}"], "--data_dir needs --task_name"),
        ([], "pass --train, a file to train on, or --task_name and --data_dir"),
        (
            ["--train", "{}/data.csv", "--task_name", "MRPC", "--data_dir", "{}", "--do_eval"],
            "leave",
        ),
        (["--train", "{}/data.csv", "--nodo_train"], "no fine-tuned model"),
        (["--train", "{}/data.csv", "--mode", "half"], "last:2"),
        (["--train", "{}/data.csv", "--shares", "1"], "0.7,0.15,0.15"),
        (["--train", "{}/data.csv", "--shares=1,1"], "they add up to 1 at most"),
        (["--train", "{}/data.csv", "--shares=0.5,nan"], "they add up to 1 at most"),
        (["--train", "{}/data.csv", "--class_weights", "no=heavy"], "spam=3,ham=1"),
        (["--train", "{}/data.csv", "--class_weights", "maybe=3"], "none of the labels"),
        (["--train", "{}/data.csv", "--problems", "leak"], "unlabelled=refuse"),
        (["--train", "{}/data.csv", "--metric", "f2"], "take one of accuracy"),
        (["--train", "{}/data.csv", "--max_seq_length", "17"], "takes 16 tokens"),
        (["--train", "{}/data.csv", "--do_train", "true"], "--do_train=true"),
        (["--train", "{}/data.csv", "--init_checkpoint", "{}/nowhere"], "nowhere"),
        (["--train", "{}/data.csv", "--vocab_file", "v", "--init_checkpoint="], "bert_config_file"),
        (["--train", "{}/data.csv", "--backend", "openvino"], "OpenVINO cannot train"),
        (["--train", "{}/data.csv", "--do_predict"], "--predict FILE"),
    ],
)
def test_bad_input_ends_with_a_message(here, tmp_path, arguments, message):
    (here / "texts.txt").write_text("".join(f"a text {n}\n" for n in range(9)))
    write_csv(here / "one.csv", labels=("only", "only"))
    given = [argument.format(here) for argument in arguments]
    if not any("init_checkpoint" in argument for argument in given):
        given += ["--init_checkpoint", str(here / "bert_uncased")]
    result = classify(*given, "--output_dir", tmp_path / "out")
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
    assert not (tmp_path / "out" / "bert_model.ckpt.index").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--metric=f2", "take one of accuracy"),
        ("--mode=last:9", "this encoder has 1 layers"),
        ("--class_weights=maybe=3", "none of the labels"),
    ],
)
def test_a_plan_that_does_not_fit_is_not_shown(here, tmp_path, flag, message):
    found = classify(*short(here, tmp_path / "out", flag))
    assert found.code == 2
    assert message in found.err.splitlines()[-1]
    assert "training, mode" not in found.err + found.out


def test_jigsaws_columns_are_trained_on_and_kept(here, tmp_path):
    """Two columns of 0 and 1; the evaluation and the prediction read the file alike."""
    rows = tiny_texts(48, 3)
    lines = [
        f"{text},{label},{i % 2}" for i, (text, label) in enumerate(zip(rows.texts, rows.labels))
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["comment_text,toxic,odd", *lines]) + "\n")
    flags = ["--init_checkpoint", here / "bert_uncased", "--mode=frozen", "--epochs=1"]
    output = tmp_path / "out"
    found = classify("--train", path, "--label=toxic,odd", "--output_dir", output, *flags)
    assert found.code == 0, found.err
    info = bert_tf.load(output).classifier
    assert (info.labels, info.task) == (("toxic", "odd"), "multilabel")
    assert info.table["label"] == ["toxic", "odd"]
    again = classify("--init_checkpoint", output, "--test", path, "--nodo_train")
    assert again.code == 0, again.err
    asked = classify("--model", output, "--predict", path, "--echo", "--json")
    texts = [json.loads(line)["text"] for line in asked.out.splitlines()]
    assert texts == rows.texts


def test_the_folder_of_another_run_is_left_alone(here, trained):
    folder, _ = trained
    before = (folder / "bert_model.ckpt.data-00000-of-00001").read_bytes()
    other = classify(*short(here, folder, "--seed=3"))
    assert other.code == 2
    assert "started with other settings (seed)" in other.err
    own = classify("--train", here / "data.csv", "--output_dir", here / "bert_uncased")
    assert own.code == 2
    assert "--overwrite" in own.err
    assert (folder / "bert_model.ckpt.data-00000-of-00001").read_bytes() == before


# ---- killed and started again

RUNS = """
import json, os, signal, sys
import keras
from bert_tf.cli.main import main
from bert_tf.training import checkpoints, losses, optimizer, step  # noqa: F401
from bert_tf.training.finetuning import best, features, fine_tune, tuned_model  # noqa: F401
from bert_tf.training.metrics import measure  # noqa: F401
from training_runs import break_before

for folder, count, number in (
    ("whole", 0, 0), ("broken", 5, signal.SIGTERM), ("broken", 5, signal.SIGKILL), ("broken", 0, 0)
):
    child = os.fork()
    if not child:
        if count:
            break_before("step", count, number)
        code = main([*json.loads(sys.argv[1]), "--output_dir", folder])
        sys.stdout.flush()
        os._exit(code)
    print("ended:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_and_started_again_the_same_command_ends_the_same(here, run_python, tmp_path):
    arguments = [
        "classify", "--train", here / "data.csv", "--init_checkpoint", here / "bert_uncased",
        "--train_batch_size=7", "--epochs=2", "--learning_rate=2e-2", "--deterministic",
        "--save_checkpoints_steps=4", "--log_steps=3", "--nodo_eval",
    ]  # fmt: skip
    script = tmp_path / "runs.py"
    script.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{RUNS}")
    tests = pathlib.Path(__file__).parent
    result = run_python(
        script,
        json.dumps(list(map(str, arguments))),
        PYTHONPATH=f"{tests.parent}:{tests}",
        backend="tensorflow",
        timeout=900,
    )
    ended = re.findall(r"ended: (-?\d+)", result.stdout)
    assert ended == ["0", "130", "-9", "0"], result.stderr[-2000:]
    assert "stopped after step 5, which is saved" in result.stdout
    assert "resumes from step 5 of 12" in result.stderr
    assert "resumes from step 8 of 12" in result.stderr
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def tensors(folder):
        with CheckpointReader(folder / "bert_model.ckpt") as reader:
            return {name: np.array(reader.read(name)).tobytes() for name in reader.tensors}

    assert tensors(whole) == tensors(broken)
    assert (whole / "training.json").read_text() == (broken / "training.json").read_text()
    rows = [
        [{n: x for n, x in row.items() if "per_second" not in n} for row in read_log(f / "log.csv")]
        for f in (whole, broken)
    ]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [3, 6, 9, 12]


@pytest.mark.slow
def test_zeros_where_they_are_allowed(tmp_path):
    """All at once; what is allowed computes something, and what makes no sense is refused."""
    write_bert(tmp_path / "bert")
    write_csv(tmp_path / "a.csv")
    names = ("warmup_proportion", "weight_decay", "label_smoothing", "dropout", "head_dropout")
    zeros = [f"--{name}=0" for name in (*names, "random_seed", "split_seed")]
    asked = ["--init_checkpoint", tmp_path / "bert", "--train", tmp_path / "a.csv", *zeros]
    asked += ["--output_dir", tmp_path / "out", "--epochs"]
    result = classify(*asked, "1", "--layer_decay=0")
    assert (result.code, "mode last:n" in result.err) == (2, True)
    result = classify(*asked, "1e-300")  # a step is the least
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "out" / "training.json").read_text())["steps"] == 1
