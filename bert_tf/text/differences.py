"""The characters that Hugging Face's `tokenizers` treats otherwise than Google's code does."""

from __future__ import annotations

import re

# Found by trying every code point against `exact` (tests/test_text_differences.py, marked slow),
# with tokenizers 0.23, which classifies by Unicode 9, and Python 3.11, which has Unicode 14.
# Hexadecimal code points and ranges. A character too many here costs time, never correctness.

_ALWAYS = """
    61d 890-891 8e2 9fd a76 c77 c84 166d 1b7d-1b7e 2e43-2e4f 2e52-2e5d d800-f8ff 2b820-2b91f
    f0000-ffffd 100000-10fffd
"""
"""Private use (dropped there, letters here), surrogates (not representable there), U+2B820-2B91F
(by mistake no ideographs there), and punctuation and format characters younger than its tables."""

_RARE_BLOCKS = "10d00-16fff 1bc00-1cfff 1e000-1efff"
"""Blocks of rare scripts to which nearly every Unicode version adds marks and punctuation: whole,
so that Pythons with newer tables than 3.11's are right about them too."""

_LOWER_CASED = """
    7fd 897 898-89f 8ca-8e1 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba ece 1715 1734 180f
    1885-1886 1abf-1ace 1acf-1aff 1b44 1baa 1bf2-1bf3 1c89 1df6-1dfb 302e-302f a7cb-a7cc a7ce
    a7d2 a7d4 a7da a7dc a82c a8c5 a8ff a953 a9bd a9c0 1d165-1d166 1d16d-1d172
"""
"""In lower-casing models also: nonspacing marks and cased letters that only one of the two
knows, and spacing marks that canonical ordering moves, whose offsets come out differently. U+0897,
U+0ECE and U+1ACF to U+1AFF are for Pythons newer than 3.11."""


def _pattern(ranges: str) -> re.Pattern[str]:
    ends = [[int(end, 16) for end in item.split("-")] for item in ranges.split()]
    members = "".join("-".join(rf"\U{end:08x}" for end in pair) for pair in ends)
    return re.compile(f"[{members}]")


# Two patterns and not one with alternatives: a single class is what `re` scans for fastest.
_IN_CASED = _pattern(_ALWAYS + _RARE_BLOCKS)
_IN_LOWER_CASED = _pattern(_ALWAYS + _RARE_BLOCKS + _LOWER_CASED)

_INNER_SIGMA = re.compile("(?<=[^ \t\n\r\xa0\u3000])\u03a3")
"""Capital sigma after anything but a plain space: at a word's end it becomes \u03c2, there always
\u03c3. At a word's start both agree."""


def occur(text: str, lower_case: bool) -> bool:
    """Whether Rust may split this text otherwise than Google's code does."""
    if text.isascii():
        return False
    if not lower_case:
        return _IN_CASED.search(text) is not None
    if _IN_LOWER_CASED.search(text):
        return True
    return "\u03a3" in text and _INNER_SIGMA.search(text) is not None
