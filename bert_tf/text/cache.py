"""Ids of words seen before: most of a large text is words that came already."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

_MOST = 1 << 21  # characters of words kept, some 300,000 words or 80 MB; then it starts anew
_WORTH = 3  # new words must be fewer characters than a third of the text

# `str.split` splits at these control characters, which the tokenizer drops instead: "a\x0bb" is
# one word. U+2028, U+2029 and category Zs split in both.
_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")


class WordCache:
    """Remembers the ids of what stands between two spaces.

    That is exact: lower-casing, accents, punctuation and word pieces never look past white space.
    Splitting and looking up takes about a fifth of the time that Rust takes on two cores.

    Args:
        encode: gives the ids of each of many texts.
    """

    def __init__(self, encode: Callable[[list[str]], list[list[int]]]) -> None:
        self._encode = encode
        self._known: dict[str, list[int]] = {}
        self._size = 0

    def ids(self, texts: Sequence[str]) -> list[list[int]] | None:
        """The ids of each text; None where most words are new, as in a script without spaces."""
        rows = [_CONTROLS.sub("", text).split() for text in texts]
        known = self._known
        # In the order of their coming, not a set, so that every run does the same.
        new = [word for word in dict.fromkeys(chain.from_iterable(rows)) if word not in known]
        size = sum(map(len, new))
        if size * _WORTH > sum(map(len, texts)):
            return None
        if self._size + size > _MOST:
            # A new dict and not `clear`: another thread may be reading the old one.
            known = self._known = {}
            new = list(dict.fromkeys(chain.from_iterable(rows)))
            self._size, size = 0, sum(map(len, new))
        self._size += size
        known.update(zip(new, self._encode(new)))
        return [list(chain.from_iterable(map(known.__getitem__, row))) for row in rows]
