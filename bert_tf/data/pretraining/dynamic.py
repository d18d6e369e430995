"""An endless stream of training batches, drawn again each epoch, that resumes anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bert_tf.data.pretraining.masking import MaskRules, mask_pieces
from bert_tf.data.pretraining.pairs import PairRules, Pairs, assemble, draw_pairs
from bert_tf.data.pretraining.tokens import TokenCorpus, checked_documents
from bert_tf.errors import BertError
from bert_tf.options import FRACTION, ROWS, SEED
from bert_tf.text import Vocabulary

WINDOW_PIECES = 1 << 22
"""Tokens whose pairs are drawn at once and shuffled: some 30,000 examples of 128."""

# What a random generator is for stands first in its key.
_ORDER, _PAIRS, _BATCH = range(3)


class PretrainingStream:
    """Batches of masked pairs of segments, without end.

    Each group is read in epochs. An epoch takes the documents in an order of its own, in
    windows of some million tokens; the pairs of a window are drawn when it is reached, and
    shuffled. A batch draws the group of each example, takes the group's next pairs and masks
    them. Every draw has its own generator, made of the seed and what it is for. So where the
    stream stands is a few numbers, and no epoch repeats another.

    Args:
        corpus: the texts.
        batch_size: examples of a batch.
        pair_rules: how pairs are drawn.
        mask_rules: how tokens are masked.
        documents: which documents are used, also as random second segments; bool, (documents,).
            Groups without any are left out.
        smoothing: a group's fraction of the examples goes as its tokens to this power: 1 as the
            texts are, less gives small groups more (multilingual BERT: 0.7).
        seed: a whole number, not negative.
        vocab: of the corpus.

    Raises:
        BertError: an argument has no meaning, the vocabulary is not that of the corpus, or a
            group has documents of one source only.

    Example:
        >>> stream = PretrainingStream(
        ...     corpus, batch_size=32, pair_rules=PairRules(), mask_rules=MaskRules(),
        ...     documents=~held_out, seed=1, vocab=vocab,
        ... )
        >>> batch, state = stream.next_batch(), stream.state()
    """

    def __init__(
        self,
        corpus: TokenCorpus,
        *,
        batch_size: int,
        pair_rules: PairRules,
        mask_rules: MaskRules,
        documents: np.ndarray,
        smoothing: float = 1.0,
        seed: int,
        vocab: Vocabulary,
    ) -> None:
        corpus.check_vocabulary(vocab)
        documents = checked_documents("documents", documents, len(corpus))
        ROWS.check("batch_size", batch_size)
        SEED.check("seed", seed)
        FRACTION.check("smoothing", smoothing)
        self.corpus, self.vocab, self.batch_size, self.seed = corpus, vocab, batch_size, seed
        self.pair_rules, self.mask_rules = pair_rules, mask_rules
        used = np.flatnonzero(documents)
        groups = corpus.groups[used]
        self._groups = [
            _Group(corpus, int(group), used[groups == group], pair_rules, seed)
            for group in np.unique(groups)
        ]
        if not self._groups:
            raise BertError("no document is used; set some of `documents` to True")
        weights = np.array([group.pieces for group in self._groups], float) ** smoothing
        shares = weights / weights.sum()
        self._bounds = np.cumsum(shares)[:-1]
        names = [corpus.group_names[group.number] for group in self._groups]
        self.shares: dict[str, float] = dict(zip(names, shares.tolist()))
        self._batch = 0
        texts = (corpus.vocab_sha256, len(corpus.tokens), len(corpus.sentences))
        rules = (int(batch_size), pair_rules, mask_rules, float(smoothing))
        digest = hashlib.sha256(repr((*texts, *rules, int(seed), WINDOW_PIECES)).encode())
        digest.update(np.packbits(documents).tobytes())
        self._fingerprint = digest.hexdigest()[:16]

    def next_batch(self) -> dict[str, np.ndarray]:
        """The next batch.

        Returns:
            `token_input` and `seg_input`, int32 (n, max_seq_length), 0 where padded;
            `position_input` (ascending), `masked_lm_ids`, int32, and `masked_lm_weights`,
            float32, all (n, max_predictions_per_seq) and 0 in unused slots;
            `next_sentence_labels`, int32 (n,): 0 if B follows A, 1 if it is random.
        """
        rng = np.random.default_rng([self.seed, _BATCH, self._batch])
        # The group of each example.
        draws = np.searchsorted(self._bounds, rng.random(self.batch_size), side="right")
        rows = np.empty((self.batch_size, 5), np.int64)
        for index, count in enumerate(np.bincount(draws, minlength=len(self._groups))):
            if count:
                rows[draws == index] = self._groups[index].take(int(count))
        self._batch += 1
        a_start, a_end, b_start, b_end, is_random = rows.T
        pairs = Pairs(a_start, a_end, b_start, b_end, is_random.astype(bool))
        vocab = self.vocab
        continues, rules = vocab.continuation, self.mask_rules
        special = {"cls_id": vocab.cls_id, "sep_id": vocab.sep_id}
        length = self.pair_rules.max_seq_length
        token_input, seg_input, lengths = assemble(self.corpus.tokens, pairs, length, **special)
        token_input, positions, ids, weights = mask_pieces(
            token_input, lengths, continues, len(vocab), vocab.mask_id, rules, rng, **special
        )
        return {
            "token_input": token_input,
            "seg_input": seg_input,
            "position_input": positions,
            "masked_lm_ids": ids,
            "masked_lm_weights": weights,
            "next_sentence_labels": is_random.astype(np.int32),
        }

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        while True:
            yield self.next_batch()

    def state(self) -> dict[str, Any]:
        """Where the stream stands, for `restore`; JSON can hold it.

        Returns:
            `batch`: how many were taken; `groups`: epoch, window and pairs taken from it, of
            each group; `fingerprint`: of corpus, documents and settings.
        """
        return {
            "batch": self._batch,
            "groups": [list(group.where) for group in self._groups],
            "fingerprint": self._fingerprint,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes where another stream of the same settings stood; what follows is the same bytes.

        Raises:
            BertError: it is no such state, or of other settings, documents or texts.
        """
        try:
            batch = int(state["batch"])
            positions = [(int(e), int(w), int(p)) for e, w, p in state["groups"]]
            fingerprint = state["fingerprint"]
        except (KeyError, TypeError, ValueError) as error:
            raise BertError(f"this is no state of a training stream: {state!r:.200}") from error
        if fingerprint != self._fingerprint or len(positions) != len(self._groups):
            raise BertError(
                "the state of the training data is of another run: texts, held-out documents, "
                "batch size, lengths, masking, smoothing and seed must be those it was taken with"
            )
        before = [group.where for group in self._groups]
        try:
            for group, where in zip(self._groups, positions):
                group.go_to(*where)
        except BertError:
            for group, where in zip(self._groups, before):
                group.go_to(*where)
            raise
        self._batch = batch

    def epochs(self) -> dict[str, float]:
        """Passes over the documents of each group so far."""
        return {self.corpus.group_names[g.number]: g.progress() for g in self._groups}


class _Group:
    """The pairs of one group, window by window; `position` counts pairs taken of the window."""

    def __init__(
        self, corpus: TokenCorpus, number: int, documents: np.ndarray, rules: PairRules, seed: int
    ) -> None:
        sources = corpus.sources[documents]
        if (sources == sources[0]).all():
            raise BertError(
                f"{corpus.group_names[number]} has documents of one source only, but random second "
                "segments come from another one; add texts, or put blank lines between documents"
            )
        self.number = number
        self._corpus, self._documents, self._rules, self._seed = corpus, documents, rules, seed
        starts = corpus.documents
        self._sizes = corpus.sentences[starts[documents + 1]] - corpus.sentences[starts[documents]]
        self.pieces = int(self._sizes.sum())
        self._start_epoch(0)

    @property
    def where(self) -> tuple[int, int, int]:
        """Epoch, window and position."""
        return self.epoch, self.window, self.position

    def take(self, count: int) -> np.ndarray:
        """The next pairs, int64 (count, 5): the columns of `Pairs`."""
        parts = []
        while True:
            part = self._pairs()[self.position : self.position + count]
            parts.append(part)
            self.position += len(part)
            count -= len(part)
            if not count:
                return np.concatenate(parts)
            if self.window + 1 == len(self._ends):
                self._start_epoch(self.epoch + 1)
            else:
                self._start_window(self.window + 1)

    def go_to(self, epoch: int, window: int, position: int) -> None:
        """Goes to where a stream stood before, and draws its window, or raises a BertError."""
        if epoch >= 0:
            self._start_epoch(epoch)
            if 0 <= window < len(self._ends):
                self._start_window(window)
                if 0 <= position <= len(self._pairs()):
                    self.position = position
                    return
        raise BertError(
            f"the state of the training data is damaged: {[epoch, window, position]} is no "
            f"position in {self._corpus.group_names[self.number]}; pass what `state()` gave"
        )

    def progress(self) -> float:
        """Epochs so far."""
        share = self.position / len(self._pairs())
        return self.epoch + (self.window + share) / len(self._ends)

    def _start_epoch(self, epoch: int) -> None:
        """Orders the documents, and divides them into windows of about `WINDOW_PIECES`."""
        rng = np.random.default_rng([self._seed, _ORDER, self.number, epoch])
        order = rng.permutation(len(self._documents))
        ends_at = np.cumsum(self._sizes[order])
        windows = max(1, round(self.pieces / WINDOW_PIECES))
        bounds = self.pieces * np.arange(1, windows) // windows
        # Large documents can make windows vanish; np.unique drops those.
        self._ends = np.unique(np.append(np.searchsorted(ends_at, bounds) + 1, len(order)))
        self._order = self._documents[order]
        self.epoch = epoch
        self._start_window(0)

    def _start_window(self, window: int) -> None:
        self.window, self.position = window, 0
        self._drawn: np.ndarray | None = None  # when they are needed

    def _pairs(self) -> np.ndarray:
        if self._drawn is None:
            start = self._ends[self.window - 1] if self.window else 0
            rng = np.random.default_rng([self._seed, _PAIRS, self.number, self.epoch, self.window])
            documents = self._order[start : self._ends[self.window]]
            pairs = draw_pairs(self._corpus, documents, self._documents, self._rules, rng)
            self._drawn = rng.permutation(np.stack(pairs, axis=1, dtype=np.int64))
        return self._drawn
