"""Plain text in, shuffled TFRecord files of pretraining examples out, in bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, TypeVar

import numpy as np

from bert_tf.data.pretraining.example_work import (
    HEAD,
    Job,
    available_cores,
    draw,
    finish,
    items_of,
    workers,
)
from bert_tf.data.pretraining.masking import MaskRules
from bert_tf.data.pretraining.pairs import PairRules
from bert_tf.data.pretraining.shuffle import DiskShuffle
from bert_tf.data.pretraining.tokens import TokenCorpus, tokenize_corpus
from bert_tf.errors import BertError
from bert_tf.files.finding import find_files
from bert_tf.files.log import Warned, reports
from bert_tf.files.progress import Progress
from bert_tf.files.whole import check_output, scratch_folder, whole_file
from bert_tf.options import COUNT, SEED, THREADS
from bert_tf.text import BertTokenizer, Vocabulary

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class PretrainingDataReport(Warned):
    """What `create_pretraining_data` made.

    Attributes:
        files: the files written.
        documents, sentences, pieces: of the corpus.
        examples: in all files together.
        random: of these, how many have a random second segment.
        length: tokens of the examples, [CLS] and [SEP] counted, padding not.
        masked: of these, how many are to be predicted.
        seconds: what was done to how long it took.
        warnings: sentences on what looks wrong with the corpus.
    """

    files: tuple[str, ...]
    documents: int
    sentences: int
    pieces: int
    examples: int
    random: int
    length: int
    masked: int
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@reports
def create_pretraining_data(
    files: Mapping[str, Sequence[str | os.PathLike[str]]],
    outputs: Sequence[str | os.PathLike[str]],
    tokenizer: BertTokenizer,
    *,
    pair_rules: PairRules | None = None,
    mask_rules: MaskRules | None = None,
    seed: int = 12345,
    dupe_factor: int = 10,
    num_workers: int | None = None,
    sources: Mapping[str, Sequence[str]] | None = None,
    progress: bool = True,
    tell: Callable[[str], None] | None = None,
) -> PretrainingDataReport:
    """Makes what the original's create_pretraining_data.py makes, on all processor cores.

    The text is tokenized once, into a hidden folder next to the first output; then pairs are
    drawn and masked `dupe_factor` times. The folder takes about 2 bytes a token for the corpus and
    as much for each pass. The same text, vocabulary, rules and seed give the same bytes with any
    number of workers. The files appear when all is done.

    Args:
        files: group to its files or patterns of plain text: a sentence a line, a blank line between
            documents. Random second segments come from the same group.
        outputs: the TFRecord files to write; example i goes to file i modulo their number.
        tokenizer: splits the text.
        pair_rules: how long examples are; by default as in the original.
        mask_rules: what is masked in them; by default as in the original.
        seed: decides all that is random.
        dupe_factor: passes over the corpus, each with pairs and masks of its own.
        num_workers: processes that work at once; None for one on each core.
        sources: group to the source of each of its documents; a random second segment never comes
            from the source of the first. By default each document is a source.
        progress: show progress: bars, or lines in the log off a terminal.
        tell: is given what is logged during the work, too.

    Raises:
        BertError: a file cannot be read or written, a group has no second source, or a number is
            out of its range.
    """
    found = {group: find_files(patterns) for group, patterns in files.items()}
    paths = checked_outputs(outputs, [path for some in found.values() for path in some])
    with scratch_folder(paths[0]) as folder:
        start = time.perf_counter()
        corpus = tokenize_corpus(
            found, tokenizer, folder / "corpus", sources=sources, progress=progress
        )
        seconds = time.perf_counter() - start
        report = write_records(
            corpus,
            outputs,
            tokenizer.vocab,
            pair_rules=pair_rules,
            mask_rules=mask_rules,
            seed=seed,
            dupe_factor=dupe_factor,
            num_workers=num_workers,
            progress=progress,
        )
    return dataclasses.replace(report, seconds={"tokenizing": seconds, **report.seconds})


def write_records(
    corpus: TokenCorpus,
    outputs: Sequence[str | os.PathLike[str]],
    vocab: Vocabulary,
    *,
    pair_rules: PairRules | None = None,
    mask_rules: MaskRules | None = None,
    seed: int = 12345,
    dupe_factor: int = 10,
    num_workers: int | None = None,
    progress: bool = True,
) -> PretrainingDataReport:
    """`create_pretraining_data` for a corpus that has been tokenized.

    Args and errors are as there; `vocab` is the vocabulary that the corpus was made with.
    """
    pair_rules, mask_rules = pair_rules or PairRules(), mask_rules or MaskRules()
    paths = checked_outputs(outputs)
    COUNT.check("dupe_factor", dupe_factor)
    SEED.check("seed", seed)
    num_workers = available_cores() if num_workers is None else num_workers
    THREADS.check("num_workers", num_workers)
    corpus.check_vocabulary(vocab)
    documents, pieces = len(corpus), len(corpus.tokens)
    length = pair_rules.max_seq_length
    with scratch_folder(paths[0]) as folder, contextlib.ExitStack() as stack:
        targets = [stack.enter_context(whole_file(path, "wb")) for path in paths]
        for name in ("buckets", "parts"):
            (folder / name).mkdir()
        rows = dupe_factor * (2 * pieces // length + documents)
        shuffle = DiskShuffle(folder / "buckets", length + HEAD, corpus.tokens.dtype, rows)
        at, parts = os.fspath(corpus.folder), os.fspath(folder / "parts")
        job = Job(at, vocab, pair_rules, mask_rules, seed, shuffle, parts, len(paths))
        items = list(items_of(corpus, dupe_factor))
        tasks = max(len(items), shuffle.num_buckets)
        with workers(min(num_workers, tasks), job) as run:
            start = time.perf_counter()
            counts = np.zeros(shuffle.num_buckets, np.int64)
            num_random = used = 0
            for drawn in _shown(run(draw, items), len(items), "drawing pairs", progress):
                counts, num_random, used = counts + drawn[0], num_random + drawn[1], used + drawn[2]
            if not counts.sum():
                raise BertError("the corpus gives no example: it contains no text.")
            middle = time.perf_counter()
            masked = 0
            buckets = list(enumerate((np.cumsum(counts) - counts).tolist()))
            results = _shown(run(finish, buckets), len(buckets), "masking, writing", progress)
            for bucket, count in enumerate(results):
                masked += count
                for number, target in enumerate(targets):
                    append(folder / "parts" / f"{bucket}.{number}", target)
            end = time.perf_counter()
    return PretrainingDataReport(
        files=tuple(paths),
        documents=documents,
        sentences=len(corpus.sentences) - 1,
        pieces=pieces,
        examples=int(counts.sum()),
        random=num_random,
        length=used,
        masked=masked,
        seconds={"drawing pairs": middle - start, "masking and writing": end - middle},
        warnings=tuple(corpus.info["remarks"]),
    )


def checked_outputs(
    outputs: Sequence[str | os.PathLike[str]], inputs: Sequence[str | os.PathLike[str]] = ()
) -> list[str]:
    """The absolute paths of files to write, none of which may be one of `inputs`.

    Raises:
        BertError: there is none, one is named twice, is a folder, is an input, or its folder is
            missing.
    """
    paths = [os.path.abspath(os.path.expanduser(path)) for path in outputs]
    if not paths:
        raise BertError("no output file given.")
    if len(set(map(os.path.realpath, paths))) < len(paths):
        raise BertError(f"an output file is named twice: {', '.join(map(str, outputs))}.")
    read = {os.path.realpath(path) for path in inputs}
    for path in paths:
        check_output(path, overwrite=True)
        if os.path.realpath(path) in read:
            raise BertError(f"{path} is an input and an output; the text would be lost.")
    return paths


def append(part: pathlib.Path, target: IO[bytes]) -> None:
    """Moves the content of a file to the end of another."""
    with open(part, "rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)
    part.unlink()


def _shown(results: Iterable[T], total: int, label: str, progress: bool) -> Iterator[T]:
    """The same results, with a bar on a terminal."""
    with Progress(progress, label, unit="files") as bar:
        bar.start(total)
        for result in results:
            yield result
            bar.add(1)
