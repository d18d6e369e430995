"""Thousands of damaged tables: each ends in an error for users, or gives texts of its own."""

import csv
import io
import json
import logging
import random
import re
from collections import Counter

import pytest

from bert_tf.data.labelled.columns import Layout
from bert_tf.data.labelled.prediction_rows import PredictionRows
from bert_tf.data.labelled.reading import read_labelled
from bert_tf.errors import BertError

WORDS = ["Good", "film", "well,", 'he said "no"', "caf\u00e9", "\u65e5\u672c", "5", "-", "O", "'s"]
CODES = [*["utf-8"] * 8, "utf-8-sig", "utf-16", "cp1252", "gb18030"]
MARKS = [
    ",",
    ";",
    "\t",
    "|",
    '"',
    '""',
    "\\",
    "\n",
    "\r\n",
    "\r",
    "[",
    "{",
    "}",
    ":",
    "\x00",
    "\ufeff",
]
SUFFIXES = [".csv", ".tsv", ".txt", ".jsonl", ".json", ""]


def table(rng):
    """A sound table in any format, as text, and the end of its name."""
    names = rng.choice([("text", "label"), ("v1", "v2"), ("words", "kind"), ()])
    labels = rng.choice([("spam", "ham"), ("0", "1"), ("-", "+"), ("0.5", "2.25")])
    rows = [
        (" ".join(rng.choices(WORDS, k=rng.randint(1, 6))), rng.choice(labels))
        for _ in range(rng.randint(0, 20))
    ]
    kind = rng.randrange(5)
    if kind == 0:
        keys = names or ("text", "label")
        lines = (json.dumps(dict(zip(keys, row)), ensure_ascii=False) for row in rows)
        return "\n".join(lines), ".jsonl"
    if kind == 1:
        keys = names or ("text", "label")
        columns = {
            key: {str(i): row[j] for i, row in enumerate(rows)} for j, key in enumerate(keys)
        }
        return json.dumps(columns, ensure_ascii=rng.random() < 0.5), ".json"
    if kind == 2:
        return "\n".join(text for text, _ in rows), ".txt"
    out = io.StringIO()
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    delimiter = rng.choice(",;\t|")
    lead = rng.choice(["", "", "", f"sep={delimiter}\n", "A title\n"])
    csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(
        [names, *rows] if names else rows
    )
    return lead + out.getvalue(), ".csv"


def damaged(rng, text):
    """The text with a few characters flipped, cut or inserted, or joined with another."""
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(5):
            case 0:
                text = text[:at] + rng.choice(MARKS) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 4) :]
            case 2:
                text = text[:at]
            case 3:
                text = text[:at] + chr(rng.randrange(1, 0x250)) + text[at + 1 :]
            case 4:
                text = text[:at] + table(rng)[0] + text[at:]
    return text


def letters(text):
    """Without what quoting, escapes and JSON add or take."""
    return re.sub(r'[\s"\\\ufeff\ufffd\x00]', "", text)


def strings(value):
    """All of a JSON value, its keys included."""
    if isinstance(value, dict):
        return [one for item in value.items() for part in item for one in strings(part)]
    if isinstance(value, list):
        return [one for part in value for one in strings(part)]
    return [str(value)]


def content_of(text):
    """The letters of the text, and of the JSON in it where escapes hide them."""
    found = [text]
    for part in (text, *text.split("\n")):
        try:
            found += strings(json.loads(part.removeprefix("\ufeff")))
        except ValueError:
            continue
    return letters("".join(found))


def labels_of(label):
    return [str(one) for one in (label if isinstance(label, tuple) else (label,))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_damaged_tables_give_errors_or_their_own_texts(tmp_path, seed):
    rng = random.Random(seed)
    outcomes = Counter()
    logging.getLogger("bert_tf").addFilter(quiet := lambda record: False)
    try:
        for _ in range(2000):
            text, suffix = table(rng)
            text, code = damaged(rng, text), rng.choice(CODES)
            raw = text.encode(code, "replace")
            if rng.random() < 0.1 and raw:
                at = rng.randrange(len(raw))
                raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
            path = tmp_path / f"x{rng.choice([suffix, suffix, rng.choice(SUFFIXES)])}"
            path.write_bytes(raw)
            whole = content_of(raw.decode("utf-16" if code == "utf-16" else "utf-8", "replace"))
            try:
                data = read_labelled(path).data
            except BertError:
                outcomes["training refused"] += 1
            else:
                outcomes["training read"] += 1
                for one, label in zip(data.texts, data.labels):
                    assert letters(one) in whole, (seed, raw, one)
                    if data.task != "regression":
                        assert all(letters(x) in whole for x in labels_of(label)), (seed, raw)
                assert None not in data.labels
            pairs = rng.choice([None, False])
            try:
                rows = list(PredictionRows(path, Layout(), pairs=pairs))
            except BertError:
                outcomes["prediction refused"] += 1
            else:
                outcomes["prediction read"] += 1
                for row in rows:
                    found = (row.texts,) if isinstance(row.texts, str) else row.texts or ()
                    assert all(letters(one) in whole for one in found), (seed, raw, row)
                    assert bool(row.error) != bool(found)
    finally:
        logging.getLogger("bert_tf").removeFilter(quiet)
    print(dict(outcomes))
    assert min(outcomes[f"{one} read"] for one in ("training", "prediction")) > 100
