"""`bert_tf nsp`: how probable it is that one sentence follows another."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

from bert_tf.cli.answering import answer_all, in_pairs, prepare
from bert_tf.cli.options import Parser, add_model_options, add_stream_options, load_bert
from bert_tf.cli.output import JsonForm, TextForm
from bert_tf.errors import BertError
from bert_tf.files.reading import parse_json

if TYPE_CHECKING:
    from bert_tf.tasks import NextSentenceResult
    from bert_tf.tasks.bulk import Form

HELP = "predict how probable it is that one sentence follows another"
DESCRIPTION = """\
Predicts for each pair of sentences how probable it is that the second follows the first.
Without a sentence: answers the lines of standard input, or asks for sentences on a terminal.
"""
EXAMPLES = """\
examples (with the small model that comes along, unless $BERT_TF_CHECKPOINT names another):
  bert_tf nsp "I went to the store." "I bought milk."
  bert_tf nsp "First A." "First B." "Second A." "Second B."
  bert_tf nsp --json --input pairs.tsv --output answers.jsonl

a line of a file is one of
  first sentence<TAB>second sentence
  ["first sentence", "second sentence"]
  {"first": "first sentence", "second": "second sentence"}
"""

Pair = tuple[str, str]


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.guard = False  # a sentence may be "no"
    parser.words("sentences", "SENTENCE", "two sentences, or more pairs of them")
    add_stream_options(parser, "a file with one pair a line, in UTF-8 (see below)")
    add_model_options(parser)


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    pairs = in_pairs(args.sentences)
    source = prepare(args, args.sentences, parse_pair)
    form: Form = TextForm(str)
    if args.json:
        form = JsonForm()
    elif source is not None or len(pairs) > 1:
        form = TextForm(show_row, "", _line("okay", "B follows A", "label", "A", "B"))
    bert = load_bert(args)
    from bert_tf.tasks import NextSentence

    return answer_all(
        args,
        NextSentence(bert, batch_size=args.batch_size),
        form,
        source,
        pairs,
        "Type two sentences.",
        ["first>  ", "second> "],
        {"task": "nsp", "json": args.json},
    )


def parse_pair(line: str) -> Pair:
    """The pair in a line of a file: two columns with a TAB between them, or JSON.

    Raises:
        BertError: it is neither.
    """
    columns = line.split("\t")
    value: Any = columns
    if len(columns) != 2:
        with contextlib.suppress(ValueError):
            value = parse_json(line)
    if isinstance(value, dict):
        value = [value.get("first"), value.get("second")]
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value):
        return value[0], value[1]
    if isinstance(value, list) and value is not columns:
        raise BertError(
            'a pair in JSON is ["first", "second"] or {"first": "...", "second": "..."}, and '
            "this line has other JSON."
        )
    raise BertError(
        f"a pair is two columns with one TAB between them, or JSON, and this line has "
        f"{len(columns)} column{'s' if len(columns) > 1 else ''}."
    )


def show_row(result: NextSentenceResult) -> str:
    """A result as a line of a table, which needs no other to be printed."""
    okay, label = round(100 * result.probability), result.label + (", cut" if result.cut else "")
    return _line(f"{okay} %", f"{result.probability:.4f}", label, result.first, result.second)


def _line(okay: str, probability: str, label: str, first: str, second: str) -> str:
    from bert_tf.report import printable, shorten, width

    first, second = (shorten(printable(text), 36) for text in (first, second))
    first += " " * (36 - width(first))
    return f"{okay:>5}  {probability:>11}  {label:<12}  {first}  {second}"
