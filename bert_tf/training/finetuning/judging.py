"""What a written classifier says of labelled rows, what that is worth, and the files that tell."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.data.labelled import LabelledTexts, encode_labels
from bert_tf.data.labelled_stream import batches_once
from bert_tf.data.lengths import TokenizedTexts
from bert_tf.errors import BertError
from bert_tf.files.whole import make_folder
from bert_tf.training import result_files
from bert_tf.training.finetuning.evaluation import only_class
from bert_tf.training.finetuning.remarks import one_class_remark
from bert_tf.training.metrics import measure, worst
from bert_tf.training.metrics.results import ClassesResult, MultilabelResult, RegressionResult

FOLDER = "evaluation"
"""In the output folder: JSON, pictures and the worst predictions of each split."""

_TEXT_FILES = {
    "validation": "eval_results.txt",
    "validation_mismatched": "eval_results_mm.txt",
    "test": "eval_results_test.txt",
}
_WORST = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """A split as a classifier judged it.

    Attributes:
        split: its name: "validation", "test", ...
        data: its rows.
        labels: as `encode_labels` gives them.
        outputs: probabilities, float32 (rows, labels); of a regression the numbers, (rows, 1).
        result: the metrics.
        remarks: what is odd, a sentence each.
        files: what was written, name of the kind to path.
    """

    split: str
    data: LabelledTexts
    labels: np.ndarray
    outputs: np.ndarray
    result: ClassesResult | MultilabelResult | RegressionResult
    remarks: tuple[str, ...] = ()
    files: dict[str, str] = dataclasses.field(default_factory=dict)


def classifier_outputs(bert: Bert, texts: TokenizedTexts, batch_size: int = 64) -> np.ndarray:
    """What a classifier says of each row, in the order of the rows.

    Args:
        bert: with a classifier.
        texts: the rows.
        batch_size: rows at once.

    Returns:
        float32 (rows, outputs): probabilities, or the number of a regression.

    Raises:
        BertError: the BERT has no classifier.
    """
    predictor = bert.predictor("classifier")
    outputs = np.empty((len(texts), bert.classifier.num_outputs if bert.classifier else 0))
    for rows, batch in batches_once(texts, batch_size=batch_size):
        inputs = {name: batch[name] for name in ("token_input", "seg_input")}
        outputs[rows] = np.asarray(predictor(inputs), np.float32)[: len(rows)]
    return outputs.astype(np.float32)


def judge_split(
    bert: Bert,
    info: ClassifierInfo,
    split: str,
    data: LabelledTexts,
    texts: TokenizedTexts,
    batch_size: int = 64,
) -> Judged:
    """Evaluates a classifier on labelled rows.

    Args:
        bert: with the classifier.
        info: its labels and task.
        split: name of the rows.
        data: the rows.
        texts: the same, tokenized.
        batch_size: rows at once.

    Raises:
        BertError: a label is none of the classifier's, or its outputs are not finite.
    """
    labels = encode_labels(data, info.labels)
    outputs = classifier_outputs(bert, texts, batch_size)
    if not np.isfinite(outputs).all():
        raise BertError(
            f"the classifier's outputs of {split} are not finite; it was trained with too high a "
            f"learning rate, or its file is damaged."
        )
    remarks: list[str] = []
    result: ClassesResult | MultilabelResult | RegressionResult
    if info.task == "regression":
        result = measure.measure_regression(labels, outputs)
    elif info.task == "multilabel":
        result = measure.measure_multilabel(labels, outputs, info.labels)
    else:
        result = measure.measure_classes(labels, outputs, info.labels)
        told = one_class_remark(labels, only_class(info, outputs), info.labels, split)
        remarks += [told] if told else []
    return Judged(split, data, labels, outputs, result, tuple(remarks))


def mean_of_batches(judged: Judged, batch_size: int) -> float | None:
    """The mean over batches, in the order of the rows, of their mean cross-entropies in nats.

    This is the `loss` that Google's script writes beside `eval_loss`: the last batch, though
    short, counts as much as the others. None where rows do not have one class each.

    >>> import types
    >>> rows = types.SimpleNamespace(
    ...     labels=np.array([0, 0, 1]),
    ...     outputs=np.array([[1, 0], [1, 0], [0.5, 0.5]]),
    ...     result=types.SimpleNamespace(kind="classes"),
    ... )
    >>> round(mean_of_batches(rows, 2), 4)  # (0 + ln 2) / 2
    0.3466
    """
    if judged.result.kind != "classes":
        return None
    outputs = judged.outputs.astype(np.float64)
    said = outputs[np.arange(len(outputs)), judged.labels] / outputs.sum(axis=1)
    losses = -np.log(np.maximum(said, np.finfo(np.float64).eps))
    starts = range(0, len(losses), batch_size)
    return float(np.mean([losses[start : start + batch_size].mean() for start in starts]))


def write_judged(
    judged: Judged, info: ClassifierInfo, folder: str, step: int, loss_batch: int = 8, **more: Any
) -> dict[str, str]:
    """Writes an evaluation's files.

    `eval_results.txt` for validation rows (`eval_results_mm.txt` for MNLI's mismatched ones,
    `eval_results_test.txt` for test rows), and in the folder `evaluation` the split's `.json` and
    `_worst.tsv`.

    Args:
        judged: the evaluation.
        info: of the classifier.
        folder: the output folder.
        step: of the weights.
        loss_batch: see `mean_of_batches`.
        more: further keys of the JSON.

    Returns:
        The paths, by "eval_results", "json" and "worst".

    Raises:
        BertError: one cannot be written.
    """
    inner = os.path.join(folder, FOLDER)
    make_folder(inner)
    name = _TEXT_FILES.get(judged.split, f"eval_results_{judged.split}.txt")
    paths = {
        "eval_results": os.path.join(folder, name),
        "json": os.path.join(inner, f"{judged.split}.json"),
        "worst": os.path.join(inner, f"{judged.split}_worst.tsv"),
    }
    values = result_files.eval_results(judged.result, step, mean_of_batches(judged, loss_batch))
    result_files.write_eval_results(paths["eval_results"], values)
    result_files.write_result_json(
        paths["json"], judged.result, split=judged.split, global_step=step, **more
    )
    texts: dict[str, Any] = {"pairs": judged.data.pairs, "limit": _WORST}
    if info.task == "regression":
        rows = worst.worst_regression(judged.data.texts, judged.labels, judged.outputs, **texts)
    else:
        find = worst.worst_multilabel if info.task == "multilabel" else worst.worst_classes
        rows = find(judged.data.texts, judged.labels, judged.outputs, info.labels, **texts)
    # Where it stands in the user's file says more than its number among the rows read.
    placed = [{"place": judged.data.place(row.pop("example")), **row} for row in rows]
    result_files.write_worst_tsv(paths["worst"], placed)
    return paths
