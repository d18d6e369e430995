"""What the README shows is what happens."""

import os
import re
import shlex

import pytest

from bert_tf.cli.main import main
from bert_tf.hub import store

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = {
    "python run_mask.py": "mask",
    "python run_nsp.py": "nsp",
    "python -m bert_tf": "",
}


@pytest.fixture(scope="module")
def readme(request) -> dict[str, list[str]]:
    """The README's blocks of code by language."""
    blocks: dict[str, list[str]] = {}
    text = (request.config.rootpath / "README.md").read_text(encoding="utf-8")
    for language, block in BLOCK.findall(text):
        blocks.setdefault(language, []).append(block)
    return blocks


def test_the_python_code_runs(readme, tiny_ckpt, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.symlink(tiny_ckpt, "multi_cased_L-12_H-768_A-12")
    names: dict[str, object] = {}
    for block in readme["python"]:
        exec(compile(block, "README.md", "exec"), names)
    assert os.path.exists("encoder.keras")
    assert os.path.exists("my_bert/bert_model.ckpt.index")
    shapes = [tuple(output.shape) for output in names["outputs"]]
    assert shapes == [(1, names["inputs"]["token_input"].shape[1], 1000), (1, 2)]


@pytest.mark.slow
def test_the_python_code_of_the_docs_runs(request, tiny_ckpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (request.config.rootpath / "docs" / "classification.md").read_text(encoding="utf-8")
    code = [block for language, block in BLOCK.findall(text) if language == "python"]
    names: dict[str, object] = {}
    for block in code:
        block = block.replace('"demo_multi_cased"', repr(str(tiny_ckpt)))
        exec(compile(block, "classification.md", "exec"), names)
    assert names["classifier"].classes_.tolist() == ["bad", "good"]
    for folder in ("review_model", "review_keras_model"):
        assert os.path.exists(f"{folder}/classifier.json")
    assert os.path.exists("reviews.keras")


def test_the_output_shown_is_the_output_printed(readme, request, monkeypatch, capsys):
    monkeypatch.chdir(request.config.rootpath)
    assert len(readme["console"]) == 8
    for block in readme["console"]:
        command, shown = block.removeprefix("$ ").split("\n", 1)
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


def test_every_make_target_shown_exists(readme, request):
    makefile = (request.config.rootpath / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    shown = re.findall(r"^make ([\w-]+)", "\n".join(readme["sh"]), re.MULTILINE)
    assert {"test", "slow-test", "lint"} <= set(shown)
    assert set(shown) <= targets


def test_every_option_shown_exists(readme, monkeypatch, capsys, tmp_path):
    """Each example parses, and stops only because there is no such checkpoint."""
    monkeypatch.setenv("BERT_TF_CHECKPOINT", "no-such-checkpoint")
    monkeypatch.setattr(store, "_stores", lambda: [(str(tmp_path), True)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    seen = 0
    for line in "\n".join(readme["sh"]).splitlines():
        for program, command in COMMANDS.items():
            if line.startswith(program) and not any(
                word in line for word in ("--input", "download")
            ):
                arguments = shlex.split(line.removeprefix(program), comments=True)
                assert main([*filter(None, [command]), *arguments]) == 2
                error = capsys.readouterr().err
                assert any(name in error for name in ("no-such-checkpoint", *arguments))
                seen += 1
    assert seen >= 6
