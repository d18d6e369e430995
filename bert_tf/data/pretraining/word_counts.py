"""Counts the words and characters of plain text in bounded memory, as the tokenizer splits it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bert_tf.data.pretraining.documents import Documents
from bert_tf.errors import BertError
from bert_tf.files.finding import find_files
from bert_tf.files.progress import Progress
from bert_tf.text.exact import CJK_RANGES, split_words

_IDEOGRAPHS = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in CJK_RANGES)
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_CHUNK = re.compile(rf"[{_IDEOGRAPHS}]|[^\s{_IDEOGRAPHS}]+")
_DROPPED_SPACE = re.compile("[\x0b\x0c\x1c-\x1f\x85]+")
"""White space to Python, but control characters to the clean-up, which drops them."""

MAX_CHUNKS, MAX_WORDS = 2_000_000, 4_000_000
"""Distinct strings held at once: some hundreds of megabytes."""


class WordCounts:
    """How often each word and each character occurs in the texts of one group.

    Words are exactly those of `bert_tf.text.exact.split_words`. Texts are first split only at white
    space and around ideographs, which is quick; each distinct chunk is cleaned, lower-cased and
    split at punctuation once. If the distinct words become more than `max_words`, the rarest are
    forgotten; characters and totals stay exact.

    Args:
        lower_case: as for `BertTokenizer`.
        max_chunks: distinct chunks that are held before they are split.
        max_words: distinct words that are held.

    Attributes:
        words: occurrences of each word, or fewer, down to none, where words were forgotten.
        characters: occurrences of each character in words.
        inner: the characters that occur in a word after its first one.
        total: number of words, the forgotten ones too.

    Example:
        >>> counts = WordCounts(lower_case=True)
        >>> counts.add(["The cat, the dog."])
        >>> counts.finish().words["the"], counts.total
        (2, 6)
    """

    def __init__(
        self, lower_case: bool, max_chunks: int = MAX_CHUNKS, max_words: int = MAX_WORDS
    ) -> None:
        self.words: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.inner: set[str] = set()
        self.total = 0
        self._lower_case, self._max_chunks, self._max_words = lower_case, max_chunks, max_words
        self._chunks: Counter[str] = Counter()

    def add(self, texts: Iterable[str]) -> None:
        """Counts some texts; what they hold shows in the attributes after `finish`."""
        chunks = self._chunks
        for text in texts:
            if text.isascii() and text.isprintable():
                chunks.update(text.split())
                continue
            text = _DROPPED_SPACE.sub("", text)
            chunks.update(_CHUNK.findall(text) if _IDEOGRAPH.search(text) else text.split())
            if len(chunks) > self._max_chunks:
                self.finish()
        if len(chunks) > self._max_chunks:
            self.finish()

    def finish(self) -> WordCounts:
        """Brings the attributes up to date; more texts may follow. Returns this object."""
        words, characters, inner = self.words, self.characters, self.inner
        for chunk, count in self._chunks.items():
            for word in self._split(chunk):
                words[word] += count
                self.total += count
                for character in word:
                    characters[character] += count
                inner.update(word[1:])
        self._chunks.clear()
        if len(words) > self._max_words:  # forget the rarest until a quarter of the room is free
            floor = 0
            while len(words) > 0.75 * self._max_words:
                floor += 1
                for word in [word for word, count in words.items() if count <= floor]:
                    del words[word]
        return self

    def _split(self, chunk: str) -> list[str]:
        if chunk.isascii() and chunk.isalnum():  # most chunks, for which the rules do nothing else
            return [chunk.lower() if self._lower_case else chunk]
        return [word.text for word in split_words(chunk, self._lower_case)]


def count_words(
    files: Mapping[str, Sequence[str | os.PathLike[str]]], lower_case: bool, progress: bool = False
) -> dict[str, WordCounts]:
    """The counts of each group; `files` maps its name to its files and patterns.

    Raises:
        BertError: a pattern matches nothing, a file cannot be read, or a group holds no text.
    """
    paths = {name: find_files(patterns) for name, patterns in files.items()}
    groups = {}
    with Progress(progress, "counting words") as bar:
        bar.start(sum(os.path.getsize(path) for some in paths.values() for path in some))
        for name, some in paths.items():
            counts = groups[name] = WordCounts(lower_case)
            for document in Documents(some, bar.add):
                counts.add(document)
            if not counts.finish().total:
                names = ", ".join(map(str, some))
                raise BertError(f"{names}: no text to train a vocabulary on; give UTF-8 text.")
    return groups
