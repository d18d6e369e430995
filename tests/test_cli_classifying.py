"""run_classifier.py asks models: texts, files, lines, a person; and --do_predict."""

import contextlib
import io
import json
import os
import shutil
import sys
import threading
from typing import NamedTuple

import keras
import numpy as np
import pandas
import pytest
import reference
from tiny_classifiers import LENGTH, VOCAB, head, scores_by_hand, tiny_config, write_bert

from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.cli.classify_predictions import parse_texts
from bert_tf.cli.main import main
from bert_tf.errors import BertError
from bert_tf.training.finetuning.session import ClassifierSession

LABELS = ("bad", "so so", "good")
TEXTS = ["w1 w5 w7", "w30", "w12 w4"]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def objects(self):
        return [json.loads(line) for line in self.out.splitlines()]


class Input(io.StringIO):
    """Standard input that may be a terminal."""

    def __init__(self, text, terminal):
        super().__init__(text)
        self.buffer = io.BytesIO(text.encode())
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def ask(monkeypatch):
    """Runs the command in this process, on the backend that runs already."""

    def run(*arguments, stdin="", terminal=False):
        monkeypatch.setattr("sys.stdin", Input(stdin, terminal))
        out, err = io.StringIO(), io.StringIO()
        flags = ["--backend", keras.backend.backend()]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(["classify", *flags, *map(str, arguments)])
            except SystemExit as error:
                code = error.code
        return Result(code, out.getvalue(), err.getvalue())

    return run


def write_model(folder, info):
    return write_bert(
        folder, head(info.num_outputs), drop=("cls/",), files={"classifier.json": info.to_json()}
    )


def info_of(labels=LABELS, **values):
    return ClassifierInfo(labels, max_seq_length=LENGTH, lower_case=True, **values)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), info_of(pairs=False))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pairs"), info_of(("no", "yes"), pairs=True))


def by_hand(texts, outputs=3):
    return reference.softmax(scores_by_hand(head(outputs), texts))


def test_a_text_and_its_probabilities(ask, model):
    result = ask("--model", model, TEXTS[0])
    assert (result.code, result.err) == (0, "")
    told, *rows = result.out.splitlines()
    ranked = sorted(zip(by_hand(TEXTS)[0], LABELS, strict=True), reverse=True)
    assert told == ranked[0][1]
    assert [row.split("%")[0].split() for row in rows] == [
        [*name.split(), f"{100 * p:.2f}"] for p, name in ranked
    ]


def test_texts_as_rows(ask, model):
    result = ask("-model", model, *TEXTS, "w6 " * 40 + "\x1b[2J")
    heads, *rows = result.out.splitlines()
    assert heads.split() == ["label", "probability", "text"]
    for row, text, p in zip(rows, TEXTS, by_hand(TEXTS), strict=False):
        assert row.startswith(LABELS[p.argmax()])
        assert row.endswith(f"{100 * p.max():.2f} %  {text}")
    assert "(cut) w6" in rows[3]
    assert "\x1b" not in result.out


def test_other_kinds_for_people(ask, tmp_path):
    many = info_of(tuple(f"l{i}" for i in range(12)), task="multilabel")
    write_model(tmp_path / "many", many)
    shown = ask("--model", tmp_path / "many", "w1").out.splitlines()
    p = 1 / (1 + np.exp(-scores_by_hand(head(12), ["w1"])[0]))
    assert shown[0] == ", ".join(f"l{i}" for i in range(12) if p[i] >= 0.5)
    assert shown[1].split()[0] == f"l{p.argmax()}"
    assert shown[-1] == "  and 2 more labels, less probable"
    assert ask("--model", tmp_path / "many", "--threshold=1", "w1").out.startswith("none of the")
    write_model(tmp_path / "number", info_of((), task="regression"))
    value = scores_by_hand(head(1), TEXTS)[:, 0]
    assert float(ask("--model", tmp_path / "number", TEXTS[0]).out) == pytest.approx(value[0], 1e-3)
    rows = ask("--model", tmp_path / "number", *TEXTS).out.splitlines()[1:]
    assert [float(row.split()[0]) for row in rows] == pytest.approx(list(value), rel=1e-3)


def test_pairs_by_turns_or_by_lines(ask, pairs):
    expected = by_hand([("w1", "w2"), ("w3 w4", "w5")], 2)
    asked = ask("--model", pairs, "--json", "w1", "w2", "w3 w4", "w5").objects
    assert [(one["text"], one["text_pair"]) for one in asked] == [("w1", "w2"), ("w3 w4", "w5")]
    lines = 'w1\tw2\n["w3 w4", "w5"]\n'
    piped = ask("--model", pairs, "--json", stdin=lines).objects
    for found in (asked, piped):
        p = [list(one["probabilities"].values()) for one in found]
        np.testing.assert_allclose(p, expected, atol=1e-5)
    odd = ask("--model", pairs, "w1", "w2", "w3")
    assert (odd.code, odd.out) == (2, "")
    assert "takes pairs of texts: give an even number of them, not 3" in odd.err


@pytest.mark.parametrize(
    ("line", "pairs", "found"),
    [
        ("a\tb", None, ("a", "b")),
        ("a\tb", False, "a\tb"),
        ("a", None, "a"),
        ('{"text": "a"}', False, "a"),
        ('{"text": "a", "text_pair": "b"}', True, ("a", "b")),
        ('{"first": "a", "second": "b"}', None, ("a", "b")),
        ('["a", "b"]', False, '["a", "b"]'),
        ("{ what?", False, "{ what?"),
        ('{"text": 3}', None, '{"text": 3}'),
    ],
)
def test_lines(line, pairs, found):
    assert parse_texts(line, pairs) == found


def test_a_line_that_is_no_pair():
    with pytest.raises(BertError, match="this model takes pairs"):
        parse_texts("a", True)


def test_lines_of_standard_input(ask, model, pairs, tmp_path):
    result = ask("--model", model, stdin="w1 w5 w7\n\nw30\n")
    assert [line.split()[-1] for line in result.out.splitlines()] == ["text", "w7", "w30"]
    bad = ask("--model", pairs, "--output_format=tsv", stdin="w1\nw2\tw3\n")
    assert bad.code == 3
    assert "standard input, line 1: this model takes pairs" in bad.err
    heads, first, second = bad.out.splitlines()
    assert heads.split("\t") == ["label", "probability", "no", "yes", "text", "text_pair"]
    assert first == "\t" * 5
    assert second.split("\t")[-2:] == ["w2", "w3"]
    output = tmp_path / "out.jsonl"
    assert ask("--model", model, "--output", output, stdin="w1\n").out == ""
    assert json.loads(output.read_text())["text"] == "w1"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_conversation(ask, model, pairs, monkeypatch):
    typed = iter(["w1 w5 w7", "quit"])
    monkeypatch.setattr("builtins.input", lambda: next(typed))
    result = ask("--model", model, terminal=True)
    assert result.err.startswith("Type a text. Leave with")
    assert result.out.splitlines()[0] == LABELS[by_hand(TEXTS)[0].argmax()]
    typed = iter(["w1", "w2", ""])
    result = ask("--model", pairs, "--json", terminal=True)
    assert [one["text_pair"] for one in result.objects] == ["w2"]


def test_a_file(ask, model, tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.tsv"
    source.write_text("id,words\n" + "".join(f"{i},{text}\n" for i, text in enumerate(TEXTS)))
    result = ask("--model", model, "--predict", source, "--text", "words", "--output", output)
    assert (result.code, result.out) == (0, f"3 rows: {output}\n")
    heads, *rows = [line.split("\t") for line in output.read_text().splitlines()]
    assert heads == ["label", "probability", *LABELS]
    np.testing.assert_allclose(
        np.array([row[2:] for row in rows], float), by_hand(TEXTS), atol=1e-5
    )
    again = ask("--model", model, "--predict", source, "--output", output)
    assert again.code == 2
    assert "exists; name another output, or pass --overwrite" in again.err
    flags = ["--predict", source, "--output", output, "--overwrite", "--echo", "--json"]
    result = ask("--model", model, *flags, "--output_format=jsonl")
    assert result.objects[0]["rows"] == 3
    assert [json.loads(line)["text"] for line in output.read_text().splitlines()] == TEXTS


def test_a_file_with_odd_rows_to_standard_output(ask, model, tmp_path):
    source = tmp_path / "in.txt"
    source.write_text("w1\n\nw2\tw3\nw30\n")
    result = ask("--model", model, "--predict", source, "--json")
    assert result.code == 3
    assert [one["line"] for one in result.objects] == [1, 2, 3, 4]
    assert [list(one)[1] for one in result.objects] == ["label", "error", "error", "label"]
    assert f"{source}, line 2: the line is blank" in result.err
    counted = ask("--model", model, "--predict", source, "--output", tmp_path / "out.tsv")
    assert counted.code == 3
    assert "4 rows, of which 2 could not be answered" in counted.out
    assert f"{source}:3: the line is damaged: 2 in place of 1" in counted.err


@pytest.mark.parametrize(
    "content",
    [
        "text\n" + "".join(f"{text}\n" for text in TEXTS),
        "id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(TEXTS)),
        "text\tid\n" + "".join(f"{text}\t{i}\n" for i, text in enumerate(TEXTS)),
        "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)),
        json.dumps([{"text": text} for text in TEXTS]),
        "".join(f"{text}\n" for text in TEXTS),
    ],
)
def test_standard_input_as_the_help_says(ask, model, tmp_path, content):
    """`--predict -`: CSV, TSV, JSON lines, JSON, plain lines, as from a file."""
    found = ask("--model", model, "--predict", "-", "--json", "--echo", stdin=content)
    assert (found.code, [one["text"] for one in found.objects]) == (0, TEXTS)
    (tmp_path / "in").write_text(content)
    assert ask("--model", model, "--predict", tmp_path / "in", "--json", "--echo").out == found.out
    output = tmp_path / "out.jsonl"
    assert ask("--model", model, "--predict", "-", "--output", output, stdin=content).out == ""
    assert len(output.read_text().splitlines()) == 3


def test_a_named_pipe_is_read_as_a_file(ask, model, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=["id,text\n1,w1\n2,\n"], daemon=True)
    writer.start()
    found = ask("--model", model, "--predict", pipe, "--json", "--echo")
    assert [one.get("text") for one in found.objects] == ["w1", None]
    assert f"error: {pipe}, line 3: the text is empty" in found.err
    assert f"{tmp_path} is no file; --predict takes a file" in ask("--predict", tmp_path).err


def test_standard_input_is_named_in_errors(ask, model):
    found = ask("--model", model, "--predict", "-", stdin="text,id\nw1,1\n,2\n")
    assert found.code == 3
    assert "error: standard input, line 3: the text is empty" in found.err
    assert ask("--model", model, "--predict", "-", stdin="").err.endswith("has no rows\n")


def test_a_file_is_read_as_the_table_of_the_training(ask, tmp_path):
    """The text is the second of three columns without names, and not the longest."""
    table = {"text": 1, "label": 0, "columns": 3, "format": "csv"}
    dialect = {"delimiter": ";", "quoting": "csv"}
    model = write_model(tmp_path / "model", info_of(pairs=False, table=table | dialect))
    source = tmp_path / "in.csv"
    source.write_text("".join(f"good;{text};w1, w2, w3 w4 w5 w6\n" for text in TEXTS))
    found = ask("--model", model, "--predict", source, "--json", "--echo")
    assert [one["text"] for one in found.objects] == TEXTS
    assert "is read as the training table" in found.err
    source.write_text("a\tb\n" + "".join(f"{text}\t{text}\n" for text in TEXTS))
    other = ask("--model", model, "--predict", source, "--format=tsv")
    assert (other.code, other.out) == (2, "")
    assert "not laid out as the training table" in other.err
    assert "Name the column of the text with --text" in other.err


@pytest.fixture
def googles(tmp_path):
    """What Google's script leaves in its output_dir, and where the release lies."""
    release, folder = tmp_path / "release", tmp_path / "output"
    release.mkdir()
    (release / "bert_config.json").write_text(tiny_config().to_json())
    (release / "vocab.txt").write_bytes(VOCAB)
    written = write_bert(tmp_path / "written", head(2), drop=("cls/",))
    folder.mkdir()
    for end in ("index", "data-00000-of-00001"):
        shutil.copy(written / f"bert_model.ckpt.{end}", folder / f"model.ckpt-343.{end}")
    (folder / "model.ckpt-343.meta").write_bytes(b"")
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-343"\n')
    return [
        f"--bert_config_file={release}/bert_config.json",
        f"--vocab_file={release}/vocab.txt",
        "--do_lower_case=true",
    ], folder


def test_what_googles_script_left(ask, googles):
    flags, folder = googles
    expected = by_hand(TEXTS, 2)
    for more, names in (
        ([], ["0", "1"]),
        (["--labels=ham,spam"], ["ham", "spam"]),
        (["--task_name=QNLI"], ["entailment", "not_entailment"]),
        (["--task_name=mrpc"], ["0", "1"]),
    ):
        result = ask("--model", folder, *flags, *more, "--json", *TEXTS)
        assert result.code == 0, result.err
        found = [list(one["probabilities"].values()) for one in result.objects]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert [list(one["probabilities"]) for one in result.objects] == [names] * 3
    wrong = ask("--model", folder, *flags, "--labels=a,b,c", "w1")
    assert wrong.code == 2
    assert "3 labels were given (a, b, c), but the classifier has 2 labels" in wrong.err


def test_do_predict_as_the_original(ask, googles, tmp_path):
    """Every row of test.tsv, in its order, also the one without text; no header."""
    flags, folder = googles
    data = tmp_path / "glue" / "SST-2"
    data.mkdir(parents=True)
    texts = ["w1 w5", "", "w30 w2"]
    (data / "test.tsv").write_text(
        "index\tsentence\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(texts))
    )
    task = ["--task_name=SST-2", f"--data_dir={tmp_path / 'glue'}", "--do_predict=true"]
    result = ask(*task, *flags, f"--output_dir={folder}", "--predict_batch_size=2")
    assert result.code == 0, result.err
    assert result.out == f"predictions of 3 rows: {folder}/test_results.tsv\n"
    found = np.loadtxt(folder / "test_results.tsv", delimiter="\t")
    np.testing.assert_allclose(found, by_hand(texts, 2), atol=1e-5)
    nothing = ask(*task, *flags, f"--output_dir={tmp_path / 'empty'}")
    assert nothing.code == 2
    assert "no classifier to predict with" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["w1"], "no classifier to predict with: name its folder with --model"),
        (["--model", "{model}", "--do_train"], "--model predicts with a classifier"),
        (["--train", "a.csv", "b.csv"], "'b.csv' follows no flag"),
        (["--model", "{model}", "--predict", "no.csv"], "there is no file no.csv"),
        (["--model", "{model}", "--predict", "x", "w1"], "give texts or --predict, not both"),
        (["--model", "{model}", "--output", "no/x.tsv", "w1"], "there is no folder no"),
        (["--model", "{model}", "--output", "x.csv", "w1"], "not as csv"),
        (["--model", "{model}", "--threshold=2", "w1"], "'2' must be at most 1"),
        (["--model", "{model}", "--pairs", "w1", "w2"], "was trained on single texts"),
        (["--model", "{model}", "--labels=a,b,c", "w1"], "labels are bad, so so, good"),
        (["--model", "nowhere", "w1"], "there is no checkpoint at nowhere"),
        (["--model", "demo_multi_cased", "w1"], "cannot classify: its checkpoint has no output"),
        (["--do_predict"], "--do_predict needs --task_name and --data_dir"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(arguments, message, ask, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ask(*(str(one).replace("{model}", str(model)) for one in arguments))
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.strip().splitlines()) <= 2  # a warning on the model may come before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--predict=new.xlsx"],
            "pandas is not installed, which the Excel workbook new.xlsx needs",
        ),
        (["--predict=new.csv", "--text=body"], "body"),
        (["--predict=new.csv", "--output=out.csv"], "not as csv"),
    ],
)
def test_what_prediction_needs_is_checked_before_training(
    flags, message, ask, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    pandas.DataFrame({"text": ["w1"]}).to_excel("new.xlsx")
    monkeypatch.setitem(sys.modules, "pandas", None)
    for name in ("new.csv", "train.csv"):
        (tmp_path / name).write_text("text,label\nw1,a\nw2,b\n")
    monkeypatch.setattr(ClassifierSession, "__init__", lambda *_: 1 / 0)
    result = ask("--train=train.csv", *flags)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts all of them")
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "openvino", None])
def test_the_script_on_every_backend(backend, run_python, model, tmp_path, request):
    """A file, as the script; None: whichever is fastest here."""
    pytest.importorskip(backend or "tensorflow")
    source, output = tmp_path / "in.tsv", tmp_path / "out.jsonl"
    texts = [*TEXTS, *TEXTS[:1] * 40]
    source.write_text("text\n" + "".join(text + "\n" for text in texts))
    flags = ["--model", model, "--predict", source, "--output", output]
    result = run_python(
        request.config.rootpath / "run_classifier.py",
        *flags,
        *([f"--backend={backend}"] if backend else []),
        timeout=600,
        BERT_TF_CACHE=str(tmp_path / "cache"),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    found = [json.loads(line) for line in output.read_text().splitlines()]
    probabilities = [list(one["probabilities"].values()) for one in found]
    np.testing.assert_allclose(probabilities, by_hand(texts), atol=1e-5)
