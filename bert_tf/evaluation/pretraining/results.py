"""Figures of an evaluation: accuracies, losses, their confidence, and means over groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from bert_tf.evaluation.results import plain

Z = 1.96
"""Half-width of the 95 % confidence interval of a normal distribution, in standard deviations."""


@dataclasses.dataclass(frozen=True)
class MaskedScore:
    """How well masked tokens were predicted.

    Attributes:
        positions: how many there were.
        loss: mean cross entropy in nats.
        perplexity: its exponential.
        top1: fraction whose token was the most probable one.
        top1_half_width: 95 % confidence is +- this; see `half_width`.
        top5: fraction whose token was among the five most probable ones.
        top5_half_width: likewise.
    """

    positions: int
    loss: float
    perplexity: float
    top1: float
    top1_half_width: float
    top5: float
    top5_half_width: float


@dataclasses.dataclass(frozen=True)
class NextSentenceScore:
    """How well second segments that follow were distinguished from random ones.

    Attributes:
        pairs: how many there were.
        random_pairs: of them with a random second segment. More than half: a chunk of a single
            sentence can have no other.
        balanced: accuracy on equally many of both: the mean of the next two.
        balanced_half_width: 95 % confidence is +- this; see `half_width`.
        on_true: accuracy on pairs whose second segment follows.
        on_random: accuracy on the others.
        as_drawn: accuracy on all pairs as they were drawn.
        as_drawn_half_width: likewise.
    """

    pairs: int
    random_pairs: int
    balanced: float
    balanced_half_width: float
    on_true: float
    on_random: float
    as_drawn: float
    as_drawn_half_width: float


@dataclasses.dataclass(frozen=True)
class GroupEvaluation:
    """The metrics of a group, or the means over groups.

    Attributes:
        name: of the group, such as a language.
        share: its weight in the mean as in training; of a mean, 1.
        single: masks on single tokens: `model`, and the baselines by their names.
        whole_word: masks on whole words, likewise.
        next_sentence: of the model.
    """

    name: str
    share: float
    single: Mapping[str, MaskedScore]
    whole_word: Mapping[str, MaskedScore]
    next_sentence: NextSentenceScore


@dataclasses.dataclass(frozen=True)
class PretrainingEvaluation:
    """What `evaluate_pretraining` found.

    Attributes:
        groups: each group, in the corpus's order.
        weighted_mean: over the groups, each with its `share`.
        plain_mean: over the groups with equal weights. In both, a perplexity is that of the mean
            loss.
        settings: what the metrics were computed with.
    """

    groups: tuple[GroupEvaluation, ...]
    weighted_mean: GroupEvaluation
    plain_mean: GroupEvaluation
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; what is not a number, such as a half-width of one text, is None."""
        return plain(self)


def half_width(values: np.ndarray, clusters: np.ndarray) -> float:
    """Half of the 95 % confidence interval of a mean, for values that come in clusters.

    Tokens of one stretch of text have much in common, and some are asked for more than once. So
    the variance is that of a ratio of sums over clusters (Cochran, Sampling Techniques, 1977,
    section 6.3). It says how the mean would vary with other stretches of such texts; not with
    texts of another kind.

    Args:
        values: (n,).
        clusters: the number of the cluster of each, integers, (n,).

    Returns:
        NaN if there are fewer than two clusters.
    """
    different, index = np.unique(clusters, return_inverse=True)
    if (m := len(different)) < 2:
        return math.nan
    residuals = np.bincount(index, weights=values - values.mean())
    return float(Z * math.sqrt(m / (m - 1) * (residuals**2).sum()) / len(values))


def masked_score(loss: np.ndarray, rank: np.ndarray, clusters: np.ndarray) -> MaskedScore:
    """The metrics of predictions of masked tokens.

    Args:
        loss: cross entropy of each in nats, (n,).
        rank: how many tokens were held more probable than the right one, (n,).
        clusters: see `half_width`.
    """
    if not len(loss):
        return MaskedScore(0, *[math.nan] * 6)
    hits = [(rank < k).astype(np.float64) for k in (1, 5)]
    shares = [value for hit in hits for value in (float(hit.mean()), half_width(hit, clusters))]
    mean = float(loss.mean())
    return MaskedScore(len(loss), mean, _exp(mean), *shares)


def pair_score(
    said_random: np.ndarray, is_random: np.ndarray, clusters: np.ndarray
) -> NextSentenceScore:
    """The metrics of predictions of next sentences; bool (n,), bool (n,) and integers (n,)."""
    right = (said_random == is_random).astype(np.float64)
    kinds = (~is_random, is_random)
    on_true, on_random = (float(right[k].mean()) if k.any() else math.nan for k in kinds)
    widths = [half_width(right[kind], clusters[kind]) for kind in kinds]
    return NextSentenceScore(
        pairs=len(right),
        random_pairs=int(is_random.sum()),
        balanced=(on_true + on_random) / 2,
        balanced_half_width=math.hypot(*widths) / 2,
        on_true=on_true,
        on_random=on_random,
        as_drawn=float(right.mean()),
        as_drawn_half_width=half_width(right, clusters),
    )


def means(name: str, groups: Sequence[GroupEvaluation], weights: np.ndarray) -> GroupEvaluation:
    """The means over groups; numbers of positions and pairs are added up.

    Args:
        name: of the result.
        groups: at least one.
        weights: (groups), with the sum 1.
    """
    single, whole = (
        {one: _mean([scores[one] for scores in kind], weights) for one in kind[0]}
        for kind in zip(*((group.single, group.whole_word) for group in groups))
    )
    pairs = _mean([group.next_sentence for group in groups], weights)
    return GroupEvaluation(name, 1.0, single, whole, pairs)


Score = TypeVar("Score", MaskedScore, NextSentenceScore)


def _mean(scores: Sequence[Score], weights: np.ndarray) -> Score:
    found: dict[str, Any] = {}
    for name in (field.name for field in dataclasses.fields(scores[0])):
        column = np.array([getattr(score, name) for score in scores])
        if column.dtype.kind == "i":
            found[name] = int(column.sum())
        elif name.endswith("_half_width"):  # the groups' texts are independent
            found[name] = float(np.sqrt(((weights * column) ** 2).sum()))
        else:
            found[name] = float((weights * column).sum())
    if "perplexity" in found:
        found["perplexity"] = _exp(found["loss"])
    return type(scores[0])(**found)


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
