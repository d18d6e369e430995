"""`fine_tune`: from a BERT and labelled texts to a classifier's folder."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.batching.lengths import LengthHistogram
from bert_tf.bert import Bert
from bert_tf.checkpoint import write_release
from bert_tf.checkpoint.release import refuse_to_overwrite
from bert_tf.errors import BertError
from bert_tf.files.log import Warned, warn
from bert_tf.training.finetuning.batches import LabelledRows, Weighted, all_scores, open_batches
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.log import LogRow
from bert_tf.training.loop import Hooks, Rhythm, run_training
from bert_tf.training.objectives.base import Objective, objective_class

if TYPE_CHECKING:
    from bert_tf.training.checkpoints import TrainingCheckpoints

CHECKPOINTS = "training"
"""Folder in the output folder for what is needed to resume, and for a frozen encoder's vectors;
it can be removed once training has ended."""

_SCARCELY_MATTERS = ("save_every", "log_every", "keep", "eval_batch_size", "distribute")
"""Fields of the plan in which a run that is resumed may differ from its beginning."""


@dataclasses.dataclass(frozen=True)
class FineTuned(Warned):
    """How a fine-tuning ended.

    Attributes:
        folder: of the model, for `bert_tf.load`; not written yet if it was interrupted.
        step: the last step trained.
        best_step: the step whose weights are kept; None where nothing was evaluated.
        metrics: of the kept weights on the validation rows.
        stopped_early: whether patience ran out before the last epoch.
        interrupted: whether a signal ended it; the same call resumes it.
        warnings: what was logged as worth knowing, a sentence each.
    """

    folder: str
    step: int
    best_step: int | None
    metrics: LogRow
    stopped_early: bool
    interrupted: bool
    warnings: tuple[str, ...]


def fine_tune(
    bert: Bert,
    train: LabelledRows,
    validation: LabelledRows | None,
    plan: FineTuningPlan,
    output_dir: str | os.PathLike[str],
    *,
    labels: Sequence[str] = (),
    task: str = "classes",
    objective: Objective | None = None,
    table: Mapping[str, Any] | None = None,
    features_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resumable: bool = True,
    on_row: Callable[[LogRow], None] = lambda row: None,
    on_resume: Callable[[int], None] = lambda step: None,
    progress: bool = True,
) -> FineTuned:
    """Trains a classifier, or resumes where an earlier call with the same folder stopped.

    The folder becomes a model: `bert_config.json`, `vocab.txt`, `bert_model.ckpt.*` with the head
    under the original's names, and `classifier.json` with the labels (`task.json` for another
    head). Until then its subfolder `training` holds what is needed to resume. The BERT passed
    stays as it is.

    Args:
        bert: where the weights come from.
        train: rows to train on.
        validation: rows to evaluate on, for the best weights and for early stopping.
        plan: how to train.
        output_dir: the folder.
        labels: their names in the order of their numbers; none for a regression.
        task: `"classes"`, `"multilabel"` or `"regression"`.
        objective: what is trained for, in place of `labels` and `task`.
        table: how the table of the training rows was read, to be kept with the model.
        features_dir: where a frozen encoder's vectors are kept, also for several runs with
            different heads; `training` in the folder when left out.
        overwrite: whether a model in the folder may be replaced when a run begins, and a training
            of other settings that is there started over.
        resumable: whether what is needed to resume is written and, if it is there, used.
        on_row: is given each row of the log: `step`, `learning_rate` (of that step), `loss`,
            speeds, and after an evaluation `eval_loss`, `eval_accuracy` and so on.
        on_resume: is given the step that training resumes from.
        progress: whether to show progress: bars, or lines in the log off a terminal.

    Raises:
        BertError: arguments do not fit one another, the folder is of another run or has a model
            already, the backend cannot train, and whatever `run_training` raises.
    """
    import keras

    from bert_tf.training.checkpoints import NoCheckpoints, TrainingCheckpoints
    from bert_tf.training.distribution import distribute
    from bert_tf.training.finetuning.best import BestWeights
    from bert_tf.training.finetuning.tuned_model import TunedModel, digest_of
    from bert_tf.training.optimizer import BertAdam, WarmUpLinearDecay
    from bert_tf.training.step import TrainingStep, make_deterministic

    folder = os.path.expanduser(os.fspath(output_dir))
    training = os.path.join(folder, CHECKPOINTS)
    if not overwrite and not (resumable and is_begun(folder)):
        refuse_to_overwrite(folder)
    objective = objective_class(task)(labels) if objective is None else objective
    if validation is not None:
        objective.require()
    info = objective.info(
        plan,
        max_seq_length=train.texts.max_seq_length,
        lower_case=bert.lower_case,
        pairs=bool((train.texts.firsts < train.texts.lengths).any()),
        table=table,
    )
    plan = plan.filled(bert.config.hidden_size)
    limit = bert.config.max_position_embeddings
    if train.texts.max_seq_length > limit:
        raise BertError(
            f"the texts were cut at max_seq_length {train.texts.max_seq_length}, but this model "
            f"takes {limit} tokens at most; tokenize them with `max_seq_length={limit}` or less."
        )
    for name, rows in (("training", train), ("validation", validation)):
        if rows is not None:
            if not len(rows.texts):
                raise BertError(f"there are no {name} rows.")
            objective.check(rows.labels, len(rows.texts), name)
    if plan.patience is not None and validation is None:
        raise BertError("`patience` needs validation rows to evaluate on; pass some or omit it.")
    metric = objective.metric(plan.metric)
    objective = objective.fitted(train.labels, plan)
    if plan.deterministic:
        make_deterministic()
    devices = distribute(plan.distribute)
    devices.check(plan.batch_size, plan.accumulation)
    digest = digest_of(bert)
    keras.utils.set_random_seed(plan.seed)
    with devices.scope():
        tuned = TunedModel(bert, info, plan, objective.scale)
    rate = plan.rate_warning(bert.config.hidden_size)
    cut = LengthHistogram.of(train.texts).warning(bert.config.max_position_embeddings)
    warnings = warn(devices.warning, rate, cut)
    progress = progress and devices.leads
    vectors_dir = features_dir or training
    stream, evaluated = open_batches(bert, train, validation, plan, vectors_dir, digest, progress)
    per_epoch = stream.steps_per_epoch()
    steps = max(1, round((plan.epochs or 0.0) * per_epoch))
    schedule = WarmUpLinearDecay(plan.learning_rate or 0.0, steps, round(plan.warmup * steps))
    with devices.scope():
        optimizer = BertAdam(
            schedule,
            weight_decay=plan.weight_decay,
            bias_correction=plan.bias_correction,
            global_clipnorm=plan.clip_norm,
            rate_multipliers=plan.rate_multipliers(bert.config.num_hidden_layers, info.head),
        )
    step = TrainingStep(tuned.model, objective.loss, optimizer, plan.accumulation, devices)
    held: dict[str, np.ndarray] = {}
    best = BestWeights(metric, tuned.trained, held, keep=plan.keep_best, patience=plan.patience)
    kind = TrainingCheckpoints if resumable else NoCheckpoints
    checkpoints = kind(training, tuned.trained, tuned.model, optimizer, plan.keep, extra=held)
    # What must be the same when a run is resumed, as JSON gives it back.
    of_run = {**dataclasses.asdict(plan), **info.settings(), "start weights": digest}
    of_run = {name: of_run[name] for name in of_run if name not in _SCARCELY_MATTERS}
    of_run = json.loads(json.dumps(of_run))
    with devices.together():
        if devices.leads:
            _start_over_or_refuse(checkpoints, of_run, overwrite)

    def evaluate() -> LogRow:
        assert validation is not None
        assert evaluated is not None
        scores = all_scores(step, evaluated, objective, plan.eval_batch_size)
        row = objective.measured(validation.labels, scores)
        done = int(keras.ops.convert_to_numpy(optimizer.iterations))
        best.look(done, row, objective.only(scores))
        return row

    def with_rate(row: LogRow) -> None:
        rate = float(keras.ops.convert_to_numpy(schedule(row["step"] - 1)))
        on_row({"step": row["step"], "learning_rate": rate, **row})

    weights = objective.row_weights
    outcome = run_training(
        step,
        stream if weights is None else Weighted(stream, weights),
        checkpoints,
        Rhythm(steps, plan.save_every, plan.log_rhythm(steps), plan.evaluate_every or per_epoch),
        Hooks(
            metrics=objective.means,
            on_row=with_rate,
            evaluate=evaluate if validation is not None else None,
            on_resume=on_resume,
            should_stop=best.should_stop,
            remember=lambda: {"run": of_run, "best": best.memory()},
            recall=lambda memory: best.recall(memory["best"]),
        ),
        progress=progress,
    )
    if not outcome.interrupted:
        best.restore()
        with devices.together():
            if devices.leads:
                files = {info.file_name: info.to_json()}
                model = (bert.config, bert.vocab.raw, tuned.weights())
                write_release(folder, *model, overwrite=True, files=files)
    if validation is not None:
        kept = best.kept.only
        warnings += warn(objective.only_warning(validation.labels, kept, "validation", fewest=1))
    return FineTuned(
        folder,
        outcome.step,
        best.kept.step or None,
        best.kept.row,
        outcome.step < steps and not outcome.interrupted,
        outcome.interrupted,
        (*tuned.warnings, *warnings),
    )


def is_begun(folder: str) -> bool:
    """Whether a training was started with this output folder."""
    return bool(glob.glob(os.path.join(glob.escape(folder), CHECKPOINTS, "*.index")))


def _start_over_or_refuse(
    checkpoints: TrainingCheckpoints, now: dict[str, Any], overwrite: bool
) -> None:
    """Discards checkpoints of another run, or raises `BertError` if they may not be overwritten."""
    memory = checkpoints.last_state().get("memory")
    run = memory.get("run") if isinstance(memory, dict) else None
    if not isinstance(run, dict):
        return
    other = [name for name in now if run.get(name) != now[name]]
    if other and overwrite:
        with checkpoints.alone():
            checkpoints.discard()
    elif other:
        raise BertError(
            f"{checkpoints.folder} holds a training that was started with other settings "
            f"({', '.join(other)}); use the same again to resume it, give another output folder, "
            f"or start over with `overwrite=True`."
        )
