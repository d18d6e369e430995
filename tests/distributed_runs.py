"""Tiny trainings on one device and on several, as a script; prints what came out as JSON.

Its arguments are a folder and what to run. How many devices there are is decided before anything
is computed, so that each backend needs a process of its own.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
from typing import Any

import numpy as np
from tiny_classifiers import LAYERS, LENGTH, write_bert

STEPS = 20


def make_logical_devices() -> None:
    """Has TensorFlow take its CPU as several; JAX is told by the environment."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def write_small_bert(folder: pathlib.Path) -> pathlib.Path:
    """A BERT of one layer; gives its folder."""
    rest = [f"bert/encoder/layer_{number}/" for number in range(1, LAYERS)]
    return write_bert(folder, drop=rest, num_hidden_layers=1)


def rows_of(bert: Any, count: int, seed: int) -> Any:
    """Texts of five words, so of one shape; the class is told by the last word: w0 or w1."""
    from bert_tf.batching.tokenizing import tokenize_texts
    from bert_tf.data.labelled.texts import LabelledTexts
    from bert_tf.training.finetuning.batches import LabelledRows

    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.3).astype(np.int32)
    texts = [" ".join([*(f"w{i}" for i in rng.integers(2, 35, 4)), f"w{x}"]) for x in labels]
    names = [str(label) for label in labels]
    data = LabelledTexts(texts, None, names, [("", i) for i in range(count)])
    return LabelledRows(tokenize_texts(data, bert.tokenizer, LENGTH), labels)


def tune(
    bert: Any, folder: pathlib.Path, stop_at: int | None = None, judge: bool = True, **plan: Any
) -> dict:
    """Fine-tunes for 25 steps on 38 rows; the last batch of an epoch has 6 and 2 that fill it up.

    Args:
        bert: to start from.
        folder: the output folder.
        stop_at: the step after which this process sends itself a SIGTERM.
        judge: whether there are validation rows.
        plan: changes to the plan.
    """
    from bert_tf.checkpoint import CheckpointReader
    from bert_tf.training.finetuning.fine_tune import fine_tune
    from bert_tf.training.finetuning.plan import FineTuningPlan

    values = {"epochs": 5, "batch_size": 8, "log_every": 1, "learning_rate": 1e-3}
    values |= {"dropout": 0.0, "head_dropout": 0.0, "evaluate_every": 10, "keep_best": False}
    rows: list[dict[str, float]] = []
    resumed: list[int] = []

    def on_row(row: dict[str, float]) -> None:
        rows.append(row)
        if row["step"] == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    found = fine_tune(
        bert,
        rows_of(bert, 38, 1),
        rows_of(bert, 21, 2) if judge else None,
        FineTuningPlan(**(values | plan)),
        folder,
        labels=("no", "yes"),
        on_row=on_row,
        on_resume=resumed.append,
        progress=False,
    )
    weights: list[float] = []
    if not found.interrupted:
        with CheckpointReader(str(folder / "bert_model.ckpt")) as reader:
            weights = np.concatenate(
                [reader.read(name).reshape(-1) for name in sorted(reader.tensors)]
            ).tolist()
    return {
        "losses": [row["loss"] for row in rows],
        "judged": [row["eval_loss"] for row in rows if "eval_loss" in row],
        "step": found.step,
        "interrupted": found.interrupted,
        "resumed": resumed,
        "warnings": found.warnings,
        "weights": weights,
    }


def pretrain(folder: pathlib.Path, **plan: Any) -> list[float]:
    """The losses of 20 steps of pretraining, and those of the evaluation at their end."""
    from training_runs import random_batches, tiny_config, tiny_stream

    from bert_tf.training.pretraining.plan import PretrainingPlan
    from bert_tf.training.pretraining.pretrain import pretrain
    from bert_tf.training.pretraining.spectral import random_start

    config = tiny_config()
    stream, vocab = tiny_stream()
    rows: list[dict[str, float]] = []
    values = {"steps": STEPS, "warmup_steps": 2, "learning_rate": 1e-3, "log_every": 1}
    pretrain(
        config,
        vocab,
        random_start(config, 1),
        stream,
        folder,
        PretrainingPlan(**(values | {"dropout": 0.0} | plan)),
        eval_stream=lambda: random_batches(2, config),
        on_row=rows.append,
        progress=False,
    )
    assert len(rows) == STEPS
    return [row["loss"] for row in rows] + [rows[-1]["eval_loss"]]


def refusal(call: Any) -> str:
    """What a `BertError` says."""
    from bert_tf.errors import BertError

    try:
        call()
    except BertError as error:
        return str(error)
    return "nothing was refused"


def refusals(bert: Any, folder: pathlib.Path) -> dict[str, str]:
    """What does not work, on the backend that runs."""
    import keras

    from bert_tf.training.distribution import distribute
    from bert_tf.training.finetuning.plan import FineTuningPlan

    os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"] = "2"
    found = {"hosts": refusal(lambda: distribute("data"))}
    del os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"]
    found |= {
        "kind": refusal(lambda: FineTuningPlan(distribute="model").check()),
        "rows": refusal(lambda: tune(bert, folder / "r", distribute="data", batch_size=9)),
        "parts": refusal(
            lambda: tune(bert, folder / "r", distribute="data", batch_size=6, accumulation=2)
        ),
        "examples": refusal(lambda: pretrain_in_threes(folder / "r")),
    }
    if keras.backend.backend() != "tensorflow":
        return found
    import tensorflow as tf

    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": ["10.0.0.1:1", "10.0.0.2:1"]}})
    found["workers"] = refusal(lambda: distribute("data"))
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": ["10.0.0.1:1"]}})
    found["one worker"] = refusal(lambda: distribute("data"))
    del os.environ["TF_CONFIG"]
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        found["scope"] = refusal(lambda: distribute("data"))
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    found["keras.distribution"] = refusal(lambda: distribute("data"))
    keras.distribution.set_distribution(None)
    return found


def pretrain_in_threes(folder: pathlib.Path) -> None:
    """A pretraining whose batches have three examples."""
    from training_runs import tiny_config, tiny_stream

    from bert_tf.training.pretraining.plan import PretrainingPlan
    from bert_tf.training.pretraining.pretrain import pretrain

    def start() -> dict[str, np.ndarray]:
        raise AssertionError("the batches were not looked at before")

    stream, vocab = tiny_stream(batch_size=3)
    pretrain(tiny_config(), vocab, start, stream, folder, PretrainingPlan(distribute="data"))


def on_one_machine(folder: pathlib.Path) -> dict[str, Any]:
    """All that is compared, on one device and on both."""
    import bert_tf
    from bert_tf.training.distribution import distribute

    bert = bert_tf.load(write_small_bert(folder / "bert"))
    both = {"distribute": "data"}
    drops = {"dropout": 0.1, "head_dropout": 0.1, "accumulation": 2, "batch_size": 16}
    drops |= {"epochs": 2, "judge": False, "class_weights": "balanced"}
    return {
        "devices": distribute("data").count,
        "refused": refusals(bert, folder),
        "pretrained by one": pretrain(folder / "pretrained"),
        "pretrained by two": pretrain(folder / "pretrained too", **both),
        "by one": tune(bert, folder / "tuned"),
        "by two": tune(bert, folder / "tuned too", stop_at=STEPS, **both),
        "continued by one": tune(bert, folder / "tuned too"),
        "dropped by one": tune(bert, folder / "dropped", **drops),
        "dropped by two": tune(bert, folder / "dropped too", **drops, **both),
    }


def on_two_hosts(folder: pathlib.Path) -> dict[str, Any]:
    """One of two processes with a device each; the leading one is stopped, and both go on."""
    from bert_tf.training.distribution import connect, leads

    connect()
    import bert_tf

    bert = bert_tf.load(folder / "bert")
    both = {"distribute": "data"}
    return {
        "leads": leads(),
        "stopped": tune(bert, folder / "hosts", stop_at=7, **both),
        "continued": tune(bert, folder / "hosts", **both),
    }


def main() -> None:
    folder, what = pathlib.Path(sys.argv[1]), sys.argv[2]
    if what == "tensorflow":
        make_logical_devices()
    found = on_two_hosts(folder) if what == "hosts" else on_one_machine(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
