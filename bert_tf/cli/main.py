"""Finds the command, runs it, and turns what goes wrong into a message and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

import bert_tf
from bert_tf.cli.options import BAD_INPUT, CLOSED_PIPE, STOPPED, Parser, print_message
from bert_tf.errors import DISK_FULL, BertError, not_installed
from bert_tf.files.log import reported_to

EXIT_CODES = """\
exit codes:
  0    success
  1    internal error, with a traceback
  2    bad input or bad usage, with a message
  3    some lines of a file could not be answered; the others were
  130  stopped by Ctrl-C, SIGTERM or a closed terminal (SIGHUP)
  141  the reader of the output closed it
"""

EXAMPLES = """\
examples:
  bert_tf download multi_cased
  bert_tf mask --checkpoint multi_cased "Я пришел в [MASK] и купил [MASK]."
  bert_tf nsp --checkpoint multi_cased "I went to the store." "I bought milk."
  bert_tf convert model.ckpt-20000 released

"bert_tf help mask" shows the options of a command.
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
    "completion": "completion",
}

_OLD_NAMES = {"judge": "evaluate"}


def build_parser(only: str | None = None) -> Parser:
    """The parser of `bert_tf`; of one command `only`, it has only the others' names.

    Their modules are not imported then.
    """
    parser = Parser(
        prog="bert_tf",
        description="BERT in Keras 3, read straight from Google's original checkpoints.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    version = f"bert_tf {bert_tf.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        if only not in (None, name):
            commands.add_parser(name)
            continue
        module = importlib.import_module(f"bert_tf.cli.{module_name}")
        epilog = f"{module.EXAMPLES}\n{EXIT_CODES}"
        about = {"help": module.HELP, "description": module.DESCRIPTION, "epilog": epilog}
        command = commands.add_parser(name, **about)
        command.add_argument("--version", action="version", version=version, help=argparse.SUPPRESS)
        module.add_arguments(command)
        writes = getattr(module, "WRITES", "")
        command.set_defaults(answer=module.answer, spelled=command.spelled, writes=writes)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command in this process; returns the exit code.

    Bad usage and `--help` raise SystemExit, as argparse does.

    Args:
        argv: the arguments without the program's name; those of the process when left out.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    arguments[:1] = [_OLD_NAMES.get(word, word) for word in arguments[:1]]
    word = arguments[0] if arguments else ""
    parser = build_parser(word if word in COMMANDS else None)
    if word not in COMMANDS and (near := difflib.get_close_matches(word, COMMANDS, 1)):
        parser.error(f"there is no command {word!r}; did you mean {near[0]}?")
    args = argparse.Namespace(spelled=str)  # until the command is known
    try:
        with reported_to(lambda message: print_message(args.spelled(message))):
            code = parser.parse_args(arguments, args).answer(args)
        sys.stdout.flush()
        if getattr(args, "profile", False):
            print(profile_table(), file=sys.stderr)
        return code
    except BertError as error:
        sys.stdout.flush()
        print(f"bert_tf: error: {args.spelled(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except ModuleNotFoundError as error:
        if (error.name or "bert_tf").startswith("bert_tf"):
            raise
        print(f"bert_tf: error: {not_installed(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(file=sys.stderr)
        if output := vars(args).get(vars(args).get("writes", "")):
            print_message(f"stopped; {output} is not written, and the same command starts over")
        return STOPPED
    except BrokenPipeError:
        return CLOSED_PIPE
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = error.filename or "the results"
        print(f"bert_tf: error: cannot write {where}: {error.strerror}.", file=sys.stderr)
        return BAD_INPUT


def profile_table() -> str:
    """Where the time went, as a table."""
    from bert_tf.report import table
    from bert_tf.runtime import profile

    phases = profile.report()
    if (whole := profile.since_start()) is not None:
        phases["all else"] = max(0.0, whole - sum(phases.values()))
        phases["in all"] = whole
    rows = [[name, f"{seconds:.2f} s"] for name, seconds in phases.items()]
    return table([["phase", "time"], *rows], "<>")


def run(command: str | None = None) -> None:
    """Runs a script's or else the process's command, and ends the process: an entry point."""
    from bert_tf.backend import silence

    arguments = [*([command] if command else []), *sys.argv[1:]]
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # else nohup or a parent has them ignored
            signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # print what the terminal lacks as \uXXXX
            stream.reconfigure(errors="backslashreplace")
    if arguments and arguments[0] in ("mask", "nsp", "evaluate", "judge", "pretrain", "classify"):
        silence()
    try:
        code = main(arguments)
    except BrokenPipeError:
        code = CLOSED_PIPE
    except KeyboardInterrupt:  # while a command is imported, or the second one
        code = STOPPED
    if code == CLOSED_PIPE:  # Python must not write to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Taking the frameworks down takes half a second, for memory that is freed anyway.
    os._exit(code)
