"""Google's tokenization rules in plain Python, character by character, with source positions."""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from bert_tf._moved import moved_names

if not TYPE_CHECKING:
    __getattr__ = moved_names(__name__)

CJK_RANGES = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""What counts as a Chinese character (tokenization.py): ideographs only, no kana and no Hangul."""


class Word(NamedTuple):
    """One word before word pieces, with the source of each of its characters.

    Attributes:
        text: the word as it is looked up: lower-cased and stripped of accents where asked.
        sources: index in the original text of each character of `text`. One can be the source of
            several (a Hangul syllable of its jamo).
    """

    text: str
    sources: list[int]


@functools.lru_cache(maxsize=65536)
def is_dropped(char: str) -> bool:
    """True for what the clean-up removes: U+0000, U+FFFD, and the categories Cc and Cf."""
    if char in "\t\n\r":
        return False
    return char in "\x00\ufffd" or unicodedata.category(char) in ("Cc", "Cf")


@functools.lru_cache(maxsize=65536)
def is_space(char: str) -> bool:
    """True for what the clean-up turns into a space, or what Python's `str.split` splits at.

    The latter adds U+2028 and U+2029, which have categories of their own.
    """
    return char in " \t\n\r" or unicodedata.category(char) == "Zs" or char.isspace()


@functools.lru_cache(maxsize=65536)
def is_cjk(char: str) -> bool:
    """True for a character that is a word by itself because it is an ideograph."""
    return any(first <= ord(char) <= last for first, last in CJK_RANGES)


@functools.lru_cache(maxsize=65536)
def is_punctuation(char: str) -> bool:
    """True for Unicode punctuation and for every ASCII symbol, `$`, `+` and `^` among them."""
    if char.isascii():
        return "!" <= char <= "~" and not char.isalnum()
    return unicodedata.category(char).startswith("P")


@functools.lru_cache(maxsize=65536)
def is_accent(char: str) -> bool:
    """True for a nonspacing mark (Mn), which lower-casing models drop."""
    return unicodedata.category(char) == "Mn"


def _chunks(text: str) -> list[Word]:
    """Cleans the text and splits it at white space and around ideographs."""
    chunks: list[Word] = []
    sources: list[int] = []

    def finish() -> None:
        if sources:
            chunks.append(Word("".join([text[i] for i in sources]), sources.copy()))
            sources.clear()

    for index, char in enumerate(text):
        if is_dropped(char):
            continue
        if is_space(char):
            finish()
        elif is_cjk(char):
            finish()
            chunks.append(Word(char, [index]))
        else:
            sources.append(index)
    finish()
    return chunks


def _lower_and_strip(chunk: Word) -> Word:
    """Lower-cases, decomposes (NFD) and drops the accents of one chunk.

    The whole chunk is lower-cased at once, as a capital sigma becomes ς at a word's end and σ
    elsewhere. Nothing is composed again: Hangul stays jamo and й becomes и.
    """
    sources = [
        source for char, source in zip(chunk.text, chunk.sources) for _ in range(len(char.lower()))
    ]
    text: list[str] = []
    kept: list[int] = []
    run: list[tuple[int, str, int]] = []  # marks that canonical ordering sorts by their class

    def finish() -> None:
        marks = [mark for mark in run if not is_accent(mark[1])]
        text.extend(char for _, char, _ in sorted(marks, key=lambda mark: mark[0]))
        # Not in that order: positions never step back where two marks change places.
        kept.extend(source for _, _, source in marks)
        run.clear()

    for lower, source in zip(chunk.text.lower(), sources):
        for char in unicodedata.normalize("NFD", lower):
            if rank := unicodedata.combining(char):
                run.append((rank, char, source))
                continue
            finish()
            if not is_accent(char):
                text.append(char)
                kept.append(source)
    finish()
    return Word("".join(text), kept)


def split_words(text: str, lower_case: bool) -> list[Word]:
    """Splits a text into the words that word pieces are then looked up in.

    The text is any string, lone surrogates included; `lower_case` says that the vocabulary is
    lower-cased and without accents. Punctuation and ideographs are words of one character.
    """
    words: list[Word] = []
    for chunk in _chunks(text):
        if lower_case and not (chunk.text.isascii() and chunk.text.islower()):
            chunk = _lower_and_strip(chunk)
        start = 0
        for index, char in enumerate(chunk.text):
            alone = is_punctuation(char)
            if alone or char.isspace():
                if start < index:
                    words.append(Word(chunk.text[start:index], chunk.sources[start:index]))
                if alone:
                    words.append(Word(char, [chunk.sources[index]]))
                start = index + 1
        if start < len(chunk.text):
            words.append(Word(chunk.text[start:], chunk.sources[start:]))
    return words


def can_occur(piece: str) -> bool:
    """Whether some text is split into this token, were it in the vocabulary."""
    # A continuation comes after at least one letter, so it is tried after one.
    word = "a" + piece[2:] if piece.startswith("##") else piece
    plain = word.isascii() and word.isalnum()
    return piece != "##" and (plain or [one.text for one in split_words(word, False)] == [word])
