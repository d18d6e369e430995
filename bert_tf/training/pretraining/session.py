"""`PretrainingSession`: what a pretraining needs, found and checked before anything slow starts."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bert_tf.bert import fit_vocab
from bert_tf.config import CONFIG_NAME, VOCAB_NAME, BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import LOGGER, reports, warn
from bert_tf.files.whole import make_folder, write_whole
from bert_tf.options import check_choice
from bert_tf.text import Vocabulary
from bert_tf.training.log import LogRow
from bert_tf.training.loop import Outcome
from bert_tf.training.pretraining.plan import BatchSettings, PretrainingPlan
from bert_tf.training.pretraining.pretrain import evaluate_checkpoint, pretrain
from bert_tf.training.pretraining.sources import corpus_folder, open_source
from bert_tf.training.pretraining.spectral import random_start, require_spectral, spectral_start
from bert_tf.training.starting import (
    config_and_vocab,
    last_checkpoint,
    start_from_checkpoint,
    step_of,
)

RESULTS = "eval_results.txt"


@dataclasses.dataclass(frozen=True)
class PretrainingFiles:
    """What a pretraining reads, and where it writes.

    Attributes:
        inputs: TFRecord files or patterns of them, or one folder of a tokenized corpus.
        output_dir: for everything that is written.
        eval_inputs: like `inputs`, of data to evaluate on.
        config: `bert_config.json`; None: the one in `output_dir` if training resumes there, else
            that of `init_checkpoint`.
        vocab: `vocab.txt`; None: that of the corpus, `output_dir`, the init checkpoint or the
            config's folder.
        init_checkpoint: in the original format, to start from.
    """

    inputs: Sequence[str]
    output_dir: str
    eval_inputs: Sequence[str] = ()
    config: str | None = None
    vocab: str | None = None
    init_checkpoint: str | None = None


class PretrainingSession:
    """A pretraining whose files were found and fit together.

    Making one reads small files only and imports no framework, so that errors come at once.

    Args:
        files: what is read and where it is written.
        batches: how batches are made.
        plan: how to train.
        start: new weights, if there is no checkpoint: `"random"` as in the original, or
            `"spectral"` (see `spectral_start`).
        tell: is given what is logged in its methods, too.

    Attributes:
        config: the architecture.
        vocab: the vocabulary.
        output_dir: where everything is written.
        last: the checkpoint in `output_dir` that training resumes from, or None.
        corpus: the tokenized corpus, if the data are one.
        described: the data, in words.
        evaluated_on_same: what to say if evaluations are on the data trained on; else "".

    Raises:
        BertError: a file is missing or of another kind, or things do not fit each other.
    """

    @reports
    def __init__(
        self,
        files: PretrainingFiles,
        batches: BatchSettings,
        plan: PretrainingPlan,
        start: str = "random",
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.output_dir = os.path.expanduser(files.output_dir)
        self._init_checkpoint = files.init_checkpoint
        self._plan, self._start, self._tell = plan, start, tell
        self._smoothing = batches.smoothing
        self._evaluated: tuple[int, LogRow] | None = None
        self.last = last_checkpoint(self.output_dir)
        folder = corpus_folder(files.inputs)
        init_config, init = config_and_vocab(files.init_checkpoint)
        given, there = files.config, os.path.join(self.output_dir, CONFIG_NAME)
        if given is None and self.last is not None and os.path.isfile(there):
            given = there
        config = init_config if given is None else BertConfig.from_file(os.path.expanduser(given))
        if config is None:
            raise BertError("the architecture is not known; pass `config`, its bert_config.json.")
        self.config = config
        self.vocab = self._find_vocab(files, folder, init)
        self._check_vocabulary(init)
        check_choice("start", start, ("random", "spectral"))
        if start == "spectral" and self._init_checkpoint is not None:
            raise BertError("`init_checkpoint` and `start='spectral'` are two starts; omit one.")
        if start == "spectral" and folder is None:
            raise BertError(
                "`start='spectral'` is computed from a tokenized corpus, and `inputs` names "
                "TFRecord files. Make a corpus with `bert_tf tokenize`, or leave `start` out."
            )
        if start == "spectral" and self.last is None:
            require_spectral()
        self._source = open_source(
            files.inputs, files.eval_inputs, self.vocab, self.config.vocab_size, batches
        )
        if self._source.max_seq_length > self.config.max_position_embeddings:
            raise BertError(
                f"the examples have up to {self._source.max_seq_length} tokens, but "
                f"max_position_embeddings in the BERT config is "
                f"{self.config.max_position_embeddings}. Lower `max_seq_length` (and make TFRecord "
                f"files again with it), or take a config with more positions."
            )
        self.corpus = self._source.corpus
        self.described = self._source.described
        self.evaluated_on_same = self._source.same

    @reports
    def train(
        self,
        *,
        evaluate: bool = False,
        on_row: Callable[[LogRow], None] = lambda row: None,
        on_resume: Callable[[int], None] = lambda step: None,
        progress: bool = True,
    ) -> Outcome:
        """Trains to the end of the plan, or resumes where an earlier call stopped: see `pretrain`.

        Args:
            evaluate: whether evaluations are made, by the plan and at the end.
            on_row: gets each row of the log.
            on_resume: gets the step that training resumes from.
            progress: whether to show progress: a bar, or lines in the log off a terminal.

        Raises:
            BertError: as `pretrain`.
        """

        def noted(row: LogRow) -> None:
            if found := {name[5:]: x for name, x in row.items() if name.startswith("eval_")}:
                self._evaluated = int(row["step"]), found
            on_row(row)

        outcome = pretrain(
            self.config,
            self.vocab,
            self._start_weights,
            self._source.stream,
            self.output_dir,
            self._plan,
            eval_stream=self._source.evaluation if evaluate else None,
            on_row=noted,
            on_resume=on_resume,
            progress=progress,
        )
        self.last = outcome.prefix
        return outcome

    @reports
    def evaluate(self) -> dict[str, float]:
        """Evaluates the last checkpoint, else the init checkpoint; writes `eval_results.txt`.

        Returns:
            What the original's evaluation gives: `global_step`, `loss`, `masked_lm_accuracy`,
            `masked_lm_loss`, `next_sentence_accuracy`, `next_sentence_loss`.

        Raises:
            BertError: there is no checkpoint, or the results cannot be written.
        """
        path = self.last or self._init_checkpoint
        if path is None:
            raise BertError(
                f"there is no checkpoint in {self.output_dir} to evaluate; train one there, or "
                "name one with `init_checkpoint`."
            )
        step = step_of(path)
        if self._evaluated is not None and self._evaluated[0] == step:
            found = self._evaluated[1]
        else:
            batches = itertools.islice(self._source.evaluation(), self._plan.eval_batches)
            found = evaluate_checkpoint(path, self.config, batches, precision=self._plan.precision)
        results: dict[str, float] = {"global_step": step, "loss": found["loss"]}
        for ours, name in (("mlm", "masked_lm"), ("nsp", "next_sentence")):
            results |= {f"{name}_{x}": found[f"{ours}_{x}"] for x in ("accuracy", "loss")}
        text = "".join(f"{name} = {value}\n" for name, value in sorted(results.items()))
        make_folder(self.output_dir)
        write_whole(os.path.join(self.output_dir, RESULTS), text)
        return results

    def _start_weights(self) -> Mapping[str, np.ndarray]:
        seed = self._plan.seed
        if self._init_checkpoint is not None:
            return start_from_checkpoint(self._init_checkpoint, self.config, seed)
        if self._start == "random":
            return random_start(self.config, seed)
        assert self.corpus is not None
        return spectral_start(
            self.config,
            self.corpus,
            documents=self._source.trained_on,
            smoothing=self._smoothing,
            seed=seed,
            mask_id=self.vocab.mask_id,
            progress=LOGGER.info,
        )

    def _find_vocab(
        self, files: PretrainingFiles, corpus: str | None, init: Vocabulary | None
    ) -> Vocabulary:
        if files.vocab is not None:
            return Vocabulary.load(os.path.expanduser(files.vocab))

        def there(folder: str | None) -> Vocabulary | None:
            path = None if folder is None else os.path.join(folder, VOCAB_NAME)
            return Vocabulary.load(path) if path is not None and os.path.isfile(path) else None

        config = files.config and os.path.dirname(os.path.expanduser(files.config))
        of_data = there(corpus) or there(self.last and self.output_dir)
        if found := of_data or init or there(config):
            return found
        raise BertError(
            "no vocab.txt was found with the data, config or checkpoint; pass `vocab`, the data's."
        )

    def _check_vocabulary(self, init: Vocabulary | None) -> None:
        self.vocab, odd = fit_vocab(self.config, self.vocab)
        warn(*odd)
        if init is not None and init.raw != self.vocab.raw:
            ours, theirs = self.vocab.pieces, init.pieces
            if other := sum(a != b for a, b in itertools.zip_longest(ours, theirs)):
                warn(
                    f"{self.vocab.source} differs in {other:,} of {len(ours):,} tokens from the "
                    f"init checkpoint's vocabulary, which its weights belong to."
                )
