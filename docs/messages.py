"""Prints every text that a user can read in the program: messages, help, titles, with their places.

    python docs/messages.py                 # of the whole package
    python docs/messages.py bert_tf/hub     # of a folder or file

It reads the source: all strings with a blank that are no docstrings. `{...}` is filled in later.
"""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import Iterator


def strings(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a file that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            apart |= set(map(id, node.values))
            parts = (
                part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
                for part in node.values
            )
            yield node.lineno, "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart
        ):
            yield node.lineno, node.value


def messages(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Those of `strings` that are phrases."""
    return ((line, text) for line, text in strings(path) if " " in text.strip() and len(text) > 12)


if __name__ == "__main__":
    root = pathlib.Path(__file__).parents[1]
    start = root / (sys.argv[1] if sys.argv[1:] else "bert_tf")
    for path in sorted(start.rglob("*.py")) if start.is_dir() else [start]:
        for line, text in messages(path):
            print(f"{path.relative_to(root)}:{line}: {text!r}")
