"""Reading plain text: files, documents, and the table of their sources."""

import gzip

import pytest

from bert_tf.data import read_documents, read_sources
from bert_tf.data.pretraining.documents import documents_warning
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
        ("a\n".encode("utf-16"), "UTF-16"),
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
    ],
)
def test_a_table_without_the_sources_is_refused(tmp_path, table, column, message):
    path = tmp_path / "docs.tsv"
    path.write_text(table)
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
