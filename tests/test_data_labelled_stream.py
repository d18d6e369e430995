"""Batches of labelled rows: each row once an epoch, in few lengths, resumable anywhere."""

import itertools
import json
import re

import numpy as np
import pytest

from bert_tf.batching.buckets import bucket_lengths, choose_buckets
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.stream import LabelledStream, batches_once
from bert_tf.errors import BertError

LIMIT = 64


def texts_of(lengths, limit=LIMIT, key="k"):
    """Row i holds the id i + 1 at all of its places; its second half is the second segment."""
    lengths = np.asarray(lengths, np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    pieces = np.repeat(np.arange(1, len(lengths) + 1), lengths).astype(np.uint16)
    firsts = (lengths // 2).astype(np.int32)
    return TokenizedTexts(pieces, starts, firsts, lengths.astype(np.int32), limit, key)


LENGTHS = np.random.default_rng(0).integers(3, LIMIT + 1, 103)
TEXTS = texts_of(LENGTHS)
LABELS = np.arange(103, dtype=np.int32) % 5


def make(texts=TEXTS, labels=LABELS, **changes):
    return LabelledStream(texts, labels, **{"batch_size": 8, "seed": 3, **changes})


def take(stream, count):
    return list(itertools.islice(stream, count))


def same(one, other):
    return all(
        a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)
        for a, b in zip(one, other, strict=True)
    )


def rows_of(batch):
    """The numbers of the real rows; they come first."""
    count = int(batch["weights"].sum())
    return (batch["token_input"][:count, 0] - 1).tolist()


def test_batches_have_the_named_arrays():
    for labels, kind, shape in (
        (LABELS, "int32", ()),
        (np.eye(5, dtype=np.float32)[LABELS], "float32", (5,)),
        (np.linspace(0, 1, 103).astype(np.float32), "float32", ()),
    ):
        stream = make(labels=labels)
        for batch in take(stream, stream.steps_per_epoch()):
            length = batch["token_input"].shape[1]
            assert length in stream.buckets
            assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
                "token_input": ("int32", (8, length)),
                "seg_input": ("int32", (8, length)),
                "labels": (kind, (8, *shape)),
                "weights": ("float32", (8,)),
            }


@pytest.mark.parametrize("batch_size", [1, 8, 103, 200])
def test_an_epoch_has_each_row_once_and_one_short_batch(batch_size):
    stream = make(batch_size=batch_size)
    assert stream.steps_per_epoch() == -(-103 // batch_size)
    orders = []
    for _ in range(3):
        seen, short = [], 0
        for batch in take(stream, stream.steps_per_epoch()):
            rows = rows_of(batch)
            seen += rows
            short += len(rows) < batch_size
            count = len(rows)
            assert batch["weights"].tolist() == [1] * count + [0] * (batch_size - count)
            assert batch["labels"][:count].tolist() == LABELS[rows].tolist()
            # Rows of padding are empty; real ones have all of their tokens, and segments.
            assert not batch["token_input"][count:].any()
            assert not batch["labels"][count:].any()
            assert (batch["token_input"] != 0).sum(axis=1)[:count].tolist() == LENGTHS[
                rows
            ].tolist()
            second = LENGTHS[rows] - LENGTHS[rows] // 2
            assert batch["seg_input"].sum(axis=1)[:count].tolist() == second.tolist()
        assert sorted(seen) == list(range(103))
        assert short == (103 % batch_size > 0)
        orders.append(seen)
    if batch_size < 103:
        assert orders[0] != orders[1] != orders[2]


def test_the_weighted_mean_is_that_over_all_rows():
    """Summed over an epoch: sum(weights * value) / sum(weights) is the plain mean."""
    stream = make()
    total = weight = 0.0
    for batch in take(stream, stream.steps_per_epoch()):
        total += float((batch["weights"] * batch["labels"]).sum())
        weight += float(batch["weights"].sum())
    assert total / weight == LABELS.mean()


def test_rows_of_a_batch_are_of_like_length():
    """Most batches hold rows of one bucket; a longer one only takes what was left of shorter."""
    lengths = np.random.default_rng(1).integers(3, LIMIT + 1, 1000)
    stream = make(texts_of(lengths), np.zeros(1000, np.int32))
    buckets = np.array(stream.buckets)
    mixed = 0
    for batch in take(stream, stream.steps_per_epoch()):
        length = batch["token_input"].shape[1]
        own = buckets[np.searchsorted(buckets, lengths[rows_of(batch)])]
        assert own.max() <= length
        mixed += (own != length).any()
    assert mixed <= len(buckets)


def test_epochs_mix_rows():
    """Which rows share a batch changes, and long batches do not all come first or last."""
    stream = make(batch_size=4)
    steps = stream.steps_per_epoch()
    first, second = take(stream, steps), take(stream, steps)
    partners = [{frozenset(rows_of(batch)) for batch in epoch} for epoch in (first, second)]
    assert len(partners[0] & partners[1]) <= 2
    widths = [batch["token_input"].shape[1] for batch in first]
    assert widths not in (sorted(widths), sorted(widths, reverse=True))


def test_a_seed_repeats_and_another_differs():
    first = take(make(), 5)
    assert same(first, take(make(), 5))
    assert [rows_of(b) for b in first] != [rows_of(b) for b in take(make(seed=4), 5)]


def test_every_place_that_a_stream_passes_can_be_restored():
    stream, fresh = make(), make()
    for _ in range(2 * stream.steps_per_epoch() + 3):
        state = json.loads(json.dumps(stream.state()))
        wanted = [stream.next_batch()]
        fresh.restore(state)
        assert same([fresh.next_batch()], wanted)
        assert fresh.state() == stream.state()
        assert fresh.epochs() == stream.epochs()
    assert stream.epochs() == pytest.approx(2 + 3 / stream.steps_per_epoch())


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"batch_size": 9},
        {"buckets": (32, 64)},
        {"labels": LABELS[::-1]},
        {"labels": LABELS.astype(np.float32)},
        {"texts": texts_of(LENGTHS, key="other")},
    ],
)
def test_a_state_of_another_run_is_refused(changes):
    with pytest.raises(BertError, match="of another run"):
        make(**changes).restore(make().state())


def test_what_is_no_state_is_refused_and_changes_nothing():
    stream = make()
    stream.next_batch()
    state = stream.state()
    for wrong in ({}, {**state, "batch": None}, {"epoch": 1}):
        with pytest.raises(BertError, match="no state of a labelled stream"):
            stream.restore(wrong)
    for wrong in ({"epoch": -1}, {"batch": 99}, {"batch": -1}):
        with pytest.raises(BertError, match="damaged"):
            stream.restore({**state, **wrong})
    assert stream.state() == state


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(batch_size=0), "batch_size is 0"),
        (lambda: make(seed=-1), "seed is -1"),
        (lambda: make(labels=LABELS[:5]), "103 texts, but 5 labels"),
        (lambda: make(texts_of([]), LABELS[:0]), "no rows"),
        (lambda: make(buckets=(16, 32)), "the last at least 64"),
        (lambda: make(buckets=(64, 32, 80)), "ascending"),
        (lambda: list(batches_once(TEXTS, LABELS[:3], batch_size=8)), "but 3 labels"),
        (lambda: choose_buckets(np.array([9]), 8), "do not fit"),
    ],
)
def test_arguments_without_meaning_are_refused(call, message):
    with pytest.raises(BertError, match=re.escape(message)):
        call()


# --- once


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("batch_size", [1, 10, 103, 500])
def test_all_rows_once(by_length, batch_size):
    found = np.full(103, -1)
    batches = list(batches_once(TEXTS, LABELS, batch_size=batch_size, by_length=by_length))
    assert len(batches) == -(-103 // batch_size)
    for numbers, batch in batches:
        assert rows_of(batch) == numbers.tolist()
        assert batch["token_input"].shape[0] == batch_size
        found[numbers] = batch["labels"][: len(numbers)]
    assert found.tolist() == LABELS.tolist()
    numbers = np.concatenate([numbers for numbers, _ in batches])
    if by_length:
        assert (np.diff(LENGTHS[numbers]) <= 0).all()
    else:
        assert numbers.tolist() == list(range(103))


def test_rows_without_labels_and_no_rows():
    for _, batch in batches_once(TEXTS, batch_size=50):
        assert set(batch) == {"token_input", "seg_input", "weights"}
    assert list(batches_once(texts_of([]), batch_size=8)) == []


# --- buckets


def places(lengths, buckets):
    return int(np.array(buckets)[np.searchsorted(buckets, lengths)].sum())


@pytest.mark.parametrize("most", [1, 2, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_buckets_are_the_best_of_all_choices(most, seed):
    """Against trying each subset of the usual lengths, with the price of each length."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.lognormal(3, 0.7, 300).astype(int) + 3, 128)
    usual = list(bucket_lengths(128))
    top = usual[int(np.searchsorted(usual, lengths.max()))]
    rest = [length for length in usual if length < top]
    price = 0.01 * lengths.sum()
    best = min(
        places(lengths, (*chosen, top)) + price * (len(chosen) + 1)
        for count in range(min(most, len(rest) + 1))
        for chosen in itertools.combinations(rest, count)
    )
    found = choose_buckets(lengths, 128, most)
    assert len(found) <= most
    assert found[-1] == top
    assert places(lengths, found) + price * len(found) == pytest.approx(best)


def test_rows_of_one_length_take_one_bucket():
    assert choose_buckets(np.full(50, 20), 128) == (24,)
    assert choose_buckets(np.array([3]), 5) == (5,)
    # A single long row among thousands of short ones, and none at the limit.
    assert choose_buckets(np.array([10] * 5000 + [90]), 512) == (16, 96)
