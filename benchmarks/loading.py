"""How long a checkpoint of multi_cased's size takes to load, and how much memory that costs.

    python benchmarks/make_checkpoint.py benchmarks/out/multi_cased_random
    python benchmarks/loading.py benchmarks/out/multi_cased_random

Every figure comes from processes of their own, ours and TensorFlow's reader in turn, with the
file in the page cache. A process first touches and frees 2 GB, because a virtual machine hands
out memory that it has never used before at a tenth of the usual speed, whoever asks for it.
Under two minutes in all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

OURS = """
import json, os, sys, threading, time
os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = sys.argv[2], "3"
import numpy as np, keras, bert_tf, bert_tf.models
from bert_tf import loading
from bert_tf.checkpoint import CheckpointReader, locate
from bert_tf.heads import weights_of
from bert_tf.models import BertLayers, Heads

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

np.ones(2 << 27)  # touched and freed
from bert_tf.models.weights import saved_weights

files = locate(sys.argv[1])
np.array(keras.ops.ones(3))  # the backend is up
config = bert_tf.BertConfig.from_file(files.config_path)
wanted = weights_of(config, ("encoder", "pooler", "mlm", "nsp"))
base = peak = anonymous()
done = threading.Event()

def watch():
    global peak
    while not done.is_set():
        peak = max(peak, anonymous())
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
layers = BertLayers(config, Heads(mlm=True, nsp=True))
layers.build()
built = time.perf_counter()
with CheckpointReader(files.prefix) as reader:
    size = sum(info.nbytes for info in reader.tensors.values())
    arrays = loading.read_weights(reader, wanted)
for saved in saved_weights(layers):
    saved.assign(arrays.pop(saved.name), copy=False)
assigned = time.perf_counter()
peak = max(peak, anonymous())
done.set()
print(json.dumps({
    "build_s": built - start,
    "read_check_assign_s": assigned - built,
    "weights_mb": size / 1e6,
    "peak_over_weights": (peak - base) / size,
}))
"""

TENSORFLOW = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
from bert_tf.checkpoint import locate
np.ones(2 << 27)
prefix = locate(sys.argv[1]).prefix
start = time.perf_counter()
reader = tf.train.load_checkpoint(prefix)
for name in reader.get_variable_to_shape_map():
    reader.get_tensor(name)
print(json.dumps({"read_s": time.perf_counter() - start}))
"""


def measure(script: str, *arguments: str) -> dict[str, float]:
    """Runs a script in a process of its own; its last line of output is JSON."""
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr[-2000:])
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    """Prints the medians, and with --json one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="folder of a checkpoint, see make_checkpoint.py")
    parser.add_argument("--backends", default="tensorflow,jax,openvino")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    args = parser.parse_args()
    backends = args.backends.split(",")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*backends, "reader")}
    for _ in range(args.runs):
        for backend in backends:
            found[backend].append(measure(OURS, args.checkpoint, backend))
        found["reader"].append(measure(TENSORFLOW, args.checkpoint))
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in found.items()
    }
    if args.json:
        print(json.dumps(medians))
        return
    print("| | build | read, check, assign | peak anonymous memory / weights |")
    print("|---|---|---|---|")
    for backend in backends:
        m = medians[backend]
        print(
            f"| {backend} | {m['build_s']:.2f} s | {m['read_check_assign_s']:.2f} s "
            f"| {m['peak_over_weights']:.2f} |"
        )
    print(f"| TensorFlow's reader alone | | {medians['reader']['read_s']:.2f} s | |")


if __name__ == "__main__":
    main()
