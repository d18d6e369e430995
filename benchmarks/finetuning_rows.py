"""What both sides of `finetuning.py` are given: the same rows of pieces, and the same weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from bert_tf.batching.rows import TokenizedTexts
from bert_tf.batching.stream import LabelledStream
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.checkpoint import CheckpointReader, write_release
from bert_tf.checkpoint.classifier_info import INFO_NAME, ClassifierInfo
from bert_tf.config import BertConfig
from bert_tf.data.labelled.reading import Layout, read_labelled
from bert_tf.data.labelled.texts import encode_labels, order_labels
from bert_tf.errors import BertError
from bert_tf.hub.locate import locate
from bert_tf.text import BertTokenizer, Vocabulary, infer_casing

HEAD = 64
"""Width of a head of attention in every size, as in BERT-Base."""

TYPICAL, SPREAD = 21.0, 0.5
"""Without a file: median length in pieces of made-up texts, and the standard deviation of its
logarithm. Film reviews cut into sentences have about these."""


class Rows(NamedTuple):
    """Labelled rows.

    Attributes:
        texts: their pieces.
        labels: numbers of their classes, int32 (rows,).
        names: of the classes.
    """

    texts: TokenizedTexts
    labels: np.ndarray
    names: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Writes them to an `.npz`."""
        fields = {name: value for name, value in vars(self.texts).items() if value is not None}
        np.savez(path, labels=self.labels, names=np.array(self.names), **fields)

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            fields = dict(arrays)
        labels, names = fields.pop("labels"), tuple(map(str, fields.pop("names")))
        plain = {"max_seq_length": int(fields["max_seq_length"]), "key": str(fields["key"])}
        return cls(TokenizedTexts(**fields | plain), labels, names)

    def features(self, *, labelled: bool = True) -> list[dict[str, Any]]:
        """The rows as a Hugging Face tokenizer gives them, lists of numbers without padding."""
        found = []
        for row, (start, first) in enumerate(zip(self.texts.starts, self.texts.firsts)):
            ids = self.texts.pieces[start : self.texts.starts[row + 1]].tolist()
            feature: dict[str, Any] = {
                "input_ids": ids,
                "token_type_ids": [0] * int(first) + [1] * (len(ids) - int(first)),
                "attention_mask": [1] * len(ids),
            }
            if labelled:
                feature["labels"] = int(self.labels[row])
            found.append(feature)
        return found

    def head(self, count: int) -> Rows:
        """The first so many rows."""
        texts = self.texts
        end = int(texts.starts[count])
        few = dataclasses.replace(
            texts,
            pieces=texts.pieces[:end],
            starts=texts.starts[: count + 1],
            firsts=texts.firsts[:count],
            full_lengths=texts.full_lengths[:count],
            key=f"{texts.key} {count}",
        )
        return Rows(few, self.labels[:count], self.names)


def read_rows(
    path: Path,
    layout: Layout,
    tokenizer: BertTokenizer,
    max_seq_length: int,
    count: int | None = None,
    names: tuple[str, ...] | None = None,
) -> tuple[Rows, float]:
    """Reads a labelled file and tokenizes some of its rows, drawn at random.

    Args:
        path: of the file.
        layout: where its columns are.
        tokenizer: of the checkpoint.
        max_seq_length: where rows are cut.
        count: rows to take; all if left out or if there are fewer.
        names: of the classes, in their order; the file's own if left out.

    Returns:
        The rows, and the seconds that tokenizing took.

    Raises:
        BertError: the file cannot be read, or its labels are no classes.
    """
    data = read_labelled(path, layout).data
    if data.task != "classes" or data.labels is None:
        raise BertError(f"{path} has no classes to tell (but {data.task}); give a file that has.")
    if count is not None and count < len(data):
        data = data.take(np.random.default_rng(0).permutation(len(data))[:count])
    names = names or order_labels([data])
    start = perf_counter()
    texts = tokenize_texts(data, tokenizer, max_seq_length)
    return Rows(texts, encode_labels(data, names), names), perf_counter() - start


def made_up_rows(vocab: Vocabulary, pieces: int, count: int, max_seq_length: int) -> Rows:
    """Rows of random pieces whose lengths are spread as those of sentences are."""
    rng = np.random.default_rng(0)
    full = np.exp(rng.normal(np.log(TYPICAL), SPREAD, count)).round().astype(np.int32).clip(3)
    lengths = full.clip(max=max_seq_length)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ids = rng.integers(1, pieces, starts[-1]).astype(np.int32)
    ids[starts[:-1]], ids[starts[1:] - 1] = vocab.id("[CLS]"), vocab.id("[SEP]")
    texts = TokenizedTexts(ids, starts, lengths, full, max_seq_length, f"made up {count}")
    return Rows(texts, rng.integers(0, 2, count).astype(np.int32), ("no", "yes"))


def resized(config: BertConfig, layers: int, width: int) -> BertConfig:
    """The same architecture in another size, with heads of the usual width."""
    return config.replace(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=max(1, width // HEAD),
        intermediate_size=4 * width,
    )


class Source:
    """A checkpoint: its vocabulary, and weights to begin with in any size.

    Args:
        checkpoint: as `bert_tf.load` takes it.

    Attributes:
        name: of the checkpoint.
        config: its architecture.
        vocab: its vocabulary.
        tokenizer: its tokenizer.

    Raises:
        BertError: there is no such checkpoint.
    """

    def __init__(self, checkpoint: str) -> None:
        self._files = locate(checkpoint)
        self.name = self._files.display_name
        self.config = BertConfig.from_file(str(self._files.config_path))
        self.vocab = Vocabulary.load(str(self._files.vocab_path))
        lower_case, _ = infer_casing(self.name, self.vocab, None)
        self.tokenizer = BertTokenizer(self.vocab, lower_case)

    def is_own_size(self, layers: int, width: int) -> bool:
        """Whether the checkpoint is of this size, so that its weights can be taken."""
        return (layers, width) == (self.config.num_hidden_layers, self.config.hidden_size)

    def write(self, folder: Path, size: tuple[int, int], rows: Rows, seed: int = 0) -> None:
        """Writes a classifier to begin with: the checkpoint's weights, or random ones, and a head.

        Args:
            folder: gets the files that `bert_tf.load` reads.
            size: layers and width; random weights if it is not the checkpoint's own.
            rows: what it shall tell apart.
            seed: of what is drawn.
        """
        from bert_tf.training.pretraining.spectral import random_start

        # Random weights under which products keep the size of what they multiply: with the usual
        # 0.02 a small model says nearly the same of all rows, and comparing would prove little.
        deviation = 1 / np.sqrt(size[1])
        own = self.is_own_size(*size)
        config = self.config if own else resized(self.config, *size)
        weights = (
            dict(self._own_weights())
            if own
            else random_start(config.replace(initializer_range=deviation), seed)
        )
        weights = {name: value for name, value in weights.items() if name.startswith("bert/")}
        rng = np.random.default_rng([seed, 1])
        shape = (len(rows.names), config.hidden_size)
        weights["output_weights"] = rng.normal(0, deviation, shape).astype("float32")
        weights["output_bias"] = np.zeros(len(rows.names), np.float32)
        info = ClassifierInfo(
            rows.names,
            max_seq_length=rows.texts.max_seq_length,
            lower_case=self.tokenizer.lower_case,
        )
        files = {INFO_NAME: info.to_json()}
        write_release(folder, config, self.vocab.raw, weights, overwrite=True, files=files)

    def _own_weights(self) -> Iterator[tuple[str, np.ndarray]]:
        with CheckpointReader(self._files.prefix) as reader:
            for name in reader.tensors:
                if name.startswith("bert/"):
                    yield name, np.array(reader.read(name), np.float32)


def places_of(rows: Rows, batch: int) -> dict[str, float]:
    """How many places a piece takes on average, padding counted.

    Returns:
        `ours`: in the batches that `fine_tune` trains on. `random`: in batches of rows at random,
        each as long as its longest. `sorted`: in batches of rows of nearly the same length.
    """
    lengths = rows.texts.lengths
    pieces = float(lengths.sum())
    stream = LabelledStream(rows.texts, rows.labels, batch_size=batch, seed=0)
    ours = sum(stream.next_batch()["token_input"].size for _ in range(stream.steps_per_epoch()))
    rng = np.random.default_rng(0)

    def padded(order: np.ndarray) -> float:
        groups = (lengths[order[at : at + batch]] for at in range(0, len(order), batch))
        return float(sum(len(group) * group.max() for group in groups))

    shuffled = np.mean([padded(rng.permutation(len(lengths))) for _ in range(8)])
    return {
        "ours": ours / pieces,
        "random": float(shuffled) / pieces,
        "sorted": padded(np.argsort(-lengths, kind="stable")) / pieces,
    }
