"""What the machine is: figures mean nothing without it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "bert_tf",
    "keras",
    "keras-hub",
    "tensorflow",
    "openvino",
    "jax",
    "numpy",
    "tokenizers",
    "torch",
    "transformers",
    "accelerate",
    "onnxruntime",
    "onnx",
)
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


def _lines(path: str) -> dict[str, str]:
    """The first value of each `key : value` line of a file of /proc."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def package_versions() -> dict[str, str]:
    """The versions of what is installed of `PACKAGES`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


MULTIPLY = """
import json, sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
found = {}
for name in ("float32", "bfloat16"):
    a = torch.randn(1024, 768).to(getattr(torch, name))
    b = torch.randn(768, 3072).to(getattr(torch, name))
    best, end = float("inf"), time.perf_counter() + 2
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    found[name] = 2 * 1024 * 768 * 3072 / best
print(json.dumps(found))
"""


def multiplication_rate(threads: int) -> dict[str, float]:
    """The best that PyTorch's matrix products reach here, in operations a second, by precision.

    With the shapes of BERT-Base's largest product. No encoder can be much faster than that. Empty
    where PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        return {}
    command = [sys.executable, "-c", MULTIPLY, str(threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(result.stdout) if result.returncode == 0 else {}


def processor_seconds() -> dict[str, float]:
    """Seconds that all processors worked, were taken by the host, and worked for us, so far.

    For us: this process and those of its children that have ended.
    """
    own = os.times()
    found = {"own": own.user + own.system + own.children_user + own.children_system}
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return found
    ticks = [int(value) / os.sysconf("SC_CLK_TCK") for value in first]
    return {**found, "busy": ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], "host": ticks[7]}


def disturbance(before: dict[str, float], seconds: float) -> dict[str, float]:
    """The shares of the processors' time that other processes and the host took since then."""
    now = processor_seconds()
    if "busy" not in before or "busy" not in now:
        return {}
    total = seconds * (os.cpu_count() or 1)
    passed = {key: now[key] - before[key] for key in before}
    others = max(0.0, passed["busy"] - passed["own"])
    return {"others": others / total, "host": passed["host"] / total}


def describe() -> dict[str, Any]:
    """Processor, cores, memory, load, system and packages."""
    cpu, memory = _lines("/proc/cpuinfo"), _lines("/proc/meminfo")
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    family = " ".join(
        f"{key} {cpu[key]}" for key in ("cpu family", "model", "stepping") if key in cpu
    )
    has_affinity = hasattr(os, "sched_getaffinity")
    kilobytes = memory.get("MemTotal", "0 kB").split()[0]
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cpu_detail": family,
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gb": round(int(kilobytes) / 1e6, 1),
        "virtual": "hypervisor" in flags,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "packages": package_versions(),
    }
