"""Spellings of flags, bad usage and what needs no model."""

import shutil
import subprocess

import pytest

import bert_tf
from bert_tf.cli.main import build_parser, main
from bert_tf.cli.options import check_checkpoint


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("--do_lower_case", True),
        ("--do_lower_case=true", True),
        ("--do_lower_case=True", True),
        ("--do_lower_case=false", False),
        ("--do_lower_case=0", False),
        ("--nodo_lower_case", False),
        ("--do_lower=false", False),
        ("--lower-case", True),
        ("--no-lower-case", False),
    ],
)
@pytest.mark.parametrize("command", ["mask", "nsp"])
def test_the_originals_spelling_of_switches(command, written, meant):
    for words in ([written, "text", "no"], ["text", "no", written], [written, "no", "text"]):
        args = vars(build_parser().parse_args([command, *words]))
        assert args["lower_case"] is meant
        assert args["texts" if command == "mask" else "sentences"] == [
            word for word in words if word != written
        ]


def test_nothing_is_a_flag_after_two_dashes():
    args = build_parser().parse_args(["mask", "do_lower_case", "--", "--do_lower_case"])
    assert (args.texts, args.lower_case) == (["do_lower_case", "--do_lower_case"], None)


@pytest.mark.parametrize("command", ["mask", "nsp"])
def test_commands_agree_on_the_model(command):
    written = f"{command} --init_checkpoint=c --bert_config_file b --vocab_file v"
    written += " --do_lower_case=false --hidden-act gelu_exact --backend jax"
    args = build_parser().parse_args(written.split())
    assert (args.checkpoint, args.config, args.vocab) == ("c", "b", "v")
    assert args.lower_case is False
    assert (args.hidden_act, args.backend) == ("gelu_exact", "jax")
    assert build_parser().parse_args([command]).lower_case is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "COMMAND"),
        (["fill"], "invalid choice"),
        (["mask", "--top-k", "0", "a"], "--top-k: '0' must be at least 1"),
        (["mask", "--top-k", "two", "a"], "--top-k: 'two' must be a whole number"),
        (["mask", "--mode", "both", "a"], "invalid choice"),
        (["mask", "--do_lower_case=perhaps", "a"], "--do_lower_case/--do_lower: 'perhaps'"),
        (["mask", "--checkp", "c", "a"], "--checkp"),
        (["convert", "source"], "TARGET"),
        (["classify", "--mod", "frozen"], "--mod; did you mean --mode? (see bert_tf classify "),
        (["classify", "--mod=frozen"], "--mod=frozen; did you mean --mode? (see bert_tf classify "),
        (["classify", "-lerning-rate", "1"], "did you mean --learning_rate?"),
        (["classify", "--epoch", "1"], "did you mean --epochs?"),
        (["classify", "--nodo_lowercase"], "did you mean --nodo_lower_case?"),
        (["classify", "--qqq", "1"], "unrecognized arguments: --qqq (see bert_tf classify --help"),
        (["mask", "--topk", "3", "a"], "--topk; did you mean --top-k? (see bert_tf mask --help"),
        (["mask", "--topk", "-3", "a"], "unrecognized arguments: --topk; did"),
        (
            ["convert", "--dtpe", "float16", "a", "b"],
            "--dtpe; did you mean --dtype? (see bert_tf c",
        ),
        (
            ["pretrain", "--inputfile", "a"],
            "--inputfile; did you mean --input_file? (see bert_tf p",
        ),
        (["pretrain", "--output_dir", "--x"], "required: --input_file (see"),
        (["convert", "a", "b", "c"], "unrecognized arguments: c (see bert_tf convert --help"),
        (["--vers"], "did you mean --version? (see bert_tf --help"),
        (["--verson", "list"], "did you mean --version? (see bert_tf --help"),
    ],
)
def test_bad_usage_is_told_in_a_line(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("bert_tf: error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("command", [[], ["mask"], ["nsp"], ["convert"]])
def test_help_has_examples_and_exit_codes(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert "examples" in text
    assert "exit codes:" in text


def without_a_checkpoint(monkeypatch, embedded):
    monkeypatch.delenv("BERT_TF_CHECKPOINT", raising=False)
    monkeypatch.setattr("bert_tf.hub.store.embedded", lambda: embedded)


def test_without_a_checkpoint_the_one_that_comes_along_answers(monkeypatch):
    without_a_checkpoint(monkeypatch, "checkpoints/demo_multi_cased")
    for command in ("mask", "nsp"):
        args = build_parser().parse_args([command])
        check_checkpoint(args)
        assert args.checkpoint == "checkpoints/demo_multi_cased"
        assert args.demonstration
        assert args.lower_case is False
    args = build_parser().parse_args(["mask", "--lower-case"])
    check_checkpoint(args)
    assert args.lower_case is True  # as asked for, to be refused on loading


@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_checkpoint_that_is_named_is_taken(named, monkeypatch):
    without_a_checkpoint(monkeypatch, "checkpoints/demo_multi_cased")
    argv = ["mask", "--checkpoint", "mine"] if named == "argument" else ["mask"]
    if named == "environment":
        monkeypatch.setenv("BERT_TF_CHECKPOINT", "mine")
    args = build_parser().parse_args(argv)
    check_checkpoint(args)
    assert (args.checkpoint, args.demonstration, args.lower_case) == ("mine", False, None)


@pytest.mark.parametrize(
    ("embedded", "argv"),
    [
        (None, ["mask", "a [MASK]"]),
        ("checkpoints/demo_multi_cased", ["mask", "--vocab", "mine.txt", "a [MASK]"]),
        ("checkpoints/demo_multi_cased", ["nsp", "--bert_config_file", "mine.json", "a", "b"]),
    ],
    ids=["it was taken away", "the vocabulary of another", "the config of another"],
)
def test_without_a_checkpoint_one_learns_how_to_get_one(embedded, argv, monkeypatch, capsys):
    without_a_checkpoint(monkeypatch, embedded)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("bert_tf: error: no checkpoint given")
    assert "bert_tf download multi_cased" in error
    assert "multi_cased_L-12_H-768_A-12.zip" in error
    assert "--checkpoint" in error


def test_the_checkpoint_may_come_from_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("BERT_TF_CHECKPOINT", "no-such-folder")
    assert main(["mask", "a [MASK]"]) == 2
    assert "no-such-folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nsp", "--checkpoint", "c", "only one"], "pairs of texts"),
        (["mask", "--checkpoint", "c", "--input", "f", "text"], "not both"),
        (["mask", "--checkpoint", "c", "--input", "no-such-file"], "cannot read no-such-file"),
        (["mask", "--checkpoint", "c", "--output", "no/such/file", "t"], "cannot write"),
        (["mask", "--checkpoint", "c", "--backend", "torch", "t"], "the backends are"),
        (["convert", "no-such-folder", "target"], "no-such-folder"),
    ],
)
def test_bad_input_is_told_without_a_traceback(argv, message, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("bert_tf: error: ")
    assert message in error
    assert "Traceback" not in error


def test_input_and_output_must_differ(tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("a [MASK]\n")
    argv = ["mask", "--checkpoint", "c", "--input", str(texts), "--output", str(texts)]
    assert main(argv) == 2
    assert texts.read_text() == "a [MASK]\n"


def test_version_and_help_import_nothing_heavy(run_python):
    code = (
        "import sys\n"
        "from bert_tf.cli.main import main\n"
        "try:\n    main(['mask', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(*sorted({'keras', 'numpy', 'tensorflow', 'jax'} & set(sys.modules)), 'heavy')\n"
    )
    assert run_python("-c", code).stdout.splitlines()[-1].strip() == "heavy"


def test_a_mistyped_command_gives_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evalute", "--json"])
    assert stop.value.code == 2
    assert "no command 'evalute'; did you mean evaluate?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "-"])
def test_an_output_without_a_name_is_refused_before_anything_is_loaded(capsys, tmp_path, name):
    (tmp_path / "texts.txt").write_text("a [MASK]\n", encoding="utf-8")
    assert main(["mask", "--input", str(tmp_path / "texts.txt"), "--output", name]) == 2
    assert f"--output={name or repr(name)} names no file; leave it out" in capsys.readouterr().err


def test_the_help_shows_how_a_switch_takes_its_value(capsys):
    """`--json true` would take "true" for a text."""
    with pytest.raises(SystemExit):
        main(["mask", "--help"])
    shown = capsys.readouterr().out
    assert "--json[=true|false]" in shown
    assert " [true|false]" not in shown


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["help"], "usage: bert_tf [-h]"),
        (["help", "nsp"], "usage: bert_tf nsp [-h]"),
        (["mask", "--version"], f"bert_tf {bert_tf.__version__}\n"),
        (["--version"], f"bert_tf {bert_tf.__version__}\n"),
    ],
)
def test_help_and_version_in_the_usual_places(capsys, arguments, begins):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(begins)


COMPLETE = r"""
source completion.bash
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_bert_tf; echo "${COMPREPLY[@]}"; }
ask bert_tf cl
ask bert_tf mask --top
ask bert_tf mask --mode ""
ask bert_tf mask --input comp
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_flags_values_and_paths(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion.bash").write_text(capsys.readouterr().out, encoding="utf-8")
    asked = subprocess.run(["bash", "-c", COMPLETE], cwd=tmp_path, capture_output=True, text=True)
    assert asked.stdout.splitlines() == [
        *("classify", "--top-k", "independent sequential joint", "completion.bash")
    ]
