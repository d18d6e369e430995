"""Vectors of texts from a frozen encoder: computed once, and kept on disk."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bert_tf.batching.predict import predict
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.stream import FeatureStream as FeatureStream
from bert_tf.bert import Bert
from bert_tf.checkpoint.lock import lock
from bert_tf.errors import BertError

if TYPE_CHECKING:
    from bert_tf.runtime.predictor import Predictor

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
    try:
        os.makedirs(at, exist_ok=True)
        # A process that computes the same is waited for; then there is nothing left to do.
        with lock(os.path.join(at, f".{name}.lock"), lambda: None):
            found = _opened(path, shape)
            if found is None:
                # Always the same name: what a killed process left is written over.
                temporary = os.path.join(at, f".{name}.tmp")
                predictor = bert.predictor("sentence", pooling=pooling)
                _compute(predictor, texts, shape, temporary, batch_size, progress)
                os.replace(temporary, path)
                found = _opened(path, shape)
    except OSError as error:
        raise BertError(f"cannot write {path}: {error.strerror}.") from error
    assert found is not None
    return found


def _compute(
    predictor: Predictor,
    texts: TokenizedTexts,
    shape: tuple[int, int],
    path: str,
    batch_size: int,
    progress: bool,
) -> None:
    """Writes the vectors of all texts as numpy's `.npy`, in memory that does not grow."""
    with (
        open(path, "wb") as file,
        tqdm(total=len(texts), unit="text", disable=None if progress else True) as bar,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start, width = file.tell(), 4 * shape[1]
        file.truncate(start + width * shape[0])
        for rows, vectors in predict(predictor, texts, batch_size=batch_size):
            for row, vector in zip(rows.tolist(), vectors.astype("<f4")):
                file.seek(start + width * row)
                file.write(vector.tobytes())
            bar.update(len(rows))


def _opened(path: str, shape: tuple[int, int]) -> np.ndarray | None:
    """What is kept there; None if there is nothing, or something else."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None
