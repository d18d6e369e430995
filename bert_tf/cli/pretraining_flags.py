"""The flags of `bert_tf pretrain`: those of the original's run_pretraining.py, and ours."""

from __future__ import annotations

from bert_tf.cli.absl_flags import OriginalFlags
from bert_tf.cli.options import Parser

_TPU = (
    "JAX finds TPUs by itself: install its TPU build and pass --backend=jax, and --distribute=data "
    "to use all cores."
)


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    flags = OriginalFlags(parser)
    _add_files(flags)
    _add_training(flags)
    _add_corpus(flags)
    _add_running(flags)
    parser.set_defaults(note_ignored=flags.note_ignored)


def add_tpu(flags: OriginalFlags) -> None:
    """Adds the original's flags for TPUs, each mapped to today's way or explained."""
    flags.switch("use_tpu", False, "train on a TPU: the same as --backend=jax (false)")
    for name in ("tpu_name", "tpu_zone", "gcp_project", "master", "num_tpu_cores"):
        flags.ignored(name, _TPU)
    flags.ignored("iterations_per_loop", "each step is started by itself, and none waits for it.")


def add_distribute(flags: OriginalFlags) -> None:
    """Adds the flag that has a training use all devices."""
    flags.text(
        "distribute",
        "none",
        "data: each batch is divided among all devices, on TensorFlow the GPUs of this machine, on "
        "JAX GPUs or TPUs, also those of other hosts: there, start the same command on each, with "
        "KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID set, and give an output "
        "folder that they share (none)",
        choices=("none", "data"),
    )


def _add_files(flags: OriginalFlags) -> None:
    flags.group("files")
    flags.text(
        "input_file",
        None,
        "TFRecord files or patterns such as 'data/*.tfrecord', comma separated; or the folder of "
        "a tokenized corpus",
        required=True,
    )
    flags.text("output_dir", None, "folder for checkpoints, log and result", required=True)
    flags.text(
        "bert_config_file",
        None,
        "bert_config.json; the one beside --init_checkpoint when left out",
        aliases=["config"],
    )
    flags.text(
        "vocab_file",
        None,
        "vocab.txt, to lie beside the new weights; when left out, the one beside the corpus, "
        "--init_checkpoint or --bert_config_file",
        aliases=["vocab"],
    )
    flags.text(
        "init_checkpoint", None, "weights to begin from: a folder, a prefix, a .zip or a name"
    )
    flags.text(
        "eval_input_file",
        None,
        "like --input_file, to evaluate on; when left out, what is held out, else --input_file",
    )


def _add_training(flags: OriginalFlags) -> None:
    flags.group("training")
    flags.switch("do_train", False, "train (false)")
    flags.switch("do_eval", False, "evaluate, at the end or alone (false)")
    flags.integer("train_batch_size", 32, "examples a step (32)", minimum=1)
    flags.integer("eval_batch_size", 8, "examples a batch in evaluations (8)", minimum=1)
    flags.integer("max_eval_steps", 100, "batches of an evaluation (100)", minimum=1)
    flags.integer(
        "max_seq_length",
        None,
        "pieces of an example at most; that of the TFRecord files when left out, 128 for a corpus",
        minimum=5,
    )
    flags.integer(
        "max_predictions_per_seq",
        None,
        "masked pieces of an example at most; likewise, and 20",
        minimum=1,
    )
    flags.number("learning_rate", 5e-5, "peak of the learning rate (5e-5)", minimum=0)
    flags.integer("num_train_steps", 100_000, "steps in all (100000)", minimum=1)
    flags.integer("num_warmup_steps", 10_000, "steps in which the rate rises (10000)", minimum=0)
    flags.integer("save_checkpoints_steps", 1000, "steps between checkpoints (1000)", minimum=1)
    flags.integer("keep_checkpoint_max", 2, "checkpoints that are kept (2)", minimum=1)
    flags.integer("log_steps", 100, "steps between rows of the log (100)", minimum=1)
    flags.integer(
        "eval_steps", 0, "with --do_eval, steps between evaluations; 0: only at the end", minimum=0
    )
    flags.number(
        "dropout",
        None,
        "instead of the config's two rates; 0 where texts are seen but once or twice",
        minimum=0,
        maximum=0.99,
    )
    flags.number("weight_decay", 0.01, "of all but norms and biases (0.01)", minimum=0)
    flags.integer("random_seed", 12345, "seed of all that is random (12345)", minimum=0)


def _add_corpus(flags: OriginalFlags) -> None:
    flags.group("on a tokenized corpus")
    flags.text(
        "start",
        "random",
        "new weights: random, as the original's, or spectral, from the statistics of the corpus, "
        "which saves much of a short training",
        choices=("random", "spectral"),
    )
    flags.integer(
        "held_out_pieces",
        0,
        "hold out so many pieces of each group, in whole sources, to evaluate on (0)",
        minimum=0,
    )
    flags.integer("held_out_seed", 1, "which ones are held out, as in bert_tf judge (1)", minimum=0)
    flags.number(
        "smoothing",
        0.7,
        "a group of n pieces gets a share of n**X of the examples: 1 is its true share, 0 the "
        "same for all groups (0.7)",
        minimum=0,
        maximum=1,
    )
    flags.switch("do_whole_word_mask", False, "mask all pieces of a word or none (false)")
    flags.number(
        "whole_word_share",
        None,
        "instead: share of the examples that is masked by whole words, the others by single pieces",
        minimum=0,
        maximum=1,
    )
    flags.number("masked_lm_prob", 0.15, "share of masked pieces (0.15)", minimum=0, maximum=1)
    flags.number(
        "short_seq_prob", 0.1, "share of examples made shorter (0.1)", minimum=0, maximum=1
    )


def _add_running(flags: OriginalFlags) -> None:
    flags.group("running")
    flags.text("backend", None, "tensorflow or jax; $KERAS_BACKEND when left out, else tensorflow")
    flags.text(
        "precision",
        "float32",
        "what to compute in; weights are float32 in any case (float32)",
        choices=("float32", "bfloat16"),
    )
    add_distribute(flags)
    flags.switch(
        "deterministic",
        False,
        "the same numbers to the last bit in each run on one machine, slower (false)",
    )
    flags.switch("json", False, "rows and result on stdout as JSON, an object a line (false)")
    add_tpu(flags)
