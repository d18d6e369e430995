"""Checkpoint, config and vocabulary become one `Bert`."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.bert import Bert, fit_vocab, know_classifier, layers_dtype
from bert_tf.checkpoint import CheckpointReader, allocate, is_training_state
from bert_tf.checkpoint.dtypes import FLOATS, is_number
from bert_tf.checkpoint.names import LoadReport, check_shapes, labels_in, parts_in
from bert_tf.config import INFO_NAME, TASK_NAME, BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.files.reading import read_object
from bert_tf.heads import HEADS, RELEASED, TITLES, Weight, check_names, weights_of
from bert_tf.hub.locate import locate
from bert_tf.models.layout import Heads
from bert_tf.options import LABELS
from bert_tf.runtime import profile
from bert_tf.runtime.predictor import check_precision
from bert_tf.text import Vocabulary, infer_casing

if TYPE_CHECKING:
    from bert_tf.checkpoint.classifier_info import ClassifierInfo

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
    allow_short_vocab: bool = False,
) -> Bert:
    """Reads a checkpoint in Google's original format into a `Bert`.

    Args:
        path: a folder, a prefix (`.../bert_model.ckpt`), its `.index` or `.data-*` file, or a
            `.zip` as Google ships it.
        config: `bert_config.json` or a `BertConfig`, if it does not lie with the checkpoint.
        vocab: `vocab.txt` or a `Vocabulary`, likewise.
        lower_case: whether text is lower-cased; inferred, and logged, when left out.
        hidden_act: overrides the config's; `"gelu_exact"` for a checkpoint that was converted
            from Hugging Face and says `gelu`.
        precision: `"float32"` or `"bfloat16"`, what predictions are computed in. On TensorFlow
            and JAX the weights are then held in it too.
        dtype: instead of `precision`, the Keras dtype policy of the layers, e.g.
            `"mixed_bfloat16"` for training: computes in bfloat16 on float32 weights.
        new_heads: heads to make with random weights: `"pooler"`, `"mlm"`, `"nsp"`,
            `"classifier"` (and with it `"classifier_hidden"`, for two dense layers), `"span"`.
        num_labels: labels of a new classifier, which are called by their numbers.
        parts: read the encoder and only these parts; all that the file holds when left out.
        slots: keep Adam's slots and `global_step` for `Bert.save`, in `Bert.carried`.
        extra: likewise keep the tensors that the model has no place for, other than text.
        verify: check each tensor's checksum.
        allow_short_vocab: take a vocabulary that has over 128 tokens fewer than the word-embedding
            table has rows: as a rule it is another model's, and the answers are nonsense.

    Raises:
        BertError: a file is missing, damaged or does not fit the others; the message says which
            and what to do.
    """
    _check_heads(new_heads, num_labels, parts)
    check_precision(precision)
    if precision is not None and dtype is not None:
        raise BertError("pass precision=... for prediction or dtype=... for training, not both.")
    dtype = layers_dtype(precision) if dtype is None else dtype
    config_path, need_config = (None, False) if isinstance(config, BertConfig) else (config, True)
    vocab_path, need_vocab = (None, False) if isinstance(vocab, Vocabulary) else (vocab, True)
    with locate(
        path, config_path, vocab_path, need_config=need_config, need_vocab=need_vocab
    ) as files:
        # `locate` gives None only for what it need not find.
        if not isinstance(config, BertConfig):
            config = BertConfig.from_file(files.config_path or "")
        if not isinstance(vocab, Vocabulary):
            vocab = Vocabulary.load(files.vocab_path or "")
            vocab.source = files.named(vocab.source)
        config_where = str(files.config_path or "the config passed")
        if hidden_act is not None:
            config = config.replace(hidden_act=hidden_act)
        vocab, unfit = fit_vocab(config, vocab, allow_short_vocab)
        odd = warn(*files.warnings, *vocab.warnings, *unfit)
        info, task = _info(files.prefix, INFO_NAME), _info(files.prefix, TASK_NAME)
        known = [one.lower_case for one in (info, task) if one and one.lower_case is not None]
        if lower_case is None and known:
            lower_case = known[0]  # whatever the folder is called
        else:
            lower_case, casing = infer_casing(files.display_name, vocab, lower_case)
            odd += (casing,) if casing else ()
        with CheckpointReader(files.prefix, verify=verify) as reader:
            reader.name = files.named(files.prefix)
            shapes = {name: info.shape for name, info in reader.tensors.items()}
            types, *_ = shapes.get("bert/embeddings/token_type_embeddings") or [0]
            if need_config and types and "type_vocab_size" not in read_object(config_where):
                lacks = f"{config_where} has no type_vocab_size; the weights have {types}."
                odd += warn(files.named(lacks))
                config = config.replace(type_vocab_size=types)
            heads, missing = _choose_heads(shapes, new_heads, num_labels, parts)
            if "classifier" in new_heads:
                info = None
            else:
                odd += warn(_classifier_warning(heads, info))
            heads, info = know_classifier(heads, info, files.prefix)
            if task is not None and not getattr(heads, task.head, None):
                odd += warn(f"{TASK_NAME} was not used: there is no head to it ({task.head}).")
                task = None
            present = [part for part in heads.parts if part not in new_heads]
            wanted = weights_of(config, present, heads.labels)
            lacking = check_shapes(wanted, shapes, files.prefix, config_where)
            if lacking:
                raise BertError(_lacking_message(files.prefix, lacking, shapes, wanted))
            with profile.phase("read"):
                weights = read_weights(reader, wanted, dtype if dtype in FLOATS else "float32")
            others = [name for name in shapes if name not in weights]
            slot_names = tuple(filter(is_training_state, others))
            unused = tuple(itertools.filterfalse(is_training_state, others))
            kept = (*(slot_names if slots else ()), *(unused if extra else ()))
            text = [name for name in kept if not is_number(reader.tensors[name].dtype)]
            if text:
                what = (
                    f"not kept, as a release has numbers only: {', '.join(text)} in {reader.name}"
                )
                odd += warn(f"{what} (text, as of a TensorFlow 2 checkpoint, or an unknown type)")
                kept = tuple(name for name in kept if name not in text)
            carried = {name: np.array(reader.read(name)) for name in kept}
            fates = slot_names, unused, tuple(missing), tuple(new_heads), kept, odd
            report = LoadReport(reader.name, tuple(sorted(weights)), *fates, tuple(reader.unsound))
            stored_dtypes = {name: reader.tensors[name].dtype for name in weights}
        return Bert.from_weights(
            config,
            vocab,
            weights,
            heads=heads,
            name=files.display_name,
            lower_case=lower_case,
            classifier=info,
            dtype=dtype,
            precision=precision,
            copy=False,
            report=report,
            stored_dtypes=stored_dtypes,
            carried=carried,
            task=task,
        )


def _classifier_warning(heads: Heads, info: ClassifierInfo | None) -> str | None:
    """What is worth saying of a file's classifier and its `classifier.json`, if one is missing."""
    count = heads.classifier
    if (count is None) == (info is None):
        return None
    if count is None:
        return f"{INFO_NAME} was not used: there is no classifier's head to it."
    names = f"its {count} labels are called by their numbers where no names are given"
    tells = names if count > 1 else "its output is taken for a number"
    return f"There is no {INFO_NAME} with the classifier's weights: {tells}."


def _info(prefix: str, name: str) -> ClassifierInfo | None:
    if not os.path.exists(os.path.join(os.path.dirname(prefix), name)):
        return None  # the usual case; its module is not imported for that
    from bert_tf.checkpoint.classifier_info import ClassifierInfo

    return ClassifierInfo.in_folder(prefix, name)


def _check_heads(
    new_heads: Collection[str], num_labels: int | None, parts: Collection[str] | None
) -> None:
    if isinstance(new_heads, str) or isinstance(parts, str):
        raise BertError("new_heads and parts are lists of names, e.g. new_heads=['nsp'].")
    check_names([*new_heads, *(parts or ())])
    if num_labels is not None:
        LABELS.check("num_labels", num_labels)
    sized = [name for name in new_heads if HEADS[name].sized]
    if bool(sized) != (num_labels is not None):
        name = (*sized, "classifier")[0]
        raise BertError(
            f"a new {name} needs both new_heads=[{name!r}] and its number of labels, "
            "e.g. num_labels=2."
        )


def _choose_heads(
    shapes: dict[str, tuple[int, ...]],
    new_heads: Collection[str],
    num_labels: int | None,
    parts: Collection[str] | None,
) -> tuple[Heads, list[str]]:
    """Which heads the model gets, and which it does without because the file lacks them."""
    found = parts_in(shapes) - {"encoder"}
    wanted = (found if parts is None else found & {*parts}) | {*new_heads}
    for name, head in HEADS.items():
        if head.of and name not in new_heads:
            # It goes with the head that it is a part of: both from the file, or both new.
            old = head.of in wanted and head.of not in new_heads
            wanted = wanted - {name} | (found & {name} if old else set())
    lacking = [part for part in parts or () if part not in wanted]
    if lacking:
        raise BertError(
            f"the checkpoint has no {' and no '.join(TITLES[part] for part in lacking)}. Ask "
            f"for a fresh, untrained one with new_heads={lacking!r}."
        )
    labels = labels_in(shapes, wanted - {*new_heads})
    if num_labels is not None:
        labels |= {name: num_labels for name in new_heads if HEADS[name].sized}
    missing = [part for part in RELEASED[1:] if part not in found | {*new_heads}]
    return Heads.of(wanted, labels, complete=False), missing


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
    parts = {weight.part for weight in wanted if weight.original in lacking}
    advice = (
        "If the config says more layers than the model has, pass the right one (`config`)."
        if "encoder" in parts
        else f"To start this head from random weights: new_heads={sorted(parts)!r}."
    )
    return f"{prefix} lacks {len(lacking)} of the weights its config promises: {some}. {advice}"


def read_weights(
    reader: CheckpointReader, wanted: list[Weight], dtype: str = "float32"
) -> dict[str, np.ndarray]:
    """Reads and checks tensors, two at a time, into memory that a backend can take over.

    They come by the original's names, laid out as in the checkpoint, and are cast where they are
    stored as another type: `"float32"`, `"bfloat16"` or `"float16"`.

    Raises:
        BertError: a tensor is damaged.
    """

    def read(weight: Weight) -> np.ndarray:
        value = allocate(weight.shape, FLOATS[dtype])
        reader.read_into(weight.original, value)
        return value

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip((weight.original for weight in wanted), pool.map(read, wanted)))
