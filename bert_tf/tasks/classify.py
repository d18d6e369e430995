"""`Classify`: what a fine-tuned classifier says of a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.errors import BertError
from bert_tf.options import FRACTION, LENGTH, Range
from bert_tf.tasks.base import PackedTexts, Shown, Task, pack_texts

Texts = str | tuple[str, str]

_MOST = 10
"""Labels that are shown of a text."""


@dataclasses.dataclass(frozen=True)
class ClassifyResult(Shown):
    """What a classifier says of a text; `print` shows it with a table of the probabilities.

    Args:
        text: the text, or the first of a pair.
        text_pair: the second of a pair, or None.
        cut: whether it was longer than the classifier takes, and (the longer text) cut at its end.
        label: the most probable label; None for a regression.
        probability: of that label; None for a regression.
        probabilities: of all labels, in the model's order, adding up to 1 unless a text can have
            several; empty for a regression.
        labels: those that the text has, if it can have several; else None.
        value: the number of a regression; else None.
    """

    text: str
    text_pair: str | None
    cut: bool
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    value: float | None = None

    def _shown(self) -> tuple[Any, ...]:
        remarks = ["(the text was longer than the model takes, and was cut)"] if self.cut else []
        if self.value is not None:
            return f"{self.value:.4g}", [], *remarks
        answer = self.label or ""
        if self.labels is not None:
            answer = ", ".join(self.labels) or "none of the labels"
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])
        if more := len(ranked[_MOST:]):
            remarks.insert(0, f"  and {more} more labels, less probable")
        return answer, [("", ranked[:_MOST])], *remarks


class Classify(Task[Texts, ClassifyResult]):
    """Tells a text's class, its classes if it can have several, or its number.

    A text that is longer than those trained on is cut in the same way; the result says so.

    Example:
        >>> classify = Classify(bert_tf.load("my_classifier"))
        >>> classify("A film to see again and again.").label
        'positive'

    Args:
        bert: a loaded BERT with a classifier.
        batch_size: texts run at once.
        max_seq_length: most tokens of a text, [CLS] and [SEP] counted. When left out, what the
            classifier was trained with, or all that the model takes where that is not known (a
            classifier that Google's script left).
        threshold: probability from which on a text has a label, if it can have several.
        labels: names of the outputs, in their order, where the checkpoint does not tell.

    Raises:
        BertError: the checkpoint has no classifier, or an argument has no meaning.
    """

    def __init__(
        self,
        bert: Bert,
        *,
        batch_size: int = 32,
        max_seq_length: int | None = None,
        threshold: float = 0.5,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__(bert, batch_size)
        if bert.classifier is None:
            raise BertError(
                f"{bert.name} cannot classify: its checkpoint has no output_weights. Fine-tune "
                f"it on labelled texts first."
            )
        bert.heads.require("classifier")
        FRACTION.check("threshold", threshold)
        limit = bert.config.max_position_embeddings
        known = bert.classifier.max_seq_length or limit
        self.max_seq_length = known if max_seq_length is None else max_seq_length
        Range(int, LENGTH.minimum, limit).check("max_seq_length", self.max_seq_length)
        self.info = bert.classifier if labels is None else _named(bert.classifier, labels)
        self.threshold = threshold

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels in the order of the model's outputs; none for a regression."""
        return self.info.labels

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
        self, text: str, text_pair: str | None = None
    ) -> ClassifyResult: ...

    @overload
    def __call__(self, text: Iterable[Texts]) -> list[ClassifyResult]: ...

    def __call__(self, text, text_pair=None):
        """Classifies one text, one pair, or a list of texts or of pairs.

        Args:
            text: a text, the first of a pair, or a list of texts or of `(text, text_pair)`.
            text_pair: the second of a pair.

        Raises:
            BertError: what was passed are no texts.
        """
        if isinstance(text, str):
            return self([text if text_pair is None else (text, text_pair)])[0]
        if text_pair is not None:
            raise BertError("pass one text, two texts, or one list of texts or (text, text_pair).")
        return self._answer_all(text)

    def _prepare(self, texts: Texts) -> PackedTexts:
        pair = (texts,) if isinstance(texts, str) else texts
        good = isinstance(pair, tuple | list) and 1 <= len(pair) <= 2
        if not good or not all(isinstance(text, str) for text in pair):
            raise BertError(f"{texts!r:.200} is neither a text nor a pair of texts.")
        if self.info.pairs is not None and self.info.pairs != (len(pair) == 2):
            kinds = ("single texts; give it one text", "pairs of texts; give it (text, text_pair)")
            raise BertError(f"{self.bert.name} was trained on {kinds[self.info.pairs]}.")
        return pack_texts(self.bert, pair, self.max_seq_length)[0]

    def _answer(self, texts: list[PackedTexts]) -> list[ClassifyResult]:
        outputs = self._outputs(self._compiled("classifier"), [one.packed for one in texts])
        return [self._result(one, row) for one, row in zip(texts, outputs, strict=True)]

    def _result(self, texts: PackedTexts, row: np.ndarray) -> ClassifyResult:
        first, second = (*texts.texts, None)[:2]
        assert first is not None
        if not self.info.labels:
            return ClassifyResult(first, second, texts.cut, value=float(row[0]))
        found = dict(zip(self.info.labels, map(float, row), strict=True))
        best = self.info.labels[int(row.argmax())]
        several = tuple(name for name, p in found.items() if p >= self.threshold)
        labels = several if self.info.several else None
        return ClassifyResult(first, second, texts.cut, best, found[best], found, labels)


def _named(info: ClassifierInfo, labels: Sequence[str]) -> ClassifierInfo:
    """With these labels; `BertError` if it has another number, or other names of its own."""
    labels = tuple(labels)
    if labels == info.labels:
        return info
    if len(labels) != len(info.labels):
        has = f"has {len(info.labels)} labels" if info.labels else "predicts a number"
        raise BertError(
            f"{len(labels)} labels were given ({', '.join(labels)}), but the classifier {has}."
        )
    if info.labels != tuple(map(str, range(len(labels)))):
        raise BertError(
            f"the classifier's labels are {', '.join(info.labels)}, and those given are "
            f"{', '.join(labels)}; leave them out."
        )
    return dataclasses.replace(info, labels=labels)
