"""Trains a word-piece vocabulary in the layout of Google's, with the languages balanced."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from bert_tf.data.pretraining.word_counts import WordCounts, count_words
from bert_tf.errors import BertError
from bert_tf.files.log import Warned, warn
from bert_tf.files.whole import Path, writing
from bert_tf.options import COUNT, FRACTION, PORTION
from bert_tf.text import Vocabulary
from bert_tf.text.exact import is_cjk
from bert_tf.text.vocab import CLS, MASK, MAX_WORD_LENGTH, PAD, SEP, UNK

HEAD = (PAD, *(f"[unused{number}]" for number in range(1, 100)), UNK, CLS, SEP, MASK)
"""Ids 0 to 103, the same as in Google's English models."""

_FED_WORDS = 10_000_000
"""Most words that the trainer takes, repetitions counted: seconds, and no word of a large corpus
that could matter is rounded to none."""
_MAX_REPEATS = 20
"""Most times that it takes the corpus, so that a small one takes no time either."""
_EXCESS = 1.15
"""Longer tokens that are trained for each that stays. More gained nothing on six languages."""
_BLOCK = 65536  # words that are split at a time


@dataclass(frozen=True)
class GroupFit:
    """How a vocabulary fits one group (language) of the corpus it was trained on.

    All counts are of the corpus, not of the balanced sample, without words that were forgotten for
    being rare (`WordCounts`), which takes more than four million distinct ones.

    Attributes:
        name: of the group.
        share: fraction of what the tokens were trained on.
        characters: in its words, so without white space.
        words: before the split into tokens; an ideograph or a punctuation mark is one.
        pieces: that the words are split into, an unknown word being one.
        unknown: words that are [UNK].
    """

    name: str
    share: float
    characters: int
    words: int
    pieces: int
    unknown: int


@dataclass(frozen=True)
class TrainedVocabulary(Warned):
    """A vocabulary and how it came about.

    Attributes:
        vocabulary: the tokens.
        characters: how many of them are single characters that begin a word or are one.
        continuations: how many are single characters inside a word (`##c`).
        groups: the fit to each group.
        warnings: sentences on what is unusual.
    """

    vocabulary: Vocabulary
    characters: int
    continuations: int
    groups: tuple[GroupFit, ...]
    warnings: tuple[str, ...] = ()

    @property
    def longer(self) -> int:
        """How many tokens are longer than a character."""
        return len(self.vocabulary) - len(HEAD) - self.characters - self.continuations


def train_vocabulary(
    files: Mapping[str, Sequence[Path]],
    size: int,
    lower_case: bool,
    *,
    smoothing: float = 0.7,
    min_character_count: int | None = None,
    ideograph_coverage: float = 0.998,
    letter_coverage: float = 0.9999,
    progress: bool = False,
) -> TrainedVocabulary:
    """Trains a vocabulary on plain text; the same input gives the same tokens.

    Ids 0 to 103 are `HEAD`; then come the single characters in the order of their code points,
    then those that occur inside words as `##c` (never ideographs, which are words by themselves),
    then longer tokens, the earliest merged first. These are merged from frequent pairs (BPE) in the
    words of `BertTokenizer`, more than asked for; those that the tokenizer, which takes the longest
    token that fits, then uses least are dropped.

    Args:
        files: group, such as a language, to its files or patterns (`*.txt`, `.gz`).
        size: number of tokens.
        lower_case: whether text is lower-cased and stripped of accents, as for `BertTokenizer`.
        smoothing: a group of n characters gets a fraction that goes as n**smoothing: 1 is the true
            one, 0 the same for all. The original's multilingual models were balanced with 0.7.
        min_character_count: characters that occur as often in all files become tokens. If None,
            each group decides by the two coverages, and what one keeps is kept.
        ideograph_coverage: fraction of a group's characters from which ideographs and Hangul
            syllables, scripts of thousands of characters, may be left out to save tokens.
        letter_coverage: the same for all other characters.
        progress: show progress: a bar, or lines in the log off a terminal.

    Raises:
        BertError: an argument makes no sense, a file cannot be read, a group holds no text, or
            `size` has no room for the single characters; the message says how much they need.
    """
    if not files or not all(files.values()):
        raise BertError("no text files given to train a vocabulary on; pass some.")
    if size < len(HEAD):
        raise BertError(f"{size} tokens have no room for the {len(HEAD)} special ones.")
    FRACTION.check("smoothing", smoothing)
    if min_character_count is not None:
        COUNT.check("min_character_count", min_character_count)
    PORTION.check("ideograph_coverage", ideograph_coverage)
    PORTION.check("letter_coverage", letter_coverage)
    groups = count_words(files, lower_case, progress)
    if min_character_count is None:
        kept = set[str]().union(
            *(covering(g.characters, ideograph_coverage, letter_coverage) for g in groups.values())
        )
    else:
        together = sum((counts.characters for counts in groups.values()), Counter[str]())
        kept = {c for c, count in together.items() if count >= min_character_count}
    inner = set[str]().union(*(counts.inner for counts in groups.values())) & kept
    fixed = [*HEAD, *sorted(kept), *("##" + character for character in sorted(inner))]
    if size < len(fixed):
        raise BertError(
            f"a vocabulary of {size:,} tokens has no room: {len(HEAD)} special tokens, "
            f"{len(kept):,} characters and {len(inner):,} of them inside words need {len(fixed):,}"
            ". Raise `size` or `min_character_count`, or lower `ideograph_coverage`."
        )
    shares = smoothed_shares({n: g.characters.total() for n, g in groups.items()}, smoothing)
    words, repeats = balanced_words(groups, shares, kept)
    pieces = _merge(words, repeats, fixed, len(fixed) + round((size - len(fixed)) * _EXCESS))
    pieces = _drop_least_used(pieces, words, repeats, len(fixed), size)
    few = f"the texts give no more than {len(pieces):,} tokens, fewer than the {size:,} asked for"
    warnings = warn(few if len(pieces) < size else None)
    fits = tuple(_fit(name, shares[name], counts, pieces) for name, counts in groups.items())
    vocabulary = Vocabulary.from_lines(pieces, "the trained vocabulary")
    return TrainedVocabulary(vocabulary, len(kept), len(inner), fits, warnings)


def save_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Writes a vocabulary in one step into a folder, made if need be, or raises a BertError."""
    with writing(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    vocabulary.save(path)


def covering(
    characters: Mapping[str, int], ideograph_coverage: float, letter_coverage: float
) -> set[str]:
    """The characters of one group that become tokens, of which `characters` has the occurrences.

    Of ideographs and Hangul syllables the rarest are left out while these are at most
    1 - `ideograph_coverage` of all occurrences of characters; likewise of the others. Equally
    frequent ones are kept or left out together.
    """
    total = sum(characters.values())
    kept: set[str] = set()
    for many, coverage in ((True, ideograph_coverage), (False, letter_coverage)):
        some = {
            c: n for c, n in characters.items() if (is_cjk(c) or "\uac00" <= c <= "\ud7a3") == many
        }
        lost, least = 0, 0
        for count, number in sorted(Counter(some.values()).items()):
            lost += count * number
            if lost > (1 - coverage) * total + 1e-9 * total:
                break
            least = count + 1
        kept.update(character for character, count in some.items() if count >= least)
    return kept


def smoothed_shares(sizes: Mapping[str, int], smoothing: float) -> dict[str, float]:
    """The fraction that each group gets: size**smoothing over the sum of these.

    >>> smoothed_shares({"en": 10_000, "is": 100}, 0.5)
    {'en': 0.9090909090909091, 'is': 0.09090909090909091}
    """
    powers = {name: size**smoothing for name, size in sizes.items()}
    return {name: power / sum(powers.values()) for name, power in powers.items()}


def balanced_words(
    groups: Mapping[str, WordCounts], shares: Mapping[str, float], kept: set[str]
) -> tuple[list[str], np.ndarray]:
    """The words to train on and how often each is repeated.

    Left out are words of one character, which hold no pair, words with a character that is no
    token, and words that are rounded to none.

    Returns:
        The words in the order of their code points, and their repetitions, int64 of that length.
    """
    weighted: dict[str, float] = {}
    occurrences = 0
    for name, counts in groups.items():
        weight = shares[name] / counts.characters.total()
        for word, count in counts.words.items():
            if 1 < len(word) <= MAX_WORD_LENGTH and kept.issuperset(word):
                weighted[word] = weighted.get(word, 0.0) + weight * count
                occurrences += count
    words = sorted(weighted)
    amounts = np.array([weighted[word] for word in words], dtype=np.float64)
    fed = min(_FED_WORDS, _MAX_REPEATS * occurrences)
    repeats = np.rint(amounts * (fed / max(amounts.sum(), 1e-300))).astype(np.int64)
    some = np.flatnonzero(repeats)
    return [words[index] for index in some], repeats[some]


def _merge(words: list[str], repeats: np.ndarray, fixed: list[str], size: int) -> list[str]:
    """`fixed` and the tokens that are merged from them, at most `size` in all."""
    if not words or size == len(fixed):
        return fixed
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Single characters are handed over as special tokens, which get their ids first and in this
    # order. Left to the trainer, the ids of ## tokens, and with them the order of equally frequent
    # pairs, would follow a hash table's order, another one in each run.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=0,
        special_tokens=fixed,
        limit_alphabet=len(fixed),
        show_progress=False,
    )
    texts = (" ".join([word] * count) for word, count in zip(words, repeats.tolist()))
    tokenizer.train_from_iterator(texts, trainer=trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _drop_least_used(
    pieces: list[str], words: list[str], repeats: np.ndarray, fixed: int, size: int
) -> list[str]:
    """The tokens without those beyond `size` that are used least.

    Many a merged token is only a step to a longer one. Dropping one changes how often others are
    used, so it goes in rounds, each of which drops half of the excess. The first `fixed` tokens
    stay in any case.
    """
    while (excess := len(pieces) - size) > 0:
        used = np.zeros(len(pieces))
        for counts, ids, lengths in _split(pieces, words, repeats):
            used += np.bincount(ids, np.repeat(counts, lengths), minlength=len(pieces))
        drop = min(excess, max(excess // 2, size // 100))
        # Of equally used ones the later merged go: a stable sort from the end.
        later_first = np.arange(len(pieces) - 1, fixed - 1, -1)
        least = later_first[np.argsort(used[later_first], kind="stable")[:drop]]
        pieces = np.delete(np.array(pieces, object), least).tolist()
    return pieces


def _split(
    pieces: list[str], words: Sequence[str], counts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of blocks of words: counts, (words,), the tokens of all in order, how many each has."""
    vocab = {piece: index for index, piece in enumerate(pieces)}
    # Neither normalizer nor pre-tokenizer: these are words already.
    model = models.WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=MAX_WORD_LENGTH)
    rust = Tokenizer(model)
    for start in range(0, len(words), _BLOCK):
        found = [one.ids for one in rust.encode_batch_fast(list(words[start : start + _BLOCK]))]
        ids = np.fromiter(itertools.chain.from_iterable(found), dtype=np.int64)
        lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        yield counts[start : start + _BLOCK], ids, lengths


def _fit(name: str, share: float, counts: WordCounts, pieces: list[str]) -> GroupFit:
    words = list(counts.words)
    numbers = np.fromiter(counts.words.values(), dtype=np.int64, count=len(words))
    used = unknown = 0
    for some, ids, lengths in _split(pieces, words, numbers):
        used += int(some @ lengths)
        unknown += int(np.repeat(some, lengths)[ids == pieces.index(UNK)].sum())
    characters = counts.characters.total()
    return GroupFit(name, share, characters, int(numbers.sum()), used, unknown)
