"""Asks for texts on a terminal and answers each at once, with the model loaded once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bert_tf.cli.options import say
from bert_tf.cli.output import Output
from bert_tf.errors import BertError

_LEAVE = ("", "quit", "exit")


def converse(hint: str, prompts: Sequence[str], answer: Callable[..., Any], output: Output) -> None:
    """Reads texts until an empty line, "quit", Ctrl-D or Ctrl-C.

    Args:
        hint: shown first.
        prompts: one for each text of a question.
        answer: gets the texts; its BertError is shown, and the next question follows.
        output: gets the results.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # arrow keys and history in input()
    print(f'{hint} Leave with an empty line, "quit" or Ctrl-D.', file=sys.stderr)
    for texts in _questions(prompts):
        try:
            output.result(answer(*texts))
        except BertError as error:
            say(str(error))


def _questions(prompts: Sequence[str]) -> Iterator[list[str]]:
    while True:
        texts: list[str] = []
        for prompt in prompts:
            try:
                texts.append(_ask(prompt))
            except (EOFError, KeyboardInterrupt):
                print(file=sys.stderr)
                return
            if texts[-1].strip().lower() in _LEAVE:
                return
        yield texts


def _ask(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)  # stdout is for the results
    return input()
