#!/usr/bin/env python3
"""Trains, evaluates and asks classifiers of texts, also with the flags of the original's script.

python run_classifier.py --train reviews.csv
"""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run("classify")
