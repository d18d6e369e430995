"""`BertEstimator`: what scikit-learn's classifier and regressor over texts have in common."""

# ruff: noqa: N803, N806  # X, as scikit-learn calls it: callers may pass it by name

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from bert_tf._moved import OldName
from bert_tf.batching.predict import predict_all
from bert_tf.batching.tokenizing import tokenize_texts
from bert_tf.bert import Bert
from bert_tf.data.labelled.python_rows import labelled_rows
from bert_tf.data.labelled.splits import split_labelled
from bert_tf.data.labelled.texts import Label, LabelledTexts, Task, encode_labels
from bert_tf.errors import BertError
from bert_tf.files.log import quiet
from bert_tf.files.temporary import TemporaryFolder
from bert_tf.loading import load
from bert_tf.options import USUAL_LENGTH, Range
from bert_tf.tasks.base import Predicting
from bert_tf.training.finetuning.plan import FineTuningPlan

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_consistent_length, check_is_fitted
except ImportError as error:
    raise BertError(
        "BertClassifier and BertRegressor are scikit-learn estimators, and scikit-learn 1.6 or "
        "newer is not installed; type: pip install 'bert_tf[train]'."
    ) from error

# Under another name, of classifiers alone, or how often to write into a folder.
_NOT_PARAMETERS = ("class_weights", "seed", "label_smoothing", "save_every", "log_every", "keep")


class Targets(NamedTuple):
    """What is to be learnt; task and labels are those of `bert_tf.data.LabelledTexts`."""

    task: Task
    labels: list[Label]
    names: tuple[str, ...] = ()
    """Of the classes in their order; none for a regression."""
    classes: np.ndarray | None = None
    """As y has them; of several at once the numbers of the columns."""


class FittedModel(Predicting):
    """What a fitted model says of texts."""

    def __call__(self, data: LabelledTexts, batch_size: int) -> np.ndarray:
        """Probabilities or numbers, float64 (rows, outputs), in the order of the rows."""
        bert, info = self.bert, self.bert.classifier
        assert info is not None
        length = info.max_seq_length or bert.config.max_position_embeddings
        texts = tokenize_texts(data, bert.tokenizer, length)
        found = predict_all(self._compiled("classifier"), texts, batch_size=batch_size)
        return found.astype(np.float64)


class BertEstimator(BaseEstimator):
    """What classifier and regressor have in common."""

    remarks_ = OldName("remarks_", "warnings_")
    tasks: ClassVar[tuple[str, ...]] = ()
    """That a model's folder may be for."""
    # In pickles of 0.1.0, which lack them.
    hidden_units: Any = None
    head_activation: Any = None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fine-tunes a BERT, from the checkpoint on, whatever was fitted before.

        Args:
            X: texts: a list, a tuple, an array (n,) or (n, 1), or a Series of str. Or pairs: a
                list of (first, second), an array (n, 2) or a data frame of two columns. A missing
                text (None, NaN) is an empty one.
            y: what belongs to each, see the class.

        Returns:
            The estimator itself.

        Raises:
            BertError: X are no texts, parameters do not fit one another, or whatever
                `bert_tf.load` and `bert_tf.fine_tune` raise.
            ValueError: y cannot be learnt.
            KeyboardInterrupt: a signal came; the estimator is then as it was before.
        """
        # It imports Keras, which takes its backend then: as late as can be.
        from bert_tf.training.finetuning.batches import LabelledRows
        from bert_tf.training.finetuning.fine_tune import fine_tune

        params = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        data = _texts(X)
        if y is None:
            raise BertError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        check_consistent_length(data.texts, y)
        targets = self._targets(y)
        data = dataclasses.replace(data, labels=targets.labels, task=targets.task)
        seed = _seed(params["random_state"])
        parts = [data]
        if (fraction := params["validation_fraction"]) is not None:
            Range(float, above=0, below=1).check("validation_fraction", fraction)
            shares = {"train": 1 - fraction, "validation": fraction}
            parts = list(split_labelled(data, shares, seed=seed)[0].values())
        elif params["patience"] is not None:
            raise BertError("patience needs texts to evaluate on; pass validation_fraction=0.1.")
        plan = self._plan(params, seed, targets)
        half = plan.kind == "frozen" and plan.precision == "bfloat16"
        options = {"lower_case": params["lower_case"], "precision": "bfloat16" if half else None}
        bert = load(params["checkpoint"], **options)
        length = params["max_seq_length"]
        if length is None:
            length = min(USUAL_LENGTH, bert.config.max_position_embeddings)
        tokenized = [tokenize_texts(part, bert.tokenizer, length) for part in parts]
        labels = [encode_labels(part, targets.names) for part in parts]
        train, *validation = map(LabelledRows, tokenized, labels)
        history: list[dict[str, float]] = []
        with quiet(), contextlib.ExitStack() as stack:
            # As they were: training seeds Python's and numpy's common generators.
            stack.callback(random.setstate, random.getstate())
            stack.callback(np.random.set_state, np.random.get_state())
            if (folder := params["output_dir"]) is None:
                temporary = TemporaryFolder("training")
                stack.callback(temporary.cleanup)
                folder = temporary.name
            found = fine_tune(
                bert,
                train,
                validation[0] if validation else None,
                plan,
                folder,
                labels=targets.names,
                task=targets.task,
                resumable=params["output_dir"] is not None,
                on_row=history.append,
                progress=bool(params["verbose"]),
            )
            if found.interrupted:
                raise KeyboardInterrupt
            del bert
            self._answers = FittedModel(load(folder))
        if targets.classes is not None:
            self.classes_ = targets.classes
        self.pairs_ = data.pairs is not None
        self.history_, self.best_step_ = history, found.best_step
        self.metrics_, self.warnings_ = found.metrics, found.warnings
        for warning in found.warnings:  # as is usual in scikit-learn, and so not logged
            warnings.warn(warning, UserWarning, stacklevel=2)
        return self

    @property
    def bert_(self) -> Bert:
        """The fitted `Bert`, for `Classify`, its Keras models and all else."""
        check_is_fitted(self)
        return self._answers.bert

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the fitted model as a folder that `bert_tf.load` and `from_folder` take.

        Args:
            folder: made if it is not there.
            overwrite: whether a model in it may be replaced.

        Raises:
            NotFittedError: there is nothing to write yet.
            BertError: it cannot be written.
        """
        self.bert_.save(folder, overwrite=overwrite)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], **params: Any) -> Self:
        """A fitted estimator of a model's folder, whatever it was trained with.

        Args:
            folder: what `save`, `bert_tf.fine_tune` or the original's `run_classifier.py` wrote.
            params: of the estimator; `checkpoint` is the folder if left out.

        Raises:
            BertError: there is no model, or it is for another task.
        """
        found = cls(**{"checkpoint": os.fspath(folder), **params})
        bert = load(folder, lower_case=plain(found.get_params()["lower_case"]))
        info = bert.classifier
        task = info and info.task
        if task not in cls.tasks:
            fit = "no classifier" if task is None else f"a model for {task}"
            others = (one for one in BertEstimator.__subclasses__() if task in one.tasks)
            other = "".join(f"; take {one.__name__}" for one in others)
            raise BertError(
                f"{os.fspath(folder)} holds {fit}, and {cls.__name__} is for "
                f"{' or '.join(cls.tasks)}{other}."
            )
        found._answers = FittedModel(bert)
        assert info is not None
        if info.pairs is not None:
            found.pairs_ = info.pairs
        if task != "regression":
            numbers = np.arange(len(info.labels))
            unnamed = info.several and info.labels == tuple(map(str, numbers))
            found.classes_ = numbers if unnamed else np.array(info.labels)
        return found

    def _targets(self, y: Any) -> Targets:
        raise NotImplementedError

    def _plan(self, params: Mapping[str, Any], seed: int, targets: Targets) -> FineTuningPlan:
        known = params.keys() & FineTuningPlan.__dataclass_fields__
        return FineTuningPlan(**{name: params[name] for name in known}, seed=seed)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        data = _texts(X)
        pairs = getattr(self, "pairs_", None)
        if pairs is not None and pairs != (data.pairs is not None):
            kinds = ("single texts", "pairs of texts")
            name = type(self).__name__
            raise BertError(f"X are {kinds[not pairs]}, but {name} was fitted on {kinds[pairs]}.")
        return self._answers(data, plain(self.get_params(deep=False)["eval_batch_size"]))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_answers")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        takes = tags.input_tags
        takes.one_d_array = takes.string = takes.allow_nan = True
        takes.two_d_array = False
        tags.non_deterministic = not self.get_params(deep=False)["deterministic"]
        return tags


def constructor(**own: Any) -> Any:
    """An `__init__` that keeps its arguments as they are, which is all that scikit-learn allows.

    It takes `checkpoint` and, by keyword, the parameters of one estimator alone (`own`, with their
    defaults), those of every estimator, and most options of `FineTuningPlan`.
    """
    own |= {"lower_case": None, "max_seq_length": None, "validation_fraction": None}
    own |= {"random_state": None, "output_dir": None, "verbose": 0}
    plan = {field.name: field.default for field in dataclasses.fields(FineTuningPlan)}
    own |= {name: default for name, default in plan.items() if name not in _NOT_PARAMETERS}
    fields: list[Any] = [("checkpoint", Any, dataclasses.field(default="demo_multi_cased"))]
    for name, default in own.items():
        field = dataclasses.field(default=default, kw_only=True)
        fields.append((name, FineTuningPlan.__annotations__.get(name, "Any"), field))
    made: Any = dataclasses.make_dataclass("BertEstimator", fields)
    return made.__init__


def plain(value: Any) -> Any:
    """Numpy's scalars, as a search's grid holds them, as Python's: JSON can hold those alone."""
    return value.item() if isinstance(value, np.generic) else value


def name_of(label: Any) -> str:
    """What a class is called in a model's folder."""
    return str(plain(label))


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int) and random_state >= 0:
        return random_state
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _texts(X: Any) -> LabelledTexts:
    """X as texts or pairs without labels; `BertError` if it is neither, or empty."""
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):  # a data frame, of whatever columns
        X = X.to_numpy()
    shape = np.shape(X) if isinstance(X, np.ndarray) else ()
    if len(shape) > 2 or shape[1:] not in ((), (1,), (2,)):
        raise BertError(f"X has the shape {list(shape)}; give texts, (n,), or pairs, (n, 2).")
    data = labelled_rows(X[:, 0] if shape[1:] == (1,) else X)
    if not len(data):
        raise BertError("there are 0 texts in X; give at least one.")
    return data
