"""The sentences of the bulk task, and a vocabulary for random weights that suits them."""

from __future__ import annotations

import itertools
from pathlib import Path

import make_checkpoint

from bert_tf.text import BertTokenizer, Vocabulary

FILE = Path(__file__).resolve().parent / "sentences.txt"
_CHUNK = 4
"""Letters in a piece: gives 1.3 pieces a word or sign over all sentences, about what released
multilingual vocabularies give."""


def read(path: Path = FILE) -> list[str]:
    """The sentences, one a line, each with one [MASK]."""
    return path.read_text(encoding="utf-8").splitlines()


def pieces_of(texts: list[str]) -> list[str]:
    """Pieces that cut the texts into chunks of some letters."""
    vocab = Vocabulary.from_lines(make_checkpoint.SPECIAL)
    tokenizer = BertTokenizer(vocab, lower_case=False, special_tokens=True)
    found: dict[str, None] = {}
    for text in texts:
        for word in tokenizer.words(text):
            chunks = [word[at : at + _CHUNK] for at in range(0, len(word), _CHUNK)]
            found |= {("##" if at else "") + chunk: None for at, chunk in enumerate(chunks)}
    return list(found)


def vocabulary(size: int) -> bytes:
    """A vocab.txt like `make_checkpoint`'s, with pieces for the sentences before the made-up ones.

    Without them a Russian word would fall into letters and a German one become [UNK], and the
    rows be longer or shorter than those of a real model.
    """
    made_up = make_checkpoint.vocabulary(size).decode().splitlines()
    kept = len(make_checkpoint.SPECIAL)
    lines = itertools.chain(made_up[:kept], pieces_of(read()), made_up[kept:])
    return "".join(f"{piece}\n" for piece in itertools.islice(dict.fromkeys(lines), size)).encode()
