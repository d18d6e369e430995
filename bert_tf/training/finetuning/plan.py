"""`FineTuningPlan`: how to fine-tune a classifier, and what is usual for each mode."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from bert_tf._moved import OldName
from bert_tf.errors import BertError
from bert_tf.heads import HEADS, parts_of
from bert_tf.options import (
    COUNT,
    FRACTION,
    HEAD_ACTIVATIONS,
    HIDDEN_UNITS,
    NOT_NEGATIVE,
    POSITIVE,
    RATE,
    ROWS,
    SEED,
    Options,
    Range,
    check_hidden,
    option,
)

MODES = ("full", "frozen", "last:n", "lora")


class ModeDefaults(NamedTuple):
    """What is usual for a mode."""

    learning_rate: float
    """Of the peak."""
    useful: tuple[float, float]
    """The lowest and the highest rate with which others have had success; below, too little is
    learnt, above, what was pretrained is destroyed."""
    epochs: float
    """Passes through the training data."""


Size = Literal["large", "small", "tiny"]


def size_of(hidden_size: int) -> Size:
    """Of an encoder by width: BERT-Base has 768, Google's smaller ones 128 to 512."""
    return "large" if hidden_size >= 768 else "small" if hidden_size >= 512 else "tiny"


DEFAULTS: dict[tuple[str, Size], ModeDefaults] = {
    # Large encoders: Devlin et al. 2018, appendix A.3, choose among 5e-5, 3e-5 and 2e-5 and 2 to 4
    # epochs; Mosbach et al. 2021 ("On the stability of fine-tuning BERT") take 2e-5; from 1e-4 on
    # most of theirs diverge.
    ("full", "large"): ModeDefaults(3e-5, (5e-6, 1e-4), 3.0),
    # Small ones: Turc et al. 2019 ("Well-read students learn better", the README of Google's BERT
    # repository) choose among 3e-4, 1e-4, 5e-5 and 3e-5, and 4 epochs.
    ("full", "small"): ModeDefaults(1e-4, (2e-5, 1e-3), 4.0),
    # Turc et al. have the best results of the smallest at their highest rate. With
    # demo_multi_cased 1e-4 and 4 epochs learn too little (70 % of SST-2, where 5e-4 has 78 %);
    # three-class SICK gains 9 points from 4 to 10 epochs.
    ("full", "tiny"): ModeDefaults(5e-4, (5e-5, 2e-3), 8.0),
    # Pretrained weights as in "full"; with fewer of them, a somewhat higher rate does no harm.
    ("last:n", "large"): ModeDefaults(5e-5, (1e-5, 3e-4), 3.0),
    ("last:n", "small"): ModeDefaults(2e-4, (2e-5, 2e-3), 4.0),
    ("last:n", "tiny"): ModeDefaults(5e-4, (5e-5, 5e-3), 8.0),
    # Hu et al. 2021 ("LoRA", table 9) take 2e-4 to 5e-4 for RoBERTa on GLUE: small, new matrices.
    ("lora", "large"): ModeDefaults(4e-4, (5e-5, 3e-3), 5.0),
    ("lora", "small"): ModeDefaults(1e-3, (1e-4, 1e-2), 8.0),
    ("lora", "tiny"): ModeDefaults(1e-3, (1e-4, 1e-2), 8.0),
    # One or two dense layers from random weights, on fixed vectors: a rate of 1e-3 is what Adam's
    # authors recommend (Kingma and Ba 2014), and an epoch costs next to nothing.
    ("frozen", "large"): ModeDefaults(1e-3, (1e-4, 1e-1), 10.0),
    ("frozen", "small"): ModeDefaults(1e-3, (1e-4, 1e-1), 10.0),
    # A small encoder's pooler gives small numbers (demo_multi_cased's deviate by 0.03): 10 epochs
    # of 420 texts (SMS spam) end at 1e-3 with all of them one class, at 1e-2 with 97 % right;
    # SST-2 is best after 20.
    ("frozen", "tiny"): ModeDefaults(1e-2, (1e-3, 1e-1), 20.0),
}
"""By mode and size of the encoder (`size_of`)."""


@dataclasses.dataclass(frozen=True)
class FineTuningPlan(Options):
    """How to fine-tune; what is None takes the mode's default (`DEFAULTS`)."""

    mode: str = option(
        "full",
        "what is trained. full: everything; frozen: the head alone, on vectors that the encoder "
        "computes once, many times faster; last:2: the last two layers, pooler and head; lora: in "
        "every layer a low-rank addition to query and value (added to the weights when the model "
        "is written), pooler and head",
    )
    epochs: float | None = option(
        None,
        "passes through the training data; may be a fraction",
        Range(float, above=0, maximum=1_000_000),
        usual="by mode and width; full: 3, 4 or 8",
    )
    batch_size: int = option(32, "rows of a step", ROWS)
    accumulation: int = option(
        1,
        "parts in which the rows of a step are computed, to save memory: 32 rows in 4 parts need "
        "memory for 8. The result is the same",
        ROWS,
    )
    learning_rate: float | None = option(
        None,
        "peak of the learning rate",
        POSITIVE,
        usual="by mode and width; full: 3e-5 from BERT-Base on, 1e-4 from a width of 512 on, 5e-4 "
        "below",
    )
    head_learning_rate: float | None = option(
        None, "another rate for the head", POSITIVE, usual="the same"
    )
    layer_decay: float = option(
        1.0,
        'factor on the rate from each layer to the one below; 0.95 in Sun et al. 2019, "How to '
        'fine-tune BERT for text classification". The last layer, pooler and head have the whole '
        "rate, the embeddings the least",
        FRACTION,
    )
    warmup: float = option(0.1, "fraction of the steps in which the rate rises", FRACTION)
    weight_decay: float = option(
        0.01, "weight decay of all but layer norms and biases", NOT_NEGATIVE
    )
    bias_correction: bool = option(
        True,
        "correct the bias of Adam's means. The original does not; on little data it is safer "
        "(Mosbach et al. 2021; Zhang et al. 2021)",
    )
    clip_norm: float | None = option(
        1.0, "the gradients' common norm at most; from Python, None is no limit", POSITIVE
    )
    dropout: float | None = option(
        None, "rate while training, of both kinds", RATE, usual="the encoder's two rates"
    )
    pooling: str = option(
        "pooled",
        "what the head reads: the pooler's output on [CLS], or the mean of the last layer",
        choices=("pooled", "mean"),
    )
    dense_layers: int = option(1, "dense layers of the head", Range(int, 1, 2))
    head_dropout: float = option(0.1, "dropout before each of them", RATE)
    class_weights: Literal["balanced"] | Mapping[str, float] | None = option(
        None,
        "balanced, so that rare classes count as much as frequent ones (rows / (classes x rows of "
        "the class)); or weights by label, as label=weight,... (from Python a dict). For several "
        "labels at once: by label, on each label's own loss",
    )
    label_smoothing: float = option(
        0.0, "fraction of each label that is spread over all labels", RATE
    )
    lora_rank: int = option(8, "rank of the additions", Range(int, 1, 65_536))
    lora_alpha: float = option(16.0, "the additions are scaled by lora_alpha / lora_rank", POSITIVE)
    precision: str = option(
        "float32",
        "what training computes in; weights are float32 in any case. A frozen encoder computes in "
        "what it was loaded with",
        choices=("float32", "bfloat16"),
    )
    metric: str | None = option(
        None,
        "metric by which the best weights are chosen",
        usual="the task's usual one; accuracy of classes",
    )
    keep_best: bool = option(True, "keep the weights of the best evaluation, not the last ones")
    patience: int | None = option(
        None, "evaluations without a better one after which training stops", COUNT, usual="never"
    )
    evaluate_every: int | None = option(
        None, "steps between evaluations", COUNT, usual="once an epoch"
    )
    eval_batch_size: int = option(64, "rows at once where nothing is trained", ROWS)
    seed: int = option(0, "seed of the head, the order of the rows and dropout", SEED)
    save_every: int = option(500, "steps between checkpoints", COUNT)
    log_every: int | None = option(
        None,
        "steps between rows of the log",
        COUNT,
        usual="50, or fewer so that a short training has 20 rows",
    )
    keep: int = option(
        2,
        "checkpoints to resume from that are kept: if the last is damaged, the one before is used. "
        "Each takes 3 times the space of the weights that are trained, and once more for the best "
        "ones: 1.8 GB for BERT-Base in the mode full. While one is written, there is one more",
        COUNT,
    )
    deterministic: bool = option(
        False,
        "exactly the same numbers in each run on one machine, slower; only then does a "
        "run that was interrupted and resumed give the same as an uninterrupted one",
    )
    distribute: str = option(
        "none",
        "none: one device; data: each batch is divided among all, on TensorFlow the GPUs of this "
        "machine, on JAX GPUs or TPUs, also those of other hosts: there, start the same command on "
        "each, with KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID set, and give "
        "an output folder that they share",
        choices=("none", "data"),
    )
    hidden_units: int | None = option(
        None, "width of the first of two dense layers", HIDDEN_UNITS, usual="the encoder's"
    )
    head_activation: str | None = option(
        None, "activation of the first of two dense layers", choices=HEAD_ACTIVATIONS, usual="tanh"
    )
    rate_remark = OldName("rate_remark", "rate_warning")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"full|frozen|lora|last:[1-9]\d{0,5}", str(self.mode)):
            raise BertError(
                f"mode is {self.mode!r}; it must be full, frozen, lora, or last: and a number of "
                f"layers, such as last:2."
            )
        super().__post_init__()
        check_hidden(self.dense_layers, self.hidden_units, self.head_activation)
        if self.layer_decay == 0:
            raise BertError("layer_decay is 0; to train the last layers alone, take mode last:n.")
        if self.batch_size % self.accumulation:
            raise BertError(
                f"`batch_size={self.batch_size}` cannot be divided into "
                f"`accumulation={self.accumulation}` equal parts."
            )
        weights = self.class_weights
        if isinstance(weights, str) and weights != "balanced":
            raise BertError(f"`class_weights` is {weights!r}; give 'balanced' or weights by label.")
        for label, weight in weights.items() if isinstance(weights, Mapping) else ():
            NOT_NEGATIVE.check(f"the class weight of {label}", weight)

    @property
    def kind(self) -> str:
        """The mode without a number: one of `MODES`."""
        return "last:n" if self.mode.startswith("last:") else self.mode

    @property
    def last_layers(self) -> int:
        """How many layers of the encoder `last:n` trains."""
        return int(self.mode.partition(":")[2] or 0)

    def check_layers(self, count: int) -> None:
        """Raises a `BertError` if the mode trains more layers than an encoder has."""
        if self.last_layers > count:
            raise BertError(
                f"mode is {self.mode}, but this encoder has {count} layers; to train them all, "
                "take mode full."
            )

    def filled(self, hidden_size: int) -> FineTuningPlan:
        """The same with the mode's defaults for an encoder of this width in place of None."""
        usual = DEFAULTS[self.kind, size_of(hidden_size)]
        open_ = [name for name in ("epochs", "learning_rate") if getattr(self, name) is None]
        return dataclasses.replace(self, **{name: getattr(usual, name) for name in open_})

    def log_rhythm(self, steps: int) -> int:
        """Steps between rows of the log, for a training of so many steps.

        >>> [FineTuningPlan().log_rhythm(steps) for steps in (14, 100, 5_000)]
        [1, 5, 50]
        """
        return self.log_every or min(50, math.ceil(steps / 20))

    def rate_warning(self, hidden_size: int) -> str | None:
        """What to say of a learning rate that is out of the useful range for the mode."""
        usual = DEFAULTS[self.kind, size_of(hidden_size)]
        rate, (low, high) = self.learning_rate, usual.useful
        if rate is None or low <= rate <= high:
            return None
        fate = (
            "the model will learn little"
            if rate < low
            else "what was pretrained is likely to be lost"
        )
        if self.kind == "frozen" and rate > high:
            fate = "the head is likely not to converge"
        return (
            f"the learning rate {rate:g} is {'below' if rate < low else 'above'} what is useful "
            f"in the mode {self.mode}, {low:g} to {high:g}: {fate}; {usual.learning_rate:g} is "
            f"usual."
        )

    def rate_multipliers(self, num_layers: int, head: str = "classifier") -> dict[str, float]:
        """Factors on the learning rate by layer name, for `BertAdam`.

        For 3 layers and a decay d: the embeddings have d^3, the layers d^2, d and 1.
        """
        found: dict[str, float] = {}
        if (decay := self.layer_decay) != 1:
            layers = range(num_layers)
            found |= {f"transformer_layer_{i}": decay ** (num_layers - 1 - i) for i in layers}
            embeddings = [f"{name}_embedding" for name in ("token", "segment", "position")]
            found |= dict.fromkeys([*embeddings, "embeddings_layer_norm"], decay**num_layers)
        if self.head_learning_rate is not None and self.learning_rate is not None:
            factor = self.head_learning_rate / self.learning_rate
            found |= {w.layer: factor for part in parts_of(head) for w in HEADS[part].weights}
        return found
