"""Tables that are not text: Parquet files (by pyarrow) and Excel workbooks (by pandas)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from bert_tf.errors import BertError
from bert_tf.files.extras import importing
from bert_tf.files.reading import reading, regular


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[Any]:
    """A Parquet file; a `BertError` if pyarrow is not installed, or cannot read it in the block."""
    with importing(f"the Parquet file {path}"):
        import pyarrow.parquet
    try:
        with reading(path), open(path, "rb", opener=regular) as file:
            yield pyarrow.parquet.ParquetFile(file)
    except BertError:
        raise
    except Exception as error:  # of many kinds, if the file is damaged or a text is not UTF-8
        raise BertError(f"cannot read {path} as Parquet: {error}") from error


def parquet_columns(path: str) -> tuple[str, ...]:
    """The names of the columns; a `BertError` if pyarrow is missing or cannot read the file."""
    with _parquet(path) as file:
        return tuple(file.schema_arrow.names)


def parquet_rows(path: str) -> Iterator[tuple[Any, ...]]:
    """The values of each row, some thousand rows at a time; errors as of `parquet_columns`."""
    with _parquet(path) as file:
        for batch in file.iter_batches(4096):
            yield from zip(*map(_values, batch.columns))


def _values(column: Any) -> list[Any]:
    """Of a column; bytes, as which some programs write text, are UTF-8."""
    return (column.cast("string") if str(column.type).endswith("binary") else column).to_pylist()


def sheet_rows(path: str, sheet: str | None = None) -> tuple[list[list[str]], list[str]]:
    """All cells of a sheet (by name, or number from 0; the first by default) as text, at once.

    Text such as "NA" and "01" stays as it is. A number has the digits that Excel keeps, a whole
    one no ".0"; a date is 2024-01-31 00:00:00; an empty cell and a formula's error are "".

    Returns:
        The cells of each row, all rows equally long (Excel has a million at most); and warnings.

    Raises:
        BertError: pandas or openpyxl is missing, or so is the sheet, or the file cannot be read.
    """
    with importing(f"the Excel workbook {path}"):
        import openpyxl  # noqa: F401  (by which pandas reads)
        import pandas
    try:
        with (
            reading(path),
            open(path, "rb", opener=regular) as file,
            warnings.catch_warnings(),
            pandas.ExcelFile(file, engine="openpyxl") as book,
        ):
            warnings.simplefilter("ignore")  # about styles and input checks, which are not read
            names = [str(name) for name in book.sheet_names]
            if sheet not in (None, *names, *map(str, range(len(names)))):
                raise BertError(f"{path} has no sheet {sheet!r}; it has {', '.join(names)}")
            number = names.index(sheet) if sheet in names else int(sheet or 0)
            cells = book.parse(number, header=None, dtype=str, na_filter=False)
    except BertError:
        raise
    except Exception as error:  # of any kind, if the file is damaged or no workbook
        raise BertError(f"cannot read {path} as an Excel workbook: {error}") from error
    inferred = []
    if sheet is None and len(names) > 1:
        inferred = [f"of the {len(names)} sheets of {path} {names[0]!r} is read (`sheet`)"]
    return cells.fillna("").to_numpy().tolist(), inferred
