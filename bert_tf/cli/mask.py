"""`bert_tf mask`: predicts the words at the [MASK]s of a text."""

from __future__ import annotations

import argparse

from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.answering import answer_all, prepare
from bert_tf.cli.options import Parser, add_model_options, add_stream_options, load_bert
from bert_tf.cli.output import JsonForm, TextForm
from bert_tf.options import COUNT

HELP = "predict the words at the [MASK]s of a text"
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


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.guard = False  # a text may be "no"
    parser.words("texts", "TEXT", "a text with [MASK] in it")
    add_stream_options(parser, "a file with one text a line, in UTF-8")
    add_model_options(parser)
    parser.group("the answers")
    parser.number("top-k", "words for each mask", COUNT, 5)
    mode = "several masks: each alone, one after another from the surest, or all together"
    parser.text("mode", mode, "independent", choices=("independent", "sequential", "joint"))
    parser.switch("whole-words", 'leave out tokens that continue a word ("##...")')
    parser.number("max-pieces", "also try words of up to N tokens", COUNT, 1)
    candidates = "choose among these words only; they may be of several tokens"
    parser.text("candidates", candidates, metavar="WORD,WORD,...")
    long = "refuse a text longer than the model takes, or show it a window around each mask"
    parser.text("too-long", long, "error", choices=("error", "window"))
    parser.number("stride", "from window to window", COUNT, 128)


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    source = prepare(args, args.texts)
    candidates = None if args.candidates is None else comma_separated(args.candidates)
    names = ("top_k", "mode", "whole_words", "max_pieces", "too_long", "stride")
    options = {"candidates": candidates, **{name: getattr(args, name) for name in names}}
    bert = load_bert(args)
    from bert_tf.tasks import FillMask

    return answer_all(
        args,
        FillMask(bert, batch_size=args.batch_size, **options),
        JsonForm() if args.json else TextForm(str),
        source,
        args.texts,
        "Type a text with [MASK] in it.",
        ["text> "],
        {"task": "mask", "json": args.json, **options},
    )
