"""`BertConfig`: the architecture of one BERT model, as `bert_config.json` states it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from bert_tf.errors import BertError
from bert_tf.files.reading import read_object
from bert_tf.options import FRACTION, Range, check_choice

HIDDEN_ACTS = ("gelu", "gelu_exact", "relu", "tanh", "linear")
"""The activations a config can name. `gelu` is the tanh approximation, as Google's code computes
it under that name; `gelu_exact` is x * Phi(x) by the error function, which checkpoints converted
from Hugging Face mean when they say `gelu`."""

CONFIG_NAME, VOCAB_NAME = "bert_config.json", "vocab.txt"
"""The files that lie with the weights of every release."""

INFO_NAME, TASK_NAME = "classifier.json", "task.json"
"""The first lies with a classifier's weights, the second with those of another head that knows its
labels; the original has neither: its labels are known by number alone."""

LAYER_NORM_EPSILON = 1e-12
"""Added to the variance in every layer normalisation (google-research/bert, modeling.py uses
TensorFlow 1's `layer_norm` default), if the config names no `layer_norm_eps`."""

_SIZES, _LAYERS = Range(int, 1, 1 << 24), Range(int, 1, 1000)
MOST_WEIGHTS = 10**10
"""More than any BERT has: the largest that is known has 3.9 billion (Shoeybi et al. 2019)."""

_ONLY = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False}
"""Keys of Hugging Face's configs that change what is computed, with the value that we compute."""

_OTHERS = {"num_hidden_groups": "albert", "n_layers": "distilbert"}
"""Keys that only configs of other architectures have, for those that name no `model_type`."""

_INSTEAD = "Take a BERT (`bert_tf list` names some), or run it with transformers."


def other_architecture(names: Iterable[Any]) -> str | None:
    """A clause on a model that is no BERT, by tensors' names or its `model_type`; else None."""
    tops = {"albert" if "/group_0/" in str(one) else str(one).partition("/")[0] for one in names}
    for name in ("ALBERT", "ELECTRA", "RoBERTa", "DistilBERT"):
        if name.lower() in tops:
            what = f"is of {name}, another architecture, which bert_tf does not compute."
            return f"{what} {_INSTEAD}"
    return None


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The numbers that fix a BERT architecture; validated once, on construction.

    The field names are the keys of `bert_config.json`. Keys that this class does not know
    (`directionality`, `pooler_*`, ...) are kept in `extra` and written back in their place.

    Args:
        vocab_size: rows of the word-embedding table.
        hidden_size: width of the encoder; a multiple of `num_attention_heads`.
        num_hidden_layers: number of transformer layers.
        num_attention_heads: attention heads in each layer.
        intermediate_size: width of the feed-forward layer.
        hidden_act: one of `HIDDEN_ACTS`; the encoder's and the MLM transform's activation. The
            pooler's is always tanh.
        hidden_dropout_prob: dropout after the embedding norm and before each residual sum.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        max_position_embeddings: longest input, in word pieces, [CLS] and [SEP] counted.
        type_vocab_size: segments that `seg_input` can name. The original's default is 16 where
            the file is silent; every released file says 2.
        initializer_range: standard deviation of the truncated normal that new weights start from.
        extra: further keys of the file, in its order.

    Raises:
        BertError: a value is missing, of the wrong type or out of its range.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 16
    initializer_range: float = 0.02
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.extra.get("model_type") is None and (given := _OTHERS.keys() & self.extra):
            what = other_architecture(map(_OTHERS.get, given))
            raise BertError(f"the BERT config has {', '.join(sorted(given))}: the model {what}")
        for name, only in _ONLY.items():
            if (value := self.extra.get(name)) not in (None, only):
                what = f"{name} in the BERT config is {value!r:.60}"
                if other := other_architecture([value]):
                    raise BertError(f"{what}: the model {other}")
                raise BertError(f"{what}; bert_tf computes only {only!r}. {_INSTEAD}")
        if self.hidden_act in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"):  # the tanh form
            object.__setattr__(self, "hidden_act", "gelu")
        types = {field.name: field.type for field in dataclasses.fields(self)[:-1]}
        for name, kind in {**types, "layer_norm_eps": "float"}.items():
            value, what = getattr(self, name), f"{name} in the BERT config"
            if kind == "str":
                check_choice(what, value, HIDDEN_ACTS)
                continue
            usual = FRACTION if kind == "float" else _SIZES
            limits = _LAYERS if name == "num_hidden_layers" else usual
            # JSON holds no number of numpy's.
            limits.check(what, value if isinstance(value, int | float) else str(value))
        if self.hidden_size % self.num_attention_heads:
            raise BertError(
                f"hidden_size {self.hidden_size} in the BERT config is not divisible by "
                f"num_attention_heads {self.num_attention_heads} (the defaults are 768 and 12); "
                "every head needs the same width."
            )
        rows = self.vocab_size + self.max_position_embeddings + self.type_vocab_size
        rows += self.num_hidden_layers * (4 * self.hidden_size + 2 * self.intermediate_size)
        if rows * self.hidden_size > MOST_WEIGHTS:
            raise BertError(
                f"the sizes in the BERT config make over {rows * self.hidden_size:,} weights, more "
                f"than any BERT has; the most that bert_tf takes are {MOST_WEIGHTS:,}."
            )

    @property
    def layer_norm_eps(self) -> float:
        """Added to the variance in every layer normalisation."""
        return self.extra.get("layer_norm_eps", LAYER_NORM_EPSILON)

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BertConfig:
        """Builds a config from the keys of a `bert_config.json`; unknown keys go into `extra`.

        Raises:
            BertError: `vocab_size` is missing or a value is not allowed.
        """
        if "vocab_size" not in values:
            raise BertError(
                "the BERT config names no vocab_size; a bert_config.json has at least vocab_size, "
                "hidden_size, num_hidden_layers and num_attention_heads."
            )
        extra = dict(values)
        known = {f.name for f in dataclasses.fields(cls)[:-1]} & extra.keys()
        return cls(**{name: extra.pop(name) for name in known}, extra=extra)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BertConfig:
        """Reads a `bert_config.json`.

        Raises:
            BertError: the file is not there, is not JSON, or holds values that are not allowed.
        """
        values = read_object(path, "the BERT config")
        try:
            return cls.from_dict(values)
        except BertError as error:
            raise BertError(f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """All keys, the unknown ones included, sorted as in Google's releases."""
        values = dict(vars(self))
        values |= values.pop("extra")
        return dict(sorted(values.items()))

    def to_json(self) -> str:
        """The text of a `bert_config.json`."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def replace(self, **changes: Any) -> BertConfig:
        """A copy with some fields changed, validated again."""
        return dataclasses.replace(self, **changes)
