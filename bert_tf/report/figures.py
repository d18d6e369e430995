"""What all pictures share: colours, a canvas of their own, names that can be drawn, and saving.

No figure goes through `matplotlib.pyplot`, which keeps the open ones and the choice of a window
system for the whole process: a library must leave those to its user.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bert_tf.files.extras import importing
from bert_tf.files.whole import whole_file
from bert_tf.report.tables import printable, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#0072B2"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
SKY = "#56B4E9"
GREY = "#6B6B6B"
"""Colours of Okabe and Ito (jfly.uni-koeln.de/color), which colour-blind people can tell apart."""

_FAMILIES = (
    "DejaVu Sans, Noto Sans CJK SC, Noto Sans CJK JP, Source Han Sans SC, WenQuanYi Zen Hei, "
    "Droid Sans Fallback, IPAGothic, Microsoft YaHei, Yu Gothic, Malgun Gothic, PingFang SC, "
    "Hiragino Sans, Arial Unicode MS, Noto Sans Devanagari, Noto Sans Bengali, Noto Sans Tamil, "
    "Noto Sans Thai, Nirmala UI, FreeSerif"
)
"""DejaVu comes with matplotlib. The others have what it lacks, where they are installed."""


class Names(NamedTuple):
    """Labels as a picture can show them.

    Attributes:
        shown: one for each label, all different; `$` is escaped, so that nothing is a formula.
        note: what to say under the picture about labels shown by their number, or "".
    """

    shown: tuple[str, ...]
    note: str


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on an Agg canvas in constrained layout; width and height are in inches.

    Raises:
        BertError: matplotlib is not installed.
    """
    with importing("a picture"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def display(name: str) -> Any:
    """A class of scikit-learn that draws a known diagram, such as "RocCurveDisplay".

    Raises:
        BertError: scikit-learn is not installed.
    """
    with importing("a picture"):
        from sklearn import calibration, metrics
    return getattr(metrics, name, None) or getattr(calibration, name)


def plain_axes(axes: Axes, grid: Literal["x", "y", "both"] = "both") -> None:
    """Removes the frame's upper and right side; draws light grid lines of one axis or both."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#E3E3E3", linewidth=0.8)


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> None:
    """Writes a PNG, whole or not at all; width and height are inches times `dpi`.

    Raises:
        BertError: the file cannot be written.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(list(_installed()))
    with whole_file(path, "wb", durable=False) as file:
        figure.savefig(file, dpi=dpi, format="png")


def drawable_names(labels: Sequence[str], cells: int = 28) -> Names:
    """Labels made fit for a picture.

    Control characters are spelled out, long labels are cut, and a label with a character that no
    installed font has, which would come out as boxes, is shown by its number from 0.

    Args:
        labels: any texts.
        cells: how long a name may become; a wide character takes two cells.
    """
    shown: list[str] = []
    numbered: list[str] = []
    fonts = _installed().values()
    for number, label in enumerate(labels):
        name = shorten(printable(str(label)), cells)
        if not name.strip():
            name = f"label {number} (blank)"
        elif not all(c.isspace() or any(ord(c) in font for font in fonts) for c in name):
            numbered.append(name := f"label {number}")
        if name in shown:  # cut to the same beginning
            name = f"{shorten(name, max(cells - 2 - len(str(number)), 4))} #{number}"
        shown.append(name)
    note = ""
    if numbered:
        few = ", ".join(numbered[:4]) + (", …" if len(numbered) > 4 else "")
        note = f"{few}: counted from 0; no installed font has all characters of the name"
    return Names(tuple(name.replace("$", r"\$") for name in shown), note)


@functools.cache
def _installed() -> dict[str, Any]:
    """The families that are there, with the characters of each."""
    with importing("a picture"):
        from matplotlib import font_manager

    names = {entry.name for entry in font_manager.fontManager.ttflist}
    found = {}
    for family in filter(names.__contains__, _FAMILIES.split(", ")):
        properties = font_manager.FontProperties(family=[family])
        font = font_manager.get_font(font_manager.findfont(properties))
        found[family] = frozenset(font.get_charmap())
    return found
