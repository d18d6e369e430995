"""What counting words achieves: TF-IDF with a linear model, on the rows that a classifier had.

Words and, where that is better, pairs of neighbouring words; sublinear counts; of a pair of texts
both vectors, their product and the size of their difference. Words or pairs, and how strongly the
model is held back, are chosen on the validation rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bert_tf.data import LabelledSplits, LabelledTexts, encode_labels
from bert_tf.evaluation.measure import measure_classes, measure_regression

NGRAMS = ((1, 1), (1, 2))
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def measure_baseline(data: LabelledSplits, metric: str) -> tuple[dict[str, Any], str]:
    """The metrics on the test rows of what was best on the validation rows.

    Args:
        data: with "train", "validation" and "test", all with labels.
        metric: to choose by.

    Returns:
        The metrics by name, and what was chosen, in words.
    """
    best: tuple[float, dict[str, Any], str] | None = None
    labels = {name: encode_labels(rows, data.label_names) for name, rows in data.splits.items()}
    for ngrams in NGRAMS:
        vectors = _vectors(data, ngrams)
        for strength in STRENGTHS:
            model = _model(data.task, strength).fit(vectors["train"], labels["train"])
            validation = _measure(data, model, vectors["validation"], labels["validation"])
            if best is None or validation[metric] > best[0]:
                test = _measure(data, model, vectors["test"], labels["test"])
                words = "words" if ngrams == (1, 1) else "words and pairs of words"
                best = (validation[metric], test, f"{words}, C={strength:g}")
    assert best is not None
    return best[1], best[2]


def _vectors(data: LabelledSplits, ngrams: tuple[int, int]) -> dict[str, Any]:
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = data.splits["train"]
    # Single characters and punctuation count: "!" and "£" tell spam.
    counter = TfidfVectorizer(ngram_range=ngrams, sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    counter.fit([*train.texts, *(train.pairs or [])])

    def of(rows: LabelledTexts) -> Any:
        first = counter.transform(rows.texts)
        if rows.pairs is None:
            return first
        second = counter.transform(rows.pairs)
        return sparse.hstack([first, second, abs(first - second), first.multiply(second)]).tocsr()

    return {name: of(rows) for name, rows in data.splits.items()}


def _model(task: str, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if task == "regression":
        return Ridge(alpha=1 / strength)
    return LogisticRegression(C=strength, max_iter=5000)


def _measure(data: LabelledSplits, model: Any, vectors: Any, labels: np.ndarray) -> dict[str, Any]:
    if data.task == "regression":
        return measure_regression(labels, model.predict(vectors), intervals=False).metrics()
    outputs = model.predict_proba(vectors)
    return measure_classes(labels, outputs, data.label_names, intervals=False).metrics()
