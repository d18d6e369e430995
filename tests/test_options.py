"""Options are declared once: their ranges hold in Python and at the command line alike."""

import dataclasses
import math
import re

import pytest

from bert_tf.cli.absl_flags import number, truth
from bert_tf.cli.main import COMMANDS, build_parser, main
from bert_tf.data import MaskRules, PairRules
from bert_tf.errors import BertError
from bert_tf.options import Options, Range, like, option
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.pretraining.plan import BatchSettings, PretrainingPlan

PLANS = (FineTuningPlan, PretrainingPlan, BatchSettings, PairRules, MaskRules)
NEVER = (math.nan, math.inf, -math.inf)


def outside(limits: Range) -> list[float]:
    """Numbers that are in no range, and the nearest below and above this one."""
    found = [*NEVER, 10**400, -(10**400)] if limits.kind is float else [0.5, *NEVER]
    step = 1 if limits.kind is int else 1e-3
    found += [] if limits.minimum is None else [limits.minimum - step]
    found += [] if limits.maximum is None else [limits.maximum + step]
    return [*found, *(one for one in (limits.above, limits.below) if one is not None)]


NUMBERS = [
    (plan, field.name, value)
    for plan in PLANS
    for field in dataclasses.fields(plan)
    if field.metadata["range"]
    for value in (*outside(field.metadata["range"]), "1", None)
    if not (value is None and "None" in field.type)
]


@pytest.mark.parametrize(
    ("plan", "name", "value"), NUMBERS, ids=lambda one: getattr(one, "__name__", str(one))[:20]
)
def test_what_is_out_of_range_is_refused_by_the_parameters_name(plan, name, value):
    with pytest.raises(BertError, match=rf"^{name} is .*; it must be ") as error:
        plan(**{name: value})
    assert len(str(error.value)) < 120


def test_every_number_of_a_plan_has_a_range():
    for plan in PLANS:
        for field in dataclasses.fields(plan):
            is_number = re.search(r"\b(int|float)\b", field.type.replace("Mapping[str, float]", ""))
            assert bool(is_number) == bool(field.metadata["range"]), field.name
            if re.search(r"\bint\b", field.type):
                limits = field.metadata["range"]
                assert (limits.kind, limits.minimum is None, limits.maximum is None) == (
                    *(int, False, False),
                )


def flags() -> list[tuple[str, str, Range]]:
    """Every flag of every command that takes a number: the command, the flag, its range."""
    (commands,) = build_parser()._subparsers._group_actions
    found = []
    for command, parser in commands.choices.items():
        for action in parser._actions:
            if action.type not in (None, truth) and action.help != "==SUPPRESS==":
                assert action.type.func is number, (command, action.dest)
                found.append((command, action.option_strings[0], *action.type.args))
    return found


FLAGS = flags()


def test_all_commands_with_numbers_are_there():
    assert {command for command, _, _ in FLAGS} == set(COMMANDS) - {
        *("download", "list", "tokenize", "completion")
    }
    assert len(FLAGS) > 70


@pytest.mark.parametrize(
    ("command", "flag", "limits"), FLAGS, ids=lambda one: "" if isinstance(one, Range) else one
)
def test_what_is_out_of_range_is_refused_by_the_flags_name(command, flag, limits, capsys):
    numbers = [one for one in outside(limits) if isinstance(one, float) or abs(one) < 10**30]
    for text in (*map(repr, numbers), "99999999999" if limits.kind is int else "1e999", "", "x"):
        if text == "99999999999" and limits.maximum >= int(text):
            continue
        with pytest.raises(SystemExit) as stop:
            main([command, f"{flag}={text}"])
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert error.startswith("bert_tf: error: argument --")
        assert flag in re.split(r"[/:\s]", error)
        assert f"{text!r} must be " in error
        assert error.count("\n") == 1


REQUIRED = dict.fromkeys(COMMANDS, ()) | {
    "convert": ("source", "target"),
    "vocab": ("--input_file=i", "--output_file=o"),
    "evaluate": ("--corpus=c", "--held_out_pieces=9"),
    "pretrain": ("--input_file=i", "--output_dir=o"),
    "pretraining-data": ("--input_file=i", "--output_file=o", "--vocab_file=v"),
}
"""What a command needs in addition to be read at all."""

PARSER = build_parser()
TYPED = ("-1", "0", "inf", "-inf", "nan", "1e308", "100000000000000000000", "99999999999")
"""What is outside is refused above by the limits of each range; here by what was reported."""


@pytest.mark.parametrize(
    ("command", "flag", "limits"), FLAGS, ids=lambda one: "" if isinstance(one, Range) else one
)
def test_numbers_that_people_type(command, flag, limits, capsys):
    """Either a sentence with the range and exit code 2, or a number that is in the range."""
    for text in TYPED:
        try:
            args = PARSER.parse_args([command, *REQUIRED[command], f"{flag}={text}"])
        except SystemExit as stop:
            code, error = stop.code, capsys.readouterr().err
            assert code == 2
            assert f"{text!r} must be " in error
            assert str(limits) in error
        else:
            value = getattr(args, flag.lstrip("-").replace("-", "_"))
            assert value == float(text)
            assert limits.problem(value) is None


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("classify --random_seed=99999999999", "--random_seed"),
        ("pretrain --random_seed=99999999999", "--random_seed"),
        ("pretraining-data --random_seed=99999999999", "--random_seed"),
        ("classify --num_train_epochs=inf", "--num_train_epochs"),
        ("classify --num_train_epochs=1e308", "--num_train_epochs"),
        ("classify --train_batch_size=99999999999", "--train_batch_size"),
        ("mask --batch-size 99999999999", "--batch-size"),
        ("pretrain --max_predictions_per_seq=99999999999", "--max_predictions_per_seq"),
        ("pretraining-data --max_predictions_per_seq=99999999999", "--max_predictions_per_seq"),
        ("classify --learning_rate=nan", "--learning_rate"),
        ("pretrain --learning_rate=inf", "--learning_rate"),
        ("pretrain --num_train_steps=" + "9" * 5000, "--num_train_steps"),
    ],
)
def test_numbers_that_once_went_through(line, flag, capsys):
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"bert_tf: error: argument {flag}")
    assert len(error) < 200


def test_numbers_that_are_no_options_of_plans_have_ranges_too(tmp_path):
    from bert_tf import backend
    from bert_tf.checkpoint.writer import CheckpointWriter

    for wrong in (0, 10**9, 1.5, math.nan):
        with pytest.raises(BertError, match=r"^number is .*; it must be "):
            backend.set_threads(wrong)
        with pytest.raises(BertError, match=r"^num_shards is .*; it must be "):
            CheckpointWriter(tmp_path / "x", wrong)


def test_class_weights_are_finite():
    for weight in (*NEVER, -1, "heavy"):
        with pytest.raises(BertError, match="the class weight of a is"):
            FineTuningPlan(class_weights={"a": weight})


def test_flags_set_all_that_the_plans_have():
    """Each field that is no folder's matter, by values that no default has."""
    from bert_tf.cli import classify as classifier
    from bert_tf.cli import classify_flags as classifier_flags
    from bert_tf.cli import options, pretraining_flags

    line = (
        "classify --mode=lora --epochs=7 --batch_size=12 --accumulation=3 --lr=0.25 "
        "--head_learning_rate=0.5 --layer_decay=0.75 --warmup_proportion=0.25 --weight_decay=0.5 "
        "--nobias_correction --clip_norm=2 --dropout=0.25 --pooling=mean --dense_layers=2 "
        "--hidden_units=24 --head_activation=relu "
        "--head_dropout=0.5 --class_weights=a=2 --label_smoothing=0.25 --lora_rank=4 "
        "--lora_alpha=2 --precision=bfloat16 --metric=loss --nokeep_best --patience=3 "
        "--evaluate_every=5 --eval_batch_size=6 --seed=9 --save_checkpoints_steps=11 "
        "--log_steps=13 --keep_checkpoint_max=4 --deterministic --distribute=data"
    )
    assert classifier.make_plan(build_parser().parse_args(line.split())) == FineTuningPlan(
        "lora", 7, 12, 3, 0.25, 0.5, 0.75, 0.25, 0.5, False, 2.0, 0.25, "mean", 2, 0.5, {"a": 2.0},
        0.25, 4, 2.0, "bfloat16", "loss", False, 3, 5, 6, 9, 11, 13, 4, True, "data",
        24, "relu",
    )  # fmt: skip
    assert set(classifier_flags.FLAGS) <= set(FineTuningPlan.__annotations__)
    line = (
        "pretrain --input_file=i --output_dir=o --num_train_steps=3 --num_warmup_steps=2 "
        "--learning_rate=0.5 --weight_decay=0.25 --precision=bfloat16 --dropout=0.5 "
        "--random_seed=4 --save_checkpoints_steps=5 --log_steps=6 --eval_steps=7 "
        "--max_eval_steps=8 --keep_checkpoint_max=9 --deterministic --distribute=data "
        "--train_batch_size=10 --eval_batch_size=11 --max_seq_length=12 "
        "--max_predictions_per_seq=13 --masked_lm_prob=0.5 --short_seq_prob=0.25 --smoothing=1 "
        "--held_out_pieces=14 --held_out_seed=15"
    )
    args = build_parser().parse_args(line.split())
    chosen = {
        plan: plan(**options.chosen(args, plan, pretraining_flags.FLAGS))
        for plan in (PretrainingPlan, BatchSettings)
    }
    assert chosen[PretrainingPlan] == PretrainingPlan(
        3, 2, 0.5, 0.25, "bfloat16", 0.5, 4, 5, 6, 7, 8, 9, True, "data"
    )
    assert chosen[BatchSettings] == BatchSettings(10, 11, 12, 13, 0.5, False, 0.25, 1.0, 14, 15, 4)


def test_help_shows_the_plans_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["classify", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for shown in (
        "--train_batch_size, --batch_size N rows of a step (32)",
        "--save_checkpoints_steps N steps between checkpoints (500; 1000)",
        "--warmup_proportion X fraction of the steps in which the rate rises (0.1)",
        "5e-4 below; 5e-5)",
    ):
        assert shown in text


def test_an_option_documents_itself():
    @dataclasses.dataclass(frozen=True)
    class Oven(Options):
        """An oven."""

        heat: int = option(180, "degrees", Range(int, 50, 250))
        fan: bool = option(False, "whether air moves")

    @dataclasses.dataclass(frozen=True)
    class Grill(Options):
        """A grill."""

        heat: int | None = like(Oven, "heat", default=None)

    assert Oven.__doc__ == (
        "An oven.\n\nAttributes:\n    heat: degrees (180; from 50 to 250).\n"
        "    fan: whether air moves (false)."
    )
    assert Grill.__doc__.endswith("heat: degrees (from 50 to 250).")
    assert (Oven(200).heat, Grill().heat) == (200, None)
    with pytest.raises(BertError, match="heat is 251; it must be at most 250"):
        Grill(251)

    class Mine(Oven):
        """Mine."""

    assert Mine(60).heat == 60
