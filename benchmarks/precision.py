"""How far bfloat16 strays from float32, for a checkpoint, on one backend.

    python benchmarks/precision.py CHECKPOINT --backend tensorflow

Rows of random pieces, each with one mask; both precisions see the same rows. On TensorFlow and
JAX the second model is loaded with dtype="mixed_bfloat16", on OpenVINO it is compiled for it.
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
    args = parser.parse_args()
    os.environ["KERAS_BACKEND"] = args.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    import bert_tf
    from bert_tf.runtime.predictor import Predictor

    rng = np.random.default_rng(0)
    exact = bert_tf.load(args.checkpoint)
    narrow = args.backend != "openvino"
    near = bert_tf.load(args.checkpoint, dtype="mixed_bfloat16") if narrow else exact
    length = min(args.length, exact.config.max_position_embeddings)
    ids = rng.integers(5, len(exact.vocab), (args.rows, length)).astype(np.int32)
    ids[:, 0], ids[:, -1] = exact.vocab.cls_id, exact.vocab.sep_id
    ids[:, length // 2] = exact.vocab.mask_id
    x = {"token_input": ids, "seg_input": np.zeros_like(ids)}
    asked = {**x, "position_input": np.full((args.rows, 1), length // 2, np.int32)}
    found = []
    for bert, precision in ((exact, "float32"), (near, "bfloat16")):
        hidden = Predictor(bert.encoder_model(), precision)(x)["sequence_output"]
        nsp = Predictor(bert.nsp_model(), precision)(x)
        mlm = Predictor(bert.mlm_model(max_predictions=None, output="logits"), precision)(asked)
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
