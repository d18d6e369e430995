"""Tables that are no text: Parquet files, read by pyarrow, and Excel workbooks, read by pandas."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from bert_tf.errors import BertError


def parquet_file(path: str) -> Any:
    """A Parquet file, opened by pyarrow.

    Raises:
        BertError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise _not_installed(f"{path} is a Parquet file, which pyarrow reads") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise BertError(f"cannot read {path} as Parquet: {error}") from error


def parquet_rows(path: str) -> Iterator[tuple[Any, ...]]:
    """The values of each row, some thousand rows in memory at a time.

    Raises:
        BertError: as `parquet_file`, or the file is damaged.
    """
    try:
        for batch in parquet_file(path).iter_batches(4096):
            yield from zip(*(column.to_pylist() for column in batch.columns))
    except OSError as error:
        raise BertError(f"{path} is damaged: {error}") from error


def sheet_rows(path: str, sheet: str | None = None) -> tuple[list[list[str]], list[str]]:
    """All cells of a sheet as text, read at once; Excel has a million rows at most.

    Text stays as it is, such as "NA" and "01". A number has the digits that Excel keeps, a whole
    one no ".0"; a date is 2024-01-31 00:00:00; an empty cell and a formula's error are "".

    Args:
        path: of the workbook.
        sheet: its name, or its number from 0; the first if left out.

    Returns:
        The cells of each row from the sheet's first, all rows equally long; and remarks.

    Raises:
        BertError: pandas or openpyxl is not installed, there is no such sheet, or the file cannot
            be read.
    """
    try:
        import openpyxl  # noqa: F401  (by which pandas reads)
        import pandas
    except ImportError as error:
        told = f"{path} is an Excel workbook, which pandas and openpyxl read"
        raise _not_installed(told) from error
    try:
        with warnings.catch_warnings(), pandas.ExcelFile(path, engine="openpyxl") as book:
            warnings.simplefilter("ignore")  # of styles and checks of input that are not read
            names = [str(name) for name in book.sheet_names]
            if sheet not in (None, *names, *map(str, range(len(names)))):
                raise BertError(f"{path} has no sheet {sheet!r}; it has {', '.join(names)}")
            number = names.index(sheet) if sheet in names else int(sheet or 0)
            cells = pandas.read_excel(
                book, sheet_name=number, header=None, dtype=str, na_filter=False
            )
    except BertError:
        raise
    except Exception as error:  # whatever comes to light of a file that is damaged or no workbook
        raise BertError(f"cannot read {path} as an Excel workbook: {error}") from error
    remarks = []
    if sheet is None and len(names) > 1:
        remarks = [f"of the {len(names)} sheets of {path} {names[0]!r} is read (--sheet)"]
    return cells.fillna("").to_numpy().tolist(), remarks


def _not_installed(told: str) -> BertError:
    return BertError(f"{told}; install what is missing: pip install 'bert_tf[tables]'")
