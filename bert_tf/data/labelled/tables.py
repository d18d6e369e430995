"""Rows of tables: CSV, TSV, JSON lines, JSON, Parquet and Excel, each with its line number.

Text is read by `csv` and `json`: pandas fills short rows, shifts long ones, renames repeated
columns, drops quotes, and misreads "NA" and "01".
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple

from bert_tf.data.labelled.binary_tables import parquet_columns, parquet_rows, sheet_rows
from bert_tf.data.labelled.column_names import ALL_NAMES
from bert_tf.errors import BertError
from bert_tf.files.reading import parse_json
from bert_tf.files.text_lines import encoding_advice, open_lines, replaced, undecodable
from bert_tf.options import Options, option

SAMPLE = 1000
"""Rows from which the format, the header and the columns are inferred."""

_SPLIT = ("csv", "tsv", "xlsx")  # of fields that are all text, with or without a header
_DELIMITERS = ",;\t|"
_SUFFIXES = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"},
    **{".json": "json", ".parquet": "parquet", ".pq": "parquet", ".xlsx": "xlsx", ".xlsm": "xlsx"},
}
Column = str | int
"""A name, or a number from 0 (also as text, where no column has that name)."""

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class TableOptions(Options):
    """How a table is read; what is None is inferred from the file."""

    format: str | None = option(
        None,
        "of the files; by the end of the name, else from the first lines: JSON lines, tabs, as "
        "many commas in each, or else one text in each",
        choices=("csv", "tsv", "jsonl", "json", "parquet", "xlsx"),
    )
    delimiter: str | None = option(
        None,
        "one character between fields; a tab in TSV, else the one of , ; | and tab that gives most "
        "of the first lines the same number of fields",
    )
    quoting: str | None = option(
        None,
        "none: a quote is a character like any other, as in GLUE's files, usual for TSV; csv: "
        "quotes enclose fields, which may then hold the delimiter and line ends (RFC 4180), usual "
        "for all else",
        choices=("csv", "none"),
    )
    header: bool | None = option(
        None,
        "whether the first line has the names of the columns. It does if a name was asked for that "
        "stands in it; or if one of its fields is a usual name such as text or label; or if a "
        "column has numbers in all lines but the first, or few different values, each several "
        "times, but another in the first",
    )
    encoding: str | None = option(None, "of the files; UTF-8 and marked UTF-16 when left out")
    sheet: str | None = option(
        None, "of an Excel workbook, by name, or by number from 0; the first when left out"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise BertError(f"delimiter is {self.delimiter!r}; it must be one character.")


class TableRow(NamedTuple):
    """A line of a table, or several within quotes.

    `line` counts from 1, in JSON arrays, Parquet and Excel rows. Fields are text, in JSON and
    Parquet any value, None where it is missing. `problem` is "" or a kind of `problems.PROBLEMS`.
    """

    line: int
    fields: Sequence[Any]
    problem: str = ""
    note: str = ""


class Table:
    """An open file of rows, its format and dialect known.

    Args:
        path: of the file.
        options: what is known about it.
        wanted: columns asked for; their names help to recognize a header.
        only: a column and a value; `rows` leaves out rows with another value there.

    Attributes:
        path: of the file.
        names: of the columns; None if the file does not name them.
        width: number of columns.
        sample: the first rows.
        warnings: what was inferred from the file, and how to say otherwise.

    Raises:
        BertError: the file cannot be read, has no rows, no such column or none of the formats.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: TableOptions | None = None,
        wanted: Sequence[Column | None] = (),
        only: tuple[Column, str] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._options = options or TableOptions()
        self.warnings: list[str] = []
        self._format = self._options.format or self._tell_format()
        if self._options.sheet is not None and self._format != "xlsx":
            self.warnings.append(f"`sheet` is for Excel files, and {self.path} is {self._format}")
        self.names: tuple[str, ...] | None = None
        self._skip_first = False
        self._cells: list[list[str]] = []
        self.width = 0
        self._only: tuple[int, str] | None = None
        if self._format == "parquet":
            self.names = parquet_columns(self.path)
            self.width = len(self.names)
        elif self._format in _SPLIT:
            if self._format == "xlsx":
                self._cells, self.warnings = sheet_rows(self.path, self._options.sheet)
            self._tell_dialect()
            self._tell_header(wanted)
        else:
            items = (item for _, item, _, _ in islice(self._objects(), SAMPLE))
            names = dict.fromkeys(key for item in items if isinstance(item, dict) for key in item)
            self.names = tuple(names) or None
            self.width = len(names)
        self.sample: list[TableRow] = [
            row for row in islice(self.rows(), SAMPLE) if row.problem in ("", "wrong_encoding")
        ]
        if not self.sample:
            raise BertError(f"{self.path} has no rows")
        self.width = self.width or max(len(row.fields) for row in self.sample)
        if only is not None:
            self._only = self.column(only[0]), only[1]

    def column(self, column: Column) -> int:
        """The number of a column asked for.

        Raises:
            BertError: the table has no such column.
        """
        names = self.names
        if isinstance(column, str):
            if names is not None and column in names:
                return names.index(column)
            lower = [name.lower() for name in names or ()]
            if lower.count(column.lower()) == 1:
                return lower.index(column.lower())
            if not column.isdecimal():
                has = "it names no columns; give 0, 1, ..., or `header=True` if line 1 has names"
                has = f"it has {', '.join(names)}" if names else has
                raise BertError(f"{self.path} has no column {column!r}: {has}")
            column = int(column)
        if not 0 <= column < self.width:
            last = self.width - 1
            raise BertError(f"{self.path} has no column {column}; it has columns 0 to {last}")
        return column

    def rows(self) -> Iterator[TableRow]:
        """All rows after the header, from the start of the file, blank lines included.

        Raises:
            BertError: the file cannot be read to its end, or a quote is never closed.
        """
        if self._only is None:
            return self._rows()
        column, value = self._only
        return (r for r in self._rows() if r.problem or str(r.fields[column]).strip() == value)

    def _rows(self) -> Iterator[TableRow]:
        if self._format in _SPLIT:
            skip = self._skip_first
            for row in self._split():
                if not row.fields:
                    yield row._replace(problem="blank_line")
                elif skip:
                    skip = False
                elif len(row.fields) != self.width:
                    note = f"{len(row.fields)} in place of {self.width}"
                    yield row._replace(problem="ragged", note=note)
                else:
                    yield row
        elif self._format == "parquet":
            yield from map(TableRow, count(1), parquet_rows(self.path))
        else:
            for line, item, problem, note in self._objects():
                if isinstance(item, dict) and self.names is not None:
                    fields: Sequence[Any] = [item.get(name) for name in self.names]
                elif isinstance(item, list) and self.names is None:
                    fields = item
                    if self.width and len(item) != self.width:
                        problem, note = problem or "ragged", f"{len(item)} in place of {self.width}"
                else:
                    fields, problem = (), problem or "ragged"
                yield TableRow(line, fields, problem, note)

    def _tell_format(self) -> str:
        kind = _SUFFIXES.get(os.path.splitext(self.path.lower().removesuffix(".gz"))[1])
        if kind not in ("json", None):
            return kind
        with open_lines(self.path, self._options.encoding) as lines:
            first = [line for line in islice(lines, 20) if line.strip()]
        objects = bool(first) and _is_object(first[0])
        if kind == "json":  # it may hold an array, or an object in each line
            whole = len(first) == 1 and "[" in first[0]  # {"data": [...]} in one line
            return "jsonl" if objects and not whole else "json"
        if objects:
            return "jsonl"
        if 2 * sum("\t" in line for line in first) > len(first):
            return "tsv"
        # Else a text in each line, unless most lines have the same number of commas.
        counts = Counter(line.count(",") for line in first)
        common, times = counts.most_common(1)[0] if counts else (0, 0)
        return "csv" if common and times > 0.9 * len(first) else "tsv"

    def _tell_dialect(self) -> None:
        options = self._options
        self._quoting = options.quoting or ("none" if self._format == "tsv" else "csv")
        self._delimiter = options.delimiter or "\t"
        if options.delimiter is None and self._format == "csv":
            # How many of the first lines have the commonest number of fields, if that is over 1.
            def agreement(delimiter: str) -> int:
                self._delimiter = delimiter
                try:
                    widths = Counter(len(r.fields) for r in islice(self._split(strict=False), 100))
                except BertError:  # raised again when the dialect is settled
                    return 0
                return max((count for width, count in widths.items() if width > 1), default=0)

            self._delimiter = max(_DELIMITERS, key=agreement)
            if self._delimiter != ",":
                shown = "a tab" if self._delimiter == "\t" else repr(self._delimiter)
                self.warnings.append(f"{self.path} is read with {shown} as delimiter (`delimiter`)")
        widths = Counter(len(row.fields) for row in islice(self._split(), SAMPLE) if row.fields)
        self.width = widths.most_common(1)[0][0] if widths else 0

    def _tell_header(self, wanted: Sequence[Column | None]) -> None:
        rows = [row.fields for row in islice(self._split(), SAMPLE) if row.fields]
        first = [field.strip() for field in rows[0]] if rows else []
        header = self._options.header
        if header is None:
            header = _is_header(first, [row for row in rows[1:] if len(row) == self.width], wanted)
            if header:
                line = f"the first line of {self.path} is taken for the names of the columns"
                self.warnings.append(f"{line}: {', '.join(first)} (`header=False` if it is none)")
        if header:
            self.names = tuple(first)
            self.width = len(first)
        if self._quoting == "none" and self._options.quoting is None:
            body = [field for row in rows for field in row if field]
            quoted = sum(len(f) > 1 and f[0] == f[-1] == '"' for f in body)
            if quoted > 0.3 * len(body):
                quotes = f"the quotes around most fields of {self.path} are taken literally"
                self.warnings.append(f"{quotes}; to remove them, pass `quoting='csv'`")
        self._skip_first = bool(header)

    def _split(self, strict: bool = True) -> Iterator[TableRow]:
        """Each line, or quoted lines together, as fields; no fields if it is blank."""
        for number, cells in enumerate(self._cells, start=1):
            yield TableRow(number, cells if any(map(str.strip, cells)) else ())
        if self._format == "xlsx":
            return
        with open_lines(self.path, self._options.encoding) as lines:
            if self._quoting == "none":
                for number, line in enumerate(lines, start=1):
                    yield self._checked(number, line.rstrip("\r\n").split(self._delimiter))
                return
            # Texts may be longer than 128 KiB; the limit is for the whole process.
            csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
            reader = csv.reader(lines, delimiter=self._delimiter, strict=strict)
            start = 1
            try:
                for fields in reader:
                    yield self._checked(start, fields)
                    start = reader.line_num + 1
            except csv.Error as error:
                unclosed = "unexpected end" in str(error)
                wrong = "the quote is never closed" if unclosed else f"this is no CSV ({error})"
                raise BertError(
                    f"{self.path}:{start}: {wrong}; if lines end with \\r, save them with \\n; if "
                    "quotes are characters like any other, pass `quoting='none'`"
                ) from error

    def _checked(self, line: int, fields: list[str]) -> TableRow:
        if not any(map(str.strip, fields)):
            # One empty field is a blank line, two are not.
            return TableRow(line, fields if len(fields) > 1 else ())
        for index, field in enumerate(fields):
            if undecodable(field):
                fields = [*fields[:index], *map(replaced, fields[index:])]
                return TableRow(line, fields, "wrong_encoding", encoding_advice(field))
        return TableRow(line, fields)

    def _objects(self) -> Iterator[tuple[int, Any, str, str]]:
        """(line, value, problem, note) of each object."""
        with open_lines(self.path, self._options.encoding) as lines:
            if self._format == "json":
                text = "".join(lines)
                for number, line in enumerate(text.split("\n"), start=1):
                    if undecodable(line):
                        raise BertError(f"{self.path}:{number}: {encoding_advice(line)}")
                try:
                    items = parse_json(text, nan=True)
                except ValueError as error:
                    raise BertError(f"{self.path} is no JSON: {error}") from error
                if isinstance(items, dict):  # {"data": [...]}, as some tools write it
                    lists = [v for v in items.values() if v and isinstance(v, list)]
                    lists = [value for value in lists if isinstance(value[0], dict)]
                    items = lists[0] if len(lists) == 1 else [items]
                if not isinstance(items, list):
                    raise BertError(f"{self.path} is JSON, but no array of objects; give one")
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
                except ValueError:
                    yield number, None, "ragged", "no JSON"


def as_text(value: Any) -> str:
    """A field as a text; one that is missing is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else str(value)


def is_number(field: Any) -> bool:
    """Whether a field is a number, or text that is one."""
    if isinstance(field, str):
        return _NUMBER.fullmatch(field) is not None
    return isinstance(field, int | float) and not isinstance(field, bool)


def _is_header(first: list[str], rest: list[Sequence[str]], wanted: Sequence[Any]) -> bool:
    if not first or len(set(first)) < len(first):
        return False
    if any(name in first for name in wanted):
        return True
    for index, name in enumerate(first):
        column = [row[index].strip() for row in rest if index < len(row)]
        # A class may be called `question`; but then it comes again.
        if name in column:
            continue
        if name.lower() in ALL_NAMES:
            return True
        numbers = bool(column) and all(map(is_number, column))
        counts = Counter(column)
        # Classes: so few values, each so often, that a single one would be odd.
        classes = len(column) >= 5 * len(counts) and min(counts.values(), default=0) > 1
        if name and not is_number(name) and (numbers or classes):
            return True
    return False


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line, nan=True), dict)
    except ValueError:
        return False
