"""The shortest script that fills masks with Hugging Face; next to `run_mask.py` in the cold start.

    python benchmarks/hf_mask.py FOLDER "Paris is the [MASK] of France."

FOLDER is what `weights.py` writes. Prints one line of JSON.
"""

import argparse
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("text")
parser.add_argument("--dtype", default="float32")
parser.add_argument("--top-k", type=int, default=5)
args = parser.parse_args()

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from transformers import pipeline  # noqa: E402

fill = pipeline("fill-mask", args.folder, dtype=args.dtype, device="cpu")
guesses = fill(args.text, top_k=args.top_k)
print(json.dumps([[guess["token_str"], guess["score"]] for guess in guesses], ensure_ascii=False))
