"""The two libraries that `finetuning.py` compares, each with its own whole loop of training."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import worker
from finetuning_rows import Rows

DECAY, EPSILON, CLIP, WARMUP = 0.01, 1e-6, 1.0, 0.1
"""Weight decay, Adam's epsilon, the greatest norm of all gradients together, and the share of the
steps in which the rate rises."""

SOME_RATE = 1e-4
"""Learning rate where it does not matter."""

Report = Callable[[float], None]
"""Takes the mean loss since the last report."""

ROWS, MODEL = "rows.npz", "model"
"""In the folder that all share: the rows, and the classifier to begin with."""


class Settings(NamedTuple):
    """What all contenders are told.

    Attributes:
        folder: see `ROWS` and `MODEL`.
        batch: rows of a batch.
        dropout: all rates.
        threads: for each.
    """

    folder: str
    batch: int
    dropout: float
    threads: int


class Run(NamedTuple):
    """One fine-tuning.

    Attributes:
        rows: to train on.
        epochs: passes through them.
        report_every: steps between reports.
        dropout: all rates.
        rate: the peak.
        seed: of the order of the rows and of dropout.
        validation: rows to judge by after each epoch.
    """

    rows: Rows
    epochs: int
    report_every: int
    dropout: float
    rate: float = SOME_RATE
    seed: int = 0
    validation: Rows | None = None


class Library(Protocol):
    """What a library can do."""

    def logits(self, rows: Rows) -> np.ndarray:
        """The untrained classifier's scores, (rows, classes), without dropout."""

    def train(self, run: Run, report: Report) -> float | None:
        """Trains from the shared weights to the end; the accuracy on the validation rows."""

    def use(self, attention: str) -> None:
        """Chooses the implementation of attention, where there is a choice."""

    def settle(self) -> None:
        """Waits until what was begun is done."""


class Ours:
    """bert_tf's `fine_tune` on TensorFlow or JAX."""

    def __init__(self, settings: Settings, backend: str, precision: str) -> None:
        os.environ["KERAS_BACKEND"] = backend
        import bert_tf

        self._settings = settings
        self._backend = backend
        self._precision = precision
        self._bert = bert_tf.load(Path(settings.folder, MODEL))

    def _plan(self, run: Run) -> Any:
        from bert_tf import FineTuningPlan

        return FineTuningPlan(
            epochs=run.epochs,
            batch_size=self._settings.batch,
            learning_rate=run.rate,
            warmup=WARMUP,
            weight_decay=DECAY,
            bias_correction=True,
            clip_norm=CLIP,
            dropout=run.dropout,
            head_dropout=run.dropout,
            precision=self._precision,
            keep_best=False,
            seed=run.seed,
            save_every=10**9,
            log_every=run.report_every,
        )

    def logits(self, rows: Rows) -> np.ndarray:
        """Of the model that `fine_tune` would train."""
        import keras

        from bert_tf.training.finetuning.tuned_model import Scale, TunedModel

        plan = self._plan(Run(rows, 1, 1, 0.0))
        tuned = TunedModel(self._bert, self._bert.classifier, plan, Scale())
        tokens, segments = rows.texts.pad(np.arange(len(rows.texts)), rows.texts.lengths.max())
        inputs = {"token_input": tokens, "seg_input": segments}
        scores = tuned.model([inputs[tensor.name] for tensor in tuned.model.inputs])
        return keras.ops.convert_to_numpy(keras.ops.cast(scores, "float32"))

    def train(self, run: Run, report: Report) -> float | None:
        """The whole of `fine_tune`: it writes the model at the end."""
        from bert_tf import fine_tune
        from bert_tf.training.finetuning.batches import LabelledRows

        validation = run.validation and LabelledRows(run.validation.texts, run.validation.labels)
        with tempfile.TemporaryDirectory(dir=self._settings.folder) as folder:
            done = fine_tune(
                self._bert,
                LabelledRows(run.rows.texts, run.rows.labels),
                validation,
                self._plan(run),
                folder,
                labels=run.rows.names,
                on_row=lambda row: report(row["loss"]),
                progress=False,
            )
        return done.metrics.get("accuracy")

    def use(self, attention: str) -> None:
        """There is one."""

    def settle(self) -> None:
        """On JAX the loss may be there before the new weights are."""
        if self._backend == "jax":
            import jax

            jax.block_until_ready(jax.live_arrays())


class HuggingFace:
    """`Trainer` with `BertForSequenceClassification`, each batch padded to its longest row.

    Args:
        settings: what all are told.
        precision: with bfloat16, Trainer's `bf16`: float32 weights, under autocast.
        by_length: let rows of like length come together; Trainer's `group_by_length`.
    """

    def __init__(self, settings: Settings, precision: str, by_length: bool) -> None:
        import torch

        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._narrow = precision == "bfloat16"
        self._by_length = by_length
        self._attention = "sdpa"
        self._model: Any = None

    def trainer(self, run: Run, report: Report, **more: Any) -> Any:
        """A `Trainer` on a new model with the shared weights; `more` are training arguments."""
        import transformers

        self._model = _new_classifier(self._settings.folder, run.dropout, len(run.rows.names))
        self._model.set_attn_implementation(self._attention)
        where = tempfile.mkdtemp(dir=self._settings.folder)
        strategy = "group_by_length" if self._by_length else "random"
        values = {
            "output_dir": where,
            "use_cpu": True,
            "bf16": self._narrow,
            "num_train_epochs": run.epochs,
            "per_device_train_batch_size": self._settings.batch,
            "per_device_eval_batch_size": 64,
            "learning_rate": run.rate,
            "weight_decay": DECAY,
            "adam_epsilon": EPSILON,
            "max_grad_norm": CLIP,
            "optim": "adamw_torch_fused",
            "seed": run.seed,
            "train_sampling_strategy": strategy,
            "eval_strategy": "epoch" if run.validation else "no",
            "save_strategy": "no",
            "logging_steps": run.report_every,
            "report_to": "none",
            "disable_tqdm": True,
        }
        made: Any = _trainer_class()(
            model=self._model,
            args=transformers.TrainingArguments(**values | more),
            train_dataset=run.rows.features(),
            eval_dataset=run.validation.features() if run.validation else None,
            data_collator=transformers.DataCollatorWithPadding(_tokenizer(self._settings.folder)),
            compute_metrics=_accuracy,
            callbacks=[_reporting(report)],
        )
        return made

    def logits(self, rows: Rows) -> np.ndarray:
        """Of `Trainer.predict`."""
        # Grouped by length, `predict` would give the rows in another order than they came in.
        trainer = self.trainer(
            Run(rows, 1, 1, 0.0), lambda loss: None, train_sampling_strategy="random"
        )
        return trainer.predict(rows.features()).predictions

    def train(self, run: Run, report: Report) -> float | None:
        """`Trainer.train`, then `save_model` as `fine_tune` does, too."""
        trainer = self.trainer(run, report)
        trainer.train()
        trainer.save_model()
        found = [
            row["eval_accuracy"] for row in trainer.state.log_history if "eval_accuracy" in row
        ]
        return float(found[-1]) if found else None

    def use(self, attention: str) -> None:
        """`"sdpa"` or `"eager"`; also of a model that is being trained."""
        self._attention = attention
        if self._model is not None:
            self._model.set_attn_implementation(attention)

    def settle(self) -> None:
        """Nothing runs in the background."""


def _new_classifier(folder: str, dropout: float, classes: int) -> Any:
    import weights

    from bert_tf.checkpoint import CheckpointReader
    from bert_tf.config import BertConfig
    from bert_tf.hub.locate import locate

    files = locate(str(Path(folder, MODEL)))
    config = BertConfig.from_file(str(files.config_path)).replace(
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    )
    kind = "BertForSequenceClassification"
    labels = {number: str(number) for number in range(classes)}
    model = weights.new_model(
        config, kind, id2label=labels, problem_type="single_label_classification"
    )
    with CheckpointReader(files.prefix) as reader:
        weights.fill(model, [(name, reader.read(name)) for name in reader.tensors])
    return model


def _tokenizer(folder: str) -> Any:
    """It pads; the pieces are there already."""
    import transformers

    from bert_tf.text import Vocabulary

    vocab = Vocabulary.load(str(Path(folder, MODEL, "vocab.txt")))
    pieces = {vocab.token(number): number for number in range(len(vocab))}
    return transformers.BertTokenizerFast(vocab=pieces)


def _trainer_class() -> type:
    import torch
    import transformers

    class SameRates(transformers.Trainer):
        """Falls on the line that has its peak at step 0, as the original and `fine_tune` do.

        Trainer's own falls from the end of the warm-up on, and so lies a tenth higher.
        """

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            rising = round(WARMUP * num_training_steps)

            def share(step: int) -> float:
                left = 1 - min(step, num_training_steps) / num_training_steps
                return step / rising if step < rising else left

            if self.lr_scheduler is None:
                chosen = optimizer or self.optimizer
                self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, share)
                self._created_lr_scheduler = True
            return self.lr_scheduler

    return SameRates


def _reporting(report: Report) -> Any:
    import transformers

    class Reporting(transformers.TrainerCallback):
        """Hands each loss on as it is logged."""

        def on_log(self, args, state, control, logs=None, **others):
            if logs and "loss" in logs:
                report(float(logs["loss"]))

    return Reporting()


def _accuracy(prediction: Any) -> dict[str, float]:
    hits = np.argmax(prediction.predictions, axis=1) == prediction.label_ids
    return {"accuracy": float(np.mean(hits))}


def saved(scores: np.ndarray, path: str) -> dict[str, Any]:
    """Puts scores into a file for the driver."""
    np.save(path, np.asarray(scores, np.float32))
    return {"path": path}


def fastest(
    ways: Iterable[str], use: Callable[[str], None], step: Callable[[], None], repeat: int
) -> dict[str, float]:
    """Seconds of a step in each way, the best of some in turn; takes the fastest way."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(repeat + 1):
        for way, found in seconds.items():
            use(way)
            found += worker.timed(step, 1)[: number > 0]  # the first warms up
    best = {way: min(found) for way, found in seconds.items()}
    use(min(best, key=lambda way: best[way]))
    return best
