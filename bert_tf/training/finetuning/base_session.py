"""`FineTuningSession`: prepares, trains, evaluates and records, whatever the head is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Any

from bert_tf.batching.lengths import LengthHistogram
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.release import refuse_to_overwrite
from bert_tf.errors import BertError
from bert_tf.evaluation.result_files import write_json
from bert_tf.files.log import quiet, reports, warn
from bert_tf.files.reading import read_object
from bert_tf.files.whole import replacing
from bert_tf.training.distribution import leads
from bert_tf.training.finetuning.batches import LabelledRows
from bert_tf.training.finetuning.evaluate_splits import (
    EvaluatedSplit,
    evaluate_split,
    write_evaluation,
)
from bert_tf.training.finetuning.fine_tune import CHECKPOINTS, FineTuned, fine_tune, is_begun
from bert_tf.training.finetuning.job import FineTuningJob, choose_max_seq_length
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.finetuning.start import load_trained, start_bert, trained_model
from bert_tf.training.log import LogRow
from bert_tf.training.objectives.base import Objective, objective_class, objective_of
from bert_tf.training.starting import step_of

RECORD = "training.json"
"""In the output folder: how training ended, for an evaluation at another time."""


class FineTuningSession:
    """From a user's files to a fine-tuned model and its evaluation; a subclass reads the files.

    Making one reads the data; nothing heavy is imported before `prepare`. One that was stopped or
    killed resumes when another of the same job is made and trained.

    Args:
        job: what is asked.
        tell: is given what is logged in its methods, too.

    Attributes:
        job: as given.
        folder: the output folder.
        data: what was read, what was odd about it included.
        plan: with nothing left open; None before `prepare`, and where nothing is trained.
        steps: that the plan makes.
        max_seq_length: most tokens of a text; 0 before `prepare`.
        lengths: of the training texts, or of those to evaluate on; None before `prepare`.

    Raises:
        BertError: data cannot be read or do not fit, or there is nothing to do with them.
    """

    job: FineTuningJob

    @reports
    def __init__(self, job: FineTuningJob, tell: Callable[[str], None] | None = None) -> None:
        self.job = job
        self.folder = os.path.expanduser(job.output_dir)
        self._tell = tell
        self._trained: str | None = None
        self._evaluated_last = False
        self._known: ClassifierInfo | None = None
        if not job.do_train:
            self._trained = trained_model(job)
            self._known = ClassifierInfo.in_folder(_folder_of(self._trained) + os.sep)
        elif not job.overwrite and not is_begun(self.folder):
            refuse_to_overwrite(self.folder)  # before the data are read, which may take long
        self.data = self._read()
        if self._validates or (job.do_eval and self.evaluated_on):
            self.objective.require()
        self.plan: FineTuningPlan | None = None
        self.steps = 0
        self.max_seq_length = 0
        self.lengths: LengthHistogram | None = None
        self._bert: Bert | None = None
        self._texts: dict[str, TokenizedTexts] = {}

    def _read(self) -> Any:
        """The rows by split, the task and its labels: see `bert_tf.data.LabelledSplits`."""
        raise NotImplementedError

    def _info(self, bert: Bert) -> ClassifierInfo:
        """What is evaluated."""
        raise NotImplementedError

    def _table(self) -> dict[str, Any] | None:
        """How the training table was read, for JSON."""
        return None

    def _main_metric(self) -> str:
        return self.objective.main_metric

    @property
    def objective(self) -> Objective:
        """What is trained for, by the data."""
        return objective_class(self.data.task)(self.data.label_names)

    @property
    def model(self) -> str:
        """Where the trained model is: a folder, or a checkpoint in one.

        Raises:
            BertError: it is not trained yet.
        """
        if self._trained is None:
            raise BertError(f"no fine-tuned model in {self.folder} yet; train it (`do_train=True`)")
        return self._trained

    @property
    def stopped_early_at(self) -> int | None:
        """The last step of a training in the folder that ran out of patience; None without one."""
        record = _record(self.folder)
        return record["last_step"] if record.get("stopped_early") else None

    @property
    def evaluated_on(self) -> list[str]:
        """Names of the splits that `evaluate` takes: those with labels, but for training's."""
        splits = self.data.splits.items()
        return [name for name, x in splits if name != "train" and x.labels is not None and len(x)]

    @property
    def _validates(self) -> bool:
        """Whether training makes evaluations."""
        job, plan = self.job, self.job.plan
        wanted = job.do_eval or plan.keep_best or plan.patience is not None
        return job.do_train and wanted and "validation" in self.evaluated_on

    @reports
    def prepare(self) -> None:
        """Loads the BERT, tokenizes what is needed, and logs warnings.

        Raises:
            BertError: the BERT cannot be loaded, or it or the plan does not fit the data.
        """
        if self.job.do_train:
            self._bert = start_bert(self.job)
        shown = ["train"] if self.job.do_train else self._to_evaluate()
        bert, data = self._loaded(), self.data.splits[shown[0]]
        given = self.job.max_seq_length or (self._known and self._known.max_seq_length)
        limit = bert.config.max_position_embeddings
        self.max_seq_length = given or choose_max_seq_length(data, bert.tokenizer, limit)
        self.lengths = LengthHistogram.of(*map(self._tokenized, shown))
        if not self.job.do_train:
            warn(self.lengths.warning(limit))
            return
        plan, self.steps = self.job.plan_for(len(data), bert.config.hidden_size)
        self.plan = dataclasses.replace(plan, metric=plan.metric or self._main_metric())
        objective = self.objective
        labels = objective.encode(data)
        # `fine_tune` refuses the same, but that is after the plan was shown.
        self.plan.check_layers(bert.config.num_hidden_layers)
        objective.metric(self.plan.metric)
        objective.fitted(labels, self.plan)
        if plan.class_weights is None:
            warn(objective.labels_warning(labels))

    @reports
    def train(
        self,
        *,
        on_row: Callable[[LogRow], None] = lambda row: None,
        on_resume: Callable[[int], None] = lambda step: None,
        progress: bool = True,
    ) -> FineTuned:
        """Trains, or resumes where an earlier session of the same job stopped: see `fine_tune`.

        Where an earlier session trained to the end, it resumes from `steps`.

        Raises:
            BertError: as `fine_tune`; or the job is not to train.
        """
        if not self.job.do_train:
            raise BertError("the job says do_train=False; make another to train.")
        if self.plan is None:
            self.prepare()
        assert self.plan is not None
        assert self._bert is not None
        evaluates = self._validates
        found = fine_tune(
            self._bert,
            self._rows("train"),
            self._rows("validation") if evaluates else None,
            self.plan,
            self.folder,
            objective=self.objective,
            table=self._table(),
            overwrite=self.job.overwrite,
            on_row=on_row,
            on_resume=on_resume,
            progress=progress,
        )
        if not found.interrupted:
            self._trained = self.folder
            self._evaluated_last = evaluates
            if leads():
                self._write_record(found)
            self._bert = None
        return found

    @reports
    def evaluate(self) -> list[EvaluatedSplit]:
        """Evaluates the model in the folder, loaded again, or else the job's checkpoint.

        On every split that has labels, of each writing what `write_evaluation` writes.

        Raises:
            BertError: there is no trained model, no split has labels, or a file cannot be written.
        """
        bert = self._loaded(self.model)
        objective = objective_of(self._info(bert))
        if not self.max_seq_length:
            self.prepare()
        # As training noted it, or as the checkpoint is called.
        step = _record(_folder_of(self.model)).get("step") or step_of(self.model)
        size = self.job.plan.eval_batch_size
        results, odd = [], ""
        for name in self._to_evaluate():
            data = self.data.splits[name]
            one = evaluate_split(bert, objective, name, data, self._tokenized(name), size)
            files = write_evaluation(one, objective, self.folder, step, self.job.loss_batch)
            # Of one split is enough; of validation it was reported where training evaluated on it.
            if not odd:
                odd = objective.only_warning(one.labels, objective.only(one.outputs), name)
                warn("" if name == "validation" and self._evaluated_last else odd)
            results.append(dataclasses.replace(one, files=files))
        return results

    def _to_evaluate(self) -> list[str]:
        if names := self.evaluated_on:
            return names
        raise BertError("no labelled rows to evaluate on; pass `validation` or `test` and `label`.")

    def save_keras(self) -> str:
        """Writes the trained model as `classifier.keras`, or as its head is called; gives the path.

        Inputs are `token_input` and `seg_input`; the output of a classifier is probabilities.

        Raises:
            BertError: there is no trained model, or the file cannot be written.
        """
        bert, head = self._loaded(self.model), self.objective.head
        path = os.path.join(self.folder, f"{head}.keras")
        with replacing(path) as temporary:
            bert.model(head).save(temporary)
        return path

    def _loaded(self, path: str | None = None) -> Bert:
        """The BERT to train, or the trained one."""
        if self._bert is None:
            with quiet() if self.job.do_train else contextlib.nullcontext():  # said before
                self._bert = load_trained(path or self.model, self.job)
        return self._bert

    def _rows(self, split: str) -> LabelledRows:
        return LabelledRows(self._tokenized(split), self.objective.encode(self.data.splits[split]))

    def _tokenized(self, split: str) -> TokenizedTexts:
        if split not in self._texts:
            tokenizer, data = self._loaded().tokenizer, self.data.splits[split]
            folder = os.path.join(self.folder, CHECKPOINTS) if self.job.do_train else None
            self._texts[split] = tokenize_texts(data, tokenizer, self.max_seq_length, folder)
        return self._texts[split]

    def _write_record(self, found: FineTuned) -> None:
        assert self.plan is not None
        plan = dataclasses.asdict(self.plan)
        record = {
            "step": (plan["keep_best"] and found.best_step) or found.step,
            "last_step": found.step,
            "steps": self.steps,
            "stopped_early": found.stopped_early,
            "metric": plan["metric"],
            "metrics": found.metrics,
            **{x: plan[x] for x in ("mode", "learning_rate", "epochs", "batch_size", "seed")},
            "max_seq_length": self.max_seq_length,
            "rows": {name: len(data) for name, data in self.data.splits.items()},
        }
        write_json(os.path.join(self.folder, RECORD), record)


def _record(folder: str) -> dict[str, Any]:
    """What `RECORD` in the folder says; nothing if it is not there, or not as we write it."""
    with contextlib.suppress(BertError):
        record = read_object(os.path.join(folder, RECORD))
        if all(isinstance(record.get(name), int) for name in ("step", "last_step")):
            return record
    return {}


def _folder_of(path: str) -> str:
    return path if os.path.isdir(path) else os.path.dirname(path)
