"""Names that are looked up on access: a package's public ones, and those that moved.

To move a module or a name, move it and add a line to `MOVED`: importing the old path, or
unpickling an object pickled under it, gives the new one and a `DeprecationWarning`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import lazy_loader

# "module -> module", "module: names -> module", or "package.*: modules -> package.*"; "old=new" is
# a name that was also renamed.
_TABLE = """
bert_tf.checkpoint.*: archive catalog download fetch locate partial store -> bert_tf.hub.*
bert_tf.checkpoint.convert -> bert_tf.export.convert
bert_tf.checkpoint.lock -> bert_tf.files.locks
bert_tf.checkpoint.progress -> bert_tf.files.progress
bert_tf.checkpoint.report -> bert_tf.checkpoint.names
bert_tf.checkpoint.slots -> bert_tf.checkpoint.names
bert_tf.checkpoint: CheckpointFiles locate -> bert_tf.hub.locate
bert_tf.checkpoint: ConvertReport convert_checkpoint -> bert_tf.export.convert
bert_tf.checkpoint: EMBEDDED Installed embedded find installed -> bert_tf.hub.store
bert_tf.checkpoint: RELEASES Release -> bert_tf.hub.catalog
bert_tf.checkpoint: download -> bert_tf.hub.download
bert_tf.cli.classifier -> bert_tf.cli.classify
bert_tf.cli.classifier_flags -> bert_tf.cli.classify_flags
bert_tf.cli.classifier_output -> bert_tf.cli.classify_output
bert_tf.cli.classifying -> bert_tf.cli.classify_predictions
bert_tf.cli.classifying_output -> bert_tf.cli.classify_prediction_output
bert_tf.cli.judge -> bert_tf.cli.evaluate
bert_tf.data.*: cleaning column_names columns dataset glue inputs prediction_rows problems
    python_rows reading splits tables -> bert_tf.data.labelled.*
bert_tf.data.*: create documents dynamic example_work examples masking pairs records shuffle tokens
    vocabulary word_counts -> bert_tf.data.pretraining.*
bert_tf.data.labelled: Label LabelledTexts Place TASKS Task classes_of encode_labels join
    order_labels show_place -> bert_tf.data.labelled.texts
bert_tf.data.labelled_stream -> bert_tf.batching.stream
bert_tf.data.labelled_stream: choose_buckets -> bert_tf.batching.buckets
bert_tf.data.lengths -> bert_tf.batching.tokenizing
bert_tf.data.lengths: LengthHistogram -> bert_tf.batching.lengths
bert_tf.data.lengths: TokenizedTexts -> bert_tf.batching.rows
bert_tf.data.output_files -> bert_tf.data.pretraining.create
bert_tf.data.pretraining.output_files -> bert_tf.data.pretraining.create
bert_tf.data.pretraining.records: frame -> bert_tf.data.pretraining.record_files
bert_tf.data.splitting -> bert_tf.data.pretraining.held_out
bert_tf.data.text_lines -> bert_tf.files.text_lines
bert_tf.data: LabelledStream batches_once -> bert_tf.batching.stream
bert_tf.data: LengthHistogram -> bert_tf.batching.lengths
bert_tf.data: TokenizedTexts -> bert_tf.batching.rows
bert_tf.data: find_files -> bert_tf.files.finding
bert_tf.data: stream_labelled -> bert_tf._deprecated
bert_tf.data: tokenize_texts -> bert_tf.batching.tokenizing
bert_tf.models.builders: build_classifier build_head_model build_sentence_model ->
    bert_tf.models.heads.classifier
bert_tf.models.builders: build_gathered_pretraining_model build_pretraining_model ->
    bert_tf.models.heads.pretraining
bert_tf.models.builders: build_mlm_model -> bert_tf.models.heads.mlm
bert_tf.models.builders: build_nsp_model -> bert_tf.models.heads.nsp
bert_tf.models.builders: build_span_model -> bert_tf.models.heads.span
bert_tf.models.heads: ClassifierLayout Heads OUTPUTS POOLINGS -> bert_tf.models.layout
bert_tf.models.heads: TITLES -> bert_tf.heads
bert_tf.report.judgement -> bert_tf.report.pretraining_evaluation
bert_tf.runtime.cache -> bert_tf.runtime.openvino
bert_tf.runtime.graph_predictor -> bert_tf.runtime.openvino
bert_tf.tasks.asking -> bert_tf.tasks.fill_mask
bert_tf.tasks.estimator -> bert_tf.integrations.scikit_learn
bert_tf.tasks.estimator_base -> bert_tf.integrations.scikit_learn_base
bert_tf.tasks.estimator_base: Answers=FittedModel -> bert_tf.integrations.scikit_learn_base
bert_tf.tasks.growing_file -> bert_tf.files.growing
bert_tf.tasks.growing_file: check_output -> bert_tf.files.whole
bert_tf.tasks.results -> bert_tf.tasks.masked_text
bert_tf.tasks.results: ClassifyResult -> bert_tf.tasks.classify
bert_tf.tasks.results: NextSentenceResult -> bert_tf.tasks.next_sentence
bert_tf.text.batching -> bert_tf.batching.buckets
bert_tf.text.batching: Batch batches_of_like_length -> bert_tf.batching.predict
bert_tf.text.batching: ItemBatch batches_by_length in_order stream_batches -> bert_tf._deprecated
bert_tf.text: BUCKETS bucket_length bucket_lengths -> bert_tf.batching.buckets
bert_tf.text.exact: split_pieces -> bert_tf.text.tokenizer
bert_tf.text: Batch batches_of_like_length -> bert_tf.batching.predict
bert_tf.text: ItemBatch batches_by_length in_order pack_exact stream_batches ->
    bert_tf._deprecated
bert_tf.training.pretraining.cooccurrence -> bert_tf.data.pretraining.cooccurrence
bert_tf.training.finetuning.evaluation -> bert_tf.training.finetuning.batches
bert_tf.training.finetuning.judging -> bert_tf.training.finetuning.evaluate_splits
bert_tf.training.finetuning.remarks -> bert_tf.training.objectives.classifier
bert_tf.training.finetuning.remarks: imbalance_remark=imbalance_warning
    one_class_remark=one_class_warning -> bert_tf.training.objectives.classifier
bert_tf.training.judging -> bert_tf.evaluation.pretraining
bert_tf.training.judging.judge -> bert_tf.evaluation.pretraining.evaluate
bert_tf.training.judging.judge: judge_pretraining=evaluate_pretraining
    judge_predictions=evaluate_predictions -> bert_tf.evaluation.pretraining.evaluate
bert_tf.training.judging.judgement -> bert_tf.evaluation.pretraining.results
bert_tf.training.judging.judgement: Judgement=PretrainingEvaluation
    GroupJudgement=GroupEvaluation -> bert_tf.evaluation.pretraining.results
bert_tf.training.metrics -> bert_tf.evaluation
bert_tf.training.no_checkpoints -> bert_tf.training.checkpoints
bert_tf.training.objectives.registry -> bert_tf.training.objectives.base
bert_tf.training.result_files -> bert_tf.evaluation.result_files
"""


def _read(table: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in table.replace("\n    ", " ").split("\n")[1:-1]:
        old, _, new = line.partition(" -> ")
        module, _, names = old.partition(": ")
        home, moved, dot = (module[:-2], new[:-2], ".") if new.endswith("*") else (module, new, ":")
        pairs = (name.partition("=")[::2] for name in names.split())
        found |= {f"{home}{dot}{x}": f"{moved}{dot}{y or x}" for x, y in pairs} or {old: new}
    return found


MOVED = _read(_TABLE)
"""Old path: new path; of a module, with the modules in it, or of `module:name`. A module that names
leave, unless it is a package, needs `__getattr__ = moved_names(__name__)` (`if not TYPE_CHECKING`,
so that mypy still knows its names)."""


def public_names(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package that imports nothing by itself.

    Args:
        package: its `__name__`.
        file: its `__file__`; `__init__.pyi` in its folder has the names, also for type checkers.

    Returns:
        What finds a public or moved name, importing its module; what lists all; the public ones.
    """
    public, _, names = lazy_loader.attach_stub(package, file)
    moved = moved_names(package)

    def find(name: str) -> Any:
        if name in names:
            return public(name)
        path = f"{package}.{name}"
        # `import bert_tf.text` is enough for bert_tf.text.vocab, as when it imported everything.
        if name[0] != "_" and f"{package}:{name}" not in MOVED and importlib.util.find_spec(path):
            return importlib.import_module(path)
        return moved(name)

    return find, lambda: sorted({*vars(sys.modules[package]), *names}), names


def moved_names(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module (its `__name__`) that names moved out of.

    It gives what is at the new path of a name, with a `DeprecationWarning`; `AttributeError` for a
    name that is not in `MOVED`.
    """

    def find(name: str) -> Any:
        if (new := MOVED.get(f"{module}:{name}")) is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_of_old(f"{module}.{name}", new)
        home, _, new_name = new.partition(":")
        return getattr(importlib.import_module(home), new_name)

    return find


class OldName:
    """A class's attribute that was renamed: `old = OldName("old", "new")`; as `moved_names`."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def __get__(self, instance: Any, owner: type) -> Any:
        warn_of_old(f"{owner.__name__}.{self._old}", self._new)
        return getattr(owner if instance is None else instance, self._new)


def find_old_modules() -> None:
    """Has `import` find the modules of `MOVED` from now on."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        # First, or Python would load modules of a moved package again under their old names.
        sys.meta_path.insert(0, _OldModules())


class _OldModules:
    """Finds modules by their old paths, and loads those at the new ones."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.startswith("bert_tf.") and _new_path(name) is not None:
            return importlib.machinery.ModuleSpec(name, self)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Python makes an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        path = _new_path(old)
        assert path is not None
        warn_of_old(old, path)
        new = importlib.import_module(path)
        if any(key.startswith(f"{old}:") for key in MOVED):  # some names are elsewhere
            moved = moved_names(old)
            module.__dict__["__getattr__"] = lambda name: (
                moved(name) if f"{old}:{name}" in MOVED else getattr(new, name)
            )
        else:
            sys.modules[old] = new  # Python takes what stands here when this returns


def _new_path(name: str) -> str | None:
    """The new path of a module that moved, or whose package did."""
    parts = name.split(".")
    heads = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((MOVED[head] + name[len(head) :] for head in heads if head in MOVED), None)


def warn_of_old(old: str, new: str) -> None:
    """Warns at the line, outside Python's import, this module and the logger's, that uses `old`."""
    frame, ours = sys._getframe(1), ("importlib", __name__, "bert_tf.files.log")
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(ours):
        frame = frame.f_back
    gone = new.startswith("bert_tf._deprecated")
    what = "is deprecated" if gone else f"is {new.replace(':', '.')} now"
    warnings.warn_explicit(
        f"{old} {what}; the old name goes in the next version.",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
