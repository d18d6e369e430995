"""Start weights: complete; by chance as the original's, by statistics with the promised sense."""

import sys

import numpy as np
import pytest
from corpora import corpus_of

import bert_tf
from bert_tf import BertConfig
from bert_tf.checkpoint import write_checkpoint
from bert_tf.errors import BertError
from bert_tf.heads import weights_of
from bert_tf.text import SPECIAL_TOKENS, Vocabulary
from bert_tf.training.pretraining.spectral import (
    OFFSETS,
    PARTS,
    position_size,
    random_start,
    spectral_start,
)

VOCAB, CLASSES, FIRST = 167, 4, 5  # 40 tokens in each class, and two that do not occur
MASK = 4
CONFIG = BertConfig(
    vocab_size=VOCAB,
    hidden_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=96,
    max_position_embeddings=80,
    type_vocab_size=2,
)
WORDS = "bert/embeddings/word_embeddings"


def planted(seed=0, documents=120, length=300):
    """Texts where class follows class in turn: token FIRST + i is of class i % 4.

    The last two tokens never occur. What stands next to a token depends on its class alone.
    """
    rng = np.random.default_rng(seed)
    count = (VOCAB - 2 - FIRST) // CLASSES
    texts = []
    for _ in range(documents):
        classes = (np.arange(length) + rng.integers(CLASSES)) % CLASSES
        ids = FIRST + CLASSES * rng.integers(0, count, length) + classes
        texts.append([part.tolist() for part in np.split(ids, 10)])
    return corpus_of(texts, vocab_size=VOCAB)


@pytest.fixture(scope="module")
def corpus():
    return planted()


@pytest.fixture(scope="module")
def start(corpus):
    return spectral_start(CONFIG, corpus, mask_id=MASK)


@pytest.fixture(scope="module")
def outputs(start, corpus, tmp_path_factory):
    """What the model gives for eight texts of 64 tokens, some masked, from a written checkpoint."""
    folder = tmp_path_factory.mktemp("start")
    write_checkpoint(folder / "bert_model.ckpt", start)
    words = [f"w{number}" for number in range(VOCAB - len(SPECIAL_TOKENS))]
    bert = bert_tf.load(
        folder,
        config=CONFIG,
        vocab=Vocabulary.from_lines(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]),
        lower_case=False,
    )
    assert not bert.report.fresh
    ids = corpus.tokens[: 8 * 64].reshape(8, 64).copy()
    ids[:, ::7] = MASK
    model = bert.encoder_model(attention_probs=True, embeddings=True)
    found = model({"token_input": ids, "seg_input": np.zeros_like(ids)})
    return {name: np.asarray(value) for name, value in found.items()}


def shapes(start):
    return {name: value.shape for name, value in start.items()}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"num_hidden_layers": 1},
        {"hidden_size": 8, "num_attention_heads": 1},  # one head as wide as all
        {"hidden_size": 60, "num_attention_heads": 3},  # a quarter that is odd
        {"hidden_size": 72, "num_attention_heads": 36},  # heads of 2
        {"hidden_size": 240, "num_attention_heads": 12},  # more dimensions than tokens
        {"max_position_embeddings": 1, "type_vocab_size": 1},
    ],
    ids=str,
)
def test_both_starts_are_complete_for_every_size(corpus, change):
    config = CONFIG.replace(**change)
    expected = {weight.original: weight.shape for weight in weights_of(config, PARTS)}
    for found in (random_start(config), spectral_start(config, corpus, mask_id=MASK)):
        assert shapes(found) == expected
        for name, value in found.items():
            assert value.dtype == np.float32
            assert np.isfinite(value).all(), name
            if name.endswith("kernel"):
                # A column of zeros in query and key both, or in value and output, learns nothing.
                assert np.abs(value).max(axis=0).min() > 0 or "output/dense" in name, name


def test_the_random_start_is_the_originals():
    """The statistics are those of the cut distribution.

    Cut at 2, the deviation of a normal of 1 is sqrt(1 - 4 f(2) / (2 F(2) - 1)) = 0.8796, with
    density f(2) = 0.05399 and distribution F(2) = 0.97725. Of n numbers it is met to within
    4 / sqrt(2 n), the mean to within 4 * 0.88 / sqrt(n).
    """
    config = CONFIG.replace(hidden_size=256, initializer_range=0.05)
    for name, value in random_start(config, seed=3).items():
        last = name.rsplit("/", 1)[-1]
        if last == "gamma":
            assert (value == 1).all()
        elif last in ("beta", "bias", "output_bias"):
            assert (value == 0).all()
        else:
            n = value.size
            assert np.abs(value).max() <= 0.1 * (1 + 1e-6)
            assert value.std() == pytest.approx(0.05 * 0.8796, rel=4 / np.sqrt(2 * n))
            assert abs(value.mean()) < 4 * 0.05 * 0.88 / np.sqrt(n)


def test_a_seed_repeats_and_another_differs(corpus, start):
    again = spectral_start(CONFIG, corpus, mask_id=MASK)
    other = spectral_start(CONFIG, corpus, mask_id=MASK, seed=1)
    for name in start:
        np.testing.assert_array_equal(start[name], again[name], err_msg=name)
    assert not np.array_equal(start[WORDS][MASK], other[WORDS][MASK])
    first, second = random_start(CONFIG, 0), random_start(CONFIG, 1)
    for name in first:
        np.testing.assert_array_equal(first[name], random_start(CONFIG, 0)[name])
        assert np.array_equal(first[name], second[name]) == (len(set(first[name].ravel())) == 1)


def test_pieces_of_one_class_are_each_others_nearest(start):
    """The classes are all that neighbourhoods have in common, so they show; by chance 24 %."""
    table = start[WORDS][FIRST:-2]
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    near = table @ table.T
    same = np.arange(len(table)) % CLASSES == np.arange(len(table))[:, None] % CLASSES
    np.fill_diagonal(near, -1)
    order = np.argsort(-near, axis=1)[:, :5]
    assert np.take_along_axis(same, order, axis=1).mean() > 0.95


def test_the_tables_are_scaled_as_said(start):
    positions = position_size(CONFIG)
    assert positions == 32
    table = start[WORDS]
    seen, unseen = table[FIRST:-2, positions:], np.delete(table, np.s_[FIRST:-2], 0)[:, positions:]
    assert np.sqrt(np.mean(seen**2)) == pytest.approx(0.02, rel=1e-3)
    assert np.abs(table[:, :positions]).max() < 0.002 * 6
    usual = np.linalg.norm(seen, axis=1).mean()  # every token is about as frequent
    np.testing.assert_allclose(np.linalg.norm(unseen, axis=1), usual, rtol=0.02)
    assert not start["bert/embeddings/token_type_embeddings"][:, :positions].any()
    # Place 1: an angle of a quarter turn at the shortest wavelength, 4, and 0.6 degrees at 600.
    place = start["bert/embeddings/position_embeddings"][1]
    np.testing.assert_allclose(place[:2], [0.02, 0], atol=1e-7)
    np.testing.assert_allclose(place[30:32], 0.02 * np.array([0.010472, 0.999945]), rtol=1e-4)
    assert not place[32:].any()


@pytest.mark.parametrize("layer", [0, 1])
def test_heads_look_at_their_offset(outputs, layer):
    probs = outputs[f"attention_{layer}"]
    places = np.arange(6, 58)
    for head, offset in enumerate(OFFSETS[layer]):
        mean = {o: probs[:, head, places, places + o].mean() for o in range(-6, 7)}
        assert max(mean, key=mean.get) == offset
        assert 0.07 < mean[offset] < 0.14
        beyond = [share for o, share in mean.items() if abs(o - offset) > 1]
        assert max(beyond) < mean[offset] / 2


def test_at_a_mask_a_head_looks_no_sharper_than_elsewhere(outputs):
    """Every seventh token is [MASK]; its neighbours get as much from it as from others."""
    probs = outputs["attention_0"]
    for head, offset in enumerate(OFFSETS[0]):
        masked = probs[:, head, np.arange(7, 57, 7), np.arange(7, 57, 7) + offset].mean()
        assert 0.07 < masked < 0.14


def test_the_first_layers_read_pieces_and_leave_the_position_alone(start):
    positions, size = position_size(CONFIG), CONFIG.head_size
    for layer, scale in ((0, 1.0), (1, 0.5)):
        name = f"bert/encoder/layer_{layer}/attention"
        assert not start[f"{name}/self/query/kernel"][positions:].any()
        assert not start[f"{name}/self/key/kernel"][positions:].any()
        value = start[f"{name}/self/value/kernel"]
        output = start[f"{name}/output/dense/kernel"]
        assert not value[:positions].any()
        assert not output[:, :positions].any()
        for head in range(4):
            part = slice(head * size, (head + 1) * size)
            np.testing.assert_allclose(value[:, part].T @ value[:, part], np.eye(size), atol=1e-5)
            np.testing.assert_allclose(output[part], scale * value[:, part].T, atol=1e-6)


def test_heads_of_one_offset_read_different_parts(corpus):
    """Twelve heads: heads 0, 4 and 8 look at the same place; what they read is orthogonal."""
    config = CONFIG.replace(hidden_size=96, num_attention_heads=12)
    value = spectral_start(config, corpus, mask_id=MASK)[
        "bert/encoder/layer_0/attention/self/value/kernel"
    ]
    columns = [head * 8 + i for head in (0, 4, 8) for i in range(8)]
    together = value[:, columns].T @ value[:, columns]
    np.testing.assert_allclose(together, np.eye(24), atol=1e-5)


def test_the_masked_word_head_begins_with_frequencies():
    """One more of each is counted, and no [MASK].

    Tokens 5 and 6 ten times each, 7 five times of the 8: p(5) = 11 / 33 and p(7) = 6 / 33.
    """
    corpus = corpus_of([[[5, 6]] * 10 + [[7, MASK]] * 5], vocab_size=8)
    found = spectral_start(CONFIG.replace(vocab_size=8), corpus, mask_id=MASK)
    expected = np.log(np.array([1, 1, 1, 1, 1, 11, 11, 6]) / 33)
    np.testing.assert_allclose(found["cls/predictions/output_bias"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["cls/predictions/transform/dense/kernel"], np.eye(128))


def test_documents_held_out_change_nothing(corpus):
    """The start of a part of the corpus is that of a corpus which has only this part."""
    used = np.arange(120) < 60
    part = planted(documents=60)
    found = spectral_start(CONFIG, corpus, mask_id=MASK, documents=used)
    alone = spectral_start(CONFIG, part, mask_id=MASK)
    for name in found:
        np.testing.assert_allclose(found[name], alone[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("change", "mask_id", "message"),
    [
        ({"hidden_size": 4, "num_attention_heads": 2}, MASK, "hidden_size 4 .* no room"),
        ({"hidden_size": 8, "num_attention_heads": 8}, MASK, "no room .* 2 wide"),
        ({"vocab_size": 96}, MASK, "with 167 tokens, but vocab_size in the BERT config is 96"),
        ({}, VOCAB, "mask_id=167 is not in the vocabulary.*0 to 166"),
        ({}, -1, "mask_id=-1 is not in the vocabulary"),
    ],
)
def test_what_does_not_fit_is_refused(corpus, change, mask_id, message):
    with pytest.raises(BertError, match=message):
        spectral_start(CONFIG.replace(**change), corpus, mask_id=mask_id)


def test_too_little_text_is_refused():
    corpus = corpus_of([[[5, 6, 7]]], vocab_size=VOCAB)
    with pytest.raises(BertError, match="take more text"):
        spectral_start(CONFIG, corpus, mask_id=MASK)


def test_without_scikit_learn_it_says_what_to_install(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.utils.extmath", None)
    with pytest.raises(BertError, match=r"pip install 'bert_tf\[train\]'"):
        spectral_start(CONFIG, corpus, mask_id=MASK)
