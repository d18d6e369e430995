"""Imports point one way, and importing the package imports nothing heavy."""

import ast
import importlib
import importlib.util
import inspect
import json
import pathlib
import runpy

import pytest

import bert_tf

PACKAGE = pathlib.Path(bert_tf.__file__).parent

_BELOW = {"heads", "backend", "batching", "checkpoint", "hub", "text", "models", "runtime"}
_LOADED = _BELOW | {"bert", "loading"}

# What each part may import of ours but itself, `errors`, `options`, `files` and `config`; in the
# order of the data.
MAY_IMPORT = {
    "errors": set(),
    "options": set(),
    "files": set(),
    "config": set(),
    "heads": set(),
    "backend": set(),
    "report": set(),
    "checkpoint": {"heads"},
    "hub": {"checkpoint"},
    "text": set(),
    "batching": {"text"},
    "models": {"heads"},
    "runtime": {"backend", "checkpoint", "heads", "hub", "text", "models", "__init__"},
    "bert": {"heads", "backend", "checkpoint", "text", "models", "runtime"},
    "loading": _BELOW | {"bert"},
    "data": _LOADED,
    "evaluation": _LOADED | {"data"},
    "training": _LOADED | {"data", "evaluation"},
    "tasks": _LOADED | {"report", "data", "evaluation", "training"},
    "export": _LOADED | {"data", "evaluation", "training", "tasks"},
    "integrations": _LOADED | {"data", "evaluation", "training", "tasks", "export"},
    "cli": {*_LOADED, "report", "data", "evaluation", "training", "tasks", "export", "__init__"},
    # The entrances: what they import they import late, or by name.
    "__main__": {"cli"},
    "_register": {"heads"},
    "_moved": set(),
    "_deprecated": {"batching", "data", "text"},
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
        allowed |= {"errors", "_moved"}
    if own not in ("errors", "options", "files"):
        allowed |= {"files", "options"} if own == "config" else {"files", "options", "config"}
    if path.name == "__init__.py":  # it imports nothing but what finds its names
        allowed = {"_moved"}
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


@pytest.mark.parametrize(
    "name", ["batching", "checkpoint", "data", "hub", "models", "report", "tasks", "text"]
)
def test_what_a_part_offers_is_there(name):
    module = importlib.import_module(f"bert_tf.{name}")
    assert module.__all__ == sorted(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))
    for offered in module.__all__:
        assert getattr(module, offered) is not None


@pytest.mark.parametrize(
    "path", list(PACKAGE.rglob("__init__.pyi")), ids=lambda path: path.parent.name
)
def test_stubs_name_what_is_there(path):
    """Type checkers read the stub, and Python: each name is imported once, as itself."""
    package = ".".join([PACKAGE.name, *path.parent.relative_to(PACKAGE).parts])
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            home = importlib.import_module(f"{package}.{node.module}")
            found += [alias.name for alias in node.names]
            for alias in node.names:
                assert alias.asname == alias.name  # else it is not exported (PEP 484)
                value = getattr(importlib.import_module(package), alias.name)
                assert value is getattr(home, alias.name)
                # Where it is defined, not one more place that has it.
                assert getattr(value, "__module__", home.__name__) in (home.__name__, "builtins")
    assert sorted(found) == [n for n in importlib.import_module(package).__all__ if n[0] != "_"]


def test_a_package_imports_nothing_by_itself(run_python):
    packages = [path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")]
    names = [".".join(["bert_tf", *path.parts]) for path in packages]
    code = (
        f"import importlib, sys\nnames = {names!r}\nfor name in names:\n"
        "    importlib.import_module(name)\n"
        "ours = {name for name in sys.modules if name.split('.')[0] == 'bert_tf'}\n"
        "print(sorted(ours - set(names)))\n"
    )
    assert run_python("-c", code).stdout == "['bert_tf._moved', 'bert_tf._register']\n"


# A command, and what its parser does without.
COMMANDS = {
    "mask": {"data", "training", "export", "tasks", "models", "runtime", "text", "checkpoint"},
    "classify": {"export", "models", "runtime", "text"},
    "tokenize": {"training", "tasks", "models", "runtime", "text", "checkpoint"},
    "download": {"data", "training", "tasks", "models", "runtime", "text"},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_parsed_without_the_others(command, run_python):
    code = (
        "import json, sys\nfrom bert_tf.cli import main\n"
        f"main.build_parser({command!r})\n"
        "ours = [name for name in sys.modules if name.startswith('bert_tf.')]\n"
        "commands = [f'bert_tf.cli.{module}' for module in main.COMMANDS.values()]\n"
        "heavy = {'keras', 'tensorflow', 'openvino', 'tokenizers'} & set(sys.modules)\n"
        "print(json.dumps([ours, [name for name in commands if name in ours], sorted(heavy)]))\n"
    )
    ours, commands, heavy = json.loads(run_python("-c", code).stdout)
    assert not {part(name) for name in ours} & COMMANDS[command]
    assert len(commands) == 1
    assert not heavy


# What one sentence on OpenVINO needs: files in which code runs, and modules imported.
NEEDED = {"mask": (40, 52), "nsp": (37, 48)}


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="no openvino here")
@pytest.mark.parametrize("command", NEEDED)
def test_a_sentence_needs_few_files(command, tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_TF_CACHE", str(tmp_path / "cache"))
    imports = runpy.run_path(str(PACKAGE.parent / "benchmarks/imports.py"))
    arguments = imports["cases"](str(tmp_path))[command]
    for _ in range(2):  # the graph is kept from the second run on
        seen = imports["measure"](arguments, str(tmp_path), "openvino")
    assert seen["exit"] == 0
    found = tuple(len(seen[part]) for part in ("executed", "imported"))
    assert all(have <= most for have, most in zip(found, NEEDED[command], strict=True)), found
