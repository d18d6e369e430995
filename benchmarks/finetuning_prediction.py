"""The engines of `finetuning_engines.py` that predict: all rows, in batches, probabilities out."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import Any

import finetuning_libraries as libraries
import numpy as np
import worker
from finetuning_rows import Rows


class Ours:
    """`Bert.predictor("classifier")` in the batches that `Classify` makes.

    Args:
        settings: what all are told.
        backend: of Keras.
        precision: of the products.
    """

    ways = ("",)

    def __init__(self, settings: libraries.Settings, backend: str, precision: str) -> None:
        os.environ["KERAS_BACKEND"] = backend
        import bert_tf

        self._batch = settings.batch
        folder = Path(settings.folder)
        self._bert = bert_tf.load(folder / libraries.MODEL, precision=precision)
        self._rows = Rows.load(folder / libraries.ROWS)
        self._predict = self._bert.predictor("classifier")

    def use(self, way: str) -> None:
        """There is one."""

    def predict(self) -> np.ndarray:
        """Probabilities of all rows in their order, float32 (rows, classes)."""
        from bert_tf.batching.predict import predict_all

        return predict_all(self._predict, self._rows.texts, batch_size=self._batch)


class HuggingFace:
    """`Trainer.predict`, each batch padded to its longest row.

    Args:
        settings: what all are told.
        precision: bfloat16 comes in two ways, `bf16` (under autocast) and `bf16_full_eval`
            (weights in bfloat16, too); the faster is kept.
        by_length: give it the rows sorted by length, so that there is hardly any padding.
    """

    def __init__(self, settings: libraries.Settings, precision: str, by_length: bool) -> None:
        narrow = precision == "bfloat16"
        weights = ("", ", weights in bfloat16") if narrow else ("",)
        self.ways = tuple(f"{kind}{more}" for kind in ("sdpa", "eager") for more in weights)
        rows = Rows.load(Path(settings.folder, libraries.ROWS))
        lengths = rows.texts.lengths
        self._order = np.argsort(-lengths, kind="stable") if by_length else np.arange(len(lengths))
        features = rows.features(labelled=False)
        self._features = [features[row] for row in self._order]
        run = libraries.Run(rows, 1, 1, settings.dropout)
        self._trainers: dict[bool, Any] = {}
        for whole in (False, True)[: len(weights)]:
            # Two of them: `bf16_full_eval` turns its model's weights for good.
            library = libraries.HuggingFace(settings, precision, False)
            self._trainers[whole] = library.trainer(
                run,
                lambda loss: None,
                per_device_eval_batch_size=settings.batch,
                bf16=narrow and not whole,
                bf16_full_eval=whole,
            )
        self._trainer = self._trainers[False]

    def use(self, way: str) -> None:
        """One of `ways`."""
        attention, _, whole = way.partition(", ")
        self._trainer = self._trainers[bool(whole)]
        self._trainer.model.set_attn_implementation(attention)

    def predict(self) -> np.ndarray:
        """Scores of all rows in the rows' own order, float32 (rows, classes)."""
        scores = np.asarray(self._trainer.predict(self._features).predictions, np.float32)
        found = np.empty_like(scores)
        found[self._order] = scores
        return found

    @staticmethod
    def probabilities(scores: np.ndarray) -> np.ndarray:
        """Softmax; `Trainer.predict` leaves it to the user, and it is not timed."""
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


class Prediction:
    """A library that predicts, all rows at a turn."""

    def __init__(self, library: Ours | HuggingFace) -> None:
        self._library = library

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Does what a line asks for."""
        do, library = question["do"], self._library
        if do == "scores":
            start = perf_counter()
            found = library.predict()
            seconds = perf_counter() - start
            if isinstance(library, HuggingFace):
                found = library.probabilities(found)
            return libraries.saved(found, question["path"]) | {"seconds": seconds}
        if do == "predict":
            return {"seconds": worker.timed(lambda: library.predict(), question["repeat"])}
        if do == "choose":
            step = library.predict
            return {
                "seconds": libraries.fastest(library.ways, library.use, step, question["repeat"])
            }
        raise ValueError(f"no such step: {do}")


def make(settings: libraries.Settings, backend: str, precision: str, by_length: bool) -> Prediction:
    """The engine of a name; see `finetuning_engines.make`."""
    if backend:
        return Prediction(Ours(settings, backend, precision))
    return Prediction(HuggingFace(settings, precision, by_length))
