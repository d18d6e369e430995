"""`evaluate_pretraining`: how well a BERT knows text that it was not trained on, group by group."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bert_tf.batching.predict import PackedRows, predict
from bert_tf.bert import Bert
from bert_tf.checkpoint.dtypes import UNSOUND
from bert_tf.data import MaskRules, PairRules, Pairs, TokenCorpus, assemble, draw_pairs, mask_pieces
from bert_tf.data.pretraining.rules import SPECIAL_PIECES
from bert_tf.data.pretraining.tokens import checked_documents
from bert_tf.errors import BertError
from bert_tf.evaluation.pretraining import results
from bert_tf.evaluation.pretraining.baselines import (
    BASELINES,
    Contexts,
    TokenScores,
    answer_by_counting,
    contexts_of,
    ranks,
)
from bert_tf.evaluation.pretraining.results import PretrainingEvaluation
from bert_tf.files.progress import Progress
from bert_tf.options import COUNT, FRACTION, ROWS, SEED
from bert_tf.text import Packed, Vocabulary

Predict = Callable[[Mapping[str, np.ndarray]], Any]
"""From `token_input`, `seg_input`, `position_input` to MLM logits (batch, n, vocab) and NSP logits
(batch, 2), as `build_gathered_pretraining_model` gives them."""

STRETCH = 500
"""Tokens of running text whose positions count as one draw in confidence intervals."""

# The last number of a random generator's key: what it is for.
_PAIRS, _SINGLE, _WORDS = range(3)


class Questions(NamedTuple):
    """Masked tokens of one group.

    Attributes:
        inputs: `token_input`, `seg_input`, `position_input` of the examples, int32.
        lengths: tokens of each example.
        rows: the example of each masked token, (n,), ascending.
        slots: its index among those of its example, (n,).
        ids: the token that was there, (n,).
        positions: its index in `TokenCorpus.tokens`, (n,).
    """

    inputs: dict[str, np.ndarray]
    lengths: np.ndarray
    rows: np.ndarray
    slots: np.ndarray
    ids: np.ndarray
    positions: np.ndarray


def evaluate_pretraining(
    model: Bert | str | os.PathLike[str],
    corpus: TokenCorpus,
    held_out: np.ndarray,
    *,
    max_seq_length: int = 128,
    **options: Any,
) -> PretrainingEvaluation:
    """Evaluates a BERT by masked words and next sentences on held-out documents.

    For each group (language) examples are drawn from its held-out documents by the rules of
    pretraining, with random second segments from other held-out sources of the group. They are
    masked twice, by single tokens and by whole words: 15 % of the tokens each time, of which 80 %
    become [MASK], 10 % a random token and 10 % stay, as in training. All of these are asked for.
    Next sentence is asked on the same pairs with single tokens masked, again as in training.
    The baselines answer for exactly the same positions; they are counted on `training` alone.

    Args:
        model: a `Bert` with both heads, or what `bert_tf.load` takes.
        corpus: tokenized with the model's vocabulary.
        held_out: documents to evaluate on; bool, (documents,). See `split_by_source`.
        max_seq_length: tokens of an example.
        options: see `evaluate_predictions`.

    Raises:
        BertError: the corpus has another vocabulary, the model lacks a head or takes no such
            length, and what `evaluate_predictions` raises.

    Example:
        >>> from bert_tf.data import split_by_source
        >>> held_out = split_by_source(corpus, 1000, seed=1)
        >>> found = evaluate_pretraining(bert, corpus, held_out, positions=100, baselines=False)
        >>> 0 < found.plain_mean.single["model"].top1 < 1
        True
    """
    from bert_tf.loading import load

    bert = model if isinstance(model, Bert) else load(model, lower_case=corpus.lower_case)
    bert.heads.require("pooler", "mlm", "nsp")
    corpus.check_vocabulary(bert.vocab)
    if max_seq_length > bert.config.max_position_embeddings:
        raise BertError(
            f"`max_seq_length` is {max_seq_length}, but {bert.name} takes "
            f"{bert.config.max_position_embeddings} tokens at most."
        )
    from bert_tf.models.heads.pretraining import build_gathered_pretraining_model

    run = bert.predictor(build_gathered_pretraining_model(bert.layers))
    options["max_seq_length"] = max_seq_length
    return evaluate_predictions(run, bert.vocab, corpus, held_out, **options)


def evaluate_predictions(
    predict: Predict,
    vocab: Vocabulary,
    corpus: TokenCorpus,
    held_out: np.ndarray,
    *,
    max_seq_length: int = 128,
    masked_lm_prob: float = 0.15,
    positions: int = 40_000,
    seed: int = 0,
    training: np.ndarray | None = None,
    smoothing: float = 0.7,
    baselines: bool = True,
    batch_size: int = 32,
    progress: bool = False,
) -> PretrainingEvaluation:
    """Evaluates any predictor; see `evaluate_pretraining`.

    Args:
        predict: see `Predict`.
        vocab: of the corpus and of what predicts.
        corpus: the texts.
        held_out: documents to evaluate on; bool, (documents,).
        max_seq_length: tokens of an example.
        masked_lm_prob: fraction of an example's tokens that is masked.
        positions: masked tokens of each group, at least; a shorter held-out text is used again,
            with other pairs and masks.
        seed: of everything drawn.
        training: documents that the baselines are counted on, and whose sizes give the groups'
            weights; all that are not held out if left out.
        smoothing: a group's weight is its number of training tokens to this power.
        baselines: whether to evaluate them too.
        batch_size: examples at a time.
        progress: whether to show progress: a bar, or lines in the log off a terminal.

    Raises:
        BertError: an argument has no meaning, a document is on both sides, a group has held-out
            documents of one source only or none to count, or a prediction is not a number.
    """
    held_out = checked_documents("held_out", held_out, len(corpus))
    training = ~held_out if training is None else training
    training = checked_documents("training", training, len(corpus))
    if both := int((held_out & training).sum()):
        raise BertError(f"{both:,} documents are in held_out and in training.")
    if not held_out.any():
        raise BertError("no document is held out, so there is nothing to evaluate on.")
    COUNT.check("positions", positions)
    ROWS.check("batch_size", batch_size)
    SEED.check("seed", seed)
    FRACTION.check("smoothing", smoothing)
    pair_rules = PairRules(max_seq_length)
    most = max(1, round(max_seq_length * masked_lm_prob))
    single, words = (MaskRules(masked_lm_prob, most, whole_word=whole) for whole in (False, True))
    numbers = np.unique(corpus.groups[held_out])
    sizes = corpus.document_pieces()
    shown = training if training.any() else held_out  # a corpus of nothing but held-out text
    pieces = np.array([sizes[shown & (corpus.groups == number)].sum() for number in numbers], float)
    shares = pieces**smoothing / (pieces**smoothing).sum()
    evaluated = []
    with Progress(progress, unit="examples") as bar:
        bar.start(None)
        for number, share in zip(numbers.tolist(), shares.tolist()):
            bar.label(name := corpus.group_names[number])
            documents = np.flatnonzero(held_out & (corpus.groups == number))
            rng = [np.random.default_rng([seed, number, use]) for use in (_PAIRS, _SINGLE, _WORDS)]
            pairs = _draw(corpus, documents, pair_rules, single, positions, rng[0])
            asked = [
                _ask(corpus, vocab, pairs, max_seq_length, rules, one)
                for rules, one in zip((single, words), rng[1:])
            ]
            said = [_answer(predict, questions, batch_size, bar.add) for questions in asked]
            answers = [{"model": found} for found, _ in said]
            if baselines:
                bar.label(f"{name}, counting")
                chosen = training & (corpus.groups == number)
                for lot, counted in zip(answers, _count(corpus, chosen, vocab, asked)):
                    lot |= counted
            in_single, in_words = (
                {
                    predictor: results.masked_score(*found, questions.positions // STRETCH)
                    for predictor, found in lot.items()
                }
                for lot, questions in zip(answers, asked)
            )
            follows = results.pair_score(said[0][1], pairs.is_random, pairs.a_start // STRETCH)
            evaluated.append(results.GroupEvaluation(name, share, in_single, in_words, follows))
    settings = {
        "max_seq_length": max_seq_length,
        "short_seq_prob": pair_rules.short_seq_prob,
        "masked_lm_prob": masked_lm_prob,
        "positions": positions,
        "seed": seed,
        "smoothing": smoothing,
        "held_out_documents": int(held_out.sum()),
        "held_out_pieces": int(sizes[held_out].sum()),
        "training_pieces": int(sizes[training].sum()),
        "baselines": list(BASELINES) if baselines else [],
    }
    return PretrainingEvaluation(
        tuple(evaluated),
        results.means("mean as in training", evaluated, shares),
        results.means("plain mean", evaluated, np.full(len(evaluated), 1 / len(evaluated))),
        settings,
    )


def _draw(
    corpus: TokenCorpus,
    documents: np.ndarray,
    rules: PairRules,
    masks: MaskRules,
    positions: int,
    rng: np.random.Generator,
) -> Pairs:
    """Pairs of a group's held-out documents in random order, for so many masked tokens."""
    columns: list[np.ndarray] = []
    missing = positions
    while missing > 0:
        drawn = np.stack(draw_pairs(corpus, documents, documents, rules, rng), axis=1)
        drawn = rng.permutation(drawn.astype(np.int64))
        lengths = drawn[:, 1] - drawn[:, 0] + drawn[:, 3] - drawn[:, 2] + SPECIAL_PIECES
        masked = np.rint(lengths * masks.masked_lm_prob).clip(1, masks.max_predictions_per_seq)
        upto = np.cumsum(masked)
        columns.append(drawn[: np.searchsorted(upto, missing) + 1])
        missing -= int(upto[-1])
    a_start, a_end, b_start, b_end, random = np.concatenate(columns).T
    return Pairs(a_start, a_end, b_start, b_end, random.astype(bool))


def _ask(
    corpus: TokenCorpus,
    vocab: Vocabulary,
    pairs: Pairs,
    length: int,
    rules: MaskRules,
    rng: np.random.Generator,
) -> Questions:
    special = {"cls_id": vocab.cls_id, "sep_id": vocab.sep_id}
    tokens, segments, lengths = assemble(corpus.tokens, pairs, length, **special)
    masked, positions, ids, weights = mask_pieces(
        tokens, lengths, vocab.continuation, len(vocab), vocab.mask_id, rules, rng, **special
    )
    rows, slots = weights.nonzero()
    columns = positions[rows, slots].astype(np.int64)
    first = pairs.a_end - pairs.a_start
    starts = np.where(
        segments[rows, columns] == 1, pairs.b_start[rows] - first[rows] - 2, pairs.a_start[rows] - 1
    )
    inputs = {"token_input": masked, "seg_input": segments, "position_input": positions}
    return Questions(inputs, lengths, rows, slots, ids[rows, slots], starts + columns)


def _answer(
    run: Predict, questions: Questions, batch_size: int, advance: Callable[[int], Any]
) -> tuple[TokenScores, np.ndarray]:
    """The model's answers for the masked tokens, and of each pair whether it is random, bool."""
    count, asked = len(questions.lengths), len(questions.ids)
    loss, rank, random = np.empty(asked), np.empty(asked, np.int64), np.empty(count, bool)
    tokens, segments, positions = questions.inputs.values()
    each = zip(tokens.tolist(), segments.tolist(), questions.lengths)
    rows = PackedRows([Packed(t[:length], s[:length]) for t, s, length in each], tokens.shape[1])
    extra = {"position_input": positions}
    for batch, (mlm, nsp) in predict(run, rows, batch_size=batch_size, extra=extra):
        which = np.flatnonzero(np.isin(questions.rows, batch))
        row_of = np.empty(count, np.int64)
        row_of[batch] = np.arange(len(batch))
        logits = mlm[row_of[questions.rows[which]], questions.slots[which]]
        ids, logits = questions.ids[which], logits.astype(np.float32, copy=False)
        own = logits[np.arange(len(ids)), ids].astype(np.float64)
        highest = logits.max(axis=1, keepdims=True)
        total = np.exp(logits - highest).sum(axis=1, dtype=np.float64)
        loss[which] = np.log(total) + highest[:, 0] - own
        rank[which] = ranks(logits, ids)
        random[batch] = nsp[:, 1] > nsp[:, 0]
        if not (np.isfinite(loss[which]).all() and np.isfinite(nsp).all()):
            raise BertError(f"the model's predictions are not all numbers: {UNSOUND}.")
        advance(len(batch))
    return TokenScores(loss, rank), random


def _count(
    corpus: TokenCorpus, training: np.ndarray, vocab: Vocabulary, asked: list[Questions]
) -> list[dict[str, TokenScores]]:
    """The baselines' answers to several lots of questions, counted once."""
    unknown = (vocab.pad_id, vocab.cls_id, vocab.sep_id, vocab.mask_id)
    contexts = []
    for questions in asked:
        tokens, _, positions = questions.inputs.values()
        columns = positions[questions.rows, questions.slots]
        contexts.append(contexts_of(tokens, questions.rows, columns, unknown))
    together = Contexts(*map(np.concatenate, zip(*contexts)))
    ids = np.concatenate([questions.ids for questions in asked])
    cuts = np.cumsum([len(questions.ids) for questions in asked])[:-1]
    split = {
        name: list(map(TokenScores, *(np.split(values, cuts) for values in answers)))
        for name, answers in answer_by_counting(corpus, training, together, ids).items()
    }
    return [{name: parts[i] for name, parts in split.items()} for i in range(len(asked))]
