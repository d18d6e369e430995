"""`Bert`: one loaded BERT, its models on shared weights, and the way back into a checkpoint."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf import backend
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.checkpoint.names import PARTS, Weight, weights_of
from bert_tf.checkpoint.report import LoadReport
from bert_tf.config import BertConfig
from bert_tf.errors import BertError
from bert_tf.models.heads import ClassifierLayout, Heads
from bert_tf.runtime import profile
from bert_tf.text import BertTokenizer, Vocabulary

if TYPE_CHECKING:
    import keras

    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.models.encoder import BertEncoder
    from bert_tf.models.parts import BertLayers
    from bert_tf.runtime.predictor import Predictor


MODELS: dict[str, tuple[str, ...]] = {
    "encoder": (),
    "pretraining": ("pooler", "mlm", "nsp"),
    "mlm": ("mlm",),
    "nsp": ("pooler", "nsp"),
    "classifier": ("classifier",),
    "sentence": (),
    "span": ("span",),
}
"""The models by name, and the heads that each needs; the pooler as well where its head or its
pooling wants it."""


def _build(name: str, layers: BertLayers, options: Mapping[str, Any]) -> keras.Model:
    from bert_tf.models import builders

    model = name if name in ("encoder", "classifier") else f"{name}_model"
    return getattr(builders, f"build_{model}")(layers, **options)


class Bert:
    """A BERT read from a checkpoint: its config, vocabulary, tokenizer and Keras models.

    Made by `bert_tf.load`. All models share one set of weights, so that fine-tuning one changes
    the others; they depend no more on the files.

    Attributes:
        name: the release's name, e.g. `multi_cased_L-12_H-768_A-12`.
        config: the architecture, a `BertConfig`.
        vocab: the `Vocabulary`.
        lower_case: whether text is lower-cased.
        heads: which heads it has.
        classifier: the labels and the rest that a classifier's weights do not tell; None if it
            has no classifier.
        task: the same for another head that was trained on labels; None without one.
        precision: what predictions are computed in; None follows the layers' dtype.
        report: the `LoadReport`.
        carried: tensors that `save` writes besides the weights, by their original name.
    """

    task: ClassifierInfo | None = None

    def __init__(
        self,
        *,
        name: str,
        config: BertConfig,
        vocab: Vocabulary,
        lower_case: bool,
        heads: Heads,
        weights: dict[str, np.ndarray],
        dtype: Any,
        precision: str | None,
        report: LoadReport,
        stored_dtypes: dict[str, np.dtype],
        carried: dict[str, np.ndarray],
        classifier: ClassifierInfo | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.vocab = vocab
        self.lower_case = lower_case
        self.heads = heads
        self.classifier = classifier
        self.precision = precision
        self._weights = weights
        self._dtype = dtype
        self.report = report
        self.carried = carried
        self._stored_dtypes = stored_dtypes

    def __repr__(self) -> str:
        heads = [part for part in PARTS if part != "encoder" and self.has(part)]
        return (
            f"<Bert {self.name}: {self.config.num_hidden_layers} layers x "
            f"{self.config.hidden_size}, {len(self.vocab):,} pieces, "
            f"{'lower-cased' if self.lower_case else 'cased'}, {' + '.join(['encoder', *heads])}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and `copy` take: the present weights, in memory of their own, no models.

        Keras's layers cannot be pickled; the receiver makes new ones when they are first needed.
        """
        from bert_tf.models.weights import value_at

        if "layers" in self.__dict__ or self.report.fresh:
            layers = self.layers.by_name()
            weights = {
                weight.original: value_at(layers[weight.layer], weight.attribute)
                for weight in self._names()
            }
        else:
            weights = self._weights
        made_later = {n for n, x in vars(Bert).items() if isinstance(x, cached_property)}
        kept = {name: value for name, value in vars(self).items() if name not in made_later}
        own = {name: np.array(value, order="C") for name, value in weights.items()}
        return {**kept, "_weights": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Variables take the memory over, and change it: joblib may give views of a file.
        weights = {
            name: value if type(value) is np.ndarray and value.flags.writeable else np.array(value)
            for name, value in state["_weights"].items()
        }
        vars(self).update({**state, "_weights": weights})

    def has(self, part: str) -> bool:
        """Whether the model has a part: `pooler`, `mlm`, `nsp`, `classifier`, ... or `span`."""
        return part == "encoder" or bool(getattr(self.heads, part))

    @cached_property
    def tokenizer(self) -> BertTokenizer:
        """Google's tokenizer; "[MASK]" in a text is split like any other text."""
        return BertTokenizer(self.vocab, self.lower_case)

    @cached_property
    def mask_tokenizer(self) -> BertTokenizer:
        """The same, but `[MASK]`, `[SEP]` and `[CLS]` in a text stay whole."""
        return BertTokenizer(self.vocab, self.lower_case, special_tokens=True)

    @cached_property
    def layers(self) -> BertLayers:
        """The `BertLayers` that every model is built on; made when first asked for."""
        from bert_tf.models.parts import BertLayers
        from bert_tf.models.weights import assign, variable_at

        with profile.phase("build"):
            layers = BertLayers(self.config, self.heads, self._dtype)
            layers.build(fresh=self.report.fresh)
            by_name = layers.by_name()
            for weight in self._names():
                if weight.original in self._weights:
                    variable = variable_at(by_name[weight.layer], weight.attribute)
                    # Popped: from here on the variable is the one place of the weight.
                    assign(variable, self._weights.pop(weight.original))
        return layers

    @cached_property
    def encoder(self) -> BertEncoder:
        """The encoder as a keras-hub `BertBackbone`, on the same weights."""
        from bert_tf.models.encoder import BertEncoder

        return BertEncoder.from_layers(self.layers)

    def encoder_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_encoder`."""
        return _build("encoder", self.layers, options)

    def pretraining_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_pretraining_model`."""
        return _build("pretraining", self.layers, options)

    def mlm_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_mlm_model`."""
        return _build("mlm", self.layers, options)

    def nsp_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_nsp_model`."""
        return _build("nsp", self.layers, options)

    def classifier_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_classifier`."""
        return _build("classifier", self.layers, options)

    def sentence_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_sentence_model`."""
        return _build("sentence", self.layers, options)

    def span_model(self, **options: Any) -> keras.Model:
        """See `bert_tf.models.build_span_model`."""
        return _build("span", self.layers, options)

    def predictor(
        self,
        model: keras.Model | str,
        *,
        values: Mapping[str, np.ndarray] | None = None,
        **options: Any,
    ) -> Predictor:
        """A compiled model in this BERT's precision: numpy arrays in, numpy arrays out.

        Args:
            model: a functional Keras model; or which of this BERT's: `"encoder"`,
                `"pretraining"`, `"mlm"`, `"nsp"`, `"classifier"`, `"sentence"` or `"span"`. By
                name it starts faster on OpenVINO, whose graph may be kept from an earlier time.
            values: weights to set that no checkpoint holds, by `layer.attribute`.
            options: of the model, by name.

        Raises:
            BertError: there is no such model, or the checkpoint lacks what it needs.
        """
        from bert_tf.runtime.predictor import Predictor

        if not isinstance(model, str):
            return Predictor(model, self.precision)
        if model not in MODELS:
            raise BertError(f"there is no model {model!r}; there are {', '.join(MODELS)}.")
        needed = self._needed(model, options)
        untouched = "layers" not in self.__dict__ and not self.report.fresh
        if backend.current() == "openvino" and untouched and self._dtype in (None, "float32"):
            from bert_tf.runtime.graph_predictor import GraphPredictor

            return GraphPredictor(
                lambda layers: _build(model, layers, options),
                f"{model} {sorted(options.items())}",
                self.config,
                needed,
                self._weights,
                values or {},
                self.precision,
            )
        built = _build(model, self.layers, options)
        for path, value in (values or {}).items():
            layer, _, attribute = path.partition(".")
            getattr(built.get_layer(layer), attribute).assign(value)
        return Predictor(built, self.precision)

    def _needed(self, model: str, options: Mapping[str, Any]) -> Heads:
        """The heads that a model uses.

        Raises:
            BertError: one of them is not there.
        """
        used = set(MODELS[model])
        if model == "classifier":
            self.heads.require_classifier()
            pooling = self.heads.layout.pooling
        elif model == "encoder":
            pooling = "pooled" if options.get("pooler", self.heads.pooler) else ""
        else:
            pooling = options.get("pooling", "pooled") if model == "sentence" else ""
        if pooling == "pooled":
            used.add("pooler")
        self.heads.require(*used)
        return Heads(
            pooler="pooler" in used,
            mlm="mlm" in used,
            nsp="nsp" in used,
            classifier=self.heads.classifier if "classifier" in used else None,
            span="span" in used,
            layout=self.heads.layout if "classifier" in used else ClassifierLayout(),
        )

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """The weights by their original name, laid out as in a checkpoint, one at a time."""
        from bert_tf.models.weights import value_at

        layers = self.layers.by_name()
        for weight in self._names():
            value = value_at(layers[weight.layer], weight.attribute)
            yield weight.original, value.T if weight.transpose else value

    def take_weights(self, model: keras.Model) -> None:
        """Takes over the weights of a model of the same architecture, such as a loaded `.keras`.

        What the model does without, the pooler of a classifier on the mean, say, stays.

        Args:
            model: made by one of this BERT's kind, its layers called as they were.

        Raises:
            BertError: it lacks the encoder or a head of this BERT's that is no pooler, or a
                weight is of another shape; nothing is changed then.
        """
        from bert_tf.models.weights import assign, value_at, variable_at

        theirs = {layer.name: layer for layer in model.layers}
        mine = self.layers.by_name()
        found = []
        for weight in self._names():
            if weight.layer not in theirs:
                if weight.part == "pooler":
                    continue
                raise BertError(
                    f"the model {model.name} has no layer {weight.layer}; give one that was made "
                    f"by a BERT like this, {self!r}."
                )
            value = value_at(theirs[weight.layer], weight.attribute)
            variable = variable_at(mine[weight.layer], weight.attribute)
            if value.shape != tuple(variable.shape):
                raise BertError(
                    f"{weight.layer} of the model {model.name} is of the shape "
                    f"{list(value.shape)}, but here it is {list(variable.shape)}."
                )
            found.append((variable, value))
        for variable, value in found:
            assign(variable, np.array(value, order="C"))

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

        tensors = itertools.chain(
            ((name, self._as_stored(name, value)) for name, value in self.weights()),
            self.carried.items(),
        )
        write_release(
            folder,
            self.config,
            self.vocab.raw,
            tensors,
            dtype=dtype,
            overwrite=overwrite,
            files={info.file_name: info.to_json() for info in (self.classifier, self.task) if info},
        )

    def _names(self) -> list[Weight]:
        return weights_of(self.config, self.heads.parts, self.heads.classifier)

    def _as_stored(self, name: str, value: np.ndarray) -> np.ndarray:
        """The value in the type it was stored in if that changes no bit of it, else float32."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            stored = value.astype(self._stored_dtypes.get(name, np.dtype("float32")))
            unchanged = np.array_equal(stored.astype(value.dtype), value, equal_nan=True)
        return stored if unchanged else value.astype(np.float32)
