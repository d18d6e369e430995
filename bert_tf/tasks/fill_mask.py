"""`FillMask`: the most probable words for the masks of texts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from bert_tf.bert import Bert
from bert_tf.errors import BertError
from bert_tf.options import COUNT, check_choice
from bert_tf.tasks import masked_text
from bert_tf.tasks.base import Predicting, Task
from bert_tf.tasks.masked_text import FilledText, Guess, MaskedRow, MaskedText

_MIN_BEAM = 5

Tops = dict[int, tuple[np.ndarray, np.ndarray]]
"""By mask: the best tokens and their log-probabilities."""


class Top(NamedTuple):
    """The best tokens at the asked positions of one row, best first."""

    ids: np.ndarray
    """int32, (positions, k)."""
    scores: np.ndarray
    """Log-probabilities, float32, (positions, k)."""


class MaskedWordModel(Predicting):
    """The masked-word head of a `Bert`, compiled to list `k` tokens at each position.

    Raises:
        BertError: the checkpoint has no masked-word head.
    """

    def __init__(self, bert: Bert, k: int, batch_size: int) -> None:
        if not bert.has("mlm"):
            raise BertError(
                f"{bert.name} cannot fill masks: its checkpoint has no cls/predictions. Load the "
                f"pretrained checkpoint that it was fine-tuned from."
            )
        super().__init__(bert, batch_size)
        self.limit = bert.config.max_position_embeddings
        self.k = k
        vocab = bert.vocab
        wanted = {"any": True, "whole": ~vocab.continuation, "continuation": vocab.continuation}
        padding = (0, bert.config.vocab_size - len(vocab))  # a table may be longer than that
        self.allowed = {kind: np.pad(vocab.offerable & wanted[kind], padding) for kind in wanted}

    def top(self, rows: Sequence[MaskedRow], kind: str = "any") -> list[Top]:
        """The best tokens at each row's one or more positions.

        The kind is "any", "whole" for tokens that start a word, or "continuation". Special tokens,
        [unused...] entries and ids without a token are never listed.
        """
        if not rows:
            return []
        k, blocked = min(self.k, int(self.allowed[kind].sum())), ~self.allowed[kind]
        values = {"top.blocked": blocked.astype(np.float32)}
        options = {"values": values, "top_k": self.k}
        found = self._asked(kind, "top_k", options, rows, [row.positions for row in rows])
        found = zip(found["top_ids"], found["top_log_probabilities"], strict=True)
        return [Top(ids[:, :k], scores[:, :k]) for ids, scores in found]

    def scores(
        self, rows: Sequence[MaskedRow], pieces: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """For each row, of one position, the log-probabilities of the ids in `pieces`, float32."""
        return self._asked("scores", "scores", {}, rows, pieces, piece_input=pieces)

    def _asked(
        self,
        name: str,
        output: str,
        options: dict[str, Any],
        rows: Sequence[MaskedRow],
        asked: Sequence[Sequence[int]],
        **extra: Sequence[Sequence[int]],
    ) -> Any:
        """The outputs for each row, as many as it has in `asked`."""
        options |= {"max_predictions": None, "output": output}
        extra["position_input"] = [row.positions for row in rows]
        predictor = self._compiled(name, lambda: self.bert.predictor("mlm", **options))
        return self._outputs(predictor, [x.packed for x in rows], list(map(len, asked)), extra)


class FillMask(Task[str, FilledText]):
    """Fills the `[MASK]`s of texts.

    Only masked positions reach the vocabulary projection, and only the best tokens leave it, so
    memory does not grow with vocabulary times length. `[MASK]`, `[SEP]` and `[CLS]` in a text stay
    whole, also glued to letters.

    Example:
        >>> fill = FillMask(bert_tf.load("demo_multi_cased"))
        >>> fill("I do not [MASK] what you mean.").masks[0].guesses[0].word
        'know'

    Args:
        bert: a loaded BERT with a masked-word head.
        top_k: how many words to give for each mask.
        mode: how several masks in a text are filled, see `FilledText.mode`.
        whole_words: leave out continuation tokens ("##...") where a mask stands alone.
        max_pieces: try words of up to so many tokens for each mask; they compete by their mean
            log-probability. Continuation tokens are then never an answer by themselves.
        candidates: answer only with these words, also of several tokens.
        too_long: `"error"`, or `"window"` to read long texts in overlapping windows, each mask
            in the window where it has the most context.
        stride: tokens from one window to the next.
        batch_size: rows run at once.

    Raises:
        BertError: the checkpoint has no masked-word head, or an argument is not allowed.
    """

    def __init__(
        self,
        bert: Bert,
        *,
        top_k: int = 5,
        mode: str = "independent",
        whole_words: bool = False,
        max_pieces: int = 1,
        candidates: Iterable[str] | None = None,
        too_long: str = "error",
        stride: int = 128,
        batch_size: int = 32,
    ) -> None:
        if isinstance(candidates, str):
            raise BertError(f"candidates is a list of words, e.g. [{candidates!r}].")
        check_choice("mode", mode, tuple(masked_text.MODES))
        check_choice("too_long", too_long, ("error", "window"))
        for name, count in (("top_k", top_k), ("max_pieces", max_pieces), ("stride", stride)):
            COUNT.check(name, count)
        super().__init__(bert, batch_size)
        if mode != "independent" and (max_pieces > 1 or candidates is not None):
            raise BertError(
                f"`candidates` and `max_pieces` look at each mask alone, without `mode={mode!r}`."
            )
        if candidates is not None and max_pieces > 1:
            raise BertError("candidates may have any number of tokens; leave `max_pieces` out.")
        self.top_k = top_k
        self.mode = mode
        self.whole_words = whole_words
        self.max_pieces = max_pieces
        self._stride = stride if too_long == "window" else None
        self._beam = max(top_k, _MIN_BEAM)
        searching = mode == "joint" or max_pieces > 1
        self._model = MaskedWordModel(bert, self._beam if searching else top_k, batch_size)
        self._candidates = None
        if candidates is not None:
            from bert_tf.tasks.words import pieces_of_candidates

            self._candidates = pieces_of_candidates(candidates, bert.tokenizer)

    @overload  # a str is an Iterable[str] too; the first signature that fits is the one meant
    def __call__(self, texts: str) -> FilledText: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, texts: Iterable[str]) -> list[FilledText]: ...

    def __call__(self, texts: str | Iterable[str]) -> FilledText | list[FilledText]:
        """Fills one text or many.

        Raises:
            BertError: a text has no mask, or is longer than the model takes.
        """
        if isinstance(texts, str):
            return self([texts])[0]
        return self._answer_all(texts)

    def _prepare(self, text: str) -> MaskedText:
        masked = masked_text.read(text, self.bert.mask_tokenizer)
        # Longest form that will be asked for: too long is said here, not in the middle.
        longest = max(map(len, (self._candidates or {}).values()), default=self.max_pieces)
        extra = [self.bert.vocab.mask_id] * (longest - 1)
        self._rows(masked, [*masked.ids, *extra], {})
        return masked

    def _rows(
        self, masked: MaskedText, ids: Sequence[int], asked: dict[int, int]
    ) -> list[MaskedRow]:
        return masked_text.rows_of(
            masked, ids, asked, vocab=self.bert.vocab, limit=self._model.limit, stride=self._stride
        )

    def _answer(self, texts: list[MaskedText]) -> list[FilledText]:
        if self._candidates is not None or self.max_pieces > 1:
            return [self._fill_with_words(text) for text in texts]
        if self.mode == "sequential":
            return self._fill_in_turn(texts)
        tops = self._ask([(text, text.ids, dict(enumerate(text.masks))) for text in texts])
        if self.mode == "joint":
            return [self._fill_jointly(t, found) for t, found in zip(texts, tops, strict=True)]
        return [
            self._result(text, [self._guesses(text, mask, *found[mask]) for mask in sorted(found)])
            for text, found in zip(texts, tops, strict=True)
        ]

    def _ask(
        self, questions: Sequence[tuple[MaskedText, Sequence[int], dict[int, int]]]
    ) -> list[Tops]:
        """For each (text, tokens, masks)."""
        found: list[Tops] = [{} for _ in questions]
        for kind in ("whole", "any") if self.whole_words else ("any",):
            rows, owners = [], []
            for owner, (text, ids, masks) in enumerate(questions):
                chosen = masks
                if self.whole_words:
                    alone = kind == "whole"
                    chosen = {m: at for m, at in masks.items() if text.stands_alone(m) == alone}
                if chosen:
                    rows += (made := self._rows(text, ids, chosen))
                    owners += [owner] * len(made)
            for owner, row, top in zip(owners, rows, self._model.top(rows, kind), strict=True):
                found[owner] |= zip(row.masks, zip(*top, strict=True), strict=True)
        return found

    def _fill_in_turn(self, texts: list[MaskedText]) -> list[FilledText]:
        """One mask of every text a round: the one whose best token is the most probable."""
        ids = [list(text.ids) for text in texts]
        left = [dict(enumerate(text.masks)) for text in texts]
        guesses: list[dict[int, tuple[Guess, ...]]] = [{} for _ in texts]
        while any(left):
            active = [i for i, masks in enumerate(left) if masks]
            tops = self._ask([(texts[i], ids[i], left[i]) for i in active])
            for i, found in zip(active, tops, strict=True):
                mask = max(found, key=lambda mask: found[mask][1][0])
                pieces, scores = found[mask]
                guesses[i][mask] = self._guesses(texts[i], mask, pieces, scores)
                ids[i][left[i].pop(mask)] = int(pieces[0])
        return [
            self._result(text, [filled[mask] for mask in sorted(filled)])
            for text, filled in zip(texts, guesses, strict=True)
        ]

    def _fill_jointly(self, text: MaskedText, alone: Tops) -> FilledText:
        """A beam search over the masks from left to right."""
        from bert_tf.tasks import words

        beam, tops = words.FIRST, [alone]
        for mask, at in enumerate(text.masks):
            if mask:
                ids = np.tile(text.ids, (len(beam), 1))
                ids[:, text.masks[:mask]] = [chosen for chosen, _ in beam]
                tops = self._ask([(text, row, {mask: at}) for row in ids.tolist()])
            beam = words.grown(beam, [found[mask] for found in tops], self._beam)
        combinations = []
        for chosen, total in beam[: self.top_k]:
            spelled = tuple(map(self.bert.vocab.token, chosen))
            filled = text.with_words(dict(enumerate(spelled)))
            combinations.append(masked_text.Combination(spelled, math.exp(total), filled))
        answers = [
            self._guesses(text, mask, *(part[: self.top_k] for part in alone[mask]))
            for mask in sorted(alone)
        ]
        best, result = combinations[0].text, self._result(text, answers)
        return dataclasses.replace(result, filled=best, combinations=tuple(combinations))

    def _fill_with_words(self, text: MaskedText) -> FilledText:
        from bert_tf.tasks import words

        asked = (self._model, self._rows)
        if self._candidates is not None:
            by_mask = words.score_candidates(text, list(self._candidates.values()), *asked)
        else:
            masks, limits = range(len(text.masks)), (self.max_pieces, self._beam)
            by_mask = [words.find_words(text, mask, *limits, *asked) for mask in masks]
        answers = [
            tuple(self._guess(text, mask, word.pieces, word.score) for word in found[: self.top_k])
            for mask, found in enumerate(by_mask)
        ]
        return self._result(text, answers)

    def _guesses(
        self, text: MaskedText, mask: int, pieces: np.ndarray, scores: np.ndarray
    ) -> tuple[Guess, ...]:
        return tuple(
            self._guess(text, mask, (int(piece),), float(score))
            for piece, score in zip(pieces, scores, strict=True)
        )

    def _guess(self, text: MaskedText, mask: int, pieces: tuple[int, ...], score: float) -> Guess:
        spelled = tuple(map(self.bert.vocab.token, pieces))
        word = spelled[0] + "".join(piece.removeprefix("##") for piece in spelled[1:])
        return Guess(word, math.exp(score), spelled, text.with_words({mask: word}))

    def _result(self, text: MaskedText, answers: Sequence[tuple[Guess, ...]]) -> FilledText:
        best = {mask: guesses[0].word for mask, guesses in enumerate(answers) if guesses}
        spans = zip(text.spans, answers, strict=True)
        masks = tuple(masked_text.MaskAnswer(*span, guesses) for span, guesses in spans)
        return FilledText(text.text, text.with_words(best), self.mode, masks)
