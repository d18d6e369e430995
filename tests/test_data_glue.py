"""GLUE and XNLI by name: files made here in each task's layout, with texts of our own."""

import re

import pytest

from bert_tf.data.labelled.dataset import load_splits, load_task
from bert_tf.data.labelled.glue import TASKS, find_task, read_glue, splits_there, task_names
from bert_tf.data.labelled.texts import order_labels
from bert_tf.errors import BertError

# Column positions as run_classifier.py and GLUE's own baselines index them: text, second text,
# label, number of columns, whether there is a header; for train, dev and test (None: no label).
LAYOUTS = {
    "cola": ("CoLA", (3, None, 1, 4, False), (3, None, 1, 4, False), (1, None, None, 2, True)),
    "sst2": ("SST-2", (0, None, 1, 2, True), (0, None, 1, 2, True), (1, None, None, 2, True)),
    "mrpc": ("MRPC", (3, 4, 0, 5, True), (3, 4, 0, 5, True), (3, 4, None, 5, True)),
    "stsb": ("STS-B", (7, 8, 9, 10, True), (7, 8, 9, 10, True), (7, 8, None, 9, True)),
    "qqp": ("QQP", (3, 4, 5, 6, True), (3, 4, 5, 6, True), (1, 2, None, 3, True)),
    "mnli": ("MNLI", (8, 9, 11, 12, True), (8, 9, 15, 16, True), (8, 9, None, 10, True)),
    "qnli": ("QNLI", (1, 2, 3, 4, True), (1, 2, 3, 4, True), (1, 2, None, 3, True)),
    "rte": ("RTE", (1, 2, 3, 4, True), (1, 2, 3, 4, True), (1, 2, None, 3, True)),
    "wnli": ("WNLI", (1, 2, 3, 4, True), (1, 2, 3, 4, True), (1, 2, None, 3, True)),
}
LABELS = {
    "mnli": ("contradiction", "entailment", "neutral"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "stsb": (),
}
# The first line of each training file as published, checked against the table of layouts.
HEADERS = {
    "sst2": "sentence\tlabel",
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    ),
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label"
    ),
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
}


def labels_of(name):
    return LABELS.get(name, ("0", "1")) or ("2.500", "0.0", "5")


def made(name, split, layout, count=5):
    """A file's text by positions alone; quotes are unbalanced, as in the originals."""
    text, pair, label, width, header = layout
    lines = ["\t".join(TASKS[name].files[split].columns)] if header else []
    for row in range(count):
        fields = [f"{row}" if i == 0 else f"field{i}" for i in range(width)]
        fields[text] = f'{split} "first {row}'
        if pair is not None:
            fields[pair] = f"{split} second {row}"
        if label is not None:
            fields[label] = labels_of(name)[row % len(labels_of(name))]
        lines.append("\t".join(fields))
    return "\n".join(lines) + "\n"


def make_task(folder, name):
    files = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
    if name == "mnli":
        files = {
            "train": "train.tsv",
            "dev": "dev_matched.tsv",
            "dev_mismatched": "dev_mismatched.tsv",
            "test": "test_matched.tsv",
            "test_mismatched": "test_mismatched.tsv",
        }
    for split, file in files.items():
        layout = LAYOUTS[name][1 + ("train", "dev", "test").index(split.split("_")[0])]
        (folder / file).write_text(made(name, split, layout))
    return files


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("inside", [False, True], ids=["own folder", "in GLUE's"])
def test_each_task_in_its_layout(tmp_path, name, inside):
    glue_name, _, *_ = LAYOUTS[name]
    folder = tmp_path / glue_name if inside else tmp_path
    folder.mkdir(exist_ok=True)
    files = make_task(folder, name)
    data = read_glue(glue_name, tmp_path)
    assert list(data.splits) == list(files)
    assert data.warnings == []
    pair = LAYOUTS[name][1][1] is not None
    for split, part in data.splits.items():
        assert part.texts == [f'{split} "first {row}' for row in range(5)]
        assert part.pairs == ([f"{split} second {row}" for row in range(5)] if pair else None)
        given = [labels_of(name)[row % len(labels_of(name))] for row in range(5)]
        if split.startswith("test"):
            assert part.labels is None
        elif name == "stsb":
            assert part.labels == [float(label) for label in given]
        else:
            assert part.labels == given
            assert part.label_names == LABELS.get(name, ("0", "1"))
            assert order_labels([part]) == part.label_names


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_those_published(name):
    assert "\t".join(TASKS[name].files["train"].columns) == HEADERS[name]


def test_names_in_any_spelling():
    assert task_names() == (
        *("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI", "XNLI"),
    )
    for spelling in ("sst-2", "SST2", "sst_2"):
        assert find_task(spelling)[0] == "sst2"
    assert find_task("imdb") is None


def test_sst2_without_a_header(tmp_path):
    """As the sentences alone are spread: all three files are sentence, tab, label."""
    for file in ("train", "dev", "test"):
        (tmp_path / f"{file}.tsv").write_text(f"fine {file}\t1\nbad {file}\t0\n")
    data = read_glue("sst-2", tmp_path)
    assert data.splits["test"].texts == ["fine test", "bad test"]
    assert data.splits["test"].labels == ["1", "0"]
    assert len(data.warnings) == 3


RAW = (
    "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    '1\t11\t12\tHe said "no.\tHe said: "no".\r\n'
    "0\t13\t14\tRain fell.\tSnow fell.\r\n"
)


def test_mrpc_as_first_published(tmp_path):
    (tmp_path / "msr_paraphrase_train.txt").write_text(RAW, newline="")
    (tmp_path / "msr_paraphrase_test.txt").write_text(RAW.replace("Rain", "Hail"), newline="")
    data = read_glue("MRPC", tmp_path)
    assert list(data.splits) == ["train", "test"]
    assert data.splits["train"].texts == ['He said "no.', "Rain fell."]
    assert data.splits["train"].pairs == ['He said: "no".', "Snow fell."]
    assert data.splits["test"].labels == ["1", "0"]
    assert splits_there("MRPC", tmp_path) == {"train", "test"}
    (tmp_path / "dev_ids.tsv").write_text("13\t14\n")
    data = read_glue("MRPC", tmp_path)
    assert data.splits["train"].texts == ['He said "no.']
    assert data.splits["dev"].texts == ["Rain fell."]
    (tmp_path / "msr_paraphrase_train.txt").unlink()  # enough to predict
    assert splits_there("MRPC", tmp_path) == {"test"}
    assert read_glue("MRPC", tmp_path, splits=("test",)).splits["test"].texts[1] == "Hail fell."


def xnli_dev(rows):
    names = [
        "language",
        "gold_label",
        *(f"sentence{i}_{k}" for k in ("binary_parse", "parse") for i in (1, 2)),
    ]
    names += ["sentence1", "sentence2", "promptID", "pairID", "genre"]
    lines = [names, *([lang, label, *"....", a, b, "1", "2", "g"] for lang, label, a, b in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


@pytest.mark.parametrize("unpacked", [False, True])
def test_xnli_one_language_of_all(tmp_path, unpacked):
    root = tmp_path / "XNLI-1.0" if unpacked else tmp_path
    mt = (tmp_path / "XNLI-MT-1.0" if unpacked else tmp_path) / "multinli"
    mt.mkdir(parents=True)
    root.mkdir(exist_ok=True)
    rows = [
        ("fr", "neutral", "le", "la"),
        ("zh", "entailment", "这", "那"),
        ("zh", "neutral", "一", "二"),
    ]
    (root / "xnli.dev.tsv").write_text(xnli_dev(rows))
    (root / "xnli.test.tsv").write_text(xnli_dev(rows))
    for language in ("zh", "fr"):
        (mt / f"multinli.train.{language}.tsv").write_text(
            f"premise\thypo\tlabel\n{language}\tb\tcontradictory\nc\td\tneutral\ne\tf\tentailment\n"
        )
    data = read_glue("xnli", tmp_path)
    assert data.splits["train"].texts == ["zh", "c", "e"]
    assert data.splits["train"].labels == ["contradiction", "neutral", "entailment"]
    assert (data.splits["dev"].texts, data.splits["dev"].pairs) == (["这", "一"], ["那", "二"])
    assert [line for _, line in data.splits["dev"].rows] == [3, 4]
    french = read_glue("xnli", tmp_path, language="fr", splits=("train", "test"))
    assert french.splits["train"].texts[0] == "fr"
    assert french.splits["test"].labels == ["neutral"]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(BertError, match="no task 'imdb'; there are CoLA, SST-2"):
        read_glue("imdb", tmp_path)
    with pytest.raises(BertError, match=r"none of its files; for RTE it holds train\.tsv, dev"):
        read_glue("rte", tmp_path)
    make_task(tmp_path, "rte")
    with pytest.raises(BertError, match=r"no dev_matched\.tsv"):
        read_glue("mnli", tmp_path, splits=("dev",))
    with pytest.raises(BertError, match="is it of this task"):
        read_glue("mrpc", tmp_path)


def test_unlabelled_and_broken_lines_are_told(tmp_path):
    lines = ["\t".join(TASKS["qqp"].files["train"].columns)]
    lines += [f"{i}\t1\t2\tis it {i}?\twas it {i}?\t{i % 2}" for i in range(40)]
    lines[5] = "4\t1\t2\tis it"
    lines[9] = "8\t1\t2\tis it 8?\twas it 8?\t-"
    (tmp_path / "train.tsv").write_text("\n".join(lines))
    data = read_glue("qqp", tmp_path)
    assert [(p.kind, p.places[0][1]) for p in data.problems["train"]] == [
        ("ragged", 6),
        ("unlabelled", 10),
    ]
    assert len(data.splits["train"]) == 38


# --- all splits together


def test_a_task_keeps_what_is_in_two_splits_and_says_so(tmp_path):
    make_task(tmp_path, "rte")
    dev = (tmp_path / "dev.tsv").read_text()
    (tmp_path / "dev.tsv").write_text(
        dev.replace("dev second 0", "train second 0").replace('dev "first 0', 'train "first 0')
    )
    data = load_task("RTE", tmp_path)
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 5,
        "validation": 5,
        "test": 5,
    }
    assert data.label_names == ("entailment", "not_entailment")
    assert [(split, p.kind, p.action) for split, p in data.problems] == [("train", "leak", "keep")]
    assert data.lines()[-1] == "rows: train 5, validation 5, test 5"
    assert "in validation" in data.lines()[0]
    cleaned = load_task("RTE", tmp_path, changes={"leak": "drop"})
    assert len(cleaned.splits["train"]) == 4


def test_a_task_without_dev_gets_one(tmp_path):
    (tmp_path / "train.tsv").write_text(made("rte", "train", LAYOUTS["rte"][1], 100))
    data = load_task("rte", tmp_path)
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 85,
        "validation": 15,
    }
    assert "no dev file" in data.lines()[0]


def test_one_file_is_split_and_needs_nothing_else(tmp_path):
    path = tmp_path / "data.csv"
    rows = [f'"words, {"many " * (i % 7)}{i}",{["spam", "ham"][i % 4 == 0]}' for i in range(200)]
    path.write_text("\n".join(rows))
    data = load_splits(path)
    assert [len(part) for part in data.splits.values()] == [140, 30, 30]
    assert list(data.splits) == ["train", "validation", "test"]
    assert data.label_names == ("ham", "spam")
    assert load_splits(path, label_names=["spam", "ham"]).label_names == ("spam", "ham")
    assert load_splits(path, seed=1).splits["test"].rows != data.splits["test"].rows


def test_files_for_each_split_are_read_alike(tmp_path):
    """The test file would be taken for classes, as its numbers are whole; training says no."""
    for name, numbers in (("train", (0.5, 2, 3)), ("dev", (1, 0.25)), ("test", (1, 2))):
        lines = [f"{number}\t{name} words {i}" for i, number in enumerate(numbers)]
        (tmp_path / f"{name}.tsv").write_text("score\ttext\n" + "\n".join(lines) + "\n")
    data = load_splits(*(tmp_path / f"{name}.tsv" for name in ("train", "dev", "test")))
    assert data.task == "regression"
    assert data.label_names == ()
    assert data.splits["test"].labels == [1.0, 2.0]
    assert data.layout.label == "score"


def test_validation_is_split_off_if_only_test_is_given(tmp_path):
    lines = [f"text number {i}\t{'ab'[i % 2]}" for i in range(200)]
    (tmp_path / "train.tsv").write_text("\n".join(lines[:170]))
    (tmp_path / "test.tsv").write_text("\n".join(lines[170:]))
    data = load_splits(tmp_path / "train.tsv", test=tmp_path / "test.tsv")
    assert [len(part) for part in data.splits.values()] == [140, 30, 30]
    with pytest.raises(BertError, match="name at least a file"):
        load_splits()


def test_a_label_of_the_test_file_alone_is_refused(tmp_path):
    (tmp_path / "train.tsv").write_text("\n".join(f"t {i}\t{'ab'[i % 2]}" for i in range(60)))
    (tmp_path / "test.tsv").write_text("u 0\ta\nu 1\tB\n")
    with pytest.raises(BertError, match=re.escape("label that no training row has ('B')")):
        load_splits(tmp_path / "train.tsv", test=tmp_path / "test.tsv")
    kept = load_splits(
        tmp_path / "train.tsv", test=tmp_path / "test.tsv", changes={"unseen_label": "keep"}
    )
    assert kept.label_names == ("B", "a", "b")
