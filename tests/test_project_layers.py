"""Imports point one way, and importing the package imports nothing heavy."""

import ast
import importlib
import inspect
import pathlib

import pytest

import bert_tf

PACKAGE = pathlib.Path(bert_tf.__file__).parent

_BELOW = {"backend", "batching", "checkpoint", "text", "models", "runtime"}

# What each part may import of ours besides itself, `errors` and `config`; in the order of the data.
MAY_IMPORT = {
    "errors": set(),
    "config": set(),
    "backend": set(),
    "checkpoint": set(),
    "text": set(),
    "batching": {"text"},
    "report": set(),
    "models": set(),
    "runtime": {"backend", "checkpoint", "text", "models", "__init__"},
    "bert": {"backend", "checkpoint", "text", "models", "runtime"},
    "loading": _BELOW | {"bert"},
    "data": _BELOW | {"bert", "loading"},
    "training": _BELOW | {"bert", "loading", "data"},
    "tasks": _BELOW | {"bert", "loading", "data", "training"},
    "export": _BELOW | {"bert", "loading", "data", "training", "tasks"},
    "cli": _BELOW
    | {"report", "bert", "loading", "data", "training", "tasks", "export", "__init__"},
    # The entrances: what they import they import late, or by name.
    "__main__": {"cli"},
    "_register": set(),
    "_deprecated": {"batching", "text"},
}


def modules() -> list[pathlib.Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(module: str) -> str:
    """The part of a dotted name such as bert_tf.text.vocab."""
    return [*module.split("."), "__init__"][1]


def imported(path: pathlib.Path) -> set[str]:
    """The dotted names of ours that a module imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            if node.module == "bert_tf":  # a module of ours, or a public name
                for alias in node.names:
                    is_module = (PACKAGE / alias.name).is_dir() or (
                        PACKAGE / f"{alias.name}.py"
                    ).exists()
                    found.add(f"bert_tf.{alias.name}" if is_module else "bert_tf")
            else:
                found.add(node.module or "")
    return {name for name in found if name.split(".")[0] == "bert_tf"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[own] | {own}
    if own != "errors":
        allowed |= {"errors"} if own == "config" else {"errors", "config"}
    assert {part(name) for name in imported(path)} <= allowed


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_say_what_they_are_and_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") < 450


def test_the_package_imports_nothing_heavy(run_python):
    code = (
        "import sys, bert_tf\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'openvino', 'numpy', 'keras_hub', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)), bert_tf.__version__)\n"
    )
    assert run_python("-c", code).stdout.split() == ["[]", bert_tf.__version__]


@pytest.mark.parametrize("name", sorted(set(bert_tf.__all__) - {"__version__"}))
def test_public_names_are_there_and_documented(name):
    value = getattr(bert_tf, name)
    assert value.__module__.startswith("bert_tf.")
    assert len(inspect.getdoc(value) or "") > 40
    assert name in dir(bert_tf)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Brat'"):
        _ = bert_tf.Brat


@pytest.mark.parametrize("name", ["checkpoint", "data", "models", "report", "tasks", "text"])
def test_what_a_part_offers_is_there(name):
    module = importlib.import_module(f"bert_tf.{name}")
    assert module.__all__ == sorted(module.__all__, key=_upper_case_first)
    for offered in module.__all__:
        assert getattr(module, offered) is not None


def _upper_case_first(name: str) -> tuple[int, str]:
    """Ruff's order: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name
