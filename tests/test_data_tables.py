"""Reading tables: formats, dialects, headers, columns, encodings, and what is odd in them."""

import csv
import datetime
import gzip
import io
import json
import re
import sys

import pytest

from bert_tf._deprecated import stream_labelled
from bert_tf.data.labelled.columns import Layout, choose_columns
from bert_tf.data.labelled.problems import Policy
from bert_tf.data.labelled.reading import read_labelled
from bert_tf.data.labelled.tables import Table, TableOptions
from bert_tf.data.labelled.texts import show_place
from bert_tf.errors import BertError

ROWS = [("good film", "yes"), ('he said "no", twice', "no"), ("two\nlines; here", "yes")]


def written(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_csv(rows, **dialect):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", **dialect).writerows(rows)
    return out.getvalue()


def read(path, policy=None, **layout):
    return read_labelled(path, Layout(**layout), policy)


def lines_of(data):
    return [line for _, line in data.rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_csv_with_quotes_line_ends_and_any_delimiter(tmp_path, delimiter, pack):
    text = as_csv([("text", "label"), *ROWS, ("last", "no")], delimiter=delimiter)
    name = "data.csv" if pack is bytes else "data.csv.gz"
    reading = read(written(tmp_path, pack(text.encode()), name))
    assert list(zip(reading.data.texts, reading.data.labels)) == [*ROWS, ("last", "no")]
    # The third row takes lines 4 and 5.
    assert lines_of(reading.data) == [2, 3, 4, 6]
    assert reading.problems == []
    assert (reading.layout.text, reading.layout.label) == ("text", "label")


def test_quotes_are_literal_in_tsv(tmp_path):
    content = 'ham\t"Hello" she said\nspam\t"never closed\nham\tthe end"\nham\t5"\r\n'
    data = read(written(tmp_path, content, "SMSSpamCollection")).data
    assert data.texts == ['"Hello" she said', '"never closed', 'the end"', '5"']
    assert data.labels == ["ham", "spam", "ham", "ham"]


def test_quoting_can_be_said(tmp_path):
    content = '"a, b"\tx\n"c ""d"""\ty\n'
    path = written(tmp_path, content, "data.tsv")
    literal = read(path, text=0, label=1)
    assert literal.data.texts == ['"a, b"', '"c ""d"""']
    assert any("`quoting='csv'`" in warning for warning in literal.warnings)
    quoted = read(path, text=0, label=1, table=TableOptions(quoting="csv"))
    assert quoted.data.texts == ["a, b", 'c "d"']
    assert not any("`quoting" in warning for warning in quoted.warnings)


@pytest.mark.parametrize(
    ("content", "line"),
    [('a,x\n"b,y\nc,x\nd,y\n', 2), ('a,x\nb,y\n"c,x', 3), ('"a,x', 1)],
)
def test_a_quote_that_is_never_closed_is_told_with_its_line(tmp_path, content, line):
    path = written(tmp_path, content)
    with pytest.raises(BertError, match=f":{line}: the quote .* `quoting='none'`"):
        read(path, text=0, label=1)


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ('{"text": "a", "label": 1}\n\n{"label": 0, "text": "b"}\n', "x.jsonl", [1, 3]),
        ('{"text": "a", "label": 1}\n{"label": 0, "text": "b"}', "x.json", [1, 2]),
        ('[{"text": "a", "label": 1},\n{"label": 0, "text": "b"}]', "x.json", [1, 2]),
        ('{"data": [{"text": "a", "label": 1}, {"label": 0, "text": "b"}]}', "x.json", [1, 2]),
        ('{"text": "a", "label": 1}\n{"label": 0, "text": "b"}\n', "noname", [1, 2]),
        ('["a", "1"]\n["b", "0"]\n', "x.ndjson", [1, 2]),
    ],
)
def test_json(tmp_path, content, name, expected):
    layout = {} if "text" in content else {"text": 0, "label": 1}
    data = read(written(tmp_path, content, name), **layout).data
    assert (data.texts, data.labels, lines_of(data)) == (["a", "b"], ["1", "0"], expected)


def test_json_lines_that_are_none_are_told(tmp_path):
    good = [json.dumps({"text": f"t{i}", "label": i % 2}) for i in range(40)]
    lines = [*good[:5], "{broken", "7", *good[5:]]
    reading = read(written(tmp_path, "\n".join(lines), "x.jsonl"))
    assert len(reading.data) == 40
    assert [(p.kind, p.count, [line for _, line in p.places]) for p in reading.problems] == [
        ("ragged", 2, [6, 7])
    ]


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = {"premise": ["a", None, "c"], "hypothesis": ["d", "e", "f"], "label": [0, 1, None]}
    parquet.write_table(pa.table(table), path)
    data = read(path, Policy("train", unlabelled="drop")).data
    assert (data.texts, data.pairs, data.labels) == (["a"], ["d"], ["0"])
    kept = read(path, Policy("predict")).data
    assert (kept.texts, kept.pairs) == (["a", "", "c"], ["d", "e", "f"])
    assert kept.labels == ["0", "1", None]
    path.write_bytes(b"PAR1 rubbish")
    with pytest.raises(BertError, match="Parquet"):
        read(path)


HARD = ["NA", "null", "01", "1.0", "nan", 'say "hi"', '"x', "a\u2028b", " two\nlines ", "TRUE"]


def workbook(tmp_path, sheets, name="x.xlsx"):
    """An Excel file of sheets: name to rows of cells."""
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("pandas")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(tmp_path / name)
    return tmp_path / name


def test_excel_text_stays_the_text_it_is(tmp_path):
    rows = [("text", "label"), *((text, f"0{i % 2}") for i, text in enumerate(HARD))]
    data = read(workbook(tmp_path, {"s": rows}), unlabelled=()).data
    assert data.texts == HARD
    assert data.labels == [f"0{i % 2}" for i in range(len(HARD))]
    assert lines_of(data) == list(range(2, len(HARD) + 2))
    csv_data = read(written(tmp_path, as_csv(rows)), unlabelled=()).data
    assert (csv_data.texts, csv_data.labels) == (data.texts, data.labels)


def test_excel_numbers_dates_and_empty_cells(tmp_path):
    moment = datetime.datetime(2024, 1, 31)
    rows = [(1, 1.0, 0.1), (None, True, moment), (None, None, None), ("#N/A", "=A1", -2.5)]
    table = Table(workbook(tmp_path, {"s": rows}), TableOptions(header=False))
    assert [(row.line, list(row.fields), row.problem) for row in table.rows()] == [
        (1, ["1", "1", "0.1"], ""),
        (2, ["", "True", "2024-01-31 00:00:00"], ""),
        (3, [], "blank_line"),
        (4, ["", "", "-2.5"], ""),  # nobody has computed the formula
    ]


def test_excel_lines_are_those_of_the_sheet(tmp_path):
    """A blank row above the names, one within, and rows without a label or a text."""
    body = [("a b", "x"), (), ("c", None), ("d e", "y"), (None, "x"), ("f", "y")]
    reading = read(workbook(tmp_path, {"s": [(), ("text", "label"), *body]}))
    assert lines_of(reading.data) == [3, 6, 8]
    found = {p.kind: [line for _, line in p.places] for p in reading.problems}
    assert found == {"blank_line": [1, 4], "unlabelled": [5], "empty_text": [7]}


def test_excel_sheets_by_name_or_number(tmp_path):
    first, second = ([("text", "label"), (text, "a"), ("z", "b")] for text in ("one", "two"))
    path = workbook(tmp_path, {"A b": first, "0": second})
    reading = read(path)
    assert reading.data.texts == ["one", "z"]
    assert any("2 sheets" in told and "'A b'" in told for told in reading.warnings)
    for sheet, text in (("A b", "one"), ("0", "two"), ("1", "two")):
        reading = read(path, table=TableOptions(sheet=sheet))
        assert reading.data.texts[0] == text
        assert not any("`sheet`" in told for told in reading.warnings)
    for sheet in ("2", "C", "-1"):
        with pytest.raises(BertError, match=f"no sheet '{sheet}'; it has A b, 0"):
            Table(path, TableOptions(sheet=sheet))


def test_no_text_in_the_first_sheet_names_the_flag_for_another(tmp_path):
    sheets = {"n": [("x", "y"), (1, 2)], "texts": [("text", "label"), ("one", "a")]}
    with pytest.raises(BertError, match=r"no column of text.* 2 sheets .*'n' is read \(`sheet`\)"):
        read(workbook(tmp_path, sheets))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\xd0\xcf\x11\xe0" * 200])
def test_what_is_no_workbook_is_told(tmp_path, content):
    pytest.importorskip("openpyxl")
    path = written(tmp_path, content, "x.xlsx")
    with pytest.raises(BertError, match=f"cannot read {path} as an Excel workbook: .*zip"):
        read(path)
    with pytest.raises(BertError, match="has no rows"):
        read(workbook(tmp_path, {"s": [()]}))


@pytest.mark.parametrize("module", ["pandas", "openpyxl"])
def test_without_the_readers_of_excel_the_message_says_what_to_install(
    tmp_path, monkeypatch, module
):
    path = workbook(tmp_path, {"s": [("a", "b")]})
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BertError, match=r"Excel workbook.*pip install 'bert_tf\[tables\]'"):
        read(path)


def test_text_behind_a_closing_quote_is_refused(tmp_path):
    path = written(tmp_path, 'text,label\na,x\n"b" c,y\n')
    with pytest.raises(BertError, match=r":3: this is no CSV .* `quoting='none'`"):
        read(path, text=0, label=1)
    # It is reported even where another delimiter would let the quotes pass.
    path = written(tmp_path, "".join(f'x|y {i},"b" c\n' for i in range(9)), "late.csv")
    path.write_text("a b,x\n" * 5 + path.read_text())
    with pytest.raises(BertError, match=r":6: this is no CSV"):
        read(path, text=0, label=1)


def header_of(tmp_path, content, name="x.tsv", **options):
    return Table(written(tmp_path, content, name), TableOptions(**options)).names


def test_a_header_is_told_by_the_stated_rule(tmp_path):
    # A usual name; numbers below a word; neither.
    assert header_of(tmp_path, "Sentence\tx\na\tb\n") == ("Sentence", "x")
    assert header_of(tmp_path, "q\twords\n1\ta\n0\tb\n") == ("q", "words")
    assert header_of(tmp_path, "ham\tGo on\nspam\tWin\n") is None
    # A class that is called like a column, and comes again.
    assert header_of(tmp_path, "question\tWhy?\nanswer\tSo.\nquestion\tWho?\n") is None
    # Few values, each several times, and another in the first line.
    body = [f"Go on to {number}\t{'spam' if number % 2 else 'ham'}\n" for number in range(10)]
    assert header_of(tmp_path, "".join(["what\tkind\n", *body])) == ("what", "kind")
    assert header_of(tmp_path, "".join(["what\tspam\n", *body])) is None
    # Too few of each, but both look like names, and the texts are long.
    assert header_of(tmp_path, "".join(["what\tkind\n", *body[:9]])) == ("what", "kind")
    # One name for all columns is no header.
    assert header_of(tmp_path, "text\ttext\na\tb\n") is None
    assert header_of(tmp_path, "text\tlabel\na\tb\n", header=False) is None
    assert header_of(tmp_path, "u\tv\na\tb\n", header=True) == ("u", "v")
    path = written(tmp_path, "u,v\na,b\n")
    assert Table(path, wanted=["v"]).names == ("u", "v")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sentence1,sentence2,label\na b,c d,x\n", (0, 1, 2)),
        ("id,Label,Text\n1,x,a b\n", (2, None, 1)),
        ("gold_label,premise,hypothesis,genre\nx,a b,c d,g\n", (1, 2, 0)),
        ("label,question,sentence\nx,a,b\n", (1, 2, 0)),
        # By content: the longest column, and that with the fewest values.
        ("1,a long text here,pos\n2,another long one,neg\n3,and a third text,pos\n", (1, None, 2)),
        ("a long text here,4.5\nanother long text,3.25\na third text,1\n", (0, None, 1)),
    ],
)
def test_columns_are_told_by_the_stated_rule(tmp_path, content, expected):
    columns, warnings = choose_columns(Table(written(tmp_path, content)))
    assert columns == expected
    assert len(warnings) == 1


def test_columns_by_name_or_number(tmp_path):
    content = "".join(f"{'ab'[i % 2]},first {i},second {i},{i}\n" for i in range(6))
    data = read(written(tmp_path, content), text=1, text_pair="2", label=0).data
    assert data.texts[:2] == ["first 0", "first 1"]
    assert data.pairs[1] == "second 1"
    assert data.labels[:3] == ["a", "b", "a"]
    named = written(tmp_path, "k,one,two\n" + content.replace(",0\n", "\n"), "n.csv")
    layout = {"text": "one", "text_pair": "TWO", "label": "k", "table": TableOptions(header=True)}
    with pytest.raises(BertError, match="another number of fields"):  # the table is too narrow
        read(named, **layout)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"text": "words"}, "no column 'words': it has text, label, id"),
        ({"text": 3}, "has no column 3; it has columns 0 to 2"),
        ({"text": "label", "label": "label"}, "one column is given twice"),
        ({"text": "text", "text_pair": 0}, "one column is given twice"),
    ],
)
def test_columns_that_are_not_there_are_refused(tmp_path, layout, message):
    path = written(tmp_path, "text,label,id\na,x,1\nb,y,2\n")
    with pytest.raises(BertError, match=re.escape(message)):
        read(path, **layout)


def test_a_label_that_cannot_be_told_is_asked_for(tmp_path):
    path = written(tmp_path, "one text,k1\nother text,k2\nthird text,k3\n")
    with pytest.raises(BertError, match=r"name it with `label` \(columns: 0, 1\)"):
        read(path)
    with pytest.raises(BertError, match="no column of text"):
        read(written(tmp_path, "1,2\n3,4\n", "numbers.csv"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_told_from_the_file(tmp_path, encoding):
    text = as_csv([("text", "label"), ("жук and é", "a"), ("plain words here", "b")])
    data = read(written(tmp_path, text.encode(encoding))).data
    assert data.texts == ["жук and é", "plain words here"]


def test_a_wrong_encoding_is_refused_with_lines_and_what_to_type(tmp_path):
    rows = [
        ("text", "label"),
        *[(f"caf\u00e9 {i}" if i % 3 == 0 else f"t {i}", "a") for i in range(9)],
    ]
    path = written(tmp_path, as_csv(rows).encode("cp1252"))
    with pytest.raises(BertError) as error:
        read(path)
    message = str(error.value)
    assert f"{path}:2, :5, :8" in message
    assert "3 rows" in message
    assert "0xE9" in message
    assert "'café 0'" in message
    assert "`encoding='cp1252'`" in message
    assert "wrong_encoding=drop" in message
    assert read(path, table=TableOptions(encoding="cp1252")).data.texts[0] == "café 0"
    dropped = read(path, Policy("train", wrong_encoding="drop"))
    assert len(dropped.data) == 6
    replaced = read(path, Policy("train", wrong_encoding="replace"))
    assert replaced.data.texts[0] == "caf\ufffd 0"
    assert replaced.problems[0].action == "replace"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04zip", "Excel workbook; save it as CSV"),
        (gzip.compress(b"a,b\n" * 99, mtime=0)[:-9], "broken or cut off"),
        (b"PAR1", "`format='parquet'`"),
        ("text,label\n".encode("utf-16") + b"\x00\xd8\x00\x00", "no utf-16"),
        (b"", "has no rows"),
        (b"text,label\n", "has no rows"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(BertError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_options_without_meaning_are_refused(tmp_path):
    for wrong, message in (
        ({"format": "xls"}, "format is 'xls'"),
        ({"quoting": "all"}, "quoting is 'all'"),
        ({"delimiter": "::"}, "one character"),
    ):
        with pytest.raises(BertError, match=message):
            TableOptions(**wrong)
    with pytest.raises(BertError, match="no encoding 'utf8000'"):
        read(written(tmp_path, "a,b\n"), table=TableOptions(encoding="utf8000"))


def test_ragged_lines_are_dropped_if_few_and_refused_if_many(tmp_path):
    rows = [f"text {i}\t{i % 2}" for i in range(50)]
    rows[10] += "\tmore"
    rows[20] = "alone"
    reading = read(written(tmp_path, "\n".join(rows), "x.tsv"), text=0, label=1)
    assert len(reading.data) == 48
    (problem,) = reading.problems
    assert [show_place(place).rsplit(":")[-1] for place in problem.places] == ["11", "21"]
    assert str(problem).startswith("2 lines with another number of fields")
    many = [row + "\tx" if i % 4 == 0 else row for i, row in enumerate(rows)]
    with pytest.raises(BertError, match="`delimiter`"):
        read(written(tmp_path, "\n".join(many), "y.tsv"), text=0, label=1)
    with pytest.raises(BertError, match=r"1 line .*:11;"):  # to predict on, rows must stay in place
        read(tmp_path / "x.tsv", Policy("predict"), text=0)


def test_one_text_a_line_with_commas_is_no_csv(tmp_path):
    content = "Well, yes, it was\nNo\nI think so, too\n\n5 of 6\n"
    data = read(written(tmp_path, content, "texts.txt"), Policy("predict")).data
    assert data.texts == ["Well, yes, it was", "No", "I think so, too", "5 of 6"]
    assert lines_of(data) == [1, 2, 3, 5]
    assert data.labels is None


# --- labels and tasks


def labels_of(tmp_path, column, **layout):
    rows = [{"text": f"t{i}", "label": label} for i, label in enumerate(column)]
    path = written(tmp_path, "\n".join(map(json.dumps, rows)), "x.jsonl")
    reading = read(path, Policy("train", unlabelled="keep", nan="keep"), **layout)
    return reading.data.task, reading.data.labels


@pytest.mark.parametrize(
    ("column", "layout", "task", "labels"),
    [
        ([1, 0, 1], {}, "classes", ["1", "0", "1"]),
        ([1.0, 0.0, None], {}, "classes", ["1", "0", None]),
        (["a ", "-", ""], {}, "classes", ["a", "-", None]),
        (["a", "-", "b"], {"unlabelled": ("b",)}, "classes", ["a", "-", None]),
        (["none", "nan", "x"], {}, "classes", ["none", "nan", "x"]),
        (["1", "nan", "0"], {}, "classes", ["1", None, "0"]),
        (
            ["1.5", "2", "inf"],
            {},
            "regression",
            [1.5, 2.0, None],
        ),
        ([1, 2, 3], {"task": "regression"}, "regression", [1.0, 2.0, 3.0]),
        ([0.5, 1, 2], {"task": "classes"}, "classes", ["0.5", "1", "2"]),
        ([["a", "b", "a"], [], None], {}, "multilabel", [("a", "b"), (), None]),
        (
            ["a|b", "", "-", "c"],
            {"label_separator": "|"},
            "multilabel",
            [("a", "b"), (), ("-",), ("c",)],
        ),
        (
            [
                "a;b",
                "c, d",
                "a",
            ],  # two marks in as many rows: the one that stands first in the rule
            {"task": "multilabel"},
            "multilabel",
            [("a", "b"), ("c, d",), ("a",)],
        ),
        (['["a"]', "[]"], {}, "multilabel", [("a",), ()]),
        (["x", "y"], {"renamed": {"x": "z"}}, "classes", ["z", "y"]),
        ([True, False], {}, "classes", ["True", "False"]),
    ],
)
def test_labels_of_each_task(tmp_path, column, layout, task, labels):
    assert labels_of(tmp_path, column, **layout) == (task, labels)


def test_labels_that_look_like_several_are_told(tmp_path):
    """Where combinations of few parts are more classes than there are parts, and only there."""
    path = written(tmp_path, "text,label\nu,a\nv,a|b\nw,b\nx,b|a\n")
    reading = read(path)
    assert reading.data.labels == ["a", "a|b", "b", "b|a"]
    told = [warning for warning in reading.warnings if "`label_separator='|'`" in warning]
    assert len(told) == 1
    assert told[0].startswith("2 labels hold '|', such as 'a|b'")
    assert read(path, label_separator="|").warnings == read(path, task="classes").warnings
    path = written(tmp_path, "text,label\nu,Rome|Italy\nv,Oslo|Norway\n")
    assert not any("separator" in warning for warning in read(path).warnings)


def test_tables_are_asked_for_where_there_are_none(tmp_path):
    with pytest.raises(BertError, match="this file is missing; give tables: CSV, TSV, JSON lines"):
        read(tmp_path / "none.csv")


def test_a_list_is_no_class(tmp_path):
    with pytest.raises(BertError, match="the label is a list"):
        labels_of(tmp_path, [["a"], ["b", "c"]], task="classes")


def test_only_rows_of_one_value_are_taken(tmp_path):
    path = written(tmp_path, "lang,text,label\nen,a,x\nfr,b,y\nen,c,y\n")
    data = read(path, only=("lang", "en")).data
    assert (data.texts, lines_of(data)) == (["a", "c"], [2, 4])


def test_files_follow_each_other(tmp_path):
    one = written(tmp_path, "text,label\na,x\n", "1.csv")
    two = written(tmp_path, "label,text\ny,b\n", "2.csv")
    data = read([one, two]).data
    assert (data.texts, data.labels) == (["a", "b"], ["x", "y"])
    assert [data.place(0), data.place(1)] == [f"{one}:2", f"{two}:2"]


# --- streams


def test_a_stream_gives_all_rows_in_order_and_portions(tmp_path):
    rows = [f"text {i}" if i != 30 else " " for i in range(100)]
    path = written(tmp_path, as_csv([("text", "id"), *((t, i) for i, t in enumerate(rows))]))
    told = []
    parts = list(stream_labelled(path, rows=32, on_remark=told.append))
    assert [len(part) for part in parts] == [32, 32, 32, 4]
    assert [text for part in parts for text in part.texts] == rows
    assert all(part.labels is None for part in parts)
    assert told[-1].endswith("1 row with an empty text, kept: " + f"{path}:32")


def test_a_stream_stops_at_a_line_that_would_shift_the_others(tmp_path):
    path = written(tmp_path, "\n".join(["a\t1"] * 2000 + ["broken", "b\t0"]), "x.tsv")
    parts = stream_labelled(path, Layout(text=0), rows=500)
    assert [len(next(parts)) for _ in range(4)] == [500] * 4
    with pytest.raises(BertError, match=":2001"):
        next(parts)


def test_a_sheet_of_a_file_that_has_none_is_said(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text,label\na,b\n")
    said = read(path, table=TableOptions(sheet="1")).warnings
    assert any("`sheet` is for Excel files" in one and "x.csv is csv" in one for one in said)
