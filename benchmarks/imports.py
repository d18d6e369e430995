"""Which of the package's files a command needs: those imported, and those in which code ran.

    python benchmarks/imports.py                 # a mask, a pair, a CSV row and a line of a corpus
    python benchmarks/imports.py mask "a [MASK]" # any command

A file counts as executed when a function or a class body in it ran, not when it was only imported.
The graph of the model is kept on disk from the second run on, as it is for a user.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bert_tf"

# Runs in a process of its own, and writes what it saw when the command ends.
CHILD = """
import json, os, sys, threading
package, report, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
seen = set()
def note(frame, event, _):
    if event == "call":
        code = frame.f_code
        if code.co_name != "<module>" and code.co_filename.startswith(package):
            seen.add(code.co_filename)
threading.setprofile(note)
sys.setprofile(note)
from bert_tf.cli.main import main
try:
    code = main(arguments)
except SystemExit as error:
    code = error.code
sys.setprofile(None)
modules = sorted(n for n in sys.modules if n.split(".")[0] == "bert_tf")
with open(report, "w") as file:
    json.dump({"exit": code, "executed": sorted(seen), "imported": modules}, file)
os._exit(0)
"""


def measure(arguments: list[str], cwd: str, backend: str) -> dict:
    """What a command executed and imported, in a process of its own."""
    report = os.path.join(cwd, "report.json")
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CHILD, str(PACKAGE), report, *arguments]
    subprocess.run(
        command, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return json.loads(pathlib.Path(report).read_text(encoding="utf-8"))


def cases(folder: str) -> dict[str, list[str]]:
    """The commands by name; what they need is put into the folder."""
    pathlib.Path(folder, "rows.csv").write_text(
        "text,label\n" + "".join(f"some words {i},{'ab'[i % 2]}\n" for i in range(40)), "utf-8"
    )
    pathlib.Path(folder, "one.csv").write_text("text\nsome words\n", "utf-8")
    pathlib.Path(folder, "line.txt").write_text("A line of a corpus.\n", "utf-8")
    vocab = str(ROOT / "checkpoints/demo_multi_cased/vocab.txt")
    tokenize = ["tokenize", "--input_file", "line.txt", "--vocab_file", vocab]
    return {
        "mask": ["mask", "She opened the [MASK]."],
        "nsp": ["nsp", "She opened the door.", "There was nobody."],
        "csv": ["classify", "--model", "model", "--predict", "one.csv"],
        "corpus": [*tokenize, "--do_lower_case=False", "--output_dir", "corpus"],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:]:
            print(json.dumps(measure(sys.argv[1:], folder, "openvino"), indent=1))
            return
        found = cases(folder)
        train = ["classify", "--train", "rows.csv", "--num_train_epochs", "1", "--nodo_eval"]
        train += ["--output_dir", "model", "--init_checkpoint"]
        measure([*train, str(ROOT / "tests/golden/tiny_ckpt")], folder, "tensorflow")
        for name, arguments in found.items():
            measure(arguments, folder, "openvino")  # fills the cache
            if name == "corpus":
                arguments = [*arguments[:-1], "corpus2"]
            seen = measure(arguments, folder, "openvino")
            assert seen["exit"] == 0, (name, seen["exit"])
            counts = {part: len(seen[part]) for part in ("executed", "imported")}
            print(json.dumps({"command": name, **counts}))


if __name__ == "__main__":
    main()
