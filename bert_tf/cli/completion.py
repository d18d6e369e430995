"""`bert_tf completion`: the script with which a shell completes commands, flags and paths."""

from __future__ import annotations

import argparse

from bert_tf.cli.options import Parser

HELP = "print the completion script of a shell"
DESCRIPTION = """\
Prints the script with which bash or zsh completes commands, flags, their values and paths.
"""
EXAMPLES = """\
examples:
  bert_tf completion bash >> ~/.bash_completion
  bert_tf completion zsh > "${fpath[1]}/_bert_tf"
"""

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    import shtab

    from bert_tf.cli.main import COMMANDS, build_parser

    parser = build_parser()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name in COMMANDS:
        for action in commands.choices[name]._actions:
            if not action.choices and action.nargs != 0:
                action.complete = shtab.FILE
    print(shtab.complete(parser, args.shell))
    return 0
