"""The checkpoints that Google released in the original format.

Names, dates and addresses are those of the README.md and multilingual.md of google-research/bert.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator

from bert_tf.errors import BertError

BASE_URL = "https://storage.googleapis.com/bert_models"
"""Where Google keeps them."""


@dataclasses.dataclass(frozen=True)
class Release:
    """One released checkpoint.

    Args:
        name: the short name, e.g. `multi_cased`.
        archive: of the .zip below `BASE_URL`, without `.zip`, e.g.
            `2018_11_23/multi_cased_L-12_H-768_A-12`.
        vocab_size: tokens in its `vocab.txt`.
        lower_case: whether its text is lower-cased and stripped of accents.
        languages: which, in words.
        about: what it is, in a line.
        aliases: further names that mean it.
        folder: the name of its folder here; the archive's, unless two releases have the same.
    """

    name: str
    archive: str
    vocab_size: int
    lower_case: bool
    languages: str
    about: str
    aliases: tuple[str, ...] = ()
    folder: str = ""

    def __post_init__(self) -> None:
        if not self.folder:
            object.__setattr__(self, "folder", self.archive.split("/")[1])

    @property
    def date(self) -> str:
        """When it was released, e.g. `2018-11-23`."""
        return self.archive.split("/")[0].replace("_", "-")

    @property
    def layers(self) -> int:
        """Number of Transformer layers."""
        return self._size("L")

    @property
    def hidden(self) -> int:
        """Width of the hidden states."""
        return self._size("H")

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return self._size("A")

    @property
    def parameters(self) -> int:
        """Weights of encoder and pooler, counted from the sizes.

        Google's README says 110 million for multi_cased; with its large vocabulary it has 178.
        """
        h = self.hidden
        embeddings = (self.vocab_size + 512 + 2) * h + 2 * h
        layer = 12 * h * h + 13 * h  # four h x h and two h x 4h kernels, biases, two norms
        return embeddings + self.layers * layer + h * h + h

    @property
    def nbytes(self) -> int:
        """Bytes of all its weights in float32, with the two heads of pretraining."""
        h = self.hidden
        masked_words = h * h + h + 2 * h + self.vocab_size  # the word embeddings are shared
        next_sentence = 2 * h + 2
        return 4 * (self.parameters + masked_words + next_sentence)

    def url(self, base: str = BASE_URL) -> str:
        """The address of its .zip, at Google's or below another base."""
        return f"{base.rstrip('/')}/{self.archive}.zip"

    def _size(self, letter: str) -> int:
        return int(re.findall(rf"_{letter}-(\d+)", self.archive)[0])


def _english(name: str, archive: str, about: str, *aliases: str, folder: str = "") -> Release:
    """An English one: these have two vocabularies in common, one for each casing."""
    uncased = "uncased" in archive
    vocab_size = 30522 if uncased else 28996
    return Release(name, archive, vocab_size, uncased, "English", about, aliases, folder)


def _small() -> Iterator[Release]:
    """The 24 small ones of 2020: all pairs of six depths and four widths."""
    named = {(2, 128): "tiny", (4, 256): "mini", (4, 512): "small", (8, 512): "medium"}
    for layers in (2, 4, 6, 8, 10, 12):
        for hidden, heads in ((128, 2), (256, 4), (512, 8), (768, 12)):
            plain = f"uncased_L-{layers}_H-{hidden}"
            folder = f"{plain}_A-{heads}"
            archive = f"2020_02_20/{folder}"
            if name := named.get((layers, hidden)):
                yield _english(name, archive, f"small, called BERT-{name.capitalize()}", plain)
            elif (layers, hidden) == (12, 768):
                # Other weights under the folder name of 2018: it needs a name of its own.
                name, about = "base_uncased_2020", "base_uncased, trained again"
                yield _english(name, archive, about, folder=f"{folder}_2020")
            else:
                yield _english(plain, archive, "small")


RELEASES: tuple[Release, ...] = (
    Release(
        "multi_cased",
        "2018_11_23/multi_cased_L-12_H-768_A-12",
        119547,
        False,
        "104 languages",
        "the one to take for most",
        ("base_multilingual_cased", "multilingual_cased"),
    ),
    Release(
        "multi_uncased",
        "2018_11_03/multilingual_L-12_H-768_A-12",
        105879,
        True,
        "102 languages",
        "old; take multi_cased",
        ("base_multilingual_uncased", "multilingual_uncased", "multilingual"),
    ),
    Release(
        "chinese",
        "2018_11_03/chinese_L-12_H-768_A-12",
        21128,
        True,
        "Chinese",
        "simplified and traditional",
        ("base_chinese",),
    ),
    _english("base_uncased", "2018_10_18/uncased_L-12_H-768_A-12", "the usual one for English"),
    _english("base_cased", "2018_10_18/cased_L-12_H-768_A-12", "capitals kept, for names"),
    _english("large_uncased", "2018_10_18/uncased_L-24_H-1024_A-16", "large"),
    _english("large_cased", "2018_10_18/cased_L-24_H-1024_A-16", "large, capitals kept"),
    *(
        _english(
            f"large_{casing}_wwm",
            f"2019_05_30/wwm_{casing}_L-24_H-1024_A-16",
            "large, whole words masked",
            f"large_{casing}_whole_word_masking",
        )
        for casing in ("uncased", "cased")
    ),
    *_small(),
)
"""All of them, the ones most asked for first."""


def lookup(name: str) -> Release | None:
    """The release that a name means, or None.

    The short name, the folder name and the archive's name mean it, in any case, with "-" or "_",
    with or without "bert-" in front: Hugging Face's `bert-base-multilingual-cased` is one too.

    >>> lookup("bert-base-multilingual-cased").folder
    'multi_cased_L-12_H-768_A-12'
    """
    return _BY_NAME.get(_plain(name))


def get(name: str) -> Release:
    """The release that a name means.

    Raises:
        BertError: none; the message has the names most like it.
    """
    if (release := lookup(name)) is None:
        raise BertError(
            f"there is no release named {name!r}.{suggestion(name)} All names: "
            "`python -m bert_tf list`."
        )
    return release


def suggestion(name: str) -> str:
    """The names most like a misspelt one, as a sentence with a space before it, or nothing."""
    plain = _plain(name)
    close = [known for known in _BY_NAME if plain and known.startswith(plain)]
    close.sort(key=lambda known: known != _plain(_BY_NAME[known].name))  # short names first
    close += difflib.get_close_matches(plain, list(_BY_NAME), n=6, cutoff=0.7)
    names = list(dict.fromkeys(_BY_NAME[match].name for match in close))[:3]
    return f" Did you mean {' or '.join(names)}?" if names else ""


def _plain(name: str) -> str:
    """A name without what may differ in spelling."""
    plain = name.strip().rstrip("/\\").lower().removesuffix(".zip")
    return plain.replace("-", "_").replace(" ", "_").removeprefix("bert_")


_BY_NAME = {
    _plain(name): release
    for release in RELEASES
    for name in (release.name, release.folder, *release.aliases)
}
