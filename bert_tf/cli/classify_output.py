"""What `bert_tf classify` shows of a training and its evaluation: lines, tables and pictures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.cli.options import say
from bert_tf.cli.training import paths_of
from bert_tf.errors import BertError
from bert_tf.evaluation.names import Metric
from bert_tf.report import classification_figures as figures
from bert_tf.report.classification import confusion_table, labels_table, summary_table
from bert_tf.report.curves import Panel
from bert_tf.report.histograms import draw_lengths
from bert_tf.report.tables import table
from bert_tf.training.finetuning.evaluate_splits import FOLDER, EvaluatedSplit
from bert_tf.training.finetuning.fine_tune import CHECKPOINTS, FineTuned
from bert_tf.training.finetuning.session import ClassifierSession
from bert_tf.training.objectives.base import Objective

LENGTHS = "lengths.png"


def before(session: ClassifierSession) -> list[str]:
    """What is about to be done, a line each."""
    lines = [str(session.lengths)]
    if (plan := session.plan) is None:
        return lines
    parts = [
        f"training, mode {plan.mode}: {_counted(session.steps, 'step')} of {plan.batch_size} rows",
        f"{_epochs(session)}, learning rate {plan.learning_rate:g}",
    ]
    if plan.keep_best and "validation" in session.evaluated_on:
        parts.append(f"the weights that are best by {plan.metric} are kept")
    return [*lines, ", ".join(parts)]


def _epochs(session: ClassifierSession) -> str:
    assert session.plan is not None
    # As given, where one was: the original's steps are not whole epochs.
    given = session.job.plan.epochs
    shown = f"{(session.plan.epochs if given is None else given) or 0:.3g}"
    return f"{shown} epoch{'' if shown == '1' else 's'}"


def resumed(session: ClassifierSession, step: int) -> str:
    """What to say of the step that training resumes from."""
    total = session.steps
    if step >= total:
        return f"trained already, all {total:,} steps; nothing is trained again"
    if step == session.stopped_early_at:
        return (
            f"trained already; it stopped early, after step {step:,} of {total:,}, and nothing is "
            "trained again"
        )
    return f"resumes from step {step:,} of {total:,}"


def panels(objective: Objective, metric: Metric) -> tuple[Panel, ...]:
    """Of the curve; the metric that decides takes the last place before the rate if it lacks."""
    found = [Panel(*curve) for curve in objective.curves]
    if all(metric.name not in ("loss", panel.column) for panel in found):
        title = f"{metric.meaning[0].upper()}{metric.meaning[1:]} (evaluations)"
        found[-1] = Panel(metric.name, title)
    return (*found, Panel("learning_rate", "Learning rate", scientific=True))


def row_text(row: Mapping[str, float], metric: str) -> str:
    """A row of the log as a line for people.

    >>> row_text({"step": 1200, "loss": 0.25, "accuracy": 0.9, "eval_loss": 0.5}, "accuracy")
    'step 1,200 | loss 0.2500, accuracy 90.0 % | evaluation: loss 0.5000'
    """
    parts = [f"step {row['step']:,}", _numbers(row, ("loss", "accuracy", "label_accuracy"))]
    if "examples_per_second" in row:
        parts.append(f"{row['examples_per_second']:,.1f} rows/s")
    names = dict.fromkeys(("eval_loss", "eval_accuracy", f"eval_{metric}"))
    if evaluated := _numbers(row, tuple(names)):
        parts.append(f"evaluation: {evaluated}")
    return " | ".join(filter(None, parts))


def _numbers(row: Mapping[str, float], names: Sequence[str]) -> str:
    def shown(name: str) -> str:
        return f"{100 * row[name]:.1f} %" if "accuracy" in name else f"{row[name]:.4f}"

    return ", ".join(f"{x.removeprefix('eval_')} {shown(x)}" for x in names if x in row)


def training_of(session: ClassifierSession, trained: FineTuned) -> dict[str, Any]:
    """How a training ended and where things lie, for JSON."""
    found = {"step": trained.step, "steps": session.steps}
    names = ("best_step", "stopped_early", "interrupted", "metrics")
    return {**found, **{name: getattr(trained, name) for name in names}, **paths_of(session.folder)}


def draw_split(evaluated: EvaluatedSplit, session: ClassifierSession) -> dict[str, str]:
    """Draws an evaluation, and reports what cannot be drawn; gives the paths by kind."""
    result, name = evaluated.result.to_json(), evaluated.split.replace("_", " ")
    title = f"{name.capitalize()} rows"
    made: dict[str, str] = {}

    def draw(kind: str, path: str) -> Any:
        match kind:
            case "scatter":
                labels, outputs = evaluated.labels.tolist(), evaluated.outputs[:, 0].tolist()
                return figures.draw_scatter(labels, outputs, result, path, title)
            case "confusion":
                return figures.draw_confusion(result, path, f"Confusion matrix, {name} rows")
            case "curves":
                return figures.draw_curves(result, path, title)
        error = f"expected error {100 * result['calibration']['error']:.1f} %"
        return figures.draw_calibration(result, path, f"Calibration, {name} rows: {error}")

    for kind in session.objective.pictures:
        path = os.path.join(session.folder, FOLDER, f"{evaluated.split}_{kind}.png")
        try:
            if draw(kind, path) is not False:
                made[kind] = path
        except BertError as error:
            say(f"{os.path.basename(path)} is not drawn: {error}")
    return made


def draw_text_lengths(session: ClassifierSession) -> None:
    """Draws how long the texts are: `lengths.png`."""
    if (lengths := session.lengths) is None:
        return
    try:
        draw_lengths(lengths.counts, lengths.max_seq_length, os.path.join(session.folder, LENGTHS))
    except BertError as error:
        say(f"{LENGTHS} is not drawn: {error}")


def text_of(
    session: ClassifierSession, results: Sequence[EvaluatedSplit], found: Mapping[str, Any]
) -> str:
    """What came out, and how to ask the model, as text for people."""
    plan, trained = session.plan, "step" in found
    parts = []
    if trained:
        ended = f"trained {_counted(found['step'], 'step')}"
        if found["stopped_early"]:
            evaluations = _counted((plan and plan.patience) or 0, "evaluation")
            ended += f" of {session.steps:,}: {evaluations} without a better one"
        if plan and plan.keep_best and found["best_step"]:
            ended += f"; the weights of step {found['best_step']:,} are kept"
        parts.append(ended)
    parts += map(_split_text, results)
    rows = [["model", session.folder]] if trained else []
    if results:
        rows.append(["evaluation", os.path.join(session.folder, FOLDER)])
        rows += [["", path] for one in results if (path := one.files.get("eval_results"))]
    rows += [[key, found[key]] for key in ("log", "curve", "keras") if key in found]
    lengths = os.path.join(session.folder, LENGTHS)
    if trained and os.path.exists(lengths):
        rows.append(["lengths", lengths])
    state = os.path.join(session.folder, CHECKPOINTS)
    if trained and os.path.isdir(state):
        rows.append(["state", f"{state}, to resume from; no longer needed"])
    parts.append(f"written:\n{table(rows)}")
    if trained:
        pairs = session.data.splits["train"].pairs is not None
        texts = '"a text" "another text"' if pairs else '"a text"'
        parts.append(
            f"to use the model:\n  python run_classifier.py --model {shlex.quote(session.folder)} "
            f"{texts}"
        )
    return "\n\n".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _split_text(evaluated: EvaluatedSplit) -> str:
    result = evaluated.result.to_json()
    lines = [f"{evaluated.split.replace('_', ' ')}:", summary_table(result)]
    for key, show in (("labels", labels_table), ("confusion", confusion_table)):
        if key in result:
            lines += ["", show(result)]
    return "\n".join(lines)
