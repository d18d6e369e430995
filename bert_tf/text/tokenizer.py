"""`BertTokenizer`: Google's word pieces, through Rust where that is exact, with source offsets."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from bert_tf.errors import BertError
from bert_tf.text.vocab import CLS, MASK, MAX_WORD_LENGTH, SEP, UNK, Vocabulary

WHOLE_TOKENS = (MASK, SEP, CLS)
"""What stays whole with `special_tokens=True`: not [PAD], which attention would not see, nor [UNK],
which no user has a reason to type."""

_WHOLE = re.compile("|".join(map(re.escape, WHOLE_TOKENS)))

_BATCH = 8192  # texts at a time, which bounds memory


class Encoding(NamedTuple):
    """The tokens of one text, without [CLS] and [SEP]; the three lists are equally long.

    Attributes:
        ids: id of each token.
        tokens: the tokens.
        offsets: (start, end) of each token's source in the text, in code points: it was made from
            `text[start:end]`. A lower-casing model's dropped accents belong to the token they
            follow. Several tokens can have one source character (the jamo of a Hangul syllable).
            For bytes, positions are in the decoded text.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]


class BertTokenizer:
    """Splits text into word pieces exactly as tokenization.py of google-research/bert does.

    Hugging Face's `tokenizers` does nearly all text. Text with the few characters that it treats
    otherwise (`differences`) goes through `exact`, which is plain Python.

    Args:
        vocab: the model's vocabulary.
        lower_case: lower-case the text and drop accents, as the model was trained (see
            `infer_casing`). Google's flag is `--do_lower_case`.
        special_tokens: keep `WHOLE_TOKENS` whole, also between letters (`CC[MASK]O`). Off, they
            are brackets and letters like any other, so that data cannot forge structure.

    Example:
        >>> lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able"]
        >>> tokenizer = BertTokenizer(Vocabulary.from_lines(lines), lower_case=True)
        >>> tokenizer.encode("Unaffable")
        Encoding(ids=[5, 6, 7], tokens=['un', '##aff', '##able'], offsets=[(0, 2), (2, 5), (5, 9)])
    """

    def __init__(self, vocab: Vocabulary, lower_case: bool, special_tokens: bool = False) -> None:
        self.vocab, self.lower_case, self.special_tokens = vocab, lower_case, special_tokens
        self._rust = _build(vocab, lower_case, special_tokens)

    def __repr__(self) -> str:
        options = f"lower_case={self.lower_case}, special_tokens={self.special_tokens}"
        return f"BertTokenizer({self.vocab!r}, {options})"

    def tokenize(self, text: str | bytes) -> list[str]:
        """The tokens of a string, or of UTF-8 bytes without invalid ones; else a BertError."""
        return self.encode(text).tokens

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token; raises `BertError` for one that the vocabulary lacks."""
        found = [(token, self.vocab.ids.get(token)) for token in tokens]
        if lacking := [token for token, id in found if id is None]:
            raise BertError(f"the vocabulary has no token {lacking[0]!r}.")
        return [id for _, id in found if id is not None]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The token of each id; `[unused]` past the vocabulary, `BertError` for a negative id."""
        return [self.vocab.token(int(id)) for id in ids]

    def words(self, text: str | bytes) -> list[str]:
        """The words of a text before they are split into tokens (Google's `BasicTokenizer`)."""
        from bert_tf.text.exact import split_words

        words: list[str] = []
        for _, part, whole in self._parts(as_text(text)):
            words += [part] if whole else [w.text for w in split_words(part, self.lower_case)]
        return words

    def encode(self, text: str | bytes) -> Encoding:
        """Ids, tokens and offsets of a text, a string or bytes as in `tokenize`."""
        text = as_text(text)
        if not text.isascii() and _differ()(text, self.lower_case):
            return self.encode_exactly(text)
        found = self._rust.encode(text, add_special_tokens=False)
        return self._finish(text, found.ids, found.tokens, found.offsets)

    def encode_batch(self, texts: Iterable[str | bytes]) -> list[Encoding]:
        """`encode` for many texts at once, on all processor cores."""
        return [
            self.encode_exactly(text)
            if found is None
            else self._finish(text, found.ids, found.tokens, found.offsets)
            for text, found in self._by_rust(texts, self._rust.encode_batch)
        ]

    def encode_ids_batch(self, texts: Iterable[str | bytes]) -> list[list[int]]:
        """Only the ids of many texts: less than half the time of `encode_batch`."""
        return [
            self.encode_exactly(text).ids if found is None else found.ids
            for text, found in self._by_rust(texts, self._rust.encode_batch_fast)
        ]

    def encode_exactly(self, text: str | bytes) -> Encoding:
        """`encode` in plain Python, right for every text; `encode` uses it where Rust is not.

        It is public as a second witness: both give the same for every text.
        """
        from bert_tf.text.exact import split_words

        text = as_text(text)
        ids = self.vocab.ids
        tokens: list[str] = []
        offsets: list[tuple[int, int]] = []
        for at, part, whole in self._parts(text):
            if whole:
                tokens.append(part)
                offsets.append((at, at + len(part)))
                continue
            for word, sources in split_words(part, self.lower_case):
                for piece, start, end in split_pieces(word, ids, self.vocab.longest):
                    tokens.append(piece)
                    offsets.append((at + sources[start], at + sources[end - 1] + 1))
        return self._finish(text, [ids[token] for token in tokens], tokens, offsets)

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Joins tokens to a line of text, for display: where spaces were is guessed.

        Ids past the vocabulary show as `[unused]`, negative ones are a BertError; `skip_special`
        leaves out [PAD], [CLS], [SEP], [MASK] and [UNK].
        """
        from bert_tf.text.decode import join_pieces

        special = self.vocab.special_ids if skip_special else frozenset()
        pieces = self.convert_ids_to_tokens(id for id in ids if id not in special)
        return join_pieces(pieces, compose=self.lower_case)

    def _by_rust(
        self, texts: Iterable[str | bytes], encode: Callable[..., list[Any]]
    ) -> Iterator[tuple[str, Any]]:
        """Each text, and what Rust makes of it: None for a text that Rust is not for."""
        if isinstance(texts, str | bytes):
            raise BertError("a batch is a list of texts, not one text; use encode for one.")
        iterator = iter(texts)
        while part := [as_text(text) for text in islice(iterator, _BATCH)]:
            exact = [not text.isascii() and _differ()(text, self.lower_case) for text in part]
            plain = ["" if other else text for text, other in zip(part, exact)]
            found = encode(plain, add_special_tokens=False)
            yield from ((t, None if e else f) for t, e, f in zip(part, exact, found))

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
        """Lets tokens end after the accents that lower-casing dropped."""
        if self.lower_case and not text.isascii():
            from bert_tf.text.exact import is_accent

            for index, (start, end) in enumerate(offsets):
                last = end
                while last < len(text) and is_accent(text[last]):
                    last += 1
                # "[UNK]" can only be an unknown word here: no special token is spelled so.
                if last > end and tokens[index] not in WHOLE_TOKENS:
                    offsets[index] = (start, last)
        return Encoding(ids, tokens, offsets)


def as_text(text: str | bytes) -> str:
    """The text, or bytes decoded as the original does, without invalid UTF-8; else a BertError."""
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        return text.decode("utf-8", "ignore")
    raise BertError(f"a text must be str or bytes, not {type(text).__name__}: {text!r:.60}")


@functools.cache
def _differ() -> Callable[[str, bool], bool]:
    """`differences.occur`, imported for the first text that is not ASCII."""
    from bert_tf.text.differences import occur

    return occur


def _build(vocab: Vocabulary, lower_case: bool, special_tokens: bool) -> Tokenizer:
    """The same rules for Rust; what `differences` finds is not for it."""
    model = models.WordPiece(vocab.ids, unk_token=UNK, max_input_chars_per_word=MAX_WORD_LENGTH)
    rust = Tokenizer(model)
    # strip_accents is set on its own there: left out, it would follow `lowercase`.
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=lower_case, lowercase=lower_case
    )
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special_tokens:
        added = [AddedToken(token, normalized=False, special=True) for token in WHOLE_TOKENS]
        rust.add_special_tokens(added)
    return rust


def split_pieces(word: str, ids: Mapping[str, int], longest: int) -> list[tuple[str, int, int]]:
    """Splits one word into tokens, the longest that fits first.

    Args:
        word: a word as `split_words` gives it.
        ids: the tokens of the vocabulary; those inside a word start with `##`.
        longest: code points of the longest token, which bounds the search.

    Returns:
        (token, start, end) with positions in `word`; [UNK] over the whole word if it is longer
        than `MAX_WORD_LENGTH` or if some part of it matches no token.
    """
    unknown = [("[UNK]", 0, len(word))]
    if len(word) > MAX_WORD_LENGTH:
        return unknown
    pieces = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(min(len(word), start + longest), start, -1):
            piece = prefix + word[start:end]
            if piece in ids:
                pieces.append((piece, start, end))
                start = end
                break
        else:
            return unknown
    return pieces
