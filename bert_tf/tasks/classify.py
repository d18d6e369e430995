"""`Classify`: what a fine-tuned classifier says of a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.errors import BertError
from bert_tf.tasks.asking import batches_for
from bert_tf.tasks.results import ClassifyResult
from bert_tf.tasks.streaming import stream_in_chunks
from bert_tf.text import Packed, pack, pad_batch

Texts = str | tuple[str, str]


class _PackedTexts(NamedTuple):
    text: str
    text_pair: str | None
    packed: Packed
    cut: bool


class Classify:
    """Tells a text's class, its classes if it can have several, or its number.

    A text that is longer than those that the classifier was trained on is cut in the same way;
    the result says so.

    Example:
        >>> classify = Classify(bert_tf.load("my_classifier"))
        >>> classify("A film to see again and again.").label
        'positive'

    Args:
        bert: a loaded BERT with a classifier.
        batch_size: texts run at once.
        max_seq_length: most pieces of a text, [CLS] and [SEP] counted. When left out, what the
            classifier was trained with; where that is not known (a classifier that Google's
            script left), all that the model takes.
        threshold: from which probability on a label is told, if a text can have several.
        labels: what the outputs are called, in their order, where the checkpoint does not tell.

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
        if bert.classifier is None:
            raise BertError(
                f"{bert.name} cannot classify: its checkpoint has no output_weights. Fine-tune "
                f"it on labelled texts first."
            )
        bert.heads.require("classifier")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise BertError(f"batch_size={batch_size!r} must be a whole number above 0.")
        limit = bert.config.max_position_embeddings
        length = max_seq_length or bert.classifier.max_seq_length or limit
        if not 3 <= length <= limit:
            raise BertError(
                f"max_seq_length={length} must lie from 3 to {limit}, what this model takes."
            )
        if not 0 <= threshold <= 1:
            raise BertError(f"threshold={threshold!r} must be a probability, from 0 to 1.")
        self.bert = bert
        self.info = bert.classifier if labels is None else _named(bert.classifier, labels)
        self.batch_size = batch_size
        self.max_seq_length = length
        self.threshold = threshold
        self._predictor: Any = None

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
            one = text if text_pair is None else (text, text_pair)
            return self._run([self._pack(one)])[0]
        if text_pair is not None:
            raise BertError("pass one text, two texts, or one list of texts or (text, text_pair).")
        return self._run([self._pack(one) for one in text])

    @overload
    def stream(
        self, texts: Iterable[Texts], errors: Literal["raise"] = "raise"
    ) -> Iterator[ClassifyResult]: ...

    @overload
    def stream(
        self, texts: Iterable[Texts | BertError], errors: Literal["yield"]
    ) -> Iterator[ClassifyResult | BertError]: ...

    def stream(self, texts, errors="raise"):
        """Classifies texts as they come, in their order, in memory that does not grow.

        Args:
            texts: any number of texts or of (text, text_pair).
            errors: `"raise"`, or `"yield"` to give the `BertError` in place of the result. A
                `BertError` among the texts, for a row that could not be read, is treated alike.
        """
        return stream_in_chunks(texts, self._pack, self._run, self.batch_size, errors)

    def _pack(self, texts: Texts | BertError) -> _PackedTexts:
        if isinstance(texts, BertError):
            raise texts
        pair = (texts,) if isinstance(texts, str) else texts
        good = isinstance(pair, tuple | list) and 1 <= len(pair) <= 2
        if not good or not all(isinstance(text, str) for text in pair):
            raise BertError(f"{texts!r:.200} is neither a text nor a pair of texts.")
        if self.info.pairs is not None and self.info.pairs != (len(pair) == 2):
            raise BertError(
                f"{self.bert.name} was trained on {'pairs of' if self.info.pairs else 'single'} "
                f"texts; {'give it (text, text_pair)' if self.info.pairs else 'give it one text'}."
            )
        first, *rest = self.bert.tokenizer.encode_ids_batch(pair)
        second = rest[0] if rest else []
        packed = pack(first, second, vocab=self.bert.vocab, max_length=self.max_seq_length)
        full = len(first) + len(second) + (3 if second else 2)
        text_pair = pair[1] if len(pair) == 2 else None
        return _PackedTexts(pair[0], text_pair, packed, full > self.max_seq_length)

    def _run(self, texts: list[_PackedTexts]) -> list[ClassifyResult]:
        if self._predictor is None:
            self._predictor = self.bert.predictor("classifier")
        outputs = np.empty((len(texts), self.info.num_outputs))
        lengths = [len(one.packed.token_ids) for one in texts]
        limit = self.bert.config.max_position_embeddings
        for indices, length in batches_for(self._predictor, lengths, self.batch_size, limit):
            inputs = pad_batch([texts[i].packed for i in indices], length)
            outputs[list(indices)] = self._predictor(inputs)
        return [self._result(one, row) for one, row in zip(texts, outputs, strict=True)]

    def _result(self, texts: _PackedTexts, row: np.ndarray) -> ClassifyResult:
        if self.info.task == "regression":
            return ClassifyResult(texts.text, texts.text_pair, cut=texts.cut, value=float(row[0]))
        probabilities = dict(zip(self.info.labels, map(float, row), strict=True))
        best = self.info.labels[int(row.argmax())]
        several: tuple[str, ...] | None = None
        if self.info.task == "multilabel":
            several = tuple(name for name, p in probabilities.items() if p >= self.threshold)
        return ClassifyResult(
            texts.text,
            texts.text_pair,
            cut=texts.cut,
            label=best,
            probability=probabilities[best],
            probabilities=probabilities,
            labels=several,
        )


def _named(info: ClassifierInfo, labels: Sequence[str]) -> ClassifierInfo:
    """The classifier with these labels.

    Raises:
        BertError: it has another number of outputs, or names of its own that differ.
    """
    labels = tuple(labels)
    if labels == info.labels:
        return info
    if len(labels) != len(info.labels):
        has = f"has {len(info.labels)} labels" if info.labels else "tells a number"
        raise BertError(
            f"{len(labels)} labels were given ({', '.join(labels)}), but the classifier {has}."
        )
    if info.labels != tuple(map(str, range(len(labels)))):
        raise BertError(
            f"the classifier's labels are {', '.join(info.labels)}, and those given are "
            f"{', '.join(labels)}; leave them out."
        )
    return dataclasses.replace(info, labels=labels)
