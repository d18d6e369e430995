"""What heads are trained for, one file a head; `objective_class` finds one by the task's name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bert_tf.errors import BertError
from bert_tf.heads import HEADS

if TYPE_CHECKING:
    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.training.objectives.base import Objective

OBJECTIVES = {task: path for row in HEADS.values() for task, path in row.objectives.items()}
"""Name of a task to the module here and the class in it, imported when it is asked for."""


def objective_class(task: str) -> type[Objective]:
    """The `Objective` of a task; a `BertError` if there is no such task."""
    if task not in OBJECTIVES:
        raise BertError(f"there is no task {task!r}; tasks are {', '.join(OBJECTIVES)}.")
    module, _, name = OBJECTIVES[task].partition(":")
    return getattr(importlib.import_module(f"bert_tf.training.objectives.{module}"), name)


def objective_of(info: ClassifierInfo) -> Objective:
    """What a head that is trained already was trained for."""
    return objective_class(info.task)(info.labels)
