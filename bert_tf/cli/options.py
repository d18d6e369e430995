"""What the commands' arguments have in common: the parser, the options of a model, its loading."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from bert_tf.errors import BertError

if TYPE_CHECKING:
    from bert_tf import Bert

CHECKPOINT_VARIABLE = "BERT_TF_CHECKPOINT"

NO_CHECKPOINT = f"""\
no checkpoint given: pass --checkpoint PATH or set {CHECKPOINT_VARIABLE}.
To get one, fetch it by name, once:
  bert_tf download multi_cased          (104 languages; "bert_tf list" shows all names)
and then pass --checkpoint multi_cased. Or download a release by hand from the list in the README
of Google's bert repository (google-research/bert on GitHub), for example
multi_cased_L-12_H-768_A-12.zip, and pass the .zip itself or the folder in it."""

DEMONSTRATION = """\
no --checkpoint, so {name} answers, a small model for demonstration that knows little. For good \
answers: `python -m bert_tf download multi_cased`, once, and then --checkpoint multi_cased."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors read like the other errors of the program.

    Attributes:
        respell: turns arguments into spellings that argparse knows, before it reads them.
        more_flags: spellings that only `respell` knows, to be suggested for what is mistyped.
    """

    respell: Callable[[Sequence[str]], list[str]] | None = None

    def __init__(self, **options) -> None:
        self.more_flags: list[str] = []
        self._given: list[str] = []
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)  # so that new options break no script
        super().__init__(**options)

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, on arguments that were respelled first; those unknown are an error.

        argparse leaves what a command does not know to the parser above it, which knows neither
        the command's flags nor its name.
        """
        arguments = sys.argv[1:] if args is None else list(args)
        if self.respell is not None:
            arguments = self.respell(arguments)
        self._given = arguments
        found, unknown = super().parse_known_args(arguments, namespace)
        if unknown:
            # What follows an unknown flag is its value, or was read as something else.
            self.error(self._unrecognized([one for one in unknown if _is_flag(one)] or unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Ends the program with a message and exit code 2."""
        unknown = [one for one in self._given if _is_flag(one) and not self._knows(one)]
        if unknown and "required" in message:  # and may be what was meant by the one unknown
            message = f"{message}; {self._unrecognized(unknown)}"
        self.exit(2, f"bert_tf: error: {message} (see {self.prog} --help)\n")

    def _knows(self, word: str) -> bool:
        return word.partition("=")[0] in self._option_string_actions

    def _unrecognized(self, words: Sequence[str]) -> str:
        """What is told of arguments that there are not, with the nearest of those there are."""
        flags = [
            flag
            for action in self._actions
            if action.help != argparse.SUPPRESS
            for flag in action.option_strings
            if flag.startswith("--")
        ]
        near = [_nearest(word, [*flags, *self.more_flags]) for word in words if _is_flag(word)]
        told = f"unrecognized arguments: {' '.join(words)}"
        meant = ", ".join(dict.fromkeys(flag for flag in near if flag))
        return f"{told}; did you mean {meant}?" if meant else told


def _is_flag(word: str) -> bool:
    """Whether a word looks like a flag, and not like a text or a negative number."""
    name = word.lstrip("-")
    return word.startswith("-") and name[:1].isalpha() and " " not in name.partition("=")[0]


def _nearest(word: str, flags: Sequence[str]) -> str | None:
    """The flag that a mistyped one begins, or else resembles most; None if it resembles none."""

    def plain(flag: str) -> str:
        return flag.partition("=")[0].lstrip("-").replace("-", "_").lower()

    name = plain(word)
    by_name = {plain(flag): flag for flag in flags}
    begun = [one for one in by_name if one.startswith(name)] if len(name) > 2 else []
    near = sorted(begun, key=len) or difflib.get_close_matches(name, by_name, n=1)
    return by_name[near[0]] if near else None


_SWITCHES = {"do_lower_case": "lower-case", "do_lower": "lower-case"}
_TRUE, _FALSE = ("", "true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")


def plain_spelling(arguments: Sequence[str]) -> list[str]:
    """The arguments with the original code's spellings of switches replaced by ours.

    `--do_lower_case`, `--do_lower_case=true` and `--nodo_lower_case` stand in users' scripts, and
    `--do_lower` in the original's README. argparse knows no switch that takes "=false".
    """
    plain: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*plain, *arguments[place:]]
        name, _, value = argument.partition("=")
        name = name.removeprefix("--") if name.startswith("--") else ""
        known = _SWITCHES.get(name) or _SWITCHES.get(name.removeprefix("no"))
        if known is None or value.lower() not in (*_TRUE, *_FALSE):
            plain.append(argument)
            continue
        on = (value.lower() in _TRUE) == (name in _SWITCHES)
        plain.append(f"--{known}" if on else f"--no-{known}")
    return plain


def positive(text: str) -> int:
    """An argument that is a whole number from 1 up."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return number


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Adds where config and vocabulary are, for all commands."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="bert_config.json, if it does not lie beside the checkpoint",
    )
    parser.add_argument("--bert_config_file", dest="config", help=argparse.SUPPRESS)
    parser.add_argument(
        "--vocab", metavar="FILE", help="vocab.txt, if it does not lie beside the checkpoint"
    )
    parser.add_argument("--vocab_file", dest="vocab", help=argparse.SUPPRESS)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds what tells which model to load, and how to run it."""
    model = parser.add_argument_group("the model")
    model.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a folder, a prefix (.../bert_model.ckpt), one of its files, a .zip, or the name "
        f"of a release; ${CHECKPOINT_VARIABLE} when left out, and else the small model for "
        "demonstration that comes along",
    )
    parser.set_defaults(demonstration=False)
    model.add_argument("--init_checkpoint", dest="checkpoint", help=argparse.SUPPRESS)
    add_release_options(model)  # type: ignore[arg-type]
    model.add_argument(
        "--lower-case",
        action=argparse.BooleanOptionalAction,
        help="whether text is lower-cased; inferred when left out. The original's spelling "
        "--do_lower_case[=true|false] works too",
    )
    model.add_argument(
        "--hidden-act",
        metavar="NAME",
        help="activation to use instead of the config's; gelu_exact for a checkpoint that was "
        "converted from Hugging Face and says gelu",
    )
    model.add_argument(
        "--backend",
        metavar="NAME",
        help="tensorflow, jax, openvino, or auto: openvino where it is installed, which is the "
        "fastest on a CPU, else tensorflow. $KERAS_BACKEND when left out, else auto",
    )
    model.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what to compute in; bfloat16 is about twice as fast where the processor has it, and "
        "changes probabilities in the third digit (float32)",
    )
    model.add_argument(
        "--threads", type=positive, metavar="N", help="threads to compute with; all cores"
    )
    model.add_argument("--profile", action="store_true", help="tell on stderr where the time went")
    model.add_argument(
        "--batch-size", type=positive, default=32, metavar="N", help="texts at a time (32)"
    )
    model.add_argument(
        "--verbose", action="store_true", help="tell on stderr what was read from the checkpoint"
    )


def add_stream_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds where the texts come from and where the results go."""
    streams = parser.add_argument_group("input and output")
    streams.add_argument("--input", metavar="FILE", help=f"{what}; - is standard input")
    streams.add_argument(
        "--output",
        metavar="FILE",
        help="write the results there; with --input FILE the same command resumes what was killed "
        "or stopped",
    )
    streams.add_argument(
        "--overwrite", action="store_true", help="replace the output file if it exists"
    )
    streams.add_argument("--json", action="store_true", help="one JSON object a result, one a line")


def check_checkpoint(args: argparse.Namespace) -> None:
    """Makes sure that there is a checkpoint, before anything slow starts.

    Where none is named it is the one that comes along; `args.demonstration` is true then. A config
    or vocabulary that is named belongs to another.

    Raises:
        BertError: there is none; the message says how to get one.
    """
    args.checkpoint = args.checkpoint or os.environ.get(CHECKPOINT_VARIABLE)
    if args.checkpoint:
        return
    from bert_tf.checkpoint import embedded

    args.checkpoint = None if args.config or args.vocab else embedded()
    if args.checkpoint is None:
        raise BertError(NO_CHECKPOINT)
    args.demonstration = True
    if args.lower_case is None:
        args.lower_case = False  # as its name says; inferred, that would be one more remark


def load_bert(args: argparse.Namespace) -> Bert:
    """Loads the model that the arguments name, on the backend that they name."""
    from bert_tf.backend import AUTO, choose_backend, preload, set_threads

    if args.demonstration:
        say(DEMONSTRATION.format(name=os.path.basename(args.checkpoint)))
    if args.threads:
        set_threads(args.threads)
    chosen = choose_backend(args.backend, predict=True)
    if args.backend == AUTO:
        say(f"auto is {chosen} here")
    from bert_tf import load
    from bert_tf.runtime import profile

    # The checkpoint is read while the frameworks are imported. It is this thread that imports:
    # two threads that import the same packages can meet half-made modules.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(
            load,
            args.checkpoint,
            config=args.config,
            vocab=args.vocab,
            lower_case=args.lower_case,
            hidden_act=args.hidden_act,
            precision=args.precision,
        )
        if not _fails_at_once(loading):
            with profile.phase("import"):
                preload(chosen)
        bert = loading.result()
    if args.verbose:
        print(f"{bert!r} on {chosen}\n{bert.report}", file=sys.stderr)
    else:
        for remark in bert.report.remarks:
            say(remark)
    return bert


def _fails_at_once(loading: concurrent.futures.Future) -> bool:
    """Whether loading ends in an error within a moment, as it does on a mistyped path."""
    with contextlib.suppress(concurrent.futures.TimeoutError):
        return loading.exception(timeout=0.05) is not None
    return False


def say(remark: str) -> None:
    """Tells a remark on stderr, where it does not mix with the results."""
    print(f"bert_tf: {remark}", file=sys.stderr)
