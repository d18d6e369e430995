#!/usr/bin/env python3
"""Pretrains BERT with the flags of the original's script, on TFRecord files or a tokenized corpus.

python run_pretraining.py --input_file='data/*.tfrecord' --output_dir=out --do_train --do_eval \
  --bert_config_file=bert_config.json --vocab_file=vocab.txt --num_train_steps=10000
"""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run("pretrain")
