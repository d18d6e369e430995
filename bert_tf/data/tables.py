"""Rows of tables: CSV, TSV, JSON lines, JSON and Parquet, each with the number of its line."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from bert_tf.data.column_names import ALL_NAMES
from bert_tf.data.text_lines import encoding_advice, open_lines, replaced, undecodable
from bert_tf.errors import BertError
from bert_tf.files.reading import parse_json

SAMPLE = 1000
"""Rows from which the format, the header and the columns are told."""

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet")
QUOTING = ("csv", "none")
_DELIMITERS = ",;\t|"
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class TableOptions:
    """How a table is read; what is None is told from the file.

    Attributes:
        format: one of `FORMATS`. Told from the end of the name, else from the first lines: JSON
            lines, tabs, as many commas in each, or else one text in each.
        delimiter: between fields. Tabs in TSV; else the one of `, ; | tab` that gives most of the
            first lines the same number of fields.
        quoting: "none": a quote is a character like any other, as in GLUE's files; "csv": quotes
            enclose fields, which may then hold the delimiter and line ends (RFC 4180). "none" in
            TSV, else "csv".
        header: whether the first line has the names of the columns. It does if a name was asked
            for that stands in it; or if one of its fields is a usual name such as `text` or
            `label`; or if a column has numbers in all lines but the first, or few different
            values, each several times, but another in the first.
        encoding: see `open_lines`.
    """

    format: str | None = None
    delimiter: str | None = None
    quoting: str | None = None
    header: bool | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("format", self.format, FORMATS),
            ("quoting", self.quoting, QUOTING),
        ):
            if value is not None and value not in known:
                raise BertError(f"{name} is {value!r}; it is one of {', '.join(known)}")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise BertError(f"the delimiter is {self.delimiter!r}; it is one character")


class Row(NamedTuple):
    """A line of a table, or several that quotes hold together.

    Attributes:
        line: its number in the file, from 1; in JSON arrays and Parquet that of the row.
        fields: text; in JSON and Parquet any value, None where it is missing.
        problem: "", or a kind of `problems.KINDS`.
        note: about the problem.
    """

    line: int
    fields: Sequence[Any]
    problem: str = ""
    note: str = ""


class Table:
    """A file of rows, opened: how it is to be read is decided.

    Args:
        path: of the file.
        options: what is known of it.
        wanted: columns asked for by name; they help to tell a header.

    Attributes:
        path: of the file.
        names: of the columns; None if the file does not name them.
        width: number of columns.
        sample: the first rows.
        remarks: what was told from the file, and how to say otherwise.

    Raises:
        BertError: the file cannot be read, has no rows, or is none of the formats.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: TableOptions | None = None,
        wanted: Sequence[str] = (),
    ) -> None:
        self.path = os.fspath(path)
        self._options = options or TableOptions()
        self.remarks: list[str] = []
        self._format = self._options.format or self._tell_format()
        self.names: tuple[str, ...] | None = None
        self._skip_first = False
        self.width = 0
        if self._format == "parquet":
            self.names = tuple(_parquet(self.path).schema_arrow.names)
            self.width = len(self.names)
        elif self._format in ("csv", "tsv"):
            self._tell_dialect()
            self._tell_header(wanted)
        else:
            found: dict[str, None] = {}
            for item in islice(self._objects(), SAMPLE):
                if isinstance(item[1], dict):
                    found.update(dict.fromkeys(item[1]))
            self.names = tuple(found) or None
            self.width = len(found)
        self.sample: list[Row] = [
            row for row in islice(self.rows(), SAMPLE) if row.problem in ("", "wrong_encoding")
        ]
        if not self.sample:
            raise BertError(f"{self.path} has no rows")
        self.width = self.width or max(len(row.fields) for row in self.sample)

    def rows(self) -> Iterator[Row]:
        """All rows behind the header, from the start of the file; blank lines are among them.

        Raises:
            BertError: the file cannot be read to its end, or a quote is never closed.
        """
        if self._format in ("csv", "tsv"):
            yield from self._judged()
        elif self._format == "parquet":
            number = 0
            try:
                for batch in _parquet(self.path).iter_batches(4096):
                    columns = [column.to_pylist() for column in batch.columns]
                    for values in zip(*columns):
                        number += 1
                        yield Row(number, values)
            except OSError as error:
                raise BertError(f"{self.path} is damaged: {error}") from error
        else:
            for line, item, problem, note in self._objects():
                if isinstance(item, dict) and self.names is not None:
                    fields: Sequence[Any] = [item.get(name) for name in self.names]
                elif isinstance(item, list) and self.names is None:
                    fields = item
                    if self.width and len(item) != self.width:
                        problem, note = problem or "ragged", _widths(len(item), self.width)
                else:
                    fields, problem = (), problem or "ragged"
                yield Row(line, fields, problem, note)

    def _tell_format(self) -> str:
        name = self.path.lower().removesuffix(".gz")
        kind = _SUFFIXES.get(os.path.splitext(name)[1])
        if kind == "json" or kind is None:
            # A file of that name may hold an array, or a line for each object.
            with open_lines(self.path, self._options.encoding) as lines:
                first = [line for line in islice(lines, 20) if line.strip()]
            start = first[0].lstrip()[:1] if first else ""
            if kind == "json":
                lines_of_objects = start == "{" and _is_object(first[0])
                whole = len(first) == 1 and "[" in first[0]  # {"data": [...]} in one line
                return "jsonl" if lines_of_objects and not whole else "json"
            if start == "{" and _is_object(first[0]):
                return "jsonl"
            if 2 * sum("\t" in line for line in first) > len(first):
                return "tsv"
            # Else a text in each line, unless the lines agree on how many commas they have.
            counts = Counter(line.count(",") for line in first)
            common, times = counts.most_common(1)[0] if counts else (0, 0)
            return "csv" if common and times > 0.9 * len(first) else "tsv"
        return kind

    # ---- CSV and TSV

    def _tell_dialect(self) -> None:
        options = self._options
        self._quoting = options.quoting or ("none" if self._format == "tsv" else "csv")
        self._delimiter = options.delimiter or "\t"
        if options.delimiter is None and self._format == "csv":
            # How many of the first lines have the commonest number of fields, if that is over 1.
            def agreement(delimiter: str) -> int:
                self._delimiter = delimiter
                try:
                    widths = Counter(len(row.fields) for row in islice(self._split(), 100))
                except BertError:  # told when it is certain how the file is read
                    return 0
                return max((count for width, count in widths.items() if width > 1), default=0)

            scores = {delimiter: agreement(delimiter) for delimiter in _DELIMITERS}
            self._delimiter = max(scores, key=lambda delimiter: scores[delimiter])
            if self._delimiter != ",":
                shown = "a tab" if self._delimiter == "\t" else repr(self._delimiter)
                self.remarks.append(
                    f"fields of {self.path} are taken to lie between {shown} (--delimiter)"
                )
        widths = Counter(len(row.fields) for row in islice(self._split(), SAMPLE) if row.fields)
        self.width = widths.most_common(1)[0][0] if widths else 0

    def _tell_header(self, wanted: Sequence[str]) -> None:
        rows = [row.fields for row in islice(self._split(), SAMPLE) if row.fields]
        first = [field.strip() for field in rows[0]] if rows else []
        header = self._options.header
        if header is None:
            header = _is_header(first, [row for row in rows[1:] if len(row) == self.width], wanted)
            if header:
                self.remarks.append(
                    f"the first line of {self.path} is taken for the names of the columns: "
                    f"{', '.join(first)} (--header false if it is none)"
                )
        if header:
            self.names = tuple(first)
            self.width = len(first)
        if self._quoting == "none" and self._options.quoting is None:
            body = [field for row in rows for field in row if field]
            quoted = sum(len(f) > 1 and f[0] == f[-1] == '"' for f in body)
            if quoted > 0.3 * len(body):
                self.remarks.append(
                    f"most fields of {self.path} stand in quotes, which are taken literally; if "
                    "they are to go, say --quoting csv"
                )
        self._skip_first = bool(header)

    def _judged(self) -> Iterator[Row]:
        """The rows behind the header, with what is wrong about each."""
        skip = self._skip_first
        for row in self._split():
            if not row.fields:
                yield row._replace(problem="blank_line")
            elif skip:
                skip = False
            elif len(row.fields) != self.width:
                yield row._replace(problem="ragged", note=_widths(len(row.fields), self.width))
            else:
                yield row

    def _split(self) -> Iterator[Row]:
        """Each line, or quoted lines together, as fields; no fields if it is blank."""
        with open_lines(self.path, self._options.encoding) as lines:
            if self._quoting == "none":
                for number, line in enumerate(lines, start=1):
                    yield self._checked(number, line.rstrip("\r\n").split(self._delimiter))
                return
            # Longer texts than 128 KiB are texts, too; the limit is for the whole process.
            csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
            watched = _Watched(lines)
            reader = csv.reader(watched, delimiter=self._delimiter)
            start = 1
            try:
                for fields in reader:
                    # The reader asks beyond the last line only when a quote is still open.
                    if watched.at_end:
                        raise BertError(
                            f"{self.path}:{start}: the quote that is opened here is never closed; "
                            "if quotes are characters like any other, say --quoting none"
                        )
                    yield self._checked(start, fields)
                    start = reader.line_num + 1
            except csv.Error as error:
                raise BertError(
                    f"{self.path}:{start}: this is no CSV ({error}); if quotes are characters like "
                    'any other, say --quoting none; if lines end with "\\r", save them with "\\n"'
                ) from error

    def _checked(self, line: int, fields: list[str]) -> Row:
        if not any(map(str.strip, fields)):
            # Two empty fields are no blank line; one is.
            return Row(line, fields if len(fields) > 1 else ())
        for index, field in enumerate(fields):
            if undecodable(field):
                note = encoding_advice(field)
                fields = [*fields[:index], *map(replaced, fields[index:])]
                return Row(line, fields, "wrong_encoding", note)
        return Row(line, fields)

    # ---- JSON

    def _objects(self) -> Iterator[tuple[int, Any, str, str]]:
        """(line, value, problem, note) of each object."""
        with open_lines(self.path, self._options.encoding) as lines:
            if self._format == "json":
                text = "".join(lines)
                for number, line in enumerate(text.split("\n"), start=1):
                    if undecodable(line):
                        raise BertError(f"{self.path}:{number}: {encoding_advice(line)}")
                try:
                    items = parse_json(text)
                except ValueError as error:
                    raise BertError(f"{self.path} is no JSON: {error}") from error
                if isinstance(items, dict):  # {"data": [...]}, as some tools write it
                    lists = [value for value in items.values() if _objects_in(value)]
                    items = lists[0] if len(lists) == 1 else [items]
                if not isinstance(items, list):
                    raise BertError(
                        f"{self.path} is JSON, but no array of objects; give an array, or a line "
                        "for each object"
                    )
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
                    yield number, parse_json(line), problem, note
                except ValueError:
                    yield number, None, "ragged", "no JSON"


class _Watched:
    """Lines, and whether somebody has asked for one beyond the last."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.at_end = False

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            self.at_end = True
            raise


def _widths(found: int, usual: int) -> str:
    return f"{found} in place of {usual}"


def is_number(field: Any) -> bool:
    """Whether a field is a number, or text that is one."""
    if isinstance(field, str):
        return _NUMBER.fullmatch(field) is not None
    return isinstance(field, int | float) and not isinstance(field, bool)


def _is_header(first: list[str], rest: list[Sequence[str]], wanted: Sequence[str]) -> bool:
    if not first or len(set(first)) < len(first):
        return False
    if any(name in first for name in wanted):
        return True
    for index, name in enumerate(first):
        column = [row[index].strip() for row in rest if index < len(row)]
        # A class may be called `question`; but then it comes again.
        if name.lower() in ALL_NAMES and name not in column:
            return True
        if name and not is_number(name) and column and all(map(is_number, column)):
            return True
        if name and not is_number(name) and _are_classes(column) and name not in column:
            return True
    return False


def _are_classes(column: Sequence[str]) -> bool:
    """Whether there are so few values, each so often, that one of its own would be strange."""
    counts = Counter(column)
    return len(column) >= 5 * len(counts) and min(counts.values(), default=0) > 1


def _objects_in(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _parquet(path: str):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BertError(
            f"{path} is a Parquet file, which pyarrow reads; install it: pip install "
            "'bert_tf[tables]'"
        ) from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise BertError(f"cannot read {path} as Parquet: {error}") from error
