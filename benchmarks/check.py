"""Whether all contenders give the same results; nothing is timed before that is sure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from contenders import Worker

LIMITS = {
    # largest and mean difference of hidden states, largest of log-probabilities of words
    "float32": (1e-3, 1e-4, 1e-3),
    "bfloat16": (0.5, 0.05, 0.3),
}
TOP_K = 5
_SPARE = 150
"""Also asked for: Hugging Face also offers special tokens and [unused...], which ours never
does. The original's vocabularies have about 104 of them."""


class MismatchError(Exception):
    """Two contenders disagree."""


def same_words(
    expected: list[tuple[int, float]], found: list[tuple[int, float]], precision: str
) -> float:
    """Compares the best words for one mask.

    Args:
        expected: ids and probabilities, best first, more than `TOP_K`.
        found: `TOP_K` of them.
        precision: of the one that is checked.

    Returns:
        The largest difference of log-probabilities, rank by rank.

    Raises:
        MismatchError: in float32, words differ that are not equally probable; in either precision,
            probabilities differ by more than `LIMITS`, or a word is found that is not expected
            anywhere near.
    """
    limit = LIMITS[precision][2]
    known = {number: math.log(probability) for number, probability in expected}
    largest = 0.0
    for (number, probability), (wanted, wanted_probability) in zip(found, expected):
        score, aim = math.log(probability), math.log(wanted_probability)
        # Another word in this place is right if the exact model finds it as probable.
        if number != wanted and abs(known.get(number, -math.inf) - aim) > limit:
            raise MismatchError(f"word {number} in the place of {wanted}")
        largest = max(largest, abs(score - aim))
    if largest > limit:
        raise MismatchError(f"log-probabilities differ by {largest:.2g}, allowed is {limit:g}")
    return largest


def check(
    workers: list[Worker],
    reference: Worker,
    *,
    encoding: dict[str, Any],
    texts: list[str],
    offerable: np.ndarray,
    folder: Path,
) -> dict[str, dict[str, float]]:
    """Compares every contender with the reference, which computes in float32.

    Args:
        workers: all contenders.
        reference: the one that the others are compared with.
        encoding: settings of the random batch, see `worker.answer`; its rows get padded.
        texts: texts with one mask each.
        offerable: for each id whether it may be an answer.
        folder: for hidden states on their way.

    Returns:
        For each contender the differences found, `hidden_max`, `hidden_mean` and `words`.

    Raises:
        MismatchError: a contender's results are not those of the reference.
    """
    hidden, words = {}, {}
    for worker in [reference, *(w for w in workers if w is not reference)]:
        name = worker.contender.name
        path = str(folder / f"{name}.npz")
        with np.load(worker.ask(do="hidden", path=path, **encoding)["path"]) as arrays:
            hidden[name] = (arrays["hidden"].astype(np.float64), arrays["pooled"])
        # The reference names more words, to look up those that are nearly as probable.
        spare = worker is reference or worker.contender.kind != "ours"
        count = min(TOP_K + (_SPARE if spare else 0), int(offerable.sum()))
        answers = worker.ask(do="answers", texts=texts, top_k=count)["answers"]
        words[name] = [[(i, p) for i, p in answer if offerable[i]] for answer in answers]
    wanted_hidden, wanted_pooled = hidden[reference.contender.name]
    real = real_positions(encoding["shape"])
    found = {}
    for worker in workers:
        name, precision = worker.contender.name, worker.contender.precision
        own_hidden, own_pooled = hidden[name]
        difference = np.abs(own_hidden - wanted_hidden)[real]
        largest = max(difference.max(), np.abs(own_pooled - wanted_pooled).max())
        limits = LIMITS[precision]
        if not (largest <= limits[0] and difference.mean() <= limits[1]):
            raise MismatchError(
                f"{name}: hidden states differ from {reference.contender.name} by {largest:.2g}, "
                f"in the mean {difference.mean():.2g}; allowed is {limits[0]:g} and {limits[1]:g}."
            )
        worst = 0.0
        for text, expected, own in zip(
            texts, words[reference.contender.name], words[name], strict=True
        ):
            try:
                worst = max(worst, same_words(expected, own[:TOP_K], precision))
            except MismatchError as mismatch:
                raise MismatchError(f"{name}: {mismatch}, in {text!r}") from None
        found[name] = {
            "hidden_max": float(largest),
            "hidden_mean": float(difference.mean()),
            "words": worst,
        }
    return found


def real_positions(shape: list[int]) -> np.ndarray:
    """Where the rows that `worker.padded` makes are not padding."""
    rows, length = shape
    ends = length - np.arange(rows) * length // (2 * rows)
    return np.arange(length) < ends[:, None]
