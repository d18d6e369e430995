"""Which BERT a fine-tuning starts from, and which fine-tuned model a folder holds."""

from __future__ import annotations

import os
from typing import Any

from bert_tf.bert import Bert, fit_vocab
from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.names import parts_in
from bert_tf.config import CONFIG_NAME, VOCAB_NAME, BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.heads import PARTS
from bert_tf.hub.locate import locate
from bert_tf.hub.store import embedded
from bert_tf.loading import load
from bert_tf.text import Vocabulary, infer_casing
from bert_tf.training.finetuning.job import FineTuningJob
from bert_tf.training.pretraining.spectral import random_start


def start_bert(job: FineTuningJob) -> Bert:
    """The BERT that training begins from.

    It is the job's checkpoint; without one the small one that comes along, or new weights if a
    config and a vocabulary are named, as in Google's script.

    Raises:
        BertError: it cannot be loaded, or parts are missing.
    """
    if job.checkpoint is None and (job.config is None) != (job.vocab is None):
        given, lacking = ("config", "vocab") if job.vocab is None else ("vocab", "config")
        raise BertError(
            f"`{given}` is given without `{lacking}`: pass both, to start from new weights, or "
            f"`checkpoint`, in whose folder they usually are."
        )
    if job.start == "random" or (job.checkpoint is None and job.config is not None):
        return _random_bert(job)
    path, lower_case = job.checkpoint, job.lower_case
    if path is None:
        path = _embedded()
        if lower_case is None:
            lower_case = False  # as its name says; inferred, that would be one more message
        warn(
            f"no `checkpoint`, so training starts from {os.path.basename(path)}, a small "
            "model for demonstration. For better results: `python -m bert_tf download "
            "multi_cased`, once, and then `checkpoint='multi_cased'`."
        )
    how: dict[str, Any] = {"lower_case": lower_case, "allow_short_vocab": job.allow_short_vocab}
    return load(path, config=job.config, vocab=job.vocab, **how)


def _embedded() -> str:
    path = embedded()
    if path is None:
        raise BertError("no `checkpoint` to start from; name one.")
    return path


def _random_bert(job: FineTuningJob) -> Bert:
    """New weights, drawn as the original draws them, for a config and a vocabulary."""
    given = job.checkpoint or (None if job.config else _embedded())
    if given is None:
        name = os.path.basename(os.path.dirname(os.path.abspath(str(job.config))))
        config = BertConfig.from_file(os.path.expanduser(str(job.config)))
        vocab = Vocabulary.load(os.path.expanduser(str(job.vocab)))
    else:
        with locate(given, job.config, job.vocab) as files:  # unpacks a .zip for this while
            name, config = files.display_name, BertConfig.from_file(str(files.config_path))
            vocab = Vocabulary.load(str(files.vocab_path))
            vocab.source = files.named(vocab.source)
    fit_vocab(config, vocab, job.allow_short_vocab)
    lower_case, _ = infer_casing(name, vocab, job.lower_case)
    start = random_start(config, job.plan.seed)
    warn(
        "training starts from random weights, which need much text; `checkpoint` names a "
        "pretrained model to start from."
    )
    return Bert.from_weights(config, vocab, start, name="random", lower_case=lower_case, copy=False)


def trained_at(path: str | None, config: str | None, vocab: str | None) -> str | None:
    """The prefix of a fine-tuned model, ours or Google's script's; None if there is none.

    The path is of a checkpoint or a folder; what is in a folder within it does not count. For
    `config` and `vocab` see `bert_tf.load`.
    """
    if path is None:
        return None
    path = os.path.expanduser(path)
    try:
        with locate(path, config, vocab, need_config=False, need_vocab=False) as files:
            inner = os.path.isdir(path) and not os.path.samefile(
                os.path.dirname(os.path.abspath(files.prefix)), path
            )
            with CheckpointReader(files.prefix) as reader:
                found = any(PARTS[part].objectives for part in parts_in(reader.tensors))
            return files.prefix if found and not inner else None
    except BertError:
        return None


def trained_model(job: FineTuningJob) -> str:
    """Where the model to evaluate is: in the output folder, else the job's checkpoint.

    Raises:
        BertError: there is none.
    """
    for path in (job.output_dir, job.checkpoint):
        if path is not None and trained_at(path, job.config, job.vocab) is not None:
            return os.path.expanduser(path)
    raise BertError(
        f"there is no fine-tuned model in {job.output_dir}"
        + (f" nor in {job.checkpoint}" if job.checkpoint else "")
        + ": train it to its end (`do_train=True`), or name its folder with `checkpoint`."
    )


def load_trained(path: str, job: FineTuningJob) -> Bert:
    """A fine-tuned model, by folder or checkpoint, in the default precision of predictions.

    The job's config and vocabulary are for a folder without, as Google's script leaves.

    Raises:
        BertError: it cannot be loaded.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    config, vocab = (
        None if os.path.isfile(os.path.join(folder, file)) else given
        for file, given in ((CONFIG_NAME, job.config), (VOCAB_NAME, job.vocab))
    )
    how: dict[str, Any] = {"lower_case": job.lower_case, "allow_short_vocab": job.allow_short_vocab}
    return load(path, config=config, vocab=vocab, precision="float32", **how)
