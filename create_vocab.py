#!/usr/bin/env python3
"""Trains a vocabulary; the same as `python -m bert_tf vocab`, from a checkout.

python create_vocab.py --input_file=text.txt --output_file=vocab.txt --vocab_size=16000
"""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run("vocab")
