"""From tokens back to a line of text that reads well: for display, as the split loses spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from bert_tf.text.exact import is_cjk, is_punctuation

_OPENING = frozenset("([{«“‘„‚¿¡#$@（［｛「『【〈《〔")
_INSIDE_WORDS = frozenset("'’-‐‑/_·・")
"""Close up on both sides between two words: they are inside one more often than between two."""
_APOSTROPHES = frozenset("'’")
_INSIDE_NUMBERS = frozenset(".,:")
_SPACED = frozenset("–—―+=*|<>^`~&•")
"""Punctuation with a space on both sides; all other closes up with what is before it."""


def join_pieces(pieces: Iterable[str], compose: bool = False) -> str:
    """Joins pieces: `##` continues the word, punctuation closes up, CJK has no spaces.

    Where spaces were can only be guessed: `3.5` and `don't` come back right, a dash between two
    words reads as a hyphen. `compose` puts base letters and marks together (NFC), so that the jamo
    of an uncased model read as Hangul.
    """
    words: list[str] = []
    for piece in pieces:
        if piece.startswith("##") and len(piece) > 2 and words:
            words[-1] += piece[2:]
        elif piece:
            words.append(piece)
    text: list[str] = []
    quoted = opened = False  # opened: the last word was a quotation mark that opens
    padded = ["", "", *words, ""]
    for before_previous, previous, word, following in zip(padded, padded[1:], words, padded[3:]):
        if word == '"':
            space = not quoted and previous not in _OPENING
            quoted = opened = not quoted
        else:
            space = not opened and _space(before_previous, previous, word, following)
            opened = False
        text.append(" " + word if space and text else word)
    line = "".join(text)
    return unicodedata.normalize("NFC", line) if compose else line


def _space(before_previous: str, previous: str, word: str, following: str) -> bool:
    """Whether a space stands between two neighbouring words."""
    if not previous or previous in _OPENING:
        return False
    if word in _INSIDE_NUMBERS or (_is_wide(previous[-1]) and _is_wide(word[0])):
        return False
    if previous in _INSIDE_NUMBERS and before_previous[-1:].isdigit() and word[0].isdigit():
        return False
    if word in _INSIDE_WORDS and _is_word(previous):
        return not _is_word(following) and word not in _APOSTROPHES
    if previous in _INSIDE_WORDS and _is_word(word):
        return not _is_word(before_previous)
    return word in _SPACED or word in _OPENING or _is_word(word)


def _is_word(word: str) -> bool:
    return bool(word) and not (len(word) == 1 and is_punctuation(word))


def _is_wide(char: str) -> bool:
    """Scripts written without spaces: ideographs, kana, and their punctuation."""
    return is_cjk(char) or "\u3001" <= char <= "\u30ff" or "\uff01" <= char <= "\uff9f"
