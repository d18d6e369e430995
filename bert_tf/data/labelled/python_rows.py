"""`labelled_rows`: lists, pairs, numpy arrays and pandas data frames as `LabelledTexts`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bert_tf.data.labelled.column_names import LABEL_NAMES, PAIR_NAMES, TEXT_NAMES
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.reading import give_task
from bert_tf.data.labelled.texts import LabelledTexts, Task
from bert_tf.errors import BertError
from bert_tf.files.log import warn


def labelled_rows(
    texts: Any,
    labels: Any = None,
    *,
    pairs: Any = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | Sequence[str] | None = None,
    task: Task | None = None,
    label_names: Sequence[str] | None = None,
) -> LabelledTexts:
    """Texts that are in memory already; nothing is dropped (see `clean` for that).

    Args:
        texts: strings in a list, a tuple, an array (n,) or a pandas Series; or pairs: a list of
            (first, second) or an array (n, 2); or a pandas data frame. A missing text (None, NaN)
            is an empty one.
        labels: of each text: classes as text or whole numbers; several in a list, tuple or set, or
            as an array (n, classes) or equally long lists of zeros and ones, or a data frame of
            these, whose columns name them; numbers. None or NaN where there is none. An array
            (n, 1) and lists of one are one label each, with a warning.
        pairs: the second texts.
        text: column of a data frame; if left out, by its usual name.
        text_pair: likewise.
        label: likewise; a list of columns of zeros and ones is several labels.
        task: see `Layout`; for whole numbers as amounts say "regression".
        label_names: all classes in order; also of the columns of zeros and ones.

    Raises:
        BertError: texts are no strings, numbers do not match, or columns are unclear.

    Example:
        >>> labelled_rows([("a b", "c"), ("d", "e f")], [0, 1]).labels
        ['0', '1']
    """
    names = None if label_names is None else tuple(map(str, label_names))
    if hasattr(texts, "columns") and hasattr(texts, "iloc"):
        texts, pairs, labels = _of_frame(texts, labels, pairs, text, text_pair, label)
    elif text is not None or text_pair is not None or label is not None:
        raise BertError("text, text_pair and label name columns of a pandas data frame; give one")
    firsts, seconds = _texts(texts, pairs)
    if names is None and hasattr(labels, "columns") and len(labels.columns) > 1:
        names = tuple(map(str, labels.columns))
    values = None if labels is None else _labels(labels)
    rows = [("", index) for index in range(len(firsts))]
    data = LabelledTexts(firsts, seconds, values, rows)
    inferred: list[str] = []
    data = give_task(data, Layout(task=task, label_names=names, unlabelled=()), inferred)
    shape: Any = getattr(labels, "shape", ())
    if len(shape) < 2 or shape[1] == 1:  # a matrix says what it is
        warn(*inferred)
    return data


def _of_frame(
    frame: Any, labels: Any, pairs: Any, text: Any, text_pair: Any, label: Any
) -> tuple[Any, Any, Any]:
    lower = {str(name).strip().lower(): name for name in frame.columns}
    has = ", ".join(map(str, frame.columns))

    def column(name: Any) -> Any:
        if isinstance(name, list | tuple):
            return frame[[column(one).name for one in name]]
        if name not in frame.columns:
            raise BertError(f"the data frame has no column {name!r}; it has {has}")
        return frame[name]

    if text is None:
        both = next(((a, b) for a, b in PAIR_NAMES if a in lower and b in lower), None)
        if both is not None and text_pair is None and pairs is None:
            text, text_pair = lower[both[0]], lower[both[1]]
        else:
            text = next((lower[name] for name in TEXT_NAMES if name in lower), None)
        if text is None:
            raise BertError(f"which column is the text? Pass `text='...'`; there are {has}")
    if label is None and labels is None:
        label = next((lower[name] for name in LABEL_NAMES if name in lower), None)
    if text_pair is not None:
        pairs = column(text_pair)
    return column(text), pairs, labels if label is None else column(label)


def _texts(texts: Any, pairs: Any) -> tuple[list[str], list[str] | None]:
    items = _listed(texts, "texts")
    if pairs is not None:
        seconds = _listed(pairs, "pairs")
        if len(seconds) != len(items):
            raise BertError(f"there are {len(items):,} texts, but {len(seconds):,} pairs")
        return _strings(items), _strings(seconds)
    if items and all(isinstance(item, list | tuple | np.ndarray) for item in items):
        wrong = next((i for i, item in enumerate(items) if len(item) != 2), None)
        if wrong is not None:
            count = len(items[wrong])
            raise BertError(f"row {wrong} has {count} texts; give one or two in each row")
        return _strings([a for a, _ in items]), _strings([b for _, b in items])
    return _strings(items), None


def _listed(values: Any, what: str) -> list[Any]:
    if isinstance(values, str | bytes):
        raise BertError(f"{what} are a list of strings, not one: [{values!r:.40}]")
    if hasattr(values, "tolist"):  # numpy, pandas
        values = values.tolist()
    if not isinstance(values, Iterable):
        raise BertError(f"{what} are a list, an array or a Series, not {type(values).__name__}")
    return list(values)


def _strings(items: list[Any]) -> list[str]:
    return [item if type(item) is str else _string(item, i) for i, item in enumerate(items)]


def _string(item: Any, index: int) -> str:
    if isinstance(item, str):  # numpy's
        return str(item)
    if isinstance(item, bytes):
        return item.decode("utf-8", "ignore")
    if _missing(item):
        return ""
    kind = type(item).__name__
    raise BertError(f"row {index}: a text must be str, not {kind}: {item!r:.60} (texts come first)")


def _missing(item: Any) -> bool:
    if isinstance(item, float):
        return math.isnan(item)
    # pandas.NA and NaT are not equal to themselves, and NA has no truth value.
    return item is None or type(item).__name__ in ("NAType", "NaTType")


def _labels(labels: Any) -> list[Any]:
    if getattr(labels, "ndim", 1) == 2:
        labels = np.asarray(labels)
        if labels.shape[1] != 1 and not np.isin(labels, (0, 1)).all():
            raise BertError("labels of two dimensions hold 0 and 1 only: 1 where the class holds")
    return [None if _missing(label) else label for label in _listed(labels, "labels")]
