"""`BertTokenizer`: Google's word pieces, through Rust where that is exact, with source offsets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from bert_tf.errors import BertError
from bert_tf.text import differences
from bert_tf.text.decode import join_pieces
from bert_tf.text.exact import MAX_WORD_LENGTH, split_pieces, split_words
from bert_tf.text.vocab import CLS, MASK, SEP, UNK, Vocabulary

WHOLE_TOKENS = (MASK, SEP, CLS)
"""What stays whole with `special_tokens=True`. Not [PAD], which attention would not see, and not
[UNK], which no user has a reason to type."""

_WHOLE = re.compile("|".join(map(re.escape, WHOLE_TOKENS)))

_BATCH = 8192  # texts at a time, which bounds what is held besides the result


class Encoding(NamedTuple):
    """The pieces of one text, without [CLS] and [SEP]; the three lists are equally long.

    Attributes:
        ids: id of each piece.
        tokens: the pieces.
        offsets: (start, end) of each piece's source in the text, in code points, so that
            `text[start:end]` is what it was made from. A lower-casing model's dropped accents
            belong to the piece they follow. Several pieces can share one source character (the
            jamo of a Hangul syllable). For bytes, positions are in the decoded text.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]


class BertTokenizer:
    """Splits text into word pieces exactly as tokenization.py of google-research/bert does.

    Hugging Face's `tokenizers` does the work for nearly all text. For the few characters that it
    treats otherwise (`differences`), the text goes through `exact`, which is plain Python.

    Args:
        vocab: the model's vocabulary.
        lower_case: lower-case the text and drop accents; it must be what the model was trained
            with (see `infer_casing`). Google's flag is `--do_lower_case`.
        special_tokens: keep `WHOLE_TOKENS` in a text whole, also between letters
            (`CC[MASK]O`). Off, they are brackets and letters like any other, so that data
            cannot forge the structure of the input.

    Example:
        >>> lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able"]
        >>> tokenizer = BertTokenizer(Vocabulary.from_lines(lines), lower_case=True)
        >>> tokenizer.encode("Unaffable")
        Encoding(ids=[5, 6, 7], tokens=['un', '##aff', '##able'], offsets=[(0, 2), (2, 5), (5, 9)])
    """

    def __init__(self, vocab: Vocabulary, lower_case: bool, special_tokens: bool = False) -> None:
        self.vocab = vocab
        self.lower_case = lower_case
        self.special_tokens = special_tokens
        self._rust = _build(vocab, lower_case, special_tokens)

    def __repr__(self) -> str:
        return (
            f"BertTokenizer({self.vocab!r}, lower_case={self.lower_case}, "
            f"special_tokens={self.special_tokens})"
        )

    def tokenize(self, text: str | bytes) -> list[str]:
        """The pieces of a text.

        Args:
            text: any string, or UTF-8 bytes, whose invalid parts are dropped.

        Raises:
            BertError: `text` is neither.
        """
        return self.encode(text).tokens

    def words(self, text: str | bytes) -> list[str]:
        """The words of a text before they are split into pieces (Google's `BasicTokenizer`)."""
        words: list[str] = []
        for _, part, whole in self._parts(as_text(text)):
            words += [part] if whole else [w.text for w in split_words(part, self.lower_case)]
        return words

    def encode(self, text: str | bytes) -> Encoding:
        """Ids, pieces and offsets of a text; arguments and errors as in `tokenize`."""
        text = as_text(text)
        if differences.occur(text, self.lower_case):
            return self.encode_exactly(text)
        found = self._rust.encode(text, add_special_tokens=False)
        return self._finish(text, found.ids, found.tokens, found.offsets)

    def encode_batch(self, texts: Iterable[str | bytes]) -> list[Encoding]:
        """`encode` for many texts at once, on all processor cores."""
        results: list[Encoding] = []
        for part in _portions(texts):
            plain, exact = self._apart(part)
            found = self._rust.encode_batch(plain, add_special_tokens=False)
            start = len(results)
            results += [
                self._finish(text, one.ids, one.tokens, one.offsets)
                for text, one in zip(plain, found)
            ]
            for index in exact:
                results[start + index] = self.encode_exactly(part[index])
        return results

    def encode_ids_batch(self, texts: Iterable[str | bytes]) -> list[list[int]]:
        """Only the ids of many texts: less than half the time of `encode_batch`."""
        results: list[list[int]] = []
        for part in _portions(texts):
            plain, exact = self._apart(part)
            found = self._rust.encode_batch_fast(plain, add_special_tokens=False)
            start = len(results)
            results += [one.ids for one in found]
            for index in exact:
                results[start + index] = self.encode_exactly(part[index]).ids
        return results

    def encode_exactly(self, text: str | bytes) -> Encoding:
        """`encode` in plain Python, right for every text; `encode` uses it where Rust is not.

        It is public as a second witness: both give the same for every text.
        """
        text = as_text(text)
        ids = self.vocab.ids
        tokens: list[str] = []
        offsets: list[tuple[int, int]] = []
        for place, part, whole in self._parts(text):
            if whole:
                tokens.append(part)
                offsets.append((place, place + len(part)))
                continue
            for word, sources in split_words(part, self.lower_case):
                for piece, start, end in split_pieces(word, ids, self.vocab.longest):
                    tokens.append(piece)
                    offsets.append((place + sources[start], place + sources[end - 1] + 1))
        return self._finish(text, [ids[token] for token in tokens], tokens, offsets)

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Joins pieces to a line of text, for display: what spaces stood there is guessed.

        Args:
            ids: ids of pieces; those past the vocabulary show as `[unused]`.
            skip_special: leave out [PAD], [CLS], [SEP], [MASK] and [UNK].

        Raises:
            BertError: an id is negative.
        """
        special = self.vocab.special_ids if skip_special else frozenset()
        pieces = [self.vocab.token(int(id)) for id in ids if id not in special]
        return join_pieces(pieces, compose=self.lower_case)

    def _apart(self, texts: list[str]) -> tuple[list[str], list[int]]:
        """The texts, an empty one in place of each that Rust is not for, and where those stood."""
        lower_case = self.lower_case
        exact = [i for i, text in enumerate(texts) if differences.occur(text, lower_case)]
        if exact:
            texts = texts.copy()
            for index in exact:
                texts[index] = ""
        return texts, exact

    def _parts(self, text: str) -> Iterator[tuple[int, str, bool]]:
        """(position, part, whether it is a whole special token) of a text."""
        end = 0
        if self.special_tokens:
            for match in _WHOLE.finditer(text):
                yield end, text[end : match.start()], False
                yield match.start(), match.group(), True
                end = match.end()
        yield end, text[end:], False

    def _finish(
        self, text: str, ids: list[int], tokens: list[str], offsets: list[tuple[int, int]]
    ) -> Encoding:
        """Lets pieces end behind the accents that lower-casing dropped after them."""
        if self.lower_case and not text.isascii():
            for index, (start, end) in enumerate(offsets):
                last = end
                while last < len(text) and unicodedata.category(text[last]) == "Mn":
                    last += 1
                # "[UNK]" can only be an unknown word here: no special token is spelled so.
                if last > end and tokens[index] not in WHOLE_TOKENS:
                    offsets[index] = (start, last)
        return Encoding(ids, tokens, offsets)


def as_text(text: str | bytes) -> str:
    """The text itself, or bytes decoded as the original does: invalid UTF-8 is dropped.

    Raises:
        BertError: it is neither text nor bytes.
    """
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        return text.decode("utf-8", "ignore")
    raise BertError(f"a text must be str or bytes, not {type(text).__name__}: {text!r:.60}")


def _portions(texts: Iterable[str | bytes]) -> Iterator[list[str]]:
    if isinstance(texts, str | bytes):
        raise BertError("a batch is a list of texts, not one text; use encode for one.")
    iterator = iter(texts)
    while part := [as_text(text) for text in islice(iterator, _BATCH)]:
        yield part


def _build(vocab: Vocabulary, lower_case: bool, special_tokens: bool) -> Tokenizer:
    """The same rules for Rust; what `differences` finds is not for it."""
    rust = Tokenizer(
        models.WordPiece(
            vocab=vocab.ids,
            unk_token=UNK,
            max_input_chars_per_word=MAX_WORD_LENGTH,
            continuing_subword_prefix="##",
        )
    )
    # strip_accents stands on its own there: left out, it would follow `lowercase`.
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=lower_case,
        lowercase=lower_case,
    )
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special_tokens:
        rust.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in WHOLE_TOKENS]
        )
    return rust
