"""`FineTuningPlan`: how to fine-tune a classifier, and what is usual for each mode."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from bert_tf.errors import BertError
from bert_tf.training.distribution import check_kind

MODES = ("full", "frozen", "last:n", "lora")


class ModeDefaults(NamedTuple):
    """What is usual for a mode.

    Attributes:
        learning_rate: of the peak.
        useful: the lowest and the highest rate with which others have had success; outside of
            it, too little is learnt, or what was pretrained is destroyed.
        epochs: passes through the training data.
    """

    learning_rate: float
    useful: tuple[float, float]
    epochs: float


Size = Literal["large", "small", "tiny"]


def size_of(hidden_size: int) -> Size:
    """What an encoder of this width counts as.

    BERT-Base has 768, the smaller ones that Google released 128 and 256, or 512.
    """
    return "large" if hidden_size >= 768 else "small" if hidden_size >= 512 else "tiny"


DEFAULTS: dict[tuple[str, Size], ModeDefaults] = {
    # Large encoders: Devlin et al. 2018, appendix A.3, choose among 5e-5, 3e-5 and 2e-5 and 2 to 4
    # epochs; Mosbach et al. 2021 ("On the stability of fine-tuning BERT") take 2e-5, and find
    # that 1e-4 and above diverges more often than not.
    ("full", "large"): ModeDefaults(3e-5, (5e-6, 1e-4), 3.0),
    # Small ones: Turc et al. 2019 ("Well-read students learn better", the README of Google's BERT
    # repository) choose among 3e-4, 1e-4, 5e-5 and 3e-5, and 4 epochs.
    ("full", "small"): ModeDefaults(1e-4, (2e-5, 1e-3), 4.0),
    # Turc et al. have the best results of the smallest at their highest rate. With
    # demo_multi_cased 1e-4 and 4 epochs learn too little (70 % of SST-2, where 5e-4 has 78 %);
    # three-class SICK gains 9 points from 4 to 10 epochs.
    ("full", "tiny"): ModeDefaults(5e-4, (5e-5, 2e-3), 8.0),
    # What is trained starts from pretrained weights, as in "full"; with fewer of them, a somewhat
    # higher rate does no harm.
    ("last:n", "large"): ModeDefaults(5e-5, (1e-5, 3e-4), 3.0),
    ("last:n", "small"): ModeDefaults(2e-4, (2e-5, 2e-3), 4.0),
    ("last:n", "tiny"): ModeDefaults(5e-4, (5e-5, 5e-3), 8.0),
    # Hu et al. 2021 ("LoRA", table 9) take 2e-4 to 5e-4 for RoBERTa on GLUE: the new matrices are
    # small and start from nothing.
    ("lora", "large"): ModeDefaults(4e-4, (5e-5, 3e-3), 5.0),
    ("lora", "small"): ModeDefaults(1e-3, (1e-4, 1e-2), 8.0),
    ("lora", "tiny"): ModeDefaults(1e-3, (1e-4, 1e-2), 8.0),
    # One or two dense layers from random weights, on fixed vectors: a rate of 1e-3 is what Adam's
    # authors recommend (Kingma and Ba 2014), and an epoch costs next to nothing.
    ("frozen", "large"): ModeDefaults(1e-3, (1e-4, 1e-1), 10.0),
    ("frozen", "small"): ModeDefaults(1e-3, (1e-4, 1e-1), 10.0),
    # The pooler of a small encoder gives small numbers (0.03 is the deviation of
    # demo_multi_cased's): at 1e-3, 10 epochs of 420 texts (SMS spam) end with all of them one
    # class, at 1e-2 with 97 % right; SST-2 has the most right after 20.
    ("frozen", "tiny"): ModeDefaults(1e-2, (1e-3, 1e-1), 20.0),
}
"""By mode and size of the encoder (`size_of`)."""


@dataclasses.dataclass(frozen=True)
class FineTuningPlan:
    """How to fine-tune; what is None takes the mode's default (`DEFAULTS`).

    Attributes:
        mode: what is trained. `"full"`: everything. `"frozen"`: the head alone, on vectors that
            the encoder computes once. `"last:2"`, say: the last two layers, pooler and head.
            `"lora"`: in every layer a low-rank addition to query and value (added to the weights
            when the model is written), pooler and head.
        epochs: passes through the training data; may be a fraction.
        batch_size: rows of a step.
        accumulation: in how many parts the rows of a step are computed, where memory is short;
            the result is the same. (So `batch_size=32, accumulation=4` needs memory for 8.)
        learning_rate: the peak.
        head_learning_rate: of the head; None for the same.
        layer_decay: factor on the rate from each layer to the one below (Sun et al. 2019, "How to
            fine-tune BERT for text classification", who take 0.95). The last layer, pooler and
            head have the whole rate, the embeddings the least.
        warmup: share of the steps.
        weight_decay: of all but layer norms and biases.
        bias_correction: of Adam's means. The original has none; on little data it is safer
            (Mosbach et al. 2021; Zhang et al. 2021).
        clip_norm: the gradients' common norm is scaled down to it; None leaves them alone.
        dropout: instead of the encoder's two rates while training; None leaves them.
        pooling, dense_layers, head_dropout: the head, see `bert_tf.models.ClassifierLayout`.
        class_weights: None, `"balanced"` (rows / (classes x rows of the class)), or the weights
            by label. For several labels at once: by label, on each label's own loss.
        label_smoothing: from 0 to below 1.
        lora_rank: of the additions.
        lora_alpha: the addition is scaled by `lora_alpha / lora_rank`.
        precision: `"float32"`, or `"bfloat16"` to compute in it on float32 weights. A frozen
            encoder computes in what it was loaded with.
        metric: by which the best weights are kept; None for the task's usual one.
        keep_best: whether the weights of the best evaluation are kept, or the last ones.
        patience: evaluations without a better one after which training stops; None never stops.
        evaluate_every: steps between evaluations; None for once an epoch.
        eval_batch_size: rows at once where nothing is trained.
        seed: of the head, the order of the rows and dropout.
        save_every: steps between checkpoints.
        log_every: steps between rows of the log; None for 50, or fewer so that there are 20 rows
            even of a short training (`log_rhythm`).
        keep: how many checkpoints are kept.
        deterministic: same numbers on the same machine to the last bit, at some cost in speed;
            only then is a run that was killed and continued the same as an unbroken one.
        distribute: `"none"` for one device, `"data"` to divide each batch among all, see
            `bert_tf.training.distribution`.
    """

    mode: str = "full"
    epochs: float | None = None
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    warmup: float = 0.1
    weight_decay: float = 0.01
    bias_correction: bool = True
    clip_norm: float | None = 1.0
    dropout: float | None = None
    pooling: str = "pooled"
    dense_layers: int = 1
    head_dropout: float = 0.1
    class_weights: Literal["balanced"] | Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    lora_rank: int = 8
    lora_alpha: float = 16.0
    precision: str = "float32"
    metric: str | None = None
    keep_best: bool = True
    patience: int | None = None
    evaluate_every: int | None = None
    eval_batch_size: int = 64
    seed: int = 0
    save_every: int = 500
    log_every: int | None = None
    keep: int = 1
    deterministic: bool = False
    distribute: str = "none"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"full|frozen|lora|last:[1-9]\d*", self.mode):
            raise BertError(
                f"mode is {self.mode!r}; it must be full, frozen, lora, or last: and a number of "
                f"layers, such as last:2."
            )
        least = {
            **dict.fromkeys(("batch_size", "accumulation", "lora_rank", "eval_batch_size"), 1),
            **dict.fromkeys(("save_every", "log_every", "keep", "patience", "evaluate_every"), 1),
            **dict.fromkeys(("seed", "weight_decay"), 0),
        }
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise BertError(f"{name} is {value}; it must be at least {lowest}.")
        for name in ("epochs", "learning_rate", "head_learning_rate", "lora_alpha", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BertError(f"{name} is {value}; it must be above 0.")
        for name, highest in (("layer_decay", 1), ("warmup", 1)):
            if not 0 <= getattr(self, name) <= highest:
                raise BertError(f"{name} is {getattr(self, name)}; it lies from 0 to {highest}.")
        if self.layer_decay == 0:
            raise BertError("layer_decay is 0; to train the last layers alone, take mode last:n.")
        for name in ("dropout", "label_smoothing"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise BertError(f"{name} is {value}; it lies from 0 to below 1.")
        if self.precision not in ("float32", "bfloat16"):
            raise BertError(
                f"precision is {self.precision!r}; training computes in float32 or bfloat16."
            )
        if self.batch_size % self.accumulation:
            raise BertError(
                f"batch_size {self.batch_size} cannot be divided into accumulation "
                f"{self.accumulation} equal parts."
            )
        check_kind(self.distribute)
        weights = self.class_weights
        if isinstance(weights, str) and weights != "balanced":
            raise BertError(f"class_weights is {weights!r}; give 'balanced' or weights by label.")
        if isinstance(weights, Mapping) and not all(weight >= 0 for weight in weights.values()):
            raise BertError("a class weight is negative; give 0 or more.")

    @property
    def kind(self) -> str:
        """The mode without a number: one of `MODES`."""
        return "last:n" if self.mode.startswith("last:") else self.mode

    @property
    def last_layers(self) -> int:
        """How many layers of the encoder `last:n` trains."""
        return int(self.mode.partition(":")[2] or 0)

    def filled(self, hidden_size: int) -> FineTuningPlan:
        """The same with the mode's defaults for an encoder of this width in the place of None."""
        usual = DEFAULTS[self.kind, size_of(hidden_size)]
        return dataclasses.replace(
            self,
            epochs=usual.epochs if self.epochs is None else self.epochs,
            learning_rate=(
                usual.learning_rate if self.learning_rate is None else self.learning_rate
            ),
        )

    def log_rhythm(self, steps: int) -> int:
        """Steps between rows of the log, for a training of so many steps.

        >>> [FineTuningPlan().log_rhythm(steps) for steps in (14, 100, 5_000)]
        [1, 5, 50]
        """
        return self.log_every or min(50, math.ceil(steps / 20))

    def rate_remark(self, hidden_size: int) -> str | None:
        """What to say of a learning rate that is out of the useful range for the mode."""
        usual = DEFAULTS[self.kind, size_of(hidden_size)]
        rate, (low, high) = self.learning_rate, usual.useful
        if rate is None or low <= rate <= high:
            return None
        fate = "little will be learnt" if rate < low else "what was pretrained is likely to be lost"
        if self.kind == "frozen" and rate > high:
            fate = "the head is likely not to settle"
        return (
            f"the learning rate {rate:g} is {'below' if rate < low else 'above'} what is useful "
            f"in the mode {self.mode}, {low:g} to {high:g}: {fate}; {usual.learning_rate:g} is "
            f"usual."
        )

    def rate_multipliers(self, num_layers: int) -> dict[str, float]:
        """Factors on the learning rate by layer name, for `BertAdam`.

        For 3 layers and a decay d: the embeddings have d^3, the layers d^2, d and 1.
        """
        found: dict[str, float] = {}
        if self.layer_decay != 1:
            for number in range(num_layers):
                found[f"transformer_layer_{number}"] = self.layer_decay ** (num_layers - 1 - number)
            for name in ("token", "segment", "position"):
                found[f"{name}_embedding"] = self.layer_decay**num_layers
            found["embeddings_layer_norm"] = self.layer_decay**num_layers
        if self.head_learning_rate is not None and self.learning_rate is not None:
            factor = self.head_learning_rate / self.learning_rate
            found |= {"classifier_logits": factor, "classifier_hidden": factor}
        return found
