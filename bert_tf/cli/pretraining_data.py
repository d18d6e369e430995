"""`bert_tf pretraining-data`: plain text to TFRecord files, as create_pretraining_data.py does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.options import Parser, add_lower_case, chosen
from bert_tf.data.pretraining.rules import MaskRules, PairRules
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.options import COUNT, SEED, THREADS

if TYPE_CHECKING:
    import argparse
    import pathlib

    from bert_tf.data.pretraining.create import PretrainingDataReport

HELP = "make TFRecord files of masked pairs from plain text, to pretrain on"
DESCRIPTION = """\
Makes what the original's create_pretraining_data.py makes, with its flags and their meaning: from
plain text with a sentence a line and a blank line between documents, TFRecord files of pairs of
segments with masked tokens. The text may be larger than memory. The same text and seed give the
same bytes, however many processes work.
"""
EXAMPLES = """\
examples:
  python create_pretraining_data.py --input_file=text.txt --output_file=out.tfrecord \\
    --vocab_file=vocab.txt --do_lower_case=False --max_seq_length=128
  python create_pretraining_data.py --input_file='wiki/*.txt.gz,books.txt' \\
    --output_file=a.tfrecord,b.tfrecord --vocab_file=vocab.txt --do_whole_word_mask
"""

WRITES = "output_file"
"""What names the output, which is written whole or not at all."""


FLAGS = {"whole_word": "do_whole_word_mask"}


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.group("files")
    files = "text files or patterns such as 'wiki/*.txt', comma separated; also .gz"
    parser.text("input_file", files, required=True)
    parser.text("output_file", "TFRecord files to write, comma separated", required=True)
    parser.text("vocab_file vocab", "the vocab.txt of the model", required=True)
    parser.group("what is made")
    add_lower_case(parser)
    parser.switch("do_whole_word_mask", "mask all tokens of a word or none")
    parser.plan(PairRules, "max_seq_length", FLAGS)
    parser.plan(MaskRules, "max_predictions_per_seq masked_lm_prob", FLAGS)
    parser.plan(PairRules, "short_seq_prob", FLAGS)
    parser.number("dupe_factor", "passes, each with pairs and masks of its own", COUNT, 10)
    parser.number("random_seed", "seed of all that is random", SEED, 12345)
    parser.group("beyond the original")
    parser.number("num_workers", "processes that work at once; all cores", THREADS)
    group = "random second segments come from files of the same pattern, such as a language's"
    parser.switch("group_by_pattern", group)
    parser.text(
        "sources",
        "tables (.tsv, with a header and a row for each document), one for each input file, with "
        "each document's source: a random second segment is never from the first one's",
    )
    parser.text("sources_column", "name or number of the column in them", "source")


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from bert_tf.data.pretraining.create import create_pretraining_data
    from bert_tf.text import BertTokenizer, Vocabulary, infer_casing

    if args.num_workers:  # for the tokenizer too, which works before the processes do
        os.environ.setdefault("RAYON_NUM_THREADS", str(args.num_workers))
    files = groups_of(comma_separated(args.input_file), args.group_by_pattern)
    sources = read_tables(files, args.sources, args.sources_column) if args.sources else None
    vocab = Vocabulary.load(args.vocab_file)
    lower_case, _ = infer_casing(args.vocab_file, vocab, args.do_lower_case)
    warn(*vocab.warnings, rule_warning(args))
    report = create_pretraining_data(
        files,
        comma_separated(args.output_file),
        BertTokenizer(vocab, lower_case),
        pair_rules=PairRules(**chosen(args, PairRules, FLAGS)),
        mask_rules=MaskRules(**chosen(args, MaskRules, FLAGS)),
        seed=args.random_seed,
        dupe_factor=args.dupe_factor,
        num_workers=args.num_workers,
        sources=sources,
    )
    print(show(report))
    return 0


def groups_of(patterns: list[str], by_pattern: bool) -> dict[str, list[pathlib.Path]]:
    """The input files of each group: of each pattern, or of one group for all.

    Raises:
        BertError: a pattern matches nothing.
    """
    from bert_tf.files.finding import find_files

    if not by_pattern:
        return {"the text": find_files(patterns)}
    groups = {pattern: find_files([pattern]) for pattern in dict.fromkeys(patterns)}
    taken: set[pathlib.Path] = set()
    for pattern, paths in groups.items():
        if twice := taken.intersection(paths):
            raise BertError(f"{min(twice)} is in two groups, one of them {pattern}.")
        taken.update(paths)
    return groups


def read_tables(
    files: dict[str, list[pathlib.Path]], patterns: str, column: str
) -> dict[str, list[str]]:
    """The source of each document of each group.

    Raises:
        BertError: there is not one table for each input file, or one cannot be read.
    """
    from bert_tf.data.pretraining.documents import read_sources
    from bert_tf.files.finding import find_files

    tables = find_files(comma_separated(patterns))
    if len(tables) != (count := sum(map(len, files.values()))):
        raise BertError(
            f"--sources names {len(tables)} tables for {count} input files; it takes one for each, "
            "in the same order."
        )
    rest = iter(tables)
    number = int(column) if column.isdigit() else column
    return {
        name: [source for _ in paths for source in read_sources(next(rest), number)]
        for name, paths in files.items()
    }


def rule_warning(args: argparse.Namespace) -> str | None:
    """What is odd about the numbers asked for."""
    wanted = round(args.max_seq_length * args.masked_lm_prob)
    if wanted <= args.max_predictions_per_seq:
        return None
    return (
        f"--max_predictions_per_seq={args.max_predictions_per_seq} is less than "
        f"{args.masked_lm_prob:.0%} of {args.max_seq_length} tokens: long examples get fewer "
        f"masks. {wanted} would do."
    )


def show(report: PretrainingDataReport) -> str:
    """What was made, as text for people."""
    files = report.files[0] if len(report.files) == 1 else f"{len(report.files)} files"
    whole = sum(report.seconds.values())
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items())
    return (
        f"wrote {files}: {report.examples:,} examples\n"
        f"from {report.documents:,} documents, {report.sentences:,} sentences, "
        f"{report.pieces:,} tokens\n"
        f"second segment random in {report.random / report.examples:.1%}; "
        f"{report.length / report.examples:.1f} tokens an example; "
        f"{report.masked:,} masked, {report.masked / report.length:.1%} of them\n"
        f"{whole:.1f} s ({times}), {report.length / max(whole, 1e-9):,.0f} tokens/s written"
    )
