"""Answers with a task: a file, the lines of standard input, texts from arguments, or a person."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bert_tf.cli.options import SOME_FAILED, check_checkpoint, say
from bert_tf.cli.output import Output, open_output
from bert_tf.errors import BertError
from bert_tf.files.whole import check_output, is_special, to_json

if TYPE_CHECKING:
    from bert_tf.cli.lines import Source
    from bert_tf.tasks.bulk import Form, InputRow, PredictedFile, Stream


def prepare(
    args: argparse.Namespace, texts: Sequence[str], parse: Callable[[str], Any] = str
) -> Source | None:
    """Checks checkpoint, output and input before anything slow starts; see `open_source`."""
    check_checkpoint(args)
    source = open_source(args.input, texts, parse)
    if args.output is not None:
        args.output = check_output(args.output, args.overwrite, args.input)
    return source


def open_source(
    path: str | None, texts: Sequence[str], parse: Callable[[str], Any] = str
) -> Source | None:
    """The file or pipe that the texts come from; None if they are arguments or will be typed.

    Args:
        path: what `--input` says.
        texts: given as arguments.
        parse: see `Source`.

    Raises:
        BertError: both are given, or the file cannot be opened.
    """
    if path is None and (texts or sys.stdin is None or sys.stdin.isatty()):
        return None
    if texts:
        raise BertError("give texts or --input, not both.")
    from bert_tf.cli.lines import Source

    return Source("-" if path is None else path, parse)


def in_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Texts as pairs: first and second, third and fourth, ...

    Raises:
        BertError: one is left over.
    """
    if len(texts) % 2:
        raise BertError(
            f"this model takes pairs of texts: give an even number of them, not {len(texts)}. Put "
            "quotation marks around each text."
        )
    return list(zip(texts[::2], texts[1::2], strict=True))


def answer_all(
    args: argparse.Namespace,
    task: Any,
    form: Form,
    source: Source | None,
    asked: Sequence[Any],
    hint: str,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
) -> int:
    """Answers the source, else what was given as arguments, else a person; gives the exit code.

    Args:
        args: with `output`, `overwrite` and `json`.
        task: such as `FillMask`.
        form: of the results.
        source: the lines to answer, if any.
        asked: what was given as arguments.
        hint: for a person.
        prompts: for a person, one for each text of a question.
        settings: what the results of a file depend on, other than `settings_of(task)`.
    """
    stream = functools.partial(task.stream, errors="yield")
    if source is not None and source.is_file and grows(args.output):
        from bert_tf.tasks.bulk import answer_file, settings_of

        settings = {**settings_of(task), **settings}
        predict = functools.partial(
            answer_file, stream, source, form, args.output, settings, on_problem=_tell
        )
        return answer_into_file(args, predict, source.name, source.count)
    try:
        with open_output(args.output, form) as output:
            if source is not None:
                return _answer_lines(source, stream, output, task.batch_size)
            if not asked:
                from bert_tf.cli.prompt import converse

                converse(hint, prompts, task, output)
            for result in task(asked) if asked else ():
                output.result(result)
    except KeyboardInterrupt:
        if source is not None and grows(args.output):
            say(f"stopped; {args.output} is not written: only answers to a file can be resumed")
        raise
    return 0


def grows(output: str | None) -> bool:
    """Whether the output can grow under another name and be resumed: a file, not a pipe."""
    return output is not None and not is_special(output)


def answer_into_file(
    args: argparse.Namespace,
    predict: Callable[..., PredictedFile],
    source: str,
    count: Callable[[], int | None],
    tell_problems: bool = False,
) -> int:
    """Answers a file into a file that can be resumed; gives the exit code.

    Args:
        args: with `output`, `overwrite` and `json`.
        predict: takes `overwrite`, `on_rows` and `on_resume`.
        source: the input's name.
        count: about how many rows it has, if known.
        tell_problems: whether to name the first rows without an answer at the end.
    """
    from bert_tf.files.progress import Progress

    with Progress(True, unit="rows") as bar:
        total = count() if bar.shown else None

        def resume(rows: int) -> None:
            say(f"resumes after row {rows:,}")
            bar.start(total, rows)

        bar.start(total)
        try:
            found = predict(overwrite=bool(args.overwrite), on_rows=bar.reach, on_resume=resume)
        except KeyboardInterrupt:
            if os.path.exists(f"{args.output}.part"):
                say(f"stopped; the same command resumes {args.output}.part")
            raise
    odd = f", of which {found.failed:,} could not be answered" if found.failed else ""
    text = f"{found.rows:,} rows{odd}: {found.path}"
    print(to_json(vars(found), ensure_ascii=True) if args.json else text)
    if not found.rows:
        say(f"{source} contains no text.")
    if tell_problems:
        for problem in found.problems:
            say(f"error: {problem}")
        if (more := found.failed - len(found.problems)) > 0:
            say(f"and {more:,} more rows that could not be answered")
    return SOME_FAILED if found.failed else 0


def print_answers(answers: Iterable[tuple[InputRow, Any]], output: Output) -> int:
    """Writes each answer as it comes, and what is wrong with a row to stderr; the exit code."""
    failed = False
    for row, result in answers:
        if isinstance(result, BertError):
            failed = True
            _tell(row, result)
        output.result(result, row)
    return SOME_FAILED if failed else 0


def _answer_lines(source: Source, stream: Stream, output: Output, batch_size: int) -> int:
    """Answers the lines of a source, and names bad ones on stderr; the exit code.

    A file is read ahead, so that lines are tokenized while the model runs; standard input is
    answered as it comes.
    """
    from bert_tf.files.progress import Progress
    from bert_tf.tasks.bulk import answered

    # A bar can stand on a terminal that does not show the results.
    with Progress(not sys.stdout.isatty(), unit="lines") as bar:
        if not source.is_stdin:
            bar.start(source.count() if bar.shown else None)
        done = 0

        def counted(rows: Iterable[InputRow]) -> Iterable[tuple[InputRow, Any]]:
            nonlocal done
            for row, result in answered(stream, rows):
                done += 1
                yield row, result
                bar.reach(row[1][1])

        chunks = source.as_they_come(16 * batch_size) if source.is_stdin else [source]
        code = max((print_answers(counted(some), output) for some in chunks), default=0)
    if not done:
        say(f"{source.name} contains no text.")
    return code


def _tell(row: InputRow, error: BertError) -> None:
    say(f"error: {row[1][0]}, line {row[1][1]}: {error}")
