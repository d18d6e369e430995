"""`python -m bert_tf`: the same as the installed command `bert_tf`."""

from bert_tf.cli.main import run

if __name__ == "__main__":
    run()
