"""`bert_tf evaluate` on the tiny checkpoint: its figures, tables, picture, and what it refuses."""

import json
import sys

import numpy as np
import pytest

import bert_tf
from bert_tf.cli.main import main
from bert_tf.data import split_by_source, tokenize_corpus
from bert_tf.errors import BertError
from bert_tf.evaluation.pretraining.evaluate import evaluate_predictions, evaluate_pretraining
from bert_tf.report import width
from bert_tf.report.pretraining_evaluation import draw_evaluation, evaluation_text
from bert_tf.text import BertTokenizer, Vocabulary

WORDS = ["the", "in", "to", "with", "that", "his", "was", "on", "L", "of"]
OPTIONS = ["--held_out_pieces=150", "--seed=1", "--positions=40", "--max_seq_length=32"]


@pytest.fixture(scope="module")
def corpus(tiny_ckpt, tmp_path_factory):
    """Two groups of twelve documents with six sentences of random words each."""
    folder = tmp_path_factory.mktemp("judge")
    rng = np.random.default_rng(5)
    files = {}
    for group in ("en", "x"):
        documents = [
            "\n".join(" ".join(rng.choice(WORDS, 6)) + "." for _ in range(6)) for _ in range(12)
        ]
        (folder / f"{group}.txt").write_text("\n\n".join(documents), "utf-8")
        files[group] = [folder / f"{group}.txt"]
    tokenizer = BertTokenizer(Vocabulary.load(tiny_ckpt / "vocab.txt"), lower_case=False)
    return tokenize_corpus(files, tokenizer, folder / "tokens", progress=False)


@pytest.fixture(scope="module")
def judged(corpus, tiny_ckpt):
    """The judgement that the command prints with `OPTIONS`."""
    held_out = split_by_source(corpus, 150, 1)
    return evaluate_pretraining(
        tiny_ckpt, corpus, held_out, max_seq_length=32, positions=40, seed=1
    ).to_dict()


def run(corpus, tiny_ckpt, *arguments):
    model = ["--checkpoint", str(tiny_ckpt), "--corpus", str(corpus.folder)]
    return main(["judge", *model, *OPTIONS, *arguments])


def test_json_is_what_the_library_found(corpus, tiny_ckpt, judged, capsys):
    assert run(corpus, tiny_ckpt, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("model") == "tiny_ckpt"
    assert printed.pop("settings") == judged.pop("settings")
    for group, expected in zip(printed["groups"], judged["groups"], strict=True):
        for kind in ("single", "whole_word"):
            for name, score in expected[kind].items():
                assert group[kind][name] == pytest.approx(score, abs=1e-6)
        assert group["next_sentence"] == pytest.approx(expected["next_sentence"])


def test_a_picture_that_cannot_be_drawn_is_noticed_at_the_start(
    corpus, tiny_ckpt, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("bert_tf.cli.evaluate.load_bert", lambda args: 1 / 0)
    assert run(corpus, tiny_ckpt, "--plot", str(tmp_path / "no" / "a.png")) == 2
    assert "there is no folder" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(corpus, tiny_ckpt, "--plot", str(tmp_path / "a.png")) == 2
    assert "matplotlib is not installed, which a picture needs" in capsys.readouterr().err


def test_the_model_that_gathers_is_judged_as_the_whole_one_would_be(corpus, tiny_ckpt):
    """The whole pretraining model predicts all positions; those asked for are picked here."""
    bert = bert_tf.load(tiny_ckpt, lower_case=False)
    whole = bert.predictor("pretraining", logits=True)

    def pick(inputs):
        positions = inputs.pop("position_input")
        mlm, nsp = whole({**inputs, "mask_input": np.zeros_like(inputs["token_input"])})
        return [np.take_along_axis(mlm, positions[:, :, None], 1), nsp]

    held_out = split_by_source(corpus, 150, 1)
    options = {"max_seq_length": 32, "positions": 40, "seed": 3, "baselines": False}
    one = evaluate_predictions(pick, bert.vocab, corpus, held_out, **options).plain_mean
    two = evaluate_pretraining(bert, corpus, held_out, **options).plain_mean
    for kind in ("single", "whole_word"):
        expected = vars(getattr(one, kind)["model"])
        assert vars(getattr(two, kind)["model"]) == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert vars(two.next_sentence) == pytest.approx(vars(one.next_sentence), nan_ok=True)


def test_tables_and_a_picture(corpus, tiny_ckpt, tmp_path, capsys):
    picture = tmp_path / "judged.png"
    assert run(corpus, tiny_ckpt, "--plot", str(picture)) == 0
    printed = capsys.readouterr().out
    blocks = printed.split("\n\n")
    assert [block.split("  ")[0] for block in blocks[1:4]] == [
        "single tokens masked",
        "whole words masked",
        "next sentence",
    ]
    for block in blocks[1:4]:
        names = [line.split("  ")[0] for line in block.splitlines()[2:]]
        assert names == ["en", "x", "mean as in training", "plain mean"]
        assert max(map(width, block.splitlines())) <= 140
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_baselines_there_are_none(corpus, tiny_ckpt, capsys):
    assert run(corpus, tiny_ckpt, "--no-baselines") == 0
    assert "3-gram " not in capsys.readouterr().out.split("\n\n")[1]


def test_figures_stand_in_their_columns():
    """Two masked tables and one of pairs of a judgement made up; None is shown as a dash."""
    mask = {"positions": 1234, "loss": 3.0, "perplexity": 2345.6, "top1": 0.25, "top5": 0.5}
    mask |= {"top1_half_width": 0.01, "top5_half_width": None}
    pairs = {"pairs": 100, "random_pairs": 60, "on_true": 0.5, "on_random": None}
    pairs |= {"balanced": 0.7, "balanced_half_width": 0.02}
    pairs |= {"as_drawn": 0.6, "as_drawn_half_width": 0.03}
    group = {
        "name": "日本語",
        "share": 1.0,
        "single": {"model": mask},
        "whole_word": {"model": mask},
    }
    group["next_sentence"] = pairs
    settings = {"held_out_documents": 3, "held_out_pieces": 5000, "max_seq_length": 128}
    settings |= {"masked_lm_prob": 0.15, "smoothing": 0.7}
    text = evaluation_text(
        {"groups": [group], "weighted_mean": group, "plain_mean": group, "settings": settings}
    )
    lines = [line.split() for line in text.splitlines() if line.startswith("日本語")]
    assert lines[0] == ["日本語", "1,234", "25.0", "±1.0", "50.0", "2,346"]
    assert len(lines) == 9
    wanted = ["日本語", "100", "60", "70.0", "±2.0", "50.0", "-", "60.0", "±3.0"]
    assert lines[6] == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "nowhere"], "no tokenized corpus"),
        (["--max_seq_length", "128"], "takes 64"),
    ],
)
def test_bad_input_is_told_in_a_line(corpus, tiny_ckpt, capsys, arguments, message):
    assert run(corpus, tiny_ckpt, *arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("bert_tf: error: ")
    assert message in error[-1]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--positions=0", "--positions: '0' must be at least 1"),
        ("--seed=-1", "--seed: '-1' must be at least 0"),
        ("--held_out_pieces=few", "--held_out_pieces: 'few' must be a whole number"),
        ("--max_seq_length=3", "--max_seq_length: '3' must be at least 5"),
        ("--masked_lm_prob=0", "--masked_lm_prob: '0' must be above 0"),
        ("--smoothing=3", "--smoothing: '3' must be at most 1"),
    ],
)
def test_bad_usage_ends_with_code_2(corpus, tiny_ckpt, capsys, argument, message):
    with pytest.raises(SystemExit) as stop:
        run(corpus, tiny_ckpt, argument)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("bert_tf: error: ")
    assert message in error


def test_another_vocabulary_is_refused(corpus, tiny_ckpt):
    lines = (tiny_ckpt / "vocab.txt").read_text("utf-8").splitlines()
    vocab = Vocabulary.from_lines([*lines[:-1], "something"])
    bert = bert_tf.load(tiny_ckpt, vocab=vocab, lower_case=False)
    with pytest.raises(BertError, match="another vocabulary"):
        evaluate_pretraining(bert, corpus, split_by_source(corpus, 150, 1))


def test_a_picture_that_cannot_be_written_is_told(judged, tmp_path):
    with pytest.raises(BertError, match="cannot write"):
        draw_evaluation({"settings": {}, **judged}, tmp_path / "missing" / "a.png")
