"""The tasks: each takes the contenders and gives its part of results.json."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import check
import cold
import contenders
import numpy as np
import reading
import report
import sentences
from contenders import Contender, Worker

SHAPES = {"encoder_1x16": (1, 16), "encoder_8x128": (8, 128), "encoder_8x512": (8, 512)}
"""Rows and pieces of the encoder's batches."""


def say(text: str) -> None:
    """Tells on stderr what is going on."""
    print(text, file=sys.stderr, flush=True)


def rounds(
    workers: list[Worker], question: dict[str, Any], count: int, repeat: int
) -> dict[str, list[float]]:
    """Lets all take turns; the order moves on by one each round.

    Returns:
        For each contender one figure a round: the median of `repeat` runs in a row.
    """
    seconds: dict[str, list[float]] = {w.contender.name: [] for w in workers}
    for worker in workers:
        worker.ask(**question, repeat=1)  # compiles, touches memory
    for number in range(count):
        shift = number % len(workers)
        for worker in workers[shift:] + workers[:shift]:
            times = worker.ask(**question, repeat=repeat)["seconds"]
            seconds[worker.contender.name].append(float(np.median(times)))
    return seconds


def task(
    seconds: dict[str, list[float]],
    chosen: list[Any],
    note: str,
    count: int | None = None,
    rate_unit: str = "",
    rivals: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A task's part of results.json."""
    if rivals is None:
        rivals = {c.name: c.rival for c in chosen}
    entries = report.summarize(seconds, rivals, count)
    for one in chosen:
        entries[one.name] |= {"title": one.title, "precision": one.precision}
    return {"note": note, "rate_unit": rate_unit, "contenders": entries}


def offerable(config: Any, vocab: Any) -> np.ndarray:
    """For each row of the table whether it may be an answer."""
    allowed = np.zeros(config.vocab_size, bool)
    allowed[: len(vocab)] = vocab.offerable
    return allowed


def run_warm(
    args: argparse.Namespace,
    chosen: list[Contender],
    folders: dict[str, str],
    config: Any,
    vocab: Any,
    results: dict[str, Any],
) -> None:
    """Fill-mask, bulk and encoder: all contenders loaded, then in turn."""
    say(f"loading {', '.join(c.name for c in chosen)}")
    settings = {"folders": folders, "threads": args.threads}
    workers, about, notes = contenders.start(chosen, settings, args.out / "logs")
    try:
        results["remarks"] += notes
        taking_part = [w.contender for w in workers]
        if not workers:
            sys.exit("run.py: no contender could start")
        texts = sentences.read()[:: 6 if args.quick else 1]
        batch = {"pieces": len(vocab), "special": [vocab.cls_id, vocab.sep_id]}
        say("checking that all give the same results")
        reference = next((w for w in workers if w.contender.precision == "float32"), workers[0])
        with tempfile.TemporaryDirectory() as folder:
            results["agreement"] = check.check(
                workers,
                reference,
                encoding={**batch, "shape": [4, min(32, config.max_position_embeddings)]},
                texts=texts[:: max(1, len(texts) // 12)],
                offerable=offerable(config, vocab),
                folder=Path(folder),
            )
        long_runs = max(2 if args.quick else 3, args.runs // 3)
        if "mask" in args.only:
            say("fill-mask, one sentence")
            seconds = rounds(workers, {"do": "fill", "texts": cold.TEXT}, args.runs, 5)
            note = f'"{cold.TEXT}", text in, five words out'
            results["tasks"]["mask"] = task(seconds, taking_part, note)
        for name, shape in SHAPES.items() if "encoder" in args.only else ():
            if shape[1] > config.max_position_embeddings:
                results["remarks"].append(f"{name} left out: longer than the model takes")
                continue
            say(f"encoder, {shape[0]} x {shape[1]}")
            count = long_runs if shape[1] > 128 else args.runs
            question = {"do": "encode", "shape": shape, **batch}
            seconds = rounds(workers, question, count, 5 if shape[0] == 1 else 1)
            note = "ids in, hidden states and pooled output out"
            done = task(seconds, taking_part, note, shape[0], "texts/s")
            best = results["machine"].get("operations_a_second", {})
            for entry in done["contenders"].values():
                if entry["precision"] in best:
                    rate = operations(config, *shape) / entry["median"]
                    entry["of_peak"] = rate / best[entry["precision"]]
            results["tasks"][name] = done
        if "bulk" in args.only:
            say("fill-mask, many sentences")
            count = max(2, args.runs // 5)  # a round takes minutes
            seconds = rounds(workers, {"do": "fill", "texts": texts}, count, 1)
            note = f"{len(texts)} sentences of {lengths(texts, vocab)} pieces, in batches of 32"
            bulk = task(seconds, taking_part, note, len(texts), "sentences/s")
            results["tasks"]["bulk"] = bulk
        for worker in workers:
            about[worker.contender.name]["peak_memory"] = worker.ask(do="memory")["bytes"]
        results["workers"] = about
    finally:
        for worker in workers:
            worker.close()


def operations(config: Any, rows: int, length: int) -> float:
    """Additions and multiplications in the matrix products of the encoder's layers."""
    width, inner = config.hidden_size, config.intermediate_size
    layer = 4 * width * width + 2 * width * inner + 2 * length * width
    return 2.0 * config.num_hidden_layers * rows * length * layer


def lengths(texts: list[str], vocab: Any) -> str:
    """The shortest, the middle and the longest row."""
    from bert_tf.text import BertTokenizer

    tokenizer = BertTokenizer(vocab, False, special_tokens=True)
    counts = sorted(len(ids) + 2 for ids in tokenizer.encode_ids_batch(texts))
    return f"{counts[0]} to {counts[-1]}, in the middle {counts[len(counts) // 2]},"


def run_cold(
    args: argparse.Namespace,
    chosen: list[Contender],
    folders: dict[str, str],
    config: Any,
    vocab: Any,
    notes: list[str],
) -> dict[str, Any]:
    """Whole processes in turn; one that cannot run is in the notes."""
    log = args.out / "logs" / "cold.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    ways = cold.starts(chosen, folders, args.out / "cold_cache")
    allowed = offerable(config, vocab)
    known = {vocab.token(i): bool(allowed[i]) for i in range(len(vocab))}
    say(f"cold start of {', '.join(way.name for way in ways)}")
    expected, working = None, []
    for way in ways:  # fills the caches
        try:
            found = cold.guesses(way, cold.run(way, log)[2], known)
        except contenders.WorkerError as error:
            notes.append(f"cold start left out: {error.brief}")
            say(str(error))
            continue
        expected = expected or found
        if not cold.agree(expected, found, check.LIMITS[way.precision][2]):
            raise check.MismatchError(f"{way.name}: {found} in place of {expected}")
        working.append(way)
    ways = working
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    memory: dict[str, list[int]] = {way.name: [] for way in ways}
    for number in range(max(1, args.runs // 3)):
        shift = number % len(ways)
        for way in ways[shift:] + ways[:shift]:
            took, peak, _ = cold.run(way, log)
            seconds[way.name].append(took)
            memory[way.name].append(peak)
    rivals = {way.name: f"hugging_face-{way.precision}" for way in ways}
    note = "the checkpoint in the page cache; memory is resident, files in memory counted"
    result = task(seconds, ways, note, rivals=rivals)
    for name, entry in result["contenders"].items():
        entry["memory"] = int(np.median(memory[name]))
    return result


def run_read(
    args: argparse.Namespace, chosen: list[Contender], folders: dict[str, str]
) -> dict[str, Any]:
    """Reading in turn, each in a process of its own."""
    ways = [
        Contender(c.kind, "float32", c.title, (), c.backend)
        for c in chosen
        if c.kind in ("ours", "hugging_face") and c.precision == "float32"
    ]
    readers = {way.name: way.backend or way.kind for way in ways}
    if any(way.backend == "tensorflow" for way in ways):
        ways.append(Contender("reader", "float32", "TensorFlow's reader, no model", ()))
        readers["reader-float32"] = "reader"
    say(f"reading: {', '.join(readers)}")
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    memory: dict[str, list[int]] = {name: [] for name in readers}
    for number in range(max(1, args.runs // 3)):
        shift = number % len(ways)
        for way in ways[shift:] + ways[:shift]:
            took, peak = reading.measure(readers[way.name], folders)
            seconds[way.name].append(took)
            memory[way.name] += [] if peak is None else [peak]
    note = (
        "to a model with all weights in memory, ours with each checksum verified; the file in "
        "the page cache; memory beyond a process that has loaded nothing"
    )
    rivals = {way.name: way.rival for way in ways if way.kind != "reader"}  # it makes no model
    result = task(seconds, ways, note, rivals=rivals)
    for name, entry in result["contenders"].items():
        entry["memory"] = int(np.median(memory[name])) if memory[name] else None
    return result
