"""Every row comes once, in a bucket that fits, and results find back into their order."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_tf._deprecated import batches_by_length, in_order, stream_batches
from bert_tf.batching.buckets import BUCKETS, bucket_length, bucket_lengths
from bert_tf.batching.predict import Batch
from bert_tf.errors import BertError


def test_buckets():
    assert bucket_lengths() == BUCKETS
    assert bucket_lengths(64) == (16, 24, 32, 48, 64)
    assert bucket_lengths(100) == (16, 24, 32, 48, 64, 96, 100)
    assert bucket_lengths(10) == (10,)
    assert bucket_lengths(2048) == (*BUCKETS, 768, 1024, 1536, 2048)
    assert [bucket_length(n) for n in (0, 1, 16, 17, 65, 385)] == [16, 16, 16, 24, 96, 512]
    assert bucket_length(50, 64) == 64


def test_too_long():
    with pytest.raises(BertError, match=r"65 tokens .* takes 64.*windows"):
        bucket_length(65, 64)
    with pytest.raises(BertError, match="takes 512"):
        batches_by_length([3, 513])


def test_worked_example():
    """Buckets of 5, 40, 16, 17, 3: 16, 48, 16, 24, 16. Two rows a batch, the longest first."""
    assert batches_by_length([5, 40, 16, 17, 3], 2) == [
        Batch((1,), 48),
        Batch((3,), 24),
        Batch((0, 2), 16),
        Batch((4,), 16),
    ]


def test_limit_by_tokens():
    """64 places: four rows of 16, one of 64, and one of 128 although it is too long."""
    batches = batches_by_length([1] * 6 + [60, 60, 100], max_tokens=64)
    assert [(len(b.indices), b.length) for b in batches] == [
        (1, 128), (1, 64), (1, 64), (4, 16), (2, 16),
    ]  # fmt: skip
    assert max(len(b.indices) for b in batches_by_length([1] * 6, 3, max_tokens=64)) == 3
    assert len(batches_by_length([1] * 33)[0].indices) == 32


@pytest.mark.parametrize("limits", [{"batch_size": 0}, {"max_tokens": -1}])
def test_limits_without_sense(limits):
    with pytest.raises(BertError, match="at least 1"):
        batches_by_length([1], **limits)


lengths = st.lists(st.integers(0, 512), max_size=200)


@given(lengths, st.integers(1, 40))
def test_every_row_once(lengths, batch_size):
    batches = batches_by_length(lengths, batch_size)
    assert sorted(i for b in batches for i in b.indices) == list(range(len(lengths)))
    for batch in batches:
        assert 0 < len(batch.indices) <= batch_size
        assert all(bucket_length(lengths[i]) == batch.length for i in batch.indices)


@given(lengths, st.integers(1, 40), st.integers(1, 50))
def test_streams_come_back_in_order(lengths, batch_size, look_ahead):
    held = 0

    def results():
        nonlocal held
        for batch in stream_batches(lengths, int, batch_size, look_ahead=look_ahead):
            held = max(held, max(batch.indices) - min(batch.indices))
            assert [lengths[i] for i in batch.indices] == list(batch.items)
            yield batch.indices, [n * 2 for n in batch.items]

    assert list(in_order(results())) == [n * 2 for n in lengths]
    assert held < look_ahead


def test_a_stream_is_read_only_as_far_as_needed():
    """An endless stream: the first batch needs `look_ahead` items and not one more."""
    counter = itertools.count()
    batch = next(stream_batches((next(counter) for _ in itertools.count()), lambda _: 5, 4,
                                look_ahead=10))  # fmt: skip
    assert batch.items == (0, 1, 2, 3)
    assert next(counter) == 10


def test_a_stream_without_look_ahead():
    with pytest.raises(BertError, match="look_ahead is 0"):
        next(stream_batches([1], int, look_ahead=0))
