"""Vectors of texts from a frozen encoder: computed once, kept on disk, streamed from there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bert_tf.bert import Bert
from bert_tf.data.labelled_stream import batches_once
from bert_tf.data.lengths import TokenizedTexts
from bert_tf.errors import BertError
from bert_tf.files.locks import lock
from bert_tf.files.progress import Progress
from bert_tf.files.whole import remove_unfinished, whole_file, writing

if TYPE_CHECKING:
    from bert_tf.runtime.predictor import Predictor

Batch = dict[str, np.ndarray]

_FORMAT = 1


def features_of(
    bert: Bert,
    texts: TokenizedTexts,
    pooling: str,
    folder: str | os.PathLike[str],
    *,
    digest: str,
    batch_size: int = 64,
    progress: bool = True,
) -> np.ndarray:
    """One vector for each text, computed now or found from an earlier time.

    Args:
        bert: whose encoder computes them, in the precision that it was loaded with.
        texts: the rows.
        pooling: `"pooled"` or `"mean"`, see `bert_tf.models.build_sentence_model`.
        folder: where they are kept, in a file called after all that they depend on.
        digest: of the BERT's weights.
        batch_size: rows at once.
        progress: whether to show a progress bar on a terminal.

    Returns:
        float32, (rows, hidden), mapped from the file: it may be larger than memory.

    Raises:
        BertError: the disk is full or cannot be written, or the BERT has no pooler.
    """
    width = bert.config.hidden_size
    parts = (
        _FORMAT,
        digest,
        texts.key,
        len(texts),
        pooling,
        bert.precision,
        str(bert.layers.dtype),
    )
    name = f"features-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.npy"
    path = os.path.join(os.path.expanduser(os.fspath(folder)), name)
    shape = (len(texts), width)
    found = _opened(path, shape)
    if found is not None:
        return found
    at = os.path.dirname(path)
    with writing(path):
        os.makedirs(at, exist_ok=True)
        # A process that computes the same is waited for; then there is nothing left to do.
        with lock(os.path.join(at, f".{name}.lock"), lambda: None):
            found = _opened(path, shape)
            if found is None:
                remove_unfinished(at, lambda other: other == name)
                predictor = bert.predictor("sentence", pooling=pooling)
                with whole_file(path, "wb", durable=False) as file:
                    _compute(predictor, texts, shape, file, batch_size, progress)
                found = _opened(path, shape)
    assert found is not None
    return found


def _compute(
    predictor: Predictor,
    texts: TokenizedTexts,
    shape: tuple[int, int],
    file: IO[bytes],
    batch_size: int,
    progress: bool,
) -> None:
    """Writes the vectors of all texts as numpy's `.npy`, in memory that does not grow."""
    with Progress(progress, unit="text") as bar:
        bar.start(len(texts))
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start, width = file.tell(), 4 * shape[1]
        file.truncate(start + width * shape[0])
        # Longest first, so that a batch holds rows of like length: each is written to its place.
        for rows, batch in batches_once(texts, batch_size=batch_size):
            inputs = {name: batch[name] for name in ("token_input", "seg_input")}
            vectors = np.asarray(predictor(inputs), "<f4")
            for row, vector in zip(rows, vectors):
                file.seek(start + width * int(row))
                file.write(vector.tobytes())
            bar.add(len(rows))


def _opened(path: str, shape: tuple[int, int]) -> np.ndarray | None:
    """What is kept there; None if there is nothing, or something else."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


class FeatureStream:
    """Endless batches of vectors with their labels, each epoch in an order of its own.

    Args:
        features: float32 (rows, hidden).
        labels: the first dimension is that of the rows.
        batch_size: rows of a batch; the last of an epoch is filled up with rows of weight 0.
        seed: a whole number, not negative.
        key: of what the features come from; a state of others is refused.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, *, batch_size: int, seed: int, key: str
    ) -> None:
        if not len(features):
            raise BertError("there are no rows to train on")
        self.features = features
        self.labels = labels
        self.batch_size = batch_size
        digest = hashlib.sha256(repr((key, batch_size, int(seed), labels.shape)).encode())
        digest.update(np.ascontiguousarray(labels).tobytes())
        self._fingerprint = digest.hexdigest()[:16]
        self._seed = seed
        self._taken = 0
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, int))

    def steps_per_epoch(self) -> int:
        """Batches in which each row occurs once."""
        return -(-len(self.features) // self.batch_size)

    def next_batch(self) -> Batch:
        """`feature_input` float32 (batch_size, hidden), `labels`, `weights` float32."""
        epoch, number = divmod(self._taken, self.steps_per_epoch())
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, rng.permutation(len(self.features)))
        self._taken += 1
        rows = self._order[1][number * self.batch_size : (number + 1) * self.batch_size]
        return feature_batch(self.features, self.labels, rows, self.batch_size)

    def state(self) -> dict[str, Any]:
        """Where the stream stands; JSON can hold it."""
        return {"taken": self._taken, "fingerprint": self._fingerprint}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes where another stream of the same rows and settings stood.

        Raises:
            BertError: it is no such state, or of others.
        """
        try:
            taken, fingerprint = int(state["taken"]), state["fingerprint"]
        except (KeyError, TypeError, ValueError) as error:
            raise BertError(f"this is no state of a feature stream: {state!r:.200}") from error
        if fingerprint != self._fingerprint or taken < 0:
            raise BertError(
                "the state of the training data is of another run: encoder, texts, labels, batch "
                "size and seed must be those it was taken with"
            )
        self._taken = taken


def features_once(
    features: np.ndarray, labels: np.ndarray, batch_size: int
) -> Iterator[tuple[np.ndarray, Batch]]:
    """All rows once, in their order: numbers of the rows, and the batch."""
    for start in range(0, len(features), batch_size):
        rows = np.arange(start, min(start + batch_size, len(features)))
        yield rows, feature_batch(features, labels, rows, batch_size)


def feature_batch(features: np.ndarray, labels: np.ndarray, rows: np.ndarray, height: int) -> Batch:
    """Some rows with their labels, filled up to `height` with rows of weight 0."""
    batch = {
        "feature_input": np.zeros((height, features.shape[1]), np.float32),
        "labels": np.zeros((height, *labels.shape[1:]), labels.dtype),
        "weights": np.zeros(height, np.float32),
    }
    batch["feature_input"][: len(rows)] = features[rows]
    batch["labels"][: len(rows)] = labels[rows]
    batch["weights"][: len(rows)] = 1
    return batch
