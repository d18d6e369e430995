"""`Bert`: one loaded BERT, its models on shared weights, and the way back into a checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.checkpoint import write_release
from bert_tf.checkpoint.names import PARTS, Weight, weights_of
from bert_tf.checkpoint.report import LoadReport
from bert_tf.config import BertConfig
from bert_tf.text import BertTokenizer, Vocabulary

if TYPE_CHECKING:
    import keras

    from bert_tf.models.encoder import BertEncoder
    from bert_tf.models.parts import BertLayers


class Bert:
    """A BERT read from a checkpoint: its config, vocabulary, tokenizer and Keras models.

    Made by `bert_tf.load`. All models share one set of weights, so that fine-tuning one changes
    the others; they depend no more on the files.

    Attributes:
        name: the release's name, e.g. `multi_cased_L-12_H-768_A-12`.
        config: the architecture, a `BertConfig`.
        vocab: the `Vocabulary`.
        lower_case: whether text is lower-cased.
        layers: the `BertLayers` that every model is built on.
        report: the `LoadReport`.
        carried: tensors that `save` writes besides the weights, by their original name.
    """

    def __init__(
        self,
        *,
        name: str,
        config: BertConfig,
        vocab: Vocabulary,
        lower_case: bool,
        layers: BertLayers,
        report: LoadReport,
        stored_dtypes: dict[str, np.dtype],
        carried: dict[str, np.ndarray],
    ) -> None:
        self.name = name
        self.config = config
        self.vocab = vocab
        self.lower_case = lower_case
        self.layers = layers
        self.report = report
        self.carried = carried
        self._stored_dtypes = stored_dtypes

    def __repr__(self) -> str:
        heads = [part for part in PARTS if part != "encoder" and self.has(part)]
        return (
            f"<Bert {self.name}: {self.config.num_hidden_layers} layers x "
            f"{self.config.hidden_size}, {len(self.vocab):,} pieces, "
            f"{'lower-cased' if self.lower_case else 'cased'}, {' + '.join(['encoder', *heads])}>"
        )

    def has(self, part: str) -> bool:
        """Whether the model has a part: `pooler`, `mlm`, `nsp`, `classifier` or `span`."""
        return part == "encoder" or bool(getattr(self.layers.heads, part))

    @cached_property
    def tokenizer(self) -> BertTokenizer:
        """Google's tokenizer; "[MASK]" in a text is split like any other text."""
        return BertTokenizer(self.vocab, self.lower_case)

    @cached_property
    def mask_tokenizer(self) -> BertTokenizer:
        """The same, but `[MASK]`, `[SEP]` and `[CLS]` in a text stay whole."""
        return BertTokenizer(self.vocab, self.lower_case, special_tokens=True)

    @cached_property
    def encoder(self) -> BertEncoder:
        """The encoder as a keras-hub `BertBackbone`, on the same weights."""
        from bert_tf.models.encoder import BertEncoder

        return BertEncoder.from_layers(self.layers)

    def encoder_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_encoder`."""
        from bert_tf.models import build_encoder

        return build_encoder(self.layers, **options)

    def pretraining_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_pretraining_model`."""
        from bert_tf.models import build_pretraining_model

        return build_pretraining_model(self.layers, **options)

    def mlm_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_mlm_model`."""
        from bert_tf.models import build_mlm_model

        return build_mlm_model(self.layers, **options)

    def nsp_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_nsp_model`."""
        from bert_tf.models import build_nsp_model

        return build_nsp_model(self.layers, **options)

    def classifier_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_classifier`."""
        from bert_tf.models import build_classifier

        return build_classifier(self.layers, **options)

    def span_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_span_model`."""
        from bert_tf.models import build_span_model

        return build_span_model(self.layers, **options)

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """The weights by their original name, laid out as in a checkpoint, one at a time."""
        from bert_tf.models.weights import value_at

        layers = self.layers.by_name()
        for weight in self._names():
            value = value_at(layers[weight.layer], weight.attribute)
            yield weight.original, value.T if weight.transpose else value

    def save(
        self, folder: str | os.PathLike[str], *, dtype: str | None = None, overwrite: bool = False
    ) -> None:
        """Writes `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*` that Google's code reads.

        Args:
            folder: where to; made if it does not exist.
            dtype: `"float32"`, `"float16"` or `"bfloat16"` for all weights. Left out, each weight
                keeps the type it was stored in if no value changes by that (so an untouched
                model comes out bit for bit), else it becomes float32.
            overwrite: replace such files if they exist.

        Raises:
            BertError: the files exist, cannot be written, or a value does not fit into `dtype`.
        """
        tensors = itertools.chain(
            ((name, self._as_stored(name, value)) for name, value in self.weights()),
            self.carried.items(),
        )
        write_release(
            folder, self.config, self.vocab.raw, tensors, dtype=dtype, overwrite=overwrite
        )

    def _names(self) -> list[Weight]:
        heads = dataclasses.asdict(self.layers.heads)
        there = ["encoder", *(name for name, value in heads.items() if value)]
        return weights_of(self.config, there, heads["classifier"])

    def _as_stored(self, name: str, value: np.ndarray) -> np.ndarray:
        """The value in the type it was stored in if that changes no bit of it, else float32."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            stored = value.astype(self._stored_dtypes.get(name, np.dtype("float32")))
            unchanged = np.array_equal(stored.astype(value.dtype), value, equal_nan=True)
        return stored if unchanged else value.astype(np.float32)
