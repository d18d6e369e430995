"""The work of `create`, in parts that processes can do apart: draw pairs; mask, encode, write."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bert_tf.data.pretraining.examples import encode_examples
from bert_tf.data.pretraining.masking import MaskRules, mask_pieces
from bert_tf.data.pretraining.pairs import PairRules, Pairs, assemble, draw_pairs
from bert_tf.data.pretraining.record_files import frame
from bert_tf.data.pretraining.shuffle import DiskShuffle
from bert_tf.data.pretraining.tokens import TokenCorpus
from bert_tf.errors import BertError
from bert_tf.text import Vocabulary

T = TypeVar("T")

_ITEM_PIECES = 1 << 21  # of the corpus, whose pairs are drawn at a time
_ROWS = 4096  # masked and encoded at a time
_CANDIDATES = 1 << 16
"""Most documents that random second segments of an item come from; of a larger group so many are
drawn for each item."""

_PAIRS, _MASKS = 1, 2  # what a generator is for, in its seed
HEAD = 3  # numbers before the ids of a row: length, length of the first part, is random


class Job(NamedTuple):
    """What a worker needs to know."""

    corpus: str
    vocab: Vocabulary
    pair_rules: PairRules
    mask_rules: MaskRules
    seed: int
    shuffle: DiskShuffle
    parts: str
    num_files: int


class Item(NamedTuple):
    """Documents [start, end) of the group [first, last) in one pass."""

    number: int
    first: int
    last: int
    start: int
    end: int


def items_of(corpus: TokenCorpus, dupe_factor: int) -> Iterator[Item]:
    """The work of all passes: stretches of documents of one group, of some size.

    Their bounds are searched for in the files: nothing of the corpus's size is in memory.
    """
    bounds: list[tuple[int, int, int, int]] = []
    for group in range(len(corpus.group_names)):
        kind = corpus.groups.dtype.type(group)  # another type would copy the whole array
        first = int(np.searchsorted(corpus.groups, kind))
        last = int(np.searchsorted(corpus.groups, kind, "right"))
        end = first
        while (start := end) < last:
            target = corpus.sentences[corpus.documents[start]] + _ITEM_PIECES
            sentence = np.searchsorted(corpus.sentences, target)
            end = min(max(int(np.searchsorted(corpus.documents, sentence)), start + 1), last)
            bounds.append((first, last, start, end))
    for number in range(dupe_factor * len(bounds)):
        yield Item(number, *bounds[number % len(bounds)])


_job: Job
_corpus: TokenCorpus


def _begin(job: Job) -> None:
    """Makes a process ready for `draw` and `finish`."""
    global _job, _corpus
    _job, _corpus = job, TokenCorpus.open(job.corpus, verify=False)


def draw(item: Item) -> tuple[np.ndarray, int, int]:
    """Draws the pairs of an item, and adds them to the shuffle.

    Returns:
        Examples in each bucket, how many have a random second segment, and their tokens.
    """
    rng = np.random.default_rng([_job.seed, _PAIRS, item.number])
    if item.last - item.first <= _CANDIDATES:
        candidates = np.arange(item.first, item.last)
    else:
        candidates = rng.integers(item.first, item.last, _CANDIDATES)
    documents = np.arange(item.start, item.end)
    pairs = draw_pairs(_corpus, documents, candidates, _job.pair_rules, rng)
    length = _job.pair_rules.max_seq_length
    rows = np.empty((len(pairs.is_random), length + HEAD), _corpus.tokens.dtype)
    used = 0
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        tokens, segments, lengths = assemble(
            _corpus.tokens, Pairs(*(column[part] for column in pairs)), length, **_specials()
        )
        rows[part, 0] = lengths
        rows[part, 1] = lengths - segments.sum(axis=1)
        rows[part, HEAD:] = tokens
        used += int(lengths.sum())
    rows[:, 2] = pairs.is_random
    return _job.shuffle.add(rows, item.number, rng), int(pairs.is_random.sum()), used


def finish(task: tuple[int, int]) -> int:
    """Masks and encodes a bucket, given with its first example's number; counts tokens masked."""
    bucket, first = task
    rng = np.random.default_rng([_job.seed, _MASKS, bucket])
    rows, masked = _job.shuffle.take(bucket), 0
    vocab, rules, special = _job.vocab, _job.mask_rules, _specials()
    continues = vocab.continuation
    columns = np.arange(_job.pair_rules.max_seq_length, dtype=np.int32)
    with contextlib.ExitStack() as stack:
        names = (f"{_job.parts}/{bucket}.{number}" for number in range(_job.num_files))
        parts = [stack.enter_context(open(name, "wb")) for name in names]
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS].astype(np.int32)
            lengths = part[:, 0]
            tokens, positions, ids, weights = mask_pieces(
                part[:, HEAD:], lengths, continues, len(vocab), vocab.mask_id, rules, rng, **special
            )
            used = columns < lengths[:, None]
            features = {
                "input_ids": tokens,
                "input_mask": used.astype(np.int32),
                "segment_ids": (used & (columns >= part[:, 1:2])).astype(np.int32),
                "masked_lm_positions": positions,
                "masked_lm_ids": ids,
                "masked_lm_weights": weights,
                "next_sentence_labels": part[:, 2:3],
            }
            masked += int(weights.sum())
            for number, example in enumerate(encode_examples(features), first + start):
                parts[number % len(parts)].write(frame(example))
    return masked


def _specials() -> dict[str, int]:
    return {"cls_id": _job.vocab.cls_id, "sep_id": _job.vocab.sep_id}


def available_cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def workers(
    count: int, job: Job
) -> Iterator[Callable[[Callable[[Any], T], Iterable[Any]], Iterable[T]]]:
    """A function that maps another over tasks, in several processes, in order.

    It raises a BertError if a process is killed.
    """
    if count == 1:
        _begin(job)
        try:
            yield map
        finally:
            globals().pop("_corpus")  # lets its files go
        return
    # Not forked: the tokenizer's threads are still there, and a fork amid threads can hang.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(job,))

    def run(function: Callable[[Any], T], tasks: Iterable[Any]) -> Iterable[T]:
        # Processes inherit what is blocked: Ctrl-C is for this one, which then ends them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
        try:
            return executor.map(function, tasks)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield run
    except BrokenProcessPool as error:
        raise BertError(
            "a worker process was killed, perhaps for lack of memory: try a smaller `num_workers`. "
            'In a script of your own, call this under if __name__ == "__main__", as every process '
            "imports the script."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
