"""Text tables whose columns line up in any script."""

from __future__ import annotations

import html
import itertools
import unicodedata
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def width(text: str) -> int:
    """How many terminal cells the text takes.

    East Asian wide characters take two, combining marks none.

    >>> width("дом"), width("東京"), width("é")
    (3, 4, 1)
    """
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    # U+1160 to U+11FF: the rest of a Hangul syllable in jamo, drawn with its start.
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str, keep: str = "") -> str:
    """The text with control characters spelled out, so that it cannot steer the terminal.

    Args:
        text: any text.
        keep: control characters to leave as they are.
    """
    return "".join(
        character
        if character in keep or unicodedata.category(character) != "Cc"
        else ascii(character)[1:-1]
        for character in text
    )


def shorten(text: str, cells: int) -> str:
    """The text, with an ellipsis at its end if it takes more than `cells` cells.

    >>> shorten("東京タワー", 5)
    '東京…'
    """
    if width(text) <= cells:
        return text
    kept = itertools.takewhile(lambda used: used < cells, itertools.accumulate(map(_cells, text)))
    return text[: len(list(kept))].rstrip() + "…"


def percent(fraction: float) -> str:
    """A fraction of 1 in percent with two decimals.

    >>> percent(0.9912)
    '99.12 %'
    """
    return f"{100 * fraction:.2f} %"


def bar(fraction: float, cells: int = 20) -> str:
    """A bar that is `cells` long for 1, in steps of an eighth of a cell.

    >>> bar(0.5, 4)
    '██'
    """
    eighths = round(8 * cells * min(max(fraction, 0.0), 1.0))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def table(rows: Sequence[Sequence[str]], align: str = "", indent: str = "  ") -> str:
    """Rows of cells as lines whose columns line up.

    Args:
        rows: all of the same length.
        align: a letter for each column, "<" left or ">" right; left where there is none.
        indent: what each line starts with.

    >>> print(table([["дом", "9.1 %"], ["東京", "12.0 %"]], "<>"))
      дом    9.1 %
      東京  12.0 %
    """
    widths = [max(map(width, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = []
        for cell, wide, side in itertools.zip_longest(row, widths, align[: len(row)]):
            gap = " " * (wide - width(cell))
            cells.append(gap + cell if side == ">" else cell + gap)
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


Ranked = tuple[str, Sequence[tuple[str, float]]]
"""A title, or "", and names with their probabilities, the highest first."""


def result_text(heading: str, lists: Sequence[Ranked], *remarks: str) -> str:
    """A result for people: its heading, a table for each list, and what else there is to say.

    >>> print(result_text("a cat", [("mask", [("cat", 0.5), ("dog", 0.25)])]))
    a cat
    <BLANKLINE>
    mask
      cat  50.00 %  ██████████
      dog  25.00 %  █████
    """
    parts = [printable(heading, keep="\n\t")]
    for title, found in lists:
        rows = [[printable(name), percent(p), bar(p)] for name, p in found]
        parts += [*(["", title] if title else []), table(rows, "<>")]
    return "\n".join([*parts, *remarks])


def result_html(heading: str, lists: Sequence[Ranked], *remarks: str) -> str:
    """The same for a notebook, in HTML."""

    def row(name: str, p: float) -> str:
        bar = f"width: {10 * p:.2f}em; height: 0.8em; background: currentColor; opacity: 0.4"
        cells = [html.escape(printable(name)), percent(p), f'<div style="{bar}"></div>']
        return "".join(f'<td style="text-align: left">{cell}</td>' for cell in cells)

    parts = [f"<p>{html.escape(printable(heading))}</p>"]
    for title, found in lists:
        rows = "".join(f"<tr>{row(*one)}</tr>" for one in found)
        parts.append(f"<table><caption>{html.escape(title)}</caption>{rows}</table>")
    return "".join([*parts, *(f"<p>{html.escape(remark)}</p>" for remark in remarks)])
