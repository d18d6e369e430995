"""Everything that is promised about speed, measured in one run next to the others.

    python benchmarks/run.py                 # 15 to 30 minutes, a model of multi_cased's size
    python benchmarks/run.py --quick         # a tiny model: only shows that everything works
    python benchmarks/run.py --only mask,encoder --backends openvino

Writes results.json, results.md and results.png to --out and prints the table. README.md beside
this file tells what the figures mean.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import check
import contenders
import machine
import plot
import report
import sentences
import tasks
from contenders import Contender
from tasks import say

PARTS = ("read", "cold", "mask", "encoder", "bulk")
README = Path(__file__).resolve().parent / "README.md"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out = Path(__file__).resolve().parent / "out"
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run: {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few rounds")
    parser.add_argument("--checkpoint", help="instead of random weights of multi_cased's size")
    parser.add_argument("--runs", type=int, help="rounds of a short task (15), fewer of a long")
    parser.add_argument("--threads", type=int, default=2, help="for each contender (2)")
    parser.add_argument("--backends", default="openvino,tensorflow,jax", help="which of ours")
    parser.add_argument(
        "--rivals",
        default="hugging_face,onnxruntime,raw_openvino",
        help="whom to compare with; at least hugging_face for ratios",
    )
    parser.add_argument("--out", type=Path, default=out, help="folder for everything written")
    parser.add_argument(
        "--update-readme", action="store_true", help="put the table into benchmarks/README.md"
    )
    args = parser.parse_args(argv)
    args.only = args.only.split(",")
    unknown = set(args.only) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    args.runs = args.runs or (2 if args.quick else 15)
    return args


def choose(args: argparse.Namespace) -> tuple[list[Contender], list[str]]:
    """The contenders that were asked for and whose packages are there; notes on the others."""
    asked = {*args.backends.split(","), *args.rivals.split(",")}
    return contenders.present(one for one in contenders.ALL if (one.backend or one.kind) in asked)


def checkpoint(args: argparse.Namespace) -> str:
    """The checkpoint to use; random weights are made when none is given."""
    if args.checkpoint:
        return args.checkpoint
    folder = args.out / ("tiny_cased_random" if args.quick else "multi_cased_random")
    if not (folder / "vocab.txt").exists():
        say(f"making random weights in {folder}")
        args.out.mkdir(parents=True, exist_ok=True)
        vocab = args.out / f"{folder.name}_vocab.txt"
        vocab.write_bytes(sentences.vocabulary(4000 if args.quick else 119547))
        script = Path(__file__).resolve().parent / "make_checkpoint.py"
        size = "tiny" if args.quick else "multi_cased"
        command = [sys.executable, str(script), str(folder), "--size", size, "--vocab", str(vocab)]
        subprocess.run([*command, "--overwrite"], check=True, stdout=sys.stderr)
    return str(folder)


def prepare(args: argparse.Namespace, chosen: list[Contender]) -> tuple[dict[str, str], Any, Any]:
    """Where the weights lie in each form, the config and the vocabulary."""
    from bert_tf.config import BertConfig
    from bert_tf.hub.locate import locate
    from bert_tf.text import Vocabulary

    path = checkpoint(args)
    with locate(path) as files:
        config = BertConfig.from_file(str(files.config_path))
        vocab = Vocabulary.load(str(files.vocab_path))
        index = Path(f"{files.prefix}.index").read_bytes()  # has the checksum of every tensor
    key = hashlib.sha256(index + vocab.raw).hexdigest()[:16]
    forms = args.out / "forms" / key
    kinds = {contender.kind for contender in chosen} - {"ours"}
    wanted = {kind if kind == "hugging_face" else "onnx" for kind in kinds}
    if not all((forms / form).exists() for form in wanted):
        say("exporting the weights for the others, once")
        script = Path(__file__).resolve().parent / "weights.py"
        onnx = ["--onnx"] if "onnx" in wanted else []
        command = [sys.executable, str(script), path, str(forms), *onnx]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"run.py: exporting failed: {result.stderr[-2000:]}")
    folders = {
        "checkpoint": path,
        "hugging_face": str(forms / "hugging_face"),
        "onnx": str(forms / "onnx"),
    }
    return folders, config, vocab


def main(argv: list[str] | None = None) -> None:
    """Runs the parts that were asked for and writes the results."""
    args = arguments(argv)
    described = machine.describe()
    args.threads = min(args.threads, described["cores"])
    args.out = args.out.resolve()
    contenders.share_processors(args.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process is left frozen
    chosen, notes = choose(args)
    for note in notes:
        say(note)
    folders, config, vocab = prepare(args, chosen)
    size = f"{config.num_hidden_layers} layers x {config.hidden_size}, {len(vocab):,} pieces"
    kind = "the checkpoint" if args.checkpoint else "random weights,"
    if "encoder" in args.only:
        described["operations_a_second"] = machine.multiplication_rate(args.threads)
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": described,
        "settings": {"threads": args.threads, "runs": args.runs, "quick": args.quick},
        "checkpoint": {"what": f"{kind} {Path(folders['checkpoint']).name}, {size}"},
        "remarks": notes,
        "agreement": {},
        "tasks": {},
    }
    before, began = machine.processor_seconds(), time.perf_counter()
    try:
        if "read" in args.only:
            results["tasks"]["read"] = tasks.run_read(args, chosen, folders)
        if "cold" in args.only:
            results["tasks"]["cold"] = tasks.run_cold(args, chosen, folders, config, vocab, notes)
        if {"mask", "encoder", "bulk"} & set(args.only):
            tasks.run_warm(args, chosen, folders, config, vocab, results)
    except (check.MismatchError, contenders.WorkerError) as error:
        sys.exit(f"run.py: {error}")
    results["disturbance"] = machine.disturbance(before, time.perf_counter() - began)
    results["goals"] = [] if args.quick else report.judge(results["tasks"])
    write(args, results)


def write(args: argparse.Namespace, results: dict[str, Any]) -> None:
    """Writes the files and prints the table."""
    text = report.markdown(results)
    (args.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (args.out / "results.md").write_text(f"# Results\n\n{text}", encoding="utf-8")
    if not plot.draw(results, args.out / "results.png"):
        say("no picture: matplotlib is not installed, or there is nothing to compare")
    if args.update_readme:
        report.update_readme(README, text)
    print(text)


if __name__ == "__main__":
    main()
