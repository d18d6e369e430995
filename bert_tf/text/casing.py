"""Whether a model's text is lower-cased: an argument, the release's name, or its vocabulary."""

from __future__ import annotations

import re
import unicodedata
from logging import INFO, WARNING

from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER
from bert_tf.text.vocab import Vocabulary

# The order matters: "uncased" contains "cased", and a name like bert-base-multilingual-cased says
# more than "multilingual". Google's multilingual_L-12 and chinese_L-12 are lower-cased models
# although their names do not say so (README and tokenization.py of google-research/bert).
_NAMES = tuple(
    (re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE), lower_case)
    for words, lower_case in (("uncased", True), ("cased", False), ("multilingual|chinese", True))
)

_CASED_FRACTION = 0.005
"""Fraction of tokens with capitals or accents above which a vocabulary is cased. Google's uncased
English file has none, its cased one 37 %; half a percent leaves room for a few odd lines."""

_FEW_PIECES = 100
"""Below this many tokens of letters a vocabulary without capitals proves nothing."""


def infer_casing(
    name: str | None, vocab: Vocabulary, lower_case: bool | None = None
) -> tuple[bool, str | None]:
    """Decides whether text is lower-cased and stripped of accents for this model.

    No file of the original format says so. An argument decides; else the name of the release
    folder (`uncased`, `cased`, `multilingual`, `chinese`); else the vocabulary.

    Args:
        name: of the folder or archive that the checkpoint came in, or its path; None if unknown.
        vocab: the model's vocabulary.
        lower_case: what the user asked for; None to infer it.

    Returns:
        (lower_case, message). The message, which is logged too, says what was inferred and from
        what, or what contradicts it; None where nothing needs saying.

    Raises:
        BertError: the argument contradicts both the name and the vocabulary.
    """
    # The last part of a path that mentions casing decides.
    parts = reversed(re.split(r"[/\\]+", name or ""))
    named = next((low for part in parts for pattern, low in _NAMES if pattern.search(part)), None)
    if named is not None and named == lower_case:
        return named, None
    fraction, letters = _cased_fraction(vocab)
    held = fraction < _CASED_FRACTION if fraction or letters >= _FEW_PIECES else None
    holds = f"{fraction:.1%} of the tokens in {vocab.source} have capitals or accents"
    found, level, why = bool(lower_case), WARNING, ""
    if lower_case is None and named is not None:
        doubt = "" if held in (None, named) else f"; but {holds}, check it"
        found, level, why = named, WARNING if doubt else INFO, f", from the name {name}{doubt}."
    elif lower_case is None and held is not None:
        found, level, why = held, INFO, f", from the vocabulary: {holds}."
        why += f" Pass `lower_case={not held}` if that is wrong."
    elif lower_case is None:
        found, why = True, f" is a guess: neither a name nor {vocab.source} shows it."
        why += " Pass `lower_case=False` for a cased model."
    elif named is not None and named != lower_case:
        if held in (None, named):
            kind = "a lower-cased (uncased)" if named else "a cased"
            raise BertError(
                f"lower_case={lower_case} was asked for, but by its name {name} is {kind} model, "
                f"which its vocabulary does not contradict. Pass `lower_case={named}`, or leave it "
                f"out to have it inferred."
            )
        why = f" as asked for, although the name {name} says otherwise; {holds}."
    elif named is None and held not in (None, lower_case):
        lost = "will not be found as they are" if lower_case else "become [UNK]"
        why = f" as asked for, but {holds}: words with capitals {lost}."
    message = f"lower_case={found}{why}" if why else None
    if message:
        LOGGER.log(level, message)
    return found, message


def _by_name(name: str | None) -> bool | None:
    """What the last part of a path that mentions casing says; None if none does."""
    parts = reversed(re.split(r"[/\\]+", name or ""))
    return next((low for part in parts for pattern, low in _NAMES if pattern.search(part)), None)


def _cased_fraction(vocab: Vocabulary) -> tuple[float, int]:
    """Fraction of the tokens of letters that lower-casing would change, and how many they are."""
    letters = [
        piece
        for piece in vocab.ids
        if (piece.isalpha() or any(map(str.isalpha, piece))) and not piece.startswith(("[", "<"))
    ]
    return sum(map(_is_changed, letters)) / max(len(letters), 1), len(letters)


def _is_changed(piece: str) -> bool:
    if piece.isascii():
        return piece != piece.lower()
    # Hangul decomposes too but carries no accent, so marks are looked for, not a difference.
    marks = map(unicodedata.category, unicodedata.normalize("NFD", piece))
    return piece != piece.lower() or "Mn" in marks
