"""Files that are predicted: every row in its place, byte-identical however often interrupted."""

import itertools
import json
import os
import signal
import sys

import keras
import numpy as np
import pytest
import reference
from tiny_classifiers import LENGTH, head, scores_by_hand, write_bert

import bert_tf
from bert_tf.checkpoint.classifier_info import ClassifierInfo
from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.prediction_rows import PredictionRow, PredictionRows, about_rows
from bert_tf.data.labelled.problems import Policy
from bert_tf.data.labelled.tables import TableOptions
from bert_tf.errors import BertError
from bert_tf.files import growing
from bert_tf.tasks.classify_files import answer_rows, predict_file, predict_task

LABELS = ("bad", "so so", "good")
INFO = ClassifierInfo(LABELS, max_seq_length=LENGTH, lower_case=True)
CHUNK = 32  # of batches of 2


def texts_of(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        " ".join(f"w{n}" for n in rng.integers(0, 35, rng.integers(1, 12))) for _ in range(count)
    ]


def rows_of(texts):
    return [PredictionRow(text, ("x.txt", i)) for i, text in enumerate(texts, 1)]


def make(folder, info=INFO, seed=9, batch_size=2, **options):
    extra = head(info.num_outputs, seed=seed)
    write_bert(folder, extra, drop=("cls/",), files={"classifier.json": info.to_json()})
    return bert_tf.Classify(bert_tf.load(folder), batch_size=batch_size, **options)


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    return make(tmp_path_factory.mktemp("model"))


TEXTS = texts_of(5 * CHUNK + 7)
ROWS = rows_of(TEXTS)


@pytest.fixture(scope="module")
def unbroken(classify, tmp_path_factory):
    """The bytes of a run that nothing interrupted."""
    path = tmp_path_factory.mktemp("unbroken") / "out.tsv"
    predict_file(classify, ROWS, path)
    assert sorted(os.listdir(path.parent)) == ["out.tsv"]
    return path.read_bytes()


def cells(data):
    return [line.split("\t") for line in data.decode().split("\n")[:-1]]


def test_every_row_has_what_numpy_computes(unbroken):
    heads, *lines = cells(unbroken)
    assert heads == ["label", "probability", *LABELS]
    expected = reference.softmax(scores_by_hand(head(3), TEXTS))
    found = np.array([line[2:] for line in lines], float)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [line[0] for line in lines] == [LABELS[i] for i in expected.argmax(axis=1)]
    np.testing.assert_allclose([float(line[1]) for line in lines], expected.max(axis=1), atol=1e-5)
    assert len({line[0] for line in lines}) > 1


def stopping_before(row):
    """The rows, up to one before which Ctrl-C comes."""
    yield from ROWS[:row]
    raise KeyboardInterrupt


@pytest.mark.parametrize("save_seconds", [0.0, 1e9])
@pytest.mark.parametrize("stops", [[3], [2 * CHUNK], [5 * CHUNK + 6], [70, 71, 135, 150]])
def test_interrupted_it_goes_on_to_the_same_bytes(
    stops, save_seconds, classify, unbroken, tmp_path, monkeypatch
):
    """Whether the note is written at each chunk, or only when the run is stopped."""
    monkeypatch.setattr(growing, "SAVE_SECONDS", save_seconds)
    path, resumed = tmp_path / "out.tsv", []
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            predict_file(classify, stopping_before(stop), path, on_resume=resumed.append)
        assert not path.exists()
    done = []
    found = predict_file(classify, ROWS, path, on_rows=done.append, on_resume=resumed.append)
    assert path.read_bytes() == unbroken
    assert os.listdir(tmp_path) == ["out.tsv"]
    assert found.rows == len(ROWS)
    assert found.resumed_from == max(stops) // CHUNK * CHUNK
    assert all(rows % CHUNK == 0 for rows in resumed)
    assert done[-1] == len(ROWS)
    assert done == sorted(done)


def test_what_was_written_behind_the_note_is_cut_off(classify, unbroken, tmp_path):
    """As a kill leaves it: half a line, or whole ones, that no note tells of."""
    path = tmp_path / "out.tsv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(classify, stopping_before(3 * CHUNK + 5), path)
    with open(f"{path}.part", "ab") as file:
        file.write(b"good\t0.9\t0.0")
    assert predict_file(classify, ROWS, path).resumed_from == 3 * CHUNK
    assert path.read_bytes() == unbroken


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import bert_tf
from bert_tf.data.labelled.prediction_rows import PredictionRow
from bert_tf.files import growing
from bert_tf.tasks.classify_files import predict_file
from test_tasks_classify_files import ROWS
growing.SAVE_SECONDS = 0.0
kill_at = int(sys.argv[4])
def rows():
    for number, row in enumerate(ROWS):
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        yield row
predict_file(bert_tf.Classify(bert_tf.load(sys.argv[2]), batch_size=2), rows(), sys.argv[3])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_it_goes_on_to_the_same_bytes(classify, unbroken, run_python, tmp_path):
    path = tmp_path / "out.tsv"
    result = run_python(
        *(
            "-c",
            KILLED,
            os.path.dirname(__file__),
            os.path.dirname(classify.bert.report.checkpoint),
        ),
        *(path, 4 * CHUNK + 1),
        backend=keras.backend.backend(),
        timeout=600,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr[-3000:]
    found = predict_file(classify, ROWS, path)
    assert found.resumed_from >= 3 * CHUNK
    assert path.read_bytes() == unbroken


def begun(classify, path, stop=3 * CHUNK):
    with pytest.raises(KeyboardInterrupt):
        predict_file(classify, stopping_before(stop), path)


def test_another_run_is_refused_and_overwritten_on_request(classify, unbroken, tmp_path):
    path = tmp_path / "out.tsv"
    begun(classify, path)
    changed = [*ROWS[:5], ROWS[5]._replace(texts="w1"), *ROWS[6:]]
    other = make(tmp_path / "other", seed=10)
    slower = bert_tf.Classify(classify.bert, batch_size=3)
    for model, rows, options, message in (
        (classify, changed, {}, "of its 96 rows some were others"),
        (classify, ROWS[:CHUNK], {}, "it had 96 rows, and now there are 32"),
        (other, ROWS, {}, "the model is another"),
        (slower, ROWS, {}, "batch_size was 2 and is now 3"),
        (classify, ROWS, {"echo": True}, "echo was False and is now True"),
        (classify, ROWS, {"format": "jsonl"}, "output_format was 'tsv' and is now 'jsonl'"),
    ):
        with pytest.raises(BertError, match=message):
            predict_file(model, rows, path, **options)
    # None of these did harm; and what follows behind the rows that are done may be another.
    assert predict_file(classify, ROWS[:-1], path).resumed_from == 3 * CHUNK
    found, wanted = (data.splitlines() for data in (path.read_bytes(), unbroken))
    assert len(found) == len(wanted) - 1
    assert found[: 5 * CHUNK] == wanted[: 5 * CHUNK]  # the last chunk's batches are others now
    with pytest.raises(BertError, match="exists; name another output, or pass `overwrite=True`"):
        predict_file(classify, ROWS, path)
    with_flag = tmp_path / "flag.tsv"
    begun(classify, with_flag)
    assert predict_file(classify, ROWS, with_flag, overwrite=True).resumed_from == 3 * CHUNK
    begun_again = tmp_path / "again.tsv"
    begun(classify, begun_again)
    predict_file(other, ROWS, begun_again, overwrite=True)
    predict_file(other, ROWS, path, overwrite=True)
    assert begun_again.read_bytes() == path.read_bytes() != unbroken


def test_a_part_that_is_not_ours_is_left_alone(classify, tmp_path):
    part = tmp_path / "out.tsv.part"
    part.write_text("a letter")
    with pytest.raises(BertError, match="of an unknown run"):
        predict_file(classify, ROWS, tmp_path / "out.tsv")
    assert part.read_text() == "a letter"


def test_two_cannot_write_the_same_file(classify, tmp_path):
    def rows():
        yield ROWS[0]
        predict_file(classify, ROWS, tmp_path / "out.tsv")

    with pytest.raises(BertError, match="another process writes"):
        predict_file(classify, rows(), tmp_path / "out.tsv")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "is a folder"), ("no/out.tsv", "there is no folder"), ("out.csv", "not as csv")],
)
def test_outputs_that_cannot_be(path, message, classify, tmp_path):
    with pytest.raises(BertError, match=message):
        predict_file(classify, ROWS, tmp_path / path)


def test_rows_are_read_two_chunks_ahead_at_most(classify):
    """Without end, so that whatever holds them all would not come to an end either."""
    read = itertools.count()
    endless = (ROWS[next(read) % len(ROWS)] for _ in itertools.count())
    answered = answer_rows(classify, endless)
    for number, (row, result) in enumerate(itertools.islice(answered, 6 * CHUNK)):
        assert row.texts == result.text == TEXTS[number % len(TEXTS)]
        ahead = int(repr(read)[6:-1]) - number
        assert ahead <= 2 * CHUNK
    answered.close()


SOURCES = {
    "in.csv": "id,text\n1,w1 w2\n2,\n3\n4,w5\n\n6,w3\n\n",
    "in.tsv": "id\ttext\n1\tw1 w2\n2\t\n3\n4\tw5\n\n6\tw3\n",
    "in.jsonl": '{"text": "w1 w2"}\n{"text": ""}\n{"text"\n{"text": "w5"}\n\n{"text": "w3"}\n',
}
ERRORS = [None, "the text is empty", "the line is damaged", None, "the line is blank", None]


@pytest.mark.parametrize("name", SOURCES)
def test_odd_rows_have_their_lines(name, classify, tmp_path):
    """Row n of the file is line n of the results; blank lines at a file's end are no rows."""
    source = tmp_path / name
    source.write_text(SOURCES[name])
    found = predict_file(classify, PredictionRows(source), tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (found.rows, found.failed, len(lines)) == (6, 3, 6)
    assert [one.split(": ")[0] for one in found.problems] == [
        f"{source}:{n + (name != 'in.jsonl')}" for n in (2, 3, 5)
    ]
    for number, (line, error) in enumerate(zip(lines, ERRORS, strict=True), 1):
        assert line["line"] == number + (name != "in.jsonl")
        if error is None:
            assert list(line) == ["line", "label", "probability", "probabilities"]
        else:
            assert list(line) == ["line", "error"]
            assert line["error"].startswith(error)
    alone = classify("w5")
    assert lines[3]["label"] == alone.label
    assert lines[3]["probability"] == pytest.approx(alone.probability, abs=1e-5)
    predict_file(classify, PredictionRows(source), tmp_path / "out.tsv")
    table = cells((tmp_path / "out.tsv").read_bytes())
    assert [len(row) for row in table] == [5] * 7
    assert [not any(row) for row in table[1:]] == [error is not None for error in ERRORS]


def test_bytes_that_are_no_text(classify, tmp_path):
    source = tmp_path / "in.txt"
    source.write_bytes(b"w1 caf\xe9\nw2\n")
    first, second = PredictionRows(source)
    assert "`encoding='cp1252'`" in first.error
    assert (first.texts, second.texts) == (None, "w2")
    replaced = PredictionRows(source, policy=Policy("predict", wrong_encoding="replace"))
    assert next(iter(replaced)).texts == "w1 caf\ufffd"
    read = PredictionRows(source, Layout(table=TableOptions(encoding="cp1252")))
    assert next(iter(read)).texts == "w1 café"


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    source = tmp_path / "in.parquet"
    table = pyarrow.table(
        {"premise": ["w1", None], "hypothesis": ["w2", "w3"], "label": ["a", "b"]}
    )
    parquet.write_table(table, source)
    assert [row.texts for row in PredictionRows(source, pairs=True)] == [("w1", "w2"), None]
    assert about_rows(source) == 2


def test_excel(tmp_path):
    """A row of the sheet is a row of results; blank ones are reported unless they are the last."""
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("pandas")
    source = tmp_path / "in.xlsx"
    book = openpyxl.Workbook()
    for row in [("id", "text"), ("1", "NA"), (None, None), ("2", None), (3, 1.0)]:
        book.active.append(row)
    book.create_sheet("more").append(["text"])
    book["more"].append(["w1"])
    book.save(source)
    found = PredictionRows(source, pairs=False)
    assert [(row.texts, row.place[1], row.error) for row in found] == [
        ("NA", 2, ""),
        (None, 3, "the line is blank"),
        (None, 4, "the text is empty"),
        ("1", 5, ""),
    ]
    assert any("`sheet`" in warning for warning in found.warnings)
    more = PredictionRows(source, Layout(table=TableOptions(sheet="more")))
    assert [row.texts for row in more] == ["w1"]
    assert about_rows(source) is None


def test_columns_must_be_those_of_the_model(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("premise,hypothesis\nw1,w2\n")
    with pytest.raises(BertError, match=r"single texts.*'premise' and 'hypothesis'.*`text` alone"):
        PredictionRows(source, pairs=False)
    assert [row.texts for row in PredictionRows(source, Layout(text="premise"), pairs=False)] == [
        "w1"
    ]
    source.write_text("text,id,date\nw1,2,3\n")
    with pytest.raises(BertError, match=r"pairs of texts.*columns: text, id, date"):
        PredictionRows(source, pairs=True)
    source = tmp_path / "in.txt"
    source.write_text("w1\tw2\nw3\tw4\n")
    assert [row.texts for row in PredictionRows(source, pairs=True)] == [("w1", "w2"), ("w3", "w4")]
    assert about_rows(source) == 2


KINDS = {
    "several": ClassifierInfo(LABELS, "multilabel", max_seq_length=LENGTH, lower_case=True),
    "number": ClassifierInfo(task="regression", max_seq_length=LENGTH, lower_case=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_and_echoed_texts(kind, tmp_path):
    info = KINDS[kind]
    classify = make(tmp_path / "model", info, threshold=0.4)
    texts = ["w1 w5\tw7", ("w2 w3\n", 'w"9'), "w6 " * 40]
    scores = scores_by_hand(head(info.num_outputs), ["w1 w5 w7", "w2 w3", "w6 " * 40][::2])
    scores = 1 / (1 + np.exp(-scores)) if info.labels else scores
    rows = rows_of(texts)
    options = {"echo": True, "pairs": True}
    predict_file(classify, rows, tmp_path / "out.jsonl", **options)
    predict_file(classify, rows, tmp_path / "out.tsv", **options)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    heads, *table = cells((tmp_path / "out.tsv").read_bytes())
    assert [line["text"] for line in lines] == ["w1 w5\tw7", "w2 w3\n", "w6 " * 40]
    assert [line.get("text_pair") for line in lines] == [None, 'w"9', None]
    assert [line.get("cut") for line in lines] == [None, None, True]
    assert [row[-2:] for row in table] == [
        ["w1 w5 w7", ""],
        ["w2 w3", 'w"9'],
        [("w6 " * 40).strip(), ""],
    ]
    for line, row, expected in zip(lines[::2], table[::2], scores, strict=True):
        if info.labels:
            assert heads == ["labels", *LABELS, "text", "text_pair"]
            assert line["labels"] == [n for n, p in zip(LABELS, expected, strict=True) if p >= 0.4]
            assert row[0] == ", ".join(line["labels"])
            np.testing.assert_allclose(list(line["probabilities"].values()), expected, atol=1e-5)
            assert [float(x) for x in row[1:4]] == list(line["probabilities"].values())
        else:
            assert heads == ["value", "text", "text_pair"]
            assert line["value"] == float(row[0]) == pytest.approx(expected[0], abs=1e-4)


def test_lone_surrogates_and_line_ends_in_labels_do_no_harm(tmp_path):
    info = ClassifierInfo(("a\tb", "c\nd"), max_seq_length=LENGTH, lower_case=True)
    classify = make(tmp_path / "model", info)
    rows = rows_of(["w1 \ud800", "w2\u2028w3"])
    for name in ("out.tsv", "out.jsonl"):
        predict_file(classify, rows, tmp_path / name, echo=True)
    assert cells((tmp_path / "out.tsv").read_bytes())[0][2:4] == ["a b", "c d"]
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["text"] for line in lines[:-1]] == ["w1 \ud800", "w2\u2028w3"]


def write_mnli(folder, rows):
    """MNLI's two test files; those of another folder hold other rows."""
    parses = [f"sentence{i}_{kind}parse" for kind in ("binary_", "") for i in (1, 2)]
    heads = ["index", "promptID", "pairID", "genre", *parses, "sentence1", "sentence2"]
    for name, pairs in rows.items():
        lines = ["\t".join(heads)]
        lines += ["\t".join([str(i), *["x"] * 7, *pair]) for i, pair in enumerate(pairs)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def test_a_task_of_glue_in_the_tasks_order_of_labels(tmp_path):
    """MNLI's is contradiction, entailment, neutral; rows without text stay in their places."""
    names = ("neutral", "contradiction", "entailment")
    info = ClassifierInfo(names, max_seq_length=LENGTH, lower_case=True, pairs=True)
    classify = make(tmp_path / "model", info)
    rows = {
        "test_matched": [("w1", "w2"), ("", "w3"), ("w4 w5", "w6")],
        "test_mismatched": [("w7", "w8")],
    }
    write_mnli(tmp_path, rows)
    written = predict_task(classify, "mnli", tmp_path, tmp_path / "out")
    assert {os.path.basename(path): lines for path, lines in written.items()} == {
        "test_results.tsv": 3,
        "test_results_mm.tsv": 1,
    }
    for path, pairs in zip(written, rows.values(), strict=True):
        expected = reference.softmax(scores_by_hand(head(3), pairs))[:, [1, 2, 0]]
        np.testing.assert_allclose(np.loadtxt(path, ndmin=2), expected, atol=1e-5)


def test_a_classifier_of_numbered_labels_has_the_tasks(tmp_path):
    """As Google's script leaves it: its outputs are in the task's order."""
    write_bert(tmp_path / "model", head(3), drop=("cls/",))
    bert = bert_tf.load(tmp_path / "model", lower_case=True)
    write_mnli(tmp_path, {"test_matched": [("w1", "w2")]})
    (path,) = predict_task(bert_tf.Classify(bert), "MNLI", tmp_path, tmp_path / "out")
    expected = reference.softmax(scores_by_hand(head(3), [("w1", "w2")]))
    np.testing.assert_allclose(np.loadtxt(path, ndmin=2), expected, atol=1e-5)
    named = bert_tf.Classify(bert, labels=["x", "y", "z"])
    assert list(named("w1").probabilities) == ["x", "y", "z"]
    for labels, message in (("xy", "2 labels were given .* has 3"), ("xyx", "a label twice")):
        with pytest.raises(BertError, match=message):
            bert_tf.Classify(bert, labels=list(labels))
    with pytest.raises(BertError, match="labels are x, y, z"):
        bert_tf.Classify(named_bert(bert, named.info), labels=["x", "z", "y"])


def named_bert(bert, info):
    bert.classifier = info
    return bert


def test_tasks_that_do_not_fit(classify, tmp_path):
    with pytest.raises(BertError, match="predicts bad, so so, good, but CoLA is about 0, 1"):
        predict_task(classify, "cola", tmp_path, tmp_path)
    with pytest.raises(BertError, match="there is no task 'glue'"):
        predict_task(classify, "glue", tmp_path, tmp_path)


def test_pairs_and_single_texts_are_told_apart(tmp_path):
    info = ClassifierInfo(("no", "yes"), max_seq_length=LENGTH, lower_case=True, pairs=True)
    of_pairs = make(tmp_path / "pairs", info)
    assert bert_tf.load(tmp_path / "pairs").classifier.pairs is True
    with pytest.raises(BertError, match=r"pairs of texts; give it \(text, text_pair\)"):
        of_pairs("w1")
    single = make(tmp_path / "single", ClassifierInfo(("no", "yes"), lower_case=True, pairs=False))
    with pytest.raises(BertError, match="trained on single texts; give it one text"):
        single("w1", "w2")
