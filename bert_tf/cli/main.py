"""Finds the command, runs it, and turns what goes wrong into a message and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence

import bert_tf
from bert_tf.cli.options import BAD_INPUT, CLOSED_PIPE, STOPPED, Parser, print_remark
from bert_tf.errors import BertError
from bert_tf.files.log import told_to

EXIT_CODES = """\
exit codes:
  0    all went well
  1    an error that is ours, with a traceback
  2    bad input or bad usage, with a message
  3    some lines of a file could not be answered; the others were
  130  stopped with Ctrl-C; for a training, also by SIGTERM
  141  whoever read the output closed it
"""

EXAMPLES = """\
examples:
  bert_tf download multi_cased
  bert_tf mask --checkpoint multi_cased "Я пришел в [MASK] и купил [MASK]."
  bert_tf nsp --checkpoint multi_cased "I went to the store." "I bought milk."
  bert_tf convert model.ckpt-20000 released

"bert_tf mask --help" tells more about a command.
"""

# command: its module in bert_tf.cli
COMMANDS = {
    "mask": "mask",
    "nsp": "nsp",
    "convert": "convert",
    "download": "download",
    "list": "releases",
    "vocab": "vocab",
    "pretraining-data": "pretraining_data",
    "evaluate": "evaluate",
    "tokenize": "tokenize",
    "pretrain": "pretraining",
    "classify": "classify",
}

_OLD_NAMES = {"judge": "evaluate"}


def build_parser(only: str | None = None) -> Parser:
    """The parser of `bert_tf`.

    Args:
        only: the one command that will be parsed: of the others only the names are known then, and
            their modules are not imported. All commands when left out.
    """
    parser = Parser(
        prog="bert_tf",
        description="BERT in Keras 3, read straight from Google's original checkpoints.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("--version", action="version", version=f"bert_tf {bert_tf.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        if only not in (None, name):
            commands.add_parser(name)
            continue
        module = importlib.import_module(f"bert_tf.cli.{module_name}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=f"{module.EXAMPLES}\n{EXIT_CODES}",
        )
        module.add_arguments(command)
        command.set_defaults(answer=module.answer)
    return parser


@told_to(print_remark)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command in this process.

    Args:
        argv: the arguments without the program's name; those of the process when left out.

    Returns:
        The exit code. Bad usage and `--help` raise SystemExit, as argparse does.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    arguments[:1] = [_OLD_NAMES.get(word, word) for word in arguments[:1]]
    asked = arguments[0] if arguments and arguments[0] in COMMANDS else None
    args = build_parser(asked).parse_args(arguments)
    try:
        code = args.answer(args)
        sys.stdout.flush()
        if getattr(args, "profile", False):
            print(profile_table(), file=sys.stderr)
        return code
    except BertError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        return CLOSED_PIPE


def profile_table() -> str:
    """Where the time went, as a table."""
    from bert_tf.report import table
    from bert_tf.runtime import profile

    phases = profile.report()
    whole = profile.since_start()
    if whole is not None:
        phases["all else"] = max(0.0, whole - sum(phases.values()))
        phases["in all"] = whole
    rows = [[name, f"{seconds:.2f} s"] for name, seconds in phases.items()]
    return table([["phase", "time"], *rows], "<>")


def complain(message: str) -> int:
    """Prints an error and returns the exit code for bad input."""
    sys.stdout.flush()
    print(f"bert_tf: error: {message}", file=sys.stderr)
    return BAD_INPUT


def run(command: str | None = None) -> None:
    """Runs the process's command and ends the process: what scripts and entry points call.

    Args:
        command: for a script that is a single command, its name.
    """
    from bert_tf.backend import silence

    arguments = [*([command] if command else []), *sys.argv[1:]]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # print what the terminal lacks as \uXXXX
            stream.reconfigure(errors="backslashreplace")
    if arguments and arguments[0] in ("mask", "nsp", "evaluate", "judge", "pretrain", "classify"):
        silence()
    code = _without_closed_pipes(lambda: main(arguments))
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Taking the frameworks down in order takes half a second, for memory that goes anyway.
    os._exit(code)


def _without_closed_pipes(action: Callable[[], int]) -> int:
    """Runs an action; if stdout is closed by its reader, Python must not write to it at exit."""
    try:
        code = action()
    except BrokenPipeError:
        code = CLOSED_PIPE
    if code == CLOSED_PIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
