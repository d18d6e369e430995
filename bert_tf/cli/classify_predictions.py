"""Asks a fine-tuned classifier: `--model DIR` with texts, a file, lines, or a conversation."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
from typing import TYPE_CHECKING, Any

from bert_tf.cli import answering
from bert_tf.cli.absl_flags import comma_separated
from bert_tf.cli.lines import is_pipe, pipe_as_file
from bert_tf.cli.options import Parser, chosen, load_bert
from bert_tf.cli.output import TextForm, open_output
from bert_tf.errors import BertError
from bert_tf.files.log import quiet
from bert_tf.files.reading import parse_json
from bert_tf.files.whole import check_output
from bert_tf.options import FRACTION, THREADS, USUAL_LENGTH

if TYPE_CHECKING:
    from bert_tf.bert import Bert
    from bert_tf.data.labelled.columns import Layout
    from bert_tf.tasks import Classify
    from bert_tf.tasks.bulk import Form


def add_prediction_arguments(parser: Parser) -> None:
    """Adds the flags that only asking a model needs.

    `answer_prediction` reads these, and of the flags of training and of tables:
    `bert_config_file`, `vocab_file`, `do_lower_case`, `max_seq_length`, `predict_batch_size`,
    `backend`, `precision`, `labels`, `task_name`, `output_dir`, `init_checkpoint`, `json`,
    `overwrite`, `problems`, and what `layout_of` reads. All may be None.
    """
    parser.group(
        "predicting with a classifier: --model with texts, with a file, or alone to type them"
    )
    texts = "texts to classify; for a model of pairs, first and second in turn"
    parser.words("texts", "TEXT", texts)
    parser.text(
        "model",
        "the classifier: the folder that training wrote, or a checkpoint that Google's script left "
        "(then also --bert_config_file and --vocab_file, and --labels or --task_name)",
    )
    parser.text(
        "predict",
        "a file of any size to classify, a result a row: CSV, TSV, JSON lines, Parquet, Excel or "
        "plain lines of text; - is standard input, read to its end and then in the same formats. "
        "Without texts and --predict, standard input has a text a line, answered as it comes",
    )
    parser.text("output", "file for the results, which --predict resumes (standard output)")
    format = "tsv: label, probability, a column a class; jsonl: JSON lines (by --output's name)"
    parser.text("output_format", format, choices=("tsv", "jsonl"))
    parser.switch("echo", "repeat the texts in the results (false for --predict FILE)", None)
    threshold = "lowest probability of a label that is given, if a text can have several"
    parser.number("threshold", threshold, FRACTION, 0.5)
    parser.switch("pairs", "texts come in pairs (as in training; false if unknown)", None)
    parser.number("threads", "threads to predict with; all cores", THREADS)
    parser.switch("verbose", "print what was read from the checkpoint")


def asks_a_model(args: argparse.Namespace) -> bool:
    """Whether the arguments ask a classifier, and nothing else is to be done before.

    Raises:
        BertError: what is to be predicted, now or after training, cannot be.
    """
    more = any((args.train, args.do_train, args.do_eval, args.do_predict))
    if args.model and more:
        raise BertError(
            "--model predicts with a classifier; leave it out to train, evaluate or predict a "
            "task's test file (a classifier to start from is --init_checkpoint)."
        )
    if args.texts and more:
        raise BertError(
            f"{args.texts[0]!r:.80} follows no flag. Files to train on follow --train, texts to "
            "classify --model FOLDER."
        )
    if args.texts and args.predict:
        raise BertError("give texts or --predict, not both.")
    if args.do_predict and not (args.task_name and args.data_dir):
        raise BertError(
            "--do_predict needs --task_name and --data_dir, whose test file it predicts; a file of "
            "your own is --predict FILE."
        )
    if args.predict and not (is_pipe(args.predict) or os.path.isfile(args.predict)):
        no_file = os.path.exists(args.predict)
        what = f"{args.predict} is no file" if no_file else f"there is no file {args.predict}"
        raise BertError(
            f"{what}; --predict takes a file of texts, a pipe, or - for standard input."
        )
    if args.output is not None:
        args.output = check_output(args.output, bool(args.overwrite), args.predict)
    return bool(args.model or args.texts or (args.predict and not more))


def answer_prediction(args: argparse.Namespace, path: str | None = None) -> int:
    """Answers texts, a file, lines of standard input, or a person; returns the exit code.

    Args:
        args: the arguments.
        path: of the classifier; the one that the arguments name when left out.

    Raises:
        BertError: there is no classifier.
    """
    path = path or args.model or args.output_dir or args.init_checkpoint
    if not path:
        raise BertError(
            "no classifier to predict with: name its folder with --model. Training makes one: "
            "run_classifier.py --train data.csv"
        )
    if is_pipe(args.predict):
        with pipe_as_file(args.predict) as file:
            return _answer_file(args, path, file)
    if args.predict is not None:
        return _answer_file(args, path, args.predict)
    source = answering.open_source(None, args.texts)
    classify = load_classifier(args, path)
    pairs = classify.info.pairs if args.pairs is None else args.pairs
    if source is not None:
        source.parse = lambda line: parse_texts(line, pairs)
    asked: list[Any] = answering.in_pairs(args.texts) if pairs else args.texts
    return answering.answer_all(
        args,
        classify,
        _form(args, classify, source is not None or len(asked) > 1, bool(pairs)),
        source,
        asked,
        "Type two texts." if pairs else "Type a text.",
        ["first>  ", "second> "] if pairs else ["text> "],
        {},
    )


def check_file(args: argparse.Namespace) -> None:
    """Raises a `BertError` if --predict or --output cannot be used, before any training."""
    from bert_tf.data.labelled.prediction_rows import PredictionRows
    from bert_tf.tasks.result_lines import format_of

    if args.output and not args.output_format:
        format_of(args.output)
    with quiet():
        PredictionRows(args.predict, layout_of(args))


def predict_test(args: argparse.Namespace, path: str | None = None) -> dict[str, int]:
    """What the original's `--do_predict` does: the task's test file to `test_results.tsv`.

    Args:
        args: the arguments; `task_name`, `data_dir` and `xnli_language` too.
        path: of the classifier; when left out, the one in `output_dir`, as in the original, else
            `init_checkpoint`.

    Returns:
        The path of each file written, and its lines.

    Raises:
        BertError: there is no classifier, or the task's test file is missing or damaged.
    """
    from bert_tf.training.finetuning.start import trained_at

    if path is None:
        config, vocab = args.bert_config_file, args.vocab_file
        path = trained_at(args.output_dir, config, vocab) or args.init_checkpoint
    if path is None:
        raise BertError("no classifier to predict with: train one into --output_dir first.")
    classify = load_classifier(args, path)
    from bert_tf.tasks.classify_files import predict_task

    folder = args.output_dir or (path if os.path.isdir(path) else os.path.dirname(path))
    task = (args.task_name, args.data_dir)
    return predict_task(classify, *task, folder, language=args.xnli_language)


def load_classifier(args: argparse.Namespace, path: str) -> Classify:
    """Loads a classifier, by default on the backend that predicts fastest here.

    Raises:
        BertError: it cannot be loaded, is none, or its labels are not those named.
    """
    config, vocab = args.bert_config_file, args.vocab_file
    if os.path.isfile(os.path.join(path, "classifier.json")):
        config = vocab = None  # it has its own; those given are what it began from
    model = {"checkpoint": path, "config": config, "vocab": vocab, "lower_case": args.do_lower_case}
    model |= {"hidden_act": None, "precision": args.precision or "float32", "demonstration": False}
    bert = load_bert(argparse.Namespace(**{**vars(args), **model}))
    from bert_tf.tasks import Classify

    length = args.max_seq_length
    if length is None and bert.classifier is not None and bert.classifier.max_seq_length is None:
        length = min(USUAL_LENGTH, bert.config.max_position_embeddings)
    return Classify(
        bert,
        batch_size=args.predict_batch_size or 32,
        max_seq_length=length,
        threshold=args.threshold,
        labels=_labels(args, bert),
    )


def layout_of(args: argparse.Namespace) -> Layout:
    """Where what stands in a table, as the flags say."""
    from bert_tf.data.labelled.columns import Layout
    from bert_tf.data.labelled.tables import TableOptions

    table = chosen(args, TableOptions, {})
    if delimiter := table.pop("delimiter", None):
        table["delimiter"] = {"tab": "\t", "\\t": "\t"}.get(delimiter.lower(), delimiter)
    return Layout(**chosen(args, Layout, {}), table=TableOptions(**table))


def parse_texts(line: str, pairs: bool | None) -> str | tuple[str, str]:
    """The text, or the pair, in a line of standard input.

    Args:
        line: two columns with a TAB between them; `["...", "..."]`, `{"text": "...", "text_pair":
            "..."}` or `{"first": "...", "second": "..."}`; or else one text.
        pairs: whether there must be two texts; False: a line is a text, whatever is in it but
            such an object; None: as the line has it.

    Raises:
        BertError: there must be two, and there are not.
    """
    value: Any = None
    if line.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = parse_json(line)
    found: list[Any] = []
    if isinstance(value, dict):
        names = ("first", "second") if "first" in value else ("text", "text_pair")
        found = [value[name] for name in names if value.get(name) is not None]
    elif pairs is not False:
        found = value if isinstance(value, list) else line.split("\t")
    if len(found) == 2 and all(isinstance(one, str) for one in found):
        return found[0], found[1]
    if pairs:
        raise BertError(
            "this model takes pairs: two columns with one TAB between them, or JSON such as "
            '["first text", "second text"].'
        )
    return found[0] if len(found) == 1 and isinstance(found[0], str) else line


def _answer_file(args: argparse.Namespace, path: str, file: str) -> int:
    """Predicts a file; the results go to a file, or to standard output."""
    from bert_tf.data.labelled.prediction_rows import PredictionRows, about_rows
    from bert_tf.data.labelled.problems import Policy
    from bert_tf.tasks.classify_files import answer_rows, predict_file
    from bert_tf.tasks.result_lines import ResultLines, format_of

    policy = Policy.parse(args.problems or "", "predict")
    named = args.output_format or (args.output and format_of(args.output))
    format = named or ("jsonl" if args.json else "tsv")
    classify = load_classifier(args, path)
    known = classify.info.pairs if args.pairs is None else args.pairs
    info = classify.info
    names = info.labels or None
    layout = dataclasses.replace(layout_of(args), trained=info.table, label_names=names)
    name = "standard input" if args.predict == "-" else args.predict
    rows = PredictionRows(file, layout, pairs=known, policy=policy, name=name)
    options: dict[str, Any] = {"format": format, "echo": bool(args.echo), "pairs": rows.pairs}
    if answering.grows(args.output) and not is_pipe(args.predict):
        predict = functools.partial(predict_file, classify, rows, args.output, **options)
        count = functools.partial(about_rows, args.predict)
        return answering.answer_into_file(args, predict, args.predict, count, tell_problems=True)
    lines = ResultLines(classify.info, **options)
    with open_output(args.output, lines) as output:
        return answering.print_answers(answer_rows(classify, rows), output)


def _form(args: argparse.Namespace, classify: Classify, many: bool, pairs: bool) -> Form:
    """The form of results: lines for programs, a table, or one result by itself."""
    from bert_tf.tasks.result_lines import ResultLines, format_of

    format = args.output_format or (args.json and "jsonl")
    if format := format or (args.output and format_of(args.output)):
        return ResultLines(classify.info, format, echo=args.echo is not False, pairs=pairs)
    from bert_tf.cli.classify_prediction_output import table_form

    return table_form(classify.info) if many else TextForm(str)


def _labels(args: argparse.Namespace, bert: Bert) -> list[str] | None:
    """The names given for the outputs, or the task's for outputs that have mere numbers."""
    if args.labels:
        return comma_separated(args.labels)
    if not args.task_name or bert.classifier is None:
        return None
    from bert_tf.data.labelled.glue import task_named

    names = task_named(args.task_name)[1].labels
    numbers = tuple(map(str, range(len(names))))
    return list(names) if bert.classifier.labels == numbers and names else None
