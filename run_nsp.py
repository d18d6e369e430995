#!/usr/bin/env python3
"""Tells whether one sentence follows another; the same as `python -m bert_tf nsp`, from a checkout.

python run_nsp.py --checkpoint multi_cased_L-12_H-768_A-12 "I went to the store." "I bought milk."
"""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run("nsp")
