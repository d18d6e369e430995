"""What the machine is: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
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
