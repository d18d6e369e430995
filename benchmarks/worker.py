"""A process that holds one engine and runs one step at a time; started by `contenders`.

    python benchmarks/worker.py '{"kind": "ours", "backend": "openvino", ...}'

One JSON object a line on stdin, one on stdout for each; the first reply, without a question,
says that the engine is loaded. What libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

PACKAGES = {
    "ours": ("keras", "keras-hub"),
    "hugging_face": ("transformers", "torch"),
    "hugging_face_gathered": ("transformers", "torch"),
    "hugging_face_by_length": ("transformers", "torch"),
    "onnxruntime": ("onnxruntime",),
    "raw_openvino": ("openvino",),
}


def random_batch(rows: int, length: int, pieces: int, special: list[int]) -> Any:
    """Rows without padding, the same in every process: [CLS], random pieces, [SEP]."""
    import numpy as np

    rng = np.random.default_rng(rows * 1000 + length)
    ids = rng.integers(1, pieces, (rows, length)).astype(np.int32)
    ids[:, 0], ids[:, -1] = special
    segments = np.zeros_like(ids)
    segments[:, length // 2 :] = 1
    return ids, segments


def padded(ids: Any, segments: Any) -> Any:
    """The same with ever more of the end padded from row to row."""
    ids, segments = ids.copy(), segments.copy()
    rows, length = ids.shape
    for row in range(rows):
        end = length - row * length // (2 * rows)
        ids[row, end:] = segments[row, end:] = 0
    return ids, segments


def timed(step: Callable[[], Any], repeat: int) -> list[float]:
    """Seconds of each of several runs."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_memory() -> int:
    """The most that this process ever had in memory, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def answer(engine: Any, question: dict[str, Any]) -> dict[str, Any]:
    """Does what a line asks for."""
    do = question["do"]
    if do == "fill":
        texts = question["texts"]
        return {"seconds": timed(lambda: engine.fill(texts), question["repeat"])}
    if do == "answers":
        return {"answers": engine.answers(engine.fill(question["texts"], question["top_k"]))}
    if do == "memory":
        return {"bytes": peak_memory()}
    rows, length = question["shape"]
    inputs = random_batch(rows, length, question["pieces"], question["special"])
    if do == "encode":
        batch = engine.prepare(*inputs)
        return {"seconds": timed(lambda: engine.encode(batch), question["repeat"])}
    if do == "hidden":
        import numpy as np

        hidden, pooled = engine.encode(engine.prepare(*padded(*inputs)))
        np.savez(question["path"], hidden=hidden, pooled=pooled)
        return {"path": question["path"]}
    raise ValueError(f"no such step: {do}")


def versions(kind: str, backend: str) -> dict[str, str]:
    """Versions of the packages that do the work."""
    names = [*PACKAGES[kind], *([backend] if kind == "ours" else [])]
    return {name: metadata.version(name) for name in names}


def serve(
    make: Callable[..., Any], answer: Callable[[Any, dict[str, Any]], dict[str, Any]]
) -> None:
    """Loads the engine that the command line tells of, then answers lines until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = json.loads(sys.argv[1])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    start = time.perf_counter()
    engine = make(**spec)
    loaded = time.perf_counter() - start
    reply({"load_s": loaded, "versions": versions(spec["kind"], spec["backend"])})
    for line in sys.stdin:
        reply(answer(engine, json.loads(line)))


def main() -> None:
    """Serves the engines that answer."""
    import engines

    serve(engines.make, answer)


if __name__ == "__main__":
    main()
