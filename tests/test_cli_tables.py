"""Tables and what goes into them."""

import doctest

import pytest

from bert_tf.report import bar, percent, printable, shorten, table, tables, width


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(tables).failed == 0


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0),
        ("abc", 3),
        ("дом", 3),
        ("東京", 4),
        ("한국", 4),
        ("\u1112\u1161\u11ab", 2),  # the same first syllable in jamo
        ("e\u0301", 1),
        ("ＡＢ", 4),
    ],
)
def test_width(text, cells):
    assert width(text) == cells


def test_columns_line_up_in_every_script():
    lines = table([["東京", "1.00 %"], ["дом", "22.00 %"], ["é", "3.00 %"]], "<>").split("\n")
    assert len({width(line) for line in lines}) == 1


def test_no_trailing_blanks_and_missing_alignment_is_left():
    assert table([["a", "b"], ["cc", ""]], indent="") == "a   b\ncc"


@pytest.mark.parametrize("cells", range(2, 9))
def test_shortened_text_fits(cells):
    assert width(shorten("東京 tower", cells)) <= cells


def test_control_characters_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\r") == "a\\x1b[2Jb\\r"


def test_bars_and_percents():
    assert [bar(share, 4) for share in (0, 0.01, 0.5, 1, 2, -1)] == [
        "",
        "",
        "██",
        "████",
        "████",
        "",
    ]
    assert bar(1 / 32, 4) == "▏"
    assert percent(1) == "100.00 %"
