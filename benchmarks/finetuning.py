"""How fast classifiers are fine-tuned, and how fast they predict, next to Hugging Face's Trainer.

    python benchmarks/finetuning.py --data train.tsv
    python benchmarks/finetuning.py --data train.tsv --sizes 2x128,6x384 --parts predict
    python benchmarks/finetuning.py --accuracy --data train.tsv --validation dev.tsv
    python benchmarks/finetuning.py --quick     # a tiny model: only shows that everything works

Both get the same rows of pieces, weights, batch, dropout, optimizer and precision. Writes
results-finetuning.json, .md and .png to --out and prints the table; with --accuracy
results-finetuning-accuracy.json and .md. README.md in this folder says what the figures mean.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import contenders
import finetuning_accuracy
import machine
import numpy as np
import plot
import report
import tasks
import training
from check import MismatchError
from contenders import Contender, Worker
from finetuning_rows import Rows, Source, made_up_rows, places_of, read_rows
from tasks import say

from bert_tf.data.labelled.reading import Layout
from bert_tf.errors import BertError

HERE = Path(__file__).resolve().parent
ENGINE = [sys.executable, str(HERE / "finetuning_engines.py")]
MARKERS = ("<!-- finetuning: begin -->", "<!-- finetuning: end -->")
NAME = "results-finetuning"
PARTS = ("train", "predict")
GOALS = {
    ("train", "tensorflow-float32"): 2.0,
    ("train", "tensorflow-bfloat16"): 1.4,
    ("predict", "openvino-float32"): 3.0,
}
"""Times as fast as Hugging Face in the same precision, as was set."""

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""How far scores and probabilities may lie from Hugging Face's in float32."""

TELLING = 1e-2
"""How far the scores of different rows must lie from each other for that to mean anything."""

TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "openvino": "OpenVINO"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One table of the report.

    Args:
        part: one of `PARTS`.
        layers: of the encoder.
        width: of its layers.
        batch: rows of a batch.
    """

    part: str
    layers: int
    width: int
    batch: int

    @property
    def name(self) -> str:
        """Of the task in the results."""
        return f"{self.part}_{self.layers}x{self.width}"

    @property
    def title(self) -> str:
        """Of the table."""
        what = {"train": "Full fine-tuning", "predict": "Prediction"}[self.part]
        return f"{what}, {self.layers} layers x {self.width}, batches of {self.batch}"

    @property
    def label(self) -> str:
        """Below the bars."""
        what = {"train": "fine-tuning", "predict": "prediction"}[self.part]
        return f"{what}\n{self.layers} x {self.width}"


def size_of(text: str) -> tuple[int, int]:
    """Layers and width from `4x256`."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found or (int(found[2]) > 64 and int(found[2]) % 64):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; give layers x width, such as 4x256, the width a multiple of 64"
        )
    return int(found[1]), int(found[2])


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="labelled rows; made-up ones if left out")
    for column in ("text", "text_pair", "label"):
        parser.add_argument(f"--{column}", help="a column of --data, if it cannot be told")
    parser.add_argument("--checkpoint", default="demo_multi_cased", help="(demo_multi_cased)")
    parser.add_argument("--sizes", help="layers x width (the checkpoint's); others start at random")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"({','.join(PARTS)})")
    parser.add_argument("--rows", type=int, help="rows of a turn, drawn from --data (1024)")
    parser.add_argument("--max_seq_length", type=int, default=128, help="(128)")
    parser.add_argument("--batch", type=int, default=32, help="(32)")
    parser.add_argument("--dropout", type=float, default=0.1, help="(0.1)")
    training.add_arguments(parser, runs=7, backends="tensorflow,openvino")
    finetuning_accuracy.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        args.sizes = [size_of(text) for text in args.sizes.split(",")] if args.sizes else None
    except argparse.ArgumentTypeError as error:
        parser.error(f"--sizes: {error}")
    for name, known in (
        ("parts", PARTS),
        ("backends", TITLES),
        ("precisions", TOLERANCE),
    ):
        given = getattr(args, name).split(",")
        setattr(args, name, given)
        if unknown := set(given) - set(known):
            parser.error(f"--{name}: there is no {', '.join(sorted(unknown))}")
    if args.update_readme and args.quick:
        parser.error("the figures of --quick mean nothing; leave out --update-readme")
    if args.accuracy and not (args.data and args.validation):
        parser.error("--accuracy needs --data to train on and --validation to judge by")
    if args.data is None and args.update_readme:
        parser.error("made-up rows are for trying; give --data with --update-readme")
    if args.quick:
        args.sizes = args.sizes or [(1, 32)]
    args.runs = args.runs or (2 if args.quick else 7)
    args.rows = args.rows or (2 * args.batch if args.quick else 1024)
    if args.batch < 1 or args.rows < args.batch:
        parser.error(f"--rows {args.rows} must be at least --batch {args.batch}, and that 1")
    return args


def all_of(part: str, precision: str) -> list[Contender]:
    """Everybody that takes part, ours and Hugging Face's."""
    needs = ("torch", "transformers", "accelerate")
    found = [
        Contender("hugging_face", precision, "Hugging Face", needs),
        Contender("hugging_face_by_length", precision, "Hugging Face, by length", needs),
    ]
    backends = ("tensorflow", "jax") if part == "train" else tuple(TITLES)
    return found + [
        Contender("ours", precision, f"bert_tf, {TITLES[name]}", (name,), name) for name in backends
    ]


def choose(args: argparse.Namespace, part: str) -> tuple[list[Contender], list[str]]:
    """The contenders that were asked for and whose packages are there; notes on the others."""
    return contenders.present(
        one
        for precision in args.precisions
        for one in all_of(part, precision)
        if not one.backend or one.backend in args.backends
    )


def same_scores(scores: dict[str, np.ndarray]) -> float:
    """Makes sure that all give the same for the same rows.

    Args:
        scores: by the contender's name, (rows, classes).

    Returns:
        The largest difference from the reference, Hugging Face in float32 if it takes part, among
        those that compute in float32.

    Raises:
        MismatchError: one gives something else.
    """
    reference = "hugging_face-float32"
    reference = reference if reference in scores else next(iter(scores))
    if np.ptp(scores[reference], axis=0).max() < TELLING:
        raise MismatchError(
            f"{reference} gives nearly the same scores for all rows; comparing them proves nothing"
        )
    worst = 0.0
    for name, own in scores.items():
        precision = name.rpartition("-")[2]
        off = float(np.max(np.abs(own - scores[reference])))
        if not off <= TOLERANCE[precision]:
            raise MismatchError(
                f"{name} gives other scores than {reference}: they differ by {off:.2g}, allowed "
                f"is {TOLERANCE[precision]:g}"
            )
        worst = max(worst, off) if precision == "float32" else worst
    return worst


def _scores(workers: list[Worker], folder: Path) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The scores of all, and the seconds of those that predict for the first time."""
    found, seconds = {}, {}
    for worker in workers:
        name = worker.contender.name
        reply = worker.ask(do="scores", path=str(folder / f"{name}.npy"))
        found[name] = np.load(reply["path"])
        if "seconds" in reply:
            seconds[name] = reply["seconds"]
    return found, seconds


def run_case(
    args: argparse.Namespace, case: Case, folder: Path, notes: list[str]
) -> dict[str, Any] | None:
    """One table: all contenders loaded and checked, then in turn; None if none could start."""
    chosen, told = choose(args, case.part)
    notes += told
    say(f"{case.name}: loading {', '.join(one.name for one in chosen)}")
    settings = {
        "part": case.part,
        "folder": str(folder),
        "batch": case.batch,
        "dropout": args.dropout,
        "threads": args.threads,
    }
    logs = args.out / "logs" / case.name
    workers, _, told = contenders.start(chosen, settings, logs, ENGINE)
    try:
        notes += [f"{case.name}: {note}" for note in told]
        if not workers:
            return None
        say("checking that all compute the same")
        scores, first = _scores(workers, folder)
        differ = {"scores_differ": same_scores(scores)}
        if case.part == "train":
            losses = {w.contender.name: w.ask(do="losses", count=6)["losses"] for w in workers}
            differ["losses_differ"] = training.agree(losses, 0.0)
        say("in turn")
        question = {"do": case.part}
        # All that is done but once is in it: making the model, compiling each length.
        first = first or {
            worker.contender.name: worker.ask(**question, repeat=1)["seconds"][0]
            for worker in workers
        }
        attention = training.fastest_attention(workers, 1 if args.quick else 2)
        seconds = tasks.rounds(workers, question, args.runs, 1)
        once = {
            name: max(0.0, first[name] - float(np.median(values)))
            for name, values in seconds.items()
        }
        rows = Rows.load(folder / "rows.npz")
        taking_part = [worker.contender for worker in workers]
        note = _note(case, rows, attention, {one: once[one.name] for one in taking_part})
        done = tasks.task(seconds, taking_part, note, len(rows.labels), "texts/s")
        for worker in workers:
            entry = done["contenders"][worker.contender.name]
            entry["memory"] = worker.ask(do="memory")["bytes"]
            entry["once_s"] = once[worker.contender.name]
        return done | differ | {"attention": attention}
    finally:
        for worker in workers:
            worker.close()


def _note(
    case: Case, rows: Rows, attention: dict[str, dict[str, float]], once: dict[Contender, float]
) -> str:
    """What stands next to the title of a table."""
    places = places_of(rows, case.batch)
    plain, ours = places["random"], places["ours" if case.part == "train" else "sorted"]
    ways = [
        f"{min(found, key=lambda way: found[way])} in {name.rpartition('-')[2]}"
        for name, found in attention.items()
        if name.startswith("hugging_face-")
    ]
    begun = ", ".join(
        f"{one.title}, {one.precision}, {value:.1f} s"
        for one, value in once.items()
        if one.kind != "hugging_face_by_length"
    )
    note = (
        f"the time is that of {len(rows.labels):,} texts of {rows.texts.lengths.mean():.1f} pieces "
        f"in the mean, {rows.texts.lengths.max()} at most; with padding a piece takes {ours:.2f} "
        f"places here and {plain:.2f} in Hugging Face's order"
    )
    note += f"; Hugging Face's attention: {', '.join(ways)}" if ways else ""
    return f"{note}; not counted is what the first time takes besides: {begun}"


def goals(cases: list[Case]) -> list[report.Goal]:
    """Each of ours against Hugging Face in the same precision, in every case."""
    return [
        report.Goal(case.name, own, f"hugging_face-{own.rpartition('-')[2]}", ratio)
        for case in cases
        for (part, own), ratio in GOALS.items()
        if part == case.part
    ]


def prepare_rows(args: argparse.Namespace, source: Source, notes: list[str]) -> Rows:
    """The rows of a turn: whole batches, so that each epoch has the same shapes."""
    if args.data is None:
        notes.append("the rows are made up, random pieces in lengths as of film reviews")
        count = args.rows // args.batch * args.batch
        return made_up_rows(source.vocab, source.config.vocab_size, count, args.max_seq_length)
    layout = Layout(text=args.text, text_pair=args.text_pair, label=args.label)
    rows, seconds = read_rows(
        args.data, layout, source.tokenizer, args.max_seq_length, count=args.rows
    )
    count = len(rows.labels) // args.batch * args.batch
    if not count:
        raise BertError(f"{args.data} has {len(rows.labels)} rows, less than a batch.")
    notes.append(
        f"{count:,} rows of {args.data.name}, tokenized beforehand for all ({seconds:.1f} s)"
    )
    return rows.head(count)


def checked(done: dict[str, Any]) -> str:
    """The sentence on what was compared before anything was timed."""
    told = []
    for part, what in (("train", "scores before training"), ("predict", "probabilities")):
        off = [t["scores_differ"] for name, t in done.items() if name.startswith(part)]
        told += [f"the {what} by {max(off):.1g}"] if off else []
    text = f"Before anything was timed, in float32 {' and '.join(told)} differed at most"
    off = [t["losses_differ"] for t in done.values() if "losses_differ" in t]
    if off:
        text += f"; the losses of the first steps of all, without dropout, by {max(off):.1g}"
    return f"{text}."


def run_cases(args: argparse.Namespace, work: Path, results: dict[str, Any]) -> None:
    """All tables; adds them to the results."""
    source = Source(args.checkpoint)
    rows = prepare_rows(args, source, results["remarks"])
    own = (source.config.num_hidden_layers, source.config.hidden_size)
    args.sizes = args.sizes or [own]
    args.cases = [Case(part, *size, args.batch) for size in args.sizes for part in args.parts]
    weights = [f"{source.name}'s" if size == own else "random" for size in args.sizes]
    results["checkpoint"] = {"what": f"{' and '.join(dict.fromkeys(weights))} weights"}
    for size in args.sizes:
        folder = work / f"{size[0]}x{size[1]}"
        source.write(folder / "model", size, rows)
        rows.save(folder / "rows.npz")
        for case in args.cases:
            if (case.layers, case.width) == size:
                done = run_case(args, case, folder, results["remarks"])
                if done:
                    results["tasks"][case.name] = done
    if not results["tasks"]:
        raise BertError("no contender could start.")
    results["remarks"] = list(dict.fromkeys(results["remarks"]))
    results["checked"] = checked(results["tasks"])
    results["goals"] = [] if args.quick else report.judge(results["tasks"], goals(args.cases))


def write(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Writes the files and prints the tables."""
    text = report.markdown(results, {case.name: case.title for case in args.cases})
    labels = {case.name: case.label for case in args.cases}
    for folder in [args.out, *([HERE] if args.update_readme else [])]:
        figures = json.dumps(results, indent=1)
        (folder / f"{NAME}.json").write_text(figures, encoding="utf-8")
        drawn = plot.draw(results, folder / f"{NAME}.png", labels, "Hugging Face's Trainer")
    (args.out / f"{NAME}.md").write_text(f"# Fine-tuning\n\n{text}", encoding="utf-8")
    if not drawn:
        say("no picture: matplotlib is not installed, or there is nothing to compare")
    if args.update_readme:
        picture = f"\n![Fine-tuning: ratios to Hugging Face]({NAME}.png)\n" if drawn else ""
        report.update_readme(HERE / "README.md", text + picture, MARKERS)
    print(text)


def main(argv: list[str] | None = None) -> None:
    """Runs what was asked for and writes the results."""
    args = arguments(argv)
    described = machine.describe()
    args.threads = min(args.threads, described["cores"])
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    contenders.share_processors(args.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process is left frozen
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": described,
        "settings": {
            name: getattr(args, name)
            for name in ("threads", "runs", "rows", "batch", "max_seq_length", "dropout", "quick")
        },
        "remarks": [],
        "agreement": {},
        "tasks": {},
    }
    run: Callable[..., None] = finetuning_accuracy.run if args.accuracy else run_cases
    work = Path(tempfile.mkdtemp(prefix="finetuning-", dir=args.out))
    before, began = machine.processor_seconds(), perf_counter()
    try:
        run(args, work, results)
    except (MismatchError, contenders.WorkerError, BertError) as error:
        sys.exit(f"finetuning.py: {error}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    results["disturbance"] = machine.disturbance(before, perf_counter() - began)
    (finetuning_accuracy.write if args.accuracy else write)(args, results)


if __name__ == "__main__":
    main()
