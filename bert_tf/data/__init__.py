"""Data to train on: texts for pretraining, and labelled texts; piece ids, endless batches."""

from bert_tf.batching.lengths import LengthHistogram
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.stream import LabelledStream, batches_once
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.data.cleaning import across, clean
from bert_tf.data.create import PretrainingDataReport, create_pretraining_data, write_records
from bert_tf.data.dataset import LabelledSplits, load_splits, load_task
from bert_tf.data.documents import find_files, read_documents, read_sources
from bert_tf.data.dynamic import PretrainingStream
from bert_tf.data.glue import read_glue
from bert_tf.data.inputs import encode_texts
from bert_tf.data.labelled import LabelledTexts, encode_labels, order_labels
from bert_tf.data.masking import MaskRules, mask_pieces
from bert_tf.data.pairs import PairRules, Pairs, assemble, draw_pairs
from bert_tf.data.problems import Policy, Problem
from bert_tf.data.python_rows import labelled_rows
from bert_tf.data.reading import Layout, read_labelled, stream_labelled
from bert_tf.data.records import RecordStream
from bert_tf.data.splits import split_labelled
from bert_tf.data.splitting import split_by_source
from bert_tf.data.tables import TableOptions
from bert_tf.data.tokens import TokenCorpus, tokenize_corpus

__all__ = [
    "LabelledSplits",
    "LabelledStream",
    "LabelledTexts",
    "Layout",
    "LengthHistogram",
    "MaskRules",
    "PairRules",
    "Pairs",
    "Policy",
    "PretrainingDataReport",
    "PretrainingStream",
    "Problem",
    "RecordStream",
    "TableOptions",
    "TokenCorpus",
    "TokenizedTexts",
    "across",
    "assemble",
    "batches_once",
    "clean",
    "create_pretraining_data",
    "draw_pairs",
    "encode_labels",
    "encode_texts",
    "find_files",
    "labelled_rows",
    "load_splits",
    "load_task",
    "mask_pieces",
    "order_labels",
    "read_documents",
    "read_glue",
    "read_labelled",
    "read_sources",
    "split_by_source",
    "split_labelled",
    "stream_labelled",
    "tokenize_corpus",
    "tokenize_texts",
    "write_records",
]
