"""`tokenize_texts`: texts as rows of token ids, kept on disk for the next time."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import pathlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from bert_tf.batching.ragged import ends_of
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.errors import BertError
from bert_tf.files.log import reports, warn
from bert_tf.files.reading import read_sealed
from bert_tf.files.whole import write_sealed
from bert_tf.options import LENGTH, Range
from bert_tf.text import BertTokenizer, pack, windows

_FORMAT = 1  # of the cached file, and of what the tokenizer makes of a text
_MAGIC = b"bert_tf rows 1\n"
_PORTION = 16384  # texts that are tokenized at once
_NO_TEXT = (0, 0)  # the offsets of [CLS] and [SEP]


class Texts(Protocol):
    """Texts, and the second of each pair or None: see `bert_tf.data.LabelledTexts`."""

    @property
    def texts(self) -> list[str]:
        """The first, or only, text of each row."""

    @property
    def pairs(self) -> list[str] | None:
        """The second text of each row."""


@reports
def tokenize_texts(
    data: Texts,
    tokenizer: BertTokenizer,
    max_seq_length: int,
    cache: str | os.PathLike[str] | None = None,
    tell: Callable[[str], None] | None = None,
    *,
    offsets: bool = False,
    stride: int | None = None,
    max_first: int = 64,
) -> TokenizedTexts:
    """Tokenizes texts on all cores and packs them, or takes the result from the last time.

    Args:
        data: the texts.
        tokenizer: with `special_tokens` off, so that text cannot forge the structure of inputs.
        max_seq_length: most positions of a row; longer ones are cut as `pack` does.
        cache: a folder, made if need be, for a file that is found again by texts, vocabulary,
            casing and length. Several processes may use it at once. A damaged file is made again.
            That it cannot be written is logged.
        tell: is given what is logged during the call, too.
        offsets: keep where in its text each token comes from; takes twice the time.
        stride: instead of cutting long texts, or the second text of pairs, read them in overlapping
            windows, so many tokens from one to the next.
        max_first: with a stride, tokens to which the first text of a pair, such as a question, is
            cut.

    Raises:
        BertError: `max_seq_length` has no room for text, or the tokenizer keeps special tokens.
    """
    if tokenizer.special_tokens:
        raise BertError("texts for training are tokenized with special_tokens=False")
    least = LENGTH.minimum if data.pairs is None else 5
    Range(int, least, LENGTH.maximum).check("max_seq_length", max_seq_length)
    asked: tuple[Any, ...] = ()
    if offsets or stride is not None:
        asked = (offsets, stride, max_first if stride and data.pairs is not None else None)
    key = _key(data, tokenizer, max_seq_length, asked)
    if cache is None:
        return _tokenize(data, tokenizer, max_seq_length, key, *asked)
    path = pathlib.Path(cache, f"texts-{key}.rows")
    found = _load(path, len(data.texts), max_seq_length, key)
    if found is not None:
        return found
    made = _tokenize(data, tokenizer, max_seq_length, key, *asked)
    try:
        content = io.BytesIO()
        arrays = {n: v for n, v in vars(made).items() if isinstance(v, np.ndarray)}
        np.savez(content, **arrays)  # type: ignore[arg-type]
        write_sealed(path, _MAGIC, content.getbuffer())
    except BertError as error:
        warn(f"cannot keep tokenized texts in {path.parent}: {error}")
    return made


def _tokenize(
    data: Texts,
    tokenizer: BertTokenizer,
    max_seq_length: int,
    key: str,
    offsets: bool = False,
    stride: int | None = None,
    max_first: int | None = None,
) -> TokenizedTexts:
    kind = np.uint16 if len(tokenizer.vocab) < 1 << 16 else np.int32
    tokens_of, offsets_of = [np.zeros(0, kind)], [np.zeros((0, 2), np.int32)]
    rows: list[tuple[int, int, int, int, int]] = []
    texts = enumerate(zip(data.texts, data.pairs or itertools.repeat(None)))
    while portion := list(itertools.islice(texts, _PORTION)):
        flat: list[int] = []
        flat_offsets: list[tuple[int, int]] = []
        encoded_a = _encode(tokenizer, [a for _, (a, _) in portion], offsets)
        encoded_b = _encode(tokenizer, [b for _, (_, b) in portion], offsets)
        for (number, _), (a, offsets_a), (b, offsets_b) in zip(portion, encoded_a, encoded_b):
            for start, one, two in _windows(a, b, data, max_seq_length, stride, max_first):
                tokens, segments = pack(one, two, vocab=tokenizer.vocab, max_length=max_seq_length)
                first, full = len(segments) - sum(segments), len(one) + 2 + len(two) + bool(two)
                flat += tokens
                rows.append((len(tokens), first, full, number, start))
                if offsets:
                    at_a, at_b = (start, 0) if data.pairs is None else (0, start)
                    kept_a = offsets_a[at_a : at_a + first - 2]
                    kept_b = offsets_b[at_b : at_b + len(tokens) - first - 1]
                    kept = [_NO_TEXT, *kept_a, _NO_TEXT, *kept_b, _NO_TEXT]
                    flat_offsets += kept[: len(tokens)]
        tokens_of.append(np.array(flat, kind))
        offsets_of.append(np.array(flat_offsets, np.int32).reshape(-1, 2))
    lengths, firsts, fulls, numbers, starts = np.array(rows, np.int32).reshape(-1, 5).T.copy()
    arrays = np.concatenate(tokens_of), ends_of(lengths), firsts, fulls
    windowed = (None, None) if stride is None else (numbers, starts)
    found = np.concatenate(offsets_of) if offsets else None
    return TokenizedTexts(*arrays, max_seq_length, key, found, *windowed)


def _encode(
    tokenizer: BertTokenizer, texts: Sequence[str | None], offsets: bool
) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """The token ids of each text, and if asked for their offsets; of None nothing."""
    if not any(texts):
        return (([], []) for _ in texts)
    given = [text or "" for text in texts]
    if offsets:
        return ((one.ids, one.offsets) for one in tokenizer.encode_batch(given))
    return ((ids, []) for ids in tokenizer.encode_ids_batch(given))


def _windows(
    a: list[int], b: list[int], data: Texts, length: int, stride: int | None, max_first: int | None
) -> list[tuple[int, list[int], list[int]]]:
    """For each row where its window starts, and the tokens of the one or two texts."""
    if stride is None:
        return [(0, a, b)]
    if data.pairs is None:
        return [(w.start, w.ids, []) for w in windows(a, length, stride)]
    a = a[:max_first]
    return [(w.start, a, w.ids) for w in windows(b, length, stride, reserved=len(a) + 3)]


def _key(data: Texts, tokenizer: BertTokenizer, max_seq_length: int, asked: tuple[Any, ...]) -> str:
    rows, pairs = len(data.texts), data.pairs is not None
    settings = (_FORMAT, tokenizer.lower_case, max_seq_length, pairs, rows, *asked)
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(hashlib.sha256(tokenizer.vocab.raw).digest())
    for text in (*data.texts, *(data.pairs or ())):
        raw = text.encode("utf-8", "surrogatepass")
        # With its length before it, no text can look like two.
        digest.update(struct.pack("<q", len(raw)) + raw)
    return digest.hexdigest()[:32]


def _load(path: pathlib.Path, texts: int, max_seq_length: int, key: str) -> TokenizedTexts | None:
    """What was kept; None if there is nothing, or not all of it."""
    content = read_sealed(path, _MAGIC)
    if content is None:
        return None
    with np.load(io.BytesIO(content)) as arrays:
        found = TokenizedTexts(**arrays, max_seq_length=max_seq_length, key=key)
    return found if len(set(found.text_numbers.tolist())) == texts else None
