"""The models against the outputs of Google's original code, on whichever backend is chosen.

`test_backends.py` runs this file again on JAX and OpenVINO.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
import reference

import bert_tf
from bert_tf.config import BertConfig
from bert_tf.runtime.predictor import Predictor

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-4
OUTPUTS = {"layers": "all", "embeddings": True, "attention_mask": True}


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "tiny_golden.npz"))


@pytest.fixture(scope="module")
def bert():
    return bert_tf.load(GOLDEN / "tiny_ckpt")


def real_rows(golden):
    """All rows but the one that is all padding, which the original's float32 itself blurs."""
    return [i for i, name in enumerate(golden["row_names"]) if name != "edge_all_zero_mask"]


def inputs_of(golden, **more):
    return {
        "token_input": golden["input_ids"],
        "seg_input": golden["segment_ids"],
        "attention_mask": golden["input_mask"],
        **more,
    }


def largest(a, b):
    return float(np.abs(np.asarray(a, np.float64) - b).max())


def test_every_layer(bert, golden):
    found = Predictor(bert.encoder_model(**OUTPUTS))(inputs_of(golden))
    rows = real_rows(golden)
    assert len(rows) == len(golden["row_names"]) - 1
    assert largest(found["embedding_output"], golden["embedding_output"]) < TOLERANCE
    for i, expected in enumerate(golden["all_encoder_layers"]):
        assert largest(found[f"layer_{i}"][rows], expected[rows]) < TOLERANCE
    assert largest(found["sequence_output"][rows], golden["sequence_output"][rows]) < TOLERANCE
    assert largest(found["pooled_output"], golden["pooled_output"]) < TOLERANCE


def test_a_row_of_padding_stays_near_the_original(bert, golden):
    """Scores of -10000 leave float32 steps of 1e-3, so this row is only near; and never NaN."""
    found = Predictor(bert.encoder_model(**OUTPUTS))(inputs_of(golden))
    row = list(golden["row_names"]).index("edge_all_zero_mask")
    assert np.isfinite(found["sequence_output"][row]).all()
    assert largest(found["sequence_output"][row], golden["sequence_output"][row]) < 2e-3


def test_logits_of_both_heads(bert, golden):
    ask = np.zeros_like(golden["input_ids"])
    np.put_along_axis(ask, golden["masked_lm_positions"], 1, axis=1)
    model = bert.pretraining_model(logits=True, attention_mask=True)
    mlm, nsp = Predictor(model)(inputs_of(golden, mask_input=ask))
    at_positions = np.take_along_axis(mlm, golden["masked_lm_positions"][:, :, None], axis=1)
    assert largest(at_positions, golden["mlm_logits"]) < TOLERANCE
    assert largest(nsp, golden["nsp_logits"]) < TOLERANCE


def test_probabilities_of_both_heads(bert, golden):
    ask = np.zeros_like(golden["input_ids"])
    np.put_along_axis(ask, golden["masked_lm_positions"], 1, axis=1)
    model = bert.pretraining_model(attention_mask=True)
    assert model.output_names == ["mlm", "nsp"]
    mlm, nsp = Predictor(model)(inputs_of(golden, mask_input=ask))
    at_positions = np.take_along_axis(mlm, golden["masked_lm_positions"][:, :, None], axis=1)
    assert largest(at_positions, np.exp(golden["mlm_log_probs"])) < TOLERANCE
    assert largest(nsp, golden["nsp_probs"]) < TOLERANCE
    assert not mlm[ask == 0].any()


def test_gathered_positions_give_the_same_logits(bert, golden):
    inputs = inputs_of(golden, position_input=golden["masked_lm_positions"])
    model = bert.mlm_model(max_predictions=None, output="logits", attention_mask=True)
    assert largest(Predictor(model)(inputs), golden["mlm_logits"]) < TOLERANCE


def test_every_token_is_scored_by_naming_its_position(bert, golden):
    """The way out that the refusal of an attention mask as `mask_input` names."""
    score = bert.predictor("mlm", max_predictions=None, attention_mask=True)
    rows, length = golden["input_ids"].shape
    every = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    found = score(inputs_of(golden, position_input=every))
    assert found.shape == (rows, length, bert.config.vocab_size)
    at_positions = np.take_along_axis(found, golden["masked_lm_positions"][:, :, None], axis=1)
    assert largest(at_positions, np.exp(golden["mlm_log_probs"])) < TOLERANCE


def test_nsp_model(bert, golden):
    model = bert.nsp_model(logits=True, attention_mask=True)
    assert largest(Predictor(model)(inputs_of(golden)), golden["nsp_logits"]) < TOLERANCE


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_trimmed_row_agrees_with_the_padded_one(bert, golden, row):
    """No attention mask passed: padding is what is 0 in `token_input`."""
    length = int(golden["lengths"][row])
    model = Predictor(bert.encoder_model())
    both = []
    for stop in (length, golden["input_ids"].shape[1]):
        ids, segments = (golden[k][row : row + 1, :stop] for k in ("input_ids", "segment_ids"))
        both.append(model({"token_input": ids, "seg_input": segments}))
    trimmed, padded = both
    assert trimmed["sequence_output"].shape == golden[f"trim{row}_sequence_output"].shape
    assert largest(trimmed["sequence_output"], golden[f"trim{row}_sequence_output"]) < TOLERANCE
    assert largest(padded["sequence_output"][:, :length], trimmed["sequence_output"]) < TOLERANCE
    assert largest(trimmed["pooled_output"], golden[f"trim{row}_pooled_output"]) < TOLERANCE


@pytest.fixture(scope="module")
def erf():
    return dict(np.load(GOLDEN / "tiny_golden_erf.npz"))


def check_erf(model, golden, erf):
    found = Predictor(model)(inputs_of(golden))
    rows = real_rows(golden)
    for i, expected in enumerate(erf["all_encoder_layers"]):
        assert largest(found[f"layer_{i}"][rows], expected[rows]) < TOLERANCE
    # The two gelus differ by 2e-3 here: a mix-up cannot pass.
    assert largest(found["sequence_output"][rows], golden["sequence_output"][rows]) > 1e-3


def test_exact_gelu(golden, erf):
    bert = bert_tf.load(GOLDEN / "tiny_ckpt", hidden_act="gelu_exact")
    check_erf(bert.encoder_model(**OUTPUTS), golden, erf)
    inputs = inputs_of(golden, position_input=golden["masked_lm_positions"])
    model = bert.mlm_model(max_predictions=None, output="logits", attention_mask=True)
    rows = real_rows(golden)
    assert largest(Predictor(model)(inputs)[rows], erf["mlm_logits"][rows]) < TOLERANCE
    nsp = Predictor(bert.nsp_model(logits=True, attention_mask=True))(inputs_of(golden))
    assert largest(nsp[rows], erf["nsp_logits"][rows]) < TOLERANCE


def test_exact_gelu_after_a_round_trip_with_unequal_dropout(golden, erf, tmp_path):
    config = BertConfig.from_file(GOLDEN / "tiny_ckpt/bert_config.json").replace(
        hidden_act="gelu_exact", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.05
    )
    bert = bert_tf.load(GOLDEN / "tiny_ckpt", config=config)
    bert.encoder_model(**OUTPUTS).save(tmp_path / "erf.keras")
    model = keras.saving.load_model(tmp_path / "erf.keras")
    check_erf(model, golden, erf)
    layer = model.get_layer("transformer_layer_1")
    assert (layer.dropout, layer.attention_dropout) == (0.3, 0.05)
    assert layer.attention.probs_dropout.rate == 0.05
    assert layer.output_residual_dropout.rate == 0.3
    assert model.get_layer("embeddings_dropout").rate == 0.3


def test_the_reference_of_these_tests_agrees_with_the_original(golden):
    """So that it may stand in for the original where there is no golden data."""
    with bert_tf.checkpoint.CheckpointReader(GOLDEN / "tiny_ckpt/bert_model.ckpt") as reader:
        w = {name: reader.read(name).astype(np.float64) for name in reader.tensors}
    layers = reference.encode(
        w, 4, golden["input_ids"], golden["segment_ids"], golden["input_mask"]
    )
    rows = real_rows(golden)
    assert largest(layers[-1][rows], golden["sequence_output"][rows]) < 1e-5
    pooled = reference.pool(w, layers[-1])
    assert largest(reference.nsp_logits(w, pooled)[rows], golden["nsp_logits"][rows]) < 1e-5


def test_twelve_layers_in_their_numerical_order(tmp_path):
    """As strings, layer_10 and layer_11 sort before layer_2; every layer here is different."""
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=12,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        type_vocab_size=2,
    )
    rng = np.random.default_rng(7)
    weights = reference.random_weights(
        rng, vocab=50, hidden=16, layers=12, intermediate=32, positions=12
    )
    vocab = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + b"".join(b"p%d\n" % i for i in range(45))
    bert_tf.checkpoint.write_release(tmp_path / "deep_cased", config, vocab, weights)
    bert = bert_tf.load(tmp_path / "deep_cased")
    ids = rng.integers(1, 50, (3, 12))
    ids[1, 8:] = 0
    segments = (np.arange(12) > 5).astype(int) * (ids != 0)
    wide = {name: value.astype(np.float64) for name, value in weights.items()}
    expected = reference.encode(wide, 2, ids, segments, (ids != 0).astype(float))
    found = Predictor(bert.encoder_model(layers="all"))({"token_input": ids, "seg_input": segments})
    for i in range(12):
        assert largest(found[f"layer_{i}"], expected[i + 1]) < TOLERANCE
    assert largest(expected[3], expected[11]) > 0.1
