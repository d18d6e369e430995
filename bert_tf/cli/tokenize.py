"""`bert_tf tokenize`: plain text to a corpus of token ids, for run_pretraining.py."""

from __future__ import annotations

import argparse
import glob
import os
from typing import TYPE_CHECKING

from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.options import Parser, add_lower_case
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.report import table

if TYPE_CHECKING:
    from bert_tf.data import TokenCorpus

HELP = "tokenize plain text once, to pretrain on with new masks in each epoch"
DESCRIPTION = """\
Writes plain text, gzipped or not, with a sentence a line and a blank line between documents, as a
folder of token ids that run_pretraining.py takes as --input_file. Each pattern of --input_file is
a group, such as a language: a random second segment comes from the same group and another source.
"""
EXAMPLES = """\
examples:
  bert_tf tokenize --input_file=text.txt --vocab_file=vocab.txt --output_dir=corpus
  bert_tf tokenize --input_file=en.txt.gz,ru='ru/*.txt' --vocab_file=vocab.txt \\
    --output_dir=corpus --sources=en=docs/en.tsv.gz:id --do_lower_case=False
"""

WRITES = "output_dir"
"""What names the output, which is written whole or not at all."""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.text(
        "input_file input",
        "text files or patterns, comma separated; each is a group, named by what is before a =, "
        "else by its file name up to the first dot",
        required=True,
    )
    parser.text("vocab_file vocab", "the vocab.txt of the model", required=True)
    parser.text("output_dir output", "folder to make", required=True)
    add_lower_case(parser)
    parser.text(
        "sources",
        "GROUP=TABLE or GROUP=TABLE:COLUMN, comma separated: a table (.tsv, with a header and a "
        "row for each document) whose column (source) names each document's source. Sources are "
        "held out as a whole, and a random second segment is never from the source of the first",
    )


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from bert_tf.data import tokenize_corpus
    from bert_tf.text import BertTokenizer, Vocabulary, infer_casing

    groups = named_patterns(comma_separated(args.input_file))
    sources = read_named_tables(comma_separated(args.sources), groups)
    vocab = Vocabulary.load(args.vocab_file)
    lower_case, _ = infer_casing(args.vocab_file, vocab, args.do_lower_case)
    warn(*vocab.warnings)
    corpus = tokenize_corpus(
        {name: [pattern] for name, pattern in groups.items()},
        BertTokenizer(vocab, lower_case, special_tokens=False),
        args.output_dir,
        sources=sources,
    )
    print(show(corpus, args.output_dir))
    return 0


def named_patterns(patterns: list[str]) -> dict[str, str]:
    """The pattern of each group.

    Args:
        patterns: `name=pattern`, or a pattern alone: its name is that of the file up to the first
            dot, or with wildcards the whole pattern.

    Raises:
        BertError: two groups have one name.
    """
    found: dict[str, str] = {}
    for given in patterns:
        name, equals, pattern = given.partition("=")
        if not equals or os.path.exists(given):
            pattern = given
            base = os.path.basename(given)
            name = given if glob.has_magic(base) else base.lstrip(".").split(".")[0] or given
        if name in found:
            raise BertError(
                f"{found[name]} and {pattern} are both called {name}; name them: "
                f"--input_file={name}1={found[name]},{name}2={pattern}. A pattern can be several "
                "files of a group."
            )
        found[name] = pattern
    return found


def read_named_tables(tables: list[str], groups: dict[str, str]) -> dict[str, list[str]]:
    """The source of each document of the groups that have tables; several are joined.

    Raises:
        BertError: a table is of no group, or cannot be read.
    """
    from bert_tf.data import read_sources
    from bert_tf.files.finding import find_files

    found: dict[str, list[str]] = {}
    for given in tables:
        name, equals, path = given.partition("=")
        if not equals or name not in groups:
            raise BertError(
                f"--sources has {given}; it must start with a group of --input_file, as in "
                f"{next(iter(groups), 'en')}=documents.tsv:id."
            )
        column = "source"
        if ":" in path and not os.path.exists(path):
            path, _, column = path.rpartition(":")
        number = int(column) if column.isdigit() else column
        for file in find_files([path]):
            found.setdefault(name, []).extend(read_sources(file, number))
    return found


def show(corpus: TokenCorpus, folder: str) -> str:
    """What was read, as text for people."""
    columns = ("documents", "sentences", "pieces")
    rows = [["group", *columns, "unknown"]]
    for name, counts in corpus.info["counts"].items():
        unknown = 100 * counts["unknown"] / max(counts["pieces"], 1)
        rows.append([name, *(f"{counts[column]:,}" for column in columns), f"{unknown:.3f} %"])
    what = f"{len(corpus.tokens):,} tokens of {len(corpus):,} documents"
    sources = f"parts of {corpus.info['sources']:,} sources"
    return f"wrote {folder}: {what}, {sources}\n{table(rows, '<>>>>')}"
