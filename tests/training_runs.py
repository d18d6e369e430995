"""Tiny pretrainings for the tests; as a script, trainings that are killed in the middle of things.

The script imports everything once and then forks a process for each run, so that many runs cost
little. (Nothing may have been computed before: TensorFlow's and JAX's threads do not survive a
fork.) Its argument is a JSON file with a list of runs, see `Run`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import sys
import time
import traceback
from typing import Any, NamedTuple

import numpy as np
from placed_corpora import make_corpus, vocabulary_of

from bert_tf.config import BertConfig
from bert_tf.data import MaskRules, PairRules, PretrainingStream

LENGTH, ASKED, BATCH = 16, 3, 4


class Run(NamedTuple):
    """One process that trains.

    Attributes:
        folder: the output folder.
        at: what it is killed before: `step` (a training step), `add` (a tensor that is written),
            `replace` (a file that gets its name), `remove` (a file that is removed); or `seconds`
            after the first step. None: it runs to its end.
        count: which one of them, from 1; or how many seconds.
        signal: by which signal.
        plan: changes to the plan.
    """

    folder: str
    at: str | None = None
    count: float = 0
    signal: str = "SIGKILL"
    plan: dict[str, Any] = {}  # noqa: RUF012  (never changed)


class Ended(NamedTuple):
    """How the process of a run ended.

    Attributes:
        status: exit status, negative: the signal that killed it.
        outcome: of `pretrain`, if it returned.
        error: the message of a `BertError`.
        resumed: the steps that training went on from.
    """

    status: int
    outcome: list[Any] | None
    error: str | None
    resumed: list[int]


def tiny_config(**changes: Any) -> BertConfig:
    """One layer for the tokens of `tiny_stream`; few shapes, as each one is compiled."""
    values = {
        "vocab_size": 85,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": LENGTH,
        "type_vocab_size": 2,
    }
    return BertConfig(**(values | changes))


def tiny_stream(seed: int = 3, batch_size: int = BATCH, length: int = LENGTH):
    """Batches of 80 tokens in ten documents, and the vocabulary."""
    corpus = make_corpus({"en": [[[4, 2, 2]]] * 10})
    vocab = vocabulary_of(corpus)
    stream = PretrainingStream(
        corpus,
        batch_size=batch_size,
        pair_rules=PairRules(length),
        mask_rules=MaskRules(max_predictions_per_seq=ASKED),
        documents=np.ones(10, bool),
        seed=seed,
        vocab=vocab,
    )
    return stream, vocab


def random_batches(count: int, config: BertConfig, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Batches of random ids, of which some are padded and some ask for less."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = rng.integers(5, config.vocab_size, (BATCH, LENGTH))
        ids[1, 9:] = 0
        weights = np.ones((BATCH, ASKED), np.float32)
        weights[1, 2] = weights[3, 1:] = 0
        batch = {
            "token_input": ids,
            "seg_input": (np.arange(LENGTH) > 5) * (ids != 0),
            "position_input": np.sort(rng.integers(1, 9, (BATCH, ASKED))),
            "masked_lm_ids": rng.integers(5, config.vocab_size, (BATCH, ASKED)),
            "next_sentence_labels": rng.integers(0, 2, BATCH),
        }
        found.append({name: x.astype(np.int32) for name, x in batch.items()})
        found[-1]["masked_lm_weights"] = weights
    return found


def tiny_training(dropout: float = 0.0, dtype: str = "float32", rate: float = 1e-2):
    """Layers with fixed start weights, the model on them and a step that trains it."""
    from bert_tf.models import BertLayers, Heads
    from bert_tf.models.heads.pretraining import build_gathered_pretraining_model
    from bert_tf.models.weights import assign_all
    from bert_tf.training.losses import pretraining_loss
    from bert_tf.training.optimizer import BertAdam
    from bert_tf.training.pretraining.spectral import random_start
    from bert_tf.training.step import TrainingStep

    config = tiny_config(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    layers = BertLayers(config, Heads(pooler=True, mlm=True, nsp=True), dtype)
    layers.build()
    assign_all(layers, random_start(config, 5))
    model = build_gathered_pretraining_model(layers)
    return layers, model, TrainingStep(model, pretraining_loss, BertAdam(rate))


def twenty_losses() -> list[list[float]]:
    """The sums of each of 20 steps from the same start, with two batches in turn."""
    _, _, step = tiny_training()
    batches = random_batches(2, tiny_config())
    return [np.asarray(step(batch)).tolist() for _ in range(10) for batch in batches]


def train(run: Run) -> dict[str, Any]:
    """Runs a training; what it reports is added to `rows.jsonl` in its folder."""
    from bert_tf.errors import BertError
    from bert_tf.training.pretraining.pretrain import PretrainingPlan, pretrain
    from bert_tf.training.pretraining.spectral import random_start

    values = {
        "steps": 14,
        "warmup_steps": 3,
        "learning_rate": 1e-2,
        "save_every": 4,
        "log_every": 3,
        "deterministic": True,
    }
    config = tiny_config()
    stream, vocab = tiny_stream()
    resumed: list[int] = []
    with open(os.path.join(run.folder, "rows.jsonl"), "a", encoding="utf-8", buffering=1) as log:
        try:
            outcome = pretrain(
                config,
                vocab,
                random_start(config, 1),
                stream,
                run.folder,
                PretrainingPlan(**(values | run.plan)),
                on_row=lambda row: print(json.dumps(row), file=log),
                on_resume=resumed.append,
                progress=False,
            )
        except BertError as error:
            return {"outcome": None, "error": str(error), "resumed": resumed}
    return {"outcome": list(outcome), "error": None, "resumed": resumed}


def break_before(at: str, count: int, number: int) -> None:
    """Has this process signal itself before the call of that count."""
    from bert_tf.checkpoint.writer import CheckpointWriter
    from bert_tf.training.step import TrainingStep

    owner, name = {
        "step": (TrainingStep, "__call__"),
        "add": (CheckpointWriter, "add"),
        "replace": (os, "replace"),
        "remove": (os, "remove"),
    }[at]
    original = getattr(owner, name)
    calls = 0

    def call(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    setattr(owner, name, call)


def _child(run: Run, report: str, pipe: int) -> None:
    number = getattr(signal, run.signal)
    try:
        if run.at == "seconds":
            from bert_tf.training.step import TrainingStep

            original = TrainingStep.__call__

            def first(self, batch):
                result = np.asarray(original(self, batch))
                with contextlib.suppress(OSError):
                    os.write(pipe, b".")
                return result

            TrainingStep.__call__ = first  # type: ignore[method-assign]
        elif run.at is not None:
            break_before(run.at, int(run.count), number)
        found = train(run)
        pathlib.Path(report).write_text(json.dumps(found), encoding="utf-8")
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)


def fork(run: Run) -> Ended:
    """Runs a training in a process of its own."""
    os.makedirs(run.folder, exist_ok=True)
    report = os.path.join(os.path.dirname(run.folder), f"{os.path.basename(run.folder)}.report")
    with contextlib.suppress(FileNotFoundError):
        os.remove(report)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _child(run, report, writer)
    os.close(writer)
    if run.at == "seconds" and os.read(reader, 1):
        time.sleep(run.count)
        os.kill(child, getattr(signal, run.signal))
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = {"outcome": None, "error": None, "resumed": []}
    with contextlib.suppress(FileNotFoundError):
        found = json.loads(pathlib.Path(report).read_text(encoding="utf-8"))
    return Ended(status, **found)


def main() -> None:
    # The imports of a training, before the first fork.
    import keras

    from bert_tf.models import builders  # noqa: F401
    from bert_tf.training import checkpoints, losses, step  # noqa: F401
    from bert_tf.training.pretraining import pretrain  # noqa: F401

    if keras.backend.backend() == "jax":
        import jax.numpy  # noqa: F401
    runs = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps([fork(Run(**run)) for run in runs]))


if __name__ == "__main__":
    main()
