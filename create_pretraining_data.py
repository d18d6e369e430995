#!/usr/bin/env python3
"""Makes TFRecord files to pretrain on from plain text, with the flags of the original's script.

python create_pretraining_data.py --input_file=text.txt --output_file=out.tfrecord \
  --vocab_file=vocab.txt --do_lower_case=False
"""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run("pretraining-data")
