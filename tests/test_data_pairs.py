"""Pairs of segments: exactly what a slow reference draws, and the shares that the rules name."""

import itertools

import numpy as np
import pytest
from placed_corpora import FIRST, document_of, make_corpus, within_five_sigma

from bert_tf.data import PairRules, Pairs, assemble, draw_pairs
from bert_tf.data.pretraining.pairs import truncated_lengths
from bert_tf.errors import BertError


class Recorder:
    """A generator that notes what it gives, so that a reference can use the same draws."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.given = {"random": [], "integers": [], "binomial": []}

    def __getattr__(self, name):
        def draw(*args, **kwargs):
            self.given[name].append(getattr(self.rng, name)(*args, **kwargs))
            return self.given[name][-1]

        return draw


def text_of(corpus, document):
    """A document as the original holds it: a list of sentences, each a list of tokens."""
    first, last = corpus.documents[document : document + 2]
    bounds = corpus.sentences[first : last + 1].tolist()
    return [list(range(*ends)) for ends in itertools.pairwise(bounds)]


def slow_pairs(corpus, documents, candidates, rules, given):
    """The rules of create_instances_from_document, one token at a time.

    Written from the description: a chunk grows by sentences until the target length, a part of
    it is A, the rest is B or is put back where B is random; then the longer one loses a token,
    at one end or the other, until both fit.
    """
    shorts, cuts, coins, starts = given["random"]
    lengths, *tries = given["integers"]
    raw = []
    sentence = 0
    for number, document in enumerate(documents):
        sentences = text_of(corpus, document)
        target = rules.max_num_tokens
        if shorts[number] < rules.short_seq_prob:
            target = lengths[number]
        chunk = []
        i = 0
        while i < len(sentences):
            chunk.append(sentences[i])
            if i == len(sentences) - 1 or sum(map(len, chunk)) >= target:
                start = sentence + i - len(chunk) + 1
                a_end = 1
                if len(chunk) >= 2:
                    a_end = 1 + int(cuts[start] * (len(chunk) - 1))
                a = list(itertools.chain(*chunk[:a_end]))
                random = len(chunk) == 1 or coins[start] < 0.5
                if random:
                    b = target - len(a)
                    i -= len(chunk) - a_end
                else:
                    b = list(itertools.chain(*chunk[a_end:]))
                raw.append([document, a, b, random])
                chunk = []
            i += 1
        sentence += len(sentences)

    # Documents for all random segments at once, those of the same source drawn again.
    places = [i for i, (*_, random) in enumerate(raw) if random]
    others = dict.fromkeys(places)
    unsure = places
    for draws in tries:
        for place, draw in zip(unsure, draws, strict=True):
            others[place] = candidates[draw]
        unsure = [i for i in unsure if corpus.sources[others[i]] == corpus.sources[raw[i][0]]]
    assert not unsure
    for place, start in zip(places, starts, strict=True):
        sentences = text_of(corpus, others[place])
        b = []
        for following in sentences[int(start * len(sentences)) :]:
            b += following
            if len(b) >= raw[place][2]:
                break
        raw[place][2] = b

    result = []
    for (_, a, b, random), at_front in zip(raw, zip(*given["binomial"]), strict=True):
        front = list(at_front)
        while len(a) + len(b) > rules.max_num_tokens:
            longer = 0 if len(a) > len(b) else 1
            del (a, b)[longer][0 if front[longer] > 0 else -1]
            front[longer] -= 1
        result.append((a, b, random))
    return result


@pytest.mark.parametrize("short_seq_prob", [0, 0.5, 1])
@pytest.mark.parametrize("max_seq_length", [5, 12, 40])
def test_exactly_what_the_slow_reference_draws(max_seq_length, short_seq_prob):
    """Sentences of 1 to 30 tokens, documents of 1 to 20 sentences, given out of order."""
    lengths = np.random.default_rng(7)
    sources = [
        [lengths.integers(1, 31, lengths.integers(1, 21)).tolist() for _ in range(2)]
        for _ in range(12)
    ]
    corpus = make_corpus({"aa": [[[3, 4]]], "bb": sources})
    documents = np.random.default_rng(1).permutation(np.arange(1, 25))[:18]
    candidates = np.arange(1, 25)
    rules = PairRules(max_seq_length, short_seq_prob)
    rng = Recorder(3)
    pairs = draw_pairs(corpus, documents, candidates, rules, rng)
    wanted = slow_pairs(corpus, documents, candidates, rules, rng.given)
    found = [
        (list(range(a, b)), list(range(c, d)), bool(random)) for a, b, c, d, random in zip(*pairs)
    ]
    assert found == wanted
    assert len(found) > 50
    assert [field.dtype for field in pairs] == [np.int64] * 4 + [bool]


def test_the_longer_side_is_cut_ties_from_the_second():
    """All lengths up to 30, against removing one token after the other."""
    for most in (2, 3, 7, 8, 20):
        a, b = (grid.reshape(-1) for grid in np.mgrid[1:31, 1:31])
        found = np.stack(truncated_lengths(a, b, most), axis=1).tolist()
        for (x, y), kept in zip(zip(a.tolist(), b.tolist()), found, strict=True):
            while x + y > most:
                if x > y:
                    x -= 1
                else:
                    y -= 1
            assert kept == [x, y]
            assert min(kept) >= 1


def test_pieces_go_from_either_end_equally_often():
    """Two sentences of 30 tokens, room for 21: 39 tokens of each pair go.

    Each goes at the front with probability 1/2, so that of n pairs binomial(39 n, 1/2) do. A
    segment of which one end stays whole would need 19 equal coins, one in 260,000.
    """
    corpus = make_corpus({"en": [[[30, 30]]] * 400})
    documents = np.arange(400)
    pairs = draw_pairs(corpus, documents, documents, PairRules(24, 0), np.random.default_rng(0))
    front = (pairs.a_start % 30).sum() + (pairs.b_start % 30).sum()
    count = len(pairs.a_start)
    assert within_five_sigma(front, 39 * count, 0.5)
    assert set(pairs.a_end - pairs.a_start) == {11}
    assert set(pairs.b_end - pairs.b_start) == {10}
    starts, ends = pairs.a_start % 30, 30 - pairs.a_end % 30
    assert ((starts > 0) & (starts < 19)).mean() > 0.99
    assert (starts + ends == 19).all()


def one_piece_sentences(documents, sentences):
    """Sentences of one piece: a chunk is exactly as long as its target, and nothing is cut."""
    return make_corpus({"en": [[[1] * sentences]] * documents})


def test_half_of_the_pairs_are_random_where_a_chunk_has_two_sentences():
    """Chunks of one sentence, which start at the last one of a document, are always random.

    Of the others, about 5,000, binomial(n, 1/2) are.
    """
    corpus = one_piece_sentences(600, 100)
    documents = np.arange(600)
    pairs = draw_pairs(corpus, documents, documents, PairRules(23, 0), np.random.default_rng(0))
    single = pairs.a_start % 100 == 99
    assert single.any()
    assert pairs.is_random[single].all()
    assert (~single).sum() > 4000
    assert within_five_sigma(pairs.is_random[~single].sum(), (~single).sum(), 0.5)


def test_the_first_segment_ends_anywhere_in_the_chunk():
    """Chunks of 20 sentences are divided after 1 to 19 of them, each with probability 1/19."""
    corpus = one_piece_sentences(3000, 20)
    documents = np.arange(3000)
    pairs = draw_pairs(corpus, documents, documents, PairRules(23, 0), np.random.default_rng(0))
    whole = pairs.a_start % 20 == 0  # a document's first chunk
    assert whole.sum() == 3000
    counts = np.bincount((pairs.a_end - pairs.a_start)[whole], minlength=21)
    assert counts[0] == counts[20] == 0
    assert all(within_five_sigma(count, 3000, 1 / 19) for count in counts[1:20])


@pytest.mark.parametrize("probability", [0.1, 1.0])
def test_a_tenth_of_the_documents_is_cut_shorter_once_for_all_its_chunks(probability):
    """Of pairs that follow each other, not at the document's end, the length is the target.

    Each document has such a pair: else some twenty coins had all shown "random". A short target
    is 2 to 20, each with probability 1/19, and 20 is also the full one: so of the documents
    0.1 / 19 have each shorter length, and with short_seq_prob 1 each length has its 19th.
    """
    corpus = one_piece_sentences(1000, 400)
    documents = np.repeat(np.arange(1000), 3)
    rules = PairRules(23, probability)
    pairs = draw_pairs(corpus, documents, documents, rules, np.random.default_rng(5))
    # A pass over a document ends with its last sentence: count the passes.
    last = (np.where(pairs.is_random, pairs.a_end, pairs.b_end) % 400) == 0
    passes = np.cumsum(last) - last
    inner = ~pairs.is_random & ~last
    lengths = (pairs.b_end - pairs.a_start)[inner]
    targets: dict[int, int] = {}
    for number, length in zip(passes[inner].tolist(), lengths.tolist()):
        assert targets.setdefault(number, length) == length
    assert len(targets) == 3000
    counts = np.bincount(list(targets.values()), minlength=21)
    assert counts[2:].sum() == 3000
    assert within_five_sigma(counts[2:20].sum(), 3000, probability * 18 / 19)
    assert all(within_five_sigma(count, 3000, probability / 19) for count in counts[2:20])


def test_two_passes_draw_two_ways_and_a_seed_repeats():
    corpus = one_piece_sentences(50, 40)
    documents = np.arange(50)

    def draw(seed):
        rng = np.random.default_rng(seed)
        return np.stack(draw_pairs(corpus, documents, documents, PairRules(23), rng), dtype=int)

    assert (draw(1) == draw(1)).all()
    first, second = draw(1), draw(2)
    assert first.shape != second.shape or (first != second).any()


def test_random_segments_are_of_candidates_of_other_sources_equally_likely():
    """Three sources with 1, 2 and 5 documents, and as many in a group that is not asked for.

    Beside the first one each of the 7 others has 1/7; beside those of the last source each of
    the 3 others has 1/3. Segments start at any of the 10 sentences.
    """
    sources = [[[1] * 10] * n for n in (1, 2, 5)]
    corpus = make_corpus({"aa": sources, "en": sources})
    own = np.arange(8, 16)
    pairs = draw_pairs(corpus, np.tile(own, 800), own, PairRules(13, 0), np.random.default_rng(0))
    a_document = document_of(corpus, pairs.a_start)
    b_document = document_of(corpus, pairs.b_start)
    assert (a_document == b_document)[~pairs.is_random].all()
    random = pairs.is_random
    assert (corpus.sources[a_document] != corpus.sources[b_document])[random].all()
    assert (corpus.groups[b_document] == 1).all()
    for these, others in ((a_document == 8, range(9, 16)), (a_document > 10, range(8, 11))):
        drawn = b_document[random & these]
        counts = np.bincount(drawn, minlength=16)
        assert len(drawn) > 500
        assert all(within_five_sigma(counts[i], len(drawn), 1 / len(others)) for i in others)
    starts = np.bincount(pairs.b_start[random] % 10, minlength=10)
    assert all(within_five_sigma(count, random.sum(), 0.1) for count in starts)


def test_one_source_that_outweighs_all_others_still_finds_them():
    """999 of 1001 documents are of one source, so that trying again would take 500 rounds."""
    corpus = make_corpus({"en": [[[2]] * 999, [[2]], [[2]]]})
    documents = np.arange(1001)
    pairs = draw_pairs(corpus, documents, documents, PairRules(), np.random.default_rng(0))
    assert pairs.is_random.all()
    found = document_of(corpus, pairs.b_start)[:999]
    assert within_five_sigma((found == 999).sum(), 999, 0.5)
    assert set(found) == {999, 1000}


def test_only_candidates_are_random_segments():
    corpus = one_piece_sentences(20, 10)
    pairs = draw_pairs(
        corpus, np.arange(20), np.array([4, 17]), PairRules(), np.random.default_rng(0)
    )
    assert set(document_of(corpus, pairs.b_start[pairs.is_random])) == {4, 17}


@pytest.mark.parametrize("candidates", [[0, 1], []])
def test_without_another_source_nothing_can_be_random(candidates):
    corpus = make_corpus({"en": [[[2], [2]]]})
    with pytest.raises(BertError, match="en has one source only"):
        draw_pairs(
            corpus, np.arange(2), np.array(candidates), PairRules(), np.random.default_rng(0)
        )


def test_no_documents_no_pairs():
    corpus = make_corpus({"en": [[[2], [2]]]})
    none = np.array([], np.int64)
    pairs = draw_pairs(corpus, none, np.arange(2), PairRules(), np.random.default_rng(0))
    assert [len(field) for field in pairs] == [0] * 5


@pytest.mark.parametrize("seed", range(3))
def test_examples_are_put_together_with_their_segments(seed):
    """Against lists: [CLS] A [SEP] of segment 0, B [SEP] of segment 1, the rest 0."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(10, 1000, 500).astype(np.uint16)
    starts = rng.integers(0, 480, (2, 40))
    sizes = rng.integers(1, 9, (2, 40))
    starts[1, 0], sizes[1, 0] = 492, 8  # the end of the corpus
    starts[0, 1] = 0
    sizes[:, 2] = 8, 9  # no padding
    a, b = starts
    pairs = Pairs(a, a + sizes[0], b, b + sizes[1], np.zeros(40, bool))
    token_input, seg_input, lengths = assemble(tokens, pairs, 20, cls_id=2, sep_id=3)
    assert [array.dtype for array in (token_input, seg_input, lengths)] == [np.int32] * 3
    for row in range(40):
        first = [2, *tokens[a[row] : a[row] + sizes[0, row]].tolist(), 3]
        second = [*tokens[b[row] : b[row] + sizes[1, row]].tolist(), 3]
        padding = [0] * (20 - len(first) - len(second))
        assert token_input[row].tolist() == first + second + padding
        assert seg_input[row].tolist() == [0] * len(first) + [1] * len(second) + padding
        assert lengths[row] == len(first) + len(second)
    with pytest.raises(BertError, match="20 tokens, more than 19"):
        assemble(tokens, pairs, 19, cls_id=2, sep_id=3)


def test_whole_examples_fit_and_keep_their_order():
    """Places as ids: each segment of an example counts up by one."""
    corpus = make_corpus({"en": [[[7, 3, 12, 30, 1]]] * 30})
    documents = np.arange(30)
    pairs = draw_pairs(corpus, documents, documents, PairRules(24), np.random.default_rng(0))
    token_input, seg_input, lengths = assemble(corpus.tokens, pairs, 24, cls_id=2, sep_id=3)
    assert (lengths <= 24).all()
    assert ((token_input == 3).sum(axis=1) == 2).all()
    steps = np.diff(token_input, axis=1)
    inner = (token_input[:, 1:] >= FIRST) & (token_input[:, :-1] >= FIRST)
    assert (steps[inner] == 1).all()
    assert ((seg_input == 1) & (token_input == 0)).sum() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_seq_length": 4}, "max_seq_length is 4"),
        ({"short_seq_prob": 1.5}, "short_seq_prob is 1.5"),
        ({"short_seq_prob": -0.1}, "short_seq_prob is -0.1"),
    ],
)
def test_rules_without_meaning_are_refused(arguments, message):
    with pytest.raises(BertError, match=message):
        PairRules(**arguments)
