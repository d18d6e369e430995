"""`TunedModel`: the model that fine-tuning trains, and which of its weights a mode trains."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from bert_tf.bert import Bert
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.names import Weight, weights_of
from bert_tf.errors import BertError
from bert_tf.models.builders import build_classifier, build_head_model
from bert_tf.models.heads import ClassifierLayout, Heads
from bert_tf.models.parts import BertLayers
from bert_tf.models.weights import assign, value_at, variable_at
from bert_tf.training.checkpoints import SavedWeight, saved_weights
from bert_tf.training.finetuning.plan import FineTuningPlan
from bert_tf.training.objectives.base import Scale
from bert_tf.training.pretraining.spectral import draw_weight

HEAD_PARTS = ("classifier", "classifier_hidden")


class TunedModel:
    """A BERT's weights in layers of their own, with a head, ready to be trained.

    The BERT that it is made from stays as it is. Its head is taken over if it is for the same
    labels and laid out in the same way, else a new one is drawn.

    Args:
        bert: where the weights come from.
        info: of the classifier to train.
        plan: how to train; gives the mode.
        scale: of a regression's labels.

    Attributes:
        layers: the layers; of a frozen encoder they hold only the head's weights.
        model: gives the scores, (batch, outputs), of `token_input` and `seg_input`, or of
            `feature_input` if the encoder is frozen.
        trained: the weights that the mode trains.
        remarks: what is worth saying.

    Raises:
        BertError: the mode trains more layers than there are.
    """

    def __init__(
        self, bert: Bert, info: ClassifierInfo, plan: FineTuningPlan, scale: Scale
    ) -> None:
        self._bert = bert
        self._scale = scale
        self.plan = plan
        self.remarks: list[str] = []
        config = bert.config
        if plan.last_layers > config.num_hidden_layers:
            raise BertError(
                f"mode is {plan.mode}, but this encoder has {config.num_hidden_layers} layers; "
                f"to train them all, take mode full."
            )
        if plan.dropout is not None:
            config = config.replace(
                hidden_dropout_prob=plan.dropout, attention_probs_dropout_prob=plan.dropout
            )
        layout = ClassifierLayout(info.task, info.pooling, info.dense_layers, info.dropout)
        heads = Heads(
            pooler=bert.has("pooler") or info.pooling == "pooled",
            classifier=info.num_outputs,
            layout=layout,
        )
        half = plan.precision == "bfloat16" and plan.kind != "frozen"
        self.layers = BertLayers(config, heads, "mixed_bfloat16" if half else "float32")
        self.layers.build()
        self._assign_start(info)
        self._lora: list[SavedWeight] = []
        if plan.kind == "lora":
            self._add_lora()
        frozen = plan.kind == "frozen"
        self.model = (
            build_head_model(self.layers) if frozen else build_classifier(self.layers, logits=True)
        )
        self.trained = self._choose_trained()

    def _weights(self) -> list[Weight]:
        heads = self.layers.heads
        return weights_of(self.layers.config, heads.parts, heads.classifier)

    def _assign_start(self, info: ClassifierInfo) -> None:
        by_name = self.layers.by_name()
        weights = {weight.original: weight for weight in self._weights()}
        known = self._bert.classifier
        same = (
            known is not None
            and set(HEAD_PARTS).isdisjoint(self._bert.report.fresh)
            and (known.labels, known.task, known.pooling, known.dense_layers)
            == (info.labels, info.task, info.pooling, info.dense_layers)
        )
        if same:
            self.remarks.append("training goes on from the classifier that the checkpoint has.")
        missing = dict(weights)
        for name, value in self._bert.weights():
            weight = weights.get(name)
            if weight is None or (weight.part in HEAD_PARTS and not same):
                continue
            del missing[name]
            if self.plan.kind == "frozen" and weight.part not in HEAD_PARTS:
                continue  # they are used where they are, in the BERT
            value = self._scale.narrow(name, np.asarray(value, np.float32))
            _assign(by_name, weight, value)
        if any(weight.part == "pooler" for weight in missing.values()):
            self.remarks.append("the checkpoint has no pooler; a new one starts at random.")
            if self.plan.kind == "frozen":
                raise BertError(
                    "mode is frozen, but the checkpoint has no pooler whose output could be kept; "
                    "take pooling mean, or another mode."
                )
        rng = np.random.default_rng([self.plan.seed, 1])
        for name, weight in missing.items():
            value = draw_weight(rng, name, weight.shape, self.layers.config.initializer_range)
            _assign(by_name, weight, value)

    def _add_lora(self) -> None:
        for number, layer in enumerate(self.layers.transformer_layers):
            for part in ("query", "value"):
                dense = getattr(layer.attention, part)
                # In the scopes of a build, so that the variables' paths begin like the others.
                with keras.name_scope(layer.name), keras.name_scope(layer.attention.name):
                    dense.enable_lora(self.plan.lora_rank, self.plan.lora_alpha)
                at = f"bert/encoder/layer_{number}/attention/self/{part}"
                self._lora += [
                    SavedWeight(f"{at}/lora_a", dense.lora_kernel_a),
                    SavedWeight(f"{at}/lora_b", dense.lora_kernel_b),
                ]

    def _choose_trained(self) -> list[SavedWeight]:
        """Marks the variables that the mode trains; gives them with their names."""
        plan, count = self.plan, self.layers.config.num_hidden_layers
        head = ("bert/pooler/", "output_", "classifier/hidden/")
        starts: tuple[str, ...] = {
            "full": ("",),
            "frozen": head[1:],
            "lora": head,
            "last:n": (
                *(f"bert/encoder/layer_{i}/" for i in range(count - plan.last_layers, count)),
                *head,
            ),
        }[plan.kind]
        in_model = {id(variable) for variable in self.model.weights}
        named = {
            id(saved.variable): saved
            for saved in (*saved_weights(self.layers), *self._lora)
            if id(saved.variable) in in_model
        }
        lora = {id(saved.variable) for saved in self._lora}
        for number, saved in named.items():
            saved.variable.trainable = number in lora or saved.name.startswith(starts)
        return [named[id(variable)] for variable in self.model.trainable_variables]

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """What a checkpoint of the fine-tuned model holds, LoRA and the scale put in."""
        wanted = self._weights()
        by_name = self.layers.by_name()
        kept = {weight.original for weight in wanted if weight.part not in HEAD_PARTS}
        if self.plan.kind == "frozen":
            for name, value in self._bert.weights():
                if name in kept:
                    yield name, np.asarray(value, np.float32)
        for weight in wanted:
            if self.plan.kind == "frozen" and weight.original in kept:
                continue
            value = value_at(by_name[weight.layer], weight.attribute)
            value = value.T if weight.transpose else value
            yield weight.original, self._scale.widen(weight.original, value)


def _assign(by_name: dict[str, Any], weight: Weight, value: np.ndarray) -> None:
    # A copy of its own: the variable takes the memory over and changes it.
    own = np.array(value.T if weight.transpose else value, np.float32, order="C")
    assign(variable_at(by_name[weight.layer], weight.attribute), own)


def digest_of(bert: Bert) -> str:
    """A hash of the architecture, the vocabulary and all weights of a BERT."""
    digest = hashlib.sha256(bert.config.to_json().encode())
    digest.update(repr((bert.lower_case, dataclasses.asdict(bert.heads))).encode())
    digest.update(hashlib.sha256(bert.vocab.raw).digest())
    for name, value in bert.weights():
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()
