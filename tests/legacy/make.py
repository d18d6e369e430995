"""Makes the files of this folder; run once, with version 0.1.0, and kept as it was.

They are what users of 0.1.0 have on their disks: every model as `.keras`, pickled objects, a
classifier's folder, trainings and a prediction that were stopped half-way. `test_legacy.py` asserts
that the present version still reads, answers and resumes them. Do not run this with a later
version: the point of the files is that they are old.

    python tests/legacy/make.py FOLDER
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import pickle
import pkgutil
import shutil
import signal
import sys

import keras
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import tiny_classifiers as tiny  # noqa: E402
import training_runs  # noqa: E402

import bert_tf  # noqa: E402
from bert_tf.checkpoint import CheckpointReader  # noqa: E402

TEXTS = ["w3 w9 w1 w20", "w5 w0 w7", "w11 w1 w30 w2 w8 w8", "w4"]


def inputs() -> dict[str, np.ndarray]:
    """Two rows of ids, the second padded."""
    tokens = np.array([[2, 8, 4, 9, 3, 12, 30, 3], [2, 4, 7, 3, 0, 0, 0, 0]], np.int32)
    segments = np.array([[0, 0, 0, 0, 0, 1, 1, 1], [0] * 8], np.int32)
    return {
        "token_input": tokens,
        "seg_input": segments,
        "mask_input": (tokens == 4).astype(np.int32),
        "position_input": np.array([[2, 5], [1, 0]], np.int32),
        "piece_input": np.array([[6, 7, 8], [9, 10, 11]], np.int32),
        "attention_mask": (tokens != 0).astype(np.int32),
        "feature_input": np.linspace(-1, 1, 2 * tiny.WIDTH, dtype=np.float32).reshape(2, -1),
    }


def interrupt_at(step: int):
    """A hook for rows of a log that sends this process SIGTERM at a step."""

    def on_row(row):
        if row["step"] == step:
            signal.raise_signal(signal.SIGTERM)

    return on_row


def models(folder: pathlib.Path) -> dict[str, keras.Model]:
    """Every kind of model, by the name of its file."""
    from bert_tf.models import builders

    span = {
        "cls/squad/output_weights": np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16),
        "cls/squad/output_bias": np.array([0.1, -0.1], np.float32),
    }
    tiny.write_bert(folder / "bert", extra=span)
    bert = bert_tf.load(folder / "bert")
    found = {
        "encoder": bert.encoder,
        "encoder_model": bert.encoder_model(layers="all", embeddings=True, attention_probs=True),
        "encoder_attention_mask": bert.encoder_model(attention_mask=True),
        "pretraining": bert.pretraining_model(),
        "gathered_pretraining": builders.build_gathered_pretraining_model(bert.layers),
        "mlm": bert.mlm_model(max_predictions=3),
        "mlm_positions": bert.mlm_model(max_predictions=None, output="logits"),
        "mlm_top_k": bert.mlm_model(max_predictions=3, output="top_k"),
        "mlm_scores": bert.mlm_model(max_predictions=None, output="scores"),
        "nsp": bert.nsp_model(),
        "sentence_pooled": bert.sentence_model(),
        "sentence_mean": bert.sentence_model(pooling="mean"),
        "span": bert.span_model(),
    }
    for name, options in {
        "classifier": {"labels": ["no", "yes"]},
        "classifier_two_layers": {"labels": ["a", "b", "c"], "pooling": "mean", "dense_layers": 2},
        "classifier_multilabel": {"labels": ["x", "y"], "task": "multilabel"},
        "classifier_regression": {"task": "regression"},
    }.items():
        keras.utils.set_random_seed(3)
        one = bert_tf.new_classifier(bert, **options)
        found[name] = one.classifier_model()
        if name == "classifier_two_layers":
            found["head"] = builders.build_head_model(one.layers)
    keras.utils.set_random_seed(4)
    trained = bert_tf.new_classifier(bert, ["no", "yes"]).classifier_model()
    trained.compile(
        bert_tf.BertAdam(bert_tf.WarmUpLinearDecay(1e-3, 10, 2), weight_decay=0.01),
        "sparse_categorical_crossentropy",
    )
    given = inputs()
    trained.fit(
        {name: given[name] for name in ("token_input", "seg_input")}, np.array([0, 1]), verbose=0
    )
    found["classifier_trained"] = trained
    return found


def main() -> None:
    # All paths are relative, so that what is kept has no path of a machine in it.
    folder = pathlib.Path()
    os.makedirs(sys.argv[1])
    os.chdir(sys.argv[1])
    given, expected = inputs(), {}
    (folder / "keras").mkdir()
    for name, model in models(folder).items():
        model.save(folder / "keras" / f"{name}.keras")
        if name == "encoder":
            outputs = model(
                {
                    "token_ids": given["token_input"],
                    "segment_ids": given["seg_input"],
                    "padding_mask": given["attention_mask"],
                }
            )
        else:
            outputs = model({tensor.name: given[tensor.name] for tensor in model.inputs})
        for number, output in enumerate(keras.tree.flatten(outputs)):
            expected[f"keras/{name}/{number}"] = keras.ops.convert_to_numpy(output)

    bert = bert_tf.load(folder / "bert")
    (folder / "bert.pickle").write_bytes(pickle.dumps(bert))
    expected["mask"] = np.array(
        [guess.probability for guess in bert_tf.FillMask(bert)("w3 [MASK] w5").masks[0].guesses]
    )

    estimator = bert_tf.BertClassifier("bert", epochs=1, max_seq_length=16, random_state=1)
    data = tiny.tiny_texts(40, 1)
    estimator.fit(data.texts, data.labels)
    pathlib.Path("estimator.pickle").write_bytes(pickle.dumps(estimator))
    expected["estimator"] = estimator.predict_proba(TEXTS)

    with open("train.tsv", "w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        file.writelines(f"{text}\t{label}\n" for text, label in zip(data.texts, data.labels))
    pathlib.Path("texts.txt").write_text("\n".join(tiny.tiny_texts(300, 5).texts) + "\n")
    classifier()
    expected["classifier"] = np.array(
        [
            list(one.probabilities.values())
            for one in bert_tf.Classify(bert_tf.load("classifier"))(TEXTS)
        ]
    )
    stopped_prediction()
    stopped_pretraining()
    with CheckpointReader("whole/release/bert_model.ckpt") as reader:
        expected |= {f"pretraining/{name}": reader.read(name) for name in reader.tensors}
    np.savez("expected.npz", **expected)
    shutil.rmtree("whole")
    pathlib.Path("all.json").write_text(json.dumps(public_names(), indent=1) + "\n")


def job(folder: str):
    from bert_tf.training.finetuning.job import ClassifierJob
    from bert_tf.training.finetuning.plan import FineTuningPlan

    plan = FineTuningPlan(epochs=4, batch_size=8, save_every=5, log_every=1, learning_rate=1e-3)
    return ClassifierJob(folder, train=["train.tsv"], checkpoint="bert", plan=plan)


def classifier() -> None:
    """A finished training with its evaluation, and one that was stopped at its sixth step."""
    from bert_tf.training.finetuning.session import ClassifierSession

    done = ClassifierSession(job("classifier"))
    done.prepare()
    done.train(progress=False)
    done.evaluate()
    shutil.rmtree("classifier/training")
    stopped = ClassifierSession(job("stopped_classifier"))
    stopped.prepare()
    assert stopped.train(on_row=interrupt_at(6), progress=False).interrupted
    for path in pathlib.Path("stopped_classifier").rglob("*"):
        if path.suffix == ".lock":
            path.unlink()


def stopped_prediction() -> None:
    """A bulk prediction that was stopped after its second chunk."""
    from bert_tf.data.prediction_rows import PredictionRows

    from bert_tf.tasks import growing_file
    from bert_tf.tasks.classify_files import predict_file

    growing_file.SAVE_SECONDS = 0.0
    classify = bert_tf.Classify(bert_tf.load("classifier"), batch_size=4)

    def stop(rows: int) -> None:
        if rows >= 128:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        predict_file(classify, PredictionRows("texts.txt"), "answers.tsv", on_rows=stop)
    pathlib.Path("answers.tsv.part.lock").unlink(missing_ok=True)
    assert json.loads(pathlib.Path("answers.tsv.part.json").read_text())["progress"]["rows"] == 128


def stopped_pretraining() -> None:
    """A pretraining that was stopped at its sixth step of 14."""
    from bert_tf.training.pretraining.plan import PretrainingPlan
    from bert_tf.training.pretraining.pretrain import pretrain
    from bert_tf.training.pretraining.spectral import random_start

    config = training_runs.tiny_config()
    values = {
        "steps": 14,
        "warmup_steps": 3,
        "learning_rate": 1e-2,
        "save_every": 4,
        "log_every": 3,
    }
    for folder, on_row in (("whole", lambda row: None), ("stopped_pretraining", interrupt_at(6))):
        stream, vocab = training_runs.tiny_stream()
        start = random_start(config, 1)
        plan = PretrainingPlan(**values)
        pretrain(config, vocab, start, stream, folder, plan, on_row=on_row, progress=False)
    for path in pathlib.Path("stopped_pretraining").rglob("*.lock"):
        path.unlink()


def public_names() -> dict[str, list[str]]:
    """Every module of the package, and what its `__all__` lists (None: it has none)."""
    found = {"bert_tf": list(bert_tf.__all__)}
    for module in pkgutil.walk_packages(bert_tf.__path__, "bert_tf."):
        if module.name == "bert_tf.__main__" or ".embedded" in module.name:
            continue
        loaded = importlib.import_module(module.name)
        found[module.name] = list(loaded.__all__) if hasattr(loaded, "__all__") else None
    return found


if __name__ == "__main__":
    main()
