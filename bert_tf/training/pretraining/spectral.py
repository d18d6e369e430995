"""Start weights: drawn at random as in the original, or computed from the corpus.

From random weights a small masked language model spends much of a small budget guessing by
frequency. It gets beyond that once it has both a token table in which like tokens are near each
other and heads that read the neighbours. Both can be computed: the table by factorizing the tokens'
associations, as word vectors are (Levy and Goldberg, Neural Word Embedding as Implicit Matrix
Factorization, 2014), the heads because a rotation turns the sine and cosine of one position into
those of another (Vaswani et al., Attention Is All You Need, 2017). Only the initial numbers differ
from the original's: any checkpoint reader can start from them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bert_tf.config import BertConfig
from bert_tf.data.pretraining import cooccurrence
from bert_tf.data.pretraining.cooccurrence import Counts, TokenArrays
from bert_tf.errors import BertError
from bert_tf.files.extras import importing, require
from bert_tf.heads import RELEASED as PARTS
from bert_tf.heads import weights_of

OFFSETS = ((-1, 1, -2, 2), (-1, 1, -3, 3))
"""Where the heads of the first and of the second layer look; with more heads, over again."""

SHORTEST, LONGEST = 4.0, 600.0
"""Wavelengths of the position table, in positions."""

_SCALE = 0.02  # root mean square of a token row, and amplitude of the position table
_SMALL = 0.002  # standard deviation of what is to be almost 0, but not equal
_LONGEST_ROW = 2.5  # in norms of the root mean square row
_SHARPNESS = 2.05  # score of the position that a head looks at; see `_look`
_OUTPUT = (1.0, 0.5)  # how much of what the heads of the two layers read is added
_FADED = 0.74  # what the second layer still sees of the position: measured, 0.71 to 0.78


def random_start(config: BertConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """New weights as the original draws them.

    Kernels and tables are normal with the config's `initializer_range`, drawn again beyond two
    standard deviations (`truncated_normal_initializer`); biases and betas are 0, gammas 1.

    Args:
        config: the architecture.
        seed: the same seed gives the same numbers.

    Returns:
        float32 arrays by the original's name, in its layout: a checkpoint to start from.
    """
    rng = np.random.default_rng(seed)
    return {
        weight.original: draw_weight(rng, weight.original, weight.shape, config.initializer_range)
        for weight in weights_of(config, PARTS)
    }


def draw_weight(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], deviation: float
) -> np.ndarray:
    """One new weight, by the original's rules for its name: float32 of that shape."""
    last = name.rsplit("/", 1)[-1]
    if last == "gamma":
        return np.ones(shape, np.float32)
    if last in ("beta", "bias", "output_bias"):
        return np.zeros(shape, np.float32)
    value = rng.standard_normal(shape, np.float32)
    while (beyond := np.abs(value) > 2).any():
        value[beyond] = rng.standard_normal(int(beyond.sum()), np.float32)
    return value * np.float32(deviation)


def require_spectral() -> None:
    """Makes sure that `spectral_start` has the packages that it needs; a `BertError` if not."""
    require("the spectral start", "sklearn", "scipy")


def spectral_start(
    config: BertConfig,
    corpus: TokenArrays,
    *,
    documents: np.ndarray | None = None,
    smoothing: float = 0.7,
    seed: int = 0,
    mask_id: int,
    progress: Callable[[str], None] | None = None,
) -> dict[str, np.ndarray]:
    """Weights that know which tokens are alike and read the neighbours, before any training.

    The first quarter of the width holds the position, the rest the token:

    1. Token table: a factorization of the tokens' associations in the rest of the dimensions; the
       position's are almost 0. Tokens that were not seen, `[MASK]` and `[PAD]` get random rows as
       long as those of the tokens in the text.
    2. Position table: sines and cosines in the position dimensions, 0 elsewhere.
    3. Each head of the first two layers puts about a tenth of its attention on the position at
       its offset (see `OFFSETS`) in a text of 64 tokens, reads a random orthonormal projection of
       the token there and adds it at its own position.
    4. The masked-word head begins with the identity and the frequencies of the tokens.

    All else is as in `random_start`, except the segment table: small, and 0 in the position
    dimensions, for it is added to every token and would drown both.

    Args:
        config: the architecture; `hidden_size` at least 8.
        corpus: of its arrays, `tokens`, `sentences`, `documents` and `groups` are read.
        documents: (documents) bool, those to count: not what is held out.
        smoothing: a group's part of training goes with its number of tokens to this power.
        seed: the same seed gives the same numbers on the same machine.
        mask_id: id of `[MASK]`.
        progress: gets how far it is, in words.

    Returns:
        float32 arrays by the original's name, in its layout: a checkpoint to start from.

    Raises:
        BertError: the model is too narrow, the corpus does not fit it or is empty, or
            scikit-learn is not installed.
    """
    require_spectral()
    if corpus.vocab_size != config.vocab_size:
        raise BertError(
            f"the corpus was tokenized with {corpus.vocab_size:,} tokens, but vocab_size in the "
            f"BERT config is {config.vocab_size:,}; use the vocabulary of the model for both."
        )
    if not 0 <= mask_id < config.vocab_size:
        last = f"{config.vocab_size - 1:,}"
        raise BertError(f"mask_id={mask_id} is not in the vocabulary, whose ids are 0 to {last}.")
    if config.hidden_size < 8 or config.head_size < 2:
        raise BertError(
            f"hidden_size {config.hidden_size} with num_attention_heads "
            f"{config.num_attention_heads} leaves no room for the position's sines. Make "
            f"hidden_size at least 8 and heads at least 2 wide, or start from random weights."
        )
    counts = cooccurrence.count_neighbours(
        corpus, documents=documents, smoothing=smoothing, ignored=(0, mask_id), progress=progress
    )
    rng = np.random.default_rng([seed, 1])
    start = random_start(config, seed)
    table = _token_table(config, counts, rng, progress)
    start["bert/embeddings/word_embeddings"] = table
    start["bert/embeddings/position_embeddings"] = _position_table(config)
    segments = _noise(rng, (config.type_vocab_size, config.hidden_size))
    segments[:, : position_size(config)] = 0
    start["bert/embeddings/token_type_embeddings"] = segments
    # What the position's amplitude becomes in the embedding norm, which scales each sum of rows to
    # the length sqrt(hidden): mean over the corpus.
    squares = (table**2).sum(axis=1) + _SCALE**2 * position_size(config) / 2
    scales = np.sqrt(config.hidden_size / squares)
    amplitude = float(_SCALE * np.average(scales, weights=counts.pieces))
    for layer in range(min(len(OFFSETS), config.num_hidden_layers)):
        _look(start, config, layer, amplitude * _FADED**layer)
        _read(start, config, layer, rng)
    start["cls/predictions/transform/dense/kernel"] = np.eye(config.hidden_size, dtype=np.float32)
    often = counts.pieces + 1
    start["cls/predictions/output_bias"] = np.log(often / often.sum()).astype(np.float32)
    return start


def position_size(config: BertConfig) -> int:
    """How many first dimensions the spectral start keeps for the position: even."""
    return config.hidden_size // 8 * 2


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, np.float32) * np.float32(_SMALL)


def _token_table(
    config: BertConfig,
    counts: Counts,
    rng: np.random.Generator,
    progress: Callable[[str], None] | None,
) -> np.ndarray:
    """Rows U S^0.5 of the associations after the position dimensions, (vocab, hidden)."""
    with importing("the spectral start"):
        from sklearn.utils.extmath import randomized_svd  # Halko, Martinsson and Tropp's method

    matrix = cooccurrence.associations(counts)
    positions = position_size(config)
    rank = min(config.hidden_size - positions, config.vocab_size)
    if progress:
        progress(f"factorising {matrix.nnz:,} associations of tokens at rank {rank}")
    if not matrix.nnz:
        raise BertError(
            "no two tokens of the corpus occur near each other more often than by chance and "
            "more than 3 times; take more text, or start from random weights."
        )
    left, values, _ = randomized_svd(matrix, rank, random_state=int(rng.integers(2**31)))
    rows = left * np.sqrt(values)
    known = np.diff(matrix.indptr) > 0
    rows *= _SCALE / np.sqrt(np.mean(rows[known] ** 2))
    norms = np.linalg.norm(rows, axis=1)
    limit = _LONGEST_ROW * np.sqrt(np.mean(norms[known] ** 2))
    rows *= np.minimum(1, limit / np.maximum(norms, limit))[:, None]
    table = _noise(rng, (config.vocab_size, config.hidden_size))
    table[known, positions : positions + rank] = rows[known]
    # What was not seen is as long as a token of the text is on average. Were it shorter, the
    # embedding norm would enlarge its position: at [MASK] a head would then look at [MASK].
    usual = np.average(np.linalg.norm(rows[known], axis=1), weights=counts.pieces[known])
    noise = table[~known, positions:]
    table[~known, positions:] *= usual / np.linalg.norm(noise, axis=1, keepdims=True)
    return table


def _position_table(config: BertConfig) -> np.ndarray:
    """Sine and cosine in turn of each wavelength, shortest first, (positions, hidden)."""
    width = position_size(config)
    table = np.zeros((config.max_position_embeddings, config.hidden_size), np.float32)
    waves = np.geomspace(SHORTEST, LONGEST, width // 2)
    angle = 2 * np.pi * np.arange(len(table))[:, None] / waves
    table[:, 0:width:2] = _SCALE * np.sin(angle)
    table[:, 1:width:2] = _SCALE * np.cos(angle)
    return table


def _look(start: dict[str, np.ndarray], config: BertConfig, layer: int, amplitude: float) -> None:
    """Lets each head of a layer look at its offset: sets query and key.

    With (sin, cos) of a wavelength at position t turned by the angle of the offset o in the query
    and left alone in the key, the score of position s is a sum over the wavelengths of
    weight * cos(angle * (t + o - s)), greatest at s = t + o. Weights go with 1 / wavelength and
    add up to `_SHARPNESS`: in a text of 64 tokens that position then gets 0.100 of the attention,
    the next ones 0.043, all further ones 0.015 and less.
    """
    width, size = position_size(config) // 2, config.head_size
    waves = np.geomspace(SHORTEST, LONGEST, width)
    taken = np.unique(np.linspace(0, width - 1, min(width, size // 2)).round().astype(int))
    weight = 1 / waves[taken]
    weight *= _SHARPNESS * np.sqrt(size) / amplitude**2 / weight.sum()
    scale = np.sqrt(weight)
    name = f"bert/encoder/layer_{layer}/attention/self"
    query, key = (np.zeros_like(start[f"{name}/{role}/kernel"]) for role in ("query", "key"))
    offsets = OFFSETS[layer]
    for head in range(config.num_attention_heads):
        turn = 2 * np.pi * offsets[head % len(offsets)] / waves[taken]
        sine, column = 2 * taken, head * size + 2 * np.arange(len(taken))
        key[sine, column] = key[sine + 1, column + 1] = scale
        # sin(a + b) = sin a cos b + cos a sin b, cos(a + b) = cos a cos b - sin a sin b
        query[sine, column] = query[sine + 1, column + 1] = scale * np.cos(turn)
        query[sine + 1, column] = scale * np.sin(turn)
        query[sine, column + 1] = -scale * np.sin(turn)
        # Columns left over stay random: where query and key are both 0 nothing is ever learnt.
        left = slice(head * size + 2 * len(taken), (head + 1) * size)
        query[:, left] = start[f"{name}/query/kernel"][:, left]
        key[:, left] = start[f"{name}/key/kernel"][:, left]
    start[f"{name}/query/kernel"], start[f"{name}/key/kernel"] = query, key


def _read(
    start: dict[str, np.ndarray], config: BertConfig, layer: int, rng: np.random.Generator
) -> None:
    """Lets each head carry a part of the token it sees: sets value and attention output.

    Heads with the same offset read orthogonal parts, so that together they carry more of it.
    """
    positions = position_size(config)
    rest = config.hidden_size - positions
    name = f"bert/encoder/layer_{layer}/attention"
    value = start[f"{name}/self/value/kernel"]
    output = start[f"{name}/output/dense/kernel"]
    value[:positions] = 0
    output[:, :positions] = 0
    of_heads = np.arange(config.hidden_size).reshape(-1, config.head_size)
    for offset in range(len(OFFSETS[layer])):
        columns = of_heads[offset :: len(OFFSETS[layer])].reshape(-1)[:rest]
        basis, _ = np.linalg.qr(rng.standard_normal((rest, len(columns))))
        value[positions:, columns] = basis
        output[columns, positions:] = basis.T * _OUTPUT[layer]
