"""`pretrain`: from start weights and batches to a checkpoint in the original format."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bert_tf.checkpoint import CheckpointReader, locate, write_release
from bert_tf.checkpoint.names import Weight, check_shapes, parts_in, weights_of
from bert_tf.checkpoint.release import write_side_files
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.text import Vocabulary
from bert_tf.training.loop import Hooks, Outcome, Rhythm, Row, Stream, run_training
from bert_tf.training.spectral import PARTS, random_start

POSITIONS = "bert/embeddings/position_embeddings"


@dataclasses.dataclass(frozen=True)
class PretrainingPlan:
    """How to pretrain; the defaults are those of the original's `run_pretraining.py`.

    Attributes:
        steps: in all (`num_train_steps`).
        warmup_steps: of them (`num_warmup_steps`).
        learning_rate: the peak.
        weight_decay: of all but layer norms and biases.
        precision: `"float32"`, or `"bfloat16"` to compute in it on float32 weights.
        dropout: instead of the config's two rates while training; None leaves them. Little
            data that is seen once or twice is better learnt without.
        seed: of dropout.
        save_every: steps between checkpoints (`save_checkpoints_steps`).
        log_every: steps between rows of the log.
        evaluate_every: steps between evaluations; 0 for one at the end.
        eval_batches: batches of an evaluation (`max_eval_steps`).
        keep: how many checkpoints are kept.
        deterministic: same numbers on the same machine to the last bit, at some cost in speed;
            only then is a run that was killed and continued the same as an unbroken one.
    """

    steps: int = 100_000
    warmup_steps: int = 10_000
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    precision: str = "float32"
    dropout: float | None = None
    seed: int = 0
    save_every: int = 1000
    log_every: int = 100
    evaluate_every: int = 0
    eval_batches: int = 100
    keep: int = 2
    deterministic: bool = False


def start_from_checkpoint(
    path: str | os.PathLike[str], config: BertConfig, seed: int = 0
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Start weights from a checkpoint in the original format.

    A head that the checkpoint lacks starts at random. If the config has more positions than the
    checkpoint, its position table is repeated: to train on from 128 to 512 positions, say (the
    way Longformer was made from RoBERTa; Beltagy et al. 2020, section 5).

    Args:
        path: folder, prefix or file, as for `bert_tf.load`.
        config: the architecture that the model shall have.
        seed: of what starts at random.

    Returns:
        float32 weights by the original's name, and what is worth a remark.

    Raises:
        BertError: the checkpoint does not fit the config.
    """
    start = random_start(config, seed)
    remarks = []
    with (
        locate(path, None, None, need_config=False, need_vocab=False) as files,
        CheckpointReader(files.prefix) as reader,
    ):
        shapes = {name: info.shape for name, info in reader.tensors.items()}
        have = parts_in(shapes) & set(PARTS)
        held = shapes.get(POSITIONS, (0,))[0]
        wanted = config.max_position_embeddings
        if held < wanted and held:
            remarks.append(f"the position table of {held} rows is repeated to fill {wanted}.")
            shapes[POSITIONS] = start[POSITIONS].shape
        missing = check_shapes(weights_of(config, have), shapes, files.prefix, "the config")
        if missing or "encoder" not in have:
            raise BertError(
                f"{files.prefix} is no BERT checkpoint to begin from: it lacks "
                f"{', '.join(missing[:5]) or 'the encoder'}."
            )
        for part in sorted(set(PARTS) - have):
            remarks.append(f"the checkpoint has no {part} weights; they start at random.")
        for weight in weights_of(config, have):
            value = reader.read(weight.original).astype(np.float32)
            if weight.original == POSITIONS and held < wanted:
                value = np.resize(value, start[POSITIONS].shape)
            start[weight.original] = value
    return start, remarks


def metrics_of(sums: np.ndarray) -> Row:
    """The numbers that a person reads, of the sums of `losses.SUMS`.

    Losses are means in nats, accuracies shares; `loss` is what is minimised.
    """
    mlm_loss, mlm_correct, mlm_count, nsp_loss, nsp_correct, nsp_count = (float(x) for x in sums)
    words, pairs = max(mlm_count, 1.0), max(nsp_count, 1.0)
    return {
        "loss": mlm_loss / words + nsp_loss / pairs,
        "mlm_loss": mlm_loss / words,
        "mlm_accuracy": mlm_correct / words,
        "nsp_loss": nsp_loss / pairs,
        "nsp_accuracy": nsp_correct / pairs,
    }


def pretrain(
    config: BertConfig,
    vocab: Vocabulary,
    start: Mapping[str, np.ndarray],
    stream: Stream,
    output_dir: str | os.PathLike[str],
    plan: PretrainingPlan,
    *,
    eval_stream: Callable[[], Stream] | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
    on_resume: Callable[[int], None] = lambda step: None,
    progress: bool = True,
) -> Outcome:
    """Trains both heads, and continues where an earlier call with the same folder stopped.

    The folder gets `bert_config.json`, `vocab.txt` and the training checkpoints
    (`model.ckpt-<step>`, with Adam's slots), of which the last few are kept; `bert_tf.load` takes
    it as it is. Once all steps are done, its subfolder `release` holds the weights alone, laid
    out as Google's releases are.

    Args:
        config: the architecture.
        vocab: written beside the weights.
        start: weights by the original's name (`random_start`, `spectral_start`,
            `start_from_checkpoint`); not looked at when the folder has a checkpoint.
        stream: of batches as `PretrainingStream` gives them.
        output_dir: see above.
        plan: how to train.
        eval_stream: makes the batches of an evaluation, always the same ones.
        on_row: is given each row of the log.
        on_resume: is told the step that training goes on from.
        progress: whether to show a progress bar on a terminal.

    Returns:
        How it ended.

    Raises:
        BertError: the plan has no meaning, start weights are missing, the backend cannot train,
            and whatever `run_training` raises.
    """
    _check(plan)
    if len(vocab) > config.vocab_size:
        raise BertError(
            f"the vocabulary has {len(vocab):,} pieces, but vocab_size in the BERT config is "
            f"{config.vocab_size:,}; use the vocabulary that belongs to the config."
        )
    release = os.path.join(os.path.expanduser(os.fspath(output_dir)), "release")
    import keras

    from bert_tf.models.builders import build_gathered_pretraining_model
    from bert_tf.models.heads import Heads
    from bert_tf.models.parts import BertLayers
    from bert_tf.training.checkpoints import TrainingCheckpoints
    from bert_tf.training.losses import pretraining_loss
    from bert_tf.training.optimizer import BertAdam, WarmUpLinearDecay
    from bert_tf.training.step import TrainingStep

    if plan.deterministic:
        _make_deterministic()
    keras.utils.set_random_seed(plan.seed)
    policy = "mixed_bfloat16" if plan.precision == "bfloat16" else "float32"
    layers = BertLayers(
        _with_dropout(config, plan.dropout), Heads(pooler=True, mlm=True, nsp=True), policy
    )
    layers.build()
    model = build_gathered_pretraining_model(layers)
    schedule = WarmUpLinearDecay(plan.learning_rate, plan.steps, plan.warmup_steps)
    optimizer = BertAdam(schedule, weight_decay=plan.weight_decay)

    def evaluate() -> Row:
        assert eval_stream is not None
        batches = eval_stream()
        sums = [np.asarray(step.evaluate(batches.next_batch())) for _ in range(plan.eval_batches)]
        return metrics_of(np.asarray(sums, np.float64).sum(axis=0))

    def resumed(number: int) -> None:
        write_side_files(output_dir, config, vocab.raw)
        on_resume(number)

    checkpoints = TrainingCheckpoints(output_dir, layers, model, optimizer, plan.keep)
    if not checkpoints.steps():
        _assign(layers, weights_of(config, PARTS), start)
        # Else not before the checkpoint is known to be of this config.
        write_side_files(output_dir, config, vocab.raw)
    step = TrainingStep(model, pretraining_loss, optimizer)
    outcome = run_training(
        step,
        stream,
        checkpoints,
        Rhythm(plan.steps, plan.save_every, plan.log_every, plan.evaluate_every),
        Hooks(metrics_of, on_row, evaluate if eval_stream else None, resumed),
        progress=progress,
    )
    if not outcome.interrupted:
        write_release(release, config, vocab.raw, _weights(layers), overwrite=True)
    return outcome


def _check(plan: PretrainingPlan) -> None:
    for name in ("steps", "save_every", "log_every", "keep", "eval_batches"):
        if getattr(plan, name) < 1:
            raise BertError(f"{name} is {getattr(plan, name)}; it must be at least 1.")
    for name, limit in (("evaluate_every", sys.maxsize), ("seed", 2**32 - 1)):
        if not 0 <= getattr(plan, name) <= limit:
            raise BertError(f"{name} is {getattr(plan, name)}; it must lie from 0 to {limit}.")
    if plan.precision not in ("float32", "bfloat16"):
        raise BertError(
            f"precision is {plan.precision!r}; training computes in float32 or bfloat16."
        )
    if plan.dropout is not None and not 0 <= plan.dropout < 1:
        raise BertError(f"dropout is {plan.dropout}; it lies between 0 and 1.")


def _make_deterministic() -> None:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _with_dropout(config: BertConfig, rate: float | None) -> BertConfig:
    if rate is None:
        return config
    return config.replace(hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)


def _assign(layers: Any, weights: list[Weight], start: Mapping[str, np.ndarray]) -> None:
    from bert_tf.models.weights import assign, variable_at

    by_name = layers.by_name()
    missing = [weight.original for weight in weights if weight.original not in start]
    if missing:
        raise BertError(f"the start weights lack {', '.join(missing[:5])}.")
    for weight in weights:
        value = start[weight.original]
        if value.shape != weight.shape:
            raise BertError(
                f"the start weight {weight.original} has the shape {list(value.shape)}; by the "
                f"config it is {list(weight.shape)}."
            )
        # A copy of its own: the variable takes the memory over and changes it.
        own = np.array(value.T if weight.transpose else value, np.float32, order="C")
        assign(variable_at(by_name[weight.layer], weight.attribute), own)


def _weights(layers: Any) -> dict[str, np.ndarray]:
    from bert_tf.models.weights import value_at

    by_name = layers.by_name()
    found = {}
    for weight in weights_of(layers.config, layers.heads.parts):
        value = value_at(by_name[weight.layer], weight.attribute)
        found[weight.original] = value.T if weight.transpose else value
    return found
