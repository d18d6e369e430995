"""Which tokens of an example are hidden and asked for: the original's masked language model."""

from __future__ import annotations

import numpy as np

from bert_tf.data.pretraining.rules import MaskRules

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Of the tokens asked for: how many become [MASK], and how many any token; the rest stays."""


def mask_pieces(
    token_input: np.ndarray,
    lengths: np.ndarray,
    continues: np.ndarray,
    vocab_size: int,
    mask_id: int,
    rules: MaskRules,
    rng: np.random.Generator,
    *,
    cls_id: int,
    sep_id: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hides tokens by the rules of `create_masked_lm_predictions` in google-research/bert.

    A word is a token and the `##` tokens that follow it in the same segment. (The original counts a
    `##` token at the start of the second segment to the last word of the first one.)

    Args:
        token_input: ids, integers (n, length); not changed.
        lengths: of the examples, integers (n,); the rest is padding.
        continues: which tokens go on with a word (`Vocabulary.continuation`), bool, (vocab_size,).
        vocab_size: random tokens are of all ids below it but 0, which is padding.
        mask_id: id of [MASK].
        rules: how many, and whether whole words.
        rng: draws everything.
        cls_id: id of [CLS], which is never asked for.
        sep_id: id of [SEP], likewise.

    Returns:
        (token_input, positions, ids, weights): int32 (n, length) with the tokens hidden; then for
        each token asked for, in ascending order, its position and its true id, int32, and 1,
        float32; all three (n, max_predictions_per_seq) and 0 in the slots not used.
    """
    count, length = token_input.shape
    column = np.arange(length)
    candidate = (token_input != cls_id) & (token_input != sep_id) & (column < lengths[:, None])
    wanted = np.rint(np.asarray(lengths) * rules.masked_lm_prob)  # to even, as Python's round
    numbers = np.clip(wanted, 1, rules.max_predictions_per_seq).astype(np.int64)
    goes_on = continues[token_input] & candidate
    if rules.whole_word in (0, 1):
        choose = choose_words if rules.whole_word else _choose_singles
        chosen = choose(candidate, goes_on, numbers, rng)
    else:
        chosen = np.empty_like(candidate)
        by_word = rng.random(count) < rules.whole_word
        for rows, choose in ((by_word, choose_words), (~by_word, _choose_singles)):
            chosen[rows] = choose(candidate[rows], goes_on[rows], numbers[rows], rng)
    at, columns = chosen.nonzero()  # by row, then ascending
    per_row = chosen.sum(axis=1)
    slots = np.arange(len(at)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    positions, ids = np.zeros((2, count, rules.max_predictions_per_seq), np.int32)
    weights = np.zeros(positions.shape, np.float32)
    positions[at, slots] = columns
    ids[at, slots] = hidden = token_input[at, columns]
    weights[at, slots] = 1
    masked = token_input.astype(np.int32)
    masked[at, columns] = _replace(hidden, vocab_size, mask_id, rng)
    return masked, positions, ids, weights


def choose_words(
    candidate: np.ndarray, goes_on: np.ndarray, numbers: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Chooses whole words: in random order, each one that does not exceed the number.

    `candidate` says which tokens can be chosen, bool (n, length), and `goes_on` which of them
    continue the one before; `numbers` how many to choose, integers (n,). `rng` draws a key for
    each word, (n, words of the richest example) floats; the smallest key is tried first.

    Returns:
        The tokens chosen, bool (n, length). They can be fewer than the number.
    """
    starts = candidate.copy()
    starts[:, 1:] &= ~(goes_on[:, 1:] & candidate[:, :-1])
    words = np.cumsum(starts, axis=1)  # from 1; 0 before the first one
    most = int(words[:, -1].max()) if words.size else 0
    shape = len(words), most + 1
    words += np.arange(len(words))[:, None] * (most + 1)
    # At [SEP] and in padding is the number of the word before, to which they do not belong.
    sizes = np.bincount(words[candidate], minlength=shape[0] * shape[1]).reshape(shape)[:, 1:]
    order = np.argsort(rng.random((len(words), most), np.float32), axis=1)
    sizes = np.take_along_axis(sizes, order, axis=1).T.copy()
    taken = np.zeros(sizes.shape, bool)
    left = numbers.astype(sizes.dtype)
    for rank, size in enumerate(sizes):  # a word number that a row does not have is of size 0
        np.less_equal(size, left, out=taken[rank])
        left -= size * taken[rank]
        if rank % 8 == 7 and not left.any():
            break
    picked = np.zeros(shape, bool)
    np.put_along_axis(picked, order + 1, taken.T, axis=1)
    return picked.reshape(-1)[words] & candidate


def _choose_singles(
    candidate: np.ndarray, goes_on: np.ndarray, numbers: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Chooses tokens one by one, all equally likely; see `choose_words`."""
    del goes_on
    keys = rng.random(candidate.shape, np.float32)
    keys[~candidate] = 2
    most = min(int(numbers.max(initial=0)), candidate.shape[1])
    if not candidate.size:
        return candidate.copy()
    smallest = np.argpartition(keys, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(keys, smallest, axis=1), axis=1)
    ranked = np.take_along_axis(smallest, order, axis=1)
    chosen = np.zeros(candidate.shape, bool)
    np.put_along_axis(chosen, ranked, np.arange(most) < numbers[:, None], axis=1)
    return chosen & candidate


def _replace(
    hidden: np.ndarray, vocab_size: int, mask_id: int, rng: np.random.Generator
) -> np.ndarray:
    """What replaces each token: one draw a token, also within a word."""
    draw = rng.random(len(hidden))
    random = rng.integers(vocab_size, size=len(hidden))
    # Id 0 is padding, which attention ignores: another in its place, from the same draw's low bits.
    random = np.where(random == 0, 1 + (draw * 2**53).astype(np.int64) % (vocab_size - 1), random)
    other = np.where(draw < MASK_SHARE + RANDOM_SHARE, random, hidden)
    return np.where(draw < MASK_SHARE, mask_id, other)
