"""Training data: texts, piece ids on disk, pairs of segments, masks, and endless batches."""

from bert_tf.data.create import PretrainingDataReport, create_pretraining_data, write_records
from bert_tf.data.documents import find_files, read_documents, read_sources
from bert_tf.data.dynamic import PretrainingStream
from bert_tf.data.masking import MaskRules, mask_pieces
from bert_tf.data.pairs import PairRules, Pairs, assemble, draw_pairs
from bert_tf.data.records import RecordStream
from bert_tf.data.splitting import split_by_source
from bert_tf.data.tokens import TokenCorpus, tokenize_corpus

__all__ = [
    "MaskRules",
    "PairRules",
    "Pairs",
    "PretrainingDataReport",
    "PretrainingStream",
    "RecordStream",
    "TokenCorpus",
    "assemble",
    "create_pretraining_data",
    "draw_pairs",
    "find_files",
    "mask_pieces",
    "read_documents",
    "read_sources",
    "split_by_source",
    "tokenize_corpus",
    "write_records",
]
