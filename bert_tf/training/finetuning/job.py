"""`ClassifierJob`: what is asked of `ClassifierSession`, and how it chooses what is left open."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.options import LENGTH, USUAL_LENGTH, check_choice
from bert_tf.text import BertTokenizer
from bert_tf.training.finetuning.plan import FineTuningPlan

_LONGER = (256, 384, 512)
_CUT = 0.10  # fraction of the texts that may be cut before a longer limit is taken
_WHOLE = 0.99  # fraction that the longer limit keeps whole
_SAMPLE = 20_000  # rows whose lengths are looked at


@dataclasses.dataclass(frozen=True)
class FineTuningJob:
    """Where a fine-tuning begins from, where it ends, and what to do: the same for every head.

    Attributes:
        output_dir: for the model and its evaluation.
        checkpoint: to start from, or to evaluate; None is the small one that comes along.
        config, vocab: paths, if they are not in the checkpoint's folder.
        lower_case: inferred when None.
        allow_short_vocab: see `bert_tf.load`.
        start: `"checkpoint"`, or `"random"`: new weights in the checkpoint's architecture.
        max_seq_length: see `choose_max_seq_length` for None.
        plan: how to train.
        do_train, do_eval: what to do.
        loss_batch: rows of a batch of `eval_results.txt`'s `loss`, which is a mean over batches.
        overwrite: whether a model in `output_dir` may be replaced.

    Raises:
        BertError: parts do not fit one another.
    """

    output_dir: str
    _: dataclasses.KW_ONLY
    checkpoint: str | None = None
    config: str | None = None
    vocab: str | None = None
    lower_case: bool | None = None
    allow_short_vocab: bool = False
    start: str = "checkpoint"
    max_seq_length: int | None = None
    plan: FineTuningPlan = dataclasses.field(default_factory=FineTuningPlan)
    do_train: bool = True
    do_eval: bool = True
    loss_batch: int = 8
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_choice("start", self.start, ("checkpoint", "random"))
        if self.max_seq_length is not None:
            LENGTH.check("max_seq_length", self.max_seq_length)

    def plan_for(self, rows: int, hidden_size: int) -> tuple[FineTuningPlan, int]:
        """The plan with nothing left open for an encoder's width, and its steps of so many rows."""
        plan = self.plan.filled(hidden_size)
        return plan, max(1, round((plan.epochs or 0.0) * math.ceil(rows / plan.batch_size)))


@dataclasses.dataclass(frozen=True)
class ClassifierJob(FineTuningJob):
    """What to train a classifier on, in addition to what `FineTuningJob` has.

    Attributes:
        train, validation, test: files or patterns, see `bert_tf.data.load_splits`.
        task_name: a task of GLUE or XNLI in its original layout, in place of files. Steps are
            then counted as in Google's script, where an epoch's last batch continues in the next.
        data_dir: the folder of that task.
        language: of XNLI.
        layout: which column is what in the files.
        label_names: the classes in the order wanted.
        shares: fractions of the split of a single file.
        split_seed: of that split.
        problems: kind of problem to what is done about it, see `data.labelled.problems.PROBLEMS`.
    """

    train: Sequence[str] = ()
    validation: Sequence[str] = ()
    test: Sequence[str] = ()
    task_name: str | None = None
    data_dir: str | None = None
    language: str = "zh"
    layout: Layout = dataclasses.field(default_factory=Layout)
    label_names: tuple[str, ...] | None = None
    shares: Mapping[str, float] | None = None
    split_seed: int = 12345
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        task, folder = self.task_name is not None, self.data_dir is not None
        files = bool(self.train or self.validation or self.test)
        if task and files:
            raise BertError(
                "`task_name` reads `data_dir`; leave it out, or `train`, `validation` and `test`."
            )
        if task and not folder:
            name = f"`task_name={self.task_name!r}`"
            raise BertError(f"{name} needs `data_dir`, the folder with its files.")
        if folder and not task:
            raise BertError(
                "`data_dir` needs `task_name`; for a table of your own pass `train` instead."
            )
        if not (task or files):
            raise BertError(
                "no data given: pass `train`, a file to train on, or `task_name` and `data_dir`."
            )
        if self.do_train and not (task or self.train):
            raise BertError(
                "nothing to train on: pass `train`, or `do_train=False` to evaluate a trained "
                "model."
            )

    def plan_for(self, rows: int, hidden_size: int) -> tuple[FineTuningPlan, int]:
        """See `FineTuningJob.plan_for`.

        With a `task_name`, as in Google's `run_classifier.py`, `int(rows / batch_size * epochs)`
        steps, `int(steps * warmup)` of them warm-up.
        """
        plan, steps = super().plan_for(rows, hidden_size)
        if self.task_name is None:
            return plan, steps
        steps = max(1, int(rows / plan.batch_size * (plan.epochs or 0.0)))
        epochs = steps / math.ceil(rows / plan.batch_size)
        warmup = int(steps * plan.warmup) / steps
        return dataclasses.replace(plan, epochs=epochs, warmup=warmup), steps


def choose_max_seq_length(data: LabelledTexts, tokenizer: BertTokenizer, limit: int) -> int:
    """How many tokens of a text to keep, from the lengths of the texts.

    128, as in the original, unless that cuts more than a tenth of the texts: then the first of
    256, 384 and 512 that keeps 99 % of them whole, or the longest; never more than `limit`, what
    the model takes. Of very many texts an even sample is looked at.
    """
    rows = np.linspace(0, len(data) - 1, min(len(data), _SAMPLE)).round().astype(np.int64)
    lengths = tokenize_texts(data.take(rows), tokenizer, limit).full_lengths
    if (lengths > USUAL_LENGTH).mean() <= _CUT:
        return min(USUAL_LENGTH, limit)
    fits = (n for n in _LONGER if (lengths <= n).mean() >= _WHOLE)
    return min(next(fits, _LONGER[-1]), limit)


def default_output_dir(files: Sequence[str], task_name: str | None = None) -> str:
    """A folder in the current one that is named after the data.

    >>> default_output_dir(["data/reviews.train.csv.gz"]), default_output_dir([], "SST-2")
    ('reviews_classifier', 'sst-2_classifier')
    """
    name = task_name.lower() if task_name else os.path.basename(files[0] if files else "")
    stem = re.sub(r"[^\w-]+", "_", name.split(".")[0]).strip("_")
    return f"{stem or 'my'}_classifier"
