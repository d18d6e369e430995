"""`bert_tf classify`: fine-tunes classifiers, with the flags of run_classifier.py and more."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any

from bert_tf.cli import classify_predictions as predictions
from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.classify_flags import FLAGS, ORIGINAL, add_arguments
from bert_tf.cli.options import STOPPED, chosen, say
from bert_tf.cli.training import stopped, watched
from bert_tf.errors import BertError
from bert_tf.files.whole import to_json

if TYPE_CHECKING:
    from bert_tf.training.finetuning.evaluate_splits import EvaluatedSplit
    from bert_tf.training.finetuning.fine_tune import FineTuned
    from bert_tf.training.finetuning.job import ClassifierJob
    from bert_tf.training.finetuning.plan import FineTuningPlan
    from bert_tf.training.finetuning.session import ClassifierSession

HELP = "train a classifier of texts or pairs of texts, evaluate it, and predict with it"
DESCRIPTION = """\
Trains a classifier on a table of texts and labels, evaluates it, and writes a folder that
"--model FOLDER" and bert_tf.load take. The table is CSV, TSV, JSON lines, Parquet or Excel; which
column is what is inferred from its names. With --task_name the flags are those of the original's
run_classifier.py, with its defaults. The same command resumes where it was stopped or killed.
"""
EXAMPLES = """\
examples:
  python run_classifier.py --train reviews.csv
  python run_classifier.py --train mails.tsv --text body --label folder --class_weights balanced
  python run_classifier.py --train pairs.csv --text premise --text_pair hypothesis \\
    --label relation --init_checkpoint multi_cased --mode lora --output_dir relations
  python run_classifier.py --model reviews_classifier "A fine film." "A bore."
  python run_classifier.py --model reviews_classifier --predict new.csv --output answers.tsv
  python run_classifier.py --task_name=MRPC --do_train=true --do_eval=true --data_dir=glue/MRPC \\
    --vocab_file=uncased_L-12_H-768_A-12/vocab.txt \\
    --bert_config_file=uncased_L-12_H-768_A-12/bert_config.json \\
    --init_checkpoint=uncased_L-12_H-768_A-12/bert_model.ckpt --max_seq_length=128 \\
    --train_batch_size=32 --learning_rate=2e-5 --num_train_epochs=3.0 --output_dir=mrpc_output/
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_arguments", "answer"]

_SPLITS = ("train", "validation", "test")
_SAME = ("task_name", "data_dir", "split_seed", "start", "overwrite", "allow_short_vocab")


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if args.model and (args.test or args.validation) and not (args.train or args.do_train):
        # A classifier as it is can be evaluated too.
        args.model, args.init_checkpoint = None, args.model
    if predictions.asks_a_model(args):
        return predictions.answer_prediction(args)
    job = make_job(args)
    if args.do_predict:
        _check_test_file(args)
    if args.predict and not predictions.is_pipe(args.predict):
        predictions.check_file(args)
    if not (job.do_train or job.do_eval):
        return _tell_predicted(args, {"test_results": predictions.predict_test(args)})
    _choose_backend(args, job.do_train)
    from bert_tf.cli import classify_output as output
    from bert_tf.training.finetuning.session import ClassifierSession

    session = ClassifierSession(job)
    if not args.json:
        for line in session.lines():
            say(line)
    session.prepare()
    if not args.json:
        for line in output.before(session):
            say(line)
    found: dict[str, Any] = {"output_dir": session.folder}
    if job.do_train:
        from bert_tf.training.distribution import leads

        trained = train(session, args)
        if not leads():
            return STOPPED if trained.interrupted else 0
        found |= output.training_of(session, trained)
        if trained.interrupted:
            text = stopped(trained.step, session.steps, f" in {session.folder}")
            print(to_json(found, ensure_ascii=True) if args.json else text)
            return STOPPED
        if args.keras:
            found["keras"] = session.save_keras()
    results: list[EvaluatedSplit] = []
    if job.do_eval:
        results = session.evaluate()
        for evaluated in results:
            evaluated.files.update(output.draw_split(evaluated, session))
        found["evaluation"] = {
            one.split: {"metrics": one.result.metrics(), "files": one.files} for one in results
        }
    if job.do_train:
        output.draw_text_lengths(session)
    if args.do_predict:
        found["test_results"] = predictions.predict_test(args, session.folder)
    if not args.json:
        print(output.text_of(session, results, found))
    if args.do_predict or args.json:
        _tell_predicted(args, found)
    return predictions.answer_prediction(args, session.folder) if args.predict else 0


def _choose_backend(args: argparse.Namespace, trains: bool) -> None:
    from bert_tf.backend import choose_backend, set_threads

    if args.threads:
        set_threads(args.threads)
    if trains:
        from bert_tf.cli.pretraining import choose_training_backend

        choose_training_backend(args.backend, args.use_tpu, args.distribute or "none")
    else:
        choose_backend(args.backend, predict=True)


def _check_test_file(args: argparse.Namespace) -> None:
    """Raises a `BertError` if there is no test file to predict, before hours of training."""
    from bert_tf.data.labelled.glue import splits_there

    if "test" not in splits_there(args.task_name, args.data_dir, args.xnli_language):
        raise BertError(
            f"--do_predict needs the test file of {args.task_name}: none is in {args.data_dir}."
        )


def _tell_predicted(args: argparse.Namespace, found: dict[str, Any]) -> int:
    """Prints all that was found as JSON, or what was predicted for people."""
    if args.json:
        print(to_json(found, ensure_ascii=True))
    else:
        for path, lines in found["test_results"].items():
            print(f"predictions of {lines:,} rows: {path}")
    return 0


def make_job(args: argparse.Namespace) -> ClassifierJob:
    """The job that the arguments describe.

    Raises:
        BertError: nothing is to be done, or arguments do not fit one another.
    """
    from bert_tf.data.labelled.problems import Policy, parse_changes
    from bert_tf.options import USUAL_LENGTH
    from bert_tf.training.finetuning.job import ClassifierJob, default_output_dir

    original = args.task_name is not None
    do = {name: getattr(args, f"do_{name}") for name in ("train", "eval", "predict")}
    if original and not any(do.values()):
        raise BertError(
            "at least one of --do_train, --do_eval and --do_predict must be true with --task_name, "
            "as in the original's script."
        )
    if not original:
        do["train"] = bool(args.train) if do["train"] is None else do["train"]
        do["eval"] = True if do["eval"] is None else do["eval"]
        if not any(do.values()):
            raise BertError("nothing to do: --do_train and --do_eval are both false.")
    files: dict[str, Any] = {name: comma_separated(getattr(args, name)) for name in _SPLITS}
    changes = parse_changes(args.problems or "")
    Policy("train", **changes)
    length = args.max_seq_length
    return ClassifierJob(
        output_dir=args.output_dir or _output_dir(args, do, files, default_output_dir),
        **files,
        **{name: getattr(args, name) for name in _SAME},
        language=args.xnli_language,
        layout=predictions.layout_of(args),
        label_names=tuple(comma_separated(args.labels)) or None,
        shares=_shares(args.shares),
        problems=changes,
        # Empty where a script has a variable that is not set.
        checkpoint=args.init_checkpoint or None,
        config=args.bert_config_file or None,
        vocab=args.vocab_file or None,
        lower_case=args.do_lower_case,
        max_seq_length=USUAL_LENGTH if original and length is None else length,
        plan=make_plan(args),
        do_train=bool(do["train"]),
        do_eval=bool(do["eval"]),
        loss_batch=args.eval_batch_size or 8,
    )


def make_plan(args: argparse.Namespace) -> FineTuningPlan:
    """How to train: with a task the original's defaults, and else those of the mode."""
    from bert_tf.training.finetuning.plan import FineTuningPlan

    given = chosen(args, FineTuningPlan, FLAGS)
    if args.class_weights is not None:
        given["class_weights"] = _class_weights(args.class_weights)
    if args.task_name is None:
        return FineTuningPlan(**given)
    asks_for_best = args.metric is not None or args.patience is not None
    return FineTuningPlan(**(ORIGINAL | {"keep_best": asks_for_best} | given))


def train(session: ClassifierSession, args: argparse.Namespace) -> FineTuned:
    """Trains, with a log, rows on the screen and a curve."""
    from bert_tf.cli import classify_output as output

    assert session.plan is not None
    metric = session.objective.metric(session.plan.metric)
    return watched(
        session.train,
        session.folder,
        args.json,
        functools.partial(output.row_text, metric=metric.name),
        functools.partial(output.resumed, session),
        output.panels(session.objective, metric),
        json_file=True,
    )


def _output_dir(args: argparse.Namespace, do: dict[str, Any], files: dict[str, list[str]], name):
    """Where an evaluated model lies, or a new folder's name."""
    if not do["train"] and args.init_checkpoint and os.path.isdir(args.init_checkpoint):
        return args.init_checkpoint
    return name([*files["train"], *files["validation"], *files["test"]], args.task_name)


def _class_weights(text: str) -> Any:
    if text == "balanced":
        return text
    weights = {}
    for part in comma_separated(text):
        name, _, weight = part.rpartition("=")
        try:
            weights[name.strip()] = float(weight if name.strip() else "")
        except ValueError:
            help = f"--class_weights has {part!r}; write balanced, or spam=3,ham=1."
            raise BertError(help) from None
    return weights


def _shares(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    shares: list[float] = []
    with contextlib.suppress(ValueError):
        shares = [float(part) for part in comma_separated(text)]
    fractions = all(share > 0 for share in shares) and sum(shares) < 1 + 1e-9
    if not (2 <= len(shares) <= 3 and fractions):
        raise BertError(
            f"--shares={text}: write fractions of train, validation and test, as 0.7,0.15,0.15, or "
            "of train and validation alone, as 0.8,0.2; they add up to 1 at most."
        )
    return dict(zip(_SPLITS, shares))
