"""Makes our layers known to Keras as soon as both are imported, in whichever order.

`keras.saving.load_model` needs every class of ours registered before it starts. Importing them
with `import bert_tf` would import Keras and fix its backend; so that waits for Keras.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

CLASSES = {
    "bert_tf.models.dropout": "Dropout",
    "bert_tf.models.encoder": "BertEncoder",
    "bert_tf.models.head_layers": "AskedPositions ClsAndPositions DropFirst GatherPositions "
    "MaskedProbabilities MeanPooling OutputBias PieceScores TopPieces",
    "bert_tf.models.initializers": "BertInitializer",
    "bert_tf.models.layers": "Activation AttentionBias FirstToken LayerNorm PositionEmbedding "
    "TokenEmbedding",
    "bert_tf.models.transformer": "SelfAttention TransformerLayer",
    "bert_tf.training.optimizer": "BertAdam WarmUpLinearDecay",
}
"""The registered classes by module; those in the file of a head stand in its row of `HEADS`."""


def when_keras_is_there() -> None:
    """Registers our classes now if Keras is imported already, else right after it is."""
    for name in _AFTER.keys() & sys.modules.keys():
        _AFTER[name]()
    if not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


def _register() -> None:
    import keras

    from bert_tf.heads import HEADS

    of_heads = {head.module: head.classes for head in HEADS.values()}
    for module, names in {**CLASSES, **of_heads}.items():
        if module not in sys.modules:  # else it registers, or will in a moment, the real ones
            for name in names.split():
                keras.saving.register_keras_serializable("bert_tf")(_stand_in(module, name))


def _stand_in(module: str, name: str) -> type:
    """A class that stands for one of ours in Keras's registry until a saved one is loaded.

    Its module is imported only then: the encoder's imports keras-hub, which takes seconds, and it
    may be a module of ours that is importing Keras right now.
    """

    def from_config(cls, *arguments: Any, **options: Any) -> Any:
        """The object that a config describes."""
        found = getattr(importlib.import_module(module), name)
        return found.from_config(*arguments, **options)

    # Keras registers only classes that have a `get_config`; this one is never called.
    return type(name, (), {"from_config": classmethod(from_config), "get_config": dict})


_AFTER: dict[str, Callable[[], object]] = {
    "keras": _register,
    # Its `from_preset` asks whether the registered class is a backbone, which no stand-in is.
    "keras_hub": lambda: importlib.import_module("bert_tf.models.encoder"),
}
"""What runs right after a module is imported."""


class _Watcher:
    """Finds the modules of `_AFTER` as Python would."""

    _asking = False

    def find_spec(self, name, path=None, target=None):
        if name not in _AFTER or self._asking:
            return None
        self._asking = True  # of the finders after this one
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            # Not before it runs: TensorFlow looks for Keras without importing it.
            def run_and_act(module: ModuleType) -> None:
                run(module)
                _AFTER[name]()

            spec.loader.exec_module = run_and_act  # type: ignore[method-assign]
        return spec
