"""`BertClassifier` and `BertRegressor`: fine-tuning as scikit-learn estimators over texts."""

# ruff: noqa: N803  # X, as scikit-learn calls it: callers may pass it by name

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_tf.errors import BertError

# First: it says what to do where scikit-learn is missing.
from bert_tf.integrations.scikit_learn_base import BertEstimator, Targets, constructor, name_of
from bert_tf.training.finetuning.plan import FineTuningPlan

# isort: split
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d


class BertClassifier(ClassifierMixin, BertEstimator):
    """A text classifier for scikit-learn: fine-tunes a BERT on texts, or pairs of texts.

    y are classes, as text or numbers; or, for several classes at once, an indicator matrix of
    zeros and ones, (n, classes), of which a data frame's columns name the classes. Works in a
    `Pipeline`, with `cross_val_score` and `GridSearchCV` (also in several processes), and can be
    pickled, its weights with it.

    Example:
        >>> model = BertClassifier(epochs=3)  # doctest: +SKIP
        >>> model.fit(texts, labels).predict(["A film to see again."])  # doctest: +SKIP
        array(['positive'], dtype='<U8')

    Args:
        checkpoint: a folder, the name of a release, or that of the embedded model.
        lower_case: whether text is lower-cased; inferred when left out.
        max_seq_length: most tokens of a text, [CLS] and [SEP] counted; None for 128, or what the
            model takes if that is less.
        class_weight: None, `"balanced"`, or weights by class (by number or name of the column
            where several hold at once, without `"balanced"`).
        label_smoothing: from 0 to below 1.
        validation_fraction: of the texts, held out to evaluate on, for the best weights and for
            `patience`; None trains on all and keeps the last weights.
        random_state: a number, a `RandomState` or None; of the head, the order of the texts,
            dropout and what is held out.
        output_dir: a folder of this fit alone, for its state and the model: the same fit resumes
            there after it was killed. None for a temporary one.
        verbose: whether to show progress: bars, or lines in the log off a terminal.
        mode, epochs, batch_size, learning_rate, patience, precision, metric: these and all others
            are in `bert_tf.FineTuningPlan`.

    Attributes:
        classes_: (classes,); of a model from a folder as text. Of several at once the numbers of
            the columns, or a data frame's names of them.
        bert_: the fitted `Bert`.
        history_: rows of the training's log.
        best_step_: the step whose weights are kept; None where nothing was held out.
        metrics_: on what was held out.
        warnings_: what is worth knowing; also given as a `UserWarning` each.
        pairs_: whether it was fitted on pairs.
    """

    tasks = ("classes", "multilabel")
    __init__ = constructor(class_weight=None, label_smoothing=FineTuningPlan.label_smoothing)

    def predict(self, X: Any) -> np.ndarray:
        """The class of each text, (n,); of several at once zeros and ones, int64 (n, classes).

        Raises:
            NotFittedError: before `fit`.
            BertError: X are no texts, or of another kind than those fitted on.
        """
        found = self._outputs(X)
        several = self._several
        return (found >= 0.5).astype(np.int64) if several else self.classes_[found.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, float64 (n, classes), in the order of `classes_`.

        Rows add up to 1 unless several classes hold at once. Raises as `predict`.
        """
        found = self._outputs(X)
        # float32 gives rows that add up to 1 within 1e-7; scikit-learn's log_loss wants it closer.
        return found if self._several else found / found.sum(axis=1, keepdims=True)

    @property
    def _several(self) -> bool:
        info = self.bert_.classifier
        return info is not None and info.several

    def _targets(self, y: Any) -> Targets:
        # As it came, too: scikit-learn says of lists of lists what to do with them.
        check_classification_targets(y)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            hot = check_array(y, accept_sparse=True, input_name="y")
            hot = hot.toarray() if hasattr(hot, "toarray") else hot
            columns = np.asarray(getattr(y, "columns", np.arange(hot.shape[1])))
            names = tuple(map(name_of, columns))
            held: list[Any] = [tuple(names[i] for i in np.flatnonzero(row)) for row in hot]
            return Targets("multilabel", held, names, columns)
        classes, numbers = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if len(classes) < 2:
            raise BertError(f"y has one class only, {name_of(classes[0])}; two are needed.")
        names = tuple(map(name_of, classes))
        return Targets("classes", [names[i] for i in numbers], names, classes)

    def _plan(self, params: Mapping[str, Any], seed: int, targets: Targets) -> FineTuningPlan:
        weights = params["class_weight"]
        if isinstance(weights, Mapping) and targets.classes is not None:
            known = {one: name_of(one) for one in targets.classes.tolist()}
            if unknown := [name for name in weights if name not in known]:
                raise BertError(
                    f"class_weight names {unknown[0]!r}, which is no class in y; there are "
                    f"{', '.join(map(repr, list(known)[:12]))}."
                )
            weights = {known[name]: float(weight) for name, weight in weights.items()}
        return dataclasses.replace(super()._plan(params, seed, targets), class_weights=weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class BertRegressor(RegressorMixin, BertEstimator):
    """Predicts a number for a text, or a pair of texts, with a BERT that is fine-tuned on it.

    y are numbers, (n,). Parameters and attributes are those of `BertClassifier`, without
    `classes_`, `class_weight` and `label_smoothing`.
    """

    tasks = ("regression",)
    __init__ = constructor()

    def predict(self, X: Any) -> np.ndarray:
        """The number of each text, float64 (n,).

        Raises:
            NotFittedError: before `fit`.
            BertError: X are no texts, or of another kind than those fitted on.
        """
        return self._outputs(X)[:, 0]

    def _targets(self, y: Any) -> Targets:
        column = column_or_1d(y, warn=True)
        numbers = check_array(column, ensure_2d=False, dtype=np.float64, input_name="y")
        return Targets("regression", numbers.tolist())
