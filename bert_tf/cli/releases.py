"""`bert_tf list`: which checkpoints have a name, and which of them are here."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from bert_tf.cli.options import Parser
from bert_tf.files.whole import to_json
from bert_tf.report import printable, table

if TYPE_CHECKING:
    from bert_tf.hub.store import Installed

HELP = "list the named checkpoints, and which of them are installed"
DESCRIPTION = """\
Lists Google's released checkpoints: names, sizes, what they are, and the folders of those that
are installed; then other installed checkpoints. "bert_tf download NAME" downloads one, and
--checkpoint NAME uses it.
"""
EXAMPLES = """\
examples:
  bert_tf list
  bert_tf list --json
"""


# Keys of --json, and the attributes of a release that are called otherwise.
_KEYS = (
    *("name", "folder", "released", "layers", "hidden", "heads", "parameters", "bytes"),
    *("lower_case", "languages", "about"),
)
_ATTRIBUTES = {"released": "date", "bytes": "nbytes"}


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.switch("json", "one JSON object a checkpoint and line")


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    rows = _rows()
    lines = [to_json(row) for row in rows] if args.json else [show(rows)]
    print("\n".join(lines))
    return 0


def _rows() -> list[dict[str, Any]]:
    """All that is known, then what else is here; with the same keys."""
    from bert_tf.hub.catalog import RELEASES
    from bert_tf.hub.store import installed

    here = installed()
    paths = {found.name: found.path for found in here}
    rows = [
        {key: getattr(release, _ATTRIBUTES.get(key, key)) for key in _KEYS}
        | {"url": release.url(), "path": paths.get(release.name)}
        for release in RELEASES
    ]
    nothing = dict.fromkeys(rows[0])
    others = [found for found in here if found.release is None]
    return [*rows, *({**nothing, "name": o.name, "path": o.path, **_known(o)} for o in others)]


def _known(found: Installed) -> dict[str, Any]:
    """What is known of a checkpoint that is not Google's: all of the one that comes along."""
    from bert_tf.checkpoint import CheckpointReader
    from bert_tf.config import BertConfig
    from bert_tf.errors import BertError
    from bert_tf.hub.locate import locate
    from bert_tf.hub.store import embedded

    if found.path != embedded():
        return {}
    try:
        with locate(found.path) as files, CheckpointReader(files.prefix) as reader:
            config, tensors = BertConfig.from_file(str(files.config_path)), reader.tensors
    except BertError:  # damaged; loading it tells how
        return {}
    sizes = {name: info.nbytes // info.dtype.itemsize for name, info in tensors.items()}
    return {
        "folder": os.path.basename(found.path),
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "parameters": sum(n for name, n in sizes.items() if name.startswith("bert/")),
        "bytes": sum(info.nbytes for info in tensors.values()),
        "lower_case": False,
        "languages": "6 languages",
        "about": "small, for demonstration; included",
    }


def show(rows: list[dict[str, Any]]) -> str:
    """The table as text for people."""
    from bert_tf.hub import store

    titles = ["name", "layers x hidden", "casing", "MB", "here", "what"]
    cells = [titles, *([_cell(row, title) for title in titles] for row in rows)]
    there = [printable(f"{row['name']}: {row['path']}") for row in rows if row["path"]]
    here = "here:" if there else "none of them is installed; to get one: bert_tf download NAME"
    lines = [table(cells, "<><><<", indent=""), "", here, *(f"  {line}" for line in there)]
    return "\n".join([*lines, f"downloads go to {printable(store.home())}"])


def _cell(row: dict[str, Any], title: str) -> str:
    if title == "name":
        return printable(row["name"])
    if title == "here":
        return "yes" if row["path"] else ""
    if row["layers"] is None:
        return "not one of Google's releases" if title == "what" else ""
    return {
        "layers x hidden": f"{row['layers']} x {row['hidden']}",
        "casing": "uncased" if row["lower_case"] else "cased",
        "MB": f"{row['bytes'] / 1e6:,.0f}",
        "what": f"{row['languages']}: {row['about']}",
    }[title]
