"""95 % confidence intervals of metrics: Wilson's for fractions, the bootstrap's for all others.

Wilson's score interval needs no drawing and, unlike the mean plus or minus two standard errors,
stays inside [0, 1] and has a width at 0 and 1. No such formula exists for F1, Matthews and rank
correlation: there the test set is drawn again 1,000 times with replacement and the middle 95 % of
the values are taken (the percentile method, Efron and Tibshirani 1993, chapter 13). Both show how
far another test set of this size would fall from this one; how far another training run would,
only several seeds show.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np

from bert_tf.evaluation.results import Interval

DRAWS = 1000
SEED = 1


def wilson(right: int, of: int) -> Interval:
    """The interval of a fraction (Wilson 1927) of `of` > 0.

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    from scipy import stats

    low, high = stats.binomtest(right, of).proportion_ci(method="wilson")
    return float(low), float(high)


def bootstrap_confusion(
    confusion: np.ndarray, metrics: Mapping[str, Callable[[np.ndarray], np.ndarray]]
) -> dict[str, Interval | None]:
    """Intervals of metrics that depend on nothing but the confusion matrix.

    Drawing n examples with replacement and counting is one draw of the multinomial distribution
    over the matrix's cells, so it costs the same for a hundred examples and for a million;
    `scipy.stats.bootstrap` would draw all of them a thousand times.

    Args:
        confusion: int (classes, classes).
        metrics: each takes float64 (draws, classes, classes) and gives float64 (draws,).
    """
    total = int(confusion.sum())
    # The cells in use: thousands of empty ones cost memory and draw nothing.
    cells = np.flatnonzero(confusion)
    fractions = confusion.ravel()[cells] / total
    rng = np.random.default_rng(SEED)
    values: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    step = max(1, min(DRAWS, 4_000_000 // confusion.size))
    for start in range(0, DRAWS, step):
        count = min(step, DRAWS - start)
        drawn = np.zeros((count, confusion.size))
        drawn[:, cells] = rng.multinomial(total, fractions / fractions.sum(), size=count)
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
    from scipy import stats

    def values(drawn: np.ndarray, axis: int) -> np.ndarray:
        times = np.bincount(drawn[0], minlength=rows).astype(np.float64)
        found = [metric(times) for metric in metrics.values()]
        return np.array(found, np.float64)[:, None]  # None becomes NaN

    with warnings.catch_warnings():  # of draws in which a metric is undefined
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            # Of a single row twice the same: SciPy wants two.
            (np.arange(rows) if rows > 1 else np.zeros(2, int),),
            values,
            n_resamples=DRAWS,
            batch=1,  # a thousand draws of a large set would fill the memory
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(SEED),
        )
    return dict(zip(metrics, map(_middle, drawn.bootstrap_distribution)))


def _middle(values: np.ndarray) -> Interval | None:
    """Of the draws in which the metric is defined; None where that is not most of them."""
    values = values[np.isfinite(values)]
    if len(values) < 0.9 * DRAWS:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
