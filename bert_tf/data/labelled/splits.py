"""Training, validation and test rows from one set, labels in proportion, no text in two splits.

Rows are distributed as in K. Sechidis, G. Tsoumakas and I. Vlahavas, "On the stratification of
multi-label data", ECML PKDD 2011: the rarest label first, each of its rows to the split that still
lacks most of that label.

Not by a library: a seed must give the split that 0.1.0 made, else a model would be evaluated on
rows it was trained on; and no splitter of scikit-learn or iterative-stratification both keeps
groups together and balances several labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from bert_tf.data.labelled.cleaning import normal_text
from bert_tf.data.labelled.texts import LabelledTexts, classes_of
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.options import POSITIVE, SEED

SHARES: Mapping[str, float] = {"train": 0.70, "validation": 0.15, "test": 0.15}

_BINS = 10  # of a number to predict, equally full
_BIN_ROWS = 20  # at least, in a bin; small sets have fewer bins


def split_labelled(
    data: LabelledTexts,
    shares: Mapping[str, float] | None = None,
    *,
    seed: int = 12345,
    groups: Sequence[Hashable] | None = None,
) -> tuple[dict[str, LabelledTexts], list[str]]:
    """Splits rows at random, each label in about the same proportion in each split.

    Rows of the same text (see `normal_text`; of a pair in either order) stay together. A number
    to predict is stratified by bins of equally many rows. Of a label with few rows the first goes
    to the largest split, training.

    Args:
        data: the rows; without labels the split is only random.
        shares: split to its fraction, scaled to add up to 1; `SHARES` if left out.
        seed: the same seed gives the same split.
        groups: rows of the same group, such as a patient or a premise, also stay together.

    Returns:
        Name to rows, in their former order; and warnings, logged too, of labels that one lacks.

    Raises:
        BertError: a fraction is not positive, or there are too few rows for a split to have any.
    """
    shares = dict(shares or SHARES)
    if len(shares) < 2 or any(map(POSITIVE.problem, shares.values())):
        raise BertError(f"shares are {shares}; give two or more, each {POSITIVE}")
    SEED.check("seed", seed)
    if groups is not None and len(groups) != len(data):
        raise BertError(f"{len(groups):,} groups are given for {len(data):,} rows")
    wanted = np.array(list(shares.values()))
    members, strata = _members(data, groups), _strata(data)
    chosen = _give_out(members, strata, wanted / wanted.sum(), np.random.default_rng(seed))
    splits = {name: data.take(np.flatnonzero(chosen == i)) for i, name in enumerate(shares)}
    if empty := [name for name, part in splits.items() if not len(part)]:
        raise BertError(
            f"{len(data):,} rows with {len(set().union(*strata)):,} labels, of {len(members):,} "
            f"different texts or groups, are too few: none is left for {', '.join(empty)}; give "
            "more, or separate files for validation and test"
        )
    return splits, [*_warn_of_lacking(splits)] if data.task != "regression" else []


def _members(data: LabelledTexts, groups: Sequence[Hashable] | None) -> list[list[int]]:
    """TableRow numbers that must stay together: by text and by group, also through other rows."""
    parent = list(range(len(data)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    first: dict[Hashable, int] = {}
    for index, (text, pair) in enumerate(data.each()):
        text = normal_text(text)
        keys: list[Hashable] = [text if pair is None else tuple(sorted((text, normal_text(pair))))]
        if groups is not None:
            keys.append((groups[index],))
        for key in keys:
            a, b = root(first.setdefault(key, index)), root(index)
            parent[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for index in range(len(data)):
        found.setdefault(root(index), []).append(index)
    return list(found.values())


def _strata(data: LabelledTexts) -> list[tuple[Hashable, ...]]:
    """What each row counts for: its class, its classes, the bin of its number, or nothing."""
    if data.labels is None:
        return [("",)] * len(data)
    if data.task == "regression":
        values = np.array([np.nan if label is None else label for label in data.labels], float)
        bins = min(_BINS, max(len(values) // _BIN_ROWS, 1))
        edges = np.nanquantile(values, np.arange(1, bins) / bins)
        return [(int(bin),) for bin in np.searchsorted(np.unique(edges), values, side="right")]
    # Rows without a class, where several can hold, are a kind of their own.
    return [classes_of(label) or ("",) for label in data.labels]


def _give_out(
    members: list[list[int]],
    strata: list[tuple[Hashable, ...]],
    shares: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The number of the split of each row, int64."""
    counts = [Counter(s for row in rows for s in strata[row]) for rows in members]
    total = Counter(s for rows in members for row in rows for s in strata[row])
    # How many rows each split still lacks: of each label, and of all.
    lacking = {label: (shares * number).tolist() for label, number in total.items()}
    lacking_rows = (shares * len(strata)).tolist()
    waiting: dict[Hashable, list[int]] = {label: [] for label in total}
    # At random, but large groups first: small ones fill the gaps.
    order = sorted(rng.permutation(len(members)).tolist(), key=lambda g: -len(members[g]))
    for group in order:
        for label in counts[group]:
            waiting[label].append(group)
    chosen = np.full(len(strata), -1, np.int64)
    splits = range(len(shares))
    remaining = dict(total)
    while remaining:
        rarest = min(remaining, key=lambda label: (remaining[label], str(label)))
        del remaining[rarest]
        for group in waiting[rarest]:
            rows = members[group]
            if chosen[rows[0]] >= 0:
                continue
            need = lacking[rarest]
            # Equal needs, as of 15 and 15 %, can differ by rounding.
            best = max(splits, key=lambda s: (round(need[s], 9), round(lacking_rows[s], 9), -s))
            chosen[rows] = best
            lacking_rows[best] -= len(rows)
            for label, number in counts[group].items():
                lacking[label][best] -= number
                if label in remaining:
                    remaining[label] -= number
    return chosen


def _warn_of_lacking(splits: Mapping[str, LabelledTexts]) -> tuple[str, ...]:
    """Says which labels a split has no row of."""
    found = {
        name: Counter(one for label in data.labels or () for one in classes_of(label))
        for name, data in splits.items()
    }
    total = sum(found.values(), Counter())
    warnings = []
    for name, counts in found.items():
        if lacks := [label for label in sorted(total) if not counts[label]]:
            shown = ", ".join(f"{label!r} ({total[label]} in all)" for label in lacks[:5])
            more = f" and {len(lacks) - 5} more" if len(lacks) > 5 else ""
            warnings.append(f"{name} has no row with the label {shown}{more}: too few rows have it")
    return warn(*warnings)
