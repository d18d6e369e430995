#!/usr/bin/env python3
"""Fills the [MASK]s of texts; the same as `python -m bert_tf mask`, from a checkout.

python run_mask.py --checkpoint multi_cased_L-12_H-768_A-12 "Paris is the [MASK] of France."
"""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run("mask")
