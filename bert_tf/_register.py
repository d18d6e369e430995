"""Makes our layers known to Keras as soon as both are imported, in whichever order.

`keras.saving.load_model` needs every class of ours registered before it starts. Importing them
with `import bert_tf` would import Keras and fix its backend; so that waits for Keras.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

MODULES = (
    "bert_tf.models.layers",
    "bert_tf.models.transformer",
    "bert_tf.models.head_layers",
    "bert_tf.training.optimizer",
)
"""The modules that register classes needed to load a saved model."""


def when_keras_is_there() -> None:
    """Registers our classes now if Keras is imported already, else right after it is."""
    if "keras" in sys.modules:
        _register()
    elif not any(isinstance(finder, _KerasWatcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasWatcher())


def _register() -> None:
    import keras

    for module in MODULES:
        importlib.import_module(module)
    # The encoder's own module imports keras-hub, which takes seconds: not before it is needed.
    # It registers the real class under the same name.
    if "bert_tf.models.encoder" not in sys.modules:
        keras.saving.register_keras_serializable("bert_tf", "BertEncoder")(_LaterEncoder)


class _LaterEncoder:
    """Stands for `BertEncoder` in Keras's registry until a saved one is loaded."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The encoder that a config describes."""
        return importlib.import_module("bert_tf.models.encoder").BertEncoder.from_config(config)

    def get_config(self) -> dict[str, Any]:
        """Never called: Keras registers only classes that have it."""
        return {}


class _KerasWatcher(importlib.abc.MetaPathFinder):
    """Finds `keras` as Python would, and has `_register` run after it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader)
        return spec


class _ThenRegister(importlib.abc.Loader):
    """A loader that hands everything on and registers our classes afterwards."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _register()

    def __getattr__(self, name: str):
        return getattr(self._loader, name)
