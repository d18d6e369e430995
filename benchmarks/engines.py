"""What is measured: each engine runs one model in one precision, told what to do by `worker`.

An engine is made with a folder of weights, and has then everything in memory. `prepare` turns a
batch into what the engine likes best and is not timed; `encode` and `fill` are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Answer = list[tuple[int, float]]
"""Ids of word pieces with their probabilities, best first."""

BATCH_SIZE = 32
"""Rows at a time where many sentences are filled."""


class Engine(Protocol):
    """What every engine can do."""

    def prepare(self, ids: np.ndarray, segments: np.ndarray) -> Any:
        """A batch, int32 (batch, length) with 0 where padded, in the engine's own form."""

    def encode(self, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        """Hidden states (batch, length, hidden) and pooled output (batch, hidden)."""

    def fill(self, texts: str | list[str], top_k: int = 5) -> Any:
        """Fills the [MASK] of one text, or of each of many, to the end that a user sees."""

    def answers(self, filled: Any) -> list[Answer]:
        """What `fill` gave for a list of texts, in a form that can be compared."""


class Ours:
    """bert_tf on one of its backends: `Bert.predictor` and `FillMask`."""

    def __init__(self, folders: dict[str, str], backend: str, precision: str) -> None:
        os.environ["KERAS_BACKEND"] = backend
        import bert_tf

        self.bert = bert_tf.load(folders["checkpoint"], precision=precision)
        self._encode = self.bert.predictor("encoder")
        self._fill: dict[int, Any] = {}

    def prepare(self, ids: np.ndarray, segments: np.ndarray) -> dict[str, np.ndarray]:
        """Numpy is what we take."""
        return {"token_input": ids, "seg_input": segments}

    def encode(self, batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The functional encoder."""
        outputs = self._encode(batch)
        return outputs["sequence_output"], outputs["pooled_output"]

    def fill(self, texts: str | list[str], top_k: int = 5) -> Any:
        """`FillMask`, text in, named results out."""
        if top_k not in self._fill:
            import bert_tf

            self._fill[top_k] = bert_tf.FillMask(self.bert, top_k=top_k, batch_size=BATCH_SIZE)
        return self._fill[top_k](texts)

    def answers(self, filled: Any) -> list[Answer]:
        """From `FilledText`."""
        number = self.bert.vocab.id
        return [
            [(number(guess.pieces[0]), guess.probability) for guess in text.masks[0].guesses]
            for text in filled
        ]


class HuggingFace:
    """transformers on PyTorch, not compiled: `BertModel` and `pipeline("fill-mask")`."""

    def __init__(self, folders: dict[str, str], threads: int, precision: str) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        self.torch = torch
        dtype = getattr(torch, precision)
        folder = folders["hugging_face"]
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        encoder = transformers.BertModel.from_pretrained(folder, dtype=dtype).eval()
        masked = transformers.BertForMaskedLM.from_pretrained(folder, dtype=dtype).eval()
        # One set of weights in memory for both.
        masked.bert.embeddings, masked.bert.encoder = encoder.embeddings, encoder.encoder
        masked.cls.predictions.decoder.weight = encoder.embeddings.word_embeddings.weight
        self.encoder = encoder
        self.pipe = transformers.pipeline("fill-mask", masked, tokenizer=tokenizer, device="cpu")

    def prepare(self, ids: np.ndarray, segments: np.ndarray) -> dict[str, Any]:
        """Tensors on the model's arguments."""
        tensor = self.torch.from_numpy
        return {
            "input_ids": tensor(ids.astype(np.int64)),
            "attention_mask": tensor((ids != 0).astype(np.int64)),
            "token_type_ids": tensor(segments.astype(np.int64)),
        }

    def encode(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """`BertModel` without gradients."""
        with self.torch.inference_mode():
            outputs = self.encoder(**batch)
        hidden, pooled = outputs.last_hidden_state, outputs.pooler_output
        if hidden.dtype == self.torch.bfloat16:  # numpy has no bfloat16
            hidden, pooled = hidden.float(), pooled.float()
        return hidden.numpy(), pooled.numpy()

    def fill(self, texts: str | list[str], top_k: int = 5) -> Any:
        """The pipeline, in batches where there are many texts."""
        if isinstance(texts, str):
            return self.pipe(texts, top_k=top_k)
        return self.pipe(texts, top_k=top_k, batch_size=BATCH_SIZE)

    def answers(self, filled: Any) -> list[Answer]:
        """From the pipeline's dictionaries."""
        return [[(guess["token"], guess["score"]) for guess in text] for text in filled]


class _Exported:
    """Hugging Face's model exported to ONNX, with a minimal fill-mask around it.

    Only the asked position reaches the vocabulary in that graph, as a careful user would have it.
    """

    def __init__(self, folders: dict[str, str]) -> None:
        from tokenizers import Tokenizer

        self._folder = Path(folders["onnx"])
        self._tokenizer = Tokenizer.from_file(f"{folders['hugging_face']}/tokenizer.json")
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        self._mask = self._tokenizer.token_to_id("[MASK]")

    def _run(self, graph: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        raise NotImplementedError

    def prepare(self, ids: np.ndarray, segments: np.ndarray) -> dict[str, np.ndarray]:
        """The exported graph takes int64."""
        return {
            "input_ids": ids.astype(np.int64),
            "attention_mask": (ids != 0).astype(np.int64),
            "token_type_ids": segments.astype(np.int64),
        }

    def encode(self, batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The graph of the encoder with its pooler."""
        hidden, pooled = self._run("encoder", batch)
        return hidden, pooled

    def fill(self, texts: str | list[str], top_k: int = 5) -> Any:
        """Tokenize, run the graph of the masked-word head, take the best in numpy."""
        texts = [texts] if isinstance(texts, str) else texts
        found: list[Answer] = []
        for start in range(0, len(texts), BATCH_SIZE):
            encoded = self._tokenizer.encode_batch(texts[start : start + BATCH_SIZE])
            ids = np.array([row.ids for row in encoded], np.int64)
            position = (ids == self._mask).argmax(axis=1)
            inputs = self.prepare(ids, np.zeros_like(ids))
            (logits,) = self._run("masked_words", {**inputs, "position": position})
            found += [_best(row, top_k) for row in logits]
        return found

    def answers(self, filled: Sequence[Answer]) -> list[Answer]:
        """They are so already."""
        return list(filled)


def _best(logits: np.ndarray, top_k: int) -> Answer:
    best = np.argpartition(-logits, top_k)[:top_k]
    best = best[np.argsort(-logits[best])]
    total = np.exp(logits - logits[best[0]]).sum()
    return [(int(i), float(np.exp(logits[i] - logits[best[0]]) / total)) for i in best]


class OnnxRuntime(_Exported):
    """The exported graphs in ONNX Runtime, with all its graph optimizations."""

    def __init__(self, folders: dict[str, str], threads: int) -> None:
        import onnxruntime

        super().__init__(folders)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._sessions = {
            name: onnxruntime.InferenceSession(
                self._folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"]
            )
            for name in ("encoder", "masked_words")
        }

    def _run(self, graph: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._sessions[graph].run(None, inputs)


class RawOpenvino(_Exported):
    """The exported graphs in OpenVINO itself, without Keras: the most that it gives here."""

    def __init__(self, folders: dict[str, str], threads: int, precision: str) -> None:
        import openvino

        super().__init__(folders)
        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._requests = {
            name: core.compile_model(
                core.read_model(self._folder / f"{name}.onnx"), "CPU", options
            ).create_infer_request()
            for name in ("encoder", "masked_words")
        }

    def _run(self, graph: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        request = self._requests[graph]
        request.infer(inputs, share_inputs=True)
        count = len(request.model_outputs)
        return [request.get_output_tensor(i).data.copy() for i in range(count)]


def make(kind: str, folders: dict[str, str], backend: str, precision: str, threads: int) -> Engine:
    """The engine of a name.

    Args:
        kind: `"ours"`, `"hugging_face"`, `"onnxruntime"` or `"raw_openvino"`.
        folders: where the weights lie: `checkpoint`, `hugging_face`, `onnx`.
        backend: of ours.
        precision: `"float32"` or `"bfloat16"`.
        threads: how many the engine may use.
    """
    if kind == "ours":
        return Ours(folders, backend, precision)
    if kind == "hugging_face":
        return HuggingFace(folders, threads, precision)
    if kind == "onnxruntime":
        return OnnxRuntime(folders, threads)
    return RawOpenvino(folders, threads, precision)
