"""Which BERT a classifier is trained from, and which trained classifier a folder holds."""

from __future__ import annotations

import os

from bert_tf.bert import Bert
from bert_tf.checkpoint import CheckpointReader
from bert_tf.checkpoint.names import parts_in
from bert_tf.config import CONFIG_NAME, VOCAB_NAME, BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER
from bert_tf.hub.locate import locate
from bert_tf.hub.store import embedded
from bert_tf.loading import load
from bert_tf.text import Vocabulary, infer_casing
from bert_tf.training.finetuning.job import FineTuningJob
from bert_tf.training.pretraining.spectral import random_start


def start_bert(job: FineTuningJob) -> Bert:
    """The BERT that training begins from.

    It is the checkpoint of the job; without one the small one that comes along, or, if a config
    and a vocabulary are named, new weights, as Google's script has them then.

    Raises:
        BertError: it cannot be loaded, or parts are missing.
    """
    if job.checkpoint is None and (job.config is None) != (job.vocab is None):
        given, lacking = "--bert_config_file", "--vocab_file"
        if job.config is None:
            given, lacking = lacking, given
        raise BertError(
            f"{given} is given without {lacking}: pass both, to begin from new weights, or "
            f"--init_checkpoint, beside which they usually lie."
        )
    if job.start == "random" or (job.checkpoint is None and job.config is not None):
        return _random_bert(job)
    path, lower_case = job.checkpoint, job.lower_case
    if path is None:
        path = _embedded()
        if lower_case is None:
            lower_case = False  # as its name says; inferred, that would be one more remark
        LOGGER.warning(
            f"no --init_checkpoint, so training begins from {os.path.basename(path)}, a small "
            "model that knows little. For better results: `python -m bert_tf download "
            "multi_cased`, once, and then --init_checkpoint=multi_cased."
        )
    bert = load(path, config=job.config, vocab=job.vocab, lower_case=lower_case)
    for remark in bert.report.remarks:
        LOGGER.warning(remark)
    return bert


def _embedded() -> str:
    path = embedded()
    if path is None:
        raise BertError("no checkpoint to begin from; name one with --init_checkpoint.")
    return path


def _random_bert(job: FineTuningJob) -> Bert:
    """New weights, drawn as the original draws them, for a config and a vocabulary."""
    given = job.checkpoint or (None if job.config else _embedded())
    if given is None:
        config_path, vocab_path = job.config, job.vocab
        name = os.path.basename(os.path.dirname(os.path.abspath(str(config_path))))
    else:
        with locate(given, job.config, job.vocab) as files:
            config_path, vocab_path, name = files.config_path, files.vocab_path, files.display_name
            # Read while what was unpacked from a .zip is there.
            config = BertConfig.from_file(str(config_path))
            vocab = Vocabulary.load(str(vocab_path))
    if given is None:
        config = BertConfig.from_file(os.path.expanduser(str(config_path)))
        vocab = Vocabulary.load(os.path.expanduser(str(vocab_path)))
    lower_case, remark = infer_casing(name, vocab, job.lower_case)
    start = random_start(config, job.plan.seed)
    bert = Bert.from_weights(config, vocab, start, name="random", lower_case=lower_case, copy=False)
    LOGGER.warning(
        "training begins from new, random weights: little will be learnt from a small set of "
        "texts; --init_checkpoint begins from a pretrained model."
    )
    if remark:
        LOGGER.warning(remark)
    return bert


def classifier_at(path: str | None, config: str | None, vocab: str | None) -> str | None:
    """The prefix of a fine-tuned classifier, ours or one that Google's script left.

    Args:
        path: of a checkpoint or a folder; what lies in a folder within it does not count.
        config: see `bert_tf.load`.
        vocab: likewise.

    Returns:
        None if there is no checkpoint there, or one without a classifier.
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
                found = "classifier" in parts_in(reader.tensors)
            return files.prefix if found and not inner else None
    except BertError:
        return None


def trained_classifier(job: FineTuningJob) -> str:
    """Where the classifier to evaluate is: in the output folder, else the job's checkpoint.

    Raises:
        BertError: there is none.
    """
    for path in (job.output_dir, job.checkpoint):
        if path is not None and classifier_at(path, job.config, job.vocab) is not None:
            return os.path.expanduser(path)
    raise BertError(
        f"there is no fine-tuned model in {job.output_dir}"
        + (f" nor in {job.checkpoint}" if job.checkpoint else "")
        + ": train it to its end (--do_train), or name its folder with --init_checkpoint."
    )


def load_classifier(path: str, job: FineTuningJob) -> Bert:
    """A trained classifier, in the precision in which predictions are made by default.

    Args:
        path: of its folder or checkpoint.
        job: names a config and a vocabulary, for a folder that has none of its own, as one that
            Google's script left.

    Raises:
        BertError: it cannot be loaded.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    own = {
        name: None if os.path.isfile(os.path.join(folder, file)) else given
        for name, file, given in (
            ("config", CONFIG_NAME, job.config),
            ("vocab", VOCAB_NAME, job.vocab),
        )
    }
    return load(
        path,
        config=own["config"],
        vocab=own["vocab"],
        lower_case=job.lower_case,
        precision="float32",
    )
