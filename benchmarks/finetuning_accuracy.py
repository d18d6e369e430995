"""`finetuning.py --accuracy`: what both sides reach after the same number of epochs."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import contenders
import report
from contenders import Contender
from finetuning_rows import Source, read_rows
from tasks import say

from bert_tf.data.labelled.reading import Layout
from bert_tf.errors import BertError

HERE = Path(__file__).resolve().parent
ENGINE = [sys.executable, str(HERE / "finetuning_engines.py")]
MARKERS = ("<!-- finetuning accuracy: begin -->", "<!-- finetuning accuracy: end -->")
NAME = "results-finetuning-accuracy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line has for this alone."""
    group = parser.add_argument_group("accuracy after the same number of epochs")
    group.add_argument("--accuracy", action="store_true", help="in place of the speed")
    group.add_argument("--validation", type=Path, help="rows to judge by")
    group.add_argument("--epochs", type=int, default=3, help="(3)")
    group.add_argument("--seeds", type=int, default=3, help="runs of each (3)")
    group.add_argument("--rate", type=float, default=1e-4, help="learning rate (1e-4)")


def sides(precisions: list[str], backends: list[str]) -> list[Contender]:
    """Who takes part: Hugging Face, and bert_tf on what it can train on."""
    needs = ("torch", "transformers", "accelerate")
    found = []
    for precision in precisions:
        found.append(Contender("hugging_face", precision, "Hugging Face", needs))
        found += [
            Contender("ours", precision, f"bert_tf, {title}", (name,), name)
            for name, title in (("tensorflow", "TensorFlow"), ("jax", "JAX"))
            if name in backends
        ]
    return found


def run(args: argparse.Namespace, work: Path, results: dict[str, Any]) -> None:
    """All runs, one after the other, the sides in turn; adds them to the results.

    Raises:
        BertError: data cannot be read, or a package is missing.
        WorkerError: a run failed.
    """
    chosen = sides(args.precisions, args.backends)
    lacking = sorted({name for one in chosen for name in one.lacking()})
    if lacking:
        raise BertError(f"--accuracy needs {', '.join(lacking)}; install it first.")
    source = Source(args.checkpoint)
    layout = Layout(text=args.text, text_pair=args.text_pair, label=args.label)
    rows, _ = read_rows(args.data, layout, source.tokenizer, args.max_seq_length)
    names = rows.names
    judged, _ = read_rows(
        args.validation, layout, source.tokenizer, args.max_seq_length, names=names
    )
    own = (source.config.num_hidden_layers, source.config.hidden_size)
    size = (args.sizes or [own])[0]
    if args.sizes and len(args.sizes) > 1:
        raise BertError("--accuracy takes one of --sizes at a time.")
    folder = work / "accuracy"
    runs: dict[str, list[dict[str, float]]] = {one.name: [] for one in chosen}
    for seed in range(args.seeds):
        # Each seed has a head of its own, the same for both sides.
        source.write(folder / "model", size, rows, seed)
        rows.save(folder / "rows.npz")
        judged.save(folder / "validation.npz")
        shift = seed % len(chosen)
        for one in chosen[shift:] + chosen[:shift]:
            done = _one_run(args, one, folder, seed)
            say(f"seed {seed}, {one.name}: {done['accuracy']:.4f}")
            runs[one.name].append({"seed": seed, **done})
    entries = {
        one.name: {"title": one.title, "precision": one.precision, "runs": runs[one.name]}
        for one in chosen
    }
    results["accuracy"] = {
        "train": args.data.name,
        "rows": len(rows.labels),
        "validation": args.validation.name,
        "judged": len(judged.labels),
        "epochs": args.epochs,
        "rate": args.rate,
        "size": list(size),
        "weights": source.name if size == own else "random",
        "contenders": entries,
    }


def _one_run(args: argparse.Namespace, one: Contender, folder: Path, seed: int) -> dict[str, float]:
    settings = {
        "part": "whole",
        "folder": str(folder),
        "batch": args.batch,
        "dropout": args.dropout,
        "threads": args.threads,
    }
    logs = args.out / "logs" / f"accuracy-{seed}"
    workers, _, notes = contenders.start([one], settings, logs, ENGINE)
    if not workers:
        raise BertError(f"{one.name} could not start: {'; '.join(notes)}")
    try:
        return workers[0].ask(do="run", epochs=args.epochs, rate=args.rate, seed=seed)
    finally:
        workers[0].close()


def _mean_and_deviation(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def markdown(results: dict[str, Any]) -> str:
    """The table with what was run above it, without a title."""
    found, settings = results["accuracy"], results["settings"]
    layers, width = found["size"]
    header = ["", "precision", "accuracy of each", "mean", "deviation", "difference", "a run"]
    table = [header, ["---"] * len(header)]
    entries = found["contenders"]
    for entry in entries.values():
        own = [one["accuracy"] for one in entry["runs"]]
        mean, deviation = _mean_and_deviation(own)
        rival = entries.get(f"hugging_face-{entry['precision']}", entry)
        difference = ""
        if rival is not entry:
            other = [one["accuracy"] for one in rival["runs"]]
            difference = f"{100 * (mean - statistics.fmean(other)):+.2f} points"
        seconds = statistics.median(one["seconds"] for one in entry["runs"])
        table.append(
            [
                entry["title"],
                entry["precision"],
                ", ".join(f"{value:.4f}" for value in own),
                f"**{mean:.4f}**",
                f"{deviation:.4f}",
                difference,
                f"{seconds:.0f} s",
            ]
        )
    lines = [
        f"Measured {results['date']} with {settings['threads']} threads for each, on "
        f"{results['machine']['cpu']}.",
        f"{found['train']}, {found['rows']:,} rows, judged by {found['validation']}, "
        f"{found['judged']:,} rows; {layers} layers x {width} ({found['weights']}), "
        f"{found['epochs']} epochs, batches of {settings['batch']}, learning rate "
        f"{found['rate']:g}, dropout {settings['dropout']:g}. A run is all of it but reading and "
        f"tokenizing: compiling, training, judging after each epoch, writing the model.",
        "",
        *(f"| {' | '.join(row)} |" for row in table),
    ]
    return "\n".join(lines) + "\n"


def write(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Writes the files and prints the table."""
    text = markdown(results)
    for folder in [args.out, *([HERE] if args.update_readme else [])]:
        figures = json.dumps(results, indent=1)
        (folder / f"{NAME}.json").write_text(figures, encoding="utf-8")
    (args.out / f"{NAME}.md").write_text(f"# Accuracy\n\n{text}", encoding="utf-8")
    if args.update_readme:
        report.update_readme(HERE / "README.md", text, MARKERS)
    print(text)
