"""How many pieces a second of one core go from text to pretraining examples.

    python benchmarks/pretraining_data.py
    python benchmarks/pretraining_data.py --input_file text.txt --vocab_file vocab.txt --cased

Three ways, on the same text and vocabulary, each in a process of its own that may use one core:

- plain: the original's way, written here again in plain Python: the tokenizer in Python, lists of
  pieces, a loop over pieces to mask, and `tf.train.Example` through TensorFlow;
- records: `create_pretraining_data` with one worker, to shuffled TFRecord files;
- stream: tokenized once, then batches with pairs and masks drawn afresh from `PretrainingStream`.

A rate is the pieces of the corpus over the processor's seconds of one core (`process_time`, so that
waiting for other processes does not count). The text is tokenized once; a pass draws and masks all
pairs, and writes them where there are files: without writing the plain way is the same work as the
stream's. The three take turns, and a ratio is the median of the ratios round by round.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LENGTH, PREDICTIONS, SHARE, SHORT = 128, 20, 0.15, 0.1
WAYS = ("plain", "records", "stream")


def plain(args: argparse.Namespace) -> dict[str, float]:
    """The original's way, one pass."""
    import tensorflow as tf

    from bert_tf.data.pretraining.documents import read_documents

    tokenizer = make_tokenizer(args)
    start = time.process_time()
    documents = []
    for path in args.input_file:
        for lines in read_documents(path):
            split = [tokenizer.encode_exactly(line).tokens for line in lines]
            if document := [tokens for tokens in split if tokens]:
                documents.append(document)
    tokenized = time.process_time()
    rng = random.Random(12345)
    words = list(tokenizer.vocab.ids)
    examples = []
    for number in range(len(documents)):
        examples += plain_examples(documents, number, words, rng)
    rng.shuffle(examples)
    drawn = time.process_time()
    with tf.io.TFRecordWriter(str(Path(args.scratch) / "plain.tfrecord")) as writer:
        for example in examples:
            writer.write(plain_record(example, tokenizer.vocab.ids, tf.train))
    written = time.process_time()
    return {
        "pieces": sum(len(tokens) for document in documents for tokens in document),
        "tokenizing": tokenized - start,
        "pass": drawn - tokenized,
        "writing": written - drawn,
        "examples": len(examples),
    }


def plain_examples(documents: list, number: int, words: list[str], rng: random.Random) -> list:
    """The examples of a document, each (pieces, segments, is random, positions, labels)."""
    most = LENGTH - 3
    target = rng.randint(2, most) if rng.random() < SHORT else most
    document, found = documents[number], []
    chunk: list[list[str]] = []
    size = place = 0
    while place < len(document):
        chunk.append(document[place])
        size += len(document[place])
        if place == len(document) - 1 or size >= target:
            cut = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            first: list[str] = []
            for sentence in chunk[:cut]:
                first.extend(sentence)
            second: list[str] = []
            is_random = len(chunk) == 1 or rng.random() < 0.5
            if is_random:
                wanted = target - len(first)
                other = number
                for _ in range(10):
                    other = rng.randint(0, len(documents) - 1)
                    if other != number:
                        break
                start = rng.randint(0, len(documents[other]) - 1)
                for sentence in documents[other][start:]:
                    second.extend(sentence)
                    if len(second) >= wanted:
                        break
                place -= len(chunk) - cut
            else:
                for sentence in chunk[cut:]:
                    second.extend(sentence)
            plain_cut(first, second, most, rng)
            pieces, segments = ["[CLS]"], [0]
            for number_of, segment in enumerate((first, second)):
                for piece in [*segment, "[SEP]"]:
                    pieces.append(piece)
                    segments.append(number_of)
            found.append((pieces, segments, is_random, *plain_masks(pieces, words, rng)))
            chunk, size = [], 0
        place += 1
    return found


def plain_cut(first: list[str], second: list[str], most: int, rng: random.Random) -> None:
    """Takes pieces from the longer list, at either end, until both fit."""
    while len(first) + len(second) > most:
        longer = first if len(first) > len(second) else second
        if rng.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def plain_masks(pieces: list[str], words: list[str], rng: random.Random) -> tuple[list, list]:
    """Masks some pieces of a list; returns their positions and what stood there.

    As the original does for whole words and single pieces alike, candidates are lists of
    positions, and a set tells which are taken.
    """
    candidates = []
    for at, piece in enumerate(pieces):
        if piece in ("[CLS]", "[SEP]"):
            continue
        candidates.append([at])
    rng.shuffle(candidates)
    count = min(PREDICTIONS, max(1, round(len(pieces) * SHARE)))
    chosen: list[tuple[int, str]] = []
    taken: set[int] = set()
    for candidate in candidates:
        if len(chosen) >= count:
            break
        if len(chosen) + len(candidate) > count or any(at in taken for at in candidate):
            continue
        for at in candidate:
            taken.add(at)
            chosen.append((at, pieces[at]))
            if rng.random() < 0.8:
                pieces[at] = "[MASK]"
            elif rng.random() < 0.5:
                pieces[at] = words[rng.randint(0, len(words) - 1)]
    chosen.sort()
    return [at for at, _ in chosen], [label for _, label in chosen]


def plain_record(example: tuple, ids: dict[str, int], train: Any) -> bytes:
    """An example with TensorFlow's own classes."""

    def whole(values: list[int]) -> Any:
        return train.Feature(int64_list=train.Int64List(value=values))

    pieces, segments, is_random, positions, labels = example
    padding = [0] * (LENGTH - len(pieces))
    unused = [0] * (PREDICTIONS - len(positions))
    weights = [1.0] * len(positions) + [0.0] * len(unused)
    features = collections.OrderedDict(
        input_ids=whole([ids[piece] for piece in pieces] + padding),
        input_mask=whole([1] * len(pieces) + padding),
        segment_ids=whole(segments + padding),
        masked_lm_positions=whole(positions + unused),
        masked_lm_ids=whole([ids[label] for label in labels] + unused),
        masked_lm_weights=train.Feature(float_list=train.FloatList(value=weights)),
        next_sentence_labels=whole([int(is_random)]),
    )
    return train.Example(features=train.Features(feature=features)).SerializeToString()


def records(args: argparse.Namespace) -> dict[str, float]:
    """What `create_pretraining_data` does with one worker, one pass."""
    from bert_tf.data import tokenize_corpus, write_records

    tokenizer = make_tokenizer(args)
    start = time.process_time()
    corpus = tokenize_corpus({"text": args.input_file}, tokenizer, Path(args.scratch) / "tokens")
    tokenized = time.process_time()
    report = write_records(
        corpus,
        [Path(args.scratch) / "records.tfrecord"],
        tokenizer.vocab,
        dupe_factor=1,
        num_workers=1,
    )
    return {
        "pieces": report.pieces,
        "tokenizing": tokenized - start,
        "pass": time.process_time() - tokenized,
        "examples": report.examples,
    }


def stream(args: argparse.Namespace) -> dict[str, float]:
    """Tokenized once, then one epoch of batches."""
    import numpy as np

    from bert_tf.data import MaskRules, PairRules, PretrainingStream, tokenize_corpus

    tokenizer = make_tokenizer(args)
    start = time.process_time()
    corpus = tokenize_corpus({"text": args.input_file}, tokenizer, Path(args.scratch) / "tokens")
    tokenized = time.process_time()
    batches = PretrainingStream(
        corpus,
        batch_size=args.batch_size,
        pair_rules=PairRules(LENGTH, SHORT),
        mask_rules=MaskRules(SHARE, PREDICTIONS),
        documents=np.ones(len(corpus), bool),
        seed=12345,
        vocab=tokenizer.vocab,
    )
    count = 0
    while batches.state()["groups"][0][0] == 0:
        count += len(batches.next_batch()["token_input"])
    return {
        "pieces": len(corpus.tokens),
        "tokenizing": tokenized - start,
        "pass": time.process_time() - tokenized,
        "examples": count,
    }


def make_tokenizer(args: argparse.Namespace):
    from bert_tf.text import BertTokenizer, Vocabulary

    return BertTokenizer(Vocabulary.load(args.vocab_file), lower_case=not args.cased)


def sample_text(path: Path) -> None:
    """A text of 2 MB from the sentences of the other benchmarks: 2,000 documents of 10 or so."""
    sentences = (ROOT / "benchmarks" / "sentences.txt").read_text("utf-8").splitlines()
    rng = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(2000):
            for sentence in rng.choices(sentences, k=rng.randint(1, 20)):
                file.write(sentence.replace("[MASK]", "word") + "\n")
            file.write("\n")


def measure(way: str, arguments: list[str], core: int) -> dict[str, float]:
    """One way in a process of its own, on one core."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, *arguments, "--way", way, "--scratch", scratch]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "RAYON_NUM_THREADS": "1",
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "PYTHONPATH": str(ROOT),
            },
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    if result.returncode:
        raise SystemExit(result.stderr[-2000:])
    return json.loads(result.stdout.splitlines()[-1])


def rates(one: dict[str, float]) -> dict[str, float]:
    """Pieces of the corpus a second, by what is done; ten passes make ten times the pieces."""
    pieces, tokenizing, a_pass = one["pieces"], one["tokenizing"], one["pass"]
    written = a_pass + one.get("writing", 0)
    return {
        "tokenizing": pieces / tokenizing,
        "a pass, without writing": pieces / a_pass,
        "a pass": pieces / written,
        "tokenizing and one pass": pieces / (tokenizing + written),
        "tokenizing and ten passes": 10 * pieces / (tokenizing + 10 * written),
    }


def main() -> None:
    """Prints the medians of the rates, and of their ratios to the plain way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input_file", nargs="+", help="plain text; a sample when left out")
    parser.add_argument(
        "--vocab_file", default=str(ROOT / "tests" / "golden" / "uncased_30522_vocab.txt")
    )
    parser.add_argument("--cased", action="store_true", help="do not lower-case")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--core", type=int, default=0, help="number of the core to use")
    parser.add_argument("--batch_size", type=int, default=256, help="of the stream")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps({"plain": plain, "records": records, "stream": stream}[args.way](args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not args.input_file:
            args.input_file = [str(Path(folder) / "sample.txt")]
            sample_text(Path(args.input_file[0]))
        arguments = ["--vocab_file", args.vocab_file, "--batch_size", str(args.batch_size)]
        arguments += ["--cased"] * args.cased + ["--input_file", *args.input_file]
        rounds = []
        for number in range(args.runs):
            order = WAYS[number % 3 :] + WAYS[: number % 3]
            rounds.append({way: measure(way, arguments, args.core) for way in order})
    show(rounds)


def show(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Prints the table."""
    last = rounds[-1]
    print(f"{last['plain']['pieces']:,.0f} pieces; median of {len(rounds)} rounds; one core\n")
    found = [{way: rates(one) for way, one in each.items()} for each in rounds]
    print("| thousand pieces/s (times as fast) | plain | records | stream |")
    print("|---|---|---|---|")
    for what in found[0]["plain"]:
        cells = []
        for way in WAYS:
            if "without" in what and way == "records":
                cells.append("")
                continue
            rate = statistics.median(each[way][what] for each in found) / 1e3
            ratio = statistics.median(each[way][what] / each["plain"][what] for each in found)
            cells.append(f"{rate:,.0f} ({ratio:.1f})")
        print(f"| {what} | {' | '.join(cells)} |")
    examples = ", ".join(f"{way} {last[way]['examples']:,.0f}" for way in WAYS)
    print(f"\nexamples made: {examples}")


if __name__ == "__main__":
    main()
