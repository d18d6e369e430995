"""Writes results to the screen, to a pipe or to a file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from bert_tf.cli.options import SOME_FAILED, say
from bert_tf.errors import BertError

if TYPE_CHECKING:  # most often texts are given as arguments, and no line is read
    from bert_tf.cli.lines import Line, Source

T = TypeVar("T")


class Output:
    """Where the results go, and in which form.

    Args:
        file: to write to.
        as_json: a JSON object a line, instead of text for people.
        show: one result as text for people.
        separator: between two results for people.
    """

    def __init__(
        self, file: TextIO, as_json: bool, show: Callable[[Any], str], separator: str = "\n"
    ) -> None:
        self._file = file
        self._as_json = as_json
        self._show = show
        self._separator = separator
        self._some_written = False

    def result(self, result: Any) -> None:
        """Writes a result, a frozen dataclass."""
        if self._as_json:
            self._json(dataclasses.asdict(result))
        else:
            self.text(self._show(result))

    def text(self, text: str) -> None:
        """Writes text for people, with the separator after what stood before."""
        print((self._separator if self._some_written else "") + text, file=self._file, flush=True)
        self._some_written = True

    def bad_line(self, number: int, source: str, error: str) -> None:
        """Tells on stderr what is wrong with a line, and in the results too if they are JSON."""
        say(f"error: {source}, line {number}: {error}")
        if self._as_json:
            self._json({"line": number, "error": error})

    def _json(self, value: dict[str, Any]) -> None:
        print(json.dumps(value, ensure_ascii=False), file=self._file, flush=True)


@contextlib.contextmanager
def open_output(
    args: argparse.Namespace, show: Callable[[Any], str], separator: str = "\n"
) -> Iterator[Output]:
    """Opens the file that `--output` names, else standard output.

    Args:
        args: the command's arguments.
        show: see `Output`.
        separator: see `Output`.

    Raises:
        BertError: the file cannot be written, or is the input.
    """
    if args.output is None:
        yield Output(sys.stdout, args.json, show, separator)
        return
    if args.input not in (None, "-") and _same_file(args.input, args.output):
        raise BertError(f"--input and --output are the same file, {args.output}.")
    try:
        file = open(args.output, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        raise BertError(f"cannot write {args.output}: {error.strerror}.") from error
    with file:
        yield Output(file, args.json, show, separator)


def _same_file(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):  # it need not exist yet
        return os.path.samefile(one, other)
    return False


def answer_lines(
    source: Source,
    parse: Callable[[str], T],
    answer: Callable[[Iterable[T]], Iterable[Any]],
    output: Output,
    batch_size: int,
) -> int:
    """Answers all lines of a source; a bad one is told and the rest go on.

    A file is read ahead, so that its lines are tokenized while the model runs. Standard input is
    answered as it comes.

    Returns:
        The exit code: 3 if a line was bad.
    """
    from bert_tf.cli.lines import answers, streamed_answers

    if source.is_stdin:
        results = answers(source.chunks(parse, 16 * batch_size), answer)
    else:
        results = _with_progress(streamed_answers(source.lines(parse), answer), source)
    done = failed = 0
    for line, result in results:
        done += 1
        if isinstance(result, str):
            failed += 1
            output.bad_line(line.number, source.name, result)
        else:
            output.result(result)
    if not done:
        say(f"{source.name} holds no text.")
    return SOME_FAILED if failed else 0


def _with_progress(
    results: Iterable[tuple[Line[T], Any]], source: Source
) -> Iterator[tuple[Line[T], Any]]:
    """The same results, with a progress bar if it can stand on a terminal without them."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from results
        return
    from tqdm import tqdm

    with tqdm(total=source.count(), unit=" lines", file=sys.stderr) as progress:
        for line, result in results:
            yield line, result
            progress.update(line.number - progress.n)
