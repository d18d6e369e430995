"""Makes a checkpoint of random weights in the original format, of the size of a real one.

    python benchmarks/make_checkpoint.py benchmarks/out/multi_cased_random --size multi_cased

About 5 s and 714 MB for multi_cased (178 M parameters: the embedding table has 119,547 rows).
For measuring time and memory only: the weights have learnt nothing. The folder gets
bert_config.json, vocab.txt and bert_model.ckpt.*, the 206 tensors of a 12-layer release included
those of both pretraining heads.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bert_tf.checkpoint import write_release
from bert_tf.config import BertConfig
from bert_tf.errors import BertError

SIZES = {
    "multi_cased": BertConfig(vocab_size=119547, type_vocab_size=2),
    "base": BertConfig(vocab_size=30522, type_vocab_size=2),
    "tiny": BertConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        type_vocab_size=2,
    ),
}
"""The architectures of multi_cased_L-12_H-768_A-12, uncased_L-12_H-768_A-12, and BERT-Tiny with
fewer pieces."""

SPECIAL = ["[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
"""The first 104 lines of every vocabulary that Google released."""


def shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a release; kernels are [in, out]."""
    width, inner = config.hidden_size, config.intermediate_size
    found: dict[str, tuple[int, ...]] = {
        "bert/embeddings/word_embeddings": (config.vocab_size, width),
        "bert/embeddings/position_embeddings": (config.max_position_embeddings, width),
        "bert/embeddings/token_type_embeddings": (config.type_vocab_size, width),
        "cls/predictions/output_bias": (config.vocab_size,),
        "cls/seq_relationship/output_weights": (2, width),
        "cls/seq_relationship/output_bias": (2,),
    }
    dense = {"bert/pooler/dense": (width, width), "cls/predictions/transform/dense": (width, width)}
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for number in range(config.num_hidden_layers):
        layer = f"bert/encoder/layer_{number}"
        for part in ("self/query", "self/key", "self/value", "output/dense"):
            dense[f"{layer}/attention/{part}"] = (width, width)
        dense[f"{layer}/intermediate/dense"] = (width, inner)
        dense[f"{layer}/output/dense"] = (inner, width)
        norms += [f"{layer}/attention/output/LayerNorm", f"{layer}/output/LayerNorm"]
    for name, shape in dense.items():
        found[f"{name}/kernel"] = shape
        found[f"{name}/bias"] = shape[1:]
    for name in norms:
        found[f"{name}/gamma"] = found[f"{name}/beta"] = (width,)
    return dict(sorted(found.items()))


def weights(config: BertConfig, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Random float32 values as the original starts from: normal, cut off at two deviations.

    The original starts biases from 0 and gammas from 1; here both vary, since a mistake in where
    they go would not show otherwise.
    """
    rng = np.random.default_rng(seed)
    for name, shape in shapes(config).items():
        values = rng.standard_normal(math.prod(shape), dtype=np.float32)
        outside = np.flatnonzero(np.abs(values) > 2)
        while outside.size:
            values[outside] = rng.standard_normal(outside.size, dtype=np.float32)
            outside = outside[np.abs(values[outside]) > 2]
        values *= np.float32(config.initializer_range)
        if name.endswith("gamma"):
            values += 1
        yield name, values.reshape(shape)


def vocabulary(size: int) -> bytes:
    """A vocab.txt of `size` lines: the special pieces, characters, then made-up syllables.

    Every ASCII and Cyrillic letter is there alone and as a continuation, so that any English or
    Russian text can be cut into pieces.
    """
    printable = [chr(code) for code in range(0x21, 0x7F)]
    cyrillic = [chr(code) for code in (*range(0x410, 0x450), 0x401, 0x451)]
    letters = [c for c in printable + cyrillic if c.isalnum()]
    onsets = [a + b for a in "bcdfghjklmnprstvwz" for b in ("", "l", "r", "h")]
    vowels, codas = "aeiouy", ("", "n", "s", "t", "r", "l", "m")
    syllables = ["".join(parts) for parts in itertools.product(onsets, vowels, codas)]
    words = (a + b for a, b in itertools.product(["", *syllables], syllables))
    made_up = (piece for word in words for piece in (word, "##" + word))
    pieces = itertools.chain(SPECIAL, printable, cyrillic, ("##" + c for c in letters), made_up)
    unique = itertools.islice(dict.fromkeys(itertools.islice(pieces, size + 10_000)), size)
    return "".join(piece + "\n" for piece in unique).encode()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to write; made if it is not there")
    parser.add_argument("--size", choices=SIZES, default="multi_cased")
    parser.add_argument("--config", type=Path, help="a bert_config.json, instead of --size")
    parser.add_argument("--vocab", type=Path, help="a vocab.txt; its length counts (default: made)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1, help="number of data files")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    start = time.perf_counter()
    try:
        config = BertConfig.from_file(args.config) if args.config else SIZES[args.size]
        if args.vocab:
            vocab = args.vocab.read_bytes()
            lines = vocab.count(b"\n") + (not vocab.endswith(b"\n"))
            config = dataclasses.replace(config, vocab_size=lines)
        else:
            vocab = vocabulary(config.vocab_size)
        prefix = write_release(
            args.folder,
            config,
            vocab,
            weights(config, args.seed),
            dtype=args.dtype,
            num_shards=args.shards,
            overwrite=args.overwrite,
        )
    except (BertError, OSError) as error:
        sys.exit(f"make_checkpoint.py: {error}")
    elements = sum(math.prod(shape) for shape in shapes(config).values())
    print(f"{prefix}: {elements:,} weights in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
