"""Finds rows that are odd by themselves, beside others of their data, or beside other splits."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Hashable, Mapping
from dataclasses import replace

from bert_tf.data.labelled.problems import Policy, Problem, Tally
from bert_tf.data.labelled.texts import Label, LabelledTexts, classes_of
from bert_tf.errors import BertError


def normal_text(text: str) -> str:
    r"""What two texts have in common that are the same but for case, white space and width.

    >>> normal_text("  Ｆｉｎｅ\tday ") == normal_text("fine DAY")
    True
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.lower().split())


def text_keys(data: LabelledTexts) -> list[Hashable]:
    """The normal text, or both, of each row: equal where rows say the same."""
    if data.pairs is None:
        return [normal_text(text) for text in data.texts]
    return [(normal_text(a), normal_text(b)) for a, b in zip(data.texts, data.pairs)]


def clean(
    data: LabelledTexts, policy: Policy, tally: Tally | None = None
) -> tuple[LabelledTexts, list[Problem]]:
    """Drops or refuses odd rows: no label, no number, an empty text; repetitions, contradictions.

    Args:
        data: rows as they were read.
        policy: what is done about each kind.
        tally: counts further; then rows are judged by themselves only, and nothing is refused
            before the tally is settled. For rows that come in portions.

    Returns:
        The rows that stay, in their order; and what was found (nothing if a tally is given).

    Raises:
        BertError: there is what the policy refuses.
    """
    own = tally or Tally(policy)
    kept = []
    labels = list(data.labels) if data.labels is not None else None
    for index, (text, pair) in enumerate(data.each()):
        dropped = False
        if labels is not None:
            kind = _label_problem(labels[index], data.task)
            if kind:
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
    if len(kept) < len(data):
        data = data.take(kept)
    return data, own.settle(len(labels or data.texts)) if tally is None else []


def across(
    splits: Mapping[str, LabelledTexts], policy: Policy | None = None
) -> tuple[dict[str, LabelledTexts], list[tuple[str, Problem]]]:
    """Finds texts that are in two splits, and labels that training never sees.

    A text in two splits goes from the earlier one, so that what is tested on stays what it is.

    Args:
        splits: name to rows, training first, then validation, then test.
        policy: what is done; that of training if left out.

    Returns:
        The splits, less what was dropped; and (name of the split, problem).

    Raises:
        BertError: there is what the policy refuses, or the splits are not of one task.
    """
    policy = policy or Policy("train")
    names = list(splits)
    found = dict(splits)
    if len({data.task for data in found.values()}) > 1:
        told = ", ".join(f"{name}: {data.task}" for name, data in found.items())
        raise BertError(f"the splits are not for one task ({told}); say which with --task")
    problems: list[tuple[str, Problem]] = []
    # Where each text is in the splits behind the present one.
    later: dict[Hashable, str] = {}
    for name in reversed(names):
        data, tally, kept = found[name], Tally(policy), []
        keys = text_keys(data)
        for index, key in enumerate(keys):
            where = later.get(key)
            dropped = where is not None and tally.add(
                "leak", data.rows[index], f"in {where}" if where else ""
            )
            if not dropped:
                kept.append(index)
        problems += [(name, problem) for problem in tally.settle(len(data))]
        later.update(dict.fromkeys(keys, name))
        if len(kept) < len(data):
            found[name] = data.take(kept)
    train = found[names[0]]
    if train.task != "regression" and train.labels is not None:
        seen = {one for label in train.labels for one in classes_of(label)}
        for name in names[1:]:
            found[name], more = _without_unseen(found[name], seen, policy)
            problems += [(name, problem) for problem in more]
    order = {name: index for index, name in enumerate(names)}
    return found, sorted(problems, key=lambda item: order[item[0]])


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
    """Tells rows of the same text, with the same label or another; leaves out those to drop."""
    keys = text_keys(data)
    labels = data.labels
    firsts: dict[Hashable, Label] = {}
    conflicting: set[Hashable] = set()
    if labels is not None and data.task != "regression":  # two numbers may differ
        for index in indices:
            key = keys[index]
            if labels[index] is not None and firsts.setdefault(key, labels[index]) != labels[index]:
                conflicting.add(key)
    seen: set[Hashable] = set()
    kept = []
    for index in indices:
        key = keys[index]
        label = labels[index] if labels is not None else None
        dropped = key in conflicting and tally.add("conflict", data.rows[index])
        if (key, label) in seen:
            dropped = tally.add("duplicate", data.rows[index]) or dropped
        seen.add((key, label))
        if not dropped:
            kept.append(index)
    return kept


def _without_unseen(
    data: LabelledTexts, seen: set[str], policy: Policy
) -> tuple[LabelledTexts, list[Problem]]:
    tally, kept = Tally(policy), []
    for index, label in enumerate(data.labels or [None] * len(data)):
        unseen = [name for name in classes_of(label) if name not in seen]
        if not unseen or not tally.add("unseen_label", data.rows[index], repr(unseen[0])):
            kept.append(index)
    some = ", ".join(sorted(seen)[:12]) + (", ..." if len(seen) > 12 else "")
    advice = {"unseen_label": f"training has {some}; correct the label"}
    problems = tally.settle(len(data), advice)
    return (data.take(kept) if len(kept) < len(data) else data), problems
