"""The checkpoint in the forms that the others read: a Hugging Face folder and ONNX graphs.

    python benchmarks/weights.py CHECKPOINT FOLDER [--onnx]

Writes FOLDER/hugging_face (safetensors, tokenizer) and FOLDER/onnx (encoder.onnx,
masked_words.onnx); what is there already is kept. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bert_tf.checkpoint import CheckpointReader
from bert_tf.config import BertConfig
from bert_tf.hub.locate import locate
from bert_tf.text import Vocabulary, infer_casing

ACTIVATIONS = {"gelu": "gelu_pytorch_tanh", "gelu_exact": "gelu", "relu": "relu", "tanh": "tanh"}


def hugging_face_name(name: str) -> str:
    """The name in Hugging Face's models of a tensor in the original format.

    They are `BertForPreTraining` and, for a classifier's head, `BertForSequenceClassification`.
    """
    own = {
        "cls/predictions/output_bias": "cls.predictions.bias",
        "output_weights": "classifier.weight",
        "output_bias": "classifier.bias",
    }
    if name in own:
        return own[name]
    name = name.replace("cls/seq_relationship/output_weights", "cls/seq_relationship/kernel")
    name = name.replace("cls/seq_relationship/output_bias", "cls/seq_relationship/bias")
    name = name.replace("layer_", "layer.").replace("/", ".")
    *start, last = name.split(".")
    if last.endswith("_embeddings"):
        return f"{name}.weight"
    return ".".join(
        [*start, {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(last, last)]
    )


def new_model(config: BertConfig, kind: str = "BertForPreTraining", **more: Any) -> Any:
    """One of Hugging Face's models of that architecture, with random weights.

    Args:
        config: the architecture.
        kind: the model's class.
        more: of its config.
    """
    import transformers

    return getattr(transformers, kind)(
        transformers.BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            hidden_act=ACTIVATIONS[config.hidden_act],
            hidden_dropout_prob=config.hidden_dropout_prob,
            attention_probs_dropout_prob=config.attention_probs_dropout_prob,
            max_position_embeddings=config.max_position_embeddings,
            type_vocab_size=config.type_vocab_size,
            layer_norm_eps=1e-12,
            **more,
        )
    )


def fill(model: Any, weights: Iterable[tuple[str, np.ndarray]]) -> None:
    """Gives one of Hugging Face's models weights in the original's names and layout."""
    import torch

    state = {}
    for name, weight in weights:
        value = torch.from_numpy(weight.astype("float32"))
        # Kernels are stored [in, out]; only that of the next-sentence head is not.
        turned = name.endswith("/kernel")
        state[hugging_face_name(name)] = value.T.contiguous() if turned else value
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    if set(missing) - tied or unexpected:
        sys.exit(f"weights.py: Hugging Face lacks {missing} and does not know {unexpected}")
    model.tie_weights()


def write_hugging_face(checkpoint: str, folder: Path) -> None:
    """The checkpoint as `BertForPreTraining.save_pretrained` leaves it, with its tokenizer."""
    import transformers

    files = locate(checkpoint)
    config = BertConfig.from_file(str(files.config_path))
    vocab = Vocabulary.load(str(files.vocab_path))
    lower_case, _ = infer_casing(files.display_name, vocab, None)
    model = new_model(config)
    with CheckpointReader(files.prefix) as reader:
        names = [name for name in reader.tensors if name.startswith(("bert/", "cls/"))]
        fill(model, ((name, reader.read(name)) for name in names))
    pieces = {vocab.token(number): number for number in range(len(vocab))}
    tokenizer = transformers.BertTokenizerFast(vocab=pieces, do_lower_case=lower_case)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_onnx(source: Path, folder: Path) -> None:
    """Two graphs, batch and length free: the encoder, and the words at one asked position."""
    import torch
    import transformers

    class Encoder(torch.nn.Module):
        def __init__(self, bert: Any) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, ids: Any, mask: Any, segments: Any) -> Any:
            # Tracing a mask of two axes keeps only the branch "nothing is padded".
            added = torch.where(mask[:, None, None, :] > 0, 0.0, torch.finfo(torch.float32).min)
            out = self.bert(input_ids=ids, attention_mask=added, token_type_ids=segments)
            return out.last_hidden_state, out.pooler_output

    class MaskedWords(Encoder):
        def __init__(self, bert: Any, head: Any) -> None:
            super().__init__(bert)
            self.head = head

        def forward(self, ids: Any, mask: Any, segments: Any, position: Any) -> Any:
            hidden, _ = super().forward(ids, mask, segments)
            at = position[:, None, None].expand(-1, 1, hidden.shape[-1])
            return self.head(hidden.gather(1, at)[:, 0])

    model = transformers.BertForPreTraining.from_pretrained(source, attn_implementation="eager")
    model.eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    free = {name: {0: "batch", 1: "length"} for name in [*names, "hidden"]}
    free |= {name: {0: "batch"} for name in ("pooled", "position", "logits")}
    ids = torch.arange(5, 26).reshape(3, 7)
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    graphs: dict[str, tuple[Any, tuple, list[str], list[str]]] = {
        "encoder": (Encoder(model.bert), inputs, names, ["hidden", "pooled"]),
        "masked_words": (
            MaskedWords(model.bert, model.cls.predictions),
            (*inputs, torch.tensor([1, 2, 3])),
            [*names, "position"],
            ["logits"],
        ),
    }
    for name, (module, example, taken, given) in graphs.items():
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                example,
                str(folder / f"{name}.onnx"),
                input_names=taken,
                output_names=given,
                dynamic_axes={axis: free[axis] for axis in [*taken, *given]},
                opset_version=17,
                dynamo=False,
            )


def make_once(folder: Path, write: Any, *arguments: Any) -> None:
    """Writes a folder under another name first, so that a half-written one is never taken."""
    if folder.exists():
        return
    making = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    write(*arguments, making)
    making.rename(folder)


def main() -> None:
    """Writes what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--onnx", action="store_true", help="the ONNX graphs too")
    args = parser.parse_args()
    make_once(args.folder / "hugging_face", write_hugging_face, args.checkpoint)
    if args.onnx:
        make_once(args.folder / "onnx", write_onnx, args.folder / "hugging_face")


if __name__ == "__main__":
    main()
