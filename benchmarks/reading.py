"""How long reading a checkpoint takes, and how much memory: `loading.py`, and Hugging Face."""

from __future__ import annotations

import loading

HUGGING_FACE = """
import json, os, sys, threading, time
os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np, torch, transformers
transformers.utils.logging.disable_progress_bar()

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

np.ones(2 << 27)  # touched and freed
model_class = transformers.BertForPreTraining
torch.ones(3).numpy()
base = peak = anonymous()
done = threading.Event()

def watch():
    global peak
    while not done.is_set():
        peak = max(peak, anonymous())
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
model = model_class.from_pretrained(sys.argv[1])
total = 0.0
for parameter in model.parameters():  # its pages are in a mapped file until they are used
    total += float(parameter.sum())
read = time.perf_counter() - start
peak = max(peak, anonymous())
done.set()
size = sum(parameter.numel() * 4 for parameter in model.parameters())
print(json.dumps({"seconds": read, "memory": peak - base}))
"""


def measure(name: str, folders: dict[str, str]) -> tuple[float, int | None]:
    """Seconds to a model with all weights in memory, and bytes beyond an unloaded process.

    Args:
        name: one of our backends, `hugging_face`, or `reader` for TensorFlow's reader, which
            reads every tensor and makes no model.
        folders: where the weights lie.
    """
    if name == "hugging_face":
        found = loading.measure(HUGGING_FACE, folders["hugging_face"])
        return found["seconds"], int(found["memory"])
    if name == "reader":
        return loading.measure(loading.TENSORFLOW, folders["checkpoint"])["read_s"], None
    found = loading.measure(loading.OURS, folders["checkpoint"], name)
    memory = found["peak_over_weights"] * found["weights_mb"] * 1e6
    return found["build_s"] + found["read_check_assign_s"], int(memory)
