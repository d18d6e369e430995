"""Where a pretraining's batches come from: TFRecord files, or a tokenized corpus."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from bert_tf import data
from bert_tf.data import MaskRules, PairRules, PretrainingStream, RecordStream, TokenCorpus
from bert_tf.data.pretraining.records import find_records
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.text import Vocabulary
from bert_tf.training.loop import Stream
from bert_tf.training.pretraining.plan import BatchSettings


@dataclasses.dataclass(frozen=True)
class Source:
    """Training and evaluation data that were found and fit the model.

    Attributes:
        stream: of batches to train on.
        evaluation: makes the batches to evaluate on, the same at each call, perhaps without end.
        max_seq_length: tokens of an example.
        corpus: the tokenized corpus, if it is one.
        trained_on: which of its documents are trained on; bool, (documents,).
        described: the data, in words.
        same: what to say if evaluations are on the data trained on; else "".
    """

    stream: Stream
    evaluation: Callable[[], Iterable[Mapping[str, np.ndarray]]]
    max_seq_length: int
    corpus: TokenCorpus | None
    trained_on: np.ndarray | None
    described: str
    same: str


def corpus_folder(inputs: Sequence[str]) -> str | None:
    """The folder of the tokenized corpus, if the inputs are one and no TFRecord files.

    Raises:
        BertError: there are a folder and other inputs.
    """
    folders = [path for path in inputs if os.path.isdir(path)]
    if folders and len(inputs) > 1:
        raise BertError(
            f"{', '.join(inputs)} names the folder {folders[0]} and something else; give one "
            "folder with a tokenized corpus, or TFRecord files, as in "
            f"{os.path.join(folders[0], '*.tfrecord')}."
        )
    return folders[0] if folders else None


def open_source(
    inputs: Sequence[str],
    eval_inputs: Sequence[str],
    vocab: Vocabulary,
    vocab_size: int,
    settings: BatchSettings,
) -> Source:
    """Opens the data by what they are.

    Args:
        inputs: TFRecord files or patterns of them, or one folder that `tokenize_corpus` wrote.
        eval_inputs: likewise, of data to evaluate on; none: on what `settings` holds out of a
            corpus, else on `inputs`.
        vocab: of the model.
        vocab_size: of the config, which may be larger.
        settings: how batches are made.

    Raises:
        BertError: the data are missing, damaged, of other sizes or of another vocabulary.
    """
    if eval_inputs and settings.held_out_pieces:
        raise BertError("give `eval_inputs` or `held_out_pieces`, not both.")
    opened = _open(inputs, vocab, vocab_size, settings)
    if not eval_inputs:
        return opened
    if corpus_folder(eval_inputs):  # it is cut to the length trained on; files have their own
        length = settings.max_seq_length or opened.max_seq_length
        settings = dataclasses.replace(settings, max_seq_length=length)
    evaluated = _open(eval_inputs, vocab, vocab_size, settings)
    return dataclasses.replace(
        opened,
        evaluation=evaluated.evaluation,
        max_seq_length=max(opened.max_seq_length, evaluated.max_seq_length),
        described=f"{opened.described}; to evaluate on: {evaluated.described}",
        same="",
    )


def _open(
    inputs: Sequence[str], vocab: Vocabulary, vocab_size: int, settings: BatchSettings
) -> Source:
    folder = corpus_folder(inputs)
    if folder is not None:
        return _open_corpus(folder, vocab, settings)
    if settings.held_out_pieces:
        raise BertError(
            "`held_out_pieces` is for a corpus; with TFRecord files pass `eval_inputs`."
        )
    files = find_records(inputs)

    def opened(batch_size: int) -> RecordStream:
        return RecordStream(
            files,
            batch_size=batch_size,
            seed=settings.seed,
            max_seq_length=settings.max_seq_length,
            max_predictions_per_seq=settings.max_predictions_per_seq,
            vocab_size=vocab_size,
        )

    stream = opened(settings.train_batch_size)
    named = files[0] if len(files) == 1 else f"{len(files)} files"
    return Source(
        stream,
        lambda: opened(settings.eval_batch_size).evaluation_batches(),
        stream.max_seq_length,
        None,
        None,
        f"{stream.num_examples:,} examples in {named}, up to {stream.max_seq_length} tokens and "
        f"{stream.max_predictions_per_seq} masks each",
        "evaluations are on the records that are trained on; `eval_inputs` names others.",
    )


def _open_corpus(folder: str, vocab: Vocabulary, settings: BatchSettings) -> Source:
    corpus = TokenCorpus.open(folder)
    warn(*corpus.info.get("remarks", ()))
    held_out = data.split_by_source(corpus, settings.held_out_pieces, settings.held_out_seed)
    # The defaults are those of the original's flags.
    length = settings.max_seq_length or PairRules.max_seq_length

    def stream_of(documents: np.ndarray, batch_size: int, seed: int) -> PretrainingStream:
        return PretrainingStream(
            corpus,
            batch_size=batch_size,
            pair_rules=PairRules(length, settings.short_seq_prob),
            mask_rules=MaskRules(
                settings.masked_lm_prob,
                settings.max_predictions_per_seq or MaskRules.max_predictions_per_seq,
                settings.whole_word,
            ),
            documents=documents,
            smoothing=settings.smoothing,
            seed=seed,
            vocab=vocab,
        )

    sizes = corpus.document_pieces()

    def size_of(documents: np.ndarray) -> str:
        return f"{sizes[documents].sum():,} tokens in {int(documents.sum()):,} documents"

    stream = stream_of(~held_out, settings.train_batch_size, settings.seed)
    described = f"{size_of(~held_out)} of {folder}"
    if len(stream.shares) > 1:
        groups = ", ".join(f"{name} {part:.0%}" for name, part in stream.shares.items())
        described += f" ({groups} of the examples)"
    evaluated = ~held_out
    same = "evaluations are on the texts that are trained on; `held_out_pieces` holds some out."
    if held_out.any():
        evaluated, same = held_out, ""
        described += f"; held out: {size_of(held_out)}"
    return Source(
        stream,
        # Pairs and masks of its own, the same each time, whatever the seed of training.
        lambda: stream_of(evaluated, settings.eval_batch_size, settings.held_out_seed),
        length,
        corpus,
        ~held_out,
        described,
        same,
    )
