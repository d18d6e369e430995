"""`Heads`: which heads a model has beside the encoder."""

from __future__ import annotations

import dataclasses

from bert_tf.errors import BertError

TITLES = {
    "pooler": "pooler",
    "mlm": "masked-word head (cls/predictions)",
    "nsp": "next-sentence head (cls/seq_relationship)",
    "classifier": "classification head (output_weights, output_bias)",
    "span": "answer-span head (cls/squad)",
}
"""What a message calls each head."""


@dataclasses.dataclass(frozen=True)
class Heads:
    """Which heads a model has beside the encoder.

    Args:
        pooler: tanh layer on [CLS]; next sentence and classification stand on it.
        mlm: masked-word head; its decoder is the word-embedding table.
        nsp: next-sentence head.
        classifier: number of labels of a `run_classifier.py` head, or None.
        span: start-and-end head of a SQuAD model.
    """

    pooler: bool = True
    mlm: bool = False
    nsp: bool = False
    classifier: int | None = None
    span: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The encoder and the heads that there are, as the table of weight names calls them."""
        there = [name for name, value in dataclasses.asdict(self).items() if value]
        return ("encoder", *there)

    def require(self, *names: str) -> None:
        """Makes sure that heads are there.

        Raises:
            BertError: some are not; the message names them.
        """
        lacking = [name for name in names if not getattr(self, name)]
        if lacking:
            raise BertError(
                f"this model has no {' and no '.join(TITLES[name] for name in lacking)}; "
                f"its checkpoint lacks them. Ask for a fresh, untrained one with "
                f"bert_tf.load(path, new_heads={lacking!r})."
            )
