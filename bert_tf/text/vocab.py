"""`Vocabulary`: the tokens of one model, read from `vocab.txt` by the rules of Google's code."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from bert_tf.errors import BertError
from bert_tf.files.log import Warned
from bert_tf.files.reading import LFS, LFS_POINTER, parse_json, read_bounded
from bert_tf.files.whole import write_whole

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)

MAX_WORD_LENGTH = 200
"""Code points above which a word becomes [UNK] (tokenization.py, `max_input_chars_per_word`;
Hugging Face and the paper's first release say 100)."""

NO_PIECE = "[unused]"
"""Shown for an id past the last line: embedding tables are often padded to a round number."""


class Vocabulary(Warned):
    """The tokens of a model and their ids; an id is the number of a line, from 0.

    Positions are never assumed: [UNK], [CLS], [SEP] and [MASK] are lines 100 to 103 of Google's
    English files, others in others.

    Attributes:
        raw: the bytes of the file, so that saving gives the same file.
        source: where it was read from, for messages.
        pieces: the token of each line; several lines can have the same.
        ids: token to id, that of its last line.
        pad_id, unk_id, cls_id, sep_id, mask_id: ids of the special tokens.

    Example:
        >>> vocab = Vocabulary.from_lines(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat"])
        >>> vocab.id("cat"), vocab.token(2), len(vocab)
        (5, '[CLS]', 6)
    """

    def __init__(self, raw: bytes, source: str = "the vocabulary") -> None:
        self.raw, self.source = raw, source
        self.pieces: tuple[str, ...] = tuple(_read_lines(raw, source))
        self.ids: dict[str, int] = {piece: index for index, piece in enumerate(self.pieces)}
        if missing := [token for token in SPECIAL_TOKENS if token not in self.ids]:
            hint = "is this the vocab.txt of a BERT model?"
            if raw.startswith(b"\xef\xbb\xbf"):
                hint = "it starts with a byte order mark: save it as UTF-8 without one."
            raise BertError(f"{source} has no line {', '.join(missing)}; {hint}")
        special = [self.ids[token] for token in SPECIAL_TOKENS]
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = special

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Reads a `vocab.txt`.

        Raises:
            BertError: the file is missing, empty, a Git-LFS pointer, JSON, not UTF-8, or lacks
                a special token.
        """
        name = os.fspath(path)
        return cls(read_bounded(path, f"the vocabulary {name} (vocab.txt of the release)"), name)

    @classmethod
    def from_bytes(cls, raw: bytes, source: str = "the vocabulary") -> Vocabulary:
        """Takes the content of a `vocab.txt`; raises as `load` does."""
        return cls(raw, source)

    @classmethod
    def from_lines(cls, lines: Iterable[str], source: str = "the vocabulary") -> Vocabulary:
        """Builds a vocabulary of tokens in the order of their ids.

        Raises:
            BertError: a token holds a line feed or a lone surrogate, or a special token is missing.
        """
        for index, line in enumerate(lines := list(lines)):
            if "\n" in line:
                raise BertError(f"token {index} of {source} holds a line feed: {line!r}.")
        try:
            raw = "".join(line + "\n" for line in lines).encode("utf-8")
        except UnicodeEncodeError as error:
            message = f"{source} holds a lone surrogate, which UTF-8 cannot write."
            raise BertError(message) from error
        return cls(raw, source)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file as it was read, byte for byte; a BertError if it cannot be written."""
        write_whole(path, self.raw)

    def __len__(self) -> int:
        """Number of ids, which is the number of lines; tokens can be fewer."""
        return len(self.pieces)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens from {self.source})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __reduce__(self) -> tuple[Any, ...]:
        return Vocabulary, (self.raw, self.source)

    def id(self, token: str) -> int:
        """The id of a token; a BertError if it is none, unlike `ids.get(token, unk_id)`."""
        try:
            return self.ids[token]
        except KeyError:
            raise BertError(f"{token!r} is no token of {self.source}.") from None

    def token(self, id: int) -> str:
        """The token on line `id`; past the last line `NO_PIECE`, below 0 a BertError."""
        if id < 0:
            raise BertError(f"{id} is no id of a token; ids start at 0.")
        return self.pieces[id] if id < len(self.pieces) else NO_PIECE

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of the five special tokens."""
        return frozenset(self.ids[token] for token in SPECIAL_TOKENS)

    @functools.cached_property
    def longest(self) -> int:
        """Code points of the longest token, its `##` counted."""
        return max(map(len, self.pieces))

    @functools.cached_property
    def continuation(self) -> np.ndarray:
        """Which tokens continue a word: bool, shape (len(self),), read-only."""
        return _frozen([piece.startswith("##") for piece in self.pieces])

    @functools.cached_property
    def offerable(self) -> np.ndarray:
        """Which tokens can be an answer for a [MASK]: bool, shape (len(self),), read-only.

        Left out are those that no text is ever split into, so that the model never learned them:
        special tokens and `[unused...]`, blank lines, a line that a later equal one overrides, and
        what the split at punctuation and ideographs makes impossible (`<S>`, `##!`, `##中`).
        """
        from bert_tf.text.exact import can_occur

        return _frozen(
            self.ids[piece] == index and can_occur(piece) for index, piece in enumerate(self.pieces)
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what is unusual but allowed, for a loading report."""
        found = []
        if self.pad_id != 0:
            found.append(
                f"[PAD] has id {self.pad_id} in {self.source}, but inputs are padded with 0, as "
                f"Google's code does: the token {self.pieces[0]!r} with id 0 reads as padding."
            )
        if blank := self.pieces.count(""):
            found.append(f"{self.source} has {blank} blank line(s), each of which takes an id.")
        if twice := len(self.pieces) - len(self.ids) - max(blank - 1, 0):
            found.append(f"{self.source} lists {twice} token(s) again; the last id is used.")
        return tuple(found)


def _read_lines(raw: bytes, source: str) -> list[str]:
    """Splits the file like the original reader: only LF ends a line, CR vanishes anywhere."""
    if not raw.strip():
        raise BertError(f"{source} is empty; copy vocab.txt from the model's release again.")
    if raw.startswith(LFS_POINTER):
        raise BertError(f"{source} {LFS}")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BertError(f"{source} is UTF-16; a vocab.txt is UTF-8: convert it.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BertError(
            f"{source} is not UTF-8 (line {line}, byte {error.start}); a vocab.txt is a text file "
            "with one token on each line."
        ) from error
    if _is_json(text):
        raise BertError(f"{source} is JSON; give the vocab.txt, text with one token on each line.")
    lines = text.replace("\r", "").split("\n")
    if not lines[-1]:  # what follows the last line feed is no line
        lines.pop()
    return [line.strip() for line in lines]


def _is_json(text: str) -> bool:
    # "{" and "[" also begin vocabularies, the second one most of them: so the whole file decides.
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        return isinstance(parse_json(text), dict | list)
    except ValueError:
        return False


def _frozen(values: Iterable[bool]) -> np.ndarray:
    array = np.fromiter(values, dtype=bool)
    array.flags.writeable = False
    return array
