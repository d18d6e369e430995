"""`Task`: what all tasks have in common: checks, compiled models, batches, and streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

from bert_tf.backend import making
from bert_tf.batching.predict import Extra, PackedRows, predict_all
from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.options import ROWS
from bert_tf.runtime.predictor import Predictor
from bert_tf.text import Packed, pack

Item = TypeVar("Item")
Result = TypeVar("Result")


class Predicting:
    """Runs a BERT's models on packed rows, `batch_size` at once; raises if that is out of range.

    Each is compiled when first needed; pickles and copies leave that out. Threads may share one.
    """

    def __init__(self, bert: Bert, batch_size: int = 32) -> None:
        if not isinstance(bert, Bert):
            raise BertError(f"a task takes what bert_tf.load gives, not {bert!r:.60}")
        ROWS.check("batch_size", batch_size)
        self.bert = bert
        self.batch_size = batch_size

    def __getstate__(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).copy().items() if name != "_predictors"}

    def _compiled(self, name: str, make: Callable[[], Predictor] | None = None) -> Predictor:
        """A compiled model, by default the BERT's of that name."""
        predictors: dict[str, Predictor] = vars(self).setdefault("_predictors", {})
        if name not in predictors:
            with making():
                if name not in predictors:
                    predictors[name] = make() if make is not None else self.bert.predictor(name)
        return predictors[name]

    def _outputs(
        self,
        predictor: Predictor,
        packed: Sequence[Packed],
        sizes: Sequence[int] | None = None,
        extra: Mapping[str, Extra] | None = None,
    ) -> Any:
        """The outputs for all rows, in their order: see `predict_all`."""
        rows = PackedRows(packed, self.bert.config.max_position_embeddings)
        return predict_all(predictor, rows, sizes=sizes, batch_size=self.batch_size, extra=extra)


class Task(Predicting, Generic[Item, Result]):
    """What is asked of a BERT: one item in, one named result out.

    A task says how an item is prepared and how prepared ones are answered, mostly by `_outputs`.
    """

    def _prepare(self, item: Any) -> Any:
        """Checks and tokenizes one item; raises `BertError` if it is none."""
        raise NotImplementedError

    def _answer(self, prepared: list[Any]) -> list[Result]:
        """The results of prepared items, in their order."""
        raise NotImplementedError

    def _answer_all(self, items: Any) -> list[Result]:
        """The results of a list of items; raises `BertError` if it is something else."""
        if not isinstance(items, Iterable) or isinstance(items, bytes | Mapping):
            raise BertError(f"pass a text or a list of texts, not {items!r:.60}.")
        return self._answer([self._prepare(item) for item in items])

    @overload
    def stream(
        self, texts: Iterable[Item], errors: Literal["raise"] = "raise"
    ) -> Iterator[Result]: ...

    @overload
    def stream(
        self, texts: Iterable[Item | BertError], errors: Literal["yield"]
    ) -> Iterator[Result | BertError]: ...

    def stream(self, texts, errors="raise"):
        """Answers texts as they come, in their order, in memory that does not grow.

        Args:
            texts: any number of what the task takes.
            errors: `"raise"`, or `"yield"` to give the `BertError` in place of the result; also
                that which is among the texts, for a row that could not be read.
        """
        from bert_tf.tasks.streaming import stream_in_chunks

        return stream_in_chunks(texts, self._prepare, self._answer, self.batch_size, errors)


class Shown:
    """A result that prints as at the command line, and shows itself in a notebook."""

    def _shown(self) -> tuple[Any, ...]:
        """The arguments of `report.result_text`."""
        raise NotImplementedError

    def __str__(self) -> str:
        from bert_tf.report import result_text

        return result_text(*self._shown())

    def _repr_html_(self) -> str:
        from bert_tf.report import result_html

        return result_html(*self._shown())


class PackedTexts(NamedTuple):
    """One or two texts as a row."""

    texts: tuple[str, ...]
    packed: Packed
    cut: bool
    """Whether some tokens had to go."""


def pack_texts(bert: Bert, texts: Sequence[str], max_length: int) -> tuple[PackedTexts, list[int]]:
    """Tokenizes and packs one or two texts; gives the number of tokens of each as well."""
    ids = bert.tokenizer.encode_ids_batch(texts)
    packed = pack(*ids, vocab=bert.vocab, max_length=max_length)
    counts = [len(one) for one in ids]
    full = sum(counts) + (3 if counts[1:] and counts[1] else 2)
    return PackedTexts(tuple(texts), packed, full > max_length), counts
