"""TFRecord files of pretraining examples: a resumable stream of batches."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf._moved import moved_names
from bert_tf.data.pretraining.examples import decode_examples
from bert_tf.data.pretraining.record_files import blocks_of, read_block
from bert_tf.errors import BertError
from bert_tf.files.finding import find_files
from bert_tf.options import ROWS, SEED, Range

if not TYPE_CHECKING:
    __getattr__ = moved_names(__name__)

FEATURES: dict[str, type] = {
    "input_ids": np.int32,
    "input_mask": np.int32,
    "segment_ids": np.int32,
    "masked_lm_positions": np.int32,
    "masked_lm_ids": np.int32,
    "masked_lm_weights": np.float32,
    "next_sentence_labels": np.int32,
}
"""Names of the original's features, and the types in which batches have them."""

_WINDOW = 32  # blocks among whose records the order is random


def find_records(patterns: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The files that names and patterns such as `data/*.tfrecord` stand for; see `find_files`."""
    wanted = "give TFRecord files, as create_pretraining_data.py makes them"
    return [os.fspath(path) for path in find_files(patterns, wanted=wanted)]


class RecordStream:
    """Batches from TFRecord files in the original's features, in a random order, without end.

    Takes the files of `create_pretraining_data` and those of the original's script alike. Each
    epoch takes blocks of 64 records in an order of its own and mixes the records of 32 blocks, so
    that any position is found again at once; all of it follows from the seed. Opening reads where
    each record starts; at most 32 blocks are in memory at a time. Compressed files are unpacked
    into the folder for temporary files, as long as the stream exists.

    Args:
        files: paths of the files, compressed by gzip or zlib or not.
        batch_size: examples in a batch.
        seed: of the order.
        max_seq_length: length that the examples must have; None takes that of the first one.
        max_predictions_per_seq: predictions that they must have room for; None likewise.
        vocab_size: what all ids must be below; None for no check.

    Raises:
        BertError: a file cannot be read or unpacked, is no TFRecord file or is cut off, there is
            no record, or the first one is none of pretraining or of another length.

    Example:
        >>> stream = RecordStream(["train.tfrecord"], batch_size=32, seed=0)
        >>> batch = stream.next_batch()
        >>> batch["token_input"].shape
        (32, 128)
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        *,
        batch_size: int,
        seed: int,
        max_seq_length: int | None = None,
        max_predictions_per_seq: int | None = None,
        vocab_size: int | None = None,
    ) -> None:
        ROWS.check("batch_size", batch_size)
        SEED.check("seed", seed)
        if isinstance(files, str | bytes | os.PathLike):
            raise BertError(f"files must be a list of paths, not one path: [{files!r}].")
        self.files = [os.fspath(path) for path in files]
        self.batch_size, self.seed, self._vocab_size = batch_size, seed, vocab_size
        self._blocks = [block for path in self.files for block in blocks_of(path)]
        self.num_examples = sum(block.records for block in self._blocks)
        """Examples in all files, which is an epoch."""
        if not self.num_examples:
            raise BertError(f"there is no record in {', '.join(self.files) or 'no file'}.")
        self._position = 0  # examples given out so far
        self._epoch = -1  # whose order of blocks is at hand
        self._order = np.empty(0, np.int64)
        self._window_ends: list[int] = []  # in the epoch of `_order`
        self._window = (-1, -1)  # epoch and number of the one at hand
        self._records: list[bytes] = []  # of that window
        self._sizes: tuple[int | None, int | None] = (None, None)
        first = self._decode(read_block(self._blocks[0])[:1])
        self.max_seq_length = first["token_input"].shape[1]
        self.max_predictions_per_seq = first["position_input"].shape[1]
        self._sizes = self.max_seq_length, self.max_predictions_per_seq
        wanted = max_seq_length, max_predictions_per_seq
        names = "max_seq_length", "max_predictions_per_seq"
        for name, size, found in zip(names, wanted, self._sizes):
            if size not in (None, found):
                raise BertError(
                    f"`{name}` is {size}, but {self._names()} was made with `{name}={found}`. Pass "
                    f"{found}, or make the data again."
                )

    def next_batch(self) -> dict[str, np.ndarray]:
        """The next `batch_size` examples; one epoch goes over into the next within a batch.

        Returns:
            `token_input`, `seg_input`: int32 (batch, length), 0 where padded. `position_input`,
            `masked_lm_ids`: int32 (batch, max_predictions), the masked positions and what was
            there. `masked_lm_weights`: float32 likewise, 1, and 0 in unused slots.
            `next_sentence_labels`: int32 (batch,), 0 where B follows A, 1 where B is random.
            `attention_mask`, int32 (batch, length), where the records attend to a 0.

        Raises:
            BertError: a record is damaged, or not of the sizes of the others.
        """
        records: list[bytes] = []
        while len(records) < self.batch_size:
            start, window = self._at(self._position)
            taken = window[start : start + self.batch_size - len(records)]
            records += taken
            self._position += len(taken)
        return self._decode(records)

    def state(self) -> dict[str, Any]:
        """What `restore` needs to continue after the last batch; JSON can hold it."""
        return {"position": self._position, "examples": self.num_examples, "seed": self.seed}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues where `state` was taken; the batch size may be another one.

        Raises:
            BertError: the state is of other files, or of another seed.
        """
        for name, ours in (("examples", self.num_examples), ("seed", self.seed)):
            if state.get(name) != ours:
                raise BertError(
                    f"the saved position is one in data with {name}={state.get(name)}, and these "
                    f"files have {name}={ours}: the order would be another. Use the same files "
                    "and seed, or start the data over."
                )
        Range(int, 0, 2**53).check("the saved position", state.get("position"))
        self._position = state["position"]

    def evaluation_batches(self, max_batches: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """The files once from the start in their own order; the position stays as it is.

        Args:
            max_batches: stop after so many (the original's `--max_eval_steps`).

        Yields:
            Batches as `next_batch`; the last one can be shorter.
        """
        records = (one for block in self._blocks for one in read_block(block))
        batches = iter(lambda: list(islice(records, self.batch_size)), [])
        return map(self._decode, islice(batches, max_batches))

    def _at(self, position: int) -> tuple[int, list[bytes]]:
        """Where in its window a position, counted over all epochs, is, and the window's records."""
        epoch, at = divmod(position, self.num_examples)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self._blocks))
            counts = np.array([block.records for block in self._blocks])[self._order]
            windows = np.add.reduceat(counts, np.arange(0, len(counts), _WINDOW))
            self._window_ends = windows.cumsum().tolist()
            self._epoch = epoch
        number = bisect.bisect_right(self._window_ends, at)
        if (epoch, number) != self._window:
            self._records = []  # before the next ones come
            chosen = self._order[number * _WINDOW : (number + 1) * _WINDOW]
            found = [record for one in chosen for record in read_block(self._blocks[one])]
            rng = np.random.default_rng([self.seed, epoch, number])
            self._records = [found[index] for index in rng.permutation(len(found))]
            self._window = (epoch, number)
        return at - (self._window_ends[number - 1] if number else 0), self._records

    def _decode(self, records: list[bytes]) -> dict[str, np.ndarray]:
        try:
            found = decode_examples(records, FEATURES)
        except BertError as error:
            raise BertError(
                f"{error}, in {self._names()}; is that a file of create_pretraining_data.py?"
            ) from error
        batch = {
            "token_input": found["input_ids"] * found["input_mask"],
            "seg_input": found["segment_ids"],
            "position_input": found["masked_lm_positions"],
            "masked_lm_ids": found["masked_lm_ids"],
            "masked_lm_weights": found["masked_lm_weights"],
            "next_sentence_labels": found["next_sentence_labels"].reshape(-1),
        }
        if not np.array_equal(found["input_mask"], batch["token_input"] != 0):
            batch["attention_mask"] = found["input_mask"]
        rows, width = batch["token_input"].shape
        room = batch["position_input"].shape[1]
        if (
            self._sizes not in ((None, None), (width, room))
            or batch["seg_input"].shape != (rows, width)
            or any(batch[n].shape[1] != room for n in ("masked_lm_ids", "masked_lm_weights"))
            or batch["next_sentence_labels"].shape != (rows,)
        ):
            raise BertError(
                f"the examples in {self._names()} are not all of one size; make them with the "
                "same `max_seq_length` and `max_predictions_per_seq`."
            )
        positions = batch["position_input"]
        if positions.size and (positions.min() < 0 or positions.max() >= width):
            raise BertError(f"an example in {self._names()} masks a position past its end.")
        ids = batch["token_input"], batch["masked_lm_ids"]
        lowest = min(int(x.min(initial=0)) for x in ids)
        if lowest < 0:
            raise BertError(
                f"{self._names()} holds the id {lowest}; is that a file of "
                "create_pretraining_data.py?"
            )
        highest = max(int(x.max(initial=0)) for x in ids)
        if self._vocab_size is not None and highest >= self._vocab_size:
            raise BertError(
                f"{self._names()} holds the id {highest}, and the model has only "
                f"{self._vocab_size:,} tokens: the data were made with another vocabulary."
            )
        return batch

    def _names(self) -> str:
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0]}{more}"
