"""Checkpoint, config and vocabulary become one `Bert`."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Collection
from typing import Any

import numpy as np

from bert_tf import backend
from bert_tf.bert import Bert
from bert_tf.checkpoint import CheckpointReader, allocate, is_training_state, locate
from bert_tf.checkpoint.classifier_info import INFO_NAME, TASK_NAME, ClassifierInfo
from bert_tf.checkpoint.dtypes import FLOATS
from bert_tf.checkpoint.names import PARTS, Weight, check_shapes, parts_in, weights_of
from bert_tf.checkpoint.report import LoadReport
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.models.heads import ClassifierLayout, Heads
from bert_tf.runtime import profile
from bert_tf.runtime.predictor import check_precision
from bert_tf.text import Vocabulary, infer_casing

Path = str | os.PathLike[str]


def load(
    path: Path,
    *,
    config: Path | BertConfig | None = None,
    vocab: Path | Vocabulary | None = None,
    lower_case: bool | None = None,
    hidden_act: str | None = None,
    precision: str | None = None,
    dtype: Any = None,
    new_heads: Collection[str] = (),
    num_labels: int | None = None,
    parts: Collection[str] | None = None,
    slots: bool = False,
    extra: bool = False,
    verify: bool = True,
) -> Bert:
    """Reads a checkpoint in Google's original format.

    Args:
        path: a folder, a prefix (`.../bert_model.ckpt`), its `.index` or `.data-*` file, or a
            `.zip` as Google ships it.
        config: `bert_config.json` or a `BertConfig`, if it does not lie beside the checkpoint.
        vocab: `vocab.txt` or a `Vocabulary`, if it does not lie beside the checkpoint.
        lower_case: whether text is lower-cased; inferred, with a remark, when left out.
        hidden_act: overrides the config's; `"gelu_exact"` for a checkpoint that was converted
            from Hugging Face and says `gelu`.
        precision: `"float32"` or `"bfloat16"`, what predictions are computed in. On TensorFlow
            and JAX the weights are then held in it too.
        dtype: instead of `precision`, the Keras dtype policy of the layers, e.g.
            `"mixed_bfloat16"` for training: computes in bfloat16 on float32 weights.
        new_heads: heads to make with random weights: `"pooler"`, `"mlm"`, `"nsp"`,
            `"classifier"` (and with it `"classifier_hidden"`, for two dense layers), `"span"`.
        num_labels: labels of a new classifier, which are called by their numbers.
        parts: read only these parts besides the encoder; all that the file holds when left out.
        slots: keep Adam's slots and `global_step` for `Bert.save`, in `Bert.carried`.
        extra: likewise keep the tensors that the model has no place for.
        verify: check each tensor's checksum.

    Returns:
        A `Bert`.

    Raises:
        BertError: a file is missing, damaged or does not fit the others; the message says which
            and what to do.
    """
    _check_heads(new_heads, num_labels, parts)
    check_precision(precision)
    if precision is not None and dtype is not None:
        raise BertError("pass precision=... for prediction or dtype=... for training, not both.")
    if precision is not None:
        # OpenVINO narrows by itself when it compiles, from weights in float32.
        dtype = "float32" if backend.current() == "openvino" else precision
    config_path = None if isinstance(config, BertConfig) else config
    vocab_path = None if isinstance(vocab, Vocabulary) else vocab
    with locate(
        path,
        config_path,
        vocab_path,
        need_config=not isinstance(config, BertConfig),
        need_vocab=not isinstance(vocab, Vocabulary),
    ) as files:
        if not isinstance(config, BertConfig):
            config = BertConfig.from_file(_found(files.config_path))
        if not isinstance(vocab, Vocabulary):
            vocab = Vocabulary.load(_found(files.vocab_path))
        config_where = str(files.config_path or "the config passed")
        if hidden_act is not None:
            config = config.replace(hidden_act=hidden_act)
        remarks = [*files.remarks, *vocab.remarks, *_check_vocab(config, vocab)]
        info = ClassifierInfo.beside(files.prefix)
        task = ClassifierInfo.beside(files.prefix, TASK_NAME)
        known = [one.lower_case for one in (info, task) if one and one.lower_case is not None]
        if lower_case is None and known:
            lower_case = known[0]  # whatever the folder is called
        else:
            lower_case, remark = infer_casing(files.display_name, vocab, lower_case)
            remarks += [remark] if remark else []
        with CheckpointReader(files.prefix, verify=verify) as reader:
            shapes = {name: info.shape for name, info in reader.tensors.items()}
            heads, missing = _choose_heads(shapes, new_heads, num_labels, parts)
            heads, info = _know_classifier(heads, info, new_heads, files.prefix, remarks)
            if task is not None and not getattr(heads, task.head, None):
                remarks.append(f"{TASK_NAME} was not used: there is no head to it ({task.head}).")
                task = None
            present = [part for part in heads.parts if part not in new_heads]
            wanted = weights_of(config, present, heads.classifier)
            lacking = check_shapes(wanted, shapes, files.prefix, config_where)
            if lacking:
                raise BertError(_lacking_message(files.prefix, lacking, shapes, wanted))
            with profile.phase("read"):
                weights = read_weights(reader, wanted, dtype if dtype in FLOATS else "float32")
            names = set(weights)
            slot_names = tuple(n for n in shapes if n not in names and is_training_state(n))
            unused = tuple(n for n in shapes if n not in names and not is_training_state(n))
            kept = (*(slot_names if slots else ()), *(unused if extra else ()))
            carried = {name: np.array(reader.read(name)) for name in kept}
            report = LoadReport(
                checkpoint=files.prefix,
                read=tuple(sorted(names)),
                slots=slot_names,
                unused=unused,
                missing=tuple(missing),
                fresh=tuple(new_heads),
                kept=kept,
                remarks=tuple(remarks),
            )
            stored_dtypes = {name: reader.tensors[name].dtype for name in names}
        bert = Bert(
            name=files.display_name,
            config=config,
            vocab=vocab,
            lower_case=lower_case,
            heads=heads,
            weights=weights,
            dtype=dtype,
            precision=precision,
            report=report,
            stored_dtypes=stored_dtypes,
            carried=carried,
            classifier=info,
        )
        bert.task = task
        return bert


def _know_classifier(
    heads: Heads,
    info: ClassifierInfo | None,
    new_heads: Collection[str],
    prefix: str,
    remarks: list[str],
) -> tuple[Heads, ClassifierInfo | None]:
    """Gives the classifier its layout and its labels.

    Raises:
        BertError: `classifier.json` and the weights do not fit each other.
    """
    if heads.classifier is None:
        if info is not None:
            remarks.append(f"{INFO_NAME} was not heeded: there is no classifier's head to it.")
        return heads, None
    if "classifier" in new_heads:
        info = ClassifierInfo.of_unknown(heads.classifier)
        info = dataclasses.replace(info, dense_layers=heads.layout.dense_layers)
    elif info is None:
        info = ClassifierInfo.of_unknown(heads.classifier)
        info = dataclasses.replace(info, dense_layers=heads.layout.dense_layers)
        tells = (
            f"its {heads.classifier} labels are called by their numbers where no names are given"
            if info.labels
            else "what it tells is taken for a number"
        )
        remarks.append(f"There is no {INFO_NAME} beside the classifier's weights: {tells}.")
    elif info.num_outputs != heads.classifier:
        raise BertError(
            f"{INFO_NAME} does not fit {prefix}: it has {info.num_outputs} labels, the weights "
            f"(output_weights) have {heads.classifier}. Take the two from the same folder."
        )
    layout = ClassifierLayout(info.task, info.pooling, info.dense_layers, info.dropout)
    return dataclasses.replace(heads, layout=layout), info


def _found(path: str | None) -> str:
    """`locate` gives None only for what it was told not to need."""
    assert path is not None
    return path


def _check_heads(
    new_heads: Collection[str], num_labels: int | None, parts: Collection[str] | None
) -> None:
    if isinstance(new_heads, str) or isinstance(parts, str):
        raise BertError("new_heads and parts are lists of names, e.g. new_heads=['nsp'].")
    for name in (*new_heads, *(parts or ())):
        if name not in PARTS or name == "encoder":
            raise BertError(
                f"there is no head {name!r}; heads are "
                + ", ".join(part for part in PARTS if part != "encoder")
                + "."
            )
    if ("classifier" in new_heads) != (num_labels is not None):
        raise BertError(
            "a new classifier needs both new_heads=['classifier'] and its number of labels, "
            "e.g. num_labels=2."
        )


def _check_vocab(config: BertConfig, vocab: Vocabulary) -> list[str]:
    """The vocabulary must not be longer than the table; one that is shorter is remarked on."""
    if len(vocab) > config.vocab_size:
        raise BertError(
            f"{vocab.source} has {len(vocab):,} pieces, but the model's word-embedding table has "
            f"only {config.vocab_size:,} rows (vocab_size): it is another model's vocabulary. "
            f"Pass the vocab.txt that belongs to this checkpoint (vocab=..., --vocab)."
        )
    if len(vocab) < config.vocab_size:
        return [
            f"{vocab.source} has {len(vocab):,} pieces for a table of {config.vocab_size:,} rows; "
            f"the ids without a piece are never offered as answers."
        ]
    return []


def _choose_heads(
    shapes: dict[str, tuple[int, ...]],
    new_heads: Collection[str],
    num_labels: int | None,
    parts: Collection[str] | None,
) -> tuple[Heads, list[str]]:
    """Which heads the model gets, and which it does without because the file lacks them."""
    found = parts_in(shapes)
    wanted = {part for part in found if parts is None or part in parts} | set(new_heads)
    # The hidden layer goes with the last one: both from the file, or both new.
    wanted -= {"classifier_hidden"} - set(new_heads)
    if "classifier" in wanted and "classifier" not in new_heads:
        wanted |= found & {"classifier_hidden"}
    if parts is not None:
        lacking = [part for part in parts if part not in wanted]
        if lacking:
            raise BertError(
                f"the checkpoint has no {' and no '.join(PARTS[part] for part in lacking)}. Ask "
                f"for a fresh, untrained one with new_heads={lacking!r}."
            )
    heads: dict[str, Any] = {name: name in wanted for name in ("pooler", "mlm", "nsp", "span")}
    heads["classifier"] = None
    if "classifier" in new_heads:
        heads["classifier"] = num_labels
    elif "classifier" in wanted:
        shape = shapes.get("output_weights", shapes.get("output_bias", ()))
        if not shape:
            raise BertError("output_weights in the checkpoint has no axis of labels.")
        heads["classifier"] = shape[0]
    if "classifier_hidden" in wanted and heads["classifier"]:
        heads["layout"] = ClassifierLayout(dense_layers=2)
    missing = [part for part in ("pooler", "mlm", "nsp") if part not in found | set(new_heads)]
    return Heads(**heads), missing


def _lacking_message(
    prefix: str, lacking: list[str], shapes: dict[str, Any], wanted: list[Weight]
) -> str:
    some = ", ".join(lacking[:8]) + (f" and {len(lacking) - 8} more" if len(lacking) > 8 else "")
    if not any(weight.original in shapes for weight in wanted):
        names = ", ".join(list(shapes)[:5])
        return (
            f"{prefix} is a TensorFlow checkpoint, but not of the original BERT: it holds {names}"
            f"{', ...' if len(shapes) > 5 else ''}, and none of {some}."
        )
    parts = {weight.part for weight in wanted if weight.original in lacking} - {"encoder"}
    advice = (
        f" To start this head anew with random weights: new_heads={sorted(parts)!r}."
        if parts and len(parts) == len({w.part for w in wanted if w.original in lacking})
        else " If the config says more layers than the model has, pass the right one (config=...)."
    )
    return f"{prefix} lacks {len(lacking)} of the weights that its config promises: {some}.{advice}"


def read_weights(
    reader: CheckpointReader, wanted: list[Weight], dtype: str = "float32"
) -> dict[str, np.ndarray]:
    """Reads and checks tensors, two at a time, into memory that a backend can take over.

    Args:
        reader: an open checkpoint.
        wanted: which weights.
        dtype: `"float32"`, `"bfloat16"` or `"float16"`; what is stored otherwise is cast.

    Returns:
        Arrays by the original's names, laid out as Keras has them.

    Raises:
        BertError: a tensor is damaged.
    """

    def read(weight: Weight) -> np.ndarray:
        value = allocate(weight.shape, FLOATS[dtype])
        reader.read_into(weight.original, value)
        if weight.transpose:
            turned = allocate(value.T.shape, value.dtype)
            turned[...] = value.T
            return turned
        return value

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        arrays = list(pool.map(read, wanted))
    return dict(zip((weight.original for weight in wanted), arrays, strict=True))
