"""How many pieces a second pretraining takes in, next to Hugging Face's BertForPreTraining.

    python benchmarks/training.py
    python benchmarks/training.py --quick       # a tiny model: only shows that everything works
    python benchmarks/training.py --only small_16x128_dropout_0.1 --backends tensorflow

A step is forward, backward, clipping and Adam on masked words and next sentence; the same config,
weights, batches, dropout and precision for all. Writes results-training.json, .md and .png to
--out and prints the table. README.md in this folder says what the figures mean.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import signal
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import contenders
import machine
import numpy as np
import plot
import report
import tasks
from check import MismatchError
from contenders import Contender, Worker
from tasks import say

HERE = Path(__file__).resolve().parent
TRAINER = [sys.executable, str(HERE / "training_engines.py")]
MARKERS = ("<!-- training: begin -->", "<!-- training: end -->")
NAME = "results-training"
GOAL = 1.5
"""Times as fast as Hugging Face in the same precision, as was set."""

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far the losses of the first steps may lie from Hugging Face's in float32. With dropout each
library draws its own masks, and the losses of new weights still lie this close:"""
WITH_DROPOUT = 0.2


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained: one table of the report.

    Args:
        name: of the task in the results.
        title: of the table.
        label: below the bars.
        config: fields of `BertConfig`.
        rows: texts in a batch.
        length: pieces in each.
        masked: of them masked.
        dropout: both rates.
    """

    name: str
    title: str
    label: str
    config: dict[str, int]
    rows: int
    length: int
    masked: int
    dropout: float


def _config(vocabulary: int, layers: int, width: int, heads: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }


def _cases(name: str, config: dict[str, int], rows: int, length: int) -> list[Case]:
    size = f"{config['num_hidden_layers']} layers x {config['hidden_size']}"
    found = []
    for dropout in (0.0, 0.1):
        found.append(
            Case(
                f"{name}_{rows}x{length}_dropout_{dropout:g}",
                f"{size}, {config['vocab_size']:,} pieces, {rows} texts of {length}, "
                f"{f'dropout {dropout:g}' if dropout else 'no dropout'}",
                f"{size}\n{rows} x {length}\n{f'dropout {dropout:g}' if dropout else ''}",
                config,
                rows,
                length,
                round(0.2 * length),
                dropout,
            )
        )
    return found


CASES = [
    *_cases("small", _config(16_000, 4, 256, 4), 16, 128),
    *_cases("small", _config(16_000, 4, 256, 4), 32, 64),
    *_cases("middle", _config(30_522, 6, 384, 6), 16, 128),
]
"""The size of the checkpoint that comes with bert_tf, in two shapes of batch, and a larger one."""

QUICK = _cases("tiny", _config(200, 1, 32, 2), 2, 16)


def _contenders(precision: str) -> list[Contender]:
    rival = ("torch", "transformers")
    return [
        Contender("hugging_face", precision, "Hugging Face", rival),
        Contender(
            "hugging_face_gathered", precision, "Hugging Face, masked positions alone", rival
        ),
        Contender("ours", precision, "bert_tf, TensorFlow", ("tensorflow",), "tensorflow"),
        Contender("ours", precision, "bert_tf, JAX", ("jax",), "jax"),
    ]


ALL = [*_contenders("float32"), *_contenders("bfloat16")]


def add_arguments(parser: argparse.ArgumentParser, runs: int, backends: str) -> None:
    """What the benchmarks of training and of fine-tuning both take."""
    parser.add_argument("--quick", action="store_true", help="a tiny model and few rounds")
    parser.add_argument("--runs", type=int, help=f"rounds ({runs})")
    parser.add_argument("--threads", type=int, default=2, help="for each contender (2)")
    parser.add_argument("--backends", default=backends, help=f"which of ours ({backends})")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder for the results")
    parser.add_argument(
        "--update-readme",
        action="store_true",
        help="put the tables into benchmarks/README.md, the figures and the picture next to it",
    )


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [case.name for case in CASES]
    parser.add_argument("--only", help=f"cases to run: {','.join(names)}")
    parser.add_argument("--steps", type=int, help="steps of a turn (5)")
    add_arguments(parser, runs=9, backends="tensorflow,jax")
    args = parser.parse_args(argv)
    chosen = QUICK if args.quick else CASES
    wanted = args.only.split(",") if args.only else [case.name for case in chosen]
    unknown = set(wanted) - {case.name for case in chosen}
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    if args.update_readme and args.quick:
        parser.error("the figures of --quick mean nothing; leave out --update-readme")
    args.cases = [case for case in chosen if case.name in wanted]
    args.backends, args.precisions = args.backends.split(","), args.precisions.split(",")
    args.runs = args.runs or (2 if args.quick else 9)
    args.steps = args.steps or (1 if args.quick else 5)
    return args


def choose(args: argparse.Namespace) -> tuple[list[Contender], list[str]]:
    """The contenders that were asked for and whose packages are there; notes on the others."""
    return contenders.present(
        one
        for one in ALL
        if one.precision in args.precisions and (not one.backend or one.backend in args.backends)
    )


def goals(cases: list[Case]) -> list[report.Goal]:
    """Each of ours against Hugging Face in the same precision, in every case."""
    return [
        report.Goal(case.name, one.name, one.rival, GOAL)
        for case in cases
        for one in ALL
        if one.backend
    ]


def agree(losses: dict[str, list[float]], dropout: float) -> float:
    """Makes sure that all train the same: the losses of the first steps, step by step.

    Args:
        losses: by the contender's name.
        dropout: with it the losses can only be near each other.

    Returns:
        The largest difference from the reference, Hugging Face in float32 if it takes part.

    Raises:
        MismatchError: one computes something else.
    """
    reference = "hugging_face-float32"
    reference = reference if reference in losses else next(iter(losses))
    worst = 0.0
    for name, own in losses.items():
        allowed = WITH_DROPOUT if dropout else TOLERANCE[name.rpartition("-")[2]]
        # numpy's largest is no number if one of them is none, unlike Python's.
        off = float(np.max(np.abs(np.subtract(own, losses[reference]))))
        if not off <= allowed:
            raise MismatchError(
                f"{name} trains otherwise than {reference}: the losses of the first steps are "
                f"{own} in place of {losses[reference]}"
            )
        worst = max(worst, off)
    return worst


def fastest_attention(workers: list[Worker], repeat: int) -> dict[str, dict[str, float]]:
    """Lets each of Hugging Face try both of its implementations, and keep the faster."""
    return {
        worker.contender.name: worker.ask(do="choose", repeat=repeat)["seconds"]
        for worker in workers
        if worker.contender.kind.startswith("hugging_face")
    }


def run_case(
    args: argparse.Namespace, case: Case, chosen: list[Contender], notes: list[str]
) -> dict[str, Any] | None:
    """One table: all contenders loaded and checked, then in turn; None if none could start."""
    say(f"{case.name}: loading {', '.join(one.name for one in chosen)}")
    settings = {"case": dataclasses.asdict(case), "threads": args.threads}
    logs = args.out / "logs" / case.name
    workers, _, told = contenders.start(chosen, settings, logs, TRAINER)
    try:
        notes += [f"{case.name}: {note}" for note in told]
        if not workers:
            return None
        say("checking that all train the same")
        count = 2 if args.quick else 4
        losses = {w.contender.name: w.ask(do="losses", count=count)["losses"] for w in workers}
        worst = agree(losses, case.dropout)
        attention = fastest_attention(workers, args.steps)
        say("training in turn")
        seconds = tasks.rounds(workers, {"do": "train"}, args.runs, args.steps)
        told = [
            f"{min(found, key=lambda name: found[name])} in {name.rpartition('-')[2]}"
            for name, found in attention.items()
            if name.startswith("hugging_face-")
        ]
        note = f"{case.masked} pieces of each text masked; the time is that of one step"
        note += f"; Hugging Face's attention: {', '.join(told)}" if told else ""
        pieces = case.rows * case.length / 1000
        taking_part = [worker.contender for worker in workers]
        done = tasks.task(seconds, taking_part, note, pieces, "1,000 pieces/s")
        for worker in workers:
            entry = done["contenders"][worker.contender.name]
            entry["memory"] = worker.ask(do="memory")["bytes"]
        return done | {"losses": losses, "losses_differ": worst, "attention": attention}
    finally:
        for worker in workers:
            worker.close()


def checked(cases: list[Case], done: dict[str, Any]) -> str:
    """The sentence on what was compared before anything was timed; empty if nothing was."""
    exact = [done[c.name]["losses_differ"] for c in cases if c.name in done and not c.dropout]
    if not exact:
        return ""
    return (
        f"Before anything was timed, the losses of the first steps of all, without dropout, "
        f"differed by {max(exact):.1g} at most."
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the cases that were asked for and writes the results."""
    args = arguments(argv)
    described = machine.describe()
    args.threads = min(args.threads, described["cores"])
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    contenders.share_processors(args.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process is left frozen
    chosen, notes = choose(args)
    for note in notes:
        say(note)
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": described,
        "settings": {
            "threads": args.threads,
            "runs": args.runs,
            "steps": args.steps,
            "quick": args.quick,
        },
        "checkpoint": {"what": "random weights, the size as said with each table"},
        "remarks": notes,
        "agreement": {},
        "tasks": {},
    }
    before, began = machine.processor_seconds(), perf_counter()
    try:
        for case in args.cases:
            done = run_case(args, case, chosen, notes)
            if done:
                results["tasks"][case.name] = done
    except (MismatchError, contenders.WorkerError) as error:
        sys.exit(f"training.py: {error}")
    if not results["tasks"]:
        sys.exit("training.py: no contender could start")
    results["disturbance"] = machine.disturbance(before, perf_counter() - began)
    results["checked"] = checked(args.cases, results["tasks"])
    results["goals"] = [] if args.quick else report.judge(results["tasks"], goals(args.cases))
    write(args, results)


def write(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Writes the files and prints the tables."""
    text = report.markdown(results, {case.name: case.title for case in args.cases})
    labels = {case.name: case.label for case in args.cases}
    for folder in [args.out, *([HERE] if args.update_readme else [])]:
        figures = json.dumps(results, indent=1)
        (folder / f"{NAME}.json").write_text(figures, encoding="utf-8")
        rival = "Hugging Face's BertForPreTraining in training"
        drawn = plot.draw(results, folder / f"{NAME}.png", labels, rival)
    (args.out / f"{NAME}.md").write_text(f"# Training\n\n{text}", encoding="utf-8")
    if not drawn:
        say("no picture: matplotlib is not installed, or there is nothing to compare")
    if args.update_readme:
        picture = f"\n![Training: ratios to Hugging Face]({NAME}.png)\n" if drawn else ""
        report.update_readme(HERE / "README.md", text + picture, MARKERS)
    print(text)


if __name__ == "__main__":
    main()
