"""Loading: what a checkpoint has decides what it can do, and what goes out is what came in."""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import reference

import bert_tf
from bert_tf.checkpoint import CheckpointReader, write_release
from bert_tf.cli.main import main
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.runtime.predictor import Predictor
from bert_tf.text import Vocabulary

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
TINY = Path(__file__).parent / "golden/tiny_ckpt"
IDS = np.arange(1, 25, dtype=np.int32).reshape(2, 12)
PAIR = {"token_input": IDS, "seg_input": np.repeat([[0] * 6 + [1] * 6], 2, 0).astype(np.int32)}


@pytest.fixture(scope="module")
def stored():
    """All 187 tensors of the golden training checkpoint, by name."""
    with CheckpointReader(TINY / "bert_model.ckpt") as reader:
        return {name: np.array(reader.read(name)) for name in reader.tensors}


@pytest.fixture(scope="module")
def weights(stored):
    return {n: v for n, v in stored.items() if not n.endswith(("/adam_m", "/adam_v", "_step"))}


@pytest.fixture
def variant(tmp_path, weights):
    """Writes a copy of the golden checkpoint with some tensors dropped, added or changed."""

    def make(drop=(), add=None, dtype=None, config=None, vocab=None):
        tensors = {n: v for n, v in weights.items() if not n.startswith(tuple(drop) or ("\0",))}
        tensors.update(add or {})
        folder = tmp_path / "variant_cased"
        settings = BertConfig.from_file(TINY / "bert_config.json")
        write_release(
            folder,
            settings.replace(**(config or {})),
            vocab or (TINY / "vocab.txt").read_bytes(),
            tensors,
            dtype=dtype,
            overwrite=True,
        )
        return folder

    return make


def through_tensorflow(prefix):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_report_of_a_training_checkpoint():
    report = bert_tf.load(TINY).report
    assert len(report.read) == 62
    assert len(report.slots) == 125  # two for each weight, and global_step
    assert "global_step" in report.slots
    assert report.unused == report.missing == report.fresh == ()
    assert "read 62 tensors" in str(report)
    assert "left out 125 optimizer slots" in str(report)
    assert any("lower_case=False" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    "path", ["", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_any_path_to_a_checkpoint(path):
    assert bert_tf.load(TINY / path).config.hidden_size == 32


def zipped(tmp_path, folder, **changed):
    """The tiny checkpoint in a .zip, some of its files changed."""
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(TINY.iterdir()):
            raw = file.read_bytes()
            archive.writestr(folder + file.name, changed.get(file.name.split(".")[0], bytes)(raw))
    return path


def test_a_zip_is_named_where_its_files_were_unpacked(tmp_path, caplog):
    """In the report, in warnings, in errors during and after loading; two folders deep."""

    def without_types(raw):
        return json.dumps({k: v for k, v in json.loads(raw).items() if k != "type_vocab_size"})

    path = zipped(tmp_path, "a/uncased_b/", bert_config=without_types)
    bert = bert_tf.load(path)
    assert bert.name == "uncased_b"
    inside = f"{path}/a/uncased_b/"
    assert bert.report.checkpoint == f"{inside}bert_model.ckpt"
    assert str(bert.report).startswith(f"read {len(bert.report.read)} tensors from {inside}")
    assert bert.vocab.source == f"{inside}vocab.txt"
    assert any(f"{inside}bert_config.json has no type_vocab_size" in x for x in caplog.messages)
    assert any(f"tokens in {inside}vocab.txt have" in x for x in caplog.messages)
    temporary = tempfile.gettempdir() + "/bert_tf_"
    assert temporary not in "".join([*caplog.messages, str(bert.report)])
    for name, change, words in (
        (
            "bert_config",
            lambda raw: raw.replace(b'"num_hidden', b'"hidden'),
            "lacks 144 of the weights",
        ),
        ("vocab", lambda raw: raw.replace(b"[MASK]", b"[mask]"), r"has no line \[MASK\]"),
    ):
        with pytest.raises(BertError, match=words) as error:
            bert_tf.load(zipped(tmp_path, "a/b/", **{name: change}))
        assert f"{path}/a/b/" in str(error.value)
        assert temporary not in str(error.value)


def test_zip_as_released(tmp_path):
    folder = tmp_path / "in/tiny_uncased_L-3"
    shutil.copytree(TINY, folder)
    archive = shutil.make_archive(str(tmp_path / "tiny_uncased_L-3"), "zip", tmp_path / "in")
    shutil.rmtree(tmp_path / "in")
    bert = bert_tf.load(archive)
    assert bert.name == "tiny_uncased_L-3"
    assert bert.lower_case is True


def test_weights_round_trip_bit_for_bit(tmp_path, weights):
    bert_tf.load(TINY).save(tmp_path / "again")
    found = through_tensorflow(tmp_path / "again/bert_model.ckpt")
    assert set(found) == set(weights)
    assert all(same_bits(found[name], weights[name]) for name in weights)
    assert (tmp_path / "again/vocab.txt").read_bytes() == (TINY / "vocab.txt").read_bytes()
    configs = [
        json.loads((folder / "bert_config.json").read_text())
        for folder in (TINY, tmp_path / "again")
    ]
    assert configs[0] == configs[1]


def test_a_whole_training_checkpoint_round_trips_bit_for_bit(tmp_path, stored):
    bert_tf.load(TINY, slots=True).save(tmp_path / "again")
    found = through_tensorflow(tmp_path / "again/bert_model.ckpt")
    assert set(found) == set(stored)
    for name, value in stored.items():
        assert np.asarray(found[name]).tobytes() == value.tobytes(), name
        assert np.asarray(found[name]).dtype == value.dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_checkpoints_are_widened_and_come_out_as_they_were(variant, tmp_path, dtype):
    folder = variant(dtype=dtype)
    bert = bert_tf.load(folder)
    assert bert.layers.token_embedding.embeddings.dtype == "float32"
    with CheckpointReader(folder / "bert_model.ckpt") as reader:
        before = {name: np.array(reader.read(name)) for name in reader.tensors}
    assert before["bert/pooler/dense/kernel"].dtype.name == dtype
    for name, value in bert.weights():
        np.testing.assert_array_equal(value, before[name].astype(np.float32))
    bert.save(tmp_path / "again")
    with CheckpointReader(tmp_path / "again/bert_model.ckpt") as reader:
        assert all(same_bits(np.array(reader.read(name)), before[name]) for name in before)
    bert.save(tmp_path / "wide", dtype="float32")
    wide = through_tensorflow(tmp_path / "wide/bert_model.ckpt")
    assert {value.dtype.name for value in wide.values()} == {"float32"}


def test_a_changed_weight_is_not_rounded_to_the_type_it_came_in(variant, tmp_path):
    bert = bert_tf.load(variant(dtype="float16"))
    bias = bert.layers.nsp_dense.bias
    bias.assign(np.array([1.0001, 0.5], np.float32))
    bert.save(tmp_path / "tuned")
    found = through_tensorflow(tmp_path / "tuned/bert_model.ckpt")
    assert found["cls/seq_relationship/output_bias"].tolist() == [np.float32(1.0001), 0.5]
    assert found["bert/pooler/dense/bias"].dtype == np.float16


def test_saving_does_not_overwrite_unasked(tmp_path):
    bert = bert_tf.load(TINY)
    bert.save(tmp_path)
    with pytest.raises(bert_tf.BertError, match="overwrite=True"):
        bert.save(tmp_path)
    bert.save(tmp_path, overwrite=True)


def test_a_model_depends_no_more_on_its_file(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(TINY, folder)
    bert = bert_tf.load(folder)
    model = Predictor(bert.nsp_model(logits=True))
    before = model(PAIR)
    data = folder / "bert_model.ckpt.data-00000-of-00001"
    with open(data, "r+b") as file:  # in place, so that a map of the file would show it
        file.write(b"\xff" * data.stat().st_size)
    np.testing.assert_array_equal(model(PAIR), before)
    again = Predictor(bert.nsp_model(logits=True))(PAIR)
    np.testing.assert_allclose(again, before, atol=1e-6)
    shutil.rmtree(folder)
    np.testing.assert_array_equal(model(PAIR), before)


def test_training_one_model_leaves_no_trace_in_another_load():
    """Two loads share no memory, although weights take over the buffers they were read into."""
    first, second = bert_tf.load(TINY), bert_tf.load(TINY)
    table = first.layers.token_embedding.embeddings
    before = np.array(second.layers.token_embedding.embeddings)
    table.assign(np.array(table) + 1)
    np.testing.assert_array_equal(np.array(second.layers.token_embedding.embeddings), before)


def test_without_the_masked_word_head(variant):
    bert = bert_tf.load(variant(drop=["cls/predictions"]))
    assert (bert.has("mlm"), bert.has("nsp"), bert.has("pooler")) == (False, True, True)
    assert bert.report.missing == ("mlm",)
    assert "not in the file: masked-word head" in str(bert.report)
    assert Predictor(bert.nsp_model())(PAIR).shape == (2, 2)
    with pytest.raises(bert_tf.BertError, match=r"no masked-word head.*new_heads=\['mlm'\]"):
        bert.mlm_model()
    with pytest.raises(bert_tf.BertError, match="cannot fill masks"):
        bert_tf.FillMask(bert)


def test_without_pooler_and_next_sentence_it_still_fills_masks(variant):
    bert = bert_tf.load(variant(drop=["cls/seq_relationship", "bert/pooler"]))
    assert bert.report.missing == ("pooler", "nsp")
    answer = bert_tf.FillMask(bert)("the [MASK]")
    whole = bert_tf.FillMask(bert_tf.load(TINY))("the [MASK]")
    assert answer.masks[0].guesses[0].word == whole.masks[0].guesses[0].word
    assert set(bert.encoder_model().output) == {"sequence_output"}
    assert list(bert.encoder.output) == ["sequence_output"]
    with pytest.raises(bert_tf.BertError, match="no pooler"):
        bert.nsp_model()
    with pytest.raises(bert_tf.BertError, match="cannot predict next sentences"):
        bert_tf.NextSentence(bert)


def test_a_fresh_head_on_request(variant):
    folder = variant(drop=["cls/seq_relationship"])
    bert = bert_tf.load(folder, new_heads=["nsp"])
    assert bert.report.fresh == ("nsp",)
    assert "new, with random weights: next-sentence head" in str(bert.report)
    kernel = np.array(bert.layers.nsp_dense.kernel)
    assert kernel.shape == (32, 2)
    assert 0 < np.abs(kernel).max() <= 0.0400001


def test_half_a_head_is_an_error_that_names_what_is_missing(variant):
    folder = variant(drop=["cls/predictions/output_bias", "cls/predictions/transform/LayerNorm"])
    with pytest.raises(bert_tf.BertError) as error:
        bert_tf.load(folder)
    assert "lacks 3 of the weights" in str(error.value)
    assert "cls/predictions/output_bias" in str(error.value)
    assert "cls/predictions/transform/LayerNorm/gamma" in str(error.value)
    assert "new_heads=['mlm']" in str(error.value)
    assert bert_tf.load(folder, new_heads=["mlm"]).report.fresh == ("mlm",)


def test_a_missing_weight_of_the_encoder_is_an_error(variant):
    folder = variant(drop=["bert/encoder/layer_2/intermediate/dense/bias"])
    with pytest.raises(bert_tf.BertError, match="layer_2/intermediate/dense/bias"):
        bert_tf.load(folder)


def test_a_classifier_of_run_classifier(variant, weights, tmp_path):
    """Logits by hand: pooled @ output_weights^T + output_bias, as create_model there has it."""
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(3, 32)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    folder = variant(drop=["cls/"], add={"output_weights": kernel, "output_bias": bias})
    bert = bert_tf.load(folder)
    assert bert.layers.heads.classifier == 3
    pooled = Predictor(bert.encoder_model())(PAIR)["pooled_output"]
    logits = Predictor(bert.classifier_model(logits=True))(PAIR)
    np.testing.assert_allclose(logits, pooled @ kernel.T + bias, atol=1e-5)
    probabilities = Predictor(bert.classifier_model())(PAIR)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(probabilities, e / e.sum(-1, keepdims=True), atol=1e-6)
    bert.save(tmp_path / "again")
    assert same_bits(
        through_tensorflow(tmp_path / "again/bert_model.ckpt")["output_weights"], kernel
    )
    with pytest.raises(bert_tf.BertError, match="num_labels=2, but this model's head has 3"):
        bert.classifier_model(num_labels=2)


def test_a_squad_model(variant):
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(2, 32)).astype(np.float32)
    bias = np.array([0.5, -0.5], np.float32)
    add = {"cls/squad/output_weights": kernel, "cls/squad/output_bias": bias}
    bert = bert_tf.load(variant(drop=["cls/", "bert/pooler"], add=add))
    hidden = Predictor(bert.encoder_model())(PAIR)["sequence_output"]
    found = Predictor(bert.span_model())(PAIR)
    np.testing.assert_allclose(found, hidden @ kernel.T + bias, atol=1e-4)


def test_a_new_classifier_on_a_pretrained_checkpoint():
    bert = bert_tf.load(TINY, new_heads=["classifier"], num_labels=4)
    assert Predictor(bert.classifier_model())(PAIR).shape == (2, 4)
    with pytest.raises(bert_tf.BertError, match="number of labels"):
        bert_tf.load(TINY, new_heads=["classifier"])


def test_unknown_tensors_are_reported_and_carried_on_request(variant, tmp_path):
    extra = np.arange(6, dtype=np.float32).reshape(2, 3)
    folder = variant(add={"my/own/table": extra})
    assert bert_tf.load(folder).report.unused == ("my/own/table",)
    bert_tf.load(folder).save(tmp_path / "without")
    assert "my/own/table" not in through_tensorflow(tmp_path / "without/bert_model.ckpt")
    bert_tf.load(folder, extra=True).save(tmp_path / "with")
    assert same_bits(through_tensorflow(tmp_path / "with/bert_model.ckpt")["my/own/table"], extra)


def test_text_is_not_carried_and_said_so(tmp_path, weights, caplog):
    """As TensorFlow 2 leaves it. `save` failed on it at its end, after hours of training."""
    import tensorflow as tf

    folder = tmp_path / "tf2"
    shutil.copytree(TINY, folder)
    tensors = {**weights, "my/own/table": np.arange(6, dtype=np.float32)}
    graph = "_CHECKPOINTABLE_OBJECT_GRAPH"
    tf.raw_ops.SaveV2(
        prefix=str(folder / "bert_model.ckpt"),
        tensor_names=[*tensors, graph],
        shape_and_slices=[""] * (len(tensors) + 1),
        tensors=[*map(tf.constant, tensors.values()), tf.constant(b"a graph")],
    )
    bert = bert_tf.load(folder, extra=True)
    (warning,) = [one for one in caplog.messages if graph in one]
    assert f"{graph} in {folder}/bert_model.ckpt (text, as of a TensorFlow 2 checkpoint" in warning
    assert warning in bert.report.warnings
    assert bert.report.kept == tuple(bert.carried) == ("my/own/table",)
    assert "kept 1 tensors that this model does not use (my/own/table)" in str(bert.report)
    assert f"left out 1 tensors that this model does not use ({graph})" in str(bert.report)
    bert.save(tmp_path / "again")
    assert set(through_tensorflow(tmp_path / "again/bert_model.ckpt")) == set(tensors)
    caplog.clear()
    bert_tf.load(folder)  # nothing is to be kept
    assert graph not in caplog.text


def test_only_some_parts():
    bert = bert_tf.load(TINY, parts=["mlm"])
    assert (bert.has("mlm"), bert.has("nsp"), bert.has("pooler")) == (True, False, False)
    assert len(bert.report.read) == 62 - 4
    assert "cls/seq_relationship/output_bias" in bert.report.unused
    with pytest.raises(bert_tf.BertError, match="no answer-span head"):
        bert_tf.load(TINY, parts=["span"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"vocab_size": 1001}, ["word_embeddings", "[1000, 32]", "[1001, 32]", "vocab_size"]),
        ({"intermediate_size": 65}, ["intermediate/dense/kernel", "[32, 64]", "[32, 65]"]),
        ({"max_position_embeddings": 512}, ["position_embeddings", "[64, 32]", "[512, 32]"]),
        ({"num_hidden_layers": 2}, ["layer_2", "num_hidden_layers"]),
        ({"num_hidden_layers": 4}, ["lacks 16 of the weights", "layer_3"]),
    ],
)
def test_a_config_that_does_not_fit(config, words):
    changed = BertConfig.from_file(TINY / "bert_config.json").replace(**config)
    with pytest.raises(bert_tf.BertError) as error:
        bert_tf.load(TINY, config=changed)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_heads_that_do_not_divide_the_width(tmp_path):
    values = json.loads((TINY / "bert_config.json").read_text())
    (tmp_path / "odd.json").write_text(json.dumps({**values, "num_attention_heads": 5}))
    with pytest.raises(bert_tf.BertError, match="32 in the BERT config is not divisible by"):
        bert_tf.load(TINY, config=tmp_path / "odd.json")


def test_a_vocabulary_that_is_too_long(tmp_path):
    (tmp_path / "vocab.txt").write_bytes((TINY / "vocab.txt").read_bytes() + b"extra\n")
    with pytest.raises(bert_tf.BertError, match=r"1,001 tokens.*only 1,000 rows.*`vocab`"):
        bert_tf.load(TINY, vocab=tmp_path / "vocab.txt")


@pytest.fixture
def cut_vocab(tmp_path):
    """Writes the first tokens alone; all special tokens are among the first 18."""

    def make(count, more=b""):
        lines = (TINY / "vocab.txt").read_bytes().splitlines(keepends=True)
        (tmp_path / "vocab.txt").write_bytes(b"".join(lines[:count]) + more)
        return tmp_path / "vocab.txt"

    return make


def test_a_vocabulary_that_is_too_short(cut_vocab):
    few = bert_tf.load(TINY, vocab=cut_vocab(872))  # 128 may be the padding of a table
    assert len(few.vocab) == 872
    for options in ({"vocab": cut_vocab(871)}, {"vocab": Vocabulary.load(cut_vocab(871))}):
        with pytest.raises(
            bert_tf.BertError,
            match=r"871 tokens.*has 1,000 rows.*another.*`allow_short_vocab=True`",
        ):
            bert_tf.load(TINY, **options)
        meant = bert_tf.load(TINY, **options, allow_short_vocab=True)
        assert any("871 tokens for a table of 1,000" in one for one in meant.report.warnings)
    again = bert_tf.Bert.from_weights(meant.config, meant.vocab, dict(meant.weights()))
    assert len(again.vocab) == 871


def test_blank_lines_at_the_end_are_no_other_vocabulary(cut_vocab):
    bert = bert_tf.load(TINY, vocab=cut_vocab(1000, b"\n\r\n \n"))
    plain = bert_tf.load(TINY)
    assert bert.vocab.pieces == plain.vocab.pieces
    text = "the [MASK] dog"
    assert bert_tf.FillMask(bert)(text).masks[0] == bert_tf.FillMask(plain)(text).masks[0]
    with pytest.raises(bert_tf.BertError, match=r"1,003 tokens.*only 1,000 rows"):
        bert_tf.load(TINY, vocab=cut_vocab(1000, b"\n\nextra\n"))
    assert len(bert_tf.load(TINY, vocab=cut_vocab(18, b"\n" * 982)).vocab) == 1000  # padded so


@pytest.mark.parametrize("command", ["mask", pytest.param("classify", marks=pytest.mark.slow)])
def test_commands_refuse_and_allow_a_short_vocabulary(cut_vocab, tmp_path, capsys, command):
    rows = (f"text {n},{'yes' if n % 2 else 'no'}\n" for n in range(40))
    (tmp_path / "data.csv").write_text(f"text,label\n{''.join(rows)}")
    out = f"--output_dir={tmp_path / 'out'}"
    flags = {"mask": ["a [MASK]"], "classify": [f"--train={tmp_path / 'data.csv'}", out]}
    checkpoint = "checkpoint" if command == "mask" else "init_checkpoint"
    model = [f"--{checkpoint}={TINY}", f"--vocab={cut_vocab(700)}", "--backend=tensorflow"]
    words = [command, *model, *flags[command]]
    assert main(words) == 2
    assert "or, if it is meant, --allow_short_vocab." in capsys.readouterr().err
    if command == "classify":
        words += ["--num_train_epochs=0.1", "--log_steps=9"]
    assert main([*words, "--allow_short_vocab"]) == 0
    told = capsys.readouterr().err
    assert "700 tokens for a table of 1,000 rows; the rows without a token are unused" in told
    assert "if it is meant" not in told


def test_ids_without_a_piece_are_never_answers(variant, weights):
    """The table is padded to 1,008 rows; the padding's bias makes each the model's favourite."""
    rng = np.random.default_rng(3)
    table = weights["bert/embeddings/word_embeddings"]
    padded = np.concatenate([table, rng.normal(size=(8, 32)).astype(np.float32)])
    bias = np.concatenate([weights["cls/predictions/output_bias"], np.full(8, 50, np.float32)])
    folder = variant(
        add={"bert/embeddings/word_embeddings": padded, "cls/predictions/output_bias": bias},
        config={"vocab_size": 1008},
    )
    bert = bert_tf.load(folder)
    assert any("1,000 tokens for a table of 1,008 rows" in r for r in bert.report.warnings)
    guesses = bert_tf.FillMask(bert, top_k=20)("the [MASK] dog").masks[0].guesses
    plain = bert_tf.FillMask(bert_tf.load(TINY), top_k=20)("the [MASK] dog").masks[0].guesses
    assert [guess.word for guess in guesses] == [guess.word for guess in plain]


def change_config(folder, drop=(), **keys):
    """Writes other keys into a folder's `bert_config.json`, after a byte order mark."""
    path = folder / "bert_config.json"
    values = {**json.loads(path.read_text("utf-8-sig")), **keys}
    kept = {name: value for name, value in values.items() if name not in drop}
    path.write_text("\ufeff" + json.dumps(kept), encoding="utf-8")
    return folder


def test_layer_norm_eps_is_the_configs(variant, weights, tmp_path, monkeypatch):
    def norm(x, w, name):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 0.01) * w[f"{name}/gamma"] + w[f"{name}/beta"]

    monkeypatch.setattr(reference, "norm", norm)
    bert = bert_tf.load(change_config(variant(), layer_norm_eps=0.01))
    wide = {name: value.astype(np.float64) for name, value in weights.items()}
    segments, everywhere = PAIR["seg_input"], np.ones_like(IDS)
    wanted = reference.encode(wide, bert.config.num_attention_heads, IDS, segments, everywhere)[-1]
    logits = pretraining_logits(bert)
    np.testing.assert_allclose(logits, reference.mlm_logits(wide, wanted), atol=1e-4)
    assert np.abs(logits - pretraining_logits(bert_tf.load(TINY))).max() > 0.01
    hub = {"token_ids": IDS, "segment_ids": segments, "padding_mask": everywhere}
    bert.encoder.save(tmp_path / "e.keras")
    for encoder in (bert.encoder, keras.saving.load_model(tmp_path / "e.keras")):
        np.testing.assert_allclose(
            encoder.predict(hub, verbose=0)["sequence_output"], wanted, atol=1e-5
        )
    bert.save(tmp_path / "again")
    assert bert_tf.load(tmp_path / "again").config == bert.config


def pretraining_logits(bert):
    return Predictor(bert.pretraining_model(logits=True))({**PAIR, "mask_input": 0 * IDS})[0]


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_pytorch_tanh"])
def test_hugging_faces_names_of_the_tanh_gelu(variant, name):
    assert bert_tf.load(change_config(variant(), hidden_act=name)).config.hidden_act == "gelu"
    assert bert_tf.load(TINY, hidden_act=name).config.hidden_act == "gelu"


def test_a_missing_type_vocab_size(variant, tmp_path):
    folder = change_config(variant(), drop=["type_vocab_size"])
    bert = bert_tf.load(folder)
    assert bert.config.type_vocab_size == 2
    (told,) = [one for one in bert.report.warnings if "type_vocab_size" in one]
    assert told == f"{folder}/bert_config.json has no type_vocab_size; the weights have 2."
    with pytest.raises(bert_tf.BertError, match="type_vocab_size"):
        bert_tf.load(change_config(folder, type_vocab_size=3))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"position_embedding_type": "relative_key"},
            "bert_tf computes only 'absolute'",
        ),
        ({"is_decoder": True}, "is_decoder in the BERT config is True"),
        ({"model_type": "roberta"}, "of RoBERTa, another architecture.*Take a BERT"),
        ({"model_type": "xlnet"}, "model_type in the BERT config is 'xlnet'; .*Take a BERT"),
        ({"num_hidden_groups": 1}, "config has num_hidden_groups: the model is of ALBERT, another"),
        ({"num_attention_heads": 7}, r"num_attention_heads 7 \(the defaults are 768 and 12\)"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps in the BERT config is 'small'"),
    ],
)
def test_config_keys_that_change_what_is_computed(variant, keys, message):
    usual = {"position_embedding_type": "absolute", "is_decoder": False, "model_type": "bert"}
    assert bert_tf.load(change_config(variant(), **usual)).config.extra["model_type"] == "bert"
    with pytest.raises(bert_tf.BertError, match=message):
        bert_tf.load(change_config(variant(), **keys))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("ALBERT", "bert/encoder/transformer/group_0/inner_group_0/ffn_1/intermediate/dense/bias"),
        ("ELECTRA", "electra/embeddings/word_embeddings"),
    ],
)
def test_checkpoints_of_other_architectures(tmp_path, name, tensor):
    config, vocab = BertConfig.from_file(TINY / "bert_config.json"), TINY / "vocab.txt"
    tensors = {"a": np.zeros(2, np.float32), tensor: np.zeros(3, np.float32)}
    write_release(tmp_path, config, vocab.read_bytes(), tensors)
    with pytest.raises(bert_tf.BertError, match=f"is of {name}, another architecture"):
        bert_tf.load(tmp_path)
    (tmp_path / "bert_config.json").rename(tmp_path / "albert_config.json")
    with pytest.raises(bert_tf.BertError, match=f"is of {name}, another architecture"):
        bert_tf.load(tmp_path)


@pytest.mark.parametrize("name", ["RoBERTa", "DistilBERT", "ALBERT", "ELECTRA"])
def test_hugging_face_folders_of_other_architectures(tmp_path, name):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name.lower()}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 600)
    with pytest.raises(bert_tf.BertError, match=f"is of {name}, another architecture.*Take a BERT"):
        bert_tf.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(bert_tf.BertError, match=r"holds pytorch_model\.bin"):
        bert_tf.load(tmp_path)


def test_another_models_checkpoint(tmp_path):
    tensors = {"model/wte": np.zeros((3, 2), np.float32)}
    vocab = (TINY / "vocab.txt").read_bytes()
    write_release(tmp_path, BertConfig.from_file(TINY / "bert_config.json"), vocab, tensors)
    with pytest.raises(bert_tf.BertError, match=r"not of the original BERT.*model/wte"):
        bert_tf.load(tmp_path)


def test_a_flipped_byte_names_the_tensor(tmp_path):
    shutil.copytree(TINY, tmp_path / "flipped")
    data = tmp_path / "flipped/bert_model.ckpt.data-00000-of-00001"
    with CheckpointReader(TINY / "bert_model.ckpt") as reader:
        offset = reader.tensors["bert/pooler/dense/kernel"].offset
    raw = bytearray(data.read_bytes())
    raw[offset + 17] ^= 4
    data.write_bytes(raw)
    with pytest.raises(bert_tf.BertError, match=r"bert/pooler/dense/kernel.*damaged"):
        bert_tf.load(tmp_path / "flipped")
    bert_tf.load(tmp_path / "flipped", verify=False)


def test_casing_by_argument_and_contradiction(variant):
    folder = variant()  # named variant_cased
    assert bert_tf.load(folder).lower_case is False
    with pytest.raises(bert_tf.BertError, match="lower_case=False"):
        bert_tf.load(folder, lower_case=True)
    assert bert_tf.load(TINY, lower_case=True).lower_case is True


@pytest.mark.parametrize(
    "argument", [{"new_heads": "nsp"}, {"new_heads": ["foo"]}, {"parts": ["x"]}]
)
def test_heads_that_there_are_not(argument):
    with pytest.raises(bert_tf.BertError, match=r"heads are|lists of names"):
        bert_tf.load(TINY, **argument)
