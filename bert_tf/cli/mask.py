"""`bert_tf mask`: what stands at the [MASK]s of a text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bert_tf.cli.answering import answer_all
from bert_tf.cli.lines import open_source
from bert_tf.cli.options import (
    add_model_options,
    add_stream_options,
    check_checkpoint,
    load_bert,
    positive,
)
from bert_tf.cli.output import JsonForm, TextForm
from bert_tf.files.whole import check_output
from bert_tf.report import bar, percent, printable, table

if TYPE_CHECKING:
    from bert_tf.tasks import FilledText

HELP = "what stands at the [MASK]s of a text"
DESCRIPTION = """\
Fills each [MASK] in the texts: prints the filled text, then the best words for each mask.
Without a text: answers the lines of standard input, or asks for texts on a terminal.
"""
EXAMPLES = """\
examples (with the small model that comes along, unless $BERT_TF_CHECKPOINT names another):
  bert_tf mask "Я пришел в [MASK] и купил [MASK]."
  bert_tf mask --top-k 10 --candidates дом,магазин,театр "Я пришел в [MASK]."
  bert_tf mask --mode joint "He plays the [MASK] in a [MASK]."
  bert_tf mask --whole-words --max-pieces 3 "The capital of Poland is [MASK]."
  bert_tf mask --json --input texts.txt --output answers.jsonl
"""

_MODES = {
    "independent": "each mask alone",
    "sequential": "one mask after another",
    "joint": "all masks together",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text with [MASK] in it")
    add_stream_options(parser, "a file with one text a line, in UTF-8")
    add_model_options(parser)
    answers = parser.add_argument_group("the answers")
    answers.add_argument(
        "--top-k", type=positive, default=5, metavar="N", help="words for each mask (5)"
    )
    answers.add_argument(
        "--mode",
        choices=_MODES,
        default="independent",
        help="with several masks in a text: fill each alone (independent, the default), one after "
        "another, the surest first (sequential), or find the words that fit best together (joint)",
    )
    answers.add_argument(
        "--whole-words", action="store_true", help='leave out pieces that go on a word ("##...")'
    )
    answers.add_argument(
        "--max-pieces",
        type=positive,
        default=1,
        metavar="N",
        help="also try words of up to N pieces (1)",
    )
    answers.add_argument(
        "--candidates",
        metavar="WORD,WORD,...",
        help="choose among these words only; they may be of several pieces",
    )
    answers.add_argument(
        "--too-long",
        choices=("error", "window"),
        default="error",
        help="a text longer than the model takes: refuse it (error, the default), or show the "
        "model a window around each mask",
    )
    answers.add_argument(
        "--stride", type=positive, default=128, metavar="N", help="from window to window (128)"
    )


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    check_checkpoint(args)
    candidates = None
    if args.candidates is not None:
        candidates = [word.strip() for word in args.candidates.split(",") if word.strip()]
    source = open_source(args.input, args.texts)
    if args.output is not None:
        args.output = check_output(args.output, args.overwrite, args.input)
    options = {
        "top_k": args.top_k,
        "mode": args.mode,
        "whole_words": args.whole_words,
        "max_pieces": args.max_pieces,
        "candidates": candidates,
        "too_long": args.too_long,
        "stride": args.stride,
    }
    bert = load_bert(args)
    from bert_tf.tasks import FillMask

    return answer_all(
        args,
        FillMask(bert, batch_size=args.batch_size, **options),
        JsonForm() if args.json else TextForm(show),
        source,
        args.texts,
        "Type a text with [MASK] in it.",
        ["text> "],
        {"task": "mask", "json": args.json, **options},
    )


def show(result: FilledText) -> str:
    """A result as text for people."""
    parts = [printable(result.filled, keep="\n\t")]
    together = result.mode == "joint" and bool(result.combinations)
    if together:
        rows = [
            [" ".join(map(printable, c.words)), percent(c.probability), bar(c.probability)]
            for c in result.combinations
        ]
        parts.append(f"{_MODES['joint']}\n{table(rows, '<>')}")
    several = len(result.masks) > 1
    for number, mask in enumerate(result.masks, 1):
        title = f"mask {number} of {len(result.masks)}" if several else "mask"
        if several:
            title += f", {_MODES['independent' if together else result.mode]}"
        rows = [
            [printable(guess.word), percent(guess.probability), bar(guess.probability)]
            for guess in mask.guesses
        ]
        parts.append(f"{title}\n{table(rows, '<>')}")
    return "\n\n".join(parts)
