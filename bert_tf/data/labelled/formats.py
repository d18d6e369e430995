"""The format of a table, by the end of its name or its first lines."""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import islice

from bert_tf.files.reading import parse_json
from bert_tf.files.text_lines import open_lines

_SUFFIXES = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"},
    **{".json": "json", ".parquet": "parquet", ".pq": "parquet", ".xlsx": "xlsx", ".xlsm": "xlsx"},
}
_JSON = re.compile(r"\s*(\[\s*[\[{]|[\[{]\s*$)")
"""How an array of objects or lists begins, and JSON over several lines."""
SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""A first line that names the delimiter, for Excel."""
SPACED = re.compile(r'"[^"]*"( "[^"]*")+\s*')
"""The names of columns as R's `write.table` leaves them."""


def format_by_name(path: str) -> str | None:
    """The format that the end of a name stands for; None if that says nothing."""
    return _SUFFIXES.get(os.path.splitext(path.lower().removesuffix(".gz"))[1])


def infer_format(path: str, encoding: str | None = None) -> str:
    """One of the formats of `TableOptions`; "tsv" is also a text in each line."""
    kind = format_by_name(path)
    if kind not in ("json", "jsonl", None):
        return kind
    with open_lines(path, encoding) as lines:
        first = [line for line in islice(lines, 20) if line.strip()]
    if kind == "jsonl":  # also if it is a whole table in one line
        return "json" if len(first) == 1 else "jsonl"
    objects = bool(first) and _is_object(first[0])
    if kind == "json":  # it may hold an array, or an object in each line
        return "jsonl" if objects and len(first) > 1 else "json"
    if objects:
        return "jsonl" if len(first) > 1 else "json"
    if first and _JSON.match(first[0]):
        return "json"
    if first and (SEP.fullmatch(first[0]) or SPACED.fullmatch(first[0])):
        return "csv"
    if 2 * sum("\t" in line for line in first) > len(first):
        return "tsv"
    # Else a text in each line, unless most lines have the same number of commas.
    counts = Counter(line.count(",") for line in first)
    common, times = counts.most_common(1)[0] if counts else (0, 0)
    return "csv" if common and times > 0.9 * len(first) else "tsv"


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line, nan=True), dict)
    except ValueError:
        return False
