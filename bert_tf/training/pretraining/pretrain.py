"""`pretrain`: from start weights and batches to a checkpoint in the original format."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bert_tf.bert import fit_vocab
from bert_tf.checkpoint import write_release
from bert_tf.checkpoint.dtypes import UNSOUND
from bert_tf.checkpoint.release import write_side_files
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import reports, warn
from bert_tf.text import Vocabulary
from bert_tf.training import loop
from bert_tf.training.distribution import Batch, distribute
from bert_tf.training.log import LogRow
from bert_tf.training.loop import Hooks, Outcome, Rhythm, Stream
from bert_tf.training.objectives.pretraining import metrics_of, pretraining_loss
from bert_tf.training.pretraining.plan import PretrainingPlan
from bert_tf.training.starting import start_from_checkpoint

if TYPE_CHECKING:
    import keras

    from bert_tf.models.parts import BertLayers
    from bert_tf.training.step import TrainingStep


@reports
def pretrain(
    config: BertConfig,
    vocab: Vocabulary,
    start: Mapping[str, np.ndarray] | Callable[[], Mapping[str, np.ndarray]],
    stream: Stream,
    output_dir: str | os.PathLike[str],
    plan: PretrainingPlan,
    *,
    eval_stream: Callable[[], Iterable[Batch]] | None = None,
    on_row: Callable[[LogRow], None] = lambda row: None,
    on_resume: Callable[[int], None] = lambda step: None,
    tell: Callable[[str], None] | None = None,
    progress: bool = True,
) -> Outcome:
    """Trains both heads, or resumes where an earlier call with the same folder stopped.

    The folder gets `bert_config.json`, `vocab.txt` and the last training checkpoints
    (`model.ckpt-<step>`, with Adam's slots); `bert_tf.load` takes it as it is. When all steps are
    done, its subfolder `release` holds the weights alone, in the layout of Google's releases.

    Args:
        config: the architecture.
        vocab: written with the weights.
        start: weights by the original's name (`random_start`, `spectral_start`,
            `start_from_checkpoint`), or a function that makes them; unused when the folder has a
            checkpoint.
        stream: of batches as `PretrainingStream` gives them.
        output_dir: see above.
        plan: how to train.
        eval_stream: makes the batches of an evaluation, always the same; at most
            `plan.eval_batches` are taken.
        on_row: gets each row of the log: `step`, `learning_rate` (of that step), what `metrics_of`
            names, `pieces_per_second`, `steps_per_second`, and after an evaluation the names of
            `metrics_of` after `eval_`.
        on_resume: gets the step that training resumes from.
        tell: is given what is logged during the call, too.
        progress: whether to show progress: a bar, or lines in the log off a terminal.

    Raises:
        BertError: start weights are missing, the backend cannot train, or as `run_training`.
    """
    vocab, _ = fit_vocab(config, vocab)
    release = os.path.join(os.path.expanduser(os.fspath(output_dir)), "release")
    import keras

    from bert_tf.models.weights import assign_all, saved_weights, values
    from bert_tf.training.checkpoints import TrainingCheckpoints
    from bert_tf.training.optimizer import BertAdam, WarmUpLinearDecay
    from bert_tf.training.step import TrainingStep, make_deterministic

    if plan.deterministic:
        make_deterministic()
    devices = distribute(plan.distribute)
    warn(devices.warning)
    if devices.count > 1:
        state = stream.state()  # before start weights are made, which may take long
        devices.check(len(stream.next_batch()["token_input"]))
        stream.restore(state)
    keras.utils.set_random_seed(plan.seed)
    schedule = WarmUpLinearDecay(plan.learning_rate, plan.steps, plan.warmup_steps)
    with devices.scope():
        rates = ("hidden_dropout_prob", "attention_probs_dropout_prob")
        changes = {} if plan.dropout is None else dict.fromkeys(rates, plan.dropout)
        layers, model = _build(config.replace(**changes), plan.precision)
        optimizer = BertAdam(schedule, weight_decay=plan.weight_decay)

    def evaluate() -> LogRow:
        assert eval_stream is not None
        return _evaluate(step, itertools.islice(eval_stream(), plan.eval_batches))

    def with_rate(row: LogRow) -> None:
        rate = float(keras.ops.convert_to_numpy(schedule(row["step"] - 1)))
        on_row({"step": row["step"], "learning_rate": rate, **row})

    def resumed(number: int) -> None:
        write_side_files(output_dir, config, vocab.raw)
        on_resume(number)

    weights = saved_weights(layers)
    checkpoints = TrainingCheckpoints(output_dir, weights, model, optimizer, plan.keep)
    loop.check_same_checkpoints(devices, checkpoints)
    if not checkpoints.steps():
        assign_all(layers, start() if callable(start) else start)
        # Else not before the checkpoint is known to be of this config.
        if devices.leads:
            write_side_files(output_dir, config, vocab.raw)
    step = TrainingStep(model, pretraining_loss, optimizer, distribution=devices)
    rhythm = Rhythm(plan.steps, plan.save_every, plan.log_every, plan.evaluate_every)
    hooks = Hooks(metrics_of, with_rate, evaluate if eval_stream else None, resumed)
    outcome = loop.run_training(step, stream, checkpoints, rhythm, hooks, progress=progress)
    with devices.together():
        if devices.leads and not outcome.interrupted:
            trained = {weight.original: value for weight, value in values(layers)}
            write_release(release, config, vocab.raw, trained, overwrite=True)
    return outcome


def evaluate_checkpoint(
    path: str | os.PathLike[str],
    config: BertConfig,
    batches: Iterable[Batch],
    *,
    precision: str = "float32",
) -> LogRow:
    """Evaluates the weights of a checkpoint without training.

    Args:
        path: as for `start_from_checkpoint`.
        config: its architecture.
        batches: as `PretrainingStream` gives them; all are taken.
        precision: as in `PretrainingPlan`.

    Returns:
        What `metrics_of` names.

    Raises:
        BertError: the checkpoint does not fit the config, or the backend cannot train.
    """
    start = start_from_checkpoint(path, config)
    import keras

    from bert_tf.models.weights import assign_all
    from bert_tf.training.step import TrainingStep

    layers, model = _build(config, precision)
    assign_all(layers, start)
    # The optimizer is never called; this one needs no memory.
    step = TrainingStep(model, pretraining_loss, keras.optimizers.SGD(0.0))
    return _evaluate(step, batches)


def _evaluate(step: TrainingStep, batches: Iterable[Batch]) -> LogRow:
    sums = [np.asarray(step.evaluate(batch), np.float64) for batch in batches]
    if not sums:
        raise BertError("there is not one batch to evaluate on; give more data.")
    found = metrics_of(np.sum(sums, axis=0))
    if np.isfinite(found["loss"]):
        return found
    raise BertError(f"the loss is {found['loss']}: {UNSOUND}.")


def _build(config: BertConfig, precision: str) -> tuple[BertLayers, keras.Model]:
    from bert_tf.models.heads.pretraining import build_gathered_pretraining_model
    from bert_tf.models.layout import Heads
    from bert_tf.models.parts import BertLayers

    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    layers = BertLayers(config, Heads(pooler=True, mlm=True, nsp=True), policy)
    layers.build()
    return layers, build_gathered_pretraining_model(layers, attention_mask=True)
