"""JSON as rows: an array of objects or lists, or a table by columns or rows, as pandas writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bert_tf.data.labelled.column_names import ALL_NAMES
from bert_tf.errors import BertError
from bert_tf.files.reading import parse_json
from bert_tf.files.text_lines import encoding_advice, open_lines, replaced, undecodable

NO_JSON = "no JSON"
"""How the note of a line begins that cannot be parsed."""


def json_items(
    file: str, format: str, encoding: str | None, path: str
) -> Iterator[tuple[int, Any, str, str]]:
    """(line, value, problem, note) of each item of a file in JSON or JSON lines.

    Lines count from 1; items of an array count as lines. `path` names the file in messages.
    """
    with open_lines(file, encoding) as lines:
        if format == "json":
            text = "".join(lines)
            for number, line in enumerate(text.split("\n"), start=1):
                if undecodable(line):
                    raise BertError(f"{path}:{number}: {encoding_advice(line)}")
            try:
                items = parse_json(text, nan=True)
            except ValueError as error:
                raise BertError(f"{path} is no JSON: {error}") from error
            items = rows_of_json(items, path)
            yield from ((number, item, "", "") for number, item in enumerate(items, start=1))
            return
        for number, line in enumerate(lines, start=1):
            problem = note = ""
            if undecodable(line):
                problem, note, line = "wrong_encoding", encoding_advice(line), replaced(line)
            if not line.strip():
                yield number, None, "blank_line", ""
                continue
            try:
                yield number, parse_json(line, nan=True), problem, note
            except ValueError as error:
                yield number, None, "ragged", f"{NO_JSON} ({str(error).split(': line 1 ')[0]})"


def rows_of_json(value: Any, path: str) -> list[Any]:
    """The rows in the value of a whole JSON file.

    It is an array; `{"data": [...]}` with one array of objects; what pandas' `to_json` writes by
    default (`{column: {index: value}}`) and with `orient` split or index; `{column: [values]}`; or
    an object that is a row itself.

    Raises:
        BertError: it is neither an array nor an object.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise BertError(f"{path} is JSON, but no array of objects; give one")
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list):
        return [dict(zip(map(str, columns), row)) if _fits(row, columns) else row for row in data]
    values = list(value.values())
    lists = [one for one in values if one and isinstance(one, list) and isinstance(one[0], dict)]
    if len(lists) == 1:
        return lists[0]
    if len(values) > 1 and all(
        one and isinstance(one, list) and isinstance(one[0], dict | list) for one in values
    ):
        raise BertError(f"{path} has several arrays, {', '.join(value)}; save each as a file")
    if values and all(isinstance(one, dict) and one for one in values):
        keys = list(values[0])
        if all(one.keys() == values[0].keys() for one in values):
            if _is_index(list(value), keys):
                return values
            return [{name: one[key] for name, one in value.items()} for key in keys]
    columns_of = len(values) > 1 and all(isinstance(one, list) and one for one in values)
    if columns_of and len({len(one) for one in values}) == 1:
        return [dict(zip(value, row)) for row in zip(*values)]
    return [value]


def _fits(row: Any, columns: list[Any]) -> bool:
    return isinstance(row, list) and len(row) == len(columns)


def _is_index(outer: list[str], inner: list[str]) -> bool:
    """Whether the outer keys number rows, and the inner ones name columns."""
    for keys, answer in ((outer, False), (inner, True)):
        if any(key.strip().lower() in ALL_NAMES for key in keys):
            return answer
    if all(map(str.isdecimal, inner)) or all(map(str.isdecimal, outer)):
        return not all(map(str.isdecimal, inner))
    return len(outer) > len(inner)
