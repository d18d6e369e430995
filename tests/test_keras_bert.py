"""What code written for keras-bert calls, against the original's outputs."""

from pathlib import Path

import numpy as np
import pytest

import bert_tf
from bert_tf.errors import BertError

TINY = Path(__file__).parent / "golden" / "tiny_ckpt"
FILES = (TINY / "bert_config.json", TINY / "bert_model.ckpt")


@pytest.fixture(scope="module")
def golden():
    """Rows whose attention mask is that of their padding, without the one that is all padding."""
    found = np.load(TINY.parent / "tiny_golden.npz")
    usual = (found["input_mask"] == (found["input_ids"] != 0)).all(axis=1)
    usual &= found["input_mask"].any(axis=1)
    assert usual.sum() >= 4
    arrays = {k: found[k] for k in ("input_ids", "segment_ids", "masked_lm_positions")}
    arrays |= {k: found[k] for k in ("mlm_log_probs", "nsp_probs")}
    return {k: v[usual] for k, v in arrays.items()} | {
        "layers": found["all_encoder_layers"][:, usual]
    }


def test_training_gives_the_three_input_model(golden):
    model = bert_tf.load_trained_model_from_checkpoint(*FILES, training=True)
    assert model.trainable
    ids, positions = golden["input_ids"], golden["masked_lm_positions"]
    asked = np.zeros_like(ids)
    np.put_along_axis(asked, positions, 1, axis=1)
    mlm, nsp = model.predict([ids, golden["segment_ids"], asked], verbose=0)
    at = np.take_along_axis(mlm, positions[..., None], axis=1)
    np.testing.assert_allclose(at, np.exp(golden["mlm_log_probs"]), atol=1e-5)
    np.testing.assert_allclose(nsp, golden["nsp_probs"], atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "layers"), [(1, [2]), (2, [1, 2]), (9, [0, 1, 2]), ([-1, -3], [0, 2])]
)
def test_without_training_it_gives_the_encoder(golden, asked, layers):
    """Of several layers the outputs are concatenated, the last at the end."""
    model = bert_tf.load_trained_model_from_checkpoint(
        *map(str, FILES), output_layer_num=asked, seq_len=16
    )
    assert not model.trainable
    found = model.predict([golden["input_ids"], golden["segment_ids"]], verbose=0)
    right = np.concatenate([golden["layers"][number] for number in layers], axis=-1)
    real = golden["input_ids"] != 0
    np.testing.assert_allclose(found[real], right[real], atol=1e-4)


def test_other_options_are_refused():
    with pytest.raises(BertError, match="use_adapter: not supported"):
        bert_tf.load_trained_model_from_checkpoint(*FILES, use_adapter=True)


def test_tokens_and_ids_are_converted_as_in_googles_tokenizer():
    """`line number - 1` in vocab.txt; an unknown token is an error, as in Google's."""
    tokenizer = bert_tf.load(TINY).tokenizer
    tokens = tokenizer.tokenize("the house")
    lines = (TINY / "vocab.txt").read_text(encoding="utf-8").split("\n")
    ids = tokenizer.convert_tokens_to_ids(tokens)
    assert ids == [lines.index(token) for token in tokens]
    assert tokenizer.convert_ids_to_tokens(np.array(ids)) == tokens
    assert tokenizer.convert_ids_to_tokens([len(lines) + 5]) == ["[unused]"]
    with pytest.raises(BertError, match="no token 'xyzzy'"):
        tokenizer.convert_tokens_to_ids(["the", "xyzzy"])
    with pytest.raises(BertError, match="-1"):
        tokenizer.convert_ids_to_tokens([-1])
