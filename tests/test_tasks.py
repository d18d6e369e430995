"""Masked words and next sentence, against the golden probabilities and against brute force."""

import dataclasses
import itertools
import json
import math
import os
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

import bert_tf
from bert_tf.errors import BertError
from bert_tf.runtime.predictor import Predictor
from bert_tf.tasks import FillMask, NextSentence
from bert_tf.text import pack

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
GOLDEN = Path(__file__).parent / "golden"
TWO = "Мама мыла [MASK], и кошка [MASK] дом."


@pytest.fixture(scope="module")
def bert():
    return bert_tf.load(GOLDEN / "tiny_ckpt")


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "tiny_golden.npz"))


@pytest.fixture(scope="module")
def probabilities(bert):
    """Probabilities at the masks of [CLS] ids [SEP], by the dense pretraining model."""
    model = Predictor(bert.pretraining_model())

    def run(ids):
        row = np.array([[bert.vocab.cls_id, *ids, bert.vocab.sep_id]], np.int32)
        asked = (row == bert.vocab.mask_id).astype(np.int32)
        inputs = {"token_input": row, "seg_input": row * 0, "mask_input": asked}
        return model(inputs)[0][0][asked[0] == 1]

    return run


def ids_of(bert, text):
    return list(bert.mask_tokenizer.encode(text).ids)


def test_golden_row(bert, golden):
    """Row 0 of the golden data is this very text, padded to 64; its two masks stand at 3 and 7."""
    result = FillMask(bert, top_k=5)(TWO)
    assert result.mode == "independent"
    for number, position in enumerate((3, 7)):
        place = list(golden["masked_lm_positions"][0]).index(position)
        expected = np.exp(golden["mlm_log_probs"][0, place])
        guesses = result.masks[number].guesses
        offered = [i for i in np.argsort(-expected) if bert.vocab.offerable[i]][:5]
        assert [guess.word for guess in guesses] == [bert.vocab.token(i) for i in offered]
        np.testing.assert_allclose([g.probability for g in guesses], expected[offered], atol=1e-5)


def test_places_and_filled_texts(bert):
    result = FillMask(bert, top_k=2, whole_words=True)(TWO)
    assert [TWO[mask.start : mask.end] for mask in result.masks] == ["[MASK]", "[MASK]"]
    first, second = (mask.guesses[0] for mask in result.masks)
    assert first.text == TWO.replace("[MASK]", first.word, 1)
    assert result.filled == first.text.replace("[MASK]", second.word, 1)


def test_a_continuation_is_glued_to_the_word_before_it(bert):
    guesses = FillMask(bert, top_k=40)(TWO).masks[0].guesses
    glued = next(guess for guess in guesses if guess.word.startswith("##"))
    assert glued.text == f"Мама мыла{glued.word[2:]}, и кошка [MASK] дом."


def test_whole_words_only_where_a_mask_stands_alone(bert, probabilities):
    text = "the dog[MASK] and [MASK] man"
    result = FillMask(bert, top_k=5, whole_words=True)(text)
    assert not any(guess.word.startswith("##") for guess in result.masks[1].guesses)
    assert any(guess.word.startswith("##") for guess in result.masks[0].guesses)
    # What is left out does not make the rest more probable.
    expected = probabilities(ids_of(bert, text))[1]
    for guess in result.masks[1].guesses:
        np.testing.assert_allclose(
            guess.probability, expected[bert.vocab.id(guess.word)], rtol=1e-3
        )


def test_special_tokens_are_never_offered(bert):
    words = {guess.word for guess in FillMask(bert, top_k=1000)("the [MASK]").masks[0].guesses}
    assert len(words) == bert.vocab.offerable.sum()
    assert not words & {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def test_one_after_another_by_brute_force(bert, probabilities):
    """Fills the surer mask first, then asks again for the other with that word in its place."""
    ids = ids_of(bert, TWO)
    places = [i for i, piece in enumerate(ids) if piece == bert.vocab.mask_id]
    offered = bert.vocab.offerable
    first = np.where(offered, probabilities(ids), 0)
    surer = int(first.max(1)[1] > first.max(1)[0])
    ids[places[surer]] = int(first[surer].argmax())
    second = np.where(offered, probabilities(ids)[0], 0)
    result = FillMask(bert, mode="sequential")(TWO)
    assert result.mode == "sequential"
    best = [mask.guesses[0] for mask in result.masks]
    assert best[surer].word == bert.vocab.token(int(first[surer].argmax()))
    assert best[1 - surer].word == bert.vocab.token(int(second.argmax()))
    np.testing.assert_allclose(best[1 - surer].probability, second.max(), rtol=1e-3)


def test_joint_by_brute_force(bert, probabilities):
    """The beam follows the 5 best words of the first mask; so does this, without a beam."""
    ids = ids_of(bert, TWO)
    places = [i for i, piece in enumerate(ids) if piece == bert.vocab.mask_id]
    offered = bert.vocab.offerable
    first = np.where(offered, probabilities(ids)[0], 0)
    found = {}
    for a in np.argsort(-first)[:5]:
        ids[places[0]] = int(a)
        second = np.where(offered, probabilities(ids)[0], 0)
        for b in np.argsort(-second)[:5]:
            found[bert.vocab.token(int(a)), bert.vocab.token(int(b))] = first[a] * second[b]
    expected = sorted(found.items(), key=lambda item: -item[1])[:3]
    result = FillMask(bert, top_k=3, mode="joint")(TWO)
    assert [combination.words for combination in result.combinations] == [w for w, _ in expected]
    np.testing.assert_allclose(
        [combination.probability for combination in result.combinations],
        [p for _, p in expected],
        rtol=1e-3,
    )
    assert result.filled == result.combinations[0].text
    assert [len(mask.guesses) for mask in result.masks] == [3, 3]


def test_candidates_of_one_and_of_several_pieces(bert, probabilities):
    """Scored token by piece: "Größe" is one token, "dogs" is dog ##s."""
    text = "the [MASK] was in London"
    words = ["man", "dogs", "Größe"]
    assert [len(bert.tokenizer.encode(word).ids) for word in words] == [1, 2, 1]
    ids, mask = ids_of(bert, text), bert.vocab.mask_id
    one = probabilities(ids)[0]
    dog, s = bert.tokenizer.encode("dogs").ids
    at = ids.index(mask)
    two = [*ids[:at], mask, mask, *ids[at + 1 :]]
    p_dog = probabilities(two)[0][dog]
    two[at] = dog
    p_s = probabilities(two)[0][s]
    expected = {
        "man": one[bert.vocab.id("man")],
        "Größe": one[bert.vocab.id("Größe")],
        "dogs": np.sqrt(p_dog * p_s),
    }
    guesses = FillMask(bert, candidates=words)(text).masks[0].guesses
    assert {guess.word for guess in guesses} == set(words)
    for guess in guesses:
        np.testing.assert_allclose(guess.probability, expected[guess.word], rtol=1e-3)
    scores = [guess.probability for guess in guesses]
    assert scores == sorted(scores, reverse=True)
    assert guesses[0].text == text.replace("[MASK]", guesses[0].word)


def test_words_of_up_to_two_pieces_by_brute_force(bert, probabilities):
    text = "the [MASK] was in London"
    ids, mask = ids_of(bert, text), bert.vocab.mask_id
    at = ids.index(mask)
    starts = bert.vocab.offerable & ~bert.vocab.continuation
    goes_on = bert.vocab.offerable & bert.vocab.continuation
    one = np.where(starts, probabilities(ids)[0], 0)
    found = {bert.vocab.token(int(i)): one[i] for i in np.argsort(-one)[:5]}
    two = [*ids[:at], mask, mask, *ids[at + 1 :]]
    first = np.where(starts, probabilities(two)[0], 0)
    for a in np.argsort(-first)[:5]:
        two[at] = int(a)
        second = np.where(goes_on, probabilities(two)[0], 0)
        for b in np.argsort(-second)[:5]:
            word = bert.vocab.token(int(a)) + bert.vocab.token(int(b))[2:]
            found[word] = np.sqrt(first[a] * second[b])
    expected = sorted(found, key=lambda word: -found[word])[:5]
    guesses = FillMask(bert, max_pieces=2)(text).masks[0].guesses
    assert [guess.word for guess in guesses] == expected
    np.testing.assert_allclose(
        [guess.probability for guess in guesses], [found[word] for word in expected], rtol=1e-3
    )


def test_batches_and_single_texts_agree(bert):
    texts = [("the man " * n + "[MASK] .").strip() for n in (1, 9, 3, 20, 1)]
    fill = FillMask(bert, batch_size=2)
    together, alone = fill(texts), [fill(text) for text in texts]
    for a, b in zip(together, alone, strict=True):
        assert a.text == b.text
        assert [g.word for g in a.masks[0].guesses] == [g.word for g in b.masks[0].guesses]


def test_a_pair_inside_a_text(bert, probabilities):
    """A [SEP] inside starts the second segment; outer [CLS] and [SEP] may be written or not."""
    plain = FillMask(bert)("the man [SEP] the [MASK]")
    written = FillMask(bert)("[CLS] the man [SEP] the [MASK] [SEP]")
    words = [[g.word for g in result.masks[0].guesses] for result in (plain, written)]
    assert words[0] == words[1]
    man, the = bert.vocab.id("man"), bert.vocab.id("the")
    row = [
        bert.vocab.cls_id,
        the,
        man,
        bert.vocab.sep_id,
        the,
        bert.vocab.mask_id,
        bert.vocab.sep_id,
    ]
    inputs = {
        "token_input": np.array([row]),
        "seg_input": np.array([[0, 0, 0, 0, 1, 1, 1]]),
        "mask_input": np.array([[0, 0, 0, 0, 0, 1, 0]]),
    }
    dense = Predictor(bert.pretraining_model())(inputs)[0][0, 5]
    np.testing.assert_allclose(plain.masks[0].guesses[0].probability, dense.max(), rtol=1e-3)


def test_a_mask_glued_to_letters(bert):
    result = FillMask(bert)("the[MASK]man")
    assert (result.masks[0].start, result.masks[0].end) == (3, 9)


@pytest.mark.parametrize("text", ["no mask here", "", "a [mask] in small letters"])
def test_a_text_without_a_mask(bert, text):
    with pytest.raises(bert_tf.BertError, match=r"there is no \[MASK\]"):
        FillMask(bert)(text)


def test_too_long_is_an_error_that_names_length_and_limit(bert):
    """40 x "the man" are 80 tokens; with [MASK], [CLS] and [SEP] 83; the model takes 64."""
    long = "the man " * 40 + "[MASK]"
    with pytest.raises(bert_tf.BertError, match=r"83 tokens.*takes 64"):
        FillMask(bert)(long)


def test_a_long_text_in_windows(bert):
    """The window with the most context is chosen.

    The mask stands at token 80 of 161. Windows have 62 tokens and start every 31: from 62 on
    there are 18 tokens before the mask, from 31 on only 12 after it, so the former is asked.
    """
    words = ["the", "man", "was", "in", "London"] * 32
    text = " ".join([*words[:80], "[MASK]", *words[80:160]])
    window = " ".join([*words[62:80], "[MASK]", *words[80:123]])
    whole = FillMask(bert, too_long="window", stride=31)(text)
    alone = FillMask(bert)(window)
    assert [g.word for g in whole.masks[0].guesses] == [g.word for g in alone.masks[0].guesses]
    assert whole.text == text


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mode": "x"}, "one of independent, sequential, joint"),
        ({"top_k": 0}, "top_k is 0; it must be at least 1"),
        ({"top_k": 2**40}, "top_k is 1099511627776; it must be at most"),
        ({"max_pieces": math.nan}, "max_pieces is nan; it must be a whole number"),
        ({"stride": 1.5}, "stride is 1.5; it must be a whole number"),
        ({"batch_size": math.inf}, "batch_size is inf; it must be a whole number"),
        ({"batch_size": 10**9}, "batch_size is 1000000000; it must be at most"),
        ({"candidates": []}, "empty"),
        ({"candidates": "word"}, "list of words"),
        ({"candidates": ["ᚠᚢ"]}, "cannot be spelled"),
        ({"candidates": ["man"], "mode": "joint"}, "mask alone"),
        ({"max_pieces": 2, "candidates": ["man"]}, "leave `max_pieces` out"),
        ({"too_long": "cut"}, "error, window"),
    ],
)
def test_options_that_are_refused(bert, options, word):
    with pytest.raises(bert_tf.BertError, match=word):
        FillMask(bert, **options)


def test_stream_keeps_order_and_goes_on_after_a_bad_line(bert):
    fill = FillMask(bert, batch_size=2)
    texts = [f"the {'man ' * (n % 7)}[MASK]" for n in range(40)]
    texts[5] = "nothing asked"
    results = list(fill.stream(iter(texts), errors="yield"))
    assert isinstance(results[5], bert_tf.BertError)
    assert [r.text for r in results if not isinstance(r, bert_tf.BertError)] == [
        text for i, text in enumerate(texts) if i != 5
    ]
    with pytest.raises(bert_tf.BertError, match="nothing asked"):
        list(fill.stream(texts))


def test_stream_takes_no_more_than_it_needs(bert):
    taken = []

    def endless():
        for n in itertools.count():
            taken.append(n)
            yield "the [MASK]"

    assert next(FillMask(bert, batch_size=2).stream(endless())).text == "the [MASK]"
    assert len(taken) <= 64


def test_results_are_plain_data(bert):
    as_json = json.dumps(dataclasses.asdict(FillMask(bert)(TWO)), ensure_ascii=False)
    assert json.loads(as_json)["masks"][0]["guesses"][0]["pieces"]


def test_next_sentence_against_the_golden_row(bert, golden):
    """Row 1 of the golden data is a pair; index 0 of its probabilities is "B follows A"."""
    first = "Paris is the [MASK] of France."
    second = "Москва столица России, [MASK] город!"
    ids = [bert.mask_tokenizer.encode(text).ids for text in (first, second)]
    row = pack(*ids, vocab=bert.vocab, max_length=64)
    assert row.token_ids == golden["input_ids"][1][: len(row.token_ids)].tolist()
    inputs = {
        "token_input": np.array([row.token_ids]),
        "seg_input": np.array([row.segment_ids]),
    }
    found = Predictor(bert.nsp_model())(inputs)
    np.testing.assert_allclose(found[0], golden["nsp_probs"][1], atol=1e-5)


def test_next_sentence_one_pair_and_many(bert):
    judge = NextSentence(bert)
    pairs = [("the man", "the dog was"), ("Мама мыла", "дом и мир"), ("a", "b " * 20)]
    many = judge(pairs)
    for pair, result in zip(pairs, many, strict=True):
        alone = judge(*pair)
        assert (result.first, result.second) == pair
        np.testing.assert_allclose(result.probability, alone.probability, atol=1e-6)
        assert result.label == ("follows" if result.probability >= 0.5 else "random")
        ids = [bert.tokenizer.encode(text).ids for text in pair]
        row = pack(*ids, vocab=bert.vocab, max_length=64)
        logits = Predictor(bert.nsp_model(logits=True))(
            {"token_input": np.array([row.token_ids]), "seg_input": np.array([row.segment_ids])}
        )[0]
        # Two-way softmax by hand, "B follows A" being index 0.
        expected = 1 / (1 + np.exp(logits[1] - logits[0]))
        np.testing.assert_allclose(result.probability, expected, rtol=1e-4)


def test_next_sentence_takes_masks_in_a_text_as_text(bert):
    """Data cannot forge structure: "[SEP]" in a text is five tokens of punctuation and letters."""
    judge = NextSentence(bert)
    assert bert.vocab.sep_id not in bert.tokenizer.encode("the [SEP] man").ids
    assert judge("the [SEP] man", "a dog").probability != judge("the man", "a dog").probability


def test_next_sentence_cuts_what_is_too_long_and_says_so(bert):
    judge = NextSentence(bert)
    assert judge("the man " * 60, "a dog").cut
    assert not judge("the man", "a dog").cut


@pytest.mark.parametrize("pair", [("the man", ""), ("  ", "a dog")])
def test_next_sentence_needs_two_texts(bert, pair):
    with pytest.raises(bert_tf.BertError, match="empty"):
        NextSentence(bert)(*pair)


def test_next_sentence_of_something_else(bert):
    for batch_size in (0, math.nan, 10**9):
        with pytest.raises(bert_tf.BertError, match=f"batch_size is {batch_size}; it must be"):
            NextSentence(bert, batch_size=batch_size)
    with pytest.raises(bert_tf.BertError, match="pass two texts"):
        NextSentence(bert)("only one")
    with pytest.raises(bert_tf.BertError, match="no pair"):
        NextSentence(bert)([("a", "b", "c")])


@pytest.mark.parametrize("task", [bert_tf.FillMask, bert_tf.NextSentence, bert_tf.Classify])
def test_a_name_is_no_bert(task):
    with pytest.raises(bert_tf.BertError, match=r"takes what bert_tf\.load gives, not 'demo'"):
        task("demo")


def test_results_print_as_tables_and_show_themselves_in_notebooks(bert):
    """As the command prints them; in HTML nothing of a text is taken for markup."""
    answer = FillMask(bert, top_k=2)("the [MASK] of the house <b>&")
    guesses = answer.masks[0].guesses
    lines = str(answer).splitlines()
    assert lines[:3] == [answer.filled, "", "mask"]
    assert [line.split()[:2] for line in lines[3:]] == [
        [guess.word, f"{100 * guess.probability:.2f}"] for guess in guesses
    ]
    markup = answer._repr_html_()
    root = xml.etree.ElementTree.fromstring(f"<body>{markup}</body>")
    assert root.find("p").text == answer.filled
    cells = [[cell.text for cell in row] for row in root.iter("tr")]
    assert [row[:2] for row in cells] == [
        [guess.word, f"{100 * guess.probability:.2f} %"] for guess in guesses
    ]
    pair = NextSentence(bert)("the house", "it is")
    okay = f"Sentence is okay: {round(100 * pair.probability)} %"
    assert str(pair).splitlines()[0] == okay
    assert okay in pair._repr_html_()


@pytest.mark.parametrize("task", [FillMask, NextSentence])
@pytest.mark.parametrize("bad", [3, None, [3], [None], [["a"]], [("a", "b", "c")], [(1, 2)]])
def test_what_is_no_text_is_refused(task, bad, bert):
    with pytest.raises(BertError, match="text"):
        task(bert)(bad)
