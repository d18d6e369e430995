"""`load_splits`: training, validation and test rows from files, from one file, or of a task."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from bert_tf.data.labelled.cleaning import across, clean
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.glue import read_glue
from bert_tf.data.labelled.problems import Policy, Problem, Role, describe
from bert_tf.data.labelled.reading import read_labelled
from bert_tf.data.labelled.splits import split_labelled
from bert_tf.data.labelled.texts import LabelledTexts, Task, order_labels
from bert_tf.errors import BertError
from bert_tf.files.log import Warned, warn

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, eq=False)
class LabelledSplits(Warned):
    """All that a classifier is trained and evaluated on.

    Attributes:
        splits: name to rows: of "train", "validation", "test", and others of GLUE, those given.
        label_names: the classes in the order of their numbers; empty for regression.
        task: what is predicted.
        problems: (split, problem) for what was wrong with some rows.
        warnings: what was inferred from the files, and how to say otherwise; logged, too.
        layout: how the files were read, to read others alike; None for GLUE and rows given in
            Python.
    """

    splits: dict[str, LabelledTexts]
    label_names: tuple[str, ...]
    task: Task
    problems: list[tuple[str, Problem]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layout: Layout | None = None

    def lines(self) -> list[str]:
        """For the screen: warnings, problems, and the size of each split."""
        found = {name: [p for split, p in self.problems if split == name] for name in self.splits}
        sizes = ", ".join(f"{name} {len(data):,}" for name, data in self.splits.items())
        lines = (line for name in found for line in describe(found[name], name))
        return [*self.warnings, *lines, f"rows: {sizes}"]


def load_splits(
    train: Paths | LabelledTexts | None = None,
    validation: Paths | LabelledTexts | None = None,
    test: Paths | LabelledTexts | None = None,
    *,
    layout: Layout | None = None,
    label_names: Sequence[str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 12345,
    changes: Mapping[str, str] | None = None,
) -> LabelledSplits:
    """Reads what is given, splits off what is not, and looks for odd rows.

    Training rows alone are split 70/15/15; with test rows but no validation rows, validation is
    split off the training rows (15 of 85); where validation is given, test rows are never made.

    Args:
        train: files, patterns of files, or rows; None to only evaluate a trained model.
        validation: likewise.
        test: likewise.
        layout: the columns of the files. What it leaves open is inferred from the training file,
            and then holds for the others.
        label_names: the classes in the order wanted.
        shares: of the split; see `split_labelled`.
        seed: of the split.
        changes: kind of problem to action; see `problems.PROBLEMS`.

    Raises:
        BertError: something cannot be read or split, or the policy refuses it.
    """
    changes = dict(changes or {})
    layout = layout or Layout()
    if label_names is not None:
        layout = replace(layout, label_names=tuple(map(str, label_names)))
    splits: dict[str, LabelledTexts] = {}
    problems: list[tuple[str, Problem]] = []
    warnings: list[str] = []
    from_file = False
    for name, given in (("train", train), ("validation", validation), ("test", test)):
        if given is None:
            continue
        policy = Policy("train" if name == "train" else "evaluate", **changes)
        if isinstance(given, LabelledTexts):
            data, found = clean(given, policy)
        else:
            # The layout of the first file holds for the next, so there are no new warnings of it.
            data, found, more, layout = read_labelled(given, layout, policy)
            warnings += more
            from_file = True
        splits[name] = data
        problems += [(name, problem) for problem in found]
    if not splits:
        raise BertError("no data given: name at least a file to train on (`train`)")
    if "train" in splits and "validation" not in splits:
        if "test" in splits:
            shares = {"train": 0.70, "validation": 0.15}
        parts, lacking = split_labelled(splits.pop("train"), shares, seed=seed)
        splits = parts | splits
        warnings += lacking
    return _finish(splits, problems, warnings, label_names, changes, layout if from_file else None)


def load_task(
    name: str,
    data_dir: str | os.PathLike[str],
    *,
    language: str = "zh",
    label_names: Sequence[str] | None = None,
    seed: int = 12345,
    changes: Mapping[str, str] | None = None,
    splits: tuple[str, ...] | None = None,
) -> LabelledSplits:
    """A GLUE task or XNLI as `read_glue` reads it, "dev" called "validation".

    Texts that are both in training and test are reported, but kept, so that results can be compared
    with those of others. Where there is no dev file (MRPC as first published), validation is split
    off the training rows.

    Args:
        name: of the task.
        data_dir: its folder.
        language: for XNLI.
        label_names: the classes in the order wanted, instead of the task's.
        seed: of such a split.
        changes: kind of problem to action.
        splits: those to read, as in `read_glue`.

    Raises:
        BertError: as `read_glue` and `load_splits`.
    """
    changes = {"leak": "keep", **(changes or {})}
    policies: dict[Role, Policy] = {role: Policy(role, **changes) for role in get_args(Role)}
    glue = read_glue(name, data_dir, splits=splits, language=language, policies=policies)
    warnings = glue.warnings
    names = {split: split.replace("dev", "validation") for split in glue.splits}
    parts = {names[split]: data for split, data in glue.splits.items()}
    problems = [(names[split], p) for split, found in glue.problems.items() for p in found]
    if "train" in parts and "validation" not in parts and splits is None:
        shares = {"train": 0.85, "validation": 0.15}
        cut, lacking = split_labelled(parts.pop("train"), shares, seed=seed)
        warnings += warn(f"{name} has no dev file here: 15 % of train are taken as validation")
        warnings += lacking
        parts = cut | parts
    return _finish(parts, problems, warnings, label_names, changes, None)


def _finish(
    splits: dict[str, LabelledTexts],
    problems: list[tuple[str, Problem]],
    warnings: list[str],
    label_names: Sequence[str] | None,
    changes: Mapping[str, str],
    layout: Layout | None,
) -> LabelledSplits:
    if "train" in splits:
        if splits["train"].labels is None:
            raise BertError("the training rows have no labels; name their column with `label`")
        if len({data.pairs is None for data in splits.values()}) > 1:
            kinds = {n: "one text" if d.pairs is None else "pairs" for n, d in splits.items()}
            have = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            raise BertError(f"the splits are not alike ({have}); name columns with `text_pair`")
        splits, found = across(splits, Policy("train", **changes))
        problems = problems + found
    first = next(iter(splits.values()))
    names: tuple[str, ...] = ()
    if first.labels is not None and first.task != "regression":
        # Of all splits: a class that training lacks is there only if the user allowed it.
        evaluated = [data for data in splits.values() if data.labels is not None]
        names = order_labels(evaluated, label_names)
    return LabelledSplits(splits, names, first.task, problems, warnings, layout)
