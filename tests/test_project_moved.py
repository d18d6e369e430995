"""Old dotted paths lead to new ones, with a warning at the line that uses them."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import pickle
import sys
import textwrap
import warnings

import pytest

import bert_tf
from bert_tf import _moved
from bert_tf.config import BertConfig

HERE = str(pathlib.Path(__file__))
GOES = r"the old name goes in the next version\.$"
PACKAGE = pathlib.Path(bert_tf.__file__).parent


@pytest.fixture
def moved(monkeypatch):
    """Sets the table; what an old path left in Python's memory is gone afterwards."""

    def table(**lines: str) -> None:
        found = {old.replace("__", ".").replace("_at_", ":"): new for old, new in lines.items()}
        monkeypatch.setattr(_moved, "MOVED", found)

    before = dict(sys.modules)
    yield table
    for name in set(sys.modules) - set(before):
        if name.startswith("bert_tf.old"):
            del sys.modules[name]
    vars(bert_tf).pop("old", None)


def told(caught) -> list[str]:
    assert {one.category for one in caught} <= {DeprecationWarning}
    return list(dict.fromkeys(str(one.message) for one in caught))


def test_an_old_module_is_the_new_one(moved):
    moved(bert_tf__old="bert_tf.config")
    with pytest.warns(DeprecationWarning, match=GOES) as caught:
        import bert_tf.old as old
    assert told(caught) == [
        "bert_tf.old is bert_tf.config now; the old name goes in the next version."
    ]
    assert caught[0].filename == HERE
    assert "import bert_tf.old as old" in _line(caught[0].lineno)
    assert old is sys.modules["bert_tf.config"]
    assert old.__spec__.name == old.__name__ == "bert_tf.config"


def _line(number: int) -> str:
    return pathlib.Path(HERE).read_text(encoding="utf-8").splitlines()[number - 1]


def test_names_out_of_an_old_module(moved):
    moved(bert_tf__old="bert_tf.config")
    with pytest.warns(DeprecationWarning, match=r"bert_tf\.old is bert_tf\.config now") as caught:
        from bert_tf.old import BertConfig as Old
    assert Old is BertConfig
    assert [one.filename for one in caught] == [HERE]
    with pytest.raises(ImportError, match="cannot import name 'Brat'"):
        from bert_tf.old import Brat  # noqa: F401


@pytest.mark.filterwarnings("error")
def test_the_warning_comes_once_a_module(moved):
    moved(bert_tf__old="bert_tf.config")
    with pytest.raises(DeprecationWarning):
        importlib.import_module("bert_tf.old")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("bert_tf.old")
    importlib.import_module("bert_tf.old")  # in sys.modules: not looked for again


def test_import_module_warns_at_its_caller(moved):
    moved(bert_tf__old="bert_tf.config")
    with pytest.warns(DeprecationWarning, match=GOES) as caught:
        found = importlib.import_module("bert_tf.old")
    assert found.BertConfig is BertConfig
    assert (caught[0].filename, len(caught)) == (HERE, 1)
    assert "importlib.import_module" in _line(caught[0].lineno)


@pytest.mark.filterwarnings(r"ignore:bert_tf\.old is bert_tf\.text now")
def test_a_package_takes_its_modules_along(moved):
    import bert_tf.text.vocab

    moved(bert_tf__old="bert_tf.text", bert_tf__old__casing="bert_tf.text.decode")
    with pytest.warns(DeprecationWarning, match=r"bert_tf\.old\.vocab is bert_tf\.text\.vocab now"):
        import bert_tf.old.vocab
    with pytest.warns(DeprecationWarning, match=r"old\.casing is bert_tf\.text\.decode now"):
        import bert_tf.old.casing
    assert sys.modules["bert_tf.old.vocab"] is bert_tf.text.vocab  # not a second copy of it
    assert sys.modules["bert_tf.old.casing"].__name__ == "bert_tf.text.decode"
    assert bert_tf.text.vocab.Vocabulary is bert_tf.Vocabulary


def test_a_module_that_was_taken_apart(moved):
    moved(
        bert_tf__old="bert_tf.text.vocab",
        bert_tf__old_at_infer_casing="bert_tf.text.casing:infer_casing",
        bert_tf__old_at_Config="bert_tf.config:BertConfig",
    )
    with pytest.warns(DeprecationWarning, match=GOES) as caught:
        from bert_tf.old import Config, Vocabulary, infer_casing
    assert (Vocabulary, Config) == (bert_tf.Vocabulary, BertConfig)
    assert infer_casing is bert_tf.text.infer_casing
    assert told(caught) == [
        "bert_tf.old is bert_tf.text.vocab now; the old name goes in the next version.",
        "bert_tf.old.Config is bert_tf.config.BertConfig now; the old name goes in the next "
        "version.",
        "bert_tf.old.infer_casing is bert_tf.text.casing.infer_casing now; the old name goes in "
        "the next version.",
    ]
    assert {one.filename for one in caught} == {HERE}
    assert not hasattr(sys.modules["bert_tf.old"], "Brat")


def test_a_name_that_left_a_package_that_stays(moved):
    moved(bert_tf__text_at_infer_case="bert_tf.text.casing:infer_casing")
    with pytest.warns(DeprecationWarning, match=GOES) as caught:
        from bert_tf.text import infer_case
    assert infer_case is bert_tf.text.infer_casing
    assert "infer_case" not in bert_tf.text.__all__
    assert {one.filename for one in caught} == {HERE}
    with pytest.warns(DeprecationWarning, match=r"bert_tf\.text\.casing\.infer_casing now"):
        assert bert_tf.text.infer_case is infer_case
    with pytest.raises(AttributeError, match=r"'bert_tf\.text' has no attribute 'infer_caze'"):
        _ = bert_tf.text.infer_caze


def test_a_package_has_its_modules_as_attributes(run_python):
    code = (
        "import sys, bert_tf.text\n"
        "print(bert_tf.text.vocab.__name__, bert_tf.text.packing.pack is bert_tf.text.pack)\n"
        "print(hasattr(bert_tf.text, 'brat'), hasattr(bert_tf.text, '__wrapped__'))\n"
        "import bert_tf.hub.archive, bert_tf.hub.locate\n"
        "print(bert_tf.hub.locate.__class__.__name__)\n"
    )
    assert run_python("-c", code).stdout.split("\n") == [
        *("bert_tf.text.vocab True", "False False", "function", "")
    ]


def test_a_name_that_left_a_module_that_stays(moved, monkeypatch):
    from bert_tf import config

    moved(bert_tf__config_at_Vocabulary="bert_tf.text.vocab:Vocabulary")
    monkeypatch.setattr(config, "__getattr__", _moved.moved_names(config.__name__), raising=False)
    with pytest.warns(DeprecationWarning, match=r"bert_tf\.config\.Vocabulary is bert_tf\.text"):
        assert config.Vocabulary is bert_tf.Vocabulary
    with pytest.raises(ImportError):
        from bert_tf.config import Brat  # noqa: F401


@pytest.mark.parametrize("loads", [pickle.loads, pickle._loads])
def test_pickles_made_under_an_old_path(moved, loads):
    config = BertConfig(vocab_size=7)
    old = pickle.dumps(config).replace(b"\x0ebert_tf.config", b"\x0bbert_tf.old")
    # The frame says how long it is (PEP 3154): three letters less.
    assert old[2:3] == b"\x95"
    old = old[:3] + (int.from_bytes(old[3:11], "little") - 3).to_bytes(8, "little") + old[11:]
    moved(bert_tf__old="bert_tf.config")
    with pytest.warns(DeprecationWarning, match=r"bert_tf\.old is bert_tf\.config now"):
        assert loads(old) == config


def test_deprecated_names_say_so():
    with pytest.warns(DeprecationWarning, match=GOES) as caught:
        from bert_tf.data import stream_labelled
    assert stream_labelled.__module__ == "bert_tf._deprecated"
    assert told(caught) == [
        "bert_tf.data.stream_labelled is deprecated; the old name goes in the next version."
    ]


def test_a_script_sees_the_warning_with_its_line(run_python, tmp_path):
    """Python shows a DeprecationWarning only where it points at the script itself."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        from bert_tf.data import stream_labelled
        print(stream_labelled.__name__)
        """)
    )
    done = run_python(script)
    assert done.stdout == "stream_labelled\n"
    assert done.stderr.splitlines()[0] == (
        f"{script}:3: DeprecationWarning: bert_tf.data.stream_labelled is deprecated; the old name "
        "goes in the next version."
    )


def test_nothing_heavy_is_imported_for_it(run_python):
    code = (
        "import sys, bert_tf\n"
        "from bert_tf import _moved\n"
        "_moved.MOVED['bert_tf.old'] = 'bert_tf.errors'\n"
        "import bert_tf.old\n"
        "print(bert_tf.old.BertError.__module__, 'numpy' in sys.modules, len(sys.meta_path))\n"
        "_moved.find_old_modules()\n"
        "print(len(sys.meta_path))\n"
    )
    name, heavy, finders, again = run_python("-c", code).stdout.split()
    assert (name, heavy, finders) == ("bert_tf.errors", "False", again)


def test_every_line_of_the_table_leads_somewhere():
    for old, new in _moved.MOVED.items():
        module, _, name = new.partition(":")
        home = importlib.import_module(module)
        assert not name or hasattr(home, name), (old, new)
        assert importlib.util.find_spec(old.partition(":")[0]) is not None
        assert (":" in old) == (":" in new)


def test_the_package_itself_uses_no_old_path():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                used = [f"{node.module}{mark}{name}" for name in names for mark in ":."]
                used.append(str(node.module))
            else:
                continue
            assert not set(used) & set(_moved.MOVED), path
