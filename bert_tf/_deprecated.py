"""What goes in the next version; `bert_tf._moved.MOVED` has the old paths that lead here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from bert_tf.data import reading
from bert_tf.data.cleaning import clean
from bert_tf.data.labelled import LabelledTexts
from bert_tf.data.problems import Policy, Tally
from bert_tf.data.reading import Layout, give_task


def stream_labelled(
    path: str | os.PathLike[str],
    layout: Layout | None = None,
    policy: Policy | None = None,
    *,
    rows: int = 8192,
    on_remark: Callable[[str], None] | None = None,
) -> Iterator[LabelledTexts]:
    """The rows of a file of any size, some thousand at a time and in order, to predict on.

    Labels come along if a column was named for them, or has a usual name.

    Args:
        path: of the file.
        layout: where what stands in it.
        policy: what is done about odd rows; that of prediction, which keeps all, if left out.
        rows: at a time.
        on_remark: is given what was told from the file, and the problems at its end.

    Raises:
        BertError: as `read_labelled`.
    """
    layout, policy = layout or Layout(), policy or Policy("predict")
    remarks: list[str] = []
    opened = reading._open(path, layout, policy, remarks)
    if on_remark is not None:
        for remark in remarks:
            on_remark(remark)
    sampled = [row.fields for row in opened.table.sample]
    first = [reading._record(fields, opened.columns, ("", 0)) for fields in sampled]
    task = give_task(reading._as_data(first, opened.columns), layout, []).task
    tally = Tally(policy)
    chunk: list[reading._Record] = []

    def finish() -> LabelledTexts:
        data = give_task(reading._as_data(chunk, opened.columns), replace(layout, task=task), [])
        return clean(data, policy, tally)[0]

    for record in reading._records(opened, policy, tally):
        chunk.append(record)
        if len(chunk) == rows:
            yield finish()
            chunk = []
    if chunk:
        yield finish()
    for problem in tally.settle(opened.seen, opened.advice):
        if on_remark is not None:
            on_remark(f"{os.fspath(path)}: {problem}")
