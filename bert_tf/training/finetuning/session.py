"""`ClassifierSession`: from a user's files to a classifier and its evaluation, all in one."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.dataset import LabelledSplits, load_splits, load_task
from bert_tf.data.labelled.glue import find_task
from bert_tf.errors import BertError
from bert_tf.evaluation.names import main_metric
from bert_tf.training.finetuning.base_session import RECORD, FineTuningSession
from bert_tf.training.finetuning.job import ClassifierJob

_OF_THE_MODEL = ("task", "label_names", "unlabelled")
"""Fields of a `Layout` that are kept as the model's own, or follow from its labels."""

__all__ = ["RECORD", "ClassifierSession"]


class ClassifierSession(FineTuningSession):
    """All that `run_classifier.py` does, for Python: reads, trains, evaluates, writes.

    Arguments, attributes and errors are those of `FineTuningSession`.

    Example:
        >>> job = ClassifierJob("reviews", train=["reviews.csv"])  # doctest: +SKIP
        >>> session = ClassifierSession(job, print)  # doctest: +SKIP
        >>> session.prepare(); session.train()  # doctest: +SKIP
        >>> for evaluated in session.evaluate():  # doctest: +SKIP
        ...     print(evaluated.split, evaluated.result.metrics())
    """

    job: ClassifierJob
    data: LabelledSplits

    def lines(self) -> list[str]:
        """For the screen: what was read and how it was split; warnings were logged before."""
        job, lines = self.job, dataclasses.replace(self.data, warnings=[]).lines()
        if not job.train or job.validation:
            return lines
        made = ("train", "validation") if job.test else ("train", "validation", "test")
        return [
            f"{', '.join(job.train)} is split at random, by label, into "
            f"{', '.join(name for name in made if name in self.data.splits)} (`shares`, "
            "`split_seed`; or name files with `validation` and `test`)",
            *lines,
        ]

    def _read(self) -> LabelledSplits:
        job, known, layout = self.job, self._known, self.job.layout
        how: dict[str, Any] = {"label_names": job.label_names}
        if known is not None:  # the model's labels, in its order, whatever is evaluated on
            how = {"label_names": known.labels or None}
            like = known.table
            layout = dataclasses.replace(layout, task=known.task, trained=like)  # type: ignore[arg-type]
        how |= {"seed": job.split_seed, "changes": job.problems}
        if job.task_name is not None:
            folder = os.path.expanduser(str(job.data_dir))
            return load_task(job.task_name, folder, language=job.language, **how)
        files = (list(given) or None for given in (job.train, job.validation, job.test))
        return load_splits(*files, layout=layout, shares=job.shares, **how)

    def _info(self, bert: Bert) -> ClassifierInfo:
        """The classifier's, with the data's labels where a model of Google's has none."""
        assert bert.classifier is not None
        if self._known is not None or self.job.do_train:
            return bert.classifier
        names = self.data.label_names
        if len(names) != len(bert.classifier.labels) or self.data.task != bert.classifier.task:
            raise BertError(
                f"the classifier has {bert.classifier.num_outputs} outputs for "
                f"{bert.classifier.task}, the data {len(names)} labels for {self.data.task}; give "
                "its labels in their order with `label_names`."
            )
        return dataclasses.replace(bert.classifier, labels=names)

    def _table(self) -> dict[str, Any] | None:
        if self.data.layout is None:
            return None
        found, usual = (dataclasses.asdict(one) for one in (self.data.layout, Layout()))
        found |= found.pop("table")
        usual |= usual.pop("table")
        known = found.pop("trained") or {}
        known |= {n: x for n, x in found.items() if x != usual[n] and n not in _OF_THE_MODEL}
        return json.loads(json.dumps(known))

    def _main_metric(self) -> str:
        task = find_task(self.job.task_name) if self.job.task_name else None
        return main_metric(self.data.task, task and task[0])
