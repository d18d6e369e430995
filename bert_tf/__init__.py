"""BERT in Keras 3, read straight from Google's original checkpoints.

Importing this package imports neither Keras nor a backend, so a backend can still be chosen:
`os.environ["KERAS_BACKEND"] = "jax"` before or after `import bert_tf`, as long as it is before
the first model.
"""

try:
    from bert_tf import _moved, _register
except ModuleNotFoundError as error:
    from bert_tf.errors import missing_module

    raise missing_module(error) from None

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _moved.public_names(__name__, __file__)
__all__ += ["__version__"]

_moved.find_old_modules()
_register.when_keras_is_there()
