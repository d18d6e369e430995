"""How long tokenized texts are, and how many of them are cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bert_tf._moved import OldName
from bert_tf.batching.rows import TokenizedTexts
from bert_tf.errors import BertError


@dataclass(frozen=True, eq=False)
class LengthHistogram:
    """How long texts are, in tokens with [CLS] and [SEP], before they are cut.

    Attributes:
        counts: rows of each length, int64, (longest + 1,).
        max_seq_length: where they are cut.
    """

    counts: np.ndarray
    max_seq_length: int
    remark = OldName("remark", "warning")

    @classmethod
    def of(cls, *texts: TokenizedTexts) -> LengthHistogram:
        """Of all rows of one or several splits; a BertError if none or their limits differ."""
        limits = {one.max_seq_length for one in texts}
        if len(limits) != 1 or not sum(map(len, texts)):
            raise BertError("a histogram of lengths is of texts with one max_seq_length")
        lengths = np.concatenate([one.full_lengths for one in texts])
        return cls(np.bincount(lengths), limits.pop())

    @property
    def cut_share(self) -> float:
        """The fraction of the rows that `max_seq_length` cuts."""
        return float(self.counts[self.max_seq_length + 1 :].sum() / self.counts.sum())

    def quantile(self, fraction: float) -> int:
        """The least length that at least this fraction of the rows does not exceed."""
        reached = np.cumsum(self.counts)
        return int(np.searchsorted(reached, fraction * reached[-1]))

    def __str__(self) -> str:
        return (
            f"lengths of {int(self.counts.sum()):,} texts in tokens: half have at most "
            f"{self.quantile(0.5)}, 95 % {self.quantile(0.95)}, the longest "
            f"{len(self.counts) - 1}; max_seq_length {self.max_seq_length} cuts "
            f"{_percent(self.cut_share)}"
        )

    def warning(self, limit: int) -> str | None:
        """What to say if most texts are cut; `limit` is the length that the model takes at most."""
        if self.cut_share <= 0.5:
            return None
        fits = next((n for n in (64, 128, 256, 384, 512) if n >= self.quantile(0.9)), limit)
        cut = f"max_seq_length {self.max_seq_length} cuts {_percent(self.cut_share)} of the texts"
        if (better := min(fits, limit)) <= self.max_seq_length:
            return f"{cut}; the model takes no more"
        fewer = "few" if self.quantile(0.9) <= better else "fewer"
        return f"{cut}; {better} would cut {fewer}: `max_seq_length={better}`"


def _percent(fraction: float) -> str:
    """Never 0 % for some, nor 100 % for not all."""
    if 0 < fraction < 0.001:
        return "less than 0.1 %"
    if 0.999 < fraction < 1:
        return "over 99.9 %"
    return f"{100 * fraction:.1f} %" if 0 < fraction < 1 else f"{100 * fraction:.0f} %"
