"""`NextSentence`: how probable it is that one text follows another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, overload

from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.tasks.base import PackedTexts, Shown, Task, pack_texts

Pair = tuple[str, str]

FOLLOWS = 0
"""Index of "B follows A" in the model's output; 1 is "B is random", as create_pretraining_data.py
labels it. Many expect the reverse."""


@dataclasses.dataclass(frozen=True)
class NextSentenceResult(Shown):
    """Whether a second text follows a first; `print` shows it in words.

    Args:
        first: the first text.
        second: the second text.
        probability: that the second follows the first.
        label: `"follows"` or `"random"`, whichever is more probable.
        cut: whether the pair was longer than the model takes, and its longer text cut at its end.
    """

    first: str
    second: str
    probability: float
    label: str
    cut: bool

    def _shown(self) -> tuple[Any, ...]:
        cut = ["(the pair was longer than the model takes, and was cut)"] if self.cut else []
        followed = f"probability that B follows A: {self.probability:.4f}"
        return f"Sentence is okay: {round(100 * self.probability)} %", [], followed, *cut

    def __str__(self) -> str:
        heading, _, *remarks = self._shown()  # nothing that `report` is needed for
        return "\n".join([heading, *remarks])


class NextSentence(Task[Pair, NextSentenceResult]):
    """Predicts whether a second text follows a first.

    A pair longer than the model takes is cut at the end of its longer text, as in pretraining; the
    result says so.

    Example:
        >>> follows = NextSentence(bert_tf.load("demo_multi_cased"))
        >>> follows("I went to the store.", "I bought milk.").label
        'follows'

    Args:
        bert: a loaded BERT with a pooler and a next-sentence head.
        batch_size: pairs run at once.

    Raises:
        BertError: the checkpoint has no pooler or no next-sentence head.
    """

    def __init__(self, bert: Bert, *, batch_size: int = 32) -> None:
        super().__init__(bert, batch_size)
        for head, name in (("pooler", "pooler"), ("nsp", "cls/seq_relationship")):
            if not bert.has(head):
                raise BertError(
                    f"{bert.name} cannot predict next sentences: its checkpoint has no {name}. "
                    f"Load one that was pretrained with next sentence, as Google's are."
                )

    @overload
    def __call__(self, first: str, second: str) -> NextSentenceResult: ...

    @overload
    def __call__(self, first: Iterable[Pair]) -> list[NextSentenceResult]: ...

    def __call__(self, first, second=None):
        """Predicts for one pair, `(first, second)`, or a list of such pairs.

        Raises:
            BertError: a text is empty, or what was passed are no pairs of texts.
        """
        if isinstance(first, str) and isinstance(second, str):
            return self([(first, second)])[0]
        if isinstance(first, str) or second is not None:
            raise BertError("pass two texts, or a list of (first, second) pairs.")
        return self._answer_all(first)

    def stream(self, pairs, errors="raise"):
        """Predicts for pairs of texts, (first, second), as they come: see `Task.stream`."""
        return super().stream(pairs, errors)

    def _prepare(self, pair: Pair) -> PackedTexts:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise BertError(f"{pair!r:.200} is no pair of texts (first, second).")
        found, counts = pack_texts(self.bert, pair, self.bert.config.max_position_embeddings)
        for text, count in zip(pair, counts, strict=True):
            if not count:
                raise BertError(f"the text {text!r} is empty; next sentence needs two texts.")
        return found

    def _answer(self, pairs: list[PackedTexts]) -> list[NextSentenceResult]:
        outputs = self._outputs(self._compiled("nsp"), [pair.packed for pair in pairs])
        results = []
        for pair, row in zip(pairs, outputs, strict=True):
            (first, second), probability = pair.texts, float(row[FOLLOWS])
            label = "follows" if probability >= 0.5 else "random"
            results.append(NextSentenceResult(first, second, probability, label, pair.cut))
        return results
