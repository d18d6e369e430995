"""`bert_tf judge`: how well a pretrained model knows text that was held out."""

from __future__ import annotations

import argparse
import json

from bert_tf.cli.options import add_model_options, check_checkpoint, load_bert, positive
from bert_tf.errors import BertError
from bert_tf.report.judgement import draw_judgement, judgement_text

HELP = "judge a pretrained model on text that was held out"
DESCRIPTION = """\
Judges a model by masked words and next sentences on held-out documents of a tokenized corpus, for
each group (language), beside unigrams and 3-grams counted on the other documents. The documents
held out are whole sources; the same --held_out_pieces and --held_out_seed hold out the same ones.
"""
EXAMPLES = """\
examples:
  bert_tf judge --checkpoint output --corpus tokens --held_out_pieces 60000
  bert_tf judge --checkpoint output --corpus tokens --held_out_pieces 60000 --plot judged.png
  bert_tf judge --checkpoint output --corpus tokens --held_out_pieces 60000 --json > judged.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="FOLDER",
        help="a corpus that was tokenized with the model's vocabulary",
    )
    parser.add_argument(
        "--held_out_pieces",
        "--held-out-pieces",
        required=True,
        type=positive,
        metavar="N",
        help="about how many pieces of each group were held out in training",
    )
    parser.add_argument(
        "--held_out_seed",
        "--held-out-seed",
        type=_seed,
        default=1,
        metavar="N",
        help="which documents were held out, as in training (1)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="of the pairs and masks drawn (0)",
    )
    parser.add_argument(
        "--positions",
        type=positive,
        default=40_000,
        metavar="N",
        help="masked pieces of each group, at least (40000)",
    )
    parser.add_argument(
        "--max_seq_length",
        "--max-seq-length",
        type=positive,
        default=128,
        metavar="N",
        help="pieces of an example (128)",
    )
    parser.add_argument(
        "--masked_lm_prob",
        "--masked-lm-prob",
        type=float,
        default=0.15,
        metavar="X",
        help="share of the pieces that is masked (0.15)",
    )
    parser.add_argument(
        "--smoothing",
        type=float,
        default=0.7,
        metavar="X",
        help="a group with n pieces has a share of n**X in training and in the mean (0.7)",
    )
    parser.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="judge unigrams and 3-grams too (yes)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    output.add_argument("--plot", metavar="FILE", help="write a bar chart there, as PNG")
    add_model_options(parser)


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if not 0 <= args.smoothing <= 1:
        raise BertError(f"--smoothing is {args.smoothing:g}; it lies between 0 and 1.")
    check_checkpoint(args)
    from bert_tf.data import TokenCorpus, split_by_source

    corpus = TokenCorpus.open(args.corpus)
    held_out = split_by_source(corpus, args.held_out_pieces, args.held_out_seed)
    if args.lower_case is None:
        args.lower_case = corpus.lower_case  # the text is tokenized already
    bert = load_bert(args)
    from bert_tf.training.judging.judge import judge_pretraining

    judgement = judge_pretraining(
        bert,
        corpus,
        held_out,
        max_seq_length=args.max_seq_length,
        masked_lm_prob=args.masked_lm_prob,
        positions=args.positions,
        seed=args.seed,
        smoothing=args.smoothing,
        baselines=args.baselines,
        batch_size=args.batch_size,
        progress=True,
    ).to_dict()
    judgement = {"model": bert.name, **judgement}
    if args.json:
        print(json.dumps(judgement, ensure_ascii=False))
    else:
        print(judgement_text(judgement))
    if args.plot:
        draw_judgement(judgement, args.plot, f"{bert.name} on text that was held out")
    return 0


def _seed(text: str) -> int:
    """An argument that is a whole number from 0 up."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return number
