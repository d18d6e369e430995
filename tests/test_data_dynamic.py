"""The stream of training batches: what is in it, how groups share it, and that it resumes."""

import itertools
import json
import re

import numpy as np
import pytest
from placed_corpora import FIRST, document_of, make_corpus, vocabulary_of, within_five_sigma

from bert_tf.data import MaskRules, PairRules, PretrainingStream
from bert_tf.errors import BertError
from bert_tf.text import SPECIAL_TOKENS, Vocabulary


def some_sources(count, seed=0):
    """Sources of one to three documents of one to nine sentences of one to nine tokens."""
    rng = np.random.default_rng(seed)

    def document():
        return rng.integers(1, 10, rng.integers(1, 10)).tolist()

    return [[document() for _ in range(rng.integers(1, 4))] for _ in range(count)]


@pytest.fixture(scope="module")
def corpus():
    return make_corpus({"en": some_sources(60), "xx": [[[5]]], "de": some_sources(15, 1)})


@pytest.fixture(scope="module")
def vocab(corpus):
    return vocabulary_of(corpus)


@pytest.fixture
def small_windows(monkeypatch):
    """Windows so small that a few batches see several of them, and epochs."""
    monkeypatch.setattr("bert_tf.data.pretraining.dynamic.WINDOW_PIECES", 500)


@pytest.fixture
def make(corpus, vocab):
    """A stream over the groups en and de, with some of its arguments."""

    def build(**changes):
        arguments = {
            "batch_size": 16,
            "pair_rules": PairRules(20),
            "mask_rules": MaskRules(max_predictions_per_seq=4),
            "documents": corpus.groups != 1,
            "seed": 3,
            "vocab": vocab,
            "corpus": corpus,
        }
        arguments |= changes
        return PretrainingStream(arguments.pop("corpus"), **arguments)

    return build


def take(stream, count):
    return list(itertools.islice(stream, count))


def same(one, other):
    return all(
        a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)
        for a, b in zip(one, other, strict=True)
    )


def unmask(batch):
    """`token_input` as it was before tokens were hidden."""
    tokens = batch["token_input"].copy()
    rows, slots = np.nonzero(batch["masked_lm_weights"])
    tokens[rows, batch["position_input"][rows, slots]] = batch["masked_lm_ids"][rows, slots]
    return tokens


def documents_of(corpus, tokens):
    """The documents of both segments of each example (first token of each)."""
    a = document_of(corpus, tokens[:, 1] - FIRST)
    b = document_of(corpus, tokens[np.arange(len(tokens)), np.argmax(tokens == 3, 1) + 1] - FIRST)
    return a, b


def test_batches_have_the_named_arrays(make):
    batch = make(mask_rules=MaskRules(0.15, 7)).next_batch()
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "token_input": ("int32", (16, 20)),
        "seg_input": ("int32", (16, 20)),
        "position_input": ("int32", (16, 7)),
        "masked_lm_ids": ("int32", (16, 7)),
        "masked_lm_weights": ("float32", (16, 7)),
        "next_sentence_labels": ("int32", (16,)),
    }


@pytest.mark.usefixtures("small_windows")
def test_examples_are_of_the_rules(make, corpus):
    """Traced back to their places: segments are ranges, label 1 means another source."""
    held_out = corpus.sources % 3 == 0
    used = ~held_out & (corpus.groups != 1)
    seen = set()
    labels = []
    for batch in take(make(documents=used), 60):
        tokens, labels_now = unmask(batch), batch["next_sentence_labels"]
        assert (tokens[:, 0] == 2).all()
        assert ((tokens == 3).sum(axis=1) == 2).all()
        inner = (tokens[:, 1:] >= FIRST) & (tokens[:, :-1] >= FIRST)
        assert (np.diff(tokens, axis=1)[inner] == 1).all()
        # Segment 1 is what stands behind the first [SEP], without the padding.
        behind = np.cumsum(tokens == 3, axis=1) - (tokens == 3) > 0
        assert (batch["seg_input"] == (behind & (tokens != 0))).all()
        a, b = documents_of(corpus, tokens)
        assert ((a == b) == (labels_now == 0)).all()
        assert ((corpus.sources[a] != corpus.sources[b]) == (labels_now == 1)).all()
        assert (corpus.groups[a] == corpus.groups[b]).all()
        seen |= {*a.tolist(), *b.tolist()}
        labels += labels_now.tolist()
    # All documents used have been seen, and no other.
    assert seen == set(np.flatnonzero(used).tolist())
    assert {0, 1} == set(labels)


@pytest.mark.usefixtures("small_windows")
def test_an_epoch_goes_through_each_document_in_an_order_of_its_own(make, corpus):
    """Batches of one example, so that the state behind each tells its epoch."""
    only_de = corpus.groups == 2
    stream = make(documents=only_de, batch_size=1)
    orders: dict[int, list[int]] = {}
    for batch in stream:
        epoch, _, _ = stream.state()["groups"][0]
        if epoch == 3:
            break
        document = int(documents_of(corpus, unmask(batch))[0][0])
        orders.setdefault(epoch, []).append(document)
    for epoch in range(3):
        assert set(orders[epoch]) == set(np.flatnonzero(only_de).tolist())
    assert orders[0] != orders[1] != orders[2]


def test_a_seed_repeats_and_another_differs(make):
    first = take(make(), 5)
    assert same(first, take(make(), 5))
    assert not same(first, take(make(seed=4), 5))
    assert not same(first[:1], first[1:2])


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("stop", [0, 1, 7, 50])
def test_a_restored_stream_goes_on_exactly(make, stop):
    """Over 40 more batches of 16 examples, which are several windows and epochs of each group."""
    stream = make(smoothing=0.5)
    take(stream, stop)
    state = json.loads(json.dumps(stream.state()))
    wanted, windows = [], set()
    for batch in itertools.islice(stream, 40):
        wanted.append(batch)
        windows |= {(i, e, w) for i, (e, w, _) in enumerate(stream.state()["groups"])}
    before, after = state["groups"], stream.state()["groups"]
    assert all(new[0] >= old[0] + 1 for old, new in zip(before, after))
    assert len(windows) > 5

    fresh = make(smoothing=0.5)
    fresh.restore(state)
    assert fresh.state() == state
    assert same(take(fresh, 40), wanted)
    assert fresh.state() == stream.state()

    # Also one that has gone elsewhere meanwhile.
    fresh.restore(state)
    assert same(take(fresh, 3), wanted[:3])


@pytest.mark.usefixtures("small_windows")
def test_every_place_that_a_stream_passes_can_be_restored(make):
    """Windows end in the middle of batches, and at their ends: a state at each of 60 batches."""
    stream, fresh = make(batch_size=5), make(batch_size=5)
    for _ in range(60):
        state = stream.state()
        wanted = [stream.next_batch()]
        fresh.restore(state)
        assert same([fresh.next_batch()], wanted)


@pytest.mark.parametrize("smoothing", [1.0, 0.7, 0.0])
def test_groups_share_the_examples_by_their_smoothed_pieces(make, corpus, vocab, smoothing):
    """Of 6,400 examples a group with p tokens has about p**s / (sum of all p**s)."""
    stream = make(batch_size=640, smoothing=smoothing)
    pieces = [corpus.document_pieces()[corpus.groups == group].sum() for group in (0, 2)]
    share = pieces[0] ** smoothing / (pieces[0] ** smoothing + pieces[1] ** smoothing)
    assert stream.shares == pytest.approx({"en": share, "de": 1 - share})
    count = 0
    for batch in take(stream, 10):
        a, _ = documents_of(corpus, unmask(batch))
        count += (corpus.groups[a] == 0).sum()
    assert within_five_sigma(count, 6400, share)


def test_masks_change_from_epoch_to_epoch(make, corpus):
    """Two short documents: the same examples come again, with other tokens hidden."""
    tiny = make_corpus({"en": [[[6, 6]], [[6, 6]]]})
    stream = make(corpus=tiny, vocab=vocabulary_of(tiny), documents=np.ones(2, bool), batch_size=2)
    hidden = {}
    for batch in take(stream, 40):
        for row, tokens in enumerate(unmask(batch)):
            places = tuple(batch["position_input"][row].tolist())
            hidden.setdefault(tuple(tokens.tolist()), set()).add(places)
    assert max(len(ways) for ways in hidden.values()) > 5


def test_epochs_tell_how_far_each_group_is(make):
    stream = make()
    assert stream.epochs() == {"en": 0, "de": 0}
    found = [stream.epochs() for _ in zip(range(60), stream)]
    for name in ("en", "de"):
        values = [epochs[name] for epochs in found]
        assert values == sorted(values)
    assert int(found[-1]["en"]) == stream.state()["groups"][0][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"batch_size": 8},
        {"smoothing": 0.7},
        {"pair_rules": PairRules(24)},
        {"mask_rules": MaskRules(max_predictions_per_seq=4, whole_word=True)},
    ],
)
def test_a_state_of_other_settings_is_refused(make, changes):
    state = make().state()
    with pytest.raises(BertError, match="of another run"):
        make(**changes).restore(state)


def test_a_state_of_other_documents_is_refused(make, corpus):
    used = corpus.groups != 1
    state = make().state()
    used[5] = False
    with pytest.raises(BertError, match="of another run"):
        make(documents=used).restore(state)


def test_what_is_no_state_is_refused_and_changes_nothing(make):
    stream = make()
    stream.next_batch()
    state = stream.state()
    for wrong in ({}, {**state, "groups": 3}, {**state, "batch": None}):
        with pytest.raises(BertError, match="no state of a training stream"):
            stream.restore(wrong)
    for wrong in ([[0, 99, 0]] * 2, [[0, 0, 10**6]] * 2, [[-1, 0, 0]] * 2):
        with pytest.raises(BertError, match="is no position in"):
            stream.restore({**state, "groups": wrong})
    assert stream.state() == state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"smoothing": 2}, "smoothing is 2"),
        ({"documents": np.ones(3, bool)}, "bool of shape (3,)"),
        ({"documents": np.arange(3)}, "int64 of shape (3,)"),
        ({"vocab": Vocabulary.from_lines(SPECIAL_TOKENS)}, "another vocabulary"),
    ],
)
def test_arguments_without_meaning_are_refused(make, changes, message):
    with pytest.raises(BertError, match=re.escape(message)):
        make(**changes)


def test_documents_that_give_no_random_segments_are_refused(make, corpus):
    with pytest.raises(BertError, match="xx has documents of one source only"):
        make(documents=np.ones(len(corpus), bool))
    with pytest.raises(BertError, match="no document is used"):
        make(documents=np.zeros(len(corpus), bool))
