"""`bert_tf evaluate`: how well a pretrained model knows text that was held out."""

from __future__ import annotations

import argparse

from bert_tf.cli.options import Parser, add_model_options, check_checkpoint, load_bert
from bert_tf.data.pretraining.rules import MaskRules, PairRules
from bert_tf.files.extras import require
from bert_tf.files.whole import check_output, to_json
from bert_tf.options import COUNT, FRACTION, SEED
from bert_tf.report.pretraining_evaluation import draw_evaluation, evaluation_text

HELP = "evaluate a pretrained model on text that was held out"
DESCRIPTION = """\
Evaluates a model by masked words and next sentences on held-out documents of a tokenized corpus,
for each group (language), next to unigrams and 3-grams counted on the other documents. Whole
sources are held out; the same --held_out_pieces and --held_out_seed hold out the same ones.
"""
EXAMPLES = """\
examples:
  bert_tf evaluate --checkpoint output --corpus tokens --held_out_pieces 60000
  bert_tf evaluate --checkpoint output --corpus tokens --held_out_pieces 60000 --plot plot.png
  bert_tf evaluate --checkpoint output --corpus tokens --held_out_pieces 60000 --json > found.json
"""


def add_arguments(parser: Parser) -> None:
    """Adds the command's arguments."""
    corpus = "a corpus that was tokenized with the model's vocabulary"
    parser.text("corpus", corpus, required=True, metavar="FOLDER")
    held_out = "about how many tokens of each group were held out in training"
    parser.number("held_out_pieces", held_out, COUNT, required=True)
    parser.number("held_out_seed", "which documents were held out, as in training", SEED, 1)
    parser.number("seed", "of the pairs and masks drawn", SEED, 0)
    parser.number("positions", "masked tokens of each group, at least", COUNT, 40_000)
    parser.plan(PairRules, "max_seq_length", {})
    parser.plan(MaskRules, "masked_lm_prob", {})
    smoothing = "a group with n tokens counts as n**X in training and in the mean"
    parser.number("smoothing", smoothing, FRACTION, 0.7)
    parser.switch("baselines", "evaluate unigrams and 3-grams too", True)
    parser.group("output")
    parser.switch("json", "one JSON object instead of tables")
    parser.text("plot", "write a bar chart there, as PNG", metavar="FILE")
    add_model_options(parser)


def answer(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    check_checkpoint(args)
    if args.plot:
        require("a picture", "matplotlib")
        args.plot = check_output(args.plot, overwrite=True)
    from bert_tf.data import TokenCorpus, split_by_source

    corpus = TokenCorpus.open(args.corpus)
    held_out = split_by_source(corpus, args.held_out_pieces, args.held_out_seed)
    if args.lower_case is None:
        args.lower_case = corpus.lower_case  # the text is tokenized already
    bert = load_bert(args)
    from bert_tf.evaluation.pretraining.evaluate import evaluate_pretraining

    names = ("max_seq_length", "masked_lm_prob", "positions", "seed", "smoothing", "baselines")
    options = {name: getattr(args, name) for name in (*names, "batch_size")}
    found = evaluate_pretraining(bert, corpus, held_out, **options, progress=True).to_dict()
    evaluation = {"model": bert.name, **found}
    print(to_json(evaluation) if args.json else evaluation_text(evaluation))
    if args.plot:
        draw_evaluation(evaluation, args.plot, f"{bert.name} on text that was held out")
    return 0
