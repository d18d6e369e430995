"""What the commands' arguments have in common: the parser, the options of a model, its loading."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import difflib
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from bert_tf.cli.absl_flags import number, respell, truth
from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER
from bert_tf.options import ROWS, THREADS, Options, Range, shown

if TYPE_CHECKING:
    from bert_tf import Bert

BAD_INPUT, SOME_FAILED, STOPPED, CLOSED_PIPE = 2, 3, 130, 141
"""Exit codes, as `bert_tf --help` explains them."""

CHECKPOINT_VARIABLE = "BERT_TF_CHECKPOINT"

SHORT_VOCAB = "allow_short_vocab", "take a vocabulary much shorter than the model's table of tokens"
NO_CHECKPOINT = f"""\
no checkpoint given: pass --checkpoint PATH or set {CHECKPOINT_VARIABLE}.
To get one, fetch it by name, once, and then pass --checkpoint multi_cased:
  bert_tf download multi_cased          (104 languages; "bert_tf list" shows all names)
Or download a release such as multi_cased_L-12_H-768_A-12.zip by hand from the list in the README
of google-research/bert on GitHub, and pass the .zip itself or the folder in it."""

DEMONSTRATION = """\
no --checkpoint, so {name} answers, a small model for demonstration only. For good \
answers: `python -m bert_tf download multi_cased`, once, and then --checkpoint multi_cased."""


class Parser(argparse.ArgumentParser):
    """A parser of flags in absl's spellings (`respell`), whose errors read like all others.

    Names cannot be cut short; of several flags of a name the last wins.

    Attributes:
        guard: see `respell`.

    Example:
        >>> parser = Parser(prog="demo")
        >>> parser.number("threads", "threads to compute with", THREADS)
        >>> parser.switch("do_lower_case", "whether text is lower-cased", True)
        >>> parser.parse_args(["-threads", "7", "--nodo_lower_case"])
        Namespace(threads=7, do_lower_case=False)
        >>> parser.spelled("lower `threads`, or pass `threads='a b'` and `do_lower_case=True`")
        "lower --threads, or pass --threads='a b' and --do_lower_case"
    """

    guard = True

    def __init__(self, **options) -> None:
        self._given: list[str] = []
        self._flags: dict[str, str] = {}  # by the names that the library has for them
        self._to: Any = self
        options.setdefault("formatter_class", _Formatter)
        options.setdefault("allow_abbrev", False)  # so that new options break no script
        super().__init__(**options)

    def group(self, title: str) -> None:
        """Puts the flags that follow under a heading of the help."""
        self._to = self.add_argument_group(title)

    def text(self, names: str, help: str, default: str | None = None, **options: Any) -> None:
        """Adds a flag that takes text; see `_flag`."""
        self._flag(names, help, default, **options)

    def number(
        self, names: str, help: str, range: Range, default: float | None = None, **options: Any
    ) -> None:
        """Adds a flag that takes a number of a range; see `_flag`."""
        metavar = "N" if range.kind is int else "X"
        self._flag(names, help, default, type=partial(number, range), metavar=metavar, **options)

    def switch(self, names: str, help: str, default: bool | None = False, **options: Any) -> None:
        """Adds a flag that is true or false; a default of None is for those that are inferred."""
        taken: dict[str, Any] = {"type": truth, "nargs": "?", "const": True}
        self._flag(names, help, default, metavar="true|false", **taken, **options)

    def words(self, name: str, metavar: str, help: str) -> None:
        """Adds what is no flag, any number of them, as a list."""
        self._to.add_argument(name, nargs="*", metavar=metavar, help=help)

    def ignored(self, name: str, why: str) -> None:
        """Adds a flag that does nothing; where it is given, a warning says `why`."""

        def taken(text: str) -> str:
            if text:
                print_message(f"--{name} does nothing here: {why}")
            return text

        self.add_argument(f"--{name}", type=taken, help=argparse.SUPPRESS)

    def plan(
        self,
        options: type[Options],
        names: str,
        flags: Mapping[str, str],
        *,
        original: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds flags for options of a plan; `chosen` gives their values.

        Args:
            options: the plan's class.
            names: of its fields, in the order of the help.
            flags: field to flag and aliases, where these are called otherwise.
            original: the original's defaults, shown second. Flags left out are None then.
        """
        for name in names.split():
            field = options.__dataclass_fields__[name]
            help, range, choices, usual = field.metadata.values()
            default: Any = field.default if original is None else None
            if original is not None and name in original:
                usual = f"{usual}; {shown(original[name])}"
            flag = flags.get(name, name)
            if range:
                self.number(flag, help, range, default, usual=usual)
            elif "bool" in str(field.type):
                self.switch(flag, help, default, usual=usual)
            else:
                self.text(flag, help, default, choices=choices or None, usual=usual)
            self._flags[name] = f"--{flag.split()[0]}"

    def _flag(
        self, names: str, help: str, default: Any, *, usual: str | None = None, **options: Any
    ) -> None:
        """Adds a flag; `names` without dashes, the first, with `_` for `-`, names its value.

        `usual` is shown as the default, if not `default`. Of `options`, `parameter` is what the
        library calls it, if not one of `names`; the others are those of `argparse`.
        """
        usual = usual or (None if default is None else shown(default))
        flags = [f"--{name}" for name in names.split()]
        known = [*names.replace("-", "_").split(), options.pop("parameter", "")]
        self._flags |= dict.fromkeys(known, flags[0])
        self._to.add_argument(
            *flags,
            dest=names.split()[0].replace("-", "_"),
            default=default,
            help=(f"{help} ({usual})" if usual else help).replace("%", "%%"),
            **options,
        )

    def format_help(self) -> str:
        """As argparse's, but a switch takes its value after an equals sign, as in absl."""
        return super().format_help().replace(" [true|false]", "[=true|false]")

    def spelled(self, message: str) -> str:
        """A message of the library, with flags for the parameters that it names in backquotes."""

        def spell(found: re.Match[str]) -> str:
            name, _, _, value = found.groups("True")
            equals = "" if value == "True" else f"={shlex.quote(value)}"
            return f"{self._flags[name]}{equals}" if name in self._flags else found[0]

        return re.sub(r"`(\w+)(=(['\"]?)([^`]*)\3)?`", spell, message)

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, on respelled arguments; unknown ones are an error here.

        The parser above, to which argparse leaves them, has neither the command's flags nor name.
        """
        arguments = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:
            arguments = respell(self, arguments, self.guard)
        self._given = arguments
        found, unknown = super().parse_known_args(arguments, namespace)
        if unknown:
            # What follows an unknown flag is its value, or was read as something else.
            self.error(self._unrecognized([one for one in unknown if _is_flag(one)] or unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Ends the program with a message and exit code 2."""
        known = self._option_string_actions
        flags = filter(_is_flag, self._given)
        unknown = [one for one in flags if one.partition("=")[0] not in known]
        if unknown and "required" in message:  # and may be what was meant by the one unknown
            message = f"{message}; {self._unrecognized(unknown)}"
        self.exit(2, f"bert_tf: error: {message} (see {self.prog} --help)\n")

    def _unrecognized(self, words: Sequence[str]) -> str:
        """The message on unknown arguments, with the nearest known ones."""
        known = [action for action in self._actions if action.help != argparse.SUPPRESS]
        flags = [flag for one in known for flag in one.option_strings if flag.startswith("--")]
        flags += [f"--no{one.option_strings[0][2:]}" for one in known if one.type is truth]
        near = [_nearest(word, flags) for word in words if _is_flag(word)]
        message = f"unrecognized arguments: {' '.join(words)}"
        meant = ", ".join(dict.fromkeys(flag for flag in near if flag))
        return f"{message}; did you mean {meant}?" if meant else message


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


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows what a flag takes once, after all its names."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        default = self._get_default_metavar_for_optional(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, default)}"


def chosen(args: argparse.Namespace, options: Any, flags: Mapping[str, str]) -> dict[str, Any]:
    """Field to value of a dataclass's fields, of those that are given; see `Parser.plan`."""
    names = {name: flags.get(name, name).split()[0] for name in options.__dataclass_fields__}
    found = {name: getattr(args, flag, None) for name, flag in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def add_release_options(
    parser: Parser, config: str = "config bert_config_file", vocab: str = "vocab vocab_file"
) -> None:
    """Adds where config and vocabulary are, under flags of these names."""
    for names, file in ((config, "bert_config.json"), (vocab, "vocab.txt")):
        parser.text(names, f"{file}, if it is not in the checkpoint's folder", metavar="FILE")


def add_model_options(parser: Parser) -> None:
    """Adds what tells which model to load, and how to run it."""
    parser.group("the model")
    parser.text(
        "checkpoint init_checkpoint",
        "a folder, a prefix (.../bert_model.ckpt), one of its files, a .zip, or the name of a "
        f"release; when left out ${CHECKPOINT_VARIABLE}, else the small demonstration model",
        metavar="PATH",
    )
    parser.set_defaults(demonstration=False)
    add_release_options(parser)
    add_lower_case(parser, "lower-case do_lower_case do_lower")
    parser.switch(*SHORT_VOCAB)
    hidden_act = "activation in place of the config's; gelu_exact for Hugging Face's gelu"
    parser.text("hidden-act", hidden_act, metavar="NAME")
    parser.text(
        "backend",
        "tensorflow, jax, openvino, or auto: openvino, the fastest on a CPU, if it is installed, "
        "else tensorflow ($KERAS_BACKEND, else auto)",
        metavar="NAME",
        parameter="KERAS_BACKEND",
    )
    parser.text(
        "precision",
        "to compute in; bfloat16 is about twice as fast on processors that have it, and changes "
        "probabilities in the third digit",
        "float32",
        choices=("float32", "bfloat16"),
    )
    parser.number("threads", "threads to compute with; all cores", THREADS)
    parser.switch("profile", "print on stderr where the time went")
    parser.number("batch-size", "texts at a time", ROWS, 32)
    parser.switch("verbose", "print on stderr what was read from the checkpoint")


def add_lower_case(parser: Parser, names: str = "do_lower_case lower_case do_lower") -> None:
    """Adds whether text is lower-cased."""
    help = "lower-case text, for uncased models; inferred from vocabulary and path when left out"
    parser.switch(names, help, None)


def add_stream_options(parser: Parser, what: str) -> None:
    """Adds where the texts come from and where the results go."""
    parser.group("input and output")
    parser.text("input", f"{what}; - is standard input", metavar="FILE")
    output = "file for the results; with --input FILE it resumes if interrupted"
    parser.text("output", output, metavar="FILE")
    parser.switch("overwrite", "replace the output file if it exists")
    parser.switch("json", "one JSON object a result, one a line")


def check_checkpoint(args: argparse.Namespace) -> None:
    """Makes sure that there is a checkpoint, before anything slow starts.

    Where none is named, nor config or vocabulary of another, it is the one that comes along;
    `args.demonstration` is true then.

    Raises:
        BertError: there is none; the message says how to get one.
    """
    args.checkpoint = args.checkpoint or os.environ.get(CHECKPOINT_VARIABLE)
    if args.checkpoint:
        return
    from bert_tf.hub.store import embedded

    args.checkpoint = None if args.config or args.vocab else embedded()
    if args.checkpoint is None:
        raise BertError(NO_CHECKPOINT)
    args.demonstration = True
    args.lower_case = bool(args.lower_case)  # as its name says; inferred, it would be a message


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

    names = ("config", "vocab", "lower_case", "hidden_act", "precision", "allow_short_vocab")
    options = {name: getattr(args, name) for name in names}
    # The checkpoint is read while this thread imports the frameworks: two threads that import the
    # same packages can meet half-made modules.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, args.checkpoint, **options)
        concurrent.futures.wait([loading], timeout=0.05)
        if not (loading.done() and loading.exception()):  # as on a mistyped path
            with profile.phase("import"):
                preload(chosen)
        bert = loading.result()
    if args.verbose:
        report = dataclasses.replace(bert.report, warnings=())  # they were logged
        print(args.spelled(f"{bert!r} on {chosen}\n{report}"), file=sys.stderr)
    return bert


say = LOGGER.info
"""Logs a message for people: `main` has it printed."""


def print_message(message: str) -> None:
    """Prints on stderr, where it does not mix with the results; above a progress bar if one is."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(f"bert_tf: {message}", file=sys.stderr)
    else:
        print(f"bert_tf: {message}", file=sys.stderr, flush=True)
