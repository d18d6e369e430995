"""A process that trains one model with one library, told what to do by `training.py`.

    python benchmarks/training_engines.py '{"kind": "ours", "backend": "jax", ...}'

The protocol is that of `worker.py`. Every engine begins with the same weights and sees the same
batches; a step is forward, backward, clipping and Adam, until the new weights and the loss are
there.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Protocol

import numpy as np
import worker

RATE, DECAY, EPSILON, CLIP = 1e-4, 0.01, 1e-6, 1.0
"""Learning rate, weight decay, Adam's epsilon and the greatest norm of all gradients together."""

BATCHES = 4
"""Different batches; they are used in turn."""

Batch = dict[str, np.ndarray]


class Engine(Protocol):
    """What every engine can do."""

    def prepare(self, batch: Batch) -> Any:
        """A batch in the engine's own form; not timed."""

    def step(self, batch: Any) -> float:
        """One step of training; the loss before it."""


def make_batches(case: dict[str, Any]) -> list[Batch]:
    """Rows without padding, the same in every process: [CLS], a text, [SEP], a text, [SEP].

    The keys are those of `bert_tf.data.PretrainingStream`.
    """
    rng = np.random.default_rng(0)
    rows, length, masked = case["rows"], case["length"], case["masked"]
    pieces = case["config"]["vocab_size"]
    first, second, mask = 1, 2, 3  # [CLS], [SEP], [MASK]: any number will do
    middle = length // 2
    places = np.setdiff1d(np.arange(1, length - 1), [middle])
    batches = []
    for _ in range(BATCHES):
        ids = rng.integers(4, pieces, (rows, length)).astype(np.int32)
        ids[:, 0], ids[:, [middle, -1]] = first, second
        segments = np.zeros_like(ids)
        segments[:, middle + 1 :] = 1
        positions = np.stack([np.sort(rng.choice(places, masked, False)) for _ in range(rows)])
        labels = np.take_along_axis(ids, positions, axis=1)
        np.put_along_axis(ids, positions, mask, axis=1)
        batches.append(
            {
                "token_input": ids,
                "seg_input": segments,
                "position_input": positions.astype(np.int32),
                "masked_lm_ids": labels,
                "masked_lm_weights": np.ones(labels.shape, np.float32),
                "next_sentence_labels": rng.integers(0, 2, rows).astype(np.int32),
            }
        )
    return batches


def _config(case: dict[str, Any]) -> Any:
    from bert_tf.config import BertConfig

    rate = case["dropout"]
    return BertConfig(**case["config"], hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)


class Ours:
    """bert_tf's `TrainingStep`, as `pretrain` uses it, on TensorFlow or JAX."""

    def __init__(self, case: dict[str, Any], backend: str, precision: str) -> None:
        os.environ["KERAS_BACKEND"] = backend
        import keras

        from bert_tf.models.heads.pretraining import build_gathered_pretraining_model
        from bert_tf.models.layout import Heads
        from bert_tf.models.parts import BertLayers
        from bert_tf.models.weights import assign_all
        from bert_tf.training.losses import pretraining_loss
        from bert_tf.training.optimizer import BertAdam
        from bert_tf.training.pretraining.spectral import random_start
        from bert_tf.training.step import TrainingStep

        keras.utils.set_random_seed(0)
        config = _config(case)
        policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
        layers = BertLayers(config, Heads(pooler=True, mlm=True, nsp=True), policy)
        layers.build()
        assign_all(layers, random_start(config))
        optimizer = BertAdam(
            RATE, DECAY, epsilon=EPSILON, bias_correction=True, global_clipnorm=CLIP
        )
        model = build_gathered_pretraining_model(layers)
        self._train = TrainingStep(model, pretraining_loss, optimizer)
        self._on_jax = backend == "jax"

    def prepare(self, batch: Batch) -> Batch:
        """Numpy is what we take."""
        return batch

    def step(self, batch: Batch) -> float:
        """One step; the sums that it reports are turned into the loss as the log's are."""
        from bert_tf.training.pretraining.pretrain import metrics_of

        sums = np.asarray(self._train(batch))
        if self._on_jax:  # the loss may be there before the new weights are
            import jax

            jax.block_until_ready(jax.live_arrays())
        return metrics_of(sums)["loss"]


class HuggingFace:
    """`BertForPreTraining` on PyTorch, not compiled, with PyTorch's AdamW in its fused form.

    Args:
        case: what to train.
        threads: of PyTorch.
        precision: for bfloat16 the weights stay float32 and the step runs under autocast.
        gathered: take the masked positions out of the encoder's output before the masked-word
            head. `BertForPreTraining` has no option for it and projects all positions.
    """

    def __init__(self, case: dict[str, Any], threads: int, precision: str, gathered: bool) -> None:
        import torch
        import weights

        from bert_tf.training.pretraining.spectral import random_start

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self._torch = torch
        self._narrow = precision == "bfloat16"
        self._gathered = gathered
        config = _config(case)
        self._model = weights.new_model(config)
        weights.fill(self._model, random_start(config).items())
        self._model.train()
        self._parameters = list(self._model.parameters())
        # Layer norms and biases, which do not decay, are those of one axis.
        groups = [
            {"params": [p for p in self._parameters if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in self._parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self._adam = torch.optim.AdamW(groups, lr=RATE, eps=EPSILON, fused=True)

    def use(self, attention: str) -> None:
        """Chooses the implementation of attention, `"sdpa"` or `"eager"`."""
        self._model.set_attn_implementation(attention)

    def prepare(self, batch: Batch) -> dict[str, Any]:
        """Tensors on the model's arguments, labels at all positions, and where the masks are."""
        tensor = self._torch.from_numpy
        ids, positions = batch["token_input"], batch["position_input"].astype(np.int64)
        labels = np.full(ids.shape, -100, np.int64)
        np.put_along_axis(labels, positions, batch["masked_lm_ids"].astype(np.int64), axis=1)
        rows = np.arange(len(ids))[:, None] * ids.shape[1]
        return {
            "inputs": {
                "input_ids": tensor(ids.astype(np.int64)),
                "attention_mask": tensor((ids != 0).astype(np.int64)),
                "token_type_ids": tensor(batch["seg_input"].astype(np.int64)),
            },
            "labels": tensor(labels),
            "pairs": tensor(batch["next_sentence_labels"].astype(np.int64)),
            "places": tensor((rows + positions).ravel()),
            "words": tensor(batch["masked_lm_ids"].astype(np.int64).ravel()),
        }

    def _loss(self, batch: dict[str, Any]) -> Any:
        if not self._gathered:
            return self._model(
                **batch["inputs"], labels=batch["labels"], next_sentence_label=batch["pairs"]
            ).loss
        outputs = self._model.bert(**batch["inputs"])
        hidden = outputs.last_hidden_state.flatten(0, 1)[batch["places"]]
        heads, entropy = self._model.cls, self._torch.nn.functional.cross_entropy
        words = entropy(heads.predictions(hidden), batch["words"])
        return words + entropy(heads.seq_relationship(outputs.pooler_output), batch["pairs"])

    def step(self, batch: dict[str, Any]) -> float:
        """One step, the usual five calls."""
        torch = self._torch
        self._adam.zero_grad(set_to_none=True)
        narrow = torch.autocast("cpu", dtype=torch.bfloat16)
        with narrow if self._narrow else contextlib.nullcontext():
            loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP)
        self._adam.step()
        return loss.item()


class Trainer:
    """An engine with its batches, and where it stands among them."""

    def __init__(self, engine: Engine, case: dict[str, Any]) -> None:
        self.engine = engine
        self._batches = [engine.prepare(batch) for batch in make_batches(case)]
        self._number = 0

    def step(self) -> None:
        """One step on the next batch."""
        self.engine.step(self._batches[self._number % BATCHES])
        self._number += 1

    def losses(self, count: int) -> list[float]:
        """The losses of so many steps, all on the first batch: they fall."""
        return [self.engine.step(self._batches[0]) for _ in range(count)]

    def choose(self, repeat: int) -> dict[str, float]:
        """Seconds of a step with either attention, the best of some; then takes the faster.

        The two take turns, so that what slows the machine down for a while slows both.
        """
        assert isinstance(self.engine, HuggingFace)
        seconds: dict[str, list[float]] = {"sdpa": [], "eager": []}
        for number in range(repeat + 1):
            for name, found in seconds.items():
                self.engine.use(name)
                found += worker.timed(self.step, 1)[: number > 0]  # the first warms up
        best = {name: min(found) for name, found in seconds.items()}
        self.engine.use(min(best, key=lambda name: best[name]))
        return best


def answer(trainer: Trainer, question: dict[str, Any]) -> dict[str, Any]:
    """Does what a line asks for."""
    do = question["do"]
    if do == "train":
        return {"seconds": worker.timed(trainer.step, question["repeat"])}
    if do == "losses":
        return {"losses": trainer.losses(question["count"])}
    if do == "choose":
        return {"seconds": trainer.choose(question["repeat"])}
    if do == "memory":
        return {"bytes": worker.peak_memory()}
    raise ValueError(f"no such step: {do}")


def make(kind: str, backend: str, precision: str, case: dict[str, Any], threads: int) -> Trainer:
    """The engine of a name.

    Args:
        kind: `"ours"`, `"hugging_face"` or `"hugging_face_gathered"`.
        backend: of ours.
        precision: `"float32"` or `"bfloat16"`.
        case: `training.Case` as a dict.
        threads: how many the engine may use.
    """
    engine: Engine
    if kind == "ours":
        engine = Ours(case, backend, precision)
    else:
        engine = HuggingFace(case, threads, precision, kind == "hugging_face_gathered")
    return Trainer(engine, case)


if __name__ == "__main__":
    worker.serve(make, answer)
