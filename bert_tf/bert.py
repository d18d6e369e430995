"""`Bert`: one loaded BERT, its models on shared weights, and the way back into a checkpoint."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
from collections.abc import Iterator, Mapping
from functools import cache, partialmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf import backend
from bert_tf.backend import made_once, making
from bert_tf.checkpoint.dtypes import FLOATS, refuse_unsound
from bert_tf.checkpoint.names import LoadReport, check_shapes, labels_in, parts_in
from bert_tf.config import INFO_NAME, BertConfig
from bert_tf.errors import BertError
from bert_tf.files.log import warn
from bert_tf.heads import MODELS
from bert_tf.models.layout import ClassifierLayout, Heads
from bert_tf.runtime import profile
from bert_tf.runtime.predictor import Predictor
from bert_tf.text import BertTokenizer, Vocabulary, infer_casing

if TYPE_CHECKING:
    import keras

    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.models.encoder import BertEncoder
    from bert_tf.models.parts import BertLayers

_PREDICT = (
    "on OpenVINO a Keras model's own predict computes in bfloat16 where the processor has it, 0.1 "
    "off in hidden states, and Keras has no setting for it; Bert.predictor computes in float32."
)
_warn_once = cache(warn)


def build(builder: str, layers: BertLayers, options: Mapping[str, Any]) -> keras.Model:
    """Builds a model by a path such as `"heads.mlm:build_mlm_model"`, see `bert_tf.heads`."""
    module, _, function = builder.partition(":")
    return getattr(importlib.import_module(f"bert_tf.models.{module}"), function)(layers, **options)


def fit_vocab(
    config: BertConfig, vocab: Vocabulary, allow_short: bool = True
) -> tuple[Vocabulary, tuple[str, ...]]:
    """A vocabulary, cut where blank lines alone have no row in the table; and warnings.

    Raises:
        BertError: it is longer than the word-embedding table, or too short and that is not allowed.
    """
    rows, pieces = config.vocab_size, f"{vocab.source} has {len(vocab):,} tokens"
    if len(vocab) > rows and not any(vocab.pieces[rows:]):
        vocab = Vocabulary.from_lines(vocab.pieces[:rows], vocab.source)
    meant = "" if len(vocab) > rows else "; or, if it is meant, `allow_short_vocab=True`"
    if len(vocab) > rows or (len(vocab) < rows - 128 and not allow_short):  # more than padding
        raise BertError(
            f"{pieces}, but the model's word-embedding table has {'only ' * (not meant)}{rows:,} "
            f"rows (vocab_size): it is another model's vocabulary. Pass the vocab.txt that belongs "
            f"to this model (`vocab`){meant}."
        )
    few = f"{pieces} for a table of {rows:,} rows; the rows without a token are unused."
    return vocab, (few,) if len(vocab) < rows else ()


def know_classifier(
    heads: Heads, info: ClassifierInfo | None, where: str
) -> tuple[Heads, ClassifierInfo | None]:
    """Gives the classifier its layout, and its labels where no more than their number is known.

    Raises:
        BertError: `classifier.json` and the weights do not fit each other.
    """
    if not heads.classifier:
        return heads, None
    if info is None:
        from bert_tf.checkpoint.classifier_info import ClassifierInfo

        info = ClassifierInfo.of_unknown(heads.classifier, heads.layout)
    elif info.num_outputs != heads.classifier:
        raise BertError(
            f"{INFO_NAME} does not fit {where}: it has {info.num_outputs} labels, the weights "
            f"(output_weights) have {heads.classifier}. Take the two from the same folder."
        )
    return dataclasses.replace(heads, layout=ClassifierLayout.of(info)), info


def layers_dtype(precision: str | None) -> str | None:
    """The dtype of layers that predict in a precision."""
    # OpenVINO narrows by itself when it compiles, from weights in float32.
    on_openvino = precision is not None and backend.current() == "openvino"
    return "float32" if on_openvino else precision


class Bert:
    """A BERT: its config, vocabulary, tokenizer and Keras models.

    Made by `bert_tf.load` or `Bert.from_weights`. All models share one set of weights: fine-tuning
    one changes the others. Files and arrays are not needed any more.

    Args:
        config: the architecture, a `BertConfig`.
        vocab: the `Vocabulary`.
        weights: float arrays by the original's names, laid out as in a checkpoint and as
            `bert.weights()` gives them. What the model has no variable for is left out.
        heads: a `Heads`; a head without any weight given starts from random numbers. Left out: the
            heads that weights are given of.
        name: the release's name, e.g. `multi_cased_L-12_H-768_A-12`.
        lower_case: whether text is lower-cased; inferred when left out.
        classifier: the labels and the rest that a classifier's weights do not tell; None if it
            has no classifier.
        task: the same for another head that was trained on labels; None without one.
        dtype: the Keras dtype policy of the layers; see `bert_tf.load`.
        precision: what predictions are computed in; None follows the layers' dtype.
        copy: False lets the model take over the memory of the arrays, and change it.
        report: the `LoadReport` of a checkpoint that the weights come from.
        stored_dtypes: the types by name in which `save` writes weights that have not changed.
        carried: tensors that `save` writes in addition to the weights, by their original name.

    Attributes:
        config, vocab, heads, name, lower_case, classifier, task, precision, report, carried: as
            above.

    Raises:
        BertError: a weight is missing or of another shape than the config says, the vocabulary
            is longer than the word-embedding table, or `classifier` does not fit.

    Example:
        >>> again = Bert.from_weights(bert.config, bert.vocab, dict(bert.weights()))
        ... # doctest: +SKIP
    """

    task: ClassifierInfo | None = None  # in pickles of 0.1.0, which lack it

    def __init__(
        self,
        config: BertConfig,
        vocab: Vocabulary,
        weights: Mapping[str, np.ndarray],
        *,
        heads: Heads | None = None,
        name: str = "bert",
        lower_case: bool | None = None,
        classifier: ClassifierInfo | None = None,
        task: ClassifierInfo | None = None,
        dtype: Any = None,
        precision: str | None = None,
        copy: bool = True,
        report: LoadReport | None = None,
        stored_dtypes: dict[str, np.dtype] | None = None,
        carried: dict[str, np.ndarray] | None = None,
    ) -> None:
        vocab, warnings = fit_vocab(config, vocab)
        if lower_case is None:
            lower_case, casing = infer_casing(name, vocab)
            warnings += (casing,) if casing else ()
        shapes = {name: np.shape(value) for name, value in weights.items()}
        found = parts_in(shapes)
        if heads is None:
            names = found - {"encoder"}
            heads = Heads.of(names, labels_in(shapes, names), complete=False)
        heads, classifier = know_classifier(heads, classifier, "the weights")
        fresh = tuple(part for part in heads.parts if part not in {*found, "encoder"})
        wanted = [one for one in heads.weights(config) if one.part not in fresh]
        lacking = check_shapes(wanted, shapes, "the weights", "the config")
        if lacking:
            raise BertError(f"the weights lack {', '.join(lacking[:8])}.")
        kind = FLOATS[dtype if dtype in FLOATS else "float32"]
        own: dict[str, np.ndarray] = {}
        for one in wanted:
            value = one.turned(weights[one.original])
            own[one.original] = np.array(value, kind, order="C", copy=copy or None)
        unused = tuple(one for one in shapes if one not in own)
        self.name, self.config, self.vocab, self.lower_case = name, config, vocab, lower_case
        self.heads, self.classifier, self.task = heads, classifier, task
        self.precision, self._weights = precision, own
        self._dtype = layers_dtype(precision) if dtype is None else dtype
        read = tuple(sorted(own))
        self.report = report or LoadReport(name, read, (), unused, (), fresh, (), warnings)
        self.carried, self._stored_dtypes = carried or {}, stored_dtypes or {}

    @classmethod
    def from_weights(
        cls,
        config: BertConfig,
        vocab: Vocabulary,
        weights: Mapping[str, np.ndarray],
        **options: Any,
    ) -> Bert:
        """A BERT from arrays, without a file; takes what `Bert` takes."""
        return cls(config, vocab, weights, **options)

    def __repr__(self) -> str:
        return (
            f"<Bert {self.name}: {self.config.num_hidden_layers} layers x "
            f"{self.config.hidden_size}, {len(self.vocab):,} tokens, "
            f"{'lower-cased' if self.lower_case else 'cased'}, {' + '.join(self.heads.parts)}>"
        )

    @making()
    def __getstate__(self) -> dict[str, Any]:
        """What pickle and `copy` take: the present weights, in memory of their own, no models.

        Keras's layers cannot be pickled: the receiver makes new ones.
        """
        from bert_tf.models.weights import values

        weights = self._weights
        if "layers" in self.__dict__ or self.report.fresh:
            weights = {weight.original: weight.turned(x) for weight, x in values(self.layers)}
        made_later = {n for n, x in vars(Bert).items() if isinstance(x, made_once)}
        kept = {n: x for n, x in vars(self).items() if n not in made_later}
        return {**kept, "_weights": {n: np.array(x, order="C") for n, x in weights.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Variables take the memory over, and change it: joblib may give views of a file.
        weights = {
            name: value if type(value) is np.ndarray and value.flags.writeable else np.array(value)
            for name, value in state["_weights"].items()
        }
        vars(self).update({**state, "_weights": weights})

    def has(self, part: str) -> bool:
        """Whether the model has a part: `pooler`, `mlm`, `nsp`, `classifier`, ... or `span`."""
        return part == "encoder" or self.heads.has(part)

    @made_once
    def tokenizer(self) -> BertTokenizer:
        """Google's tokenizer; "[MASK]" in a text is split like any other text."""
        return BertTokenizer(self.vocab, self.lower_case)

    @made_once
    def mask_tokenizer(self) -> BertTokenizer:
        """The same, but `[MASK]`, `[SEP]` and `[CLS]` in a text stay whole."""
        return BertTokenizer(self.vocab, self.lower_case, special_tokens=True)

    @made_once
    def layers(self) -> BertLayers:
        """The `BertLayers` that every model is built on; made when first asked for."""
        from bert_tf.models.parts import BertLayers
        from bert_tf.models.weights import assign, saved_weights

        backend.computing()
        with profile.phase("build"):
            layers = BertLayers(self.config, self.heads, self._dtype)
            layers.build(fresh=self.report.fresh)
            for saved in saved_weights(layers):
                if saved.name in self._weights:
                    # Popped: from here on the variable is the one place of the weight.
                    assign(saved.variable, self._weights.pop(saved.name))
        return layers

    @made_once
    def encoder(self) -> BertEncoder:
        """The encoder as a keras-hub `BertBackbone`, on the same weights."""
        from bert_tf.models.encoder import BertEncoder

        _warn_once(_PREDICT if backend.current() == "openvino" else None)
        return BertEncoder.from_layers(self.layers)

    @making()
    def model(self, name: str, **options: Any) -> keras.Model:
        """A functional model on this BERT's weights, with the options of its builder.

        It is called `"encoder"`, `"pretraining"`, `"mlm"`, `"nsp"`, `"classifier"`, `"sentence"`,
        `"span"` or another of `bert_tf.heads.MODELS`; the builders are in `bert_tf.models`.

        Raises:
            BertError: there is no such model, or the checkpoint lacks what it needs.
        """
        self.heads.of_model(name, options)
        _warn_once(_PREDICT if backend.current() == "openvino" else None)
        return build(MODELS[name].builder, self.layers, options)

    encoder_model = partialmethod(model, "encoder")
    pretraining_model = partialmethod(model, "pretraining")
    mlm_model = partialmethod(model, "mlm")
    nsp_model = partialmethod(model, "nsp")
    classifier_model = partialmethod(model, "classifier")
    sentence_model = partialmethod(model, "sentence")
    span_model = partialmethod(model, "span")
    """Each takes the options of its builder in `bert_tf.models`: `build_encoder`,
    `build_pretraining_model`, `build_mlm_model`, `build_nsp_model`, `build_classifier`,
    `build_sentence_model` and `build_span_model`."""

    @making()
    def predictor(
        self,
        model: keras.Model | str,
        *,
        values: Mapping[str, np.ndarray] | None = None,
        **options: Any,
    ) -> Predictor:
        """A compiled model in this BERT's precision: numpy arrays in, numpy arrays out.

        Args:
            model: a functional Keras model, or the name of one of this BERT's, see `model`, which
                starts faster on OpenVINO: its graph is kept.
            values: weights to set that no checkpoint holds, by `layer.attribute`.
            options: of the model, by name.

        Raises:
            BertError: there is no such model, or the checkpoint lacks what it needs, or has NaN.
        """
        if not isinstance(model, str):
            return Predictor(model, self.precision)
        needed = self.heads.of_model(model, options)
        bad = [x.original for x in needed.weights(self.config) if x.original in self.report.unsound]
        refuse_unsound(bad, self.name)
        untouched = "layers" not in self.__dict__ and not self.report.fresh
        if backend.current() == "openvino" and untouched and self._dtype in (None, "float32"):
            from bert_tf.runtime.openvino import GraphPredictor

            recipe = f"{model} {sorted(options.items())}"
            data = self.config, needed, self._weights, values or {}, self.precision
            builder = MODELS[model].builder
            return GraphPredictor(lambda layers: build(builder, layers, options), recipe, *data)
        built = build(MODELS[model].builder, self.layers, options)
        for path, value in (values or {}).items():
            layer, _, attribute = path.partition(".")
            getattr(built.get_layer(layer), attribute).assign(value)
        return Predictor(built, self.precision)

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """The weights by their original name, laid out as in a checkpoint, one at a time."""
        from bert_tf.models.weights import values

        return ((weight.original, value) for weight, value in values(self.layers))

    def take_weights(self, model: keras.Model) -> None:
        """Takes over the weights of a model of the same architecture, such as a loaded `.keras`.

        It was made by a BERT of this kind, its layers called as they were. What it does without,
        the pooler of a classifier on the mean, say, stays.

        Raises:
            BertError: it lacks the encoder or a head of this BERT's that is no pooler, or a
                weight is of another shape; nothing is changed then.
        """
        from bert_tf.models.weights import copy_from

        copy_from(self.layers, model, repr(self))
        self.report = dataclasses.replace(self.report, unsound=())

    def save(
        self, folder: str | os.PathLike[str], *, dtype: str | None = None, overwrite: bool = False
    ) -> None:
        """Writes `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*` that Google's code reads.

        With a classifier also `classifier.json`, which has its labels; with another head that was
        trained on labels `task.json`.

        Args:
            folder: where to; made if it does not exist.
            dtype: `"float32"`, `"float16"` or `"bfloat16"` for all weights. Left out, each weight
                keeps the type it was stored in if no value changes by that (so an untouched
                model comes out bit for bit), else it becomes float32.
            overwrite: replace such files if they exist.

        Raises:
            BertError: the files exist, cannot be written, or a value does not fit into `dtype`.
        """
        from bert_tf.checkpoint.release import write_release

        weights = ((name, self._as_stored(name, value)) for name, value in self.weights())
        tensors = itertools.chain(weights, self.carried.items())
        files = {info.file_name: info.to_json() for info in (self.classifier, self.task) if info}
        write_release(
            folder,
            self.config,
            self.vocab.raw,
            tensors,
            dtype=dtype,
            overwrite=overwrite,
            files=files,
        )

    def _as_stored(self, name: str, value: np.ndarray) -> np.ndarray:
        """The value in the type it was stored in if that changes no bit of it, else float32."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            stored = value.astype(self._stored_dtypes.get(name, np.dtype("float32")))
            unchanged = np.array_equal(stored.astype(value.dtype), value, equal_nan=True)
        return stored if unchanged else value.astype(np.float32)
