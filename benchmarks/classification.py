"""What `run_classifier.py` achieves on real texts, next to counting words and a random start.

python benchmarks/classification.py --data_dir sets --out out

The folder holds the sets as their authors published them: sst2/{train,dev,test}.tsv,
sms_spam/SMSSpamCollection, sick/SICK_{train,trial,test_annotated}.txt and
mrpc/msr_paraphrase_{train,test}.txt. Each row of the tables is a command, run as it stands.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import report
from classification_baseline import measure_baseline
from machine import describe
from tasks import say

from bert_tf.data import LabelledSplits, Layout, load_splits, load_task

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent / "run_classifier.py"
NAME = "results-classification"
MARKERS = ("<!-- classification: begin -->", "<!-- classification: end -->")


@dataclasses.dataclass(frozen=True)
class Set:
    """A set of texts, and how it is trained on.

    Attributes:
        title: for the table.
        flags: of `run_classifier.py` but for where to; `{data}` is the folder of the sets.
        metrics: shown; by the first the baseline is chosen on validation rows.
        shares: whether the metrics are shown in percent.
    """

    title: str
    flags: str
    metrics: tuple[str, ...]
    shares: bool = True


_SICK = (
    "--train {data}/sick/SICK_train.txt --validation {data}/sick/SICK_trial.txt "
    "--test {data}/sick/SICK_test_annotated.txt --text sentence_A --text_pair sentence_B "
)
SETS = {
    "sst2": Set(
        "SST-2, two classes",
        "--train {data}/sst2/train.tsv --validation {data}/sst2/dev.tsv "
        "--test {data}/sst2/test.tsv",
        ("accuracy",),
    ),
    "sms": Set(
        "SMS spam, 13 % spam",
        "--train {data}/sms_spam/SMSSpamCollection --metric macro_f1",
        ("macro_f1", "accuracy"),
    ),
    "sick": Set(
        "SICK, inference, three classes", _SICK + "--label entailment_judgment", ("accuracy",)
    ),
    "sick_relatedness": Set(
        "SICK, relatedness, a number",
        _SICK + "--label relatedness_score --task regression",
        ("pearson", "spearman"),
        shares=False,
    ),
    "mrpc": Set(
        "MRPC, paraphrase or not",
        "--task_name=MRPC --do_train=true --do_eval=true --data_dir={data}/mrpc "
        "--learning_rate=5e-4 --num_train_epochs=4 --keep_best=true",
        ("accuracy", "f1"),
    ),
}
COMPARED = {
    "sick": ("sick", "--precision bfloat16"),
    "sst2": ("sst2", "--num_train_epochs 4 --precision bfloat16"),
    # The rate that is usual for larger encoders.
    "sst2_low_rate": ("sst2", "--learning_rate 1e-4 --num_train_epochs 4 --precision bfloat16"),
}
"""Where a pretrained start is compared with a random one: the set, and further flags."""


def main() -> None:
    """Runs what was chosen, and writes tables and all numbers."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / f"{NAME}.json"
    results = {"machine": describe(), "checkpoint": args.checkpoint, "sets": {}, "starts": {}}
    if kept.exists():  # runs of an earlier time, of other sets
        results |= {
            name: value
            for name, value in json.loads(kept.read_text(encoding="utf-8")).items()
            if name in ("sets", "starts") or not (args.sets or args.starts)
        }
    for name in args.sets:
        found = results["sets"][name] = one_set(name, args)
        say(f"{name}: {found['test']} in {found['minutes']:.1f} minutes")
        _write(kept, results)
    for name in args.starts:
        results["starts"][name] = starts(name, args)
        _write(kept, results)
    text = markdown(results)
    (args.out / f"{NAME}.md").write_text(text, encoding="utf-8")
    print(text)
    if args.update is not None:
        report.update_readme(args.update, f"\n{text}\n", MARKERS)


def one_set(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains on a set from the checkpoint, and counts words on the same rows."""
    run = train(name, args, "checkpoint", args.seed)
    baseline, chosen = measure_baseline(read(name, args.data_dir), SETS[name].metrics[0])
    return {**run, "baseline": baseline, "baseline_chosen": chosen}


def starts(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The same steps from the checkpoint and from random weights, for some seeds each."""
    of, flags = COMPARED[name]
    found: dict[str, Any] = {"checkpoint": [], "random": []}
    for seed in range(args.seeds):
        for start, runs in found.items():
            runs.append(train(of, args, start, seed, flags)["test"])
            say(f"{name}, {start}, seed {seed}: {runs[-1][SETS[of].metrics[0]]:.4f}")
    return found


def train(
    name: str, args: argparse.Namespace, start: str, seed: int, more: str = ""
) -> dict[str, Any]:
    """One run of the command, in a folder of its own: the test metrics and the minutes it took."""
    folder = args.out / f"{name}-{start}-{seed}{more.replace(' ', '')}"
    flags = f"{SETS[name].flags} {more}".strip() + f" --seed {seed}" * (seed != 0)
    flags += f" --init_checkpoint {args.checkpoint}" if args.checkpoint else ""
    flags += " --start random" if start == "random" else ""
    words = flags.format(data=args.data_dir).split()
    done = folder / "minutes.json"
    if not done.exists():
        command = [sys.executable, str(SCRIPT), *words, "--output_dir", str(folder)]
        began = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        minutes = (time.monotonic() - began) / 60
        if ended.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
        (folder / "printed.txt").write_text(ended.stdout + ended.stderr, encoding="utf-8")
        done.write_text(json.dumps(minutes), encoding="utf-8")
    evaluation = json.loads((folder / "evaluation" / "test.json").read_text(encoding="utf-8"))
    return {
        "command": "python run_classifier.py " + flags.replace("{data}/", ""),
        "minutes": json.loads(done.read_text(encoding="utf-8")),
        "test": evaluation["metrics"],
        "examples": evaluation["examples"],
    }


def read(name: str, folder: str) -> LabelledSplits:
    """A set's rows, split and cleaned as `run_classifier.py` does it."""
    if name == "mrpc":
        return load_task("MRPC", f"{folder}/mrpc")
    if name == "sst2":
        return load_splits(*(f"{folder}/sst2/{part}.tsv" for part in ("train", "dev", "test")))
    if name == "sms":
        return load_splits(f"{folder}/sms_spam/SMSSpamCollection")
    layout = Layout(text="sentence_A", text_pair="sentence_B", label="entailment_judgment")
    if name == "sick_relatedness":
        layout = dataclasses.replace(layout, label="relatedness_score", task="regression")
    parts = ("train", "trial", "test_annotated")
    return load_splits(*(f"{folder}/sick/SICK_{part}.txt" for part in parts), layout=layout)


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    lines = [report.machine_line(results["machine"]), ""]
    if results["sets"]:
        lines += ["| set | test rows | minutes | bert_tf | TF-IDF |", "|---|---|---|---|---|"]
    for name, found in results["sets"].items():
        chosen = SETS[name]
        ours, theirs = (
            ", ".join(f"{_title(m)} {_shown(found[who][m], chosen)}" for m in chosen.metrics)
            for who in ("test", "baseline")
        )
        size = f"{found['examples']:,} | {found['minutes']:.1f}"
        lines.append(f"| {chosen.title} | {size} | {ours} | {theirs} |")
    if results["sets"]:
        lines += ["", "```sh", *(found["command"] for found in results["sets"].values()), "```"]
    if results["starts"]:
        lines += _starts_lines(results["starts"])
    return "\n".join(lines) + "\n"


def _starts_lines(found: dict[str, Any]) -> list[str]:
    seeds = max(len(runs["random"]) for runs in found.values())
    lines = [
        "",
        "The same steps from the checkpoint's weights and from random ones (`--start random`),",
        f"accuracy in percent for {seeds} seeds each.",
        "",
        "| set | further flags | pretrained | random start | gained |",
        "|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        of, flags = COMPARED[name]
        metric = SETS[of].metrics[0]
        values = {start: [100 * run[metric] for run in runs[start]] for start in runs}
        means = {start: statistics.fmean(each) for start, each in values.items()}
        cells = [
            f"{means[start]:.1f} ({', '.join(f'{value:.1f}' for value in values[start])})"
            for start in ("checkpoint", "random")
        ]
        gained = round(means["checkpoint"] - means["random"], 1) + 0.0  # no -0.0
        lines.append(f"| {SETS[of].title} | `{flags}` | {' | '.join(cells)} | {gained:+.1f} |")
    return lines


def _title(metric: str) -> str:
    return {"macro_f1": "macro F1", "f1": "F1"}.get(metric, metric)


def _shown(value: float, chosen: Set) -> str:
    return f"{100 * value:.1f} %" if chosen.shares else f"{value:.3f}"


def _write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="the folder with the sets")
    parser.add_argument("--out", type=Path, default=HERE / "out" / "classification")
    parser.add_argument("--checkpoint", help="to begin from; the embedded one when left out")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument(
        "--starts", nargs="*", choices=COMPARED, default=[], help="compare with a random start"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the runs of --sets (0)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each of --starts (3)")
    parser.add_argument("--update", type=Path, help="a Markdown file to put the tables into")
    return parser.parse_args()


if __name__ == "__main__":
    main()
