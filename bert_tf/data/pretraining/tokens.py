"""A corpus as token ids on disk, mapped into memory: `TokenCorpus`, and how one is made."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from tokenize import TokenError
from typing import Any, Self

import numpy as np

from bert_tf.data.pretraining import corpus_files
from bert_tf.data.pretraining.corpus_files import ARRAYS, SUMS
from bert_tf.data.pretraining.documents import Documents, documents_warning
from bert_tf.errors import BertError
from bert_tf.files.finding import find_files
from bert_tf.files.log import warn
from bert_tf.files.progress import Progress
from bert_tf.files.reading import read_object
from bert_tf.files.whole import scratch_folder, write_json, writing
from bert_tf.text import BertTokenizer, Vocabulary

FORMAT = 1
_BATCH = 16384  # sentences that are tokenized at once
_UNREADABLE = (OSError, ValueError, ArithmeticError, SyntaxError, TokenError, MemoryError)
"""What numpy raises on files that are no arrays, whose head it reads as Python."""


class TokenCorpus:
    """Texts as token ids, in documents of sentences; documents are parts of sources.

    The numbers of one document, and of one group, lie next to each other. So two neighbouring
    sentences are one range of `tokens`. Everything is mapped, not read: opening takes no time.

    Attributes:
        folder: where it is stored.
        tokens: ids of all tokens, uint16 or int32, shape (tokens,).
        sentences: where each sentence starts in `tokens`, and the end; int64, (sentences + 1,).
        documents: where each document starts in `sentences`, and the end; int64, (documents + 1,).
        sources: number of what each document is a part of, such as a book; int32, (documents,).
        groups: number of the group, such as a language, of each document; int32, (documents,).
        group_names: names of the groups.
        vocab_size: number of ids.
        vocab_sha256: of the bytes of `vocab.txt`, in hexadecimal.
        lower_case: how the text was tokenized.
        info: all of `corpus.json`, with `counts` of each group, checksums of the files (`crc32c`)
            and, as `remarks`, warnings.

    Example:
        >>> corpus = TokenCorpus.open("corpus")
        >>> first = corpus.tokens[slice(*corpus.sentences[:2])]  # ids of the first sentence
    """

    def __init__(
        self,
        folder: pathlib.Path,
        info: dict[str, Any],
        tokens: np.ndarray,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self.folder, self.info, self.tokens = folder, info, tokens
        self.sentences, self.documents = arrays["sentences"], arrays["documents"]
        self.sources, self.groups = arrays["sources"], arrays["groups"]
        self.group_names: tuple[str, ...] = tuple(info["groups"])
        self.vocab_size: int = info["vocab_size"]
        self.vocab_sha256: str = info["vocab_sha256"]
        self.lower_case: bool = info["lower_case"]

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, verify: bool = True) -> Self:
        """Maps the files of a corpus that `tokenize_corpus` wrote.

        Args:
            folder: where it is.
            verify: read all files once to compare their checksums, at 10 GB a second on one core;
                where the corpus has none, as those of version 0.1.0, to check that each number is
                in range.

        Raises:
            BertError: the folder holds no complete corpus, one of another format, or files that
                are damaged or do not fit together.
        """
        folder = pathlib.Path(folder)
        if not (folder / "corpus.json").exists():
            raise BertError(
                f"{folder} holds no tokenized corpus: it has no corpus.json. Make one from text "
                "with tokenize_corpus (bert_tf tokenize)."
            )
        info = read_object(folder / "corpus.json")
        if info.get("format") != FORMAT:
            raise BertError(f"{folder} is of another format than {FORMAT}: tokenize the text again")
        wrong = corpus_files.odd_fields(info)
        try:
            if verify and SUMS in info:
                wrong = wrong or corpus_files.changed(folder, info)
            if not wrong:
                arrays = {
                    # A plain array on the map: numpy's memmap class makes each small slice slow.
                    name: np.asarray(np.lib.format.open_memmap(folder / f"{name}.npy", mode="r"))
                    for name in ARRAYS
                }
                kind = _piece_type(info["vocab_size"])
                tokens = np.asarray(np.memmap(folder / "tokens.bin", kind, mode="r"))
                wrong = corpus_files.misfit(tokens, arrays)
            if not wrong and verify and SUMS not in info:
                wrong = corpus_files.out_of_range(info, tokens, arrays)
        except _UNREADABLE as error:
            wrong = str(error)
        if wrong:
            raise BertError(
                f"the corpus in {folder} is damaged: {wrong}. Copy it or tokenize the text again."
            )
        return cls(folder, info, tokens, arrays)

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.groups)

    def __repr__(self) -> str:
        groups = ", ".join(self.group_names)
        return f"TokenCorpus({len(self):,} documents, {len(self.tokens):,} tokens in {groups})"

    def document_pieces(self) -> np.ndarray:
        """Number of tokens of each document, int64, (documents,)."""
        return np.diff(self.sentences[self.documents])

    def check_vocabulary(self, vocab: Vocabulary) -> None:
        """Raises a `BertError` if the text was tokenized with another vocabulary."""
        if vocabulary_sha256(vocab) != self.vocab_sha256:
            raise BertError(
                f"the corpus in {self.folder} was tokenized with another vocabulary than "
                f"{vocab.source} ({self.vocab_size} tokens there, {len(vocab)} here); give that "
                "vocabulary, or tokenize the text again"
            )


def checked_documents(name: str, chosen: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` documents are chosen, as an array; a `BertError` if it is none of bool."""
    chosen = np.asarray(chosen)
    if chosen.dtype != bool or chosen.shape != (count,):
        raise BertError(
            f"{name} must be {count} booleans, one for each document, not {chosen.dtype} of shape "
            f"{chosen.shape}."
        )
    return chosen


def vocabulary_sha256(vocab: Vocabulary) -> str:
    """The hash by which a corpus knows its vocabulary."""
    return hashlib.sha256(vocab.raw).hexdigest()


def tokenize_corpus(
    files: Mapping[str, Sequence[str | os.PathLike[str]]],
    tokenizer: BertTokenizer,
    folder: str | os.PathLike[str],
    *,
    sources: Mapping[str, Sequence[str]] | None = None,
    progress: bool = True,
) -> TokenCorpus:
    """Writes texts as token ids, on all cores, with memory that does not grow with the texts.

    Sentences without any token are left out, and documents without any sentence.

    Args:
        files: name of a group, such as a language, to its files or patterns; see `read_documents`.
        tokenizer: with `special_tokens` off, so that text cannot forge the structure of inputs.
        folder: to be made; it must not exist or be empty. It appears when it is complete.
        sources: group to the source of each of its documents (see `read_sources`). In a group
            that is not named each document is a source.
        progress: show progress: a bar, or lines in the log off a terminal.

    Raises:
        BertError: a file cannot be read, there are no documents, the sources do not fit them, or
            the folder cannot be written or is not empty.
    """
    if tokenizer.special_tokens:
        raise BertError("texts for training are tokenized with special_tokens=False")
    sources = sources or {}
    if unknown := sorted(set(sources) - set(files)):
        raise BertError(f"sources are given for {', '.join(unknown)}, but no files of that name")
    paths = {group: find_files(patterns) for group, patterns in files.items()}
    if not paths:
        raise BertError("no input files; give text files, one sentence a line")
    folder = pathlib.Path(os.path.abspath(folder))
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BertError(f"{folder} exists and is not empty; remove it or name another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as scratch:
        with (
            Progress(progress, "tokenizing") as bar,
            contextlib.closing(_Writer(scratch, tokenizer)) as writer,
        ):
            bar.start(sum(path.stat().st_size for many in paths.values() for path in many))
            for number, (group, many) in enumerate(paths.items()):
                documents = Documents(many, bar.add)
                writer.add_group(number, group, documents, sources.get(group))
            writer.finish(list(paths))
        os.replace(scratch, folder)
    return TokenCorpus.open(folder, verify=False)


class _Writer:
    """The files of a corpus while it grows."""

    def __init__(self, folder: pathlib.Path, tokenizer: BertTokenizer) -> None:
        self._folder, self._tokenizer = folder, tokenizer
        self._kind = _piece_type(len(tokenizer.vocab))
        paths = {name: folder / f"{name}.bin" for name in ("tokens", *ARRAYS)}
        self._files = {name: path.open("wb") for name, path in paths.items()}
        self._pieces = self._sentences = self._sources = 0
        for name in ("sentences", "documents"):
            self._append(name, np.zeros(1, np.int64))
        self._counts: list[dict[str, int]] = []
        self._warnings: list[str] = []

    def add_group(
        self, number: int, name: str, documents: Documents, sources: Sequence[str] | None
    ) -> None:
        """Tokenizes and appends all documents of a group."""
        seen: dict[str, int] = {}  # sources of this group by name
        counts = dict.fromkeys(("documents", "sentences", "pieces", "unknown"), 0)
        read = single = 0
        for batch in _batches(iter(documents)):
            first, read = read, read + len(batch)
            if sources is None:
                own = list(range(self._sources, self._sources + len(batch)))
                self._sources += len(batch)
            elif read > len(sources):
                break
            else:
                own = [seen.setdefault(n, self._sources + len(seen)) for n in sources[first:read]]
            single += self._add(batch, number, np.asarray(own, np.int32), counts)
        if sources is not None and read != len(sources):
            found = "more" if read > len(sources) else f"{read:,}"
            raise BertError(
                f"{len(sources):,} sources are given for {name}, but it has {found} documents; "
                "give one source for each document, in their order"
            )
        self._sources += len(seen)
        if not counts["documents"]:
            raise BertError(f"the files of {name} hold no text")
        self._counts.append(counts)
        odd = warn(documents_warning(name, counts["documents"], single))
        self._warnings += [*documents.warnings, *odd]

    def _add(
        self, batch: list[list[str]], group: int, sources: np.ndarray, counts: dict[str, int]
    ) -> int:
        """Appends documents; gives how many of them are of one sentence."""
        ids = self._tokenizer.encode_ids_batch(chain.from_iterable(batch))
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        pieces = np.fromiter(chain.from_iterable(ids), self._kind, int(lengths.sum()))
        owners = np.repeat(np.arange(len(batch)), [len(document) for document in batch])
        full = lengths > 0
        lengths = lengths[full]
        sizes = np.bincount(owners[full], minlength=len(batch))  # sentences of each document
        kept = sizes > 0
        self._files["tokens"].write(pieces.data)
        self._append("sentences", self._pieces + np.cumsum(lengths))
        self._append("documents", self._sentences + np.cumsum(sizes[kept]))
        self._append("sources", sources[kept])
        self._append("groups", np.full(kept.sum(), group))
        self._pieces += len(pieces)
        self._sentences += len(lengths)
        unknown = pieces == self._tokenizer.vocab.unk_id
        found = int(kept.sum()), len(lengths), len(pieces), int(unknown.sum())
        for name, count in zip(counts, found):
            counts[name] += count
        return int((sizes == 1).sum())

    def _append(self, name: str, values: np.ndarray) -> None:
        self._files[name].write(np.ascontiguousarray(values, ARRAYS[name]).data)

    def finish(self, groups: list[str]) -> None:
        """Completes all files and adds the vocabulary; `corpus.json` comes last."""
        self.close()
        for name, kind in ARRAYS.items():
            raw = self._folder / f"{name}.bin"
            np.save(self._folder / f"{name}.npy", np.memmap(raw, kind, "r"))
            raw.unlink()
        vocab = self._tokenizer.vocab
        info: dict[str, Any] = {
            "format": FORMAT,
            "vocab_size": len(vocab),
            "vocab_sha256": vocabulary_sha256(vocab),
            "lower_case": self._tokenizer.lower_case,
            "groups": groups,
            "documents": sum(counts["documents"] for counts in self._counts),
            "sentences": self._sentences,
            "pieces": self._pieces,
            "sources": self._sources,
            "counts": dict(zip(groups, self._counts)),
            "remarks": self._warnings,
        }
        (self._folder / "vocab.txt").write_bytes(vocab.raw)
        info[SUMS] = corpus_files.checksums(self._folder, info)
        write_json(self._folder / "corpus.json", info)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def _batches(documents: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    batch: list[list[str]] = []
    waiting = 0
    for document in documents:
        batch.append(document)
        waiting += len(document)
        if waiting >= _BATCH:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def _piece_type(vocab_size: int) -> np.dtype:
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<i4")
