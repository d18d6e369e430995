"""Tiny BERTs and labelled texts for the tests of classifiers; as a script, runs that are killed.

The script's argument is a JSON list of runs, see `Run`: it imports everything once and forks a
process for each (nothing may have been computed before).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import traceback
from typing import Any, NamedTuple

import numpy as np
import reference

from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.checkpoint import write_release
from bert_tf.config import BertConfig
from bert_tf.data.labelled.texts import LabelledTexts

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(35))]
VOCAB = ("\n".join(WORDS) + "\n").encode()
LAYERS, WIDTH, LENGTH = 3, 16, 16


def tiny_config(**changes: Any) -> BertConfig:
    values = {
        "vocab_size": len(WORDS),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": LENGTH,
        "type_vocab_size": 2,
    }
    return BertConfig(**(values | changes))


def tiny_weights(seed: int = 0, scale: float = 0.25) -> dict[str, np.ndarray]:
    """Weights by the original's name, large enough for every layer to show."""
    return reference.random_weights(
        np.random.default_rng(seed),
        vocab=len(WORDS),
        hidden=WIDTH,
        layers=LAYERS,
        intermediate=32,
        positions=LENGTH,
        scale=scale,
    )


def write_bert(folder, extra=None, drop=(), files=None, **config: Any):
    """Writes a tiny BERT as a release; gives its folder."""
    weights = {n: w for n, w in tiny_weights().items() if not n.startswith(tuple(drop) or ("\0",))}
    write_release(
        folder, tiny_config(**config), VOCAB, weights | (extra or {}), overwrite=True, files=files
    )
    return folder


def head(outputs, hidden=0, seed=9):
    """A classifier's weights, large enough for its answers to differ; perhaps a hidden layer's."""
    rng = np.random.default_rng(seed)
    found = {
        "output_weights": rng.normal(0, 1, (outputs, hidden or WIDTH)).astype(np.float32),
        "output_bias": rng.normal(0, 1, outputs).astype(np.float32),
    }
    if hidden:
        found["classifier/hidden/kernel"] = rng.normal(0, 1, (WIDTH, hidden)).astype(np.float32)
        found["classifier/hidden/bias"] = rng.normal(0, 1, hidden).astype(np.float32)
    return found


def row_of(text, length=LENGTH):
    """[CLS] a [SEP] b [SEP] by hand, of words that are their own tokens."""
    first, second = (text, "") if isinstance(text, str) else text
    a = [WORDS.index(word) for word in first.split()]
    b = [WORDS.index(word) for word in second.split()]
    a = a[: length - 2]  # only a text by itself is too long here
    ids = [2, *a, 3, *([*b, 3] if b else [])]
    return ids, [0] * (len(a) + 2) + [1] * (len(ids) - len(a) - 2)


def scores_by_hand(extra, texts, mean=False, activation=np.tanh):
    """The head's scores in float64, each text by itself, so without any padding."""
    w = {name: value.astype(np.float64) for name, value in (tiny_weights() | extra).items()}
    found = []
    for text in texts:
        ids, segments = (np.array([x]) for x in row_of(text))
        last = reference.encode(w, 2, ids, segments, np.ones_like(ids))[-1]
        x = last.mean(axis=1) if mean else reference.pool(w, last)
        if "classifier/hidden/kernel" in w:
            x = activation(reference.dense(x, w, "classifier/hidden"))
        found.append((x @ w["output_weights"].T + w["output_bias"])[0])
    return np.array(found)


def tiny_texts(rows: int, seed: int, classes: int = 2, pairs: bool = False) -> LabelledTexts:
    """Texts of 2 to 9 words; the class is told by the word before the last: w0, w1, ..."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(rows):
        label = int(rng.integers(classes))
        words = [f"w{rng.integers(classes, 35)}" for _ in range(rng.integers(1, 9))]
        texts.append(" ".join([*words[:-1], f"w{label}", words[-1]]))
        labels.append(str(label))
    second = [" ".join(text.split()[::-1]) for text in texts] if pairs else None
    return LabelledTexts(texts, second, labels, [("", i) for i in range(rows)])


def tiny_rows(bert, rows: int, seed: int, classes: int = 2, task: str = "classes"):
    """Tokenized texts with labels of a task, made of the classes."""
    from bert_tf.training.finetuning.batches import LabelledRows

    data = tiny_texts(rows, seed, classes)
    texts = tokenize_texts(data, bert.tokenizer, LENGTH)
    numbers = np.array([int(label) for label in data.labels], np.int32)
    if task == "multilabel":
        return LabelledRows(texts, np.eye(classes, dtype=np.float32)[numbers])
    if task == "regression":
        return LabelledRows(texts, (50 + 20 * numbers).astype(np.float32))
    return LabelledRows(texts, numbers)


class Run(NamedTuple):
    """One process that fine-tunes.

    Attributes:
        bert: folder of the BERT.
        folder: the output folder.
        plan: of the fine-tuning.
        at: what it is killed before: `step`, `add` (a tensor that is written), or `replace` (a
            file that gets its name). None: it runs to its end.
        count: which one of them, from 1.
        signal: by which signal.
    """

    bert: str
    folder: str
    plan: dict[str, Any]
    at: str | None = None
    count: int = 0
    signal: str = "SIGKILL"


def train(run: Run) -> dict[str, Any]:
    """Fine-tunes; what it reports is added to `rows.jsonl` beside its folder."""
    import bert_tf
    from bert_tf.training.finetuning.fine_tune import fine_tune
    from bert_tf.training.finetuning.plan import FineTuningPlan

    bert = bert_tf.load(run.bert)
    resumed: list[int] = []
    with open(run.folder + ".rows.jsonl", "a", encoding="utf-8", buffering=1) as log:
        found = fine_tune(
            bert,
            tiny_rows(bert, 40, 1),
            tiny_rows(bert, 20, 2),
            FineTuningPlan(**run.plan),
            run.folder,
            labels=("no", "yes"),
            on_row=lambda row: print(json.dumps(row), file=log),
            on_resume=resumed.append,
            progress=False,
        )
    return {
        "resumed": resumed,
        "step": found.step,
        "best": found.best_step,
        "stopped": found.stopped_early,
        "interrupted": found.interrupted,
    }


def main() -> None:
    import keras
    from training_runs import break_before

    import bert_tf.bert
    import bert_tf.loading  # noqa: F401
    from bert_tf.evaluation import measure  # noqa: F401
    from bert_tf.models import builders  # noqa: F401
    from bert_tf.runtime import predictor  # noqa: F401
    from bert_tf.training import checkpoints, losses, optimizer, step  # noqa: F401
    from bert_tf.training.finetuning import best, features, fine_tune, tuned_model  # noqa: F401

    if keras.backend.backend() == "jax":
        import jax.numpy  # noqa: F401
    ended = []
    for values in json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")):
        run = Run(**values)
        report = pathlib.Path(run.folder + ".report")
        with contextlib.suppress(FileNotFoundError):
            report.unlink()
        child = os.fork()
        if not child:
            status = 1
            try:
                if run.at is not None:
                    import signal

                    break_before(run.at, run.count, getattr(signal, run.signal))
                report.write_text(json.dumps(train(run)), encoding="utf-8")
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        ended.append({"status": status, **found})
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
