"""What the README and the pages in docs/ show is what happens."""

import os
import pathlib
import re
import shlex

import pytest

from bert_tf.cli.main import build_parser, main
from bert_tf.hub import store

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMANDS = {
    "python run_mask.py": "mask",
    "python run_nsp.py": "nsp",
    "python -m bert_tf": "",
}
OTHERS = {
    "python run_classifier.py": "classify",
    "python run_pretraining.py": "pretrain",
    "python create_pretraining_data.py": "pretraining-data",
    "python create_vocab.py": "vocab",
}


@pytest.fixture(scope="module")
def pages(request) -> dict[str, str]:
    """The README and the pages in docs/, by path."""
    root = request.config.rootpath
    paths = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def blocks(pages) -> dict[str, list[str]]:
    """The blocks of code of all pages by language."""
    return by_language("".join(pages.values()))


def by_language(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for language, block in BLOCK.findall(text):
        found.setdefault(language, []).append(block)
    return found


def test_every_page_with_python_code_is_run_below(pages):
    shown = {path for path, text in pages.items() if "python" in by_language(text)}
    assert shown == {
        *("README.md", "docs/python.md", "docs/classification.md", "docs/keras-bert.md")
    }


def test_the_python_code_of_the_readme_prints_what_it_says(pages, capsys):
    (block,) = by_language(pages["README.md"])["python"]
    exec(compile(block, "README.md", "exec"), {})
    promised = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert len(promised) == block.count("print(") == 2
    assert capsys.readouterr().out.splitlines() == promised


def test_the_python_code_runs(pages, tiny_ckpt, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.symlink(tiny_ckpt, "multi_cased_L-12_H-768_A-12")
    names: dict[str, object] = {}
    for block in by_language(pages["docs/python.md"])["python"]:
        exec(compile(block, "python.md", "exec"), names)
    assert os.path.exists("encoder.keras")
    assert os.path.exists("my_bert/bert_model.ckpt.index")
    shapes = [tuple(output.shape) for output in names["outputs"]]
    assert shapes == [(1, names["inputs"]["token_input"].shape[1], 1000), (1, 2)]


def test_code_for_keras_bert_gives_what_the_tasks_give(pages, request, monkeypatch, capsys):
    """Its rows are padded to 512, and its probabilities are of the dense model."""
    monkeypatch.chdir(request.config.rootpath)
    names: dict[str, object] = {}
    old, new = by_language(pages["docs/keras-bert.md"])["python"]
    exec(compile(old, "old", "exec"), names)
    words = names["words"]
    exec(compile(new, "new", "exec"), names)
    assert words == names["words"]
    assert len(words) == 2
    okay = re.findall(r"^Sentence is okay: \d+ %$", capsys.readouterr().out, re.MULTILINE)
    assert len(okay) == 2
    assert okay[0] == okay[1]


@pytest.mark.slow
def test_the_python_code_of_the_docs_runs(pages, tiny_ckpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in by_language(pages["docs/classification.md"])["python"]:
        block = block.replace('"demo_multi_cased"', repr(str(tiny_ckpt)))
        exec(compile(block, "classification.md", "exec"), names)
    assert names["classifier"].classes_.tolist() == ["bad", "good"]
    for folder in ("review_model", "review_keras_model"):
        assert os.path.exists(f"{folder}/classifier.json")
    assert os.path.exists("reviews.keras")


def test_the_output_shown_is_the_output_printed(blocks, request, monkeypatch, capsys):
    monkeypatch.chdir(request.config.rootpath)
    sessions = re.split(r"^\$ ", "".join(blocks["console"]), flags=re.MULTILINE)[1:]
    assert len(set(sessions)) == 11
    for session in sorted(set(sessions)):
        command, shown = session.split("\n", 1)
        program = next(program for program in COMMANDS if command.startswith(program))
        arguments = shlex.split(command.removeprefix(program))
        assert main([*filter(None, [COMMANDS[program]]), *arguments]) == 0
        printed = capsys.readouterr().out
        assert words(printed) == words(shown)
        assert numbers(printed) == pytest.approx(numbers(shown), abs=0.011)


def words(text: str) -> list[str]:
    """The text without numbers and bars, which may differ in the last place."""
    return re.sub(r"\d+\.\d+|[▏▎▍▌▋▊▉█]", "", text).split()


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def test_every_make_target_shown_exists(pages, request):
    makefile = (request.config.rootpath / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    commands = "\n".join(by_language(pages["README.md"])["sh"])
    shown = re.findall(r"^make ([\w-]+)", commands, re.MULTILINE)
    assert {"test", "slow-test", "lint"} <= set(shown)
    assert set(shown) <= targets


def test_every_option_shown_exists(blocks, monkeypatch, capsys, tmp_path):
    """Each example parses, and stops only because there is no such checkpoint."""
    monkeypatch.setenv("BERT_TF_CHECKPOINT", "no-such-checkpoint")
    monkeypatch.setattr(store, "_stores", lambda: [(str(tmp_path), True)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    seen = 0
    for line in "\n".join(blocks["sh"]).splitlines():
        for program, command in COMMANDS.items():
            if line.startswith(program) and not any(
                word in line for word in ("--input", "bert_tf download", "bert_tf list")
            ):
                arguments = shlex.split(line.removeprefix(program), comments=True)
                assert main([*filter(None, [command]), *arguments]) == 2
                error = capsys.readouterr().err
                assert any(name in error for name in ("no-such-checkpoint", *arguments))
                seen += 1
    assert seen >= 6


def test_every_command_shown_parses(blocks):
    """Those of the test above stop at the checkpoint; the others would need data to run at all."""
    parser, seen = build_parser(), set()
    for line in "\n".join(blocks["sh"]).replace("\\\n", "").splitlines():
        for program, command in (COMMANDS | OTHERS).items():
            if line.startswith(program):
                arguments = shlex.split(line.removeprefix(program), comments=True)
                parser.parse_args([*filter(None, [command]), *arguments])
                seen.add(program)
    assert seen == {*COMMANDS, *OTHERS}


def test_every_link_leads_to_a_file_and_a_heading(pages, request):
    root = request.config.rootpath
    others = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
    for path in (*pages, *others):
        for link in LINK.findall((root / path).read_text(encoding="utf-8")):
            if "://" in link:
                continue
            name, _, heading = link.partition("#")
            target = (root / path).parent / name if name else root / path
            assert target.exists(), f"{path}: {link}"
            if heading:
                assert heading in headings(target), f"{path}: {link}"


def headings(path: pathlib.Path) -> set[str]:
    """The headings of a page as links name them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
