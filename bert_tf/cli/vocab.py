"""`bert_tf vocab`: trains a word-piece vocabulary on plain text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.options import Parser
from bert_tf.errors import BertError
from bert_tf.options import COUNT, FRACTION, PORTION
from bert_tf.report import percent, table

if TYPE_CHECKING:
    from bert_tf.data.pretraining.vocabulary import TrainedVocabulary

HELP = "train a vocabulary of word pieces on plain text"
DESCRIPTION = """\
Trains a vocab.txt on plain text, gzipped or not, in the layout of the original's: [PAD] first,
[UNK], [CLS], [SEP] and [MASK] at 100 to 103, then single characters, then longer tokens. Each
pattern of --input_file is a group, such as a language; small groups get more than their share.
"""
EXAMPLES = """\
examples:
  bert_tf vocab --input_file=text.txt --output_file=vocab.txt --vocab_size=8000
  bert_tf vocab --input_file=en.txt.gz,'ja/*.txt' --output_file=vocab.txt --vocab_size=32000
  bert_tf vocab --input_file=en.txt --output_file=vocab.txt --do_lower_case
"""

WRITES = "output_file"
"""What names the output, which is written whole or not at all."""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    files = "text files or patterns, comma separated; each pattern is a group"
    parser.text("input_file input", files, required=True)
    parser.text("output_file output", "the vocab.txt to write", required=True)
    parser.number("vocab_size", "number of tokens", COUNT, 30000, parameter="size")
    parser.switch("do_lower_case lower_case do_lower", "lower-case text and drop accents")
    smoothing = "a group of n characters counts as n**X: 1 is its true fraction, 0 the same for all"
    parser.number("smoothing", smoothing, FRACTION, 0.7)
    parser.number(
        "min_char_count min_character_count",
        "each character that occurs N times in all files becomes a token; left out, 99.99% of the "
        "letters of each group and --ideograph_coverage decide",
        COUNT,
    )
    coverage = "fraction of a group's characters up to which ideographs and Hangul are kept"
    parser.number("ideograph_coverage", coverage, PORTION, 0.998)
    parser.switch("overwrite", "replace the output if it exists")


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from bert_tf.data.pretraining.vocabulary import save_vocabulary, train_vocabulary
    from bert_tf.files.whole import check_output

    patterns = comma_separated(args.input_file)
    if len(set(patterns)) < len(patterns):
        raise BertError(f"--input_file={args.input_file} names a pattern twice.")
    args.output_file = check_output(args.output_file, args.overwrite, in_new_folder=True)
    trained = train_vocabulary(
        {pattern: [pattern] for pattern in patterns},
        args.vocab_size,
        args.do_lower_case,
        smoothing=args.smoothing,
        min_character_count=args.min_char_count,
        ideograph_coverage=args.ideograph_coverage,
        progress=True,
    )
    save_vocabulary(trained.vocabulary, args.output_file)
    print(show(trained, args.output_file))
    return 0


def show(trained: TrainedVocabulary, path: str) -> str:
    """What the vocabulary holds and how it fits each group, as text for people."""
    heads = "group,characters,share,words,tokens a word,tokens a character,unknown"
    rows = [heads.split(",")]
    for group in trained.groups:
        counts = [f"{group.characters:,}", percent(group.share), f"{group.words:,}"]
        rates = [f"{group.pieces / whole:.3f}" for whole in (group.words, group.characters)]
        unknown = f"{100 * group.unknown / group.words:.3f} %"
        rows.append([group.name, *counts, *rates, unknown])
    return (
        f"wrote {path}: {len(trained.vocabulary):,} tokens, {trained.characters:,} of them single "
        f"characters, {trained.continuations:,} such characters inside words, {trained.longer:,} "
        f"longer tokens\n{table(rows, '<>>>>>>')}"
    )
