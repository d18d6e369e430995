"""95 % confidence intervals of metrics: Wilson's for shares, the bootstrap's for all others.

Wilson's score interval needs no drawing and, other than the mean plus or minus two standard
errors, stays inside [0, 1] and has a width at 0 and 1. No such formula exists for F1, Matthews and
rank correlation: there the test set is drawn anew 1,000 times with replacement and the middle 95 %
of the values are taken (the percentile method, Efron and Tibshirani 1993, chapter 13). Both tell
how far another test set of this size would fall from this one; how far another training run would,
only several seeds tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Interval = tuple[float, float]

DRAWS = 1000
SEED = 1
_Z = 1.959963984540054  # the normal distribution's 97.5 % point


def wilson(right: int, of: int) -> Interval:
    """The interval of a share (Wilson 1927) of `of` > 0.

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    share, z2 = right / of, _Z * _Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return (
        0.0 if right == 0 else max(middle - half, 0.0),
        1.0 if right == of else min(middle + half, 1.0),
    )


def bootstrap_confusion(
    confusion: np.ndarray, metrics: Mapping[str, Callable[[np.ndarray], np.ndarray]]
) -> dict[str, Interval | None]:
    """Intervals of metrics that depend on nothing but the confusion matrix.

    Drawing n examples with replacement and counting is one draw of the multinomial distribution
    over the matrix's cells, so it costs the same for a hundred examples and for a million.

    Args:
        confusion: int (classes, classes).
        metrics: each takes float64 (draws, classes, classes) and gives float64 (draws,).
    """
    import numpy as np

    total = int(confusion.sum())
    # The cells in use: thousands of empty ones cost memory and draw nothing.
    cells = np.flatnonzero(confusion)
    shares = confusion.ravel()[cells] / total
    rng = np.random.default_rng(SEED)
    values: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    step = max(1, min(DRAWS, 4_000_000 // confusion.size))
    for start in range(0, DRAWS, step):
        count = min(step, DRAWS - start)
        drawn = np.zeros((count, confusion.size))
        drawn[:, cells] = rng.multinomial(total, shares / shares.sum(), size=count)
        for name, metric in metrics.items():
            values[name].append(metric(drawn.reshape(count, *confusion.shape)))
    return {name: _middle(np.concatenate(parts)) for name, parts in values.items()}


def bootstrap_rows(
    rows: int, metrics: Mapping[str, Callable[[np.ndarray], float | None]]
) -> dict[str, Interval | None]:
    """Intervals of metrics of the drawn rows.

    Args:
        rows: how many there are.
        metrics: each takes how often each row was drawn, float64 (rows,).
    """
    import numpy as np

    rng = np.random.default_rng(SEED)
    values = {name: np.full(DRAWS, math.nan) for name in metrics}
    for draw in range(DRAWS):
        times = np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64)
        for name, metric in metrics.items():
            value = metric(times)
            values[name][draw] = math.nan if value is None else value
    return {name: _middle(found) for name, found in values.items()}


def _middle(values: np.ndarray) -> Interval | None:
    """Of the draws in which the metric is defined; None where that is not most of them."""
    import numpy as np

    values = values[np.isfinite(values)]
    if len(values) < 0.9 * DRAWS:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
