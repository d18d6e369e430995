"""The original's flags; absl itself, which its scripts use, is the judge."""

import pytest
from absl import flags as absl_flags

from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.options import Parser
from bert_tf.options import FRACTION, Range


def ours():
    parser = Parser(prog="demo")
    parser.text("vocab_file", "a file")
    parser.group("numbers")
    parser.number("random_seed", "a seed", Range(int), 12345)
    parser.number("masked_lm_prob", "a fraction", Range(float), 0.15)
    parser.switch("do_lower_case lower-case", "a switch", True)
    parser.switch("do_whole_word_mask", "another switch")
    return parser


def theirs():
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_string("vocab_file", None, "", flag_values=values)
    absl_flags.DEFINE_integer("random_seed", 12345, "", flag_values=values)
    absl_flags.DEFINE_float("masked_lm_prob", 0.15, "", flag_values=values)
    absl_flags.DEFINE_bool("do_lower_case", True, "", flag_values=values)
    absl_flags.DEFINE_bool("do_whole_word_mask", False, "", flag_values=values)
    return values


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--vocab_file=v --random_seed=7 --masked_lm_prob=0.2",
        "--vocab_file v --random_seed 7 --masked_lm_prob 1e-1",
        "-vocab_file v -random_seed=7 -masked_lm_prob 0.2",
        "--vocab_file=a=b",
        "--vocab_file=",
        "--vocab_file --do_lower_case",  # the value of the first, odd as it looks
        "--random_seed -3",
        "--random_seed=-3",
        "--random_seed=0x10",
        "--random_seed 010",
        "--random_seed=1 --random_seed=2",
        "--do_lower_case",
        "--nodo_lower_case",
        "-nodo_lower_case",
        "--do_lower_case=False",
        "--do_lower_case=false",
        "--do_lower_case=0",
        "--do_lower_case=f",
        "--do_lower_case=TRUE --do_whole_word_mask=t",
        "--do_whole_word_mask --nodo_whole_word_mask",
        "-do_whole_word_mask=1",
    ],
)
def test_spellings_mean_what_absl_takes_them_for(line):
    values = theirs()
    rest = values(["demo", *line.split()])
    assert rest == ["demo"]
    assert vars(ours().parse_args(line.split())) == values.flag_values_dict()


@pytest.mark.parametrize(
    "line",
    [
        "--random_seed=seven",
        "--random_seed=1.5",
        "--masked_lm_prob=much",
        "--do_lower_case=perhaps",
        "--random_seed",
        "--vocab=v",  # no abbreviations
        "--unheard_of=1",
        "--nodo_lower_case=true",
    ],
)
def test_what_absl_refuses_is_refused_in_a_line(line, capsys):
    with pytest.raises((absl_flags.Error, ValueError)):
        theirs()(["demo", *line.split()])
    with pytest.raises(SystemExit) as stop:
        ours().parse_args(line.split())
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("bert_tf: error: ")
    assert error.count("\n") == 1
    assert line.split("=")[0].lstrip("-").removeprefix("no") in error


def test_a_truth_value_after_a_switch_is_refused_because_absl_would_ignore_it(capsys):
    values = theirs()
    assert values(["demo", "--do_lower_case", "False"]) == ["demo", "False"]
    assert values.do_lower_case is True
    with pytest.raises(SystemExit):
        ours().parse_args(["--do_lower_case", "False"])
    assert "write --do_lower_case=False" in capsys.readouterr().err


def test_dashes_in_names_and_aliases():
    line = "--random-seed 3 --no-lower-case --do-whole-word-mask"
    args = ours().parse_args(line.split())
    assert (args.random_seed, args.do_lower_case, args.do_whole_word_mask) == (3, False, True)
    assert ours().parse_args(["--lower-case"]).do_lower_case is True


def test_limits_of_numbers(capsys):
    parser = Parser(prog="demo")
    parser.number("dupe_factor", "passes", Range(int, 1), 10)
    parser.number("short_seq_prob", "a fraction", FRACTION, 0.1)
    assert parser.parse_args(["--dupe_factor=1", "--short_seq_prob=1"]).short_seq_prob == 1.0
    for wrong in ("--dupe_factor=0", "--short_seq_prob=1.1", "--short_seq_prob=nan"):
        with pytest.raises(SystemExit):
            parser.parse_args([wrong])
        assert wrong.split("=")[0] in capsys.readouterr().err


def test_what_does_nothing_is_taken_and_told(capsys):
    parser = Parser(prog="demo")
    parser.ignored("master", "the backend chooses the device.")
    parser.ignored("tpu_name", "the backend chooses the device.")
    parser.parse_args(["--master=", "--tpu_name="])
    assert capsys.readouterr().err == ""
    parser.parse_args(["--master=y", "--tpu_name", "x"])
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == [
        "--master",
        "--tpu_name",
    ]


@pytest.mark.parametrize("spelling", ["--help", "-help", "--helpfull", "-h", "--helpshort"])
def test_help(spelling, capsys):
    with pytest.raises(SystemExit) as stop:
        ours().parse_args([spelling])
    assert stop.value.code == 0
    assert "--do_whole_word_mask" in capsys.readouterr().out


def test_lists():
    assert comma_separated("a.txt, b*.txt,") == ["a.txt", "b*.txt"]
    assert comma_separated("") == comma_separated(None) == []
