"""run_pretraining.py and tokenize: whole tiny trainings, as users type them."""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from typing import NamedTuple

import numpy as np
import pytest

from bert_tf.checkpoint import CheckpointReader
from bert_tf.cli import pretraining
from bert_tf.cli.main import main
from bert_tf.cli.options import print_message
from bert_tf.cli.training import Watcher
from bert_tf.data import TokenCorpus, split_by_source
from bert_tf.errors import BertError
from bert_tf.files.log import reported_to
from bert_tf.training.log import TrainingLog, read_log
from bert_tf.training.pretraining.session import last_checkpoint

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"{start}{end}" for start in "abcdefgh" for end in "aeiou"]
CONFIG = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
}


class Result(NamedTuple):
    code: int
    out: str
    err: str


def command(*arguments):
    """Runs a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
    return Result(code, out.getvalue(), err.getvalue())


def text_of(seed, documents=16, sentences=6):
    """Sentences of five words; each document has a few favourite words."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(documents):
        favourites = rng.choice(WORDS, 8)
        lines = (" ".join(rng.choice(favourites, 5)) for _ in range(sentences))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with texts, vocabulary, config, TFRecords in two files and a tokenized corpus."""
    folder = tmp_path_factory.mktemp("pretraining")
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    (folder / "bert_config.json").write_text(json.dumps(CONFIG))
    for number, name in enumerate(("en", "de")):
        (folder / f"{name}.txt").write_text(text_of(number))
    vocab = ("--vocab_file", folder / "vocab.txt", "--do_lower_case=False")
    for name in ("en", "de"):
        made = command(
            "pretraining-data", f"--input_file={folder / name}.txt", *vocab, "--dupe_factor=2",
            f"--output_file={folder / name}.tfrecord", "--max_seq_length=32",
            "--max_predictions_per_seq=5", "--num_workers=1",
        )  # fmt: skip
        assert made.code == 0, made.err
    inputs = f"{folder / 'en.txt'},{folder / 'de.txt'}"
    made = command(
        "tokenize", "--input_file", inputs, *vocab, "--output_dir", folder / "corpus"
    )  # fmt: skip
    assert made.code == 0, made.err
    os.remove(folder / "vocab.txt")  # the corpus has its own
    return folder


def flags(here, output, **more):
    """Flags of a short training on the corpus."""
    values = {
        "input_file": here / "corpus",
        "bert_config_file": here / "bert_config.json",
        "output_dir": output,
        "do_train": True,
        "max_seq_length": 32,
        "max_predictions_per_seq": 5,
        "train_batch_size": 4,
        "eval_batch_size": 4,
        "max_eval_steps": 3,
        "num_train_steps": 20,
        "num_warmup_steps": 4,
        "learning_rate": 0.01,
        "log_steps": 5,
        "save_checkpoints_steps": 5,
        **more,
    }
    return ["pretrain", *(f"--{k}={v}" for k, v in values.items() if v is not None)]


ON_CORPUS = {"do_eval": True, "eval_steps": 10, "held_out_pieces": 100, "start": "spectral"}


@pytest.fixture(scope="module")
def trained(here):
    """A training from its start to its end, and what it printed."""
    pytest.importorskip("sklearn")
    return here / "out", command(*flags(here, here / "out", **ON_CORPUS))


def test_a_training_leaves_all_that_it_names(trained):
    out, result = trained
    assert result.code == 0, result.err
    assert last_checkpoint(str(out)) == str(out / "model.ckpt-20")
    names = {"bert_config.json", "checkpoint", "curve.png", "eval_results.txt", "log.csv"}
    names |= {"release", "tensorboard", "vocab.txt"}
    visible = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert {name for name in visible if not name.startswith("model.ckpt-")} == names
    for name in ("release", "model.ckpt-20", "log.csv", "tensorboard", "curve.png"):
        assert f"{out / name}\n" in result.out
    assert f"python run_mask.py --checkpoint {out / 'release'} " in result.out
    assert result.out.endswith("/corpus --held_out_pieces 100 --held_out_seed 1\n")
    with CheckpointReader(str(out / "release" / "bert_model.ckpt")) as reader:
        assert reader.tensors["bert/embeddings/word_embeddings"].shape == (45, 16)


def test_the_log_has_all_rows(trained):
    """At 4 of 20 steps of warm-up the rate rises by 1/4 of 0.01 a step, then falls on the line.

    Step n was taken with the rate of the schedule at n - 1.
    """
    rows = read_log(trained[0] / "log.csv")
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    rates = [0.01 * (1 - (step - 1) / 20) for step in (5, 10, 15, 20)]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], rates, rtol=1e-5)
    assert [row["step"] for row in rows if "eval_loss" in row] == [10, 20]
    for row in rows:
        assert row["loss"] == pytest.approx(row["mlm_loss"] + row["nsp_loss"], rel=1e-5)
        assert 0 <= row["mlm_accuracy"] <= 1
    first = trained[1].out.splitlines()[0]
    assert first.startswith(f"step 5 | loss {rows[0]['loss']:.4f}, MLM ")


def results_of(folder):
    lines = (folder / "eval_results.txt").read_text().splitlines()
    return {name: float(value) for name, value in (line.split(" = ") for line in lines)}


def test_the_evaluation_is_told_by_the_originals_names(trained):
    found = results_of(trained[0])
    last = read_log(trained[0] / "log.csv")[-1]
    assert found == pytest.approx(
        {
            "global_step": 20,
            "loss": last["eval_loss"],
            "masked_lm_accuracy": last["eval_mlm_accuracy"],
            "masked_lm_loss": last["eval_mlm_loss"],
            "next_sentence_accuracy": last["eval_nsp_accuracy"],
            "next_sentence_loss": last["eval_nsp_loss"],
        },
        rel=1e-6,
    )
    assert list(found) == sorted(found)


def test_an_evaluation_alone_finds_the_same(trained, here):
    """Also once training is complete and its log has gone."""
    out = here / "copy"
    shutil.copytree(trained[0], out)
    (out / "eval_results.txt").unlink()
    more = {**ON_CORPUS, "do_train": False, "json": True, "bert_config_file": None}
    result = command(*flags(here, out, **more))
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["eval"] == pytest.approx(results_of(trained[0]), rel=1e-4)
    assert results_of(out) == told["eval"]


def test_a_stopped_training_goes_on_as_if_it_had_not(trained, here, monkeypatch):
    """SIGTERM after the row of step 10; the numbers of the rows are those of the unbroken run."""
    out = here / "stopped"
    add = TrainingLog.add

    def add_and_stop(log, row):
        add(log, row)
        if row["step"] == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "add", add_and_stop)
        result = command(*flags(here, out, **ON_CORPUS))
    assert result.code == 130
    assert "stopped after step 10, which is saved: " + str(out / "model.ckpt-10") in result.out
    assert "10 steps are left" in result.out
    assert (out / "curve.png").exists()
    (out / "log.csv").write_text((out / "log.csv").read_text() + "15,0.003,7")  # a half line
    result = command(*flags(here, out, **{**ON_CORPUS, "json": True}))
    assert result.code == 0, result.err
    assert "resumes from step 10\n" in result.err
    assert "factorising" not in result.err  # no start is computed again
    *rows, end = map(json.loads, result.out.splitlines())
    assert [row["step"] for row in rows] == [15, 20]
    assert end["step"] == 20
    assert end["interrupted"] is False
    assert end["release"] == str(out / "release")
    for one, other in zip(read_log(out / "log.csv"), read_log(trained[0] / "log.csv"), strict=True):
        for name in other:
            if not name.endswith("per_second"):
                assert one[name] == pytest.approx(other[name], rel=1e-3), name


def test_records_with_the_flags_as_they_stand_in_scripts(here):
    """Lengths are those of the files; evaluations are on other files."""
    out = here / "records"
    result = command(
        "pretrain", f"-input_file={here}/*n.tfrecord", "--output_dir", out, "-do_train=true",
        "--do_eval", "--bert_config_file", here / "bert_config.json", "--num_train_steps=0x6",
        "--vocab_file", here / "corpus" / "vocab.txt", "--train_batch_size=4",
        "--num_warmup_steps=2", "--learning_rate=2e-3", "--max_seq_length=32",
        "--max_predictions_per_seq=5", "--save_checkpoints_steps=3", "--max_eval_steps=2",
        "--iterations_per_loop=1000", "--nouse_tpu", "--tpu_name=x", "--num_tpu_cores=8",
        "--keep_checkpoint_max=1", f"--eval_input_file={here / 'de.tfrecord'}",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "--iterations_per_loop does nothing here" in result.err
    assert "--tpu_name does nothing here: JAX finds TPUs by itself" in result.err
    assert "trained on" not in result.err
    assert sorted(path.name for path in out.glob("*.index")) == ["model.ckpt-6.index"]
    assert results_of(out)["global_step"] == 6


def test_a_training_from_a_checkpoint_onto_longer_texts(trained, here):
    """Its weights are where training starts: with a rate of 0 they stay as they are."""
    config = here / "longer.json"
    config.write_text(json.dumps({**CONFIG, "max_position_embeddings": 48}))
    out = here / "longer"
    more = {
        "bert_config_file": config,
        "init_checkpoint": trained[0] / "release",
        "max_seq_length": 48,
        "num_train_steps": 2,
        "num_warmup_steps": 0,
        "learning_rate": 0,
        "distribute": "data",
    }
    result = command(*flags(here, out, **more))
    assert result.code == 0, result.err
    assert "there is only one device to train on" in result.err
    assert "the position table of 32 rows is repeated to fill 48" in result.err
    name = "bert/encoder/layer_0/output/dense/kernel"
    with (
        CheckpointReader(str(out / "release" / "bert_model.ckpt")) as reader,
        CheckpointReader(str(trained[0] / "release" / "bert_model.ckpt")) as before,
    ):
        np.testing.assert_array_equal(reader.read(name), before.read(name))
        assert reader.tensors["bert/embeddings/position_embeddings"].shape == (48, 16)


@pytest.fixture
def tokens(here):
    return TokenCorpus.open(here / "corpus")


def refused(here, **more):
    """The message of a training that cannot be; nothing was made."""
    out = here / "never"
    result = command(*flags(here, out, **more))
    assert result.code == 2
    assert result.out == ""
    assert not out.exists()
    *warnings, error = result.err.splitlines()
    assert all(warning.startswith("bert_tf: ") for warning in warnings)
    assert error.startswith("bert_tf: error: ")
    return error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"do_train": False}, "nothing to do: pass --do_train, --do_eval or both"),
        ({"output_dir": None}, "the following arguments are required: --output_dir"),
        ({"input_file": None}, "the following arguments are required: --input_file"),
        ({"bert_config_file": None}, "pass --bert_config_file"),
        ({"bert_config_file": "nowhere.json"}, "cannot read the BERT config nowhere.json"),
        ({"input_file": "nowhere"}, "nowhere: this file is missing"),
        ({"input_file": "{here}"}, "holds no tokenized corpus: it has no corpus.json"),
        ({"input_file": "{here}/corpus,{here}/en.tfrecord"}, "names the folder"),
        ({"input_file": "{here}/en.txt"}, "is no TFRecord file: the checksum"),
        ({"max_seq_length": 33}, "up to 33 tokens, but max_position_embeddings in the BERT"),
        ({"max_seq_length": None}, "up to 128 tokens, but"),
        ({"input_file": "{here}/en.tfrecord", "max_seq_length": 16}, "--max_seq_length=32"),
        ({"input_file": "{here}/en.tfrecord", "start": "spectral"}, "names TFRecord files"),
        ({"input_file": "{here}/en.tfrecord", "held_out_pieces": 9}, "--eval_input_file"),
        ({"init_checkpoint": "{here}/nothing"}, "there is no checkpoint at"),
        ({"vocab_file": "{here}/nothing"}, "cannot read the vocabulary"),
        (
            {"held_out_pieces": 9, "eval_input_file": "{here}/en.tfrecord"},
            "give --eval_input_file or --held_out_pieces, not both",
        ),
        ({"do_train": False, "do_eval": True}, "there is no checkpoint in"),
        ({"learning_rate": "fast"}, "'fast' must be a number"),
        ({"start": "warm"}, "invalid choice: 'warm'"),
        ({"precision": "float16"}, "invalid choice: 'float16'"),
        ({"backend": "openvino"}, "OpenVINO cannot train; pass --backend=tensorflow"),
        ({"backend": "numpy"}, "the backend is 'numpy'"),
        ({"backend": "tensorflow", "use_tpu": True}, "--use_tpu needs JAX"),
        ({"do_whole_word_mask": True, "whole_word_share": 0.5}, "leave one of them out"),
        ({"random_seed": 2**32}, "--random_seed: '4294967296' must be at most"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(more, message, here):
    given = {k: v.format(here=here) if isinstance(v, str) else v for k, v in more.items()}
    given["vocab_file"] = given.get("vocab_file", here / "corpus" / "vocab.txt")
    assert message in refused(here, **given)


def test_a_missing_package_is_noticed_at_the_start(here, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "scipy", None)
    message = refused(here, **ON_CORPUS)
    assert "scipy is not installed, which the spectral start needs" in message
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with reported_to(print_message):
        speaker = Watcher(TrainingLog(tmp_path, events=False))
        told = capsys.readouterr().err
        assert "the curve is not drawn: matplotlib is not installed" in told
        speaker.close()
    assert capsys.readouterr().err == ""


def test_two_starts_are_refused(trained, here):
    more = {"init_checkpoint": trained[0], "start": "spectral"}
    assert "are two starts" in refused(here, **more)


def test_config_and_vocabulary_of_two_models_are_refused(here):
    config, vocab = here / "other.json", here / "other.txt"
    config.write_text(json.dumps({**CONFIG, "vocab_size": 44}))
    message = refused(here, bert_config_file=config)
    assert "has 45 tokens, but the model's word-embedding table has only 44 rows" in message
    vocab.write_text("\n".join([*SPECIAL, *reversed(WORDS)]) + "\n")
    assert "was tokenized with another vocabulary" in refused(here, vocab_file=vocab)
    vocab.unlink()


def test_a_missing_vocabulary_is_asked_for(here):
    message = refused(here, input_file=here / "en.tfrecord", bert_config_file=here / "other.json")
    assert "pass --vocab_file" in message


def test_a_vocabulary_other_than_the_checkpoints_is_warned_of(trained, here, caplog):
    changed = here / "changed.txt"
    changed.write_text("\n".join([*SPECIAL, *reversed(WORDS)]) + "\n")
    more = {"input_file": here / "en.tfrecord", "vocab_file": changed, "start": "warm"}
    args = pretraining_arguments(here, trained[0], **{**more, "start": "random"})
    pretraining.make_session(args)
    assert any("differs in 40 of 45 tokens" in warning for warning in caplog.messages)
    changed.unlink()


def pretraining_arguments(here, checkpoint, **more):
    from bert_tf.cli.main import build_parser

    return build_parser().parse_args(
        flags(here, here / "never", init_checkpoint=checkpoint, **more)
    )


def test_what_is_held_out_is_not_trained_on(trained, here, tokens):
    """The stream's documents are those that the split leaves, and evaluations use the others."""
    more = {"held_out_pieces": 100, "random_seed": 7, "whole_word_share": 0.5}
    session = pretraining.make_session(pretraining_arguments(here, None, **more))
    assert session._source.stream.mask_rules.whole_word == 0.5
    held_out = split_by_source(tokens, 100, 1)
    assert 0 < held_out.sum() < len(tokens) / 2
    np.testing.assert_array_equal(session._source.trained_on, ~held_out)
    assert session.evaluated_on_same == ""
    groups = session._source.stream._groups
    trained_on = np.concatenate([group._documents for group in groups])
    np.testing.assert_array_equal(np.sort(trained_on), np.flatnonzero(~held_out))
    judged = session._source.evaluation()
    found = np.concatenate([group._documents for group in judged._groups])
    np.testing.assert_array_equal(np.sort(found), np.flatnonzero(held_out))
    batch = judged.next_batch()
    again = session._source.evaluation().next_batch()
    np.testing.assert_array_equal(batch["token_input"], again["token_input"])


def test_a_session_needs_no_framework(here, run_python):
    code = (
        "import sys\n"
        "from bert_tf.cli.main import build_parser\n"
        "from bert_tf.cli.pretraining import make_session\n"
        f"make_session(build_parser().parse_args({flags(here, here / 'never')!r}))\n"
        "print([name for name in ('keras', 'tensorflow', 'jax') if name in sys.modules])\n"
    )
    assert run_python("-c", code).stdout == "[]\n"


def test_the_backend_that_is_chosen(monkeypatch):
    chosen = []
    monkeypatch.setattr("bert_tf.backend.choose_backend", chosen.append)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for name, tpu in ((None, False), ("jax", False), (None, True), ("auto", True), ("jax", True)):
        pretraining.choose_training_backend(name, tpu)
    assert chosen == [None, "jax", "jax", "jax", "jax"]
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    with pytest.raises(BertError, match="OpenVINO cannot train"):
        pretraining.choose_training_backend(None)


def test_a_warm_up_without_an_end_is_warned_of(here, monkeypatch):
    monkeypatch.setattr(pretraining, "train", lambda session, args: 1 / 0)
    with pytest.raises(ZeroDivisionError), contextlib.redirect_stderr(io.StringIO()) as err:
        main(flags(here, here / "never", num_warmup_steps=None))
    assert "--num_warmup_steps=10000 is not less than --num_train_steps=20" in err.getvalue()


@reported_to(print_message)
def test_what_cannot_be_drawn_is_said_once(tmp_path, monkeypatch, capsys):
    log = TrainingLog(tmp_path, events=False)
    log.add({"step": 1, "loss": 2.0})
    speaker = Watcher(log)

    def fail(*_):
        raise BertError("matplotlib is not installed")

    monkeypatch.setattr("bert_tf.report.curves.draw_curves", fail)
    speaker.draw()
    speaker.draw()
    told = capsys.readouterr().err
    assert told == "bert_tf: the curve is not drawn: matplotlib is not installed\n"


def test_the_script_trains_in_a_process_of_its_own_on_jax(here, tmp_path, run_python, request):
    pytest.importorskip("jax")
    script = request.config.rootpath / "run_pretraining.py"
    out = tmp_path / "out"
    more = {"num_train_steps": 2, "num_warmup_steps": 1, "use_tpu": True}  # that is, JAX
    more["distribute"] = "data"
    arguments = flags(here, out, **more)[1:]
    two = "--xla_force_host_platform_device_count=2"
    result = run_python(script, *arguments, timeout=300, XLA_FLAGS=two)
    assert result.returncode == 0, result.stderr
    assert all(line.startswith("bert_tf: ") for line in result.stderr.splitlines())
    assert "only one device" not in result.stderr
    assert (out / "release" / "bert_model.ckpt.index").exists()


def test_tokenize_tells_what_it_read(here, tmp_path):
    (tmp_path / "en.tsv").write_text("id\n" + "".join(f"book{n // 2}#{n}\n" for n in range(16)))
    result = command(
        "tokenize", f"--input_file={here / 'en.txt'},second={here}/d*.txt", "--do_lower_case",
        f"--vocab={here / 'corpus' / 'vocab.txt'}", f"--output_dir={tmp_path / 'made'}",
        f"--sources=en={tmp_path / 'en.tsv'}:id",
    )  # fmt: skip
    assert result.code == 0, result.err
    corpus = TokenCorpus.open(tmp_path / "made")
    assert corpus.group_names == ("en", "second")
    assert corpus.lower_case
    assert corpus.info["sources"] == 8 + 16
    assert result.out.splitlines()[0].endswith("960 tokens of 32 documents, parts of 24 sources")
    assert result.out.splitlines()[2].split() == ["en", "16", "96", "480", "0.000", "%"]
    assert (tmp_path / "made" / "vocab.txt").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"input_file": "a/en.txt,b/en.txt"}, "are both called en; name them: --input_file=en1="),
        ({"input_file": "nowhere.txt"}, "nowhere.txt: this file is missing"),
        ({"sources": "en.tsv"}, "--sources has en.tsv; it must start with a group"),
        ({"sources": "ru=x.tsv"}, "as in en=documents.tsv:id"),
        ({"sources": "en=nowhere.tsv"}, "nowhere.tsv: this file is missing"),
        ({"vocab_file": "nowhere"}, "cannot read the vocabulary nowhere"),
        ({"output_dir": "{here}"}, "exists and is not empty"),
    ],
)
def test_what_cannot_be_tokenized_is_told(more, message, here, tmp_path):
    values = {
        "input_file": here / "en.txt",
        "vocab_file": here / "corpus" / "vocab.txt",
        "output_dir": tmp_path / "made",
    }
    values |= {k: v.format(here=here) for k, v in more.items()}
    result = command("tokenize", *(f"--{k}={v}" for k, v in values.items()))
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("bert_tf: error: ")
    assert message in result.err
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_zeros_where_they_are_allowed(here, tmp_path):
    """All at once; what is allowed computes something."""
    names = ("learning_rate", "num_warmup_steps", "eval_steps", "dropout", "weight_decay")
    names += ("random_seed", "held_out_pieces", "held_out_seed", "smoothing", "whole_word_share")
    zeros = dict.fromkeys((*names, "short_seq_prob"), 0)
    result = command(*flags(here, tmp_path / "out", **zeros, num_train_steps=2))
    assert result.code == 0, result.err
    losses = [row["loss"] for row in read_log(tmp_path / "out" / "log.csv")]
    assert len(losses) == 1
    assert np.isfinite(losses).all()
