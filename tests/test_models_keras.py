"""The models as Keras models: named, saved, nested, counted; and the encoder as a backbone."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

import bert_tf
from bert_tf import models
from bert_tf.config import BertConfig
from bert_tf.runtime.predictor import Predictor

TINY = Path(__file__).parent / "golden/tiny_ckpt"


@pytest.fixture(scope="module")
def bert():
    return bert_tf.load(TINY)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 1000, (3, 20)).astype(np.int32)
    ids[1, 12:] = 0
    segments = np.where(np.arange(20) > 7, 1, 0).astype(np.int32) * (ids != 0)
    ask = np.zeros_like(ids)
    ask[0, [3, 9, 17]] = 1
    ask[1, 5] = 1
    return {"token_input": ids, "seg_input": segments.astype(np.int32), "mask_input": ask}


def test_names_and_order(bert):
    model = bert.pretraining_model()
    assert type(model).__name__ == "Functional"
    assert [tensor.name for tensor in model.inputs] == ["token_input", "seg_input", "mask_input"]
    assert model.output_names == ["mlm", "nsp"]
    assert [tensor.name for tensor in bert.nsp_model().inputs] == ["token_input", "seg_input"]
    assert [t.name for t in bert.nsp_model(attention_mask=True).inputs][2] == "attention_mask"


def test_gathered_model_equals_the_dense_one(bert, batch):
    """Asked positions of row 0 are 3, 9, 17; row 1 asks for one, row 2 for none."""
    dense, _ = Predictor(bert.pretraining_model())(batch)
    gathered = Predictor(bert.mlm_model(max_predictions=4))(batch)
    assert gathered.shape == (3, 4, 1000)
    np.testing.assert_allclose(gathered[0, :3], dense[0, [3, 9, 17]], atol=1e-6)
    np.testing.assert_allclose(gathered[1, 0], dense[1, 5], atol=1e-6)
    np.testing.assert_allclose(gathered[0, :3].sum(-1), 1, atol=1e-5)
    assert not gathered[0, 3].any()
    assert not gathered[1, 1:].any()
    assert not gathered[2].any()
    assert not dense[2].any()


def test_more_positions_than_max_predictions_are_dropped_from_the_end(bert, batch):
    all_four = Predictor(bert.mlm_model(max_predictions=4))(batch)
    two = Predictor(bert.mlm_model(max_predictions=2))(batch)
    np.testing.assert_allclose(two[0], all_four[0, :2], atol=1e-6)


def test_top_k_is_the_top_of_the_probabilities_without_blocked_pieces(bert, batch):
    probabilities = Predictor(bert.mlm_model(max_predictions=4))(batch)[0, 0]
    model = bert.mlm_model(max_predictions=4, output="top_k", top_k=6)
    order = np.argsort(-probabilities)
    blocked = np.zeros(1000, np.float32)
    blocked[order[[0, 2]]] = 1
    model.get_layer("top").blocked.assign(blocked)
    top = Predictor(model)(batch)
    expected = order[[1, 3, 4, 5, 6, 7]]
    np.testing.assert_array_equal(top["top_ids"][0, 0], expected)
    np.testing.assert_allclose(
        np.exp(top["top_log_probabilities"][0, 0]), probabilities[expected], rtol=1e-4
    )


def test_saved_models_load_in_a_fresh_process(bert, batch, tmp_path):
    """`import bert_tf` alone makes our layers known, before Keras is imported and after."""
    model = bert.pretraining_model()
    model.save(tmp_path / "both.keras")
    np.savez(tmp_path / "batch.npz", **batch)
    script = """
import sys
{imports}
import numpy as np
batch = dict(np.load("batch.npz"))
model = keras.saving.load_model("both.keras")
mlm, nsp = model.predict([batch[t.name] for t in model.inputs], verbose=0)
np.savez("{name}.npz", mlm=mlm, nsp=nsp)
"""
    expected = model.predict([batch[t.name] for t in model.inputs], verbose=0)
    orders = ("import bert_tf, keras", "import keras, bert_tf")
    for name, imports in zip(("first", "second"), orders, strict=True):
        code = script.format(imports=imports, name=name)
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment())
        found = np.load(tmp_path / f"{name}.npz")
        np.testing.assert_allclose(found["mlm"], expected[0], atol=1e-6)
        np.testing.assert_allclose(found["nsp"], expected[1], atol=1e-6)


def environment():
    import os

    root = str(Path(bert_tf.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": keras.backend.backend()}


def test_inside_a_larger_functional_model(bert, batch, tmp_path):
    encoder = bert.encoder_model()
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    segments = keras.Input((None,), dtype="int32", name="segments")
    pooled = encoder([tokens, segments])["pooled_output"]
    model = keras.Model([tokens, segments], keras.layers.Dense(3, name="mine")(pooled))
    x = {"tokens": batch["token_input"], "segments": batch["seg_input"]}
    pooled = Predictor(encoder)({"token_input": x["tokens"], "seg_input": x["segments"]})
    kernel, bias = model.get_layer("mine").get_weights()
    found = Predictor(model)(x)
    np.testing.assert_allclose(found, pooled["pooled_output"] @ kernel + bias, atol=1e-5)
    model.save(tmp_path / "mine.keras")
    again = keras.saving.load_model(tmp_path / "mine.keras")
    np.testing.assert_allclose(Predictor(again)(x), found, atol=1e-5)


def test_extending_a_model_through_its_tensors(bert, batch, tmp_path):
    """The tied table is one layer used twice; it must stay one when a user's model is reloaded."""
    base = bert.pretraining_model(logits=True)
    inner = base.get_layer("transformer_layer_1").output
    model = keras.Model(base.inputs, [inner, base.outputs[0]])
    model.save(tmp_path / "inner.keras")
    again = keras.saving.load_model(tmp_path / "inner.keras")
    assert len(again.weights) == len({id(weight) for weight in again.weights})
    assert sum("token_embedding" in weight.path for weight in again.weights) == 1
    x = [batch[name] for name in ("token_input", "seg_input", "mask_input")]
    for a, b in zip(again.predict(x, verbose=0), model.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_models_share_their_weights(bert):
    first, second = bert.nsp_model(), bert.pretraining_model()
    assert {id(weight) for weight in first.weights} < {id(weight) for weight in second.weights}


def test_new_models_from_a_config():
    config = BertConfig.from_file(TINY / "bert_config.json")
    model = models.build_pretraining_model(config)
    kernel = model.get_layer("transformer_layer_0").intermediate.kernel.numpy()
    # Truncated at two deviations, which leaves a deviation of 0.88 x 0.02.
    assert 0.015 < kernel.std() < 0.02
    assert np.abs(kernel).max() <= 0.0400001
    assert not model.get_layer("mlm_logits").bias.numpy().any()


def test_the_number_of_parameters():
    """Counted by hand for hidden H=32, layers 3, intermediate I=64, V=1000, positions 64, types 2.

    Embeddings (1000+64+2)*32 + 2*32 = 34,176; a layer 4*(32*32+32) + 2*(2*32) + 32*64+64
    + 64*32+32 = 4,224 + 128 + 2,112 + 2,080 = 8,544, three of them 25,632; pooler 1,056; MLM
    1,056 + 64 + 1,000 = 2,120; NSP 2*32+2 = 66. Together 63,050.
    """
    config = BertConfig.from_file(TINY / "bert_config.json")
    assert models.build_pretraining_model(config).count_params() == 63050


@pytest.mark.parametrize(
    ("layers", "word"), [([3], "layer 3 does not exist"), ([-4], "layers 0 to 2")]
)
def test_a_layer_that_does_not_exist(bert, layers, word):
    with pytest.raises(bert_tf.BertError, match=word):
        bert.encoder_model(layers=layers)


def test_attention_probabilities(bert, batch):
    found = Predictor(bert.encoder_model(attention_probs=True, layers=[-1]))(
        {name: batch[name] for name in ("token_input", "seg_input")}
    )
    assert set(found) >= {"attention_0", "attention_1", "attention_2", "layer_2"}
    probs = found["attention_2"]
    assert probs.shape == (3, 4, 20, 20)
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
    assert not probs[1, :, :, 12:].any()  # padding keys, for every query
    assert (probs[1, :, 12:, :12] > 0).all()  # padding queries attend like any other


def test_encoder_is_a_keras_hub_backbone(bert, batch, tmp_path):
    encoder = bert.encoder
    assert isinstance(encoder, keras_hub.models.BertBackbone)
    x = {
        "token_ids": batch["token_input"],
        "segment_ids": batch["seg_input"],
        "padding_mask": (batch["token_input"] != 0).astype(np.int32),
    }
    found = encoder.predict(x, verbose=0)
    direct = bert.encoder_model().predict([batch["token_input"], batch["seg_input"]], verbose=0)
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_allclose(found[name], direct[name], atol=1e-5)
    encoder.save(tmp_path / "encoder.keras")
    again = keras.saving.load_model(tmp_path / "encoder.keras")
    assert type(again) is type(encoder)
    np.testing.assert_allclose(
        again.predict(x, verbose=0)["sequence_output"], found["sequence_output"], atol=1e-5
    )


def test_backbone_keeps_what_its_parent_forgets(tmp_path):
    encoder = bert_tf.BertEncoder(50, 1, 2, 8, 16, 0.3, 10, 2, "gelu_exact", 0.05, 0.5, name="odd")
    encoder.save(tmp_path / "odd.keras")
    again = keras.saving.load_model(tmp_path / "odd.keras")
    assert (again.dropout, again.attention_dropout, again.hidden_act) == (0.3, 0.05, "gelu_exact")
    assert again.initializer_range == 0.5
    layer = again.transformer_layers[0]
    assert (layer.dropout, layer.attention_dropout, layer.hidden_act) == (0.3, 0.05, "gelu_exact")


def test_preset_round_trip(tmp_path):
    encoder = bert_tf.load(TINY).encoder
    encoder.save_to_preset(str(tmp_path / "preset"))
    again = keras_hub.models.Backbone.from_preset(str(tmp_path / "preset"))
    for a, b in zip(again.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (
        json.loads((tmp_path / "preset/config.json").read_text())["config"]["hidden_act"] == "gelu"
    )


@pytest.mark.skipif(keras.backend.backend() == "openvino", reason="OpenVINO does not train")
def test_lora_and_a_keras_hub_task(batch):
    bert = bert_tf.load(TINY)
    task = keras_hub.models.BertTextClassifier(bert.encoder, num_classes=2, preprocessor=None)
    bert.encoder.enable_lora(4)
    before = bert.encoder.pooled_dense.kernel.numpy()
    task.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(True))
    x = {
        "token_ids": batch["token_input"],
        "segment_ids": batch["seg_input"],
        "padding_mask": (batch["token_input"] != 0).astype(np.int32),
    }
    names = {weight.path.rsplit("/", 1)[-1] for weight in bert.encoder.trainable_weights}
    assert {"lora_kernel_a", "lora_kernel_b"} <= names
    query = bert.layers.transformer_layers[0].attention.query
    start = np.array(query.kernel)
    task.fit(x, np.array([0, 1, 0]), epochs=2, verbose=0)
    assert np.abs(np.array(query.kernel) - start).max() > 1e-5
    np.testing.assert_array_equal(bert.encoder.pooled_dense.kernel.numpy(), before)
    # What is written back holds the sum, not the frozen part alone.
    written = dict(bert.weights())["bert/encoder/layer_0/attention/self/query/kernel"]
    np.testing.assert_allclose(written, np.array(query.kernel), atol=1e-7)


def test_too_long_an_input_is_refused(bert):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow runs models eagerly on arrays here")
    long = np.ones((1, 65), np.int32)
    with pytest.raises(Exception, match=r"only 64 positions"):
        bert.encoder_model()([long, long * 0])


def test_mixed_bfloat16(batch):
    """Computes in bfloat16, keeps float32 weights, and stays near; 8 bits of mantissa are 0.4 %."""
    if keras.backend.backend() == "openvino":
        pytest.skip("on OpenVINO the precision is chosen when compiling")
    exact = bert_tf.load(TINY)
    near = bert_tf.load(TINY, dtype="mixed_bfloat16")
    x = {name: batch[name] for name in ("token_input", "seg_input")}
    a, b = (Predictor(one.nsp_model(logits=True))(x) for one in (exact, near))
    layer = near.layers.transformer_layers[0]
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")
    np.testing.assert_allclose(b.astype(np.float32), a, atol=0.1)
    assert np.abs(b.astype(np.float32) - a).max() > 1e-4  # it really is another precision
    probabilities = Predictor(near.pretraining_model())(batch)[1]
    assert probabilities.dtype == np.float32


def test_predictor_names_what_it_takes(bert, batch):
    with pytest.raises(bert_tf.BertError, match="takes the inputs token_input, seg_input;"):
        Predictor(bert.nsp_model())(batch)


def test_predictor_refuses_a_precision_that_the_layers_do_not_have(bert, batch):
    if keras.backend.backend() == "openvino":
        pytest.skip("OpenVINO takes either")
    with pytest.raises(bert_tf.BertError, match=r"bert_tf.load\(path, precision="):
        Predictor(bert.nsp_model(), "bfloat16")(
            {name: batch[name] for name in ("token_input", "seg_input")}
        )


def test_predictor_refuses_googles_input_mask_as_mask_input(bert, batch):
    attention = (batch["token_input"] != 0).astype(np.int32)
    with pytest.raises(bert_tf.BertError, match="Google's input_mask"):
        Predictor(bert.pretraining_model())({**batch, "mask_input": attention})
