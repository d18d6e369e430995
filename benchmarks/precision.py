"""How far bfloat16 strays from float32, for a checkpoint, on one backend.

    python benchmarks/precision.py CHECKPOINT --backend tensorflow

Rows of random pieces, each with one mask; both precisions see the same rows. With --training the
second model is loaded with dtype="mixed_bfloat16" instead of precision="bfloat16".
"""

from __future__ import annotations

import argparse
import os


def main() -> None:
    """Prints one row of a table for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--training", action="store_true", help="mixed_bfloat16")
    args = parser.parse_args()
    os.environ["KERAS_BACKEND"] = args.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    import bert_tf

    rng = np.random.default_rng(0)
    exact = bert_tf.load(args.checkpoint)
    way = {"dtype": "mixed_bfloat16"} if args.training else {"precision": "bfloat16"}
    near = bert_tf.load(args.checkpoint, **way)
    length = min(args.length, exact.config.max_position_embeddings)
    ids = rng.integers(5, len(exact.vocab), (args.rows, length)).astype(np.int32)
    ids[:, 0], ids[:, -1] = exact.vocab.cls_id, exact.vocab.sep_id
    ids[:, length // 2] = exact.vocab.mask_id
    x = {"token_input": ids, "seg_input": np.zeros_like(ids)}
    asked = {**x, "position_input": np.full((args.rows, 1), length // 2, np.int32)}
    found = []
    for bert in (exact, near):
        hidden = bert.predictor("encoder")(x)["sequence_output"]
        nsp = bert.predictor("nsp")(x)
        mlm = bert.predictor("mlm", max_predictions=None, output="logits")(asked)
        found.append([np.asarray(a, np.float64) for a in (hidden, nsp, mlm)])
    (h0, n0, m0), (h1, n1, m1) = found
    best = [m[:, 0].argmax(-1) for m in (m0, m1)]
    print(f"| {args.backend}, {exact.name} | |\n|---|---|")
    print(f"| hidden states, mean / largest difference | {np.abs(h1 - h0).mean():.4f} / ", end="")
    print(f"{np.abs(h1 - h0).max():.3f} (their deviation is {h0.std():.2f}) |")
    print(f"| MLM logits, mean / largest | {np.abs(m1 - m0).mean():.4f} / ", end="")
    print(f"{np.abs(m1 - m0).max():.3f} (deviation {m0.std():.2f}) |")
    print(f"| same best piece | {(best[0] == best[1]).mean():.0%} of {args.rows} |")
    print(f"| next-sentence probability, largest | {np.abs(n1 - n0).max():.4f} |")


if __name__ == "__main__":
    main()
