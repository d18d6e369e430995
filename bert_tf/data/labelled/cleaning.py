"""Finds odd rows: by themselves, among the rows of their data, or across splits."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Hashable, Mapping
from dataclasses import replace

from bert_tf.data.labelled.problems import Policy, Problem, Tally
from bert_tf.data.labelled.texts import Label, LabelledTexts, classes_of, like_labels
from bert_tf.errors import BertError


def normal_text(text: str) -> str:
    r"""A text without differences of case, white space and width.

    >>> normal_text("  Ｆｉｎｅ\tday ") == normal_text("fine DAY")
    True
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.lower().split())


def text_keys(data: LabelledTexts) -> list[Hashable]:
    """The normal text of each row, or both texts: equal where rows say the same."""
    texts = map(normal_text, data.texts)
    return list(texts if data.pairs is None else zip(texts, map(normal_text, data.pairs)))


def clean(
    data: LabelledTexts, policy: Policy, tally: Tally | None = None
) -> tuple[LabelledTexts, list[Problem]]:
    """Drops or refuses odd rows: no label, no number, an empty text; repetitions, contradictions.

    Args:
        data: rows as they were read.
        policy: what is done about each kind.
        tally: for rows that come in parts: counts what is found, without looking for repetitions
            or contradictions, and refuses nothing until the caller settles it.

    Returns:
        The rows kept, in order; and what was found (nothing if a tally is given).

    Raises:
        BertError: the policy refuses something.
    """
    own, kept = tally or Tally(policy), []
    labels = None if data.labels is None else list(data.labels)
    for index, (text, pair) in enumerate(data.each()):
        dropped = False
        if labels is not None and (kind := _label_problem(labels[index], data.task)):
            note = repr(labels[index])[:40] if kind == "not_a_number" else ""
            dropped = own.add(kind, data.rows[index], note)
            labels[index] = None
        if not text.strip() or (pair is not None and not pair.strip()):
            dropped = own.add("empty_text", data.rows[index]) or dropped
        if not dropped:
            kept.append(index)
    if labels is not None:
        data = replace(data, labels=labels)
    if tally is None:
        kept = _without_repetitions(data, kept, own)
    return data.take(kept), own.settle(len(data)) if tally is None else []


def across(
    splits: Mapping[str, LabelledTexts], policy: Policy | None = None
) -> tuple[dict[str, LabelledTexts], list[tuple[str, Problem]]]:
    """Finds texts that are in two splits, and labels that training never sees.

    A text in two splits is dropped from the earlier one, so that test data stay as they are.

    Args:
        splits: name to rows, training first, then validation, then test.
        policy: what is done; that of training if left out.

    Returns:
        The splits, less what was dropped; and (name of the split, problem).

    Raises:
        BertError: the policy refuses something, or the splits are not of one task.
    """
    policy = policy or Policy("train")
    names = list(splits)
    found = dict(splits)
    if len({data.task for data in found.values()}) > 1:
        have = ", ".join(f"{name}: {data.task}" for name, data in found.items())
        raise BertError(f"the splits are not for one task ({have}); name one with `task`")
    problems: list[tuple[str, Problem]] = []
    gone = ""
    later: dict[Hashable, str] = {}  # text to a split after the present one
    for name in reversed(names):
        data, tally = found[name], Tally(policy)
        keys = text_keys(data)
        kept = [
            row
            for row, key in enumerate(keys)
            if key not in later or not tally.add("leak", data.rows[row], f"in {later[key]}")
        ]
        problems += [(name, problem) for problem in tally.settle(len(data))]
        if data.texts and not kept:
            where = ", ".join(dict.fromkeys(map(later.__getitem__, keys)))
            gone = f"no row of {name} is left: the texts of all {len(data):,} are also in {where}"
        later.update(dict.fromkeys(keys, name))
        found[name] = data.take(kept)
    if gone:
        raise BertError(f"{gone}; give other files, or `policy` leak=keep")
    train = found[names[0]]
    if train.task != "regression" and train.labels is not None:
        seen = {one for label in train.labels for one in classes_of(label)}
        some = ", ".join(sorted(seen)[:12]) + (", ..." if len(seen) > 12 else "")
        advice = {"unseen_label": f"training has {some}; correct the label"}
        for name in names[1:]:
            data, tally, kept = like_labels(found[name], seen), Tally(policy), []
            for row, label in enumerate(data.labels or [None] * len(data)):
                unseen = [one for one in classes_of(label) if one not in seen]
                if not unseen or not tally.add("unseen_label", data.rows[row], repr(unseen[0])):
                    kept.append(row)
            problems += [(name, problem) for problem in tally.settle(len(data), advice)]
            found[name] = data.take(kept)
    return found, sorted(problems, key=lambda item: names.index(item[0]))


def _label_problem(label: Label, task: str) -> str:
    if label is None:
        return "unlabelled"
    if task == "regression":
        if isinstance(label, str):
            return "not_a_number"
        if isinstance(label, float) and not math.isfinite(label):
            return "nan"
    return ""


def _without_repetitions(data: LabelledTexts, indices: list[int], tally: Tally) -> list[int]:
    """Counts rows of the same text, with the same label or another; leaves out those to drop."""
    keys, labels = text_keys(data), data.labels or [None] * len(data)
    rows = [(index, keys[index], labels[index]) for index in indices]
    firsts: dict[Hashable, Label] = {}
    conflicting: set[Hashable] = set()
    for _, key, label in rows if data.task != "regression" else ():  # two numbers may differ
        if label is not None and firsts.setdefault(key, label) != label:
            conflicting.add(key)
    seen: set[Hashable] = set()
    kept = []
    for index, key, label in rows:
        dropped = key in conflicting and tally.add("conflict", data.rows[index])
        if (key, label) in seen:
            dropped = tally.add("duplicate", data.rows[index]) or dropped
        seen.add((key, label))
        if not dropped:
            kept.append(index)
    return kept
