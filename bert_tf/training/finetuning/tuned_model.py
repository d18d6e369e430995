"""`TunedModel`: the model that fine-tuning trains, and which of its weights a mode trains."""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Iterator

import keras
import numpy as np

from bert_tf.bert import Bert, build
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.dtypes import is_sound, refuse_unsound
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.files.whole import encoded
from bert_tf.heads import HEADS, MODELS, Weight, parts_of
from bert_tf.models.layout import ClassifierLayout, Heads
from bert_tf.models.parts import BertLayers
from bert_tf.models.weights import SavedWeight, saved_weights, values
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.objectives.base import Scale
from bert_tf.training.pretraining.spectral import draw_weight


class TunedModel:
    """A BERT's weights in layers of their own, with a head, ready to be trained.

    The BERT that it is made from stays as it is. Its head is taken over if labels and layout are
    those of `info`, else a new one is drawn. `scale` is that of a regression's labels.

    Attributes:
        layers: of a frozen encoder they hold only the head's weights.
        model: gives the scores, (batch, outputs), of `token_input` and `seg_input`, or of
            `feature_input` if the encoder is frozen.
        trained: the weights that the mode trains.
        warnings: what is worth saying.

    Raises:
        BertError: the mode trains more layers than there are, or weights are NaN or infinite.
    """

    def __init__(
        self, bert: Bert, info: ClassifierInfo, plan: FineTuningPlan, scale: Scale
    ) -> None:
        self._bert = bert
        self._scale = scale
        self.plan = plan
        self.warnings: list[str] = []
        config = bert.config
        plan.check_layers(config.num_hidden_layers)
        if (rate := plan.dropout) is not None:
            config = config.replace(hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)
        kept = ["pooler"] if bert.has("pooler") else []
        layout = ClassifierLayout.of(info)
        heads = Heads.of([info.head, *kept], {info.head: info.num_outputs}, layout)
        self._parts = parts_of(info.head)
        half = plan.precision == "bfloat16" and plan.kind != "frozen"
        self.layers = BertLayers(config, heads, "mixed_bfloat16" if half else "float32")
        self.layers.build()
        self._assign_start(info)
        self._lora: list[SavedWeight] = []
        if plan.kind == "lora":
            self._add_lora()
        builder, options = MODELS[info.head].builder, MODELS[info.head].training
        if plan.kind == "frozen":
            builder, options = HEADS[info.head].on_vectors, {}
            if not builder:
                raise BertError(
                    f"mode is frozen, but the {HEADS[info.head].title} reads more than one vector "
                    f"of a text; take another mode."
                )
        self.model = build(builder, self.layers, options)
        self.trained = self._choose_trained()

    def _assign_start(self, info: ClassifierInfo) -> None:
        missing = {saved.name: saved for saved in saved_weights(self.layers)}
        infos = [one for one in (self._bert.classifier, self._bert.task) if one is not None]
        known = next((one for one in infos if one.head == info.head), None)
        hidden = ("dense_layers", "hidden_units", "activation")
        of_head = operator.attrgetter("labels", "task", "pooling", *hidden)
        loaded = known is not None and set(self._parts).isdisjoint(self._bert.report.fresh)
        same = loaded and of_head(known) == of_head(info)
        if same:
            self.warnings += warn(f"training continues from the {info.head} of the checkpoint.")
        for name, value in self._bert.weights():
            is_head = name in missing and missing[name].weight.part in self._parts
            if name not in missing or (is_head and not same):
                continue
            saved = missing.pop(name)
            if not is_sound(value):
                refuse_unsound([name], self._bert.name)
            if is_head or self.plan.kind != "frozen":  # else it is used where it is, in the BERT
                saved.assign(self._scale.narrow(name, np.asarray(value, np.float32)))
        if any(saved.weight.part == "pooler" for saved in missing.values()):
            if self.plan.kind == "frozen":
                raise BertError(
                    "mode is frozen, but the checkpoint has no pooler whose output could be kept; "
                    "take pooling mean, or another mode."
                )
            self.warnings += warn("the checkpoint has no pooler; a new one starts at random.")
        rng = np.random.default_rng([self.plan.seed, 1])
        deviation = self.layers.config.initializer_range
        for name, saved in missing.items():
            saved.assign(draw_weight(rng, name, saved.weight.shape, deviation), copy=False)

    def _add_lora(self) -> None:
        for number, layer in enumerate(self.layers.transformer_layers):
            for part in ("query", "value"):
                dense = getattr(layer.attention, part)
                # In the scopes of a build, so that the variables' paths begin like the others.
                with keras.name_scope(layer.name), keras.name_scope(layer.attention.name):
                    dense.enable_lora(self.plan.lora_rank, self.plan.lora_alpha)
                at = f"bert/encoder/layer_{number}/attention/self/{part}"
                for end, variable in (("a", dense.lora_kernel_a), ("b", dense.lora_kernel_b)):
                    weight = Weight(f"{at}/lora_{end}", shape=tuple(variable.shape), part="lora")
                    self._lora.append(SavedWeight(weight, variable))

    def _choose_trained(self) -> list[SavedWeight]:
        """Marks the variables that the mode trains; gives them with their names."""
        plan, count = self.plan, self.layers.config.num_hidden_layers
        last = tuple(f"bert/encoder/layer_{i}/" for i in range(count - plan.last_layers, count))
        parts = self._parts if plan.kind == "frozen" else ("pooler", "lora", *self._parts)
        named = {id(saved.variable): saved for saved in (*saved_weights(self.layers), *self._lora)}
        for saved in (named[i] for i in named.keys() & set(map(id, self.model.weights))):
            chosen = saved.weight.part in parts or saved.name.startswith(last)
            saved.variable.trainable = chosen or plan.kind == "full"
        return [named[id(variable)] for variable in self.model.trainable_variables]

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """What a checkpoint of the fine-tuned model holds, LoRA and the scale put in."""
        parts: tuple[str, ...] = self.layers.heads.parts
        if self.plan.kind == "frozen":
            weights = self.layers.heads.weights(self.layers.config)
            kept = {weight.original for weight in weights if weight.part not in self._parts}
            for name, value in self._bert.weights():
                if name in kept:
                    yield name, np.asarray(value, np.float32)
            parts = self._parts
        for weight, value in values(self.layers, parts):
            yield weight.original, self._scale.widen(weight.original, value)


def digest_of(bert: Bert) -> str:
    """A hash of the architecture, the vocabulary and all weights of a BERT."""
    digest = hashlib.sha256(encoded(bert.config.to_json()))
    # As version 0.1.0 has it, whose trainings resume; heads that came later count where they are.
    always = ("pooler", "mlm", "nsp", "classifier", "span")
    heads = {name: x for name, x in dataclasses.asdict(bert.heads).items() if x or name in always}
    usual = {"hidden_units": None, "activation": "tanh"}.items()
    heads["layout"] = dict(x for x in heads["layout"].items() if x not in usual)
    digest.update(repr((bert.lower_case, heads)).encode())
    digest.update(hashlib.sha256(bert.vocab.raw).digest())
    for name, value in bert.weights():
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()
