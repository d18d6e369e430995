"""The commands in this process, with the model loaded once: what they print and return."""

import builtins
import gzip
import io
import json
import os
import pathlib
import sys

import pytest

import bert_tf
from bert_tf.cli import mask, nsp
from bert_tf.cli.main import main

TEXT = "the [MASK] of [MASK]."


@pytest.fixture(scope="module")
def bert(tiny_ckpt):
    return bert_tf.load(tiny_ckpt, lower_case=False)


@pytest.fixture(autouse=True)
def loaded(bert, monkeypatch, tiny_ckpt):
    """Every command gets the same model."""
    monkeypatch.setenv("BERT_TF_CHECKPOINT", str(tiny_ckpt))
    for module in (mask, nsp):
        monkeypatch.setattr(module, "load_bert", lambda args: bert)


def pipe(monkeypatch, content: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))


def typed(monkeypatch, *lines):
    """A terminal on which a person types these lines, then Ctrl-D, or Ctrl-C for `None`."""
    answers = iter(lines)

    def ask(prompt=""):
        line = next(answers, EOFError)
        if line is None:
            raise KeyboardInterrupt
        if line is EOFError:
            raise EOFError
        return line

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(builtins, "input", ask)


def test_the_filled_text_comes_first_then_a_table_for_each_mask(capsys):
    assert main(["mask", "--top-k", "3", TEXT]) == 0
    first, *blocks = capsys.readouterr().out.split("\n\n")
    assert first.startswith("the ")
    assert "[MASK]" not in first
    assert [block.splitlines()[0] for block in blocks] == [
        "mask 1 of 2, each mask alone",
        "mask 2 of 2, each mask alone",
    ]
    for block in blocks:
        shares = [float(line.split()[1]) for line in block.splitlines()[1:]]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("mode", "label"),
    [("sequential", "one mask after another"), ("joint", "all masks together")],
)
def test_the_way_of_filling_is_named(mode, label, capsys):
    assert main(["mask", "--mode", mode, TEXT]) == 0
    assert label in capsys.readouterr().out


def test_one_mask_needs_no_label(capsys):
    assert main(["mask", "--mode", "sequential", "the [MASK]"]) == 0
    assert "mask\n" in capsys.readouterr().out


def test_candidates_are_all_that_is_offered(capsys):
    assert main(["mask", "--candidates", "house, the,дом", "the [MASK]"]) == 0
    rows = capsys.readouterr().out.split("mask\n")[1].splitlines()
    assert {row.split()[0] for row in rows} == {"house", "the", "дом"}


def test_json_has_the_fields_of_the_results(capsys):
    assert main(["mask", "--json", "--top-k", "2", "--mode", "joint", TEXT, "a [MASK]"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == [TEXT, "a [MASK]"]
    assert list(lines[0]) == ["text", "filled", "mode", "masks", "combinations"]
    assert list(lines[0]["masks"][0]) == ["start", "end", "guesses"]
    assert list(lines[0]["masks"][0]["guesses"][0]) == ["word", "probability", "pieces", "text"]
    assert list(lines[0]["combinations"][0]) == ["words", "probability", "text"]
    start, end = lines[0]["masks"][1]["start"], lines[0]["masks"][1]["end"]
    assert TEXT[start:end] == "[MASK]"


def test_a_bad_text_among_the_arguments_is_an_error(capsys):
    assert main(["mask", "a [MASK]", "no mask"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bert_tf: error: ")


BAD_LINES = b"\xef\xbb\xbfthe [MASK]\r\n\nno mask\n\xff\xfe\nx [MASK] y"


def test_bad_lines_of_a_file_are_told_and_the_rest_go_on(tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_bytes(BAD_LINES)
    assert main(["mask", "--json", "--input", str(texts)]) == 3
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["line"] for line in lines] == [1, 3, 4, 5]  # line 2 is blank
    assert [line.get("text") for line in lines] == ["the [MASK]", None, None, "x [MASK] y"]
    assert list(lines[1]) == ["line", "error"]
    assert "UTF-8" in lines[2]["error"]
    assert [line.split(": ")[2].split(", ")[1] for line in err.splitlines()] == ["line 3", "line 4"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
@pytest.mark.parametrize("piped", [False, True])
def test_compressed_and_utf16_texts_are_read(tmp_path, monkeypatch, capsys, encoding, pack, piped):
    raw = pack("the дом [MASK]\r\n\nx [MASK] y".encode(encoding))
    (tmp_path / "texts").write_bytes(raw)
    pipe(monkeypatch, raw)
    assert main(["mask", "--json", *([] if piped else ["--input", str(tmp_path / "texts")])]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["the дом [MASK]", "x [MASK] y"]


@pytest.mark.parametrize("command", ["mask", "nsp"])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("первый [MASK]\tвторой\n".encode("cp1251") * 300, "not UTF-8, 101 of 101 lines; it reads"),
        (gzip.compress(b"a [MASK]\tb\n" * 5)[:-9], "broken or cut off as a gzip file"),
        (b"PK\x03\x04zip", "a zip archive or an Excel workbook; give plain text"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_message(tmp_path, capsys, command, raw, message):
    texts = tmp_path / "texts.txt"
    texts.write_bytes(raw)
    assert main([command, "--json", "--input", str(texts)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bert_tf: error: {texts}")
    assert message in err
    assert err.count("\n") == 1


def test_strays_of_a_file_are_errors_of_their_own(tmp_path, capsys):
    """Four of a hundred lines; a tenth of them would be another encoding."""
    texts = tmp_path / "texts.txt"
    texts.write_bytes((b"a [MASK]\n" * 24 + b"caf\xe9 [MASK]\n") * 4)
    assert main(["mask", "--json", "--top-k=1", "--input", str(texts)]) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["line"] for line in lines if "error" in line] == [25, 50, 75, 100]
    assert len(lines) == 100


def test_standard_input_is_answered_the_same(monkeypatch, capsys):
    pipe(monkeypatch, BAD_LINES)
    assert main(["mask", "--json"]) == 3
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "standard input, line 3" in err


def test_many_lines_keep_their_order(tmp_path):
    texts, answers = tmp_path / "texts.txt", tmp_path / "answers.jsonl"
    written = [f"{'long ' * (n % 9)}{n} [MASK]" for n in range(70)]
    texts.write_text("\n".join(written), encoding="utf-8")
    argv = ["mask", "--json", "--batch-size", "2", "--top-k", "1"]
    assert main([*argv, "--input", str(texts), "--output", str(answers)]) == 0
    lines = answers.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == written


def test_no_text_is_told(monkeypatch, capsys):
    pipe(monkeypatch, b"\n")
    assert main(["mask"]) == 0
    assert "contains no text" in capsys.readouterr().err


@pytest.mark.parametrize("last", ["", "quit", None, EOFError])
def test_a_terminal_is_asked_until_enough(last, monkeypatch, capsys):
    typed(monkeypatch, "the [MASK]", "no mask", "a [MASK]", last)
    assert main(["mask", "--top-k", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.count("mask\n") == 2
    assert "there is no [MASK]" in err


def test_next_sentence_says_it_in_these_words(capsys):
    assert main(["nsp", "the house", "it is"]) == 0
    okay, probability = capsys.readouterr().out.splitlines()
    share = float(probability.removeprefix("probability that B follows A: "))
    assert okay == f"Sentence is okay: {round(100 * share)} %"


def test_several_pairs_make_a_table(capsys):
    assert main(["nsp", "a", "b", "東京", "x" * 99]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["okay", "B", "follows", "A", "label", "A", "B"]
    assert len(rows) == 2
    assert rows[1].endswith("xxx…")


def test_a_pair_that_was_cut_is_told(capsys):
    assert main(["nsp", "a " * 100, "b"]) == 0
    assert "was cut" in capsys.readouterr().out
    assert main(["nsp", "a " * 100, "b", "a", "b"]) == 0
    assert ", cut" in capsys.readouterr().out


def test_lines_with_pairs(monkeypatch, capsys):
    pipe(
        monkeypatch,
        b'a\tb\n["a", "b"]\n{"second": "b", "first": "a"}\na\n["a"]\n{"first": 1}\n\tb\n',
    )
    assert main(["nsp", "--json"]) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(lines[0]) == ["line", "first", "second", "probability", "label", "cut"]
    assert [line.pop("line") for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    # The last digits of a probability depend on the row's neighbours in the batch.
    rounded = [{**line, "probability": round(line["probability"], 5)} for line in lines[:3]]
    assert rounded[0] == rounded[1] == rounded[2]


def test_pairs_are_asked_for_on_a_terminal(monkeypatch, capsys):
    typed(monkeypatch, "the house", "it is", "the")
    assert main(["nsp"]) == 0
    assert capsys.readouterr().out.count("Sentence is okay") == 1


def test_an_interrupted_job_returns_130(monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(mask, "load_bert", interrupt)
    assert main(["mask", "a [MASK]"]) == 130


def test_convert_tells_what_it_did(tiny_ckpt, tmp_path, capsys):
    target = tmp_path / "half"
    argv = ["convert", str(tiny_ckpt), str(target), "--dtype", "float16", "--shards", "2"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "62 tensors" in out
    assert "in 2 data files" in out
    assert "62 of them are float16 now" in out
    assert "left out 125" in out
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite", "--keep-slots"]) == 0
    assert "187 tensors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "where", "flags"),
    [
        ("tokenize", "bert_tf.data.pretraining.tokens._Writer.finish", "--input_file=in.txt "),
        ("vocab", "bert_tf.data.pretraining.vocabulary.save_vocabulary", "--input_file=in.txt "),
        ("pretraining-data", "bert_tf.data.pretraining.create.append", "--input_file=in.txt "),
        ("convert", "bert_tf.files.group.FileGroup.commit", "{ckpt} out"),
    ],
)
def test_a_stopped_job_leaves_nothing_and_says_so(
    command, where, flags, tiny_ckpt, tmp_path, monkeypatch, capsys
):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, stop)
    monkeypatch.chdir(tmp_path)
    pathlib.Path("in.txt").write_text("it is the house\nof the man\n\n" * 9)
    if command != "convert":
        flags += "--output_dir=out" if command == "tokenize" else "--output_file=out"
        flags += "" if command == "vocab" else " --vocab_file={ckpt}/vocab.txt"
    more = {"vocab": ["--vocab_size=200"], "pretraining-data": ["--num_workers=1"]}.get(command, [])
    assert main([command, *flags.format(ckpt=tiny_ckpt).split(), *more]) == 130
    assert os.listdir() == ["in.txt"]
    err = capsys.readouterr().err
    assert "stopped; out is not written, and the same command starts over" in err
