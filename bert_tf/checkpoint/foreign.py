"""Tells what a file or folder is that is no checkpoint in the original format, and what to do."""

from __future__ import annotations

import contextlib
import os

from bert_tf.checkpoint.table import has_footer
from bert_tf.config import other_architecture
from bert_tf.errors import BertError
from bert_tf.files.reading import head_of, read_object, stand_in

_NO_ORIGINAL = (
    "bert_tf reads Google's original format: bert_config.json, vocab.txt and "
    "bert_model.ckpt.index with its bert_model.ckpt.data-* files. "
)
_ADVICE = {
    "hdf5": "is an HDF5 file (Keras weights, or Hugging Face's tf_model.h5). " + _NO_ORIGINAL,
    "keras": f"is a Keras file. {_NO_ORIGINAL}Open a .keras file that bert_tf saved with `import "
    "bert_tf, keras; keras.saving.load_model(path)`; or pass the checkpoint it came from.",
    "pytorch": f"holds PyTorch weights (Hugging Face). {_NO_ORIGINAL}Download the original release "
    "of the same model, or write it in that format first (transformers has a script, "
    "convert_bert_pytorch_checkpoint_to_original_tf.py).",
    "safetensors": "holds weights in the safetensors format (Hugging Face). " + _NO_ORIGINAL,
    "flax": "holds Flax weights (Hugging Face). " + _NO_ORIGINAL,
    "savedmodel": f"is a TensorFlow SavedModel, a graph and not a checkpoint. {_NO_ORIGINAL}"
    "Pass the checkpoint it was exported from.",
    "v1": f"is a checkpoint of TensorFlow's old single-file format (V1). {_NO_ORIGINAL}Rewrite it "
    "with TensorFlow: restore it with tf.compat.v1.train.Saver, save with Saver(write_version=2).",
    "archive": "is a packed archive that bert_tf does not open (only .zip). Unpack it and pass "
    "the folder.",
    "onnx": "is an ONNX model. " + _NO_ORIGINAL,
}

_KINDS = {
    "hdf5": ".h5 .hdf5",
    "keras": ".keras",
    "safetensors": ".safetensors",
    "flax": ".msgpack",
    "pytorch": ".bin .pt .pth",
    "onnx": ".onnx",
    "savedmodel": ".pb",
    "archive": ".tgz .tar .gz .7z .xz",
}
_SUFFIXES = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
_WEIGHTS = (".h5", ".keras", ".safetensors", ".msgpack", ".bin", ".pt", ".pth", ".onnx", ".ckpt")


def describe(path: str) -> str | None:
    """What the file or folder is, if it is something known that is not ours, and what to do.

    A clause to put after the path ("is a Git-LFS pointer ..."), or None. The content decides; the
    name only where the content says nothing.
    """
    if not os.path.isdir(path):
        return _advice(path)
    with contextlib.suppress(BertError):
        values = read_object(os.path.join(path, "config.json"))  # Hugging Face's
        if named := other_architecture([values.get("model_type")]):
            return named
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return None
    # The variables of a SavedModel are a checkpoint by format, but its names are not BERT's.
    parent, own_name = os.path.split(os.path.abspath(path))
    variables = own_name == "variables" and os.path.isfile(os.path.join(parent, "saved_model.pb"))
    if variables or not {"saved_model.pb", "saved_model.pbtxt"}.isdisjoint(names):
        return _ADVICE["savedmodel"]
    for name in names:
        # A .ckpt may be V1.
        if name.endswith(_WEIGHTS) and (advice := _advice(os.path.join(path, name))):
            return f"holds {name}, which {advice}"
    return None


def _advice(path: str) -> str | None:
    return stand_in(path) or _ADVICE.get(_kind(path) or "")


def _kind(path: str) -> str | None:
    head = head_of(path)
    if head.startswith(b"\x89HDF\r\n"):
        return "hdf5"
    if head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"\xfd7zXZ")) or head[257:262] == b"ustar":
        return "archive"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32:
        return "safetensors"  # the size of a JSON header in 8 bytes, then the header
    if has_footer(path):
        # V1 puts index and weights into one table; V2's table is always named `.index`.
        return None if path.endswith(".index") else "v1"
    return _SUFFIXES.get(os.path.splitext(path)[1].lower())


def _zip_kind(path: str) -> str | None:
    """Keras and PyTorch files are zips as well; a packed release is None."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return None
    if "model.weights.h5" in names and "config.json" in names:
        return "keras"
    if any(name.endswith("/data.pkl") for name in names):
        return "pytorch"
    return None
