"""Reading plain text: files, documents, and the table of their sources."""

import gzip

import pytest

from bert_tf.data import read_documents, read_sources
from bert_tf.data.pretraining.documents import Documents, documents_warning
from bert_tf.errors import BertError
from bert_tf.files.finding import find_files

TEXT = (
    b"\n\n  one \r\ntwo\xff words\n \t\nthree\xe2\x80\xa8still three\n\n\nfour\x0cstill four\nfive"
)
DOCUMENTS = [["one", "two words"], ["three\u2028still three"], ["four\x0cstill four", "five"]]
"""By hand: blank lines at the start, several in a row, of spaces; a byte that is not UTF-8; what
Python, but not the original, would end a line at; no line feed at the end."""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_documents_as_the_original_reads_them(tmp_path, pack):
    path = tmp_path / "text"
    path.write_bytes(pack(TEXT))
    told = []
    assert list(read_documents(path, told.append)) == DOCUMENTS
    assert sum(told) == path.stat().st_size


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n"])
def test_a_file_without_text_has_no_documents(tmp_path, content):
    path = tmp_path / "text"
    path.write_bytes(content)
    assert list(read_documents(path)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(TEXT * 99, mtime=0)[:-20], "broken or cut off"),
        (b"\x1f\x8bno gzip", "broken or cut off"),
        ("a\n".encode("utf-16")[:-1], "is no utf-16-le: truncated data; give plain text"),
        ("a\n".encode("utf-32"), "UTF-32"),
        (b"BZh91AY&SY...", "bzip2"),
        (b"PK\x03\x04...", "zip"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(BertError, match=message) as error:
        list(read_documents(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_marked_encoding_is_read(tmp_path, encoding, pack):
    path = tmp_path / "text"
    path.write_bytes(pack("Ünïcode \u0442\n\nзвук\n".encode(encoding)))
    assert list(read_documents(path)) == [["Ünïcode \u0442"], ["звук"]]


ALPHABETS = {"cp1251": "Он пришёл в дом.", "gb18030": "他来到了房子。", "cp1252": "Füße auf Öl"}


@pytest.mark.parametrize("encoding", ALPHABETS)
def test_another_encoding_is_refused_with_how_to_convert_it(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_bytes(f"plain\n{ALPHABETS[encoding]}\n".encode(encoding) * 4)
    with pytest.raises(BertError) as error:
        list(read_documents(path))
    message = str(error.value)
    assert f"{path}:2: the text is not UTF-8, 4 of 8 lines" in message
    assert f"iconv -f ENCODING -t UTF-8 {path} > utf8.txt" in message
    assert f"{ALPHABETS[encoding]!r} in {encoding}" in message


def test_another_encoding_is_noticed_early(tmp_path):
    """After 101 such lines, not at the end of the file."""
    path = tmp_path / "text.txt"
    path.write_bytes("Он\n\n".encode("cp1251") * 200_000)
    told = []
    with pytest.raises(BertError, match="101 of 101 lines"):
        list(read_documents(path, told.append))
    assert sum(told) < path.stat().st_size


@pytest.mark.parametrize(("good", "bad"), [(4, 1), (4, 2), (10_000, 9), (10, 3), (4000, 4)])
def test_stray_lines_are_counted(tmp_path, caplog, good, bad):
    """Three, or one of a thousand; their other letters stay, as in the original."""
    path = tmp_path / "text.txt"
    path.write_bytes(b"good\n" * good + b"b\xe9d\n" * bad)
    assert list(read_documents(path)) == [["good"] * good + ["bd"] * bad]
    (warning,) = caplog.messages
    assert f"{bad} of {good + bad:,} lines have bytes that are not UTF-8" in warning
    assert f"dropped: {path}:{good + 1}" in warning
    assert warning.endswith(", ...") == (bad > 3)


@pytest.mark.parametrize(("good", "bad"), [(0, 1), (1, 2), (10, 4), (3990, 5)])
def test_more_stray_lines_are_refused(tmp_path, good, bad):
    path = tmp_path / "text.txt"
    path.write_bytes(b"good\n" * good + b"b\xe9d\n" * bad)
    with pytest.raises(BertError, match=rf"{bad} of {good + bad:,} lines"):
        list(read_documents(path))


def test_strays_of_many_files_are_counted_together(tmp_path, caplog):
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"good\n" * 10 + b"b\xe9d\n")
    assert len(list(Documents([tmp_path / "0", tmp_path / "1"]))) == 2
    assert "2 of 22 lines" in caplog.messages[0]
    with pytest.raises(BertError, match="3:11: the text is not UTF-8, 4 of 44 lines"):
        list(Documents([tmp_path / str(number) for number in range(5)]))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(BertError, match="No such file"):
        next(read_documents(tmp_path / "none.txt"))


def test_find_files_sorts_patterns_and_keeps_the_order_of_names(tmp_path):
    for name in ("b.txt", "a.txt", "c.gz", "[x].txt", "deep/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.txt").mkdir()

    def found(*patterns):
        paths = find_files(tmp_path / pattern for pattern in patterns)
        return [str(path.relative_to(tmp_path)) for path in paths]

    assert found("*.txt") == ["[x].txt", "a.txt", "b.txt"]
    assert found("c.gz", "[ab].txt", "a.txt") == ["c.gz", "a.txt", "b.txt"]
    assert found("[x].txt") == ["[x].txt"]
    assert found("**/d.txt") == ["deep/d.txt"]
    assert find_files(tmp_path / "a.txt") == [tmp_path / "a.txt"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["*.md"], r"\*\.md: this pattern matches no file"),
        (["a.txt", "none.txt"], r"none\.txt: this file is missing"),
        (["."], "is a folder; name its files"),
        ([], "no input files"),
    ],
)
def test_find_files_names_what_it_does_not_find(tmp_path, monkeypatch, patterns, message):
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BertError, match=message):
        find_files(patterns)


TABLE = "doc\tid\n0\tbook#1\tChapter\n1\tbook#2\n2\thttp://x/y?z=1\tTitle\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_sources_are_what_stands_before_the_hash(tmp_path, pack):
    path = tmp_path / "docs.tsv"
    path.write_bytes(pack(TABLE.encode()))
    assert read_sources(path, "id") == ["book", "book", "http://x/y?z=1"]
    assert read_sources(path, 1) == read_sources(path, "id")
    assert read_sources(path, "doc") == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        (TABLE, "source", "no column 'source'; it has doc, id"),
        (TABLE, 3, "no number 3"),
        (TABLE, -1, "no number -1"),
        (TABLE, 2, "line 3: no value"),
        ("", "id", "is empty"),
        ("id\n#1\n", "id", "line 2: no value"),
        ("id\n1\nK\udcf6ln\n", "id", "line 3 is not UTF-8; it reads 'Köln' in cp1252"),
    ],
)
def test_a_table_without_the_sources_is_refused(tmp_path, table, column, message):
    path = tmp_path / "docs.tsv"
    path.write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(BertError, match=message):
        read_sources(path, column)


@pytest.mark.parametrize(
    ("documents", "single", "said"),
    [(1000, 999, "not\nafter"), (10, 9, "not\nafter"), (10, 8, None), (1, 0, "one document")],
)
def test_blank_lines_after_each_sentence_are_warned_of(documents, single, said):
    warning = documents_warning("en", documents, single)
    assert (warning is None) == (said is None)
    if warning and said:
        assert said.replace("\n", " ") in warning
