"""`bert_tf vocab`: flags, groups, what it prints, and what it refuses."""

import gzip
import os

import pytest

from bert_tf.cli.main import main
from bert_tf.text import Vocabulary

ENGLISH = "The cat sat on the mat.\nThe dog saw the cats.\n\n" * 20
GERMAN = "Der Hund sah die Katze.\nDie Katze saß auf der Matte.\n\n" * 5


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with an English file, and a folder of two German ones, of which one is gzipped."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "en.txt").write_text(ENGLISH, encoding="utf-8")
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "a.txt").write_text(GERMAN, encoding="utf-8")
    (tmp_path / "de" / "b.txt.gz").write_bytes(gzip.compress(GERMAN.encode()))
    return tmp_path


def run(*arguments, size=170):
    return main(["vocab", "--output_file=vocab.txt", f"--vocab_size={size}", *arguments])


def test_each_pattern_is_a_group(here, capsys):
    """Characters without white space: 40 lines in English, 20 in German.

    `Thecatsatonthemat.` 18 + `Thedogsawthecats.` 17 = 35, 20 times: 700. `DerHundsahdieKatze.` 19
    + `DieKatzesaßaufderMatte.` 23 = 42, 10 times: 420. 700**0.7 / (700**0.7 + 420**0.7) = 0.5885.
    """
    assert run("--input_file=en.txt,de/*") == 0
    first, _, english, german = capsys.readouterr().out.splitlines()
    vocab = Vocabulary.load("vocab.txt")
    assert first.startswith(f"wrote vocab.txt: {len(vocab)} tokens, ")
    assert english.split()[:4] == ["en.txt", "700", "58.85", "%"]
    assert german.split()[:4] == ["de/*", "420", "41.15", "%"]
    assert english.split()[4] == "260"  # 7 and 6 words with the full stop, 20 times
    assert german.split()[4] == "130"  # 6 and 7, 10 times
    assert english.endswith("0.000 %")
    assert {"ß", "##ß", "T", "##t"} & set(vocab.ids) == {"ß", "##ß", "T", "##t"}


@pytest.mark.parametrize("spelling", ["--do_lower_case", "-do_lower_case=true", "--lower-case"])
def test_lower_casing_is_spelled_as_the_original_does(here, spelling):
    assert run("--input_file", "en.txt", spelling) == 0
    assert "T" not in Vocabulary.load("vocab.txt")


@pytest.mark.parametrize("spelling", [None, "--nodo_lower_case", "--do_lower_case=False"])
def test_text_is_cased_else(here, spelling):
    assert run("--input-file=en.txt", *filter(None, [spelling])) == 0
    assert "T" in Vocabulary.load("vocab.txt")


def test_characters_can_be_chosen_by_count(here, capsys):
    """`T` occurs forty times; `ß`, `H`, `f` and `M` ten times, in four of the 13 German words."""
    assert run("--input_file=en.txt,de/*", "--min-char-count=11") == 0
    vocab = Vocabulary.load("vocab.txt")
    assert "ß" not in vocab
    assert "T" in vocab
    assert capsys.readouterr().out.splitlines()[-1].endswith("30.769 %")


def test_a_text_that_gives_fewer_pieces_is_told(here, capsys):
    assert run("--input_file=en.txt", size=5000) == 0
    assert "fewer than the 5,000 asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "size", "message"),
    [
        (["--input_file=no*.txt"], 170, "no*.txt"),
        (["--input_file="], 170, "no text files"),
        (["--input_file=en.txt,en.txt"], 170, "twice"),
        (["--input_file=en.txt"], 110, "no room"),
    ],
)
def test_bad_input_is_told_in_a_line(here, capsys, arguments, size, message):
    assert run(*arguments, size=size) == 2
    error = capsys.readouterr().err
    assert error.startswith("bert_tf: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not os.path.exists("vocab.txt")


def test_an_existing_file_is_kept_unless_asked(here, capsys):
    (here / "vocab.txt").write_text("mine")
    assert run("--input_file=en.txt") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (here / "vocab.txt").read_text() == "mine"
    assert run("--input_file=en.txt", "--overwrite") == 0
    assert len(Vocabulary.load("vocab.txt")) > 104


@pytest.mark.parametrize(
    "argument", ["--smoothing=1.5", "--smoothing=none", "--vocab_size=0", "--min_char_count=0"]
)
def test_bad_usage_ends_with_code_2(here, capsys, argument):
    with pytest.raises(SystemExit) as stop:
        run("--input_file=en.txt", argument)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_script_is_the_command(here, request, run_python):
    script = request.config.rootpath / "create_vocab.py"
    done = run_python(
        script,
        f"--input_file={here / 'en.txt'}",
        f"--output_file={here / 'vocab.txt'}",
        "--vocab_size=170",
    )
    assert done.returncode == 0, done.stderr
    assert Vocabulary.load(here / "vocab.txt").mask_id == 103


def test_text_that_is_not_utf8_is_refused_or_counted(here, capsys):
    """Its letters were dropped without a word."""
    (here / "old.txt").write_bytes(GERMAN.encode("cp1252"))
    assert run("--input_file=old.txt") == 2
    err = capsys.readouterr().err
    assert "old.txt:2: the text is not UTF-8, 5 of 10 lines; it reads" in err
    assert "'e Katze saß auf der Matte.' in cp1252" in err
    assert not (here / "vocab.txt").exists()
    (here / "stray.txt").write_bytes(ENGLISH.encode() + b"Caf\xe9.\n")
    assert run("--input_file=stray.txt") == 0
    warning = "1 of 41 lines have bytes that are not UTF-8, which are dropped: stray.txt:61"
    assert f"bert_tf: {warning}\n" in capsys.readouterr().err
