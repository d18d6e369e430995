"""Texts as rows of piece ids, kept on disk for the next time, and how long they are."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bert_tf.data.labelled import LabelledTexts
from bert_tf.errors import BertError
from bert_tf.files.whole import read_sealed, write_sealed
from bert_tf.text import BertTokenizer, pack

_FORMAT = 1  # of the cached file, and of what the tokenizer makes of a text
_MAGIC = b"bert_tf rows 1\n"
_PORTION = 16384  # rows that are tokenized at once


@dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """Rows as the model takes them, [CLS] a [SEP] or [CLS] a [SEP] b [SEP], one behind the other.

    Attributes:
        pieces: ids of all rows, uint16 or int32, shape (pieces,).
        starts: where each row starts in `pieces`, and the end; int64, (rows + 1,).
        firsts: places of each row up to and with the first [SEP]; int32, (rows,).
        full_lengths: of each row before it was cut to `max_seq_length`; int32, (rows,).
        max_seq_length: most places of a row.
        key: a hash of texts, vocabulary, casing and `max_seq_length`.
    """

    pieces: np.ndarray
    starts: np.ndarray
    firsts: np.ndarray
    full_lengths: np.ndarray
    max_seq_length: int
    key: str

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.firsts)

    @property
    def lengths(self) -> np.ndarray:
        """Places of each row, int64 (rows,)."""
        return np.diff(self.starts)

    def pad(
        self, rows: np.ndarray, length: int, height: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`token_input` and `seg_input` of some rows.

        Args:
            rows: their numbers.
            length: to pad to with 0; no row is longer.
            height: to fill up to with rows of padding; by default none.

        Returns:
            Both int32, shape (height, length).
        """
        height = len(rows) if height is None else height
        starts, lengths = self.starts[rows], self.lengths[rows]
        place = np.arange(length)
        here = place < lengths[:, None]
        tokens = np.zeros((height, length), np.int32)
        segments = np.zeros((height, length), np.int32)
        tokens[: len(rows)][here] = self.pieces[(starts[:, None] + place)[here]]
        segments[: len(rows)] = here & (place >= self.firsts[rows][:, None])
        return tokens, segments


def tokenize_texts(
    data: LabelledTexts,
    tokenizer: BertTokenizer,
    max_seq_length: int,
    cache: str | os.PathLike[str] | None = None,
    on_remark: Callable[[str], None] | None = None,
) -> TokenizedTexts:
    """Tokenizes texts on all cores and packs them, or takes the result from the last time.

    Args:
        data: the texts.
        tokenizer: with `special_tokens` off, so that text cannot forge the structure of inputs.
        max_seq_length: most places of a row; longer ones are cut as `pack` does.
        cache: a folder, made if need be, for a file that is found again by texts, vocabulary,
            casing and length. Several processes may use it at once: a file appears when it is
            complete. One that is damaged is made again.
        on_remark: is told if the cache cannot be written; the result is not in danger.

    Raises:
        BertError: `max_seq_length` has no room for text, or the tokenizer keeps special tokens.
    """
    if tokenizer.special_tokens:
        raise BertError("texts for training are tokenized with special_tokens=False")
    if max_seq_length < (least := 3 if data.pairs is None else 5):
        raise BertError(
            f"max_seq_length is {max_seq_length}; with [CLS] and [SEP] {least} at least"
        )
    key = _key(data, tokenizer, max_seq_length)
    path = None if cache is None else pathlib.Path(cache, f"texts-{key}.rows")
    if path is not None:
        found = _load(path, len(data), max_seq_length, key)
        if found is not None:
            return found
    made = _tokenize(data, tokenizer, max_seq_length, key)
    if path is not None:
        try:
            _save(path, made)
        except BertError as error:
            if on_remark is not None:
                on_remark(f"cannot keep tokenized texts in {path.parent}: {error}")
    return made


def _tokenize(
    data: LabelledTexts, tokenizer: BertTokenizer, max_seq_length: int, key: str
) -> TokenizedTexts:
    vocab = tokenizer.vocab
    kind = np.uint16 if len(vocab) < 1 << 16 else np.int32
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    firsts: list[int] = []
    full: list[int] = []
    rows = data.each()
    while portion := list(islice(rows, _PORTION)):
        ids_a = tokenizer.encode_ids_batch(a for a, _ in portion)
        ids_b = (
            [[]] * len(portion)
            if data.pairs is None
            else tokenizer.encode_ids_batch(b or "" for _, b in portion)
        )
        flat: list[int] = []
        for a, b in zip(ids_a, ids_b):
            tokens, segments = pack(a, b, vocab=vocab, max_length=max_seq_length)
            flat += tokens
            lengths.append(len(tokens))
            firsts.append(len(segments) - sum(segments))
            full.append(len(a) + 2 + (len(b) + 1 if b else 0))
        parts.append(np.array(flat, kind))
    return TokenizedTexts(
        np.concatenate(parts) if parts else np.zeros(0, kind),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        np.array(firsts, np.int32),
        np.array(full, np.int32),
        max_seq_length,
        key,
    )


def _key(data: LabelledTexts, tokenizer: BertTokenizer, max_seq_length: int) -> str:
    settings = (_FORMAT, tokenizer.lower_case, max_seq_length, data.pairs is not None, len(data))
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(hashlib.sha256(tokenizer.vocab.raw).digest())
    for text in (*data.texts, *(data.pairs or ())):
        raw = text.encode("utf-8", "surrogatepass")
        # With its length before it, no text can look like two.
        digest.update(struct.pack("<q", len(raw)) + raw)
    return digest.hexdigest()[:32]


def _save(path: pathlib.Path, texts: TokenizedTexts) -> None:
    content = io.BytesIO()
    np.savez(
        content,
        pieces=texts.pieces,
        starts=texts.starts,
        firsts=texts.firsts,
        full_lengths=texts.full_lengths,
    )
    write_sealed(path, _MAGIC, content.getbuffer())


def _load(path: pathlib.Path, rows: int, max_seq_length: int, key: str) -> TokenizedTexts | None:
    """What was kept; None if there is nothing, or not all of it."""
    content = read_sealed(path, _MAGIC)
    if content is None:
        return None
    with np.load(io.BytesIO(content)) as arrays:
        found = TokenizedTexts(**arrays, max_seq_length=max_seq_length, key=key)
    return found if len(found) == rows else None


@dataclass(frozen=True, eq=False)
class LengthHistogram:
    """How long texts are, in pieces with [CLS] and [SEP], before they are cut.

    Attributes:
        counts: rows of each length, int64, (longest + 1,).
        max_seq_length: where they are cut.
    """

    counts: np.ndarray
    max_seq_length: int

    @classmethod
    def of(cls, *texts: TokenizedTexts) -> LengthHistogram:
        """Of all rows of one or several splits.

        Raises:
            BertError: there is none, or they are cut at different lengths.
        """
        limits = {one.max_seq_length for one in texts}
        if len(limits) != 1 or not sum(map(len, texts)):
            raise BertError("a histogram of lengths is of texts with one max_seq_length")
        lengths = np.concatenate([one.full_lengths for one in texts])
        return cls(np.bincount(lengths), limits.pop())

    @property
    def cut_share(self) -> float:
        """The share of the rows that `max_seq_length` cuts."""
        return float(self.counts[self.max_seq_length + 1 :].sum() / self.counts.sum())

    def quantile(self, share: float) -> int:
        """The least length that at least this share of the rows does not exceed."""
        reached = np.cumsum(self.counts)
        return int(np.searchsorted(reached, share * reached[-1]))

    def __str__(self) -> str:
        count = int(self.counts.sum())
        longest = len(self.counts) - 1
        return (
            f"lengths of {count:,} texts in pieces: half have at most {self.quantile(0.5)}, 95 % "
            f"{self.quantile(0.95)}, the longest {longest}; max_seq_length {self.max_seq_length} "
            f"cuts {_percent(self.cut_share)}"
        )

    def remark(self) -> str | None:
        """What to say if most texts are cut."""
        if self.cut_share <= 0.5:
            return None
        fits = next((n for n in (64, 128, 256, 384, 512) if n >= self.quantile(0.9)), 512)
        better = (
            f"{fits} would cut few" if fits > self.max_seq_length else "the texts are very long"
        )
        return (
            f"max_seq_length {self.max_seq_length} cuts {_percent(self.cut_share)} of the texts; "
            f"{better}: --max_seq_length {max(fits, self.max_seq_length)}"
        )


def _percent(share: float) -> str:
    """Never 0 % for some, nor 100 % for not all."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"
