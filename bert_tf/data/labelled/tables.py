"""Rows of tables: CSV, TSV, JSON lines, JSON, Parquet and Excel, each with its line number.

Text is read by `csv` and `json`: pandas fills short rows, shifts long ones, renames repeated
columns, drops quotes, and misreads "NA" and "01".
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple

from bert_tf.data.labelled.binary_tables import parquet_columns, parquet_rows, sheet_rows
from bert_tf.data.labelled.formats import SEP, SPACED, infer_format
from bert_tf.data.labelled.headers import find_header
from bert_tf.data.labelled.headers import is_number as is_number
from bert_tf.data.labelled.json_tables import json_items
from bert_tf.data.labelled.quotes import RowsInQuotes, quoted_blanks, unescaped
from bert_tf.errors import BertError
from bert_tf.files.text_lines import encoding_advice, open_lines, replaced, undecodable
from bert_tf.options import Options, option

SAMPLE = 1000
"""Rows from which the format, the header and the columns are inferred."""

SPLIT = ("csv", "tsv", "xlsx")  # of fields that are all text, with or without a header
_DELIMITERS = ",;\t|"
Column = str | int
"""A name, or a number from 0 (also as text, where no column has that name)."""


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
        "is in it; or if one of its fields is a usual name such as text or label; or if a column "
        "has numbers in all lines but the first, or few different values, each several times, but "
        "another in the first; or if its fields look like names, do not occur again, and are much "
        "shorter than the texts below. What was found is reported",
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
        name: for messages, in place of the path.

    Attributes:
        path: of the file, or its name.
        format: one of those of `TableOptions`.
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
        name: str | None = None,
    ) -> None:
        self._file = os.fspath(path)
        self.path = name or self._file
        self._options = options or TableOptions()
        self.warnings: list[str] = []
        self.format = self._options.format or infer_format(self._file, self._options.encoding)
        if self._options.sheet is not None and self.format != "xlsx":
            self.warnings.append(f"`sheet` is for Excel files, and {self.path} is {self.format}")
        self.names: tuple[str, ...] | None = None
        self._header: list[str] = []  # as it is in the file
        self._header_line = 0
        self._cells: list[list[str]] = []
        self.width = 0
        self._only: tuple[int, str] | None = None
        if self.format == "parquet":
            self.names = parquet_columns(self._file)
            self.width = len(self.names)
        elif self.format in SPLIT:
            if self.format == "xlsx":
                self._cells, self.warnings = sheet_rows(self._file, self._options.sheet)
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
            raise BertError(f"{self.path} has no rows{self._why_no_rows()}")
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
                has = f"it has {', '.join(filter(None, names))}" if names else has
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
        if self.format in SPLIT:
            header, width, in_table = self._header, self.width or -1, not self._header_line
            last = header[-1] if header else None
            for row in self._split():
                fields = row.fields
                if in_table and len(fields) == width and fields[-1] != last:
                    yield row
                elif not fields:
                    yield row._replace(problem="blank_line")
                elif not in_table:
                    in_table = row.line >= self._header_line
                elif _same(fields, header):
                    yield row._replace(problem="repeated_header")
                elif len(fields) != width:
                    note = f"{len(fields)} in place of {width}"
                    yield row._replace(problem="ragged", note=note)
                else:
                    yield row
        elif self.format == "parquet":
            yield from map(TableRow, count(1), parquet_rows(self._file))
        else:
            for line, item, problem, note in self._objects():
                if isinstance(item, dict) and self.names is not None:
                    found: Sequence[Any] = [item.get(name) for name in self.names]
                elif isinstance(item, list) and self.names is None:
                    found = item
                    if self.width and len(item) != self.width:
                        problem, note = problem or "ragged", f"{len(item)} in place of {self.width}"
                else:
                    found, problem = (), problem or "ragged"
                yield TableRow(line, found, problem, note)

    def _objects(self) -> Iterator[tuple[int, Any, str, str]]:
        return json_items(self._file, self.format, self._options.encoding, self.path)

    def _tell_dialect(self) -> None:
        options = self._options
        self._skipped = self._skip_blanks = self._backslash = 0
        self._known: RowsInQuotes | None = None
        self._delimiter = options.delimiter or "\t"
        first = self._first_lines() if self.format != "xlsx" else []
        self._quoting = options.quoting or ("none" if self.format == "tsv" else "csv")
        given = SEP.fullmatch(first[0]) if first else None
        if given:
            self._skipped = 1
            self._delimiter = options.delimiter or given[1]
            self.warnings.append(f"{self.path}:1 names the delimiter, {given[1]!r}, and is obeyed")
        elif self.format == "tsv" and options.quoting is None and first:
            fields = first[0].strip().split(self._delimiter)
            if len(fields) > 1 and all(len(f) > 1 and f[0] == f[-1] == '"' for f in fields):
                self._quoting = "csv"
        elif options.delimiter is None and self.format == "csv":
            # How many of the first lines have the commonest number of fields, if that is over 1.
            def agreement(delimiter: str) -> int:
                self._delimiter = delimiter
                try:
                    widths = Counter(len(r.fields) for r in islice(self._split(strict=False), 100))
                except BertError:  # raised again when the dialect is settled
                    return 0
                return max((count for width, count in widths.items() if width > 1), default=0)

            spaced = first and SPACED.fullmatch(first[0])
            self._delimiter = " " if spaced else max(_DELIMITERS, key=agreement)
            if self._delimiter != ",":
                shown = {"\t": "a tab", " ": "a blank"}.get(self._delimiter, repr(self._delimiter))
                self.warnings.append(f"{self.path} is read with {shown} as delimiter (`delimiter`)")
        if self._quoting == "csv":
            self._skip_blanks = quoted_blanks(first[self._skipped :], self._delimiter)
        try:
            widths = self._widths()
        except BertError:
            if self._quoting == "none" or not any('\\"' in line for line in first):
                raise
            self._backslash = 1
            widths = self._widths()
            escaped = f"quotes within fields of {self.path} are taken to follow a backslash"
            self.warnings.append(f"{escaped} (`quoting='none'` if quotes enclose nothing)")
        self.width = widths.most_common(1)[0][0] if widths else 0

    def _first_lines(self) -> list[str]:
        with open_lines(self._file, self._options.encoding) as lines:
            return [line for line in islice(lines, SAMPLE) if line.strip()]

    def _widths(self) -> Counter[int]:
        return Counter(len(row.fields) for row in islice(self._split(), SAMPLE) if row.fields)

    def _tell_header(self, wanted: Sequence[Column | None]) -> None:
        records = [row for row in islice(self._split(), SAMPLE) if row.fields]
        rows = [row.fields for row in records]
        found = find_header(rows, self.width, wanted, self._options.header)
        if found is not None:
            at, names = found
            self.names, self.width = tuple(names), len(names)
            self._header, self._header_line = list(rows[at]), records[at].line
            for title in records[:at]:
                if shown := " ".join(filter(None, title.fields)):
                    title_of = f"{self.path}:{title.line} is a title, skipped"
                    self.warnings.append(f"{title_of}: {shown:.60}")
            if self._options.header is None:
                line = f"line {self._header_line}" if at else "the first line"
                line += f" of {self.path} is taken for the names of the columns"
                shown = ", ".join(filter(None, names))
                self.warnings.append(f"{line}: {shown} (`header=False` if it is none)")
            if unnamed := [i for i, name in enumerate(names) if not name]:
                where = ", ".join(map(str, unnamed))
                left = (
                    f"columns of {self.path} without a name are left out: {where} (counted from 0)"
                )
                self.warnings.append(left)
        elif self._options.header is None and rows:
            none = f"{self.path} has no line with names of columns: its first line is a row"
            self.warnings.append(f"{none} (`header=True` if it has the names)")
        if self._quoting == "none" and self._options.quoting is None:
            body = [field for row in rows for field in row if field]
            quoted = sum(len(f) > 1 and f[0] == f[-1] == '"' for f in body)
            if quoted > 0.3 * len(body):
                quotes = f"the quotes around most fields of {self.path} are taken literally"
                self.warnings.append(f"{quotes}; to remove them, pass `quoting='csv'`")

    def dialect(self) -> dict[str, Any]:
        """How the file is read, as JSON: format and columns; of text also delimiter and quoting.

        Columns are their names, or their number where they have none.
        """
        found: dict[str, Any] = {"format": self.format}
        if self.format in ("csv", "tsv"):
            found |= {"delimiter": self._delimiter, "quoting": self._quoting}
        return {**found, "columns": self.width if self.names is None else list(self.names)}

    def _split(self, strict: bool = True) -> Iterator[TableRow]:
        """Each line, or quoted lines together, as fields; no fields if it is blank."""
        for number, cells in enumerate(self._cells, start=1):
            yield TableRow(number, cells if any(map(str.strip, cells)) else ())
        if self.format == "xlsx":
            return
        with open_lines(self._file, self._options.encoding) as lines:
            skipped = sum(1 for _ in islice(lines, self._skipped))
            if self._quoting == "none":
                for number, line in enumerate(lines, start=1 + skipped):
                    yield self._checked(number, line.rstrip("\r\n").split(self._delimiter))
                return
            # Texts may be longer than 128 KiB; the limit is for the whole process.
            csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
            source: Iterable[str] = map(unescaped, lines) if self._backslash else lines
            reader = csv.reader(
                source,
                delimiter=self._delimiter,
                strict=strict,
                skipinitialspace=bool(self._skip_blanks),
            )
            start = 1 + skipped
            checks = strict and self._options.quoting is None
            try:
                for fields in reader:
                    first, start = start, reader.line_num + skipped + 1
                    if start - first > 1 and checks:
                        self._refuse_rows_in_quotes(fields, first, start - 1)
                    yield self._checked(first, fields)
            except csv.Error as error:
                if "new-line" in str(error):
                    wrong = "a \\r is within a field; if lines end with \\r, save them with \\n"
                elif "unexpected end" in str(error):
                    wrong = "the quote is never closed; remove or double it"
                elif "expected after" in str(error):
                    wrong = "this is no CSV (text after a closing quote); double quotes in fields"
                else:
                    wrong = f"this is no CSV ({error})"
                raise BertError(
                    f"{self.path}:{start}: {wrong}; if quotes are characters like any other, pass "
                    "`quoting='none'`"
                ) from error

    def _refuse_rows_in_quotes(self, fields: list[str], first: int, last: int) -> None:
        if self._known is None:
            with open_lines(self._file, self._options.encoding) as lines:
                sample = list(islice(lines, self._skipped, SAMPLE))
            self._known = RowsInQuotes(sample, self._delimiter)
        if self._known(fields):
            raise BertError(
                f"{self.path}:{first}: a quote opens a field that goes on to line {last}, over "
                "lines that are rows; remove the stray quote; if quotes are characters like any "
                "other, pass `quoting='none'`; if these lines are one text, `quoting='csv'`"
            )

    def _why_no_rows(self) -> str:
        """Why no row is fit, by the first that is not."""
        row = next((row for row in self.rows() if row.problem != "blank_line"), None)
        if row is None:
            return ""
        if self.format in ("json", "jsonl"):
            return f" that are JSON objects: in line {row.line}, {row.note or 'there is none'}"
        if row.problem == "repeated_header":
            return f": line {row.line} repeats the names of the columns"
        names = f"its names of columns in line {self._header_line} are {len(self._header)}"
        shown = ", ".join(self._header)
        fields = f"line {row.line} has {len(row.fields)}"
        return (
            f": {names} ({shown:.100}), but {fields} fields ({', '.join(row.fields):.100}); are "
            "`delimiter` and `quoting` right?"
        )

    def _checked(self, line: int, fields: list[str]) -> TableRow:
        if not any(map(str.strip, fields)):
            # One empty field is a blank line, two are not.
            return TableRow(line, fields if len(fields) > 1 else ())
        for index, field in enumerate(fields):
            if not field.isascii() and undecodable(field):
                fields = [*fields[:index], *map(replaced, fields[index:])]
                return TableRow(line, fields, "wrong_encoding", encoding_advice(field))
        return TableRow(line, fields)


def as_text(value: Any) -> str:
    """A field as a text; one that is missing is empty.

    Raises:
        BertError: it is a list or an object.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        raise BertError("the text is a list or an object")
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)


def _same(fields: Sequence[str], header: list[str]) -> bool:
    """Whether these are the names again, as where two files were joined."""
    return [fields[0].removeprefix("\ufeff"), *fields[1:]] == header
