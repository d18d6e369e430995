"""The files around the code: one version, no paths of somebody's machine, packages complete."""

import ast
import configparser
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

import bert_tf

GUARDED = {"scikit_learn.py"}  # what it imports first says which extra to install
SUFFIXES = {".py", ".md", ".cfg", ".toml", ".txt", ".json", ""}


@pytest.fixture(scope="module")
def root(request) -> pathlib.Path:
    return request.config.rootpath


@pytest.fixture(scope="module")
def setup_cfg(root) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def files(root) -> list[pathlib.Path]:
    """What is in the repository, or would be."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [root / line for line in listing.splitlines() if (root / line).is_file()]


def test_the_version_stands_in_one_place(setup_cfg):
    assert setup_cfg["metadata"]["version"] == "attr: bert_tf.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", bert_tf.__version__)


def test_no_paths_of_a_machine(files):
    path = re.compile(r"(?<![\w.:/*)-])/(work|root)/|\.\./shared")
    for file in files:
        if file.suffix in SUFFIXES and file.name != pathlib.Path(__file__).name:
            if "golden" in file.parts and file.suffix != ".md":
                continue
            text = file.read_text(encoding="utf-8")
            assert not path.search(text), f"{file}: {path.search(text)}"


def test_constraints_pin_every_requirement(root, setup_cfg):
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (root / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    wanted = [
        setup_cfg["options"]["install_requires"],
        *setup_cfg["options.extras_require"].values(),
    ]
    for line in "\n".join(wanted).split():
        name = re.split(r"[\[<>=!]", line)[0].lower().replace("_", "-")
        assert name in {*pinned, "bert-tf"}, f"constraints.txt lacks {name}"


def named(requirements: str) -> set[str]:
    """The distributions that lines of setup.cfg ask for."""
    names = (re.split(r"[\[<>=!;\s]", line)[0] for line in requirements.split("\n"))
    return {name.lower().replace("_", "-") for name in names if name}


def imports(path: pathlib.Path) -> Iterator[tuple[str, bool]]:
    """The top names of what a module imports, and whether it needs them to be imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for part in ast.walk(tree)
        if isinstance(part, (ast.FunctionDef, ast.Try))
        or (isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING")
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) not in late
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0], id(node) not in late


def test_what_is_imported_is_named_in_setup_cfg(root, setup_cfg):
    """At once only what a plain install has, later what some extra has; and no name too many."""
    plain = named(setup_cfg["options"]["install_requires"])
    extras = dict(setup_cfg["options.extras_require"])
    tools = {name: extras.pop(name) for name in ("benchmarks", "dev")}
    offered = plain.union(*map(named, extras.values()))
    homes = importlib.metadata.packages_distributions()
    found = set()
    for path in (root / "bert_tf").rglob("*.py"):
        for module, at_once in imports(path):
            if module in {"bert_tf", *sys.stdlib_module_names}:
                continue
            home = {name.lower().replace("_", "-") for name in homes.get(module, [module])}
            where = f"{path.relative_to(root)} imports {module}"
            needed = plain if at_once and path.name not in GUARDED else offered
            assert home & needed, f"{where}; setup.cfg does not name it"
            found |= home
    assert offered <= found, f"setup.cfg names {offered - found}, which nothing imports"
    assert "pytest" in named(tools["dev"])


def test_constraints_name_no_place(root):
    for line in (root / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_every_folder_of_the_package_is_packaged(root):
    for folder in {path.parent for path in (root / "bert_tf").rglob("*.py")}:
        assert (folder / "__init__.py").exists(), f"{folder} has no __init__.py"


def test_scripts_and_checks_can_be_executed(root):
    for name in (
        "run_mask.py",
        "run_nsp.py",
        "create_vocab.py",
        "create_pretraining_data.py",
        "run_pretraining.py",
        "run_classifier.py",
        ".ci/run",
    ):
        assert os.access(root / name, os.X_OK), name


def test_the_packaging_stub_holds_no_metadata(root):
    text = (root / "pyproject.toml").read_text()
    assert re.findall(r"^\[(.*)\]$", text, re.MULTILINE) == ["build-system"]


def test_the_document_of_the_architecture_names_every_part():
    text = (
        pathlib.Path(__file__)
        .parent.parent.joinpath("docs/architecture.md")
        .read_text(encoding="utf-8")
    )
    for path in pathlib.Path(bert_tf.__file__).parent.iterdir():
        if path.name.startswith("__") or path.suffix not in ("", ".py"):
            continue
        assert f"`{path.name}{'/' if path.is_dir() else ''}" in text, path.name
