"""`PredictionRows`: every row of a file, in order, to predict on, damaged ones with an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from bert_tf.data.labelled.columns import Layout, all_names, unlabelled_columns
from bert_tf.data.labelled.json_tables import NO_JSON
from bert_tf.data.labelled.opening import open_table
from bert_tf.data.labelled.problems import Place, Policy
from bert_tf.data.labelled.tables import TableRow, as_text
from bert_tf.errors import BertError
from bert_tf.files.log import Warned, warn
from bert_tf.files.reading import regular

Texts = str | tuple[str, str]


class PredictionRow(NamedTuple):
    """A row to predict on: text or pair, None if it is damaged; file and line; and the error."""

    texts: Texts | None
    place: Place
    error: str = ""


class PredictionRows(Warned):
    """The rows of a table of any size, read as they are asked for.

    Unlike `read_labelled`, which drops or refuses what is damaged, this gives a row for every row
    of the file, so that results match the rows: also for blank lines (except at the end of the
    file, where they are no rows), empty texts, lines with another number of fields than most, and
    lines with bytes that are no text. Labels are not read.

    Args:
        path: of the file: CSV, TSV, JSON lines, JSON, Parquet, Excel, or a text in each line.
        layout: which columns it has. With `trained=bert.classifier.table` what it leaves open is
            read as the training table was.
        pairs: whether the rows must be pairs of texts; None if the file decides. If they must be
            single texts, a file of which nothing is known, whose first line does not name columns,
            and that has no tabs and no column of numbers, is a text in each line, commas included.
        policy: only `wrong_encoding=replace` counts: bytes that are no text become U+FFFD, and the
            row is predicted on.
        name: of the file for messages, in place of the path.

    Attributes:
        path: of the file, or its name.
        pairs: whether the rows are pairs.
        warnings: what was inferred from the file, and how to say otherwise.

    Raises:
        BertError: the file cannot be read, its columns are unclear, or it has pairs where there
            must be single texts or the reverse.

    Example:
        >>> [row.texts for row in PredictionRows("new.csv")]
        ['A fine day.', 'Rain again.']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layout: Layout | None = None,
        *,
        pairs: bool | None = None,
        policy: Policy | None = None,
        name: str | None = None,
    ) -> None:
        layout = layout or Layout()
        how = {"labelled": False, "pairs": pairs, "name": name}
        self._table, columns, inferred = open_table(path, layout, **how)  # type: ignore[arg-type]
        self.path = self._table.path
        if pairs and columns.pair is None:
            rest = unlabelled_columns(self._table, columns)
            if len(rest) != 2 or layout.text is not None:
                raise BertError(
                    f"the model was trained on pairs of texts; name two columns of {self.path} "
                    f"with `text` and `text_pair` ({all_names(self._table)})"
                )
            columns = columns._replace(text=rest[0], pair=rest[1])
            pair = f"the two columns of {self.path} are taken for the pair"
            inferred = [f"{pair} (`text`, `text_pair`)"]
        if pairs is False and columns.pair is not None:
            names = self._table.names or tuple(map(str, range(self._table.width)))
            both = f"{names[columns.text]!r} and {names[columns.pair]!r}"
            raise BertError(
                f"the model was trained on single texts, and {self.path} has pairs, {both}; name "
                "the one to take with `text` alone"
            )
        self._columns = columns
        self._replaces = policy is not None and policy["wrong_encoding"] == "replace"
        self.pairs = self._columns.pair is not None
        self.warnings = warn(*self._table.warnings, *inferred)

    def __iter__(self) -> Iterator[PredictionRow]:
        """All rows from the first; a damaged file ends them with a `BertError`."""
        blank: list[int] = []
        for row in self._table.rows():
            if row.problem == "blank_line":
                blank.append(row.line)
                continue
            for line in blank:
                yield PredictionRow(None, (self.path, line), "the line is blank")
            blank.clear()
            yield self._read(row)

    def _read(self, row: TableRow) -> PredictionRow:
        place = (self.path, row.line)
        if row.problem == "ragged":
            no_json = row.note.startswith(NO_JSON)
            note = "no JSON object" if no_json else f"{row.note or 'other'} fields"
            return PredictionRow(None, place, f"the line is damaged: {note}")
        if row.problem == "repeated_header":
            return PredictionRow(None, place, "the line repeats the names of the columns")
        if row.problem and not self._replaces:
            return PredictionRow(None, place, row.note)
        try:
            text, pair = (
                as_text(row.fields[column])
                if column is not None and column < len(row.fields)
                else ""
                for column in self._columns[:2]
            )
        except BertError as error:
            return PredictionRow(None, place, str(error))
        if not text.strip() or (self.pairs and not pair.strip()):
            return PredictionRow(None, place, f"{'a' if self.pairs else 'the'} text is empty")
        return PredictionRow((text, pair) if self.pairs else text, place)


def about_rows(path: str | os.PathLike[str]) -> int | None:
    """About how many rows a file has, for a progress bar: its line ends, or Parquet's number.

    None where it cannot be known: for a compressed file, as Excel's are, or no plain file.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb", opener=regular) as file:
            start = file.read(4)
            if start == b"PAR1":
                from pyarrow.parquet import ParquetFile

                return int(ParquetFile(name).metadata.num_rows)
            if start.startswith((b"\x1f\x8b", b"PK\x03\x04")):
                return None
            file.seek(0)
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except (OSError, ImportError, ValueError):
        return None
