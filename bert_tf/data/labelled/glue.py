"""GLUE and XNLI in their original layouts, by the name of the task.

File names, columns and the order of labels are those of run_classifier.py of google-research/bert
for cola, mnli, mrpc and xnli, else of GLUE's own files.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bert_tf.data.labelled.columns import Column, Layout
from bert_tf.data.labelled.headers import is_number
from bert_tf.data.labelled.problems import Policy, Problem, Role
from bert_tf.data.labelled.reading import read_labelled
from bert_tf.data.labelled.tables import Table, TableOptions
from bert_tf.data.labelled.texts import LabelledTexts, Task
from bert_tf.errors import BertError
from bert_tf.files.log import Warned, warn


class SplitFile(NamedTuple):
    """A file of a task: its name, with `{language}` where it has one, and its columns.

    `columns` are all names in order, if its first line has them; `text`, `pair` and `label` names,
    or numbers where there are no names, or None where there is no second text or no label.
    """

    file: str
    columns: tuple[str, ...] = ()
    text: Column = 0
    pair: Column | None = None
    label: Column | None = None


@dataclass(frozen=True)
class GlueTask:
    """The layout of a task.

    Its folder in GLUE's download; its labels in order, none for a number; split to file, where
    "dev..." are to evaluate on and "test..." to predict; and what is predicted.
    """

    folder: str
    labels: tuple[str, ...]
    files: Mapping[str, SplitFile]
    kind: Task = "classes"


class GlueData(NamedTuple):
    """What was read of a task, `name` as in `TASKS`.

    Split to its rows, in the order of `GlueTask.parts`, with the task's `label_names`; split to
    what was wrong; and warnings, which were logged, of what is not as in GLUE.
    """

    name: str
    splits: dict[str, LabelledTexts]
    problems: dict[str, list[Problem]]
    warnings: list[str]


def _columns(names: str) -> tuple[str, ...]:
    return tuple(names.split("|"))


def _three(train: SplitFile, columns: str, text: Column | None = None) -> dict[str, SplitFile]:
    """Train and dev of one layout, and a test file of these columns, without labels."""
    text = train.text if text is None else text
    test = SplitFile("test.tsv", _columns(columns), text, train.pair)
    return {"train": train, "dev": train._replace(file="dev.tsv"), "test": test}


_STS = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"
_PARSED = (
    "sentence1_binary_parse|sentence2_binary_parse|sentence1_parse|sentence2_parse|sentence1|"
    "sentence2"
)
_MNLI = f"index|promptID|pairID|genre|{_PARSED}"
_MRPC = "#1 ID|#2 ID|#1 String|#2 String"
_QNLI = "index|question|sentence"
_QQP = "id|qid1|qid2|question1|question2|is_duplicate"
_TWO = "index|sentence1|sentence2"
_XNLI = f"language|gold_label|{_PARSED}"
_BINARY = ("0", "1")
_ENTAILED = ("entailment", "not_entailment")
_NLI = ("contradiction", "entailment", "neutral")


def _pair(columns: str, file: str = "train.tsv") -> SplitFile:
    """A file whose last three columns are the texts and the label."""
    names = _columns(columns)
    return SplitFile(file, names, *names[-3:])


def _mnli(file: str, *labels: str) -> SplitFile:
    names = (*_columns(_MNLI), *labels)
    return SplitFile(file, names, "sentence1", "sentence2", labels[-1] if labels else None)


_MNLI_DEV = ("label1", "label2", "label3", "label4", "label5", "gold_label")
_SST2_TRAIN = SplitFile("train.tsv", ("sentence", "label"), "sentence", None, "label")
_MRPC_TRAIN = SplitFile(
    "train.tsv", _columns(f"Quality|{_MRPC}"), "#1 String", "#2 String", "Quality"
)
_XNLI_DEV = SplitFile("xnli.dev.tsv", _columns(_XNLI), "sentence1", "sentence2", "gold_label")
_MNLI_PARTS = {
    "train": _mnli("train.tsv", "label1", "gold_label"),
    "dev": _mnli("dev_matched.tsv", *_MNLI_DEV),
    "dev_mismatched": _mnli("dev_mismatched.tsv", *_MNLI_DEV),
    "test": _mnli("test_matched.tsv"),
    "test_mismatched": _mnli("test_mismatched.tsv"),
}
# Training is machine-translated MNLI; dev and test have all languages in one file.
_XNLI_PARTS = {
    "train": _pair("premise|hypo|label", "multinli/multinli.train.{language}.tsv"),
    "dev": _XNLI_DEV,
    "test": _XNLI_DEV._replace(file="xnli.test.tsv"),
}

TASKS: Mapping[str, GlueTask] = {
    # Without a header: source, label, the authors' mark, sentence.
    "cola": GlueTask(
        "CoLA",
        _BINARY,
        _three(SplitFile("train.tsv", (), 3, None, 1), "index|sentence", "sentence"),
    ),
    "sst2": GlueTask("SST-2", _BINARY, _three(_SST2_TRAIN, "index|sentence")),
    "mrpc": GlueTask("MRPC", _BINARY, _three(_MRPC_TRAIN, f"index|{_MRPC}")),
    "stsb": GlueTask("STS-B", (), _three(_pair(f"{_STS}|score"), _STS), "regression"),
    "qqp": GlueTask("QQP", _BINARY, _three(_pair(_QQP), "id|question1|question2")),
    "mnli": GlueTask("MNLI", _NLI, _MNLI_PARTS),
    "qnli": GlueTask("QNLI", _ENTAILED, _three(_pair(f"{_QNLI}|label"), _QNLI)),
    "rte": GlueTask("RTE", _ENTAILED, _three(_pair(f"{_TWO}|label"), _TWO)),
    "wnli": GlueTask("WNLI", _BINARY, _three(_pair(f"{_TWO}|label"), _TWO)),
    "xnli": GlueTask("XNLI", _NLI, _XNLI_PARTS),
}
"""Name, in small letters without "-" or "_", to layout."""

_RAW_MRPC = {
    "train": _MRPC_TRAIN._replace(file="msr_paraphrase_train.txt"),
    "test": _MRPC_TRAIN._replace(file="msr_paraphrase_test.txt"),
}
GlueData.remarks = vars(Warned)["remarks"]  # type: ignore[attr-defined]
_PLAIN = TableOptions("tsv", quoting="none", header=False)
_XNLI_FOLDERS = ("", "XNLI-1.0", "XNLI-MT-1.0")  # as the two downloads unpack


def task_names() -> tuple[str, ...]:
    """The names that `read_glue` takes, as GLUE spells them."""
    return tuple(task.folder for task in TASKS.values())


def find_task(name: str) -> tuple[str, GlueTask] | None:
    """Key in `TASKS` and task of a name in any spelling ("SST-2", "sst2", "STS_B"), or None."""
    key = re.sub("[-_]", "", name.lower())
    return (key, TASKS[key]) if key in TASKS else None


def splits_there(name: str, data_dir: str | os.PathLike[str], language: str = "zh") -> set[str]:
    """The splits of a task (see `task_named`) that `read_glue` finds in a folder."""
    key, task = task_named(name)
    return set(_find_files(pathlib.Path(data_dir), key, task, language)[1])


def task_named(name: str) -> tuple[str, GlueTask]:
    """As `find_task`, but a `BertError` if there is no such task."""
    if found := find_task(name):
        return found
    raise BertError(f"there is no task {name!r}; there are {', '.join(task_names())}")


def read_glue(
    name: str,
    data_dir: str | os.PathLike[str],
    *,
    splits: tuple[str, ...] | None = None,
    language: str = "zh",
    policies: Mapping[Role, Policy] | None = None,
) -> GlueData:
    """Reads the files of a GLUE task or XNLI, with quotes taken literally.

    A file without the line of names is read with the column order of the training file. MRPC is
    also read as first published (`msr_paraphrase_train.txt` and `_test.txt`; if GLUE's
    `dev_ids.tsv` is in the same folder, dev is taken out of train).

    Args:
        name: of the task, in any spelling.
        data_dir: the folder with its files, or GLUE's folder with that of the task in it.
        splits: those to read; by default all whose files are there.
        language: for XNLI. The original's is "zh".
        policies: role ("train", "evaluate", "predict") to what is done about odd rows.

    Raises:
        BertError: there is no such task or file, the file is not of the task, or the policy
            refuses what is in it.
    """
    key, task = task_named(name)
    folder = pathlib.Path(data_dir)
    files, paths = _find_files(folder, key, task, language)
    wanted = splits or tuple(split for split in files if split in paths)
    missing = [files[s].file if s in files else s for s in wanted if s not in paths]
    if missing or not wanted:
        known = ", ".join(one.file for one in files.values())
        lack = f"no {missing[0]}" if missing else "none of its files"
        raise BertError(f"{folder} has {lack}; for {task.folder} it holds {known}")
    data = GlueData(key, {}, {}, [])
    for split in wanted:
        part, header = _layout_of(paths[split], files[split], files["train"], data.warnings)
        labelled: Role = "train" if split == "train" else "evaluate"
        role: Role = "predict" if part.label is None else labelled
        layout = Layout(
            *(*part[2:], task.kind),
            label_names=task.labels or None,
            # As XnliProcessor does: the training file spells one class differently.
            renamed={"contradictory": "contradiction"} if key == "xnli" else {},
            only=("language", language) if key == "xnli" and split != "train" else None,
            table=replace(_PLAIN, header=header),
        )
        policy = (policies or {}).get(role) or Policy(role)
        data.splits[split], data.problems[split], *_ = read_labelled(paths[split], layout, policy)
    dev_ids = paths.get("train", folder).parent / "dev_ids.tsv"
    if key == "mrpc" and "dev" not in data.splits and "train" in data.splits and dev_ids.is_file():
        # As GLUE divides them: rows whose two ids are listed are dev.
        listed = {tuple(row.fields[:2]) for row in Table(dev_ids, _PLAIN).rows()}
        ids = {row.line: tuple(row.fields[1:3]) for row in Table(paths["train"], _PLAIN).rows()}
        both = data.splits["train"]
        in_dev = [ids[line] in listed for _, line in both.rows]
        data.splits["train"] = both.take(i for i, dev in enumerate(in_dev) if not dev)
        data.splits["dev"] = both.take(i for i, dev in enumerate(in_dev) if dev)
    return data


def _find_files(
    folder: pathlib.Path, key: str, task: GlueTask, language: str
) -> tuple[dict[str, SplitFile], dict[str, pathlib.Path]]:
    """The parts of a task in the layout that is there, and the files that are there."""
    files = {s: p._replace(file=p.file.format(language=language)) for s, p in task.files.items()}
    paths = _paths(folder, key, task, files)
    if key == "mrpc" and "train" not in paths:
        raw = _paths(folder, key, task, _RAW_MRPC)
        if "train" in raw or (raw and not paths):
            return dict(_RAW_MRPC), raw
    return files, paths


def _paths(
    folder: pathlib.Path, key: str, task: GlueTask, files: Mapping[str, SplitFile]
) -> dict[str, pathlib.Path]:
    """The files that are there, in the folder itself, or in the task's folder within it."""
    inner = _XNLI_FOLDERS if key == "xnli" else ("",)
    folders = [root / name for root in (folder, folder / task.folder) for name in inner]
    found = {
        split: next(filter(pathlib.Path.is_file, (f / part.file for f in folders)), None)
        for split, part in files.items()
    }
    return {split: path for split, path in found.items() if path is not None}


def _layout_of(
    path: pathlib.Path, part: SplitFile, train: SplitFile, warnings: list[str]
) -> tuple[SplitFile, bool]:
    """The part, and whether the file has a line of names; without one, columns are numbers."""
    first = [str(field).strip() for field in Table(path, _PLAIN).sample[0].fields]
    names = part.columns
    if not names or set(names) <= set(first):
        return part, bool(names)
    # XNLI's files and later releases have more columns; the task's must be there.
    if {str(column) for column in part[2:] if column is not None} <= set(first):
        return part, True
    # Only a file of GLUE's own begins with a number for each row.
    own = names[0] in ("index", "id") and is_number(first[0])
    like = part if own or not train.columns else train
    places = like.columns
    if len(first) != len(places) or set(first) & set(names):
        raise BertError(
            f"{path} begins with {', '.join(first)[:100]}, not the columns {', '.join(names)}; "
            "is it of this task? For tables of your own use `train`"
        )
    warnings += warn(f"{path} has no header; its columns are taken as {places}")
    numbers: list[Any] = [places.index(c) if isinstance(c, str) else c for c in like[2:]]
    return SplitFile(part.file, (), *numbers), False
