"""`bert_tf download`: fetches released checkpoints by name."""

from __future__ import annotations

import argparse

from bert_tf.cli.options import Parser

HELP = "download one of Google's released checkpoints by name"
DESCRIPTION = """\
Downloads a released checkpoint, checks it, and puts it where --checkpoint NAME finds it:
$BERT_TF_HOME; else checkpoints/ of the source checkout; else a cache folder. Prints its folder.
What is here already is not downloaded again. After an interruption the same command resumes.
"""
EXAMPLES = """\
examples:
  bert_tf download multi_cased
  bert_tf download tiny mini --to checkpoints
  BERT_TF_URL=https://mirror.example.org/bert_models bert_tf download base_uncased

"bert_tf list" shows all names.
"""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="of a release, e.g. multi_cased")
    parser.text("to", "put the checkpoints' folders there", metavar="FOLDER", parameter="folder")
    parser.switch("force", "download again, and replace what is here")


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from bert_tf.hub import catalog
    from bert_tf.hub.download import download

    for name in args.names:  # a misspelt name must not show after an hour
        catalog.get(name)
    for name in args.names:
        print(download(name, folder=args.to, force=args.force), flush=True)
    return 0
