"""BERT in Keras 3, read straight from Google's original checkpoints.

Importing this package imports neither Keras nor a backend, so a backend can still be chosen:
`os.environ["KERAS_BACKEND"] = "jax"` before or after `import bert_tf`, as long as it is before
the first model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bert_tf import _register

__version__ = "0.1.0"

# name -> the module that defines it; imported when first used
_PUBLIC = {
    "Bert": "bert_tf.bert",
    "BertAdam": "bert_tf.training.optimizer",
    "BertClassifier": "bert_tf.tasks.estimator",
    "BertConfig": "bert_tf.config",
    "BertEncoder": "bert_tf.models.encoder",
    "BertError": "bert_tf.errors",
    "BertRegressor": "bert_tf.tasks.estimator",
    "BertTokenizer": "bert_tf.text",
    "Classify": "bert_tf.tasks",
    "FillMask": "bert_tf.tasks",
    "FineTuningPlan": "bert_tf.training.finetuning.plan",
    "NextSentence": "bert_tf.tasks",
    "Vocabulary": "bert_tf.text",
    "WarmUpLinearDecay": "bert_tf.training.optimizer",
    "convert_checkpoint": "bert_tf.checkpoint",
    "encode_texts": "bert_tf.data",
    "fine_tune": "bert_tf.training.finetuning.fine_tune",
    "load": "bert_tf.loading",
    "new_classifier": "bert_tf.training.finetuning.new_classifier",
}

__all__ = [*sorted(_PUBLIC), "__version__"]

if TYPE_CHECKING:
    from bert_tf.bert import Bert as Bert
    from bert_tf.checkpoint import convert_checkpoint as convert_checkpoint
    from bert_tf.config import BertConfig as BertConfig
    from bert_tf.data import encode_texts as encode_texts
    from bert_tf.errors import BertError as BertError
    from bert_tf.loading import load as load
    from bert_tf.models.encoder import BertEncoder as BertEncoder
    from bert_tf.tasks import Classify as Classify
    from bert_tf.tasks import FillMask as FillMask
    from bert_tf.tasks import NextSentence as NextSentence
    from bert_tf.tasks.estimator import BertClassifier as BertClassifier
    from bert_tf.tasks.estimator import BertRegressor as BertRegressor
    from bert_tf.text import BertTokenizer as BertTokenizer
    from bert_tf.text import Vocabulary as Vocabulary
    from bert_tf.training.finetuning.fine_tune import fine_tune as fine_tune
    from bert_tf.training.finetuning.new_classifier import new_classifier as new_classifier
    from bert_tf.training.finetuning.plan import FineTuningPlan as FineTuningPlan
    from bert_tf.training.optimizer import BertAdam as BertAdam
    from bert_tf.training.optimizer import WarmUpLinearDecay as WarmUpLinearDecay


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


_register.when_keras_is_there()
