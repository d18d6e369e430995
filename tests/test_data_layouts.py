"""Tables that are easily read as something else: each is read right, refused, or reported."""

import io
import json

import numpy as np
import pytest

from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.dataset import load_splits
from bert_tf.data.labelled.prediction_rows import PredictionRows
from bert_tf.data.labelled.problems import Policy
from bert_tf.data.labelled.python_rows import labelled_rows
from bert_tf.data.labelled.reading import read_labelled
from bert_tf.data.labelled.tables import TableOptions
from bert_tf.errors import BertError

TEXTS = [f"Go on to number {number} of all" for number in range(12)]
ROWS = [(text, "spam" if number % 2 else "ham") for number, text in enumerate(TEXTS)]
BODY = "".join(f"{text},{label}\n" for text, label in ROWS)


@pytest.fixture
def write(tmp_path):
    """Writes a table; gives its path."""

    def written(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return written


def pairs_of(data):
    return list(zip(data.texts, data.labels, strict=True))


def predicted(path, pairs=False, **layout):
    return [row.texts or row.error for row in PredictionRows(path, Layout(**layout), pairs=pairs)]


# --- the names of the columns


@pytest.mark.parametrize(
    ("content", "told"),
    [
        # As Kaggle's spam.csv: three columns have neither name nor content.
        ("v1,v2,,,\n" + "".join(f"{b},{a},,,\n" for a, b in ROWS), "names of the columns: v1, v2 "),
        ("text,label,label\n" + "".join(f"{a},{b},x\n" for a, b in ROWS), "text, label, label"),
        ("utterance_7,folder\n" + BODY, "names of the columns: utterance_7, folder"),
        # Many classes, each once: no column has few values.
        ("what,kind\n" + "".join(f"{a},kind{i}\n" for i, (a, _) in enumerate(ROWS)), "what, kind"),
        ("Message Body,Folder\n" + BODY, "Message Body, Folder"),
        # As pandas writes columns without names; the second has numbers, among them this one.
        ("0,1\n" + "".join(f"{a},{i % 2}\n" for i, (a, _) in enumerate(ROWS)), "columns: 0, 1 "),
        ("", "has no line with names of columns"),
    ],
)
def test_a_header_is_recognized_and_always_reported(write, content, told):
    reading = read_labelled(write(content or BODY), Layout(label=1 if "kind0" in content else None))
    assert reading.data.texts == TEXTS
    assert len(reading.data.labels) == len(TEXTS)
    assert any(told in warning for warning in reading.warnings)


def test_unnamed_columns_are_left_out_and_repeated_names_reported(write):
    named = read_labelled(write("v1,v2,,\n" + "".join(f"{b},{a},,\n" for a, b in ROWS)))
    assert any("without a name are left out: 2, 3" in told for told in named.warnings)
    assert predicted(named.data.rows[0][0], pairs=None) == TEXTS
    twice = read_labelled(write("text,label,label\n" + "".join(f"{a},{b},x\n" for a, b in ROWS)))
    assert pairs_of(twice.data) == ROWS
    assert any("are called 'label'; number 1 is read" in told for told in twice.warnings)
    second = read_labelled(twice.data.rows[0][0], Layout(label=2, text="text"))
    assert set(second.data.labels) == {"x"}
    assert not any("are called" in told for told in second.warnings)


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_first_line_with_the_delimiter_is_obeyed(write, quote):
    content = f"{quote}sep=;{quote}\ntext;label\n" + BODY.replace(",", ";")
    for name in ("data.csv", "data.txt"):
        reading = read_labelled(write(content, name))
        assert pairs_of(reading.data) == ROWS
        assert reading.data.rows[0][1] == 3
        assert any(":1 names the delimiter, ';'" in told for told in reading.warnings)


def test_titles_and_repeated_names_are_skipped_and_reported(write):
    half = BODY.index("Go on to number 6")
    joined = f"Mails of 2024\n\ntext,label\n{BODY[:half]}text,label\n{BODY[half:]}"
    reading = read_labelled(write(joined))
    assert pairs_of(reading.data) == ROWS
    assert any(":1 is a title, skipped: Mails of 2024" in told for told in reading.warnings)
    (problem,) = (one for one in reading.problems if one.kind == "repeated_header")
    assert [line for _, line in problem.places] == [10]
    assert predicted(reading.data.rows[0][0])[7] == "the line repeats the names of the columns"
    # A spreadsheet fills the line of the title up; a byte order mark is left of the second file.
    filled = f"Mails of 2024,\ntext,label\n{BODY}\ufefftext,label\n{BODY}"
    assert read_labelled(write(filled)).data.texts == TEXTS * 2
    with pytest.raises(BertError, match="repeated_header=drop"):
        read_labelled(write(joined), policy=Policy("train", repeated_header="refuse"))


# --- quotes


@pytest.mark.parametrize("text_first", [True, False])
def test_rows_that_stray_quotes_swallow_are_refused(write, text_first):
    """60 rows become 40: one quote opens a field in line 12, another closes it in line 32."""
    rows = [(f"the text {i}", "pos" if i % 2 else "neg") for i in range(60)]
    lines = [f"{a},{b}" if text_first else f"{b},{a}" for a, b in rows]
    lines[10] = lines[10].replace("the", '"the')
    lines[30] = lines[30].replace("text 30", 'text 30"')
    path = write(("text,label\n" if text_first else "label,text\n") + "\n".join(lines))
    with pytest.raises(BertError, match=r":12: .* line 32, .*`quoting='none'`.*`quoting='csv'`"):
        read_labelled(path)
    literal = read_labelled(path, Layout(table=TableOptions(quoting="none")))
    assert len(literal.data) == 60
    assert len(read_labelled(path, Layout(table=TableOptions(quoting="csv"))).data) == 40


def test_texts_of_many_lines_are_read(write):
    """Lines with as many commas as a row, but no label after them; and a whole letter."""
    import csv

    letter = "Dear all,\n\nwell, as I said, no.\nBring: eggs, milk, bread\n\nYours, A\nP.S. b, c"
    rows = [*ROWS, ("Hello, there\nfriend, of mine\nof old, too", "ham"), (letter, "spam")]
    out = io.StringIO()
    csv.writer(out).writerows([("text", "label"), *rows])
    assert pairs_of(read_labelled(write(out.getvalue())).data) == rows


def test_texts_that_all_have_lines_like_rows_are_read(write):
    """Each line has one comma, and both columns of lines have few values; but no row is a line."""
    rows = [(f"Name, Bob\nFriend, Bob\nNumber, {i}\nthe end", "ab"[i % 2]) for i in range(12)]
    content = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)
    assert pairs_of(read_labelled(write(content)).data) == rows


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('"go" she said,b', r"text after a closing quote\); double quotes in fields; if"),
        ('"go,b', "the quote is never closed; remove or double it; if"),
        ("a\rb,b", r"a \\r is within a field; if lines end with"),
    ],
)
def test_a_quote_or_line_end_that_is_wrong_is_explained(write, row, message):
    with pytest.raises(BertError, match=rf":14: .*{message}"):
        read_labelled(write(f"text,label\n{BODY}{row}\n"))


def test_blanks_before_quotes_and_backslashes_before_them(write):
    content = '"text", "label"\n' + "".join(f'"{a}, too", "{b}"\n' for a, b in ROWS)
    data = read_labelled(write(content)).data
    assert pairs_of(data) == [(f"{a}, too", b) for a, b in ROWS]
    # Blanks are kept where no quote follows.
    assert read_labelled(write("text,label\n a,x\n b,y\n")).data.texts == [" a", " b"]
    content = "text,label\n" + "".join(f'"say \\"{a}\\", so",{b}\n' for a, b in ROWS)
    reading = read_labelled(write(content))
    assert pairs_of(reading.data) == [(f'say "{a}", so', b) for a, b in ROWS]
    assert any("follow a backslash" in told for told in reading.warnings)


@pytest.mark.parametrize(
    ("delimiter", "name"), [(" ", "x.txt"), (" ", "x.csv"), (",", "x.csv"), ("\t", "x.txt")]
)
def test_what_r_writes(write, delimiter, name):
    """`write.table`: quoted, with row names, for which the header has no field."""
    lines = [("text", "label"), *((str(i), f"{a}, yes", b) for i, (a, b) in enumerate(ROWS, 1))]
    content = "\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)
    data = read_labelled(write(content, name)).data
    assert pairs_of(data) == [(f"{a}, yes", b) for a, b in ROWS]


def test_commas_after_json_objects_are_explained(write):
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    with pytest.raises(BertError, match=r"\(no JSON \(Extra data\)\), .*no commas after them"):
        read_labelled(write(",\n".join(lines), "x.jsonl"))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("text,label\na,b,c\nd,e,f\n", "x.csv", r"line 1 are 2 \(text, label\), but line 2 has 3"),
        ('{"text": "a",}\n' * 2, "x.jsonl", "in line 1, no JSON .*double quotes"),
        ('{"text": "a"},\n' * 2, "x.jsonl", "in line 1, no JSON .*Extra data"),
        ("text,label\ntext,label\n", "x.csv", "line 2 repeats the names"),
    ],
)
def test_no_row_that_is_fit_is_explained(write, content, name, message):
    with pytest.raises(BertError, match=f"has no rows.*{message}"):
        read_labelled(write(content, name))


# --- JSON


@pytest.mark.parametrize("orient", ["columns", "split", "records", "index", "table", "list"])
@pytest.mark.parametrize("names", [("text", "label"), ("words", "folder")])
def test_what_pandas_writes_as_json(write, orient, names):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=names)
    whole = json.dumps(frame.to_dict("list")) if orient == "list" else frame.to_json(orient=orient)
    data = read_labelled(write(whole, "x.json"), Layout(text=names[0], label=names[1])).data
    assert pairs_of(data) == ROWS
    lines = read_labelled(write(whole, "x.jsonl"), Layout(text=names[0], label=names[1]))
    assert pairs_of(lines.data) == ROWS
    values = read_labelled(write(frame.to_json(orient="values"), "x.json")).data
    assert pairs_of(values) == ROWS


def test_json_by_names_of_rows_and_of_several_arrays(write):
    rows = [{"words": text, "folder": label} for text, label in ROWS]
    by_name = json.dumps({f"id{number}": row for number, row in enumerate(rows)})
    assert pairs_of(read_labelled(write(by_name, "x.json")).data) == ROWS
    with pytest.raises(BertError, match="has several arrays, train, test; save each as a file"):
        read_labelled(write(json.dumps({"train": rows, "test": rows}), "x.json"))
    with pytest.raises(BertError, match="has several arrays, train, test"):
        read_labelled(write(json.dumps({"train": ROWS, "test": ROWS}), "x.json"))
    lines = "\n".join(json.dumps({"text": t, "label": {"name": label}}) for t, label in ROWS)
    with pytest.raises(BertError, match=":1: the label is an object"):
        read_labelled(write(lines, "x.jsonl"))


def test_a_list_or_an_object_is_no_text(write):
    rows = [{"text": text, "label": label} for text, label in ROWS]
    path = write("\n".join(map(json.dumps, [*rows, {"text": ["a"], "label": "ham"}])), "x.jsonl")
    with pytest.raises(BertError, match=r"1 row whose text is a list or an object.*:13"):
        read_labelled(path)
    assert predicted(path)[-1] == "the text is a list or an object"
    objects = [{"meta": {"a": "long " * 9}, "words": text, "label": x} for text, x in ROWS]
    assert read_labelled(write(json.dumps(objects), "x.json")).data.texts == TEXTS


# --- labels


HOT = [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]
HELD = [("0",), ("1", "2"), (), ("2",)]


def test_equally_long_lists_of_0_and_1_are_multi_hot(write, caplog):
    assert labelled_rows(TEXTS[:4], np.array(HOT)).labels == HELD
    assert caplog.text == ""
    lines = [json.dumps({"text": f"t{i}", "label": one}) for i, one in enumerate(HOT)]
    cells = [f't{i},"{one}"' for i, one in enumerate(HOT)]
    for data in (
        labelled_rows(TEXTS[:4], HOT),
        labelled_rows(TEXTS[:4], [tuple(map(float, one)) for one in HOT]),
        read_labelled(write("\n".join(lines), "x.jsonl")).data,
        read_labelled(write("text,label\n" + "\n".join(cells))).data,
    ):
        assert (data.task, data.labels) == ("multilabel", HELD)
    for spaced in ("[{0} {1} {2}]", "[{0}. {1}. {2}.]"):  # as numpy writes them
        content = "text,label\n" + "\n".join(
            f"t{i},{spaced.format(*one)}" for i, one in enumerate(HOT)
        )
        assert read_labelled(write(content)).data.labels == HELD
    named = labelled_rows(TEXTS[:4], HOT, label_names="abc")
    assert named.labels == [("a",), ("b", "c"), (), ("c",)]
    told = read_labelled(write("\n".join(lines), "x.jsonl")).warnings
    assert any("taken for 3 classes" in one for one in told)
    # Numbers of classes, as they are not equally long.
    assert labelled_rows(TEXTS[:2], [[0, 1], [1]]).labels == [("0", "1"), ("1",)]


@pytest.mark.parametrize("column", [[["a"], ["b"]], np.array([["a"], ["b"]])])
def test_a_column_of_one_is_one_label_each(write, column, caplog):
    data = labelled_rows(["t", "u"], column)
    assert (data.task, data.labels) == ("classes", ["a", "b"])
    assert "a column vector, (n, 1), where (n,) is expected" in caplog.text
    assert labelled_rows(["t", "u"], column, task="multilabel").labels == [("a",), ("b",)]
    lines = [json.dumps({"text": "t", "label": list(one)}) for one in column]
    reading = read_labelled(write("\n".join(lines), "x.jsonl"))
    assert reading.data.labels == ["a", "b"]
    assert any("(n, 1)" in told for told in reading.warnings)


JIGSAW = ("toxic", "obscene", "threat")


def test_several_columns_of_0_and_1_are_several_labels(write):
    """As Jigsaw's; -1 is a row without labels."""
    pandas = pytest.importorskip("pandas")
    content = "id,comment_text,toxic,obscene,threat\n" + "".join(
        f"{i},{text},{i % 2},{int(i == 3)},0\n" for i, text in enumerate(TEXTS)
    )
    expected = [(("toxic",) if i % 2 else ()) + (("obscene",) if i == 3 else ()) for i in range(12)]
    path = write(content + "12,left out,-1,-1,-1\n")
    for label in ("toxic,obscene,threat", JIGSAW, [2, 3, 4], "2, 3, 4"):
        reading = read_labelled(path, Layout(label=label))
        assert (reading.data.labels, reading.data.task) == (expected, "multilabel")
        assert (reading.data.label_names, reading.layout.label) == (JIGSAW, JIGSAW)
        assert [p.kind for p in reading.problems] == ["unlabelled"]
    assert read_labelled(path, reading.layout, Policy("evaluate")).data.labels == expected
    guessed = read_labelled(path)
    assert any("pass `label='toxic,obscene,threat'`" in told for told in guessed.warnings)
    with pytest.raises(BertError, match=r":2: 'id' is '7'; .* have 0 or 1"):
        read_labelled(write(content.replace("\n0,", "\n7,")), Layout(label="id,toxic"))
    with pytest.raises(BertError, match="several columns of labels are no classes"):
        read_labelled(path, Layout(label=JIGSAW, task="classes"))
    frame = pandas.read_csv(write(content))
    for data in (
        labelled_rows(frame["comment_text"], frame[list(JIGSAW)]),
        labelled_rows(frame, text="comment_text", label=list(JIGSAW)),
    ):
        assert (data.labels, data.label_names) == (expected, JIGSAW)


def test_a_dash_is_a_class_unless_it_is_rare_or_snlis(write):
    signs = ["+-"[number % 2] for number in range(40)]
    table = "text,label\n" + "".join(f"t{i},{sign}\n" for i, sign in enumerate(signs))
    assert read_labelled(write(table)).data.labels == signs
    rare = "text,label\n" + "".join(f"t{i},{'-' if i == 7 else i % 2}\n" for i in range(40))
    reading = read_labelled(write(rare))
    assert (len(reading.data), reading.problems[0].kind) == (39, "unlabelled")
    heads = "gold_label,sentence1,sentence2\n"
    snli = heads + "".join(f"{'-' if i < 3 else 'ab'[i % 2]},s{i},t\n" for i in range(20))
    assert len(read_labelled(write(snli)).data) == 17
    many = heads + "".join(f"{'-' if i % 2 else 'ab'[i % 3 % 2]},s{i},t\n" for i in range(20))
    with pytest.raises(BertError, match=r"10 rows without a label, of 20: .*unlabelled=drop"):
        read_labelled(write(many))
    kept = read_labelled(write(many), policy=Policy("train", unlabelled="drop"))
    assert len(kept.data) == 10


def test_lists_of_strings_as_python_and_numpy_write_them(write):
    """In JSON `["a", "it's"]`, in a frame saved as CSV `['a', "it's"]`, or without the comma."""
    for cells in (["['a', \"it's\"]", "['b']", "[]"], ["['a' \"it's\"]", "['b']", "[]"]):
        rows = [f't{i},"{cell.replace(chr(34), chr(34) * 2)}"' for i, cell in enumerate(cells)]
        data = read_labelled(write("text,label\n" + "\n".join(rows))).data
        assert (data.task, data.labels) == ("multilabel", [("a", "it's"), ("b",), ()])
    with pytest.raises(BertError, match=r"1 label\(s\)"):  # this is no list
        load_splits(write("text,label\n" + "".join(f"{text},[a]\n" for text in TEXTS)))


def test_sets_are_several_labels():
    data = labelled_rows(TEXTS[:3], [{"b", "a"}, frozenset("c"), set()])
    assert (data.task, data.labels) == ("multilabel", [("a", "b"), ("c",), ()])


def test_decimal_commas_are_reported(write):
    content = "text;label\n" + "".join(f"{text};{i % 4},5\n" for i, text in enumerate(TEXTS))
    assert any("decimal comma" in line for line in read_labelled(write(content)).warnings)
    with pytest.raises(BertError, match="decimals need a point"):
        read_labelled(write(content), Layout(task="regression"))


def test_a_column_that_is_often_blank_is_rather_not_the_label(write):
    """`why` has two values, as few as any column, but not in every row."""
    body = "".join(f"{t},{'abc'[i % 3]},{('', 'x', 'y')[i % 3]}\n" for i, t in enumerate(TEXTS))
    assert read_labelled(write("text,mood,why\n" + body)).data.labels == list("abc" * 4)


def test_a_column_with_one_value_is_no_label(write):
    content = "".join(f"{text},{label},en\n" for text, label in ROWS)
    assert read_labelled(write(content)).data.labels == [label for _, label in ROWS]
    with pytest.raises(BertError, match="no label found"):
        read_labelled(write("".join(f"{text},en\n" for text in TEXTS)))
    with pytest.raises(BertError, match="the table has one column; is `delimiter` right"):
        read_labelled(write(BODY.replace(",", ";"), "x.txt"))


@pytest.mark.parametrize(
    ("forms", "others"), [(("0", "1"), ("0.0", "1.0")), (("True", "False"), ("true", "FALSE"))]
)
def test_one_class_in_two_spellings(write, forms, others):
    def table(name, spelling, start):
        rows = (f"t{i + start},{spelling[i % 2]}\n" for i in range(8))
        return write("text,label\n" + "".join(rows), name)

    one, two = table("1.csv", forms, 0), table("2.csv", others, 100)
    both = read_labelled([two, one]).data
    assert set(both.labels) == set(forms) if forms[0] == "0" else len(set(both.labels)) == 2
    for files in ((one, two), (two, one)):
        found = load_splits(files[0], files[1])
        assert len(found.label_names) == 2
        assert set(found.splits["validation"].labels) == set(found.label_names)
    known = load_splits(None, None, two, label_names=forms)
    assert known.label_names == forms
    texts = "text,label\nt,01\nu,1\nv,yes\nw,Yes\n"
    assert read_labelled(write(texts)).data.labels == ["01", "1", "yes", "Yes"]


CONLL = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP B-MISC\n\n" * 3


@pytest.mark.parametrize("delimiter", [" ", "\t", ","])
def test_a_file_that_labels_tokens_is_named(write, delimiter):
    path = write(CONLL.replace(" ", delimiter), "eng.train")
    with pytest.raises(BertError, match=r"labels tokens, not texts, as CoNLL.*another task"):
        read_labelled(path)
    with pytest.raises(BertError, match="labels tokens"):
        PredictionRows(path, pairs=False)


def test_training_rows_that_are_all_in_the_test_data(write):
    path = write("text,label\n" + BODY)
    left = r"no row of train is left: .* all 10 are also in test; .*leak=keep"
    with pytest.raises(BertError, match=left):
        load_splits(path, test=path, changes={})


# --- read as in training


def test_sentences_with_commas_are_one_text_a_line(write):
    texts = ["Well, yes, it was", "No", "I think so, too", 'He said "no", twice']
    for name in ("x.txt", "x.csv"):
        for lines in (texts, ["Well, yes", "No, no", "So, so"]):
            path = write("\n".join(lines) + "\n", name)
            assert predicted(path) == lines
    assert any("each line is a text" in told for told in PredictionRows(path, pairs=False).warnings)
    # Where something is known of the file, and where pairs may be meant, it is a table.
    assert predicted(path, text=0) == ["Well", "No", "So"]
    assert predicted(write("text,id\nWell,1\n")) == ["Well"]
    assert predicted(path, pairs=True) == [("Well", " yes"), ("No", " no"), ("So", " so")]


def trained_on(path, **layout):
    """What is kept with a model that was trained on the file."""
    found = read_labelled(path, Layout(**layout)).layout
    known = {"text": found.text, "text_pair": found.text_pair, "label": found.label}
    return json.loads(json.dumps({**found.trained, **known}))


def test_the_only_column_next_to_the_label_is_the_text(write):
    """The training table had no names; here one column has the name of a label."""
    table = {"format": "csv", "columns": 3, "text": 2, "label": 0}
    content = "label,wording\n" + "".join(f"{label},{text}\n" for text, label in ROWS)
    assert predicted(write(content), trained=table) == TEXTS
    with pytest.raises(BertError, match="is not laid out as the training table"):
        predicted(write("label,wording,number\nham,go on,3\n"), trained=table)


def test_a_headerless_table_with_numbers_is_no_file_of_sentences(write):
    """As AG News and Yelp are published; a model of 0.1.0 does not know its training table."""
    content = "".join(f'"{i % 4}","{text}, too"\n' for i, text in enumerate(TEXTS))
    assert predicted(write(content)) == [f"{text}, too" for text in TEXTS]
    table = {"format": "csv", "columns": ["kind", "said"], "text": "said"}
    with pytest.raises(BertError, match="is not laid out as the training table"):
        predicted(write(content), trained=table)


def test_files_to_predict_are_read_as_the_training_table(write):
    headerless = write("".join(f"{b};{a};{i}\n" for i, (a, b) in enumerate(ROWS)), "a.csv")
    trained = trained_on(headerless, text=1, label=0)
    assert trained["columns"] == 3
    assert (trained["delimiter"], trained["format"]) == (";", "csv")
    new = write("what;kind of thing, or so;7\nham;Go on;8\n", "new.csv")
    assert predicted(new, trained=trained) == ["kind of thing, or so", "Go on"]
    named = write("what;words;n\n" + "".join(f"{b};{a};{i}\n" for i, (a, b) in enumerate(ROWS)))
    assert predicted(named, text="words", trained=trained) == TEXTS
    # Another layout: a text in each line, names that are usual, or names that are not.
    assert predicted(write("Well, yes\nNo, no\n"), trained=trained) == ["Well, yes", "No, no"]
    named = write("id,text\n1,Well\n2,No\n")
    assert predicted(named, trained=trained) == ["Well", "No"]
    told = PredictionRows(named, Layout(trained=trained), pairs=False).warnings
    assert any("is not laid out as the training table" in one for one in told)
    with pytest.raises(
        BertError, match=r"not laid out as the training table: .* 3 columns.*`text`"
    ):
        predicted(write("a long text\t1\t2\t3\nanother\t4\t5\t6\n", "x.tsv"), trained=trained)


def test_the_number_of_a_column_is_no_name_in_the_first_line(write):
    content = "".join(f"{text},{1 - i % 2}\n" for i, text in enumerate(TEXTS))
    assert read_labelled(write(content), Layout(text="0", label="1")).data.texts == TEXTS


def test_names_of_training_are_known_in_any_case_and_without_the_text(write):
    table = {"format": "csv", "delimiter": ",", "columns": ["kind", "said", ""], "text": "said"}
    assert predicted(write('Kind,Said\nx,"go, on"\n'), trained=table) == ["go, on"]
    with pytest.raises(BertError, match="it has columns: kind, number"):
        predicted(write("kind,number\nx,3\n"), trained=table)
    # A blank name is in no first line.
    assert predicted(write('go on,"now",,\nx,y,,\n'), trained=table) == ['go on,"now",,', "x,y,,"]
    # Two lines with unlike numbers of commas do not show the format; that of the training fits.
    assert predicted(write('kind,said\nx,"a, b, c"\n', "piped"), trained=table) == ["a, b, c"]
    assert predicted(write("go on, now\nor not\n", "piped"), trained=table)[0] == "go on, now"


def test_sentences_with_as_many_commas_as_the_training_table_are_texts(write):
    """Two columns in training; in a file of sentences no label is in the place of the label."""
    table = {"format": "csv", "delimiter": ",", "columns": 2, "text": 1, "label": 0}
    layout = {"trained": table, "label_names": ("ham", "spam")}
    sentences = ["Well, go on", "But, not so fast", "Yes, now"]
    assert predicted(write("\n".join(sentences)), **layout) == sentences
    assert predicted(write("ham,go on\nspam,go\n"), **layout) == ["go on", "go"]
    assert predicted(write("?,go on\n?,go\n"), **layout) == ["go on", "go"]  # not known


def test_columns_of_training_are_found_by_name(write):
    path = write("subject,words,folder\n" + "".join(f"title,{a},{b}\n" for a, b in ROWS))
    trained = trained_on(path, text="words", label="folder")
    assert trained["columns"] == ["subject", "words", "folder"]
    # `subject` is much longer here.
    longer = "words;subject\nWell;" + "long " * 9 + "\n"
    assert predicted(write(longer, "new.csv"), trained=trained) == ["Well"]
    lines = '{"subject": "a long text here", "words": "Well"}\n'
    assert predicted(write(lines, "new.jsonl"), trained=trained) == ["Well"]
    others = "had the columns subject, words, folder; it has columns: a, b"
    with pytest.raises(BertError, match=others):
        predicted(write("a,b\nsome words,1\nmore words,2\n"), trained=trained)
    pair = trained | {"text": "premise", "text_pair": "words"}
    assert predicted(write("a b\tc\n", "x.tsv"), pairs=True, trained=pair) == [("a b", "c")]
    # Flags come first; models of before have fewer entries, or none.
    assert predicted(write("a,b\nx,1\ny,2\n"), text="a", trained=trained) == ["x", "y"]
    assert predicted(write(longer, "new.csv"), trained={"text": "words"}) == ["Well"]
    assert predicted(write("text,n\nx,1\ny,2\n"), trained={}) == ["x", "y"]


def test_an_encoding_of_training_is_taken_only_where_it_is_needed(write):
    old = write("text,label\n" + BODY.replace("all", "café"), "a.csv")
    with open(old, "rb") as file:
        content = file.read().decode().encode("cp1252")
    old = write(content, "a.csv")
    trained = trained_on(old, table=TableOptions(encoding="cp1252"), text="text", label="label")
    trained["encoding"] = "cp1252"
    assert predicted(old, trained=trained)[0] == "Go on to number 0 of café"
    new = write("text,label\nun café,ham\n", "new.csv")
    assert predicted(new, trained=trained) == ["un café"]
