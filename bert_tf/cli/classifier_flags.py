"""The flags of `bert_tf classify`: those of the original's run_classifier.py, and ours."""

from __future__ import annotations

from bert_tf.cli.absl_flags import OriginalFlags
from bert_tf.cli.classifying import add_prediction_arguments
from bert_tf.cli.options import Parser
from bert_tf.cli.pretraining_flags import add_distribute, add_tpu

# Those of bert_tf.data.tables and .problems, which are not imported here: they take numpy along,
# and all commands would start later.
FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "xlsx")
QUOTING = ("csv", "none")
KINDS = (
    *("wrong_encoding", "blank_line", "ragged", "unlabelled", "not_a_number", "nan"),
    *("empty_text", "duplicate", "conflict", "leak", "unseen_label"),
)


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    flags = OriginalFlags(parser)
    _add_doing(flags)
    _add_files(flags)
    _add_table(flags)
    _add_training(flags)
    _add_modes(flags)
    _add_watching(flags)
    add_prediction_arguments(flags)
    _add_running(flags)
    parser.set_defaults(note_ignored=flags.note_ignored)


def _add_doing(flags: OriginalFlags) -> None:
    flags.group("what to do (with --task_name all three are false unless given, as the original's)")
    flags.switch("do_train", None, "train (true with --train)")
    flags.switch("do_eval", None, "evaluate on all splits that have labels (true without a task)")
    flags.switch("do_predict", None, "predict the task's test file: test_results.tsv (false)")


def _add_files(flags: OriginalFlags) -> None:
    flags.group("data and model")
    flags.text("train", None, "files or patterns to train on, comma separated; alone, it is split")
    flags.text("validation", None, "files to choose the best weights by; split off if left out")
    flags.text("test", None, "files to evaluate on at the end")
    flags.text("task_name", None, "a task of GLUE, or XNLI, in its original files: CoLA, MRPC, ...")
    flags.text("data_dir", None, "the folder with the files of --task_name")
    flags.text("xnli_language", "zh", "the language of XNLI (zh)")
    flags.text(
        "output_dir",
        None,
        "folder for the model and all results; a training that was stopped goes on there. When "
        "left out, it is called after the data: data_classifier for data.csv",
    )
    flags.text(
        "init_checkpoint",
        None,
        "weights to begin from, or a classifier to evaluate: a folder, a prefix, a .zip or a name; "
        "the small model that comes along when left out",
        aliases=["checkpoint"],
    )
    flags.text(
        "bert_config_file",
        None,
        "bert_config.json, if it does not lie beside the checkpoint",
        aliases=["config"],
    )
    flags.text(
        "vocab_file",
        None,
        "vocab.txt, if it does not lie beside the checkpoint",
        aliases=["vocab"],
    )
    flags.switch(
        "do_lower_case",
        None,
        "lower-case the texts, for uncased models; inferred when left out",
        aliases=["do_lower", "lower_case"],
    )
    flags.text(
        "start",
        "checkpoint",
        "begin from the checkpoint's weights, or from random ones in its architecture (checkpoint)",
        choices=("checkpoint", "random"),
    )
    flags.integer(
        "max_seq_length",
        None,
        "pieces of a text at most, what is longer is cut (128; without a task more if that cuts "
        "more than a tenth of the texts). Short texts cost no more if it is high",
        minimum=3,
    )


def _add_table(flags: OriginalFlags) -> None:
    flags.group("how files are laid out (told from the file when left out)")
    flags.text("text", None, "the column of the text: its name, or its number from 0")
    flags.text("text_pair", None, "the column of the second text, for pairs")
    flags.text("label", None, "the column of the label")
    flags.text(
        "task",
        None,
        "classes: one of several; multilabel: any number of labels at once; regression: a number",
        choices=("classes", "multilabel", "regression"),
    )
    flags.text("labels", None, "all labels in the order wanted, comma separated")
    flags.text("label_separator", None, "what stands between several labels of one row, such as |")
    flags.switch("header", None, "whether the first line names the columns")
    flags.text("format", None, "of the files", choices=FORMATS)
    flags.text("delimiter", None, "between columns: a character, or tab")
    flags.text("quoting", None, "csv: quotes enclose fields; none: they are text", choices=QUOTING)
    flags.text("encoding", None, "of the files; UTF-8 when left out")
    flags.text("sheet", None, "of an Excel workbook: its name, or its number from 0 (the first)")
    flags.text(
        "problems",
        None,
        f"what is done about odd rows, as kind=action,...: leak=keep,duplicate=drop. Kinds are "
        f"{', '.join(KINDS)}; actions keep, drop, refuse",
    )
    flags.text("shares", None, "of the split into train, validation and test (0.7,0.15,0.15)")
    flags.integer("split_seed", 12345, "seed of the split (12345)", minimum=0)


def _add_training(flags: OriginalFlags) -> None:
    flags.group("training (first the default without a task, then the original's with one)")
    flags.integer("train_batch_size", None, "rows a step (32)", minimum=1, aliases=["batch_size"])
    flags.integer("eval_batch_size", None, "rows at once where nothing is trained (64)", minimum=1)
    flags.integer("predict_batch_size", None, "rows at once in predictions (32)", minimum=1)
    flags.number(
        "learning_rate",
        None,
        "its peak (by mode and width; full: 3e-5 from BERT-Base on, 1e-4 from a width of 512 on, "
        "5e-4 below; 5e-5)",
        minimum=0,
        aliases=["lr"],
    )
    flags.number(
        "num_train_epochs",
        None,
        "passes through the data (by mode and width; full: 3, 4, 8; 3)",
        minimum=0,
        aliases=["epochs"],
    )
    flags.number(
        "warmup_proportion",
        None,
        "share of the steps in which the rate rises (0.1)",
        minimum=0,
        maximum=1,
    )
    flags.integer(
        "gradient_accumulation",
        None,
        "parts in which a step is computed, to save memory; the result is the same (1)",
        minimum=1,
        aliases=["accumulation"],
    )
    flags.number("clip_norm", None, "the gradients' common norm at most (1.0)", minimum=0)
    flags.number("weight_decay", None, "of all but norms and biases (0.01)", minimum=0)
    flags.switch("bias_correction", None, "of Adam's means, safer on little data (true; false)")
    flags.number("label_smoothing", None, "from 0 to below 1 (0)", minimum=0)
    flags.text(
        "class_weights",
        None,
        "balanced, so that rare classes count as much as frequent ones; or label=weight,...",
    )
    flags.number("dropout", None, "instead of the config's two rates", minimum=0)
    flags.integer(
        "random_seed", None, "of head, order and dropout (0)", minimum=0, aliases=["seed"]
    )


def _add_modes(flags: OriginalFlags) -> None:
    flags.group("what is trained")
    flags.text(
        "mode",
        None,
        "full: all; frozen: a head on vectors that are computed once, many times faster; last:2: "
        "the last two layers; lora: small additions to each layer (full)",
    )
    flags.text("pooling", None, "the head reads [CLS] or the mean", choices=("pooled", "mean"))
    flags.integer("dense_layers", None, "of the head, 1 or 2 (1)", minimum=1)
    flags.number("head_dropout", None, "before each of them (0.1)", minimum=0)
    flags.number("head_learning_rate", None, "another rate for the head", minimum=0)
    flags.number("layer_decay", None, "factor on the rate from a layer to the one below (1)")
    flags.integer("lora_rank", None, "of the additions (8)", minimum=1)
    flags.number("lora_alpha", None, "their scale is alpha / rank (16)", minimum=0)


def _add_watching(flags: OriginalFlags) -> None:
    flags.group("evaluating and saving")
    flags.text("metric", None, "which decides on the best weights (accuracy, for classes)")
    flags.switch("keep_best", None, "keep the weights of the best evaluation (true; false)")
    flags.integer("patience", None, "stop after so many evaluations without a better", minimum=1)
    flags.integer("evaluate_every", None, "steps between evaluations (an epoch)", minimum=1)
    flags.integer("save_checkpoints_steps", None, "steps between saves (500; 1000)", minimum=1)
    flags.integer(
        "log_steps",
        None,
        "steps between rows of the log (50, or fewer in a short training)",
        minimum=1,
    )
    flags.switch("keras", False, "write the model as classifier.keras too (false)")


def _add_running(flags: OriginalFlags) -> None:
    flags.group("running")
    flags.text(
        "backend",
        None,
        "tensorflow or jax to train, also openvino to evaluate; $KERAS_BACKEND when left out, else "
        "tensorflow. XLA needs no flag: JAX compiles whole steps with it, and on a CPU TensorFlow "
        "compiles with it what lies between matrix products, which is faster than all",
    )
    flags.text(
        "precision",
        None,
        "what training computes in; weights are float32 in any case (float32)",
        choices=("float32", "bfloat16"),
    )
    add_distribute(flags)
    flags.switch(
        "deterministic",
        None,
        "the same numbers to the last bit in each run on one machine, slower (false)",
    )
    flags.switch("json", False, "rows and result on stdout as JSON, an object a line (false)")
    flags.switch("overwrite", False, "replace files that are there (false)")
    add_tpu(flags)
