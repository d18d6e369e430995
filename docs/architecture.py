"""Draws `architecture.svg`: the parts of the package and what each imports, read from the code.

An arrow that follows from others is left out: a part that imports b may import what b imports.

python docs/architecture.py
"""

from __future__ import annotations

import ast
import functools
import pathlib

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "bert_tf"  # the same picture gives the same bytes
matplotlib.rcParams["svg.fonttype"] = "none"
from matplotlib import pyplot  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parent / "bert_tf"


def parts() -> dict[str, list[pathlib.Path]]:
    """The folders and single modules of the package, with their files."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if not name.startswith("_"):
            found.setdefault(name, []).append(path)
    return found


def imports(path: pathlib.Path) -> set[str]:
    """The parts that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):  # of "from bert_tf import x", x may be a part
            names = [f"{node.module}.{name}" for name in names]
        found |= {name.split(".")[1] for name in names if name.startswith("bert_tf.")}
    return found


def main() -> None:
    """Writes the picture."""
    files = parts()
    arrows = {
        name: {to for path in paths for to in imports(path)} & set(files) - {name}
        for name, paths in files.items()
    }

    @functools.cache
    def floor(name: str) -> int:
        return max((floor(to) + 1 for to in arrows[name]), default=0)

    @functools.cache
    def below(name: str) -> set[str]:
        return set().union(*({to} | below(to) for to in arrows[name]))

    floors: dict[int, list[str]] = {}
    for name in files:
        floors.setdefault(floor(name), []).append(name)
    at = {}
    for height, names in floors.items():
        for place, name in enumerate(names):
            # Alternating offsets, so that an arrow seldom runs through a box between its ends.
            at[name] = (place - (len(names) - 1) / 2 + (0.27 if height % 2 else -0.27), height)
    figure, axes = pyplot.subplots(figsize=(11, 1.0 * len(floors) + 1))
    for name, targets in arrows.items():
        for to in sorted(targets - set().union(*map(below, targets))):  # the same bytes each time
            axes.annotate(
                "",
                xy=(at[to][0], at[to][1] + 0.22),
                xytext=(at[name][0], at[name][1] - 0.22),
                arrowprops={"arrowstyle": "->", "color": "#8aa0b8", "lw": 0.8},
            )
    for name, (x, y) in at.items():
        lines = sum(path.read_text(encoding="utf-8").count("\n") for path in files[name])
        label = f"{name}{'/' if (PACKAGE / name).is_dir() else '.py'}\n{lines:,} lines"
        box = {"boxstyle": "round,pad=0.35", "fc": "#eef3f8", "ec": "#3c5a78"}
        axes.text(x, y, label, ha="center", va="center", fontsize=9, bbox=box)
    reach = max(abs(x) for x, _ in at.values()) + 0.7
    axes.set(xlim=(-reach, reach), ylim=(-0.6, len(floors) - 0.4))
    axes.axis("off")
    figure.savefig(HERE / "architecture.svg", bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
