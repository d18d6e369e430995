"""From the shell to the answer: whole processes, ours with and without what they keep on disk."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from contenders import ROOT, Contender, WorkerError

TEXT = "Nobody answered the [MASK] before noon."


@dataclasses.dataclass(frozen=True)
class Start:
    """One way to an answer.

    Args:
        name: e.g. `openvino-float32`, with `-no-cache` where nothing may be kept.
        title: for tables.
        precision: `"float32"` or `"bfloat16"`.
        command: what a user would type.
        environment: set for it in addition.
    """

    name: str
    title: str
    precision: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def starts(contenders: list[Contender], folders: dict[str, str], caches: Path) -> list[Start]:
    """Ours and Hugging Face's of the contenders; ours in float32 without caches too."""
    found = []
    for contender in contenders:
        precision = contender.precision
        if contender.kind == "hugging_face":
            script = str(ROOT / "benchmarks" / "hf_mask.py")
            arguments = (folders["hugging_face"], TEXT, "--dtype", precision, "--top-k", "150")
            found.append(Start(contender.name, contender.title, precision, (script, *arguments)))
        elif contender.kind == "ours":
            arguments = ("--checkpoint", folders["checkpoint"], "--backend", contender.backend)
            script = str(ROOT / "run_mask.py")
            command = (script, *arguments, "--precision", precision, "--json", TEXT)
            warm = (("BERT_TF_CACHE", str(caches)),)
            found.append(Start(contender.name, contender.title, precision, command, warm))
            if precision == "float32":
                title = f"{contender.title}, no caches"
                off = (("BERT_TF_CACHE", "0"),)
                found.append(Start(f"{contender.name}-no-cache", title, precision, command, off))
    return found


def run(start: Start, log: Path) -> tuple[float, int, str]:
    """Runs a process to its end.

    Returns:
        Seconds, the most memory it had (bytes, resident), and what it printed.

    Raises:
        WorkerError: it ended with another code than 0.
    """
    environment = {**os.environ, **dict(start.environment)}
    with open(log, "wb") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *start.command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            encoding="utf-8",
        )
        assert process.stdout is not None
        with process.stdout as pipe:
            printed = pipe.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise WorkerError(start.name, process.returncode, log)
    return seconds, usage.ru_maxrss * 1024, printed


def guesses(start: Start, printed: str, offerable: dict[str, bool]) -> list[tuple[str, float]]:
    """The five best words that a process printed, special tokens left out."""
    found = json.loads(printed.splitlines()[-1])
    if isinstance(found, dict):
        found = [[guess["word"], guess["probability"]] for guess in found["masks"][0]["guesses"]]
    return [(word, p) for word, p in found if offerable.get(word, False)][:5]


def agree(expected: list[tuple[str, float]], found: list[tuple[str, float]], limit: float) -> bool:
    """Whether the best words are the same, or equally probable ones."""
    if len(expected) != len(found):
        return False
    difference = np.log([p for _, p in expected]) - np.log([p for _, p in found])
    words = {word for word, _ in expected} & {word for word, _ in found}
    return bool(np.abs(difference).max() <= limit) and (limit > 1e-2 or len(words) >= 4)
