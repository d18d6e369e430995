"""The flags of `bert_tf classify`: those of the original's run_classifier.py, and ours."""

from __future__ import annotations

from bert_tf.cli.classify_predictions import add_prediction_arguments
from bert_tf.cli.options import SHORT_VOCAB, Parser, add_lower_case, add_release_options
from bert_tf.cli.training import add_tpu
from bert_tf.data.labelled.problems import PROBLEMS
from bert_tf.data.labelled.tables import TableOptions
from bert_tf.options import LENGTH, ROWS, SEED
from bert_tf.training.finetuning.plan import FineTuningPlan

FLAGS = {
    "accumulation": "gradient_accumulation accumulation",
    "batch_size": "train_batch_size batch_size",
    "epochs": "num_train_epochs epochs",
    "keep": "keep_checkpoint_max keep",
    "learning_rate": "learning_rate lr",
    "log_every": "log_steps",
    "save_every": "save_checkpoints_steps",
    "seed": "random_seed seed",
    "warmup": "warmup_proportion",
}
"""Options of `FineTuningPlan` whose flags have other names: the flag, then its aliases."""

ORIGINAL = {
    "learning_rate": 5e-5,
    "epochs": 3.0,
    "bias_correction": False,
    "keep_best": False,
    "save_every": 1000,
}
"""Defaults with --task_name, as in the original's script, where they are not the plan's."""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.group("what to do (with --task_name each is false unless given, as in the original)")
    parser.switch("do_train", "train (true with --train)", None)
    parser.switch("do_eval", "evaluate on all splits that have labels (true without a task)", None)
    parser.switch("do_predict", "predict the task's test file: test_results.tsv (false)", None)
    _add_files(parser)
    _add_table(parser)
    _add_training(parser)
    add_prediction_arguments(parser)
    parser.group("running")
    parser.text(
        "backend",
        "tensorflow or jax to train, also openvino to evaluate; $KERAS_BACKEND when left out, else "
        "tensorflow. XLA needs no flag: JAX compiles whole steps with it, TensorFlow on a CPU what "
        "is between matrix products, which is faster than compiling all",
        parameter="KERAS_BACKEND",
    )
    parser.plan(FineTuningPlan, "precision distribute deterministic", FLAGS, original=ORIGINAL)
    parser.switch("json", "rows and result on stdout as JSON, an object a line")
    parser.switch("overwrite", "replace existing files")
    add_tpu(parser)


def _add_files(parser: Parser) -> None:
    parser.group("data and model")
    parser.text("train", "files or patterns to train on, comma separated; alone, it is split")
    parser.text("validation", "files to select the best weights by; split off when left out")
    parser.text("test", "files to evaluate on at the end")
    parser.text("task_name", "a task of GLUE, or XNLI, in its original files: CoLA, MRPC,...")
    parser.text("data_dir", "the folder with the files of --task_name")
    parser.text("xnli_language", "the language of XNLI", "zh")
    folder = "folder for model and results, where a stopped training resumes (DATA_classifier)"
    parser.text("output_dir", folder)
    parser.text(
        "init_checkpoint checkpoint",
        "weights to start from, or a classifier to evaluate: a folder, a prefix, a .zip or a name "
        "(the small demonstration model)",
    )
    add_release_options(parser, "bert_config_file config", "vocab_file vocab")
    add_lower_case(parser)
    parser.switch(*SHORT_VOCAB)
    start = "start from the checkpoint's weights, or from random ones in its architecture"
    parser.text("start", start, "checkpoint", choices=("checkpoint", "random"))
    parser.number(
        "max_seq_length",
        "tokens of a text at most, the rest is cut (128; without a task more if that cuts more "
        "than a tenth of the texts). Short texts cost no more if it is high",
        LENGTH,
    )


def _add_table(parser: Parser) -> None:
    parser.group("how files are laid out (inferred from the file when left out)")
    parser.text("text", "the column of the text: its name, or its number from 0")
    parser.text("text_pair", "the column of the second text, for pairs")
    label = "the column of the label; several, with commas, are columns of 0 and 1, a label each"
    parser.text("label", label)
    task = "what labels are: one of several classes, any number of labels, or a number"
    parser.text("task", task, choices=("classes", "multilabel", "regression"))
    labels = "all labels in the order wanted, comma separated"
    parser.text("labels", labels, parameter="label_names")
    parser.text("label_separator", "the separator of several labels in one row, such as |")
    parser.plan(TableOptions, "header format delimiter quoting encoding sheet", {}, original={})
    parser.text(
        "problems",
        "what to do about problem rows, e.g. leak=keep,duplicate=drop. Kinds are "
        f"{', '.join(PROBLEMS)}; actions keep, drop, refuse",
        parameter="policy",
    )
    parser.text("shares", "of the split into train, validation and test (0.7,0.15,0.15)")
    parser.number("split_seed", "seed of the split", SEED, 12345)


def _add_training(parser: Parser) -> None:
    def add(names: str) -> None:
        parser.plan(FineTuningPlan, names, FLAGS, original=ORIGINAL)

    parser.group("training (first the default without a task, then the original's with one)")
    add("batch_size eval_batch_size")
    parser.number("predict_batch_size", "rows at once in predictions (32)", ROWS)
    add("learning_rate epochs warmup accumulation clip_norm weight_decay bias_correction")
    add("label_smoothing class_weights dropout seed")
    parser.group("what is trained")
    add("mode pooling dense_layers hidden_units head_activation head_dropout")
    add("head_learning_rate layer_decay")
    add("lora_rank lora_alpha")
    parser.group("evaluating and saving")
    add("metric keep_best patience evaluate_every save_every keep log_every")
    parser.switch("keras", "write the model as classifier.keras too")
