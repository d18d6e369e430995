"""`bert_tf pretrain`: trains both heads of BERT, with the flags of run_pretraining.py."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
from typing import TYPE_CHECKING, Any

from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.options import STOPPED, chosen, say
from bert_tf.cli.pretraining_flags import FLAGS, add_arguments
from bert_tf.cli.training import paths_of, stopped, watched
from bert_tf.errors import BertError
from bert_tf.files.log import quiet
from bert_tf.files.whole import to_json

if TYPE_CHECKING:
    from bert_tf.training.loop import Outcome
    from bert_tf.training.pretraining.session import PretrainingSession

HELP = "pretrain on masked pairs, or resume it"
DESCRIPTION = """\
Trains a model on masked words and next sentences, like the original run_pretraining.py, with
its flags and their meaning, on TensorFlow or JAX. The data are TFRecord files, or a corpus that
"bert_tf tokenize" made, with new pairs and masks in each epoch. Started again with
the same --output_dir, it resumes after an interruption.
"""
EXAMPLES = """\
examples:
  python run_pretraining.py --input_file='data/*.tfrecord' --output_dir=out --do_train --do_eval \\
    --bert_config_file=bert_config.json --vocab_file=vocab.txt --train_batch_size=32 \\
    --num_train_steps=100000 --num_warmup_steps=10000 --learning_rate=1e-4
  python run_pretraining.py --input_file=corpus --output_dir=out --do_train --do_eval \\
    --bert_config_file=bert_config.json --start=spectral --held_out_pieces=60000
  python run_pretraining.py --input_file=legal.tfrecord --output_dir=legal --do_train \\
    --init_checkpoint=multi_cased_L-12_H-768_A-12 --num_train_steps=10000 --learning_rate=2e-5
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "HELP", "add_arguments", "answer"]


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if not (args.do_train or args.do_eval):
        raise BertError("nothing to do: pass --do_train, --do_eval or both.")
    choose_training_backend(args.backend, args.use_tpu, args.distribute)
    session = make_session(args)
    if not args.json:
        say(f"data: {session.described}")
    if args.do_eval and session.evaluated_on_same:
        say(session.evaluated_on_same)
    found: dict[str, Any] = {}
    if args.do_train:
        if session.last is None and args.num_warmup_steps >= args.num_train_steps:
            say(
                f"--num_warmup_steps={args.num_warmup_steps} is not less than --num_train_steps="
                f"{args.num_train_steps}: the learning rate never gets to {args.learning_rate:g}. "
                "A tenth of the steps is usual."
            )
        from bert_tf.training.distribution import leads

        outcome = train(session, args)
        if not leads():
            return STOPPED if outcome.interrupted else 0
        release = {} if outcome.interrupted else {"release": "release"}
        found = {"step": outcome.step, "interrupted": outcome.interrupted}
        found |= {"checkpoint": outcome.prefix, **paths_of(session.output_dir, **release)}
        if outcome.interrupted:
            text = stopped(outcome.step, args.num_train_steps, f": {outcome.prefix}")
            print(to_json(found, ensure_ascii=True) if args.json else text)
            return STOPPED
    if args.do_eval:
        from bert_tf.training.pretraining.session import RESULTS

        results = session.evaluate()
        found |= {"eval": results, "eval_results": os.path.join(session.output_dir, RESULTS)}
    print(to_json(found, ensure_ascii=True) if args.json else show(found, session, args))
    return 0


def choose_training_backend(
    name: str | None, use_tpu: bool = False, distribute: str = "none"
) -> None:
    """Sets a backend that can train, before Keras is imported, and joins the hosts' processes.

    Raises:
        BertError: it cannot train, is not there, or is none for a TPU or for several hosts.
    """
    from bert_tf.backend import choose_backend

    if use_tpu and name not in (None, "auto", "jax"):
        raise BertError(f"--use_tpu needs JAX, and --backend={name}; leave one of them out.")
    name = "jax" if use_tpu else name
    if (name or os.environ.get("KERAS_BACKEND")) == "openvino":
        raise BertError(
            "OpenVINO cannot train; pass --backend=tensorflow or --backend=jax (OpenVINO answers "
            "with what they train)."
        )
    choose_backend(name)
    if distribute != "none":
        from bert_tf.training.distribution import connect

        connect()


def make_session(args: argparse.Namespace) -> PretrainingSession:
    """The session that the arguments describe."""
    from bert_tf.training.pretraining.plan import BatchSettings, PretrainingPlan
    from bert_tf.training.pretraining.session import PretrainingFiles, PretrainingSession

    files = PretrainingFiles(
        comma_separated(args.input_file),
        args.output_dir,
        comma_separated(args.eval_input_file),
        args.bert_config_file,
        args.vocab_file,
        args.init_checkpoint,
    )
    if args.whole_word_share is not None and args.do_whole_word_mask:
        raise BertError(
            "--do_whole_word_mask is for all examples, --whole_word_share for a fraction of them; "
            "leave one of them out."
        )
    whole = args.do_whole_word_mask if args.whole_word_share is None else args.whole_word_share
    batches = BatchSettings(**chosen(args, BatchSettings, FLAGS), whole_word=whole)
    plan = PretrainingPlan(**chosen(args, PretrainingPlan, FLAGS))
    return PretrainingSession(files, batches, plan, args.start)


def train(session: PretrainingSession, args: argparse.Namespace) -> Outcome:
    """Trains, with a log and a curve."""
    run = functools.partial(session.train, evaluate=args.do_eval)
    resumed = "resumes from step {:,}".format
    return watched(run, session.output_dir, args.json, row_text, resumed)


def row_text(row: dict[str, float]) -> str:
    """A row as a line for people."""
    evaluated = f" | evaluation: {_numbers(row, 'eval_')}" if "eval_loss" in row else ""
    speed = f"{row['pieces_per_second']:,.0f} tokens/s"
    return f"step {row['step']:,} | {_numbers(row, '')} | {speed}{evaluated}"


def _numbers(row: dict[str, float], kind: str) -> str:
    text = "loss {:.4f}, MLM {:.4f} {:.1%}, NSP {:.4f} {:.1%}"
    names = ("loss", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")
    return text.format(*(row[f"{kind}{name}"] for name in names))


def show(found: dict[str, Any], session: PretrainingSession, args: argparse.Namespace) -> str:
    """What came out and how to use it, as text for people."""
    from bert_tf.report import table

    lines = []
    if "step" in found:
        lines.append(f"trained {found['step']:,} steps")
        rows = {
            "release": "weights, config and vocabulary, laid out as Google's releases",
            "checkpoint": "the same with the optimizer's state, to train on from",
            "log": "log",
            "tensorboard": "log for TensorBoard, as --logdir",
            "curve": "curve",
        }
        lines.append(table([[text, found[key]] for key, text in rows.items() if key in found]))
    if "eval" in found:
        lines.append(f"evaluation, in {found['eval_results']}")
        lines.append(table([[k, f"{v:.6g}"] for k, v in sorted(found["eval"].items())], "<>"))
    if "release" in found:
        use = f"--checkpoint {shlex.quote(found['release'])}{_casing_flag(found, session)}"
        lines.append(
            f'to use it:\n  python run_mask.py {use} "... [MASK] ..."\n'
            f'  python run_nsp.py {use} "first sentence" "second sentence"'
        )
        if args.held_out_pieces and session.corpus is not None:
            lines.append(
                f"  python -m bert_tf evaluate {use} --corpus {shlex.quote(args.input_file)} "
                f"--held_out_pieces {args.held_out_pieces} --held_out_seed {args.held_out_seed}"
            )
    return "\n".join(lines)


@quiet()
def _casing_flag(found: dict[str, Any], session: PretrainingSession) -> str:
    """The flag that the commands need where they would not infer the casing of the corpus."""
    from bert_tf.text import infer_casing

    if session.corpus is None:
        return ""
    lower_case = session.corpus.lower_case
    if infer_casing(os.path.basename(found["release"]), session.vocab)[0] == lower_case:
        return ""
    return " --lower-case" if lower_case else " --no-lower-case"
