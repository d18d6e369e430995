"""`bert_tf convert`: a checkpoint in another type, or without the optimizer's slots."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bert_tf.cli.options import Parser, add_release_options
from bert_tf.options import SHARDS

if TYPE_CHECKING:
    from bert_tf.export.convert import ConvertReport

HELP = "rewrite a checkpoint: other type, other shards, without the optimizer's slots"
DESCRIPTION = """\
Reads a checkpoint in the original format and writes bert_config.json, vocab.txt and
bert_model.ckpt.* into a folder. The optimizer's slots, two thirds of what training leaves,
are left out. No weight changes unless --dtype asks for it.
"""
EXAMPLES = """\
examples:
  bert_tf convert output/model.ckpt-20000 released
  bert_tf convert multi_cased_L-12_H-768_A-12.zip half --dtype float16
  bert_tf convert demo_multi_cased wide --dtype float32   (for Google's own code)
  bert_tf convert released released --overwrite --shards 4
"""

WRITES = "target"
"""What names the output, which is written whole or not at all."""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="a folder, prefix, file or .zip")
    parser.add_argument("target", metavar="TARGET", help="the folder to write into")
    dtype = "type to store the weights in; each keeps its own when left out"
    parser.text("dtype", dtype, choices=("float32", "float16", "bfloat16"))
    parser.switch("keep-slots", "keep the optimizer's slots, to train on")
    parser.number("shards", "number of data files", SHARDS, 1)
    parser.switch("overwrite", "replace such files in TARGET if they exist")
    add_release_options(parser)


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from bert_tf import convert_checkpoint

    report = convert_checkpoint(
        args.source,
        args.target,
        config_path=args.config,
        vocab_path=args.vocab,
        num_shards=args.shards,
        **{name: getattr(args, name) for name in ("keep_slots", "dtype", "overwrite")},
    )
    print(show(report, args.dtype))
    return 0


def show(report: ConvertReport, dtype: str | None) -> str:
    """What was done, as text for people."""
    from bert_tf.checkpoint import is_training_state

    files = f"{report.num_shards} data file{'' if report.num_shards == 1 else 's'}"
    written = f"{len(report.written):,} tensors, {report.nbytes / 1e6:,.1f} MB in {files}"
    lines = [f"wrote {report.prefix}: {written}"]
    if report.cast:
        lines.append(f"{len(report.cast):,} of them are {dtype} now")
    state = [name for name in report.dropped if is_training_state(name)]
    text = [name for name in report.dropped if name not in state]
    for names, what in ((state, "of the training state"), (text, "that hold text, not numbers")):
        if names:
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            lines.append(f"left out {len(names):,} tensors {what}: {some}")
    return "\n".join(lines)
