"""The flags of `bert_tf pretrain`: those of the original's run_pretraining.py, and ours."""

from __future__ import annotations

from bert_tf.cli.options import Parser
from bert_tf.cli.training import add_tpu
from bert_tf.options import FRACTION, SEED
from bert_tf.training.pretraining.plan import BatchSettings, PretrainingPlan

FLAGS = {
    "eval_batches": "max_eval_steps",
    "evaluate_every": "eval_steps",
    "keep": "keep_checkpoint_max",
    "log_every": "log_steps",
    "save_every": "save_checkpoints_steps",
    "seed": "random_seed",
    "steps": "num_train_steps",
    "warmup_steps": "num_warmup_steps",
}
"""Options of the plan and of the batches whose flags have other names."""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    _add_files(parser)
    parser.group("training")
    parser.switch("do_train", "train")
    parser.switch("do_eval", "evaluate, at the end or alone")
    sizes = "train_batch_size eval_batch_size max_seq_length max_predictions_per_seq"
    parser.plan(BatchSettings, sizes, FLAGS)
    rates = "learning_rate steps warmup_steps save_every keep log_every evaluate_every eval_batches"
    parser.plan(PretrainingPlan, f"{rates} dropout weight_decay", FLAGS)
    parser.number("random_seed", "seed of all that is random", SEED, 12345)
    _add_corpus(parser)
    parser.group("running")
    backend = "tensorflow or jax; $KERAS_BACKEND when left out, else tensorflow"
    parser.text("backend", backend, parameter="KERAS_BACKEND")
    parser.plan(PretrainingPlan, "precision distribute deterministic", FLAGS)
    parser.switch("json", "rows and result on stdout as JSON, an object a line")
    add_tpu(parser)


def _add_files(parser: Parser) -> None:
    parser.group("files")
    data = "TFRecord files or patterns, comma separated; or the folder of a tokenized corpus"
    parser.text("input_file", data, required=True, parameter="inputs")
    parser.text("output_dir", "folder for checkpoints, log and result", required=True)
    config = "bert_config.json; the one with --init_checkpoint when left out"
    parser.text("bert_config_file config", config)
    vocab = "vocab.txt for the new weights (the corpus's, --init_checkpoint's or the config's)"
    parser.text("vocab_file vocab", vocab)
    parser.text("init_checkpoint", "weights to begin from: a folder, a prefix, a .zip or a name")
    data = "like --input_file, to evaluate on; when left out, what is held out, else --input_file"
    parser.text("eval_input_file", data, parameter="eval_inputs")


def _add_corpus(parser: Parser) -> None:
    parser.group("on a tokenized corpus")
    start = "new weights: random, or from the corpus's statistics, which shortens training much"
    parser.text("start", start, "random", choices=("random", "spectral"))
    parser.plan(BatchSettings, "held_out_pieces held_out_seed smoothing", FLAGS)
    parser.switch("do_whole_word_mask", "mask all tokens of a word or none")
    whole = "instead: fraction of the examples that is masked by whole words, not by single tokens"
    parser.number("whole_word_share", whole, FRACTION)
    parser.plan(BatchSettings, "masked_lm_prob short_seq_prob", FLAGS)
