"""Packages that only some work needs: which extra brings each, and what to do without one."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from bert_tf.errors import BertError

EXTRAS = {
    "jax": ("jax", "jax"),
    "matplotlib": ("matplotlib", "train"),
    "openpyxl": ("openpyxl", "tables"),
    "openvino": ("openvino", "openvino"),
    "pandas": ("pandas", "tables"),
    "pyarrow": ("pyarrow", "tables"),
    "scipy": ("scipy", "train"),
    "sklearn": ("scikit-learn", "train"),
}
"""By module: the package that has it, and the extra of `bert_tf` that installs it."""


def require(what: str, *modules: str) -> None:
    """Makes sure, without importing them, that modules of `EXTRAS` are there.

    For the start of work that needs them at its end.

    Raises:
        BertError: some are not; `what` is the work in the message, "a picture".
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise _missing(what, *missing)


@contextlib.contextmanager
def importing(what: str) -> Iterator[None]:
    """Turns an `ImportError` of the block into the `BertError` of `require`."""
    try:
        yield
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if name in EXTRAS:
            raise _missing(what, name) from error
        raise BertError(f"{what} needs a package that cannot be imported: {error}.") from error


def _missing(what: str, *modules: str) -> BertError:
    packages, extras = zip(*(EXTRAS[name] for name in modules))
    are = "are" if len(packages) > 1 else "is"
    return BertError(
        f"{' and '.join(packages)} {are} not installed, which {what} needs; type: "
        f"pip install 'bert_tf[{','.join(dict.fromkeys(extras))}]'."
    )
