"""What a trained model says of labelled rows, its metrics, and the files with them."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.batching.buckets import choose_buckets
from bert_tf.batching.predict import predict_all
from bert_tf.batching.rows import Rows, TokenizedTexts
from bert_tf.bert import Bert
from bert_tf.data.labelled.texts import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.evaluation import result_files
from bert_tf.evaluation.results import Result
from bert_tf.files.whole import make_folder
from bert_tf.training.objectives.base import Objective

if TYPE_CHECKING:
    from bert_tf.training.step import TrainingStep

FOLDER = "evaluation"
"""In the output folder: JSON, pictures and the worst predictions of each split."""

_TEXT_FILES = {
    "validation": "eval_results.txt",
    "validation_mismatched": "eval_results_mm.txt",
    "test": "eval_results_test.txt",
}
_WORST = 100


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """An evaluation on a split.

    Attributes:
        split: its name: "validation", "test", ...
        data: its rows.
        labels: as `Objective.encode` gives them.
        outputs: probabilities, float32 (rows, labels); of a regression the numbers, (rows, 1); of
            a head with answers for each token a list of arrays (tokens, labels).
        result: the metrics.
        files: what was written, name of the kind to path.
    """

    split: str
    data: LabelledTexts
    labels: Any
    outputs: Any
    result: Result
    files: dict[str, str] = dataclasses.field(default_factory=dict)


def evaluate_split(
    bert: Bert,
    objective: Objective,
    split: str,
    data: LabelledTexts,
    texts: TokenizedTexts,
    batch_size: int = 64,
) -> EvaluatedSplit:
    """Evaluates a trained head on labelled rows, `batch_size` at once.

    `bert` has the head, `objective` its labels; `texts` are the rows of `data`, tokenized.

    Raises:
        BertError: a label is none of the head's, or its outputs are not finite.
    """
    labels = objective.encode(data)
    sizes = texts.lengths if objective.per_token else None
    predictor = bert.predictor(objective.head)
    outputs = predict_all(predictor, texts, batch_size=batch_size, sizes=sizes)
    if not np.isfinite(np.concatenate(outputs) if objective.per_token else outputs).all():
        raise BertError(
            f"the {objective.head}'s outputs of {split} are not finite; it was trained with too "
            f"high a learning rate, or its file is damaged."
        )
    return EvaluatedSplit(split, data, labels, outputs, objective.measure(labels, outputs))


def write_evaluation(
    it: EvaluatedSplit,
    objective: Objective,
    folder: str,
    step: int,
    loss_batch: int = 8,
    **more: Any,
) -> dict[str, str]:
    """Writes an evaluation's files; gives their paths, by "eval_results", "json" and "worst".

    `eval_results.txt` for validation rows (`eval_results_mm.txt` for MNLI's mismatched ones,
    `eval_results_test.txt` for test rows), and in the folder `evaluation` the split's `.json`, to
    which `more` is added, and `_worst.tsv`. `step` is that of the weights; for `loss_batch` see
    `Objective.mean_of_batches`.

    Raises:
        BertError: one cannot be written.
    """
    inner = os.path.join(folder, FOLDER)
    make_folder(inner)
    name = _TEXT_FILES.get(it.split, f"eval_results_{it.split}.txt")
    paths = {
        "eval_results": os.path.join(folder, name),
        "json": os.path.join(inner, f"{it.split}.json"),
        "worst": os.path.join(inner, f"{it.split}_worst.tsv"),
    }
    labels, outputs, data, result = it.labels, it.outputs, it.data, it.result
    loss = objective.mean_of_batches(labels, outputs, loss_batch)
    values = result_files.eval_results(result, step, loss)
    result_files.write_eval_results(paths["eval_results"], values)
    more = {"split": it.split, "global_step": step, **more}
    result_files.write_result_json(paths["json"], result, **more)
    rows = objective.worst(labels, outputs, data.texts, pairs=data.pairs, limit=_WORST)
    # The line in the user's file says more than the number among the rows read.
    placed = [{"place": data.place(row.pop("example")), **row} for row in rows]
    result_files.write_worst_tsv(paths["worst"], placed)
    return paths


def all_scores(step: TrainingStep, rows: Rows, objective: Objective, batch_size: int) -> Any:
    """The model's scores of all rows, float32 (rows, outputs); of tokens a list of arrays."""
    import keras

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        return keras.ops.convert_to_numpy(keras.ops.cast(step.predict(batch), "float32"))

    # A step is compiled for each shape, and divides the rows of a batch among devices.
    buckets = choose_buckets(rows.lengths, rows.max_seq_length)
    sizes = rows.lengths if objective.per_token else None
    return predict_all(run, rows, batch_size=batch_size, buckets=buckets, sizes=sizes)
