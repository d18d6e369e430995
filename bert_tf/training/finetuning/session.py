"""`ClassifierSession`: from a user's files to a classifier and its evaluation, all in one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.release import refuse_to_overwrite
from bert_tf.data.dataset import LabelledSplits, load_splits, load_task
from bert_tf.data.glue import find_task
from bert_tf.data.labelled import LabelledTexts, encode_labels
from bert_tf.data.lengths import LengthHistogram, TokenizedTexts, tokenize_texts
from bert_tf.errors import BertError
from bert_tf.files.reading import read_object
from bert_tf.files.whole import replacing
from bert_tf.training.distribution import leads
from bert_tf.training.finetuning.batches import LabelledRows
from bert_tf.training.finetuning.fine_tune import CHECKPOINTS, FineTuned, fine_tune
from bert_tf.training.finetuning.job import ClassifierJob, choose_max_seq_length
from bert_tf.training.finetuning.judging import Judged, judge_split, write_judged
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.finetuning.remarks import imbalance_remark
from bert_tf.training.finetuning.start import load_classifier, start_bert, trained_classifier
from bert_tf.training.metrics.names import main_metric
from bert_tf.training.result_files import write_json

RECORD = "training.json"
"""In the output folder: how training ended, for an evaluation at another time."""

Row = dict[str, float]


class ClassifierSession:
    """All that `run_classifier.py` does, for Python: reads, trains, evaluates, writes.

    Making one reads the data; nothing heavy is imported before `prepare`. A session that was
    stopped or killed goes on when one of the same job is made and trained.

    Args:
        job: what is asked.
        tell: is given what is worth a remark, a sentence each.

    Attributes:
        job: as given.
        folder: the output folder.
        data: what was read, what was odd about it included.
        plan: with nothing left open; None before `prepare`, and where nothing is trained.
        steps: that the plan makes.
        max_seq_length: most pieces of a text; 0 before `prepare`.
        lengths: of the training texts, or of those to evaluate on; None before `prepare`.

    Raises:
        BertError: data cannot be read or do not fit, or there is nothing to do with them.

    Example:
        >>> job = ClassifierJob("reviews", train=["reviews.csv"])  # doctest: +SKIP
        >>> session = ClassifierSession(job, print)  # doctest: +SKIP
        >>> session.prepare(); session.train()  # doctest: +SKIP
        >>> for judged in session.evaluate():  # doctest: +SKIP
        ...     print(judged.split, judged.result.metrics())
    """

    def __init__(self, job: ClassifierJob, tell: Callable[[str], None] = lambda text: None) -> None:
        self.job = job
        self.folder = os.path.expanduser(job.output_dir)
        self._tell = tell
        self._told: set[str] = set()
        self._trained: str | None = None
        self._judged_last = False
        self._known: ClassifierInfo | None = None
        if not job.do_train:
            self._trained = trained_classifier(job)
            self._known = ClassifierInfo.beside(_folder_of(self._trained) + os.sep)
        elif not job.overwrite and not _begun(self.folder):
            refuse_to_overwrite(self.folder)  # at once, not after a long time of reading
        self.data = self._read()
        self.plan: FineTuningPlan | None = None
        self.steps = 0
        self.max_seq_length = 0
        self.lengths: LengthHistogram | None = None
        self._bert: Bert | None = None
        self._texts: dict[str, TokenizedTexts] = {}

    @property
    def model(self) -> str:
        """Where the trained classifier is: a folder, or a checkpoint in one.

        Raises:
            BertError: it is not trained yet.
        """
        if self._trained is None:
            raise BertError(
                f"there is no fine-tuned model in {self.folder} yet; train it first (--do_train)."
            )
        return self._trained

    @property
    def stopped_early_at(self) -> int | None:
        """The last step of a training in the folder that ran out of patience; None without one."""
        record = _record(self.folder)
        return record["last_step"] if record.get("stopped_early") else None

    def lines(self) -> list[str]:
        """For the screen: what was read, how it was split, and what is odd about it."""
        job = self.job
        told = []
        if job.train and not job.validation:
            made = ["train", "validation", *(["test"] if not job.test else [])]
            cut = [name for name in made if name in self.data.splits]
            told.append(
                f"{', '.join(job.train)} is split at random, by label, into {', '.join(cut)} "
                f"(--shares, --split_seed; or name files with --validation and --test)"
            )
        return [*told, *self.data.lines()]

    @property
    def judged_on(self) -> list[str]:
        """Names of the splits that `evaluate` takes: those with labels, but for training's."""
        return [
            name
            for name, data in self.data.splits.items()
            if name != "train" and data.labels is not None and len(data)
        ]

    def prepare(self) -> None:
        """Loads the BERT, tokenizes what is needed, and tells what is odd.

        Raises:
            BertError: the BERT cannot be loaded, or does not fit the data.
        """
        if not self.job.do_train:
            self._load_trained()
            first = [self.data.splits[name] for name in self.judged_on]
        else:
            self._bert, remarks = start_bert(self.job)
            for remark in remarks:
                self._say(remark)
            first = [self.data.splits["train"]]
        if not first:
            raise BertError(
                "no rows with labels to evaluate on; name some with --validation or --test, and "
                "their column with --label."
            )
        self.max_seq_length = self._choose_length(first[0])
        shown = ["train"] if self.job.do_train else self.judged_on
        self.lengths = LengthHistogram.of(*map(self._tokenized, shown))
        self._say(self.lengths.remark())
        if self.job.do_train:
            self._prepare_plan()

    def train(
        self,
        *,
        on_row: Callable[[Row], None] = lambda row: None,
        on_resume: Callable[[int], None] = lambda step: None,
        progress: bool = True,
    ) -> FineTuned:
        """Trains, or goes on where an earlier session of the same job stopped: `fine_tune`.

        Args:
            on_row: is given each row of the log.
            on_resume: is told the step that training goes on from; all `steps` of them if an
                earlier session trained to the end.
            progress: whether to show progress bars on a terminal.

        Raises:
            BertError: as `fine_tune`; or the job is not to train.
        """
        if not self.job.do_train:
            raise BertError("the job says do_train=False; make another to train.")
        if self.plan is None:
            self.prepare()
        assert self.plan is not None
        assert self._bert is not None
        found = fine_tune(
            self._bert,
            self._rows("train"),
            self._rows("validation") if self._judges_in_training() else None,
            self.plan,
            self.folder,
            labels=self.data.label_names,
            task=self.data.task,
            overwrite=self.job.overwrite,
            on_row=on_row,
            on_resume=on_resume,
            progress=progress,
        )
        for remark in found.remarks:
            self._say(remark)
        if not found.interrupted:
            self._trained = self.folder
            self._judged_last = self._judges_in_training()
            if leads():
                self._write_record(found)
            self._bert = None
        return found

    def evaluate(self) -> list[Judged]:
        """Judges the model in the folder, loaded anew, on every split that has labels.

        Writes what `write_judged` writes. The model is the one that the job evaluates: that of
        the folder, else the job's checkpoint.

        Raises:
            BertError: there is no trained model, no split has labels, or a file cannot be written.
        """
        if self.model and self._bert is None:
            self._load_trained()
        assert self._bert is not None
        info = self._info(self._bert)
        if not self.max_seq_length:
            self.prepare()
        plan, step = self.job.plan, self._step()
        results, told = [], False
        for name in self.judged_on:
            data = self.data.splits[name]
            judged = judge_split(
                self._bert, info, name, data, self._tokenized(name), plan.eval_batch_size
            )
            files = write_judged(judged, info, self.folder, step, self.job.loss_batch)
            # Of one split is enough; of validation it was told where training judged on it.
            if not told and not (name == "validation" and self._judged_last):
                for remark in judged.remarks:
                    self._say(remark)
            told = told or bool(judged.remarks)
            results.append(dataclasses.replace(judged, files=files))
        if not results:
            raise BertError(
                "no rows with labels to evaluate on; name some with --validation or --test."
            )
        return results

    def save_keras(self) -> str:
        """Writes the trained model as `classifier.keras`; gives its path.

        Its inputs are `token_input` and `seg_input`, its output is probabilities.

        Raises:
            BertError: there is no trained model, or the file cannot be written.
        """
        if self.model and self._bert is None:
            self._load_trained()
        assert self._bert is not None
        path = os.path.join(self.folder, "classifier.keras")
        with replacing(path, suffix=".keras") as temporary:
            self._bert.classifier_model().save(temporary)
        return path

    def _read(self) -> LabelledSplits:
        job, known = self.job, self._known
        names = job.label_names
        layout = job.layout
        if known is not None:  # the model's labels, in its order, whatever is judged on
            names = known.labels or None
            layout = dataclasses.replace(layout, task=known.task)  # type: ignore[arg-type]
        if job.task_name is not None:
            assert job.data_dir is not None
            return load_task(
                job.task_name,
                os.path.expanduser(job.data_dir),
                language=job.language,
                label_names=names,
                seed=job.split_seed,
                changes=job.problems,
            )
        return load_splits(
            list(job.train) or None,
            list(job.validation) or None,
            list(job.test) or None,
            layout=layout,
            label_names=names,
            shares=job.shares,
            seed=job.split_seed,
            changes=job.problems,
        )

    def _load_trained(self) -> None:
        self._bert = load_classifier(self.model, self.job)
        if not self.job.do_train:
            for remark in self._bert.report.remarks:
                self._say(remark)

    def _info(self, bert: Bert) -> ClassifierInfo:
        """The classifier's labels; those of the data where a model of Google's has none."""
        assert bert.classifier is not None
        if self._known is not None or self.job.do_train:
            return bert.classifier
        names = self.data.label_names
        if len(names) != len(bert.classifier.labels) or self.data.task != bert.classifier.task:
            raise BertError(
                f"the classifier has {bert.classifier.num_outputs} outputs for "
                f"{bert.classifier.task}, the data {len(names)} labels for {self.data.task}; give "
                "its labels in their order with --labels."
            )
        return dataclasses.replace(bert.classifier, labels=names)

    def _choose_length(self, data: LabelledTexts) -> int:
        assert self._bert is not None
        asked, info = self.job.max_seq_length, self._bert.classifier
        if asked is not None:
            return asked
        if not self.job.do_train and info is not None and info.max_seq_length:
            return info.max_seq_length
        limit = self._bert.config.max_position_embeddings
        return choose_max_seq_length(data, self._bert.tokenizer, limit)

    def _prepare_plan(self) -> None:
        assert self._bert is not None
        job, data = self.job, self.data
        rows, hidden = len(data.splits["train"]), self._bert.config.hidden_size
        plan, self.steps = job.plan_for(rows, hidden)
        if plan.metric is None:
            task = find_task(job.task_name)[0] if job.task_name else None  # type: ignore[index]
            plan = dataclasses.replace(plan, metric=main_metric(data.task, task))
        self.plan = plan
        self._say(plan.rate_remark(hidden))
        if data.task == "classes" and plan.class_weights is None:
            counts = np.bincount(
                encode_labels(data.splits["train"], data.label_names),
                minlength=len(data.label_names),
            )
            self._say(imbalance_remark(counts.tolist(), data.label_names))

    def _judges_in_training(self) -> bool:
        validation = self.data.splits.get("validation")
        if validation is None or validation.labels is None or not len(validation):
            return False
        plan = self.job.plan
        return self.job.do_eval or plan.keep_best or plan.patience is not None

    def _rows(self, split: str) -> LabelledRows:
        labels = encode_labels(self.data.splits[split], self.data.label_names)
        return LabelledRows(self._tokenized(split), labels)

    def _tokenized(self, split: str) -> TokenizedTexts:
        if split not in self._texts:
            assert self._bert is not None
            self._texts[split] = tokenize_texts(
                self.data.splits[split],
                self._bert.tokenizer,
                self.max_seq_length,
                os.path.join(self.folder, CHECKPOINTS) if self.job.do_train else None,
                self._say,
            )
        return self._texts[split]

    def _say(self, remark: str | None) -> None:
        """Tells a remark, each only once."""
        if remark and remark not in self._told:
            self._told.add(remark)
            self._tell(remark)

    def _write_record(self, found: FineTuned) -> None:
        assert self.plan is not None
        step = found.best_step if self.plan.keep_best and found.best_step else found.step
        record = {
            "step": step,
            "last_step": found.step,
            "steps": self.steps,
            "stopped_early": found.stopped_early,
            "metric": self.plan.metric,
            "metrics": found.metrics,
            "mode": self.plan.mode,
            "learning_rate": self.plan.learning_rate,
            "epochs": self.plan.epochs,
            "batch_size": self.plan.batch_size,
            "seed": self.plan.seed,
            "max_seq_length": self.max_seq_length,
            "rows": {name: len(data) for name, data in self.data.splits.items()},
        }
        write_json(os.path.join(self.folder, RECORD), record)

    def _step(self) -> int:
        """Of the weights: as training noted it, or as the checkpoint is called."""
        assert self._trained is not None
        record = _record(_folder_of(self._trained))
        if "step" in record:
            return record["step"]
        from bert_tf.training.starting import step_of

        return step_of(self._trained)


def _record(folder: str) -> dict[str, Any]:
    """What `RECORD` in the folder says; nothing if it is not there, or not as we write it."""
    with contextlib.suppress(BertError):
        record = read_object(os.path.join(folder, RECORD))
        if all(isinstance(record.get(name), int) for name in ("step", "last_step")):
            return record
    return {}


def _folder_of(path: str) -> str:
    return path if os.path.isdir(path) else os.path.dirname(path)


def _begun(folder: str) -> bool:
    """Whether a training was begun there."""
    with contextlib.suppress(OSError):
        return any(
            name.endswith(".index") for name in os.listdir(os.path.join(folder, CHECKPOINTS))
        )
    return False
