"""Vectors of texts from a frozen encoder: computed once, and kept on disk."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from bert_tf.batching.predict import predict
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.stream import FeatureStream as FeatureStream
from bert_tf.bert import Bert
from bert_tf.files.locks import lock
from bert_tf.files.progress import Progress
from bert_tf.files.whole import remove_unfinished, whole_file, writing

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

    The BERT's encoder computes them, in the precision that it was loaded with. They are kept in
    the folder, in a file named after all that they depend on, the `digest` of the BERT's weights
    and the pooling (see `bert_tf.models.build_sentence_model`) among it.

    Returns:
        float32, (rows, hidden), mapped from the file: it may be larger than memory.

    Raises:
        BertError: the disk is full or cannot be written, or the BERT has no pooler.
    """
    shape = (len(texts), bert.config.hidden_size)
    computing = (pooling, bert.precision, str(bert.layers.dtype))
    parts = (_FORMAT, digest, texts.key, len(texts), *computing)
    name = f"features-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.npy"
    at = os.path.expanduser(os.fspath(folder))
    path = os.path.join(at, name)
    if (found := _opened(path, shape)) is not None:
        return found
    with writing(path):
        os.makedirs(at, exist_ok=True)
        # A process that computes the same is waited for; then there is nothing left to do.
        with lock(os.path.join(at, f".{name}.lock"), lambda: None):
            if (found := _opened(path, shape)) is None:
                remove_unfinished(at, lambda other: other == name)
                predictor = bert.predictor("sentence", pooling=pooling)
                batches = predict(predictor, texts, batch_size=batch_size)
                bar = Progress(progress, unit="texts")
                with whole_file(path, "wb", durable=False) as file, bar:
                    bar.start(len(texts))
                    # As numpy's `.npy`, in memory that does not grow.
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    start, width = file.tell(), 4 * shape[1]
                    file.truncate(start + width * shape[0])
                    for rows, vectors in batches:
                        for row, vector in zip(rows.tolist(), vectors.astype("<f4")):
                            file.seek(start + width * row)
                            file.write(vector.tobytes())
                        bar.add(len(rows))
                found = _opened(path, shape)
    assert found is not None
    return found


def _opened(path: str, shape: tuple[int, int]) -> np.ndarray | None:
    """What is kept there; None if there is nothing, or something else."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None
