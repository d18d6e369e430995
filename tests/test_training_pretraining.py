"""Pretraining as a whole: where it starts from, what it refuses, and what it says on the way."""

import json

import numpy as np
import pytest
from training_runs import LENGTH, tiny_config, tiny_stream

from bert_tf.checkpoint import CheckpointReader, write_checkpoint
from bert_tf.data.pretraining.examples import encode_examples
from bert_tf.data.pretraining.record_files import frame
from bert_tf.data.pretraining.records import RecordStream
from bert_tf.errors import BertError
from bert_tf.heads import weights_of
from bert_tf.models.heads.pretraining import build_gathered_pretraining_model
from bert_tf.models.layout import Heads
from bert_tf.models.parts import BertLayers
from bert_tf.models.weights import assign_all
from bert_tf.runtime.predictor import Predictor
from bert_tf.training.pretraining.pretrain import (
    PretrainingPlan,
    evaluate_checkpoint,
    pretrain,
    start_from_checkpoint,
)
from bert_tf.training.pretraining.spectral import PARTS, random_start

POSITIONS = "bert/embeddings/position_embeddings"


def weights(config, parts=PARTS):
    """Random weights of some parts, none of them 0 or 1."""
    rng = np.random.default_rng(6)
    return {
        weight.original: rng.standard_normal(weight.shape).astype(np.float32)
        for weight in weights_of(config, parts)
    }


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_start_from_a_whole_checkpoint(tmp_path, dtype, caplog):
    """Slots and step of a training checkpoint are left alone; float16 is widened."""
    config = tiny_config()
    held = {name: value.astype(dtype) for name, value in weights(config).items()}
    slots = {f"{name}/adam_m": np.zeros(1, np.float32) for name in held}
    write_checkpoint(tmp_path / "model.ckpt-7", {**held, **slots, "global_step": np.int64(7)})
    start = start_from_checkpoint(tmp_path, config)
    assert_equal(start, {name: value.astype(np.float32) for name, value in held.items()})
    assert caplog.messages == []


def test_heads_that_are_missing_start_at_random(tmp_path, caplog):
    config = tiny_config()
    held = weights(config, ("encoder", "pooler"))
    write_checkpoint(tmp_path / "x.ckpt", held)
    start = start_from_checkpoint(tmp_path / "x.ckpt", config, seed=4)
    assert_equal(start, {**random_start(config, 4), **held})
    assert [warning.split(";")[0] for warning in caplog.messages] == [
        "the checkpoint has no mlm weights",
        "the checkpoint has no nsp weights",
    ]


def test_a_fine_tuned_checkpoint_gives_its_encoder(tmp_path):
    config = tiny_config()
    held = weights(config, ("encoder", "pooler"))
    labels = {"output_weights": np.ones((3, 16), np.float32), "output_bias": np.ones(3, np.float32)}
    write_checkpoint(tmp_path / "x.ckpt", held | labels)
    start = start_from_checkpoint(tmp_path, config)
    assert_equal(start, {**random_start(config), **held})


def test_a_longer_position_table_repeats_the_shorter_one(tmp_path, caplog):
    """16 rows for 40 positions: twice all of them and the first 8."""
    held = weights(tiny_config())
    write_checkpoint(tmp_path / "x.ckpt", held)
    start = start_from_checkpoint(tmp_path, tiny_config(max_position_embeddings=40))
    rows = held[POSITIONS]
    assert_equal(start, {**held, POSITIONS: np.concatenate([rows, rows, rows[:8]])})
    assert caplog.messages == ["the position table of 16 rows is repeated to fill 40."]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 24}, r"does not fit .*word_embeddings has the shape \[85, 16\] in the"),
        ({"vocab_size": 86}, r"\[85, 16\] in the file, and \[86, 16\] by the config"),
        ({"num_hidden_layers": 2}, r"no BERT checkpoint to start from: it lacks bert/enc.*layer_1"),
        ({"max_position_embeddings": 9}, r"position_embeddings has the shape \[16, 16\] in the"),
    ],
)
def test_a_config_of_another_model(tmp_path, changes, message):
    write_checkpoint(tmp_path / "x.ckpt", weights(tiny_config()))
    with pytest.raises(BertError, match=message):
        start_from_checkpoint(tmp_path, tiny_config(**changes))


def test_a_checkpoint_with_more_layers_than_the_config(tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", weights(tiny_config(num_hidden_layers=2)))
    with pytest.raises(BertError, match=r"by the config .* layer_1 does not exist"):
        start_from_checkpoint(tmp_path, tiny_config())


@pytest.mark.parametrize("held", [{"w": np.ones(3, np.float32)}, None])
def test_what_is_no_bert(tmp_path, held):
    """Something else, and a head alone."""
    write_checkpoint(tmp_path / "x.ckpt", held or weights(tiny_config(), ("nsp",)))
    with pytest.raises(BertError, match="no BERT checkpoint to start from: it lacks"):
        start_from_checkpoint(tmp_path, tiny_config())


def begin(folder, plan=None, *, config=None, start=None, stream=None, **hooks):
    config = config or tiny_config()
    own, vocab = tiny_stream()
    start = random_start(config) if start is None else start
    plan = plan or PretrainingPlan(steps=3, warmup_steps=1, learning_rate=1e-2)
    return pretrain(config, vocab, start, stream or own, folder, plan, progress=False, **hooks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"save_every": 0}, "save_every is 0"),
        ({"log_every": -1}, "log_every is -1"),
        ({"keep": 0}, "keep is 0"),
        ({"eval_batches": 0}, "eval_batches is 0"),
        ({"evaluate_every": -1}, "evaluate_every is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"precision": "float16"}, "precision is 'float16'; it must be one of float32, bf"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"warmup_steps": -1}, "warmup_steps is -1; it must be at least 0"),
        ({"learning_rate": -1}, "learning_rate is -1; it must be at least 0"),
    ],
)
def test_plans_without_meaning(tmp_path, changes, message):
    with pytest.raises(BertError, match=message):
        begin(tmp_path / "out", PretrainingPlan(**changes))
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_larger_than_the_model(tmp_path):
    with pytest.raises(BertError, match=r"vocabulary has 85 tokens.* only 80 rows"):
        begin(tmp_path / "out", config=tiny_config(vocab_size=80))


def test_start_weights_that_are_not_those_of_the_config(tmp_path):
    start = random_start(tiny_config())
    wrong = {**start, POSITIONS: np.ones((3, 16), np.float32)}
    with pytest.raises(BertError, match=r"position_embeddings has the shape \[3, 16\]; by the con"):
        begin(tmp_path, start=wrong)
    del start[POSITIONS]
    with pytest.raises(BertError, match=f"the start weights lack {POSITIONS}"):
        begin(tmp_path, start=start)


def test_texts_longer_than_the_position_table(tmp_path):
    stream, _ = tiny_stream(length=LENGTH + 1)
    with pytest.raises(BertError, match=r"17 tokens long, but this model has only 16 pos"):
        begin(tmp_path, stream=stream)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three steps without dropout, judged at 2 and at the end; the folder and the rows."""
    folder, rows = tmp_path_factory.mktemp("pretraining") / "out", []
    plan = PretrainingPlan(
        steps=3,
        warmup_steps=1,
        learning_rate=1e-2,
        dropout=0.0,
        evaluate_every=2,
        eval_batches=4,
        precision="bfloat16",
    )
    outcome = begin(folder, plan, eval_stream=lambda: tiny_stream(seed=9)[0], on_row=rows.append)
    assert outcome == (3, str(folder / "model.ckpt-3"), False)
    return folder, rows


def test_rows_tell_loss_accuracy_and_speed(trained):
    """At the start all 85 tokens are about as likely, and so are both answers."""
    _, rows = trained
    assert [row["step"] for row in rows] == [2, 3]
    names = {"loss", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"}
    speeds = {"pieces_per_second", "steps_per_second"}
    for row in rows:
        judged = {f"eval_{name}" for name in names}
        assert set(row) - {"learning_rate"} == {"step"} | names | judged | speeds
        assert row["eval_mlm_loss"] == pytest.approx(np.log(85), abs=0.5)
        assert row["eval_nsp_loss"] == pytest.approx(np.log(2), abs=0.1)
        for prefix in ("", "eval_"):
            assert row[prefix + "loss"] == pytest.approx(
                row[prefix + "mlm_loss"] + row[prefix + "nsp_loss"]
            )


def test_the_config_that_is_kept_has_its_own_dropout(trained):
    folder, _ = trained
    for name in ("bert_config.json", "release/bert_config.json"):
        assert json.loads((folder / name).read_text())["hidden_dropout_prob"] == 0.1
    assert (folder / "vocab.txt").read_bytes() == tiny_stream()[1].raw
    state = json.loads((folder / "model.ckpt-3.training.json").read_text())
    assert state["random"] == []


def test_computed_in_bfloat16_and_kept_in_float32(trained):
    folder, _ = trained
    with CheckpointReader(folder / "model.ckpt-3") as reader:
        kinds = {info.dtype.name for name, info in reader.tensors.items()}
        table = reader.read("bert/embeddings/word_embeddings").copy()
    assert kinds == {"float32", "int64"}
    assert (table.view(np.uint32) & 0xFFFF).any()  # more digits than bfloat16 has


def test_a_folder_of_another_model_stays_as_it_is(trained, tmp_path):
    folder, _ = trained
    other = tmp_path / "out"
    other.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    plan = PretrainingPlan(steps=3, dropout=0.0)
    with pytest.raises(BertError, match=r"of another model: its .* has the shape"):
        begin(other, plan, config=tiny_config(intermediate_size=48))
    for stream in (tiny_stream(seed=4)[0], tiny_stream(batch_size=2)[0]):
        with pytest.raises(BertError, match=r"model.ckpt-3 cannot .*batch size, .*seed must be"):
            begin(other, plan, stream=stream)
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before
    # No start weights are needed where there is a checkpoint, and all steps are done.
    resumed = []
    assert begin(other, plan, start={}, on_resume=resumed.append).step == 3
    assert resumed == [3]
    assert (other / "release/bert_model.ckpt.index").exists()


def test_the_mask_of_records_is_heeded_where_it_is_not_that_of_the_ids(tmp_path):
    """The original draws [PAD] as a random token too, and attends to it."""
    config = tiny_config()
    write_checkpoint(tmp_path / "x.ckpt", weights(config))
    ids = np.random.default_rng(2).integers(5, 85, (4, LENGTH))
    ids[:, -3:] = 0
    ids[0, 4] = 0
    mask = (np.arange(LENGTH) < LENGTH - 3) * np.ones_like(ids)
    features = {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": 0 * ids,
        "masked_lm_positions": np.tile([4, 5], (4, 1)),
        "masked_lm_ids": ids[:, 6:8],
        "masked_lm_weights": np.ones((4, 2), np.float32),
        "next_sentence_labels": np.zeros((4, 1), int),
    }

    def batch_of(name, **changes):
        with open(tmp_path / name, "wb") as file:
            file.writelines(map(frame, encode_examples({**features, **changes})))
        return RecordStream([tmp_path / name], batch_size=4, seed=0).next_batch()

    heeded, usual = batch_of("a"), batch_of("b", input_mask=(ids != 0).astype(int))
    assert heeded["attention_mask"].sum() == 4 * (LENGTH - 3)
    assert "attention_mask" not in usual

    def losses(batch):
        found = evaluate_checkpoint(tmp_path / "x.ckpt", config, [batch])
        return found["mlm_loss"], found["nsp_loss"]

    layers = BertLayers(config, Heads(mlm=True, nsp=True))
    layers.build()
    assign_all(layers, weights(config))
    for batch in (heeded, usual):
        mask = batch.get("attention_mask", batch["token_input"] != 0)
        model = build_gathered_pretraining_model(layers, attention_mask=True)
        run = {name: batch[name] for name in ("token_input", "seg_input", "position_input")}
        mlm, _ = Predictor(model)({**run, "attention_mask": mask})
        right = np.take_along_axis(mlm, batch["masked_lm_ids"][..., None], 2)[..., 0]
        wanted = np.mean(np.log(np.exp(mlm).sum(-1)) - right)
        assert losses(batch)[0] == pytest.approx(wanted, rel=1e-5)
    assert losses(heeded) != pytest.approx(losses(usual), rel=1e-4)
