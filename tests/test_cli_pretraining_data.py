"""create_pretraining_data.py: files that TensorFlow reads, and examples as the original makes them.

In the text of most tests every word says where it stands, so that each example can be traced.
"""

import contextlib
import gzip
import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from processes import heed_ctrl_c

import bert_tf.data.pretraining.create
import bert_tf.data.pretraining.example_work
from bert_tf.cli.main import build_parser, main
from bert_tf.data import MaskRules, PairRules, RecordStream, tokenize_corpus
from bert_tf.data.pretraining.example_work import Job, workers
from bert_tf.data.pretraining.shuffle import DiskShuffle
from bert_tf.errors import BertError
from bert_tf.text import BertTokenizer, Vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DOCUMENTS, SENTENCES, WORDS = 12, 9, 7
LENGTH, PREDICTIONS = 32, 5


def word(document, sentence, number):
    return f"d{document}s{sentence}w{number}"


def document(number):
    """Its lines; each word stands nowhere else."""
    return "".join(
        " ".join(word(number, sentence, at) for at in range(WORDS)) + "\n"
        for sentence in range(SENTENCES)
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a vocabulary and the documents in two files, the second one gzipped."""
    monkeypatch.chdir(tmp_path)
    places = np.ndindex(DOCUMENTS, SENTENCES, WORDS)
    lines = [*SPECIAL, *(word(*place) for place in places)]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "a.txt").write_text("\n".join(map(document, range(5))))
    text = "\n".join(map(document, range(5, DOCUMENTS)))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def run(*arguments, inputs="a.txt,b.txt*", output="out", **flags):
    flags = {
        "input_file": inputs,
        "output_file": output,
        "vocab_file": "vocab.txt",
        "do_lower_case": False,
        "max_seq_length": LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "num_workers": 1,
        **flags,
    }
    return main(["pretraining-data", *(f"--{n}={v}" for n, v in flags.items()), *arguments])


def read(path, length=LENGTH, predictions=PREDICTIONS):
    """All examples of a file as the original's run_pretraining.py reads them."""
    whole, real = tf.int64, tf.float32
    layout = {
        "input_ids": tf.io.FixedLenFeature([length], whole),
        "input_mask": tf.io.FixedLenFeature([length], whole),
        "segment_ids": tf.io.FixedLenFeature([length], whole),
        "masked_lm_positions": tf.io.FixedLenFeature([predictions], whole),
        "masked_lm_ids": tf.io.FixedLenFeature([predictions], whole),
        "masked_lm_weights": tf.io.FixedLenFeature([predictions], real),
        "next_sentence_labels": tf.io.FixedLenFeature([1], whole),
    }
    records = list(tf.data.TFRecordDataset(str(path)))
    parsed = tf.io.parse_example(records, layout)
    return {name: value.numpy() for name, value in parsed.items()}


def place_of(id):
    """(document, sentence, word) of a token, from its line in the vocabulary."""
    return tuple(int(n) for n in np.unravel_index(id - len(SPECIAL), (DOCUMENTS, SENTENCES, WORDS)))


def flat(place):
    return (place[0] * SENTENCES + place[1]) * WORDS + place[2]


def digest(*paths):
    return [hashlib.sha256(open(path, "rb").read()).hexdigest() for path in paths]


def test_every_example_is_a_piece_of_the_text(here, capsys):
    """Each one unmasked: two stretches of the text, the second behind the first or elsewhere."""
    assert run(dupe_factor=5) == 0
    found = read("out")
    cls, sep = 2, 3
    randoms = 0
    for row in range(len(found["input_ids"])):
        ids, used = found["input_ids"][row].copy(), int(found["input_mask"][row].sum())
        assert (found["input_mask"][row] == (np.arange(LENGTH) < used)).all()
        weights = found["masked_lm_weights"][row]
        masked = int(weights.sum())
        assert masked == min(PREDICTIONS, max(1, round(used * 0.15)))
        positions = found["masked_lm_positions"][row][:masked]
        assert (np.diff(positions) > 0).all()
        for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
            assert (found[name][row][masked:] == 0).all()
        ids[positions] = found["masked_lm_ids"][row][:masked]
        assert (ids[used:] == 0).all()
        (first, second) = np.flatnonzero(ids == sep)
        assert ids[0] == cls
        assert second == used - 1
        segments = found["segment_ids"][row]
        assert segments.tolist() == [0] * (first + 1) + [1] * (second - first) + [0] * (
            LENGTH - used
        )
        a = [place_of(id) for id in ids[1:first]]
        b = [place_of(id) for id in ids[first + 1 : second]]
        assert a
        assert b
        for part in (a, b):
            assert len({place[0] for place in part}) == 1
            assert (np.diff([flat(place) for place in part]) == 1).all()
        is_random = found["next_sentence_labels"][row][0]
        randoms += is_random
        if is_random:
            assert a[0][0] != b[0][0]
        else:
            assert a[0][0] == b[0][0]
            assert a[-1][1] < b[0][1]
    out = capsys.readouterr().out
    count, length = len(found["input_ids"]), found["input_mask"].sum()
    assert f"wrote {here / 'out'}: {count:,} examples" in out
    assert "from 12 documents, 108 sentences, 756 tokens" in out
    assert f"random in {randoms / count:.1%}; {length / count:.1f} tokens an example" in out
    assert f"{found['masked_lm_weights'].sum():,.0f} masked" in out


def test_the_defaults_are_the_originals():
    arguments = ["--input_file=a", "--output_file=b", "--vocab_file=c"]
    args = build_parser().parse_args(["pretraining-data", *arguments])
    assert (args.max_seq_length, args.max_predictions_per_seq) == (128, 20)
    assert (args.random_seed, args.dupe_factor) == (12345, 10)
    assert (args.masked_lm_prob, args.short_seq_prob) == (0.15, 0.1)
    assert args.do_whole_word_mask is False
    assert args.do_lower_case is None  # the original has True, wrong for a cased model


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        ("--do_lower_case", True),
        ("--do_lower_case=True", True),
        ("--do_lower_case=False", False),
        ("--nodo_lower_case", False),
        ("-nodo_lower_case", False),
        ("--no-lower-case", False),
        ("--do_lower=false", False),
    ],
)
def test_lower_casing_as_the_original_spells_it(spelling, meant):
    arguments = ["--input_file", "a", "-output_file=b", "--vocab_file", "c", spelling]
    args = build_parser().parse_args(["pretraining-data", *arguments])
    assert (args.input_file, args.output_file, args.vocab_file) == ("a", "b", "c")
    assert args.do_lower_case is meant


def test_casing_is_inferred_with_a_warning(here, capsys):
    """The words of the text are lower case, and so is what `D0S0W0` becomes."""
    (here / "c.txt").write_text(document(0).upper() + "\n" + document(1))
    os.rename("vocab.txt", "uncased_vocab.txt")
    command = f"--input_file=c.txt --output_file=out --vocab_file={here}/uncased_vocab.txt"
    assert main(["pretraining-data", *command.split(), "--num_workers=1"]) == 0
    assert "lower_case=True, from the name" in capsys.readouterr().err
    assert (read("out", 128, 20)["masked_lm_ids"] != 1).all()  # no [UNK]


def test_the_same_bytes_with_any_number_of_workers(here, monkeypatch):
    """Items of 150 tokens, buckets of 2 kB: several of both for two processes to share."""
    monkeypatch.setattr("bert_tf.data.pretraining.example_work._ITEM_PIECES", 150)
    monkeypatch.setattr("bert_tf.data.pretraining.shuffle._BUCKET_BYTES", 2000)
    assert run(output="one") == 0
    assert run(output="again") == 0
    assert run(output="two", num_workers=2) == 0
    assert run(output="other", random_seed=7) == 0
    one, again, two, other = digest("one", "again", "two", "other")
    assert one == again == two
    assert one != other
    assert sorted(os.listdir()) == [
        "a.txt",
        "again",
        "b.txt.gz",
        "one",
        "other",
        "two",
        "vocab.txt",
    ]


def test_examples_go_to_the_files_in_turn(here, monkeypatch):
    monkeypatch.setattr("bert_tf.data.pretraining.shuffle._BUCKET_BYTES", 2000)
    assert run() == 0
    assert run(output="x,y,z") == 0
    whole = read("out")
    for number, name in enumerate("xyz"):
        part = read(name)
        for feature, values in part.items():
            assert (values == whole[feature][number::3]).all()


def test_examples_are_shuffled_over_documents_and_passes(here):
    """In the order of the text neighbours would mostly share a document; shuffled one in 12 does.

    Of n about 700 pairs of neighbours, n / 12 are expected; 5 sigma are 5 sqrt(n 11 / 144) ~ 37.
    """
    assert run(dupe_factor=20) == 0
    found = read("out")
    ids, positions = found["input_ids"], found["masked_lm_positions"]
    first = np.where(positions[:, 0] == 1, found["masked_lm_ids"][:, 0], ids[:, 1])
    documents = np.array([place_of(id)[0] for id in first])
    same = (np.diff(documents) == 0).sum()
    count = len(documents) - 1
    assert count > 500
    assert abs(same - count / DOCUMENTS) < 5 * np.sqrt(count * 11 / 144)


def test_passes_draw_anew(here):
    assert run(dupe_factor=1) == 0
    once = len(read("out")["input_ids"])
    assert run(dupe_factor=4) == 0
    ids = read("out")["input_ids"]
    assert abs(len(ids) / once - 4) < 0.6
    assert len(np.unique(ids, axis=0)) > 0.99 * len(ids)


def test_whole_words_are_masked_together(here):
    """Words of three pieces: of each, all or none of the positions are asked for."""
    (here / "vocab.txt").write_text("\n".join([*SPECIAL, "ab", "##cd", "##ef"]) + "\n")
    (here / "c.txt").write_text(("abcdef abcdef abcdef\n" * 6 + "\n") * 8)
    assert run("--do_whole_word_mask", inputs="c.txt", masked_lm_prob=0.3, max_seq_length=40) == 0
    found = read("out", 40)
    checked = 0
    for row, positions in enumerate(found["masked_lm_positions"]):
        labels = found["masked_lm_ids"][row][found["masked_lm_weights"][row] == 1]
        # Truncation cuts words, so a word may be any run of 5, 6, 7 without its front or back.
        for place, label in zip(positions, labels):
            neighbours = dict(zip(positions, labels))
            if label == 5 and found["input_ids"][row][place + 1] != 3:
                assert neighbours.get(place + 1) == 6
                checked += 1
    assert checked > 20


def test_our_stream_reads_it_back(here):
    assert run(output="x,y") == 0
    found = [read(name)["input_ids"] for name in ("x", "y")]
    stream = RecordStream(["x", "y"], batch_size=10, seed=0, vocab_size=len(SPECIAL) + 756)
    ids = np.concatenate([batch["token_input"] for batch in stream.evaluation_batches()])
    assert (ids == np.concatenate(found)).all()


def test_random_segments_stay_in_the_group_and_out_of_the_source(here):
    """a.txt is a group of documents 0 to 4; of these 0, 1 and 2 are of one book, 3 and 4 not."""
    books = {"a": ["x#1", "x#2", "x#3", "y", "z"], "b": [str(n) for n in range(7)]}
    for name, sources in books.items():
        (here / f"{name}.tsv").write_text("n\tbook\n" + "".join(f"0\t{s}\n" for s in sources))
    flags = {"sources": "a.tsv,b.tsv", "sources_column": "book", "dupe_factor": 20}
    assert run("--group_by_pattern", **flags) == 0
    found = read("out")
    pairs = set()
    for row in np.flatnonzero(found["next_sentence_labels"][:, 0]):
        ids = found["input_ids"][row].copy()
        masked = found["masked_lm_weights"][row] == 1
        ids[found["masked_lm_positions"][row][masked]] = found["masked_lm_ids"][row][masked]
        first = np.flatnonzero(ids == 3)[0]
        pairs.add((place_of(ids[1])[0], place_of(ids[first + 1])[0]))
    assert pairs == {
        *((a, b) for a in range(5) for b in range(5) if a != b and {a, b} - {0, 1, 2}),
        *((a, b) for a in range(5, 12) for b in range(5, 12) if a != b),
    }
    assert run("--group_by_pattern", **{**flags, "sources_column": 1}, output="again") == 0
    assert digest("out") == digest("again")
    assert run(**flags, output="mixed") == 0  # one group: more pairs are possible
    assert digest("out") != digest("mixed")


def test_a_blank_line_after_each_sentence_is_told(here, capsys):
    text = (here / "a.txt").read_text().replace("\n", "\n\n")
    (here / "c.txt").write_text(text)
    assert run(inputs="c.txt") == 0
    error = capsys.readouterr().err
    assert "documents are of one sentence" in error
    assert "put blank lines only between documents" in error


def test_too_few_predictions_are_told(here, capsys):
    assert run(max_predictions_per_seq=2, dupe_factor=1) == 0
    assert "long examples get fewer masks. 5 would do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"inputs": "none.txt"}, "none.txt: this file is missing"),
        ({"inputs": "no*.txt"}, "matches no file"),
        ({"inputs": ""}, "no input files"),
        ({"inputs": "blank.txt"}, "no text"),
        ({"inputs": "single.txt"}, "one source only"),
        ({"output": ""}, "no output file given"),
        ({"output": "no/such/out"}, "there is no folder"),
        ({"output": "."}, "is a folder"),
        ({"output": "x,./x"}, "named twice"),
        ({"output": "x,a.txt"}, "the text would be lost"),
        ({"vocab_file": "none"}, "cannot read the vocabulary none"),
        ({"sources": "a.tsv"}, "1 tables for 2 input files"),
        ({"sources": "a.tsv", "inputs": "a.txt"}, "no column 'source'"),
        ({"sources": "a.tsv", "inputs": "a.txt", "sources_column": "n"}, "2 sources are given"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(flags, message, here, capsys):
    (here / "blank.txt").write_text("\n \n")
    (here / "single.txt").write_text(document(0))
    (here / "a.tsv").write_text("n\n1\n2\n")
    before = digest(*sorted(os.listdir())), sorted(os.listdir())
    assert run(**flags) == 2
    error = capsys.readouterr().err.splitlines()[-1]  # behind a warning on casing
    assert error.startswith("bert_tf: error: ")
    assert message in error
    assert "Traceback" not in error
    assert (digest(*sorted(os.listdir())), sorted(os.listdir())) == before


@pytest.mark.parametrize(
    "flag",
    [
        *("--max_seq_length=4", "--dupe_factor=0", "--num_workers=0", "--short_seq_prob=2"),
        *("--masked_lm_prob=0", "x"),
    ],
)
def test_bad_flags_are_told(flag, here, capsys):
    with pytest.raises(SystemExit) as stop:
        run(flag)
    assert stop.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["tokenize_corpus", "draw", "finish", "append"])
def test_ctrl_c_leaves_what_was_there(stage, here, monkeypatch):
    (here / "out").write_text("an older file")
    before = sorted(os.listdir())

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bert_tf.data.pretraining.create, stage, stop)
    assert run() == 130
    assert sorted(os.listdir()) == before
    assert (here / "out").read_text() == "an older file"


def test_a_full_disk_is_told(here, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bert_tf.data.pretraining.create, "append", full)
    assert run() == 2
    assert "No space left on device" in capsys.readouterr().err


def test_a_killed_worker_is_told(here):
    vocab = Vocabulary.load("vocab.txt")
    tokenize_corpus({"a": ["a.txt"]}, BertTokenizer(vocab, False), "tokens")
    shuffle = DiskShuffle(here, 1, np.uint16, 1)
    job = Job("tokens", vocab, PairRules(), MaskRules(), 0, shuffle, "", 1)
    with workers(2, job) as run_tasks:
        assert list(run_tasks(abs, [-1, 2])) == [1, 2]
    with (
        pytest.raises(BertError, match=r"a worker process was killed.*`num_workers`"),
        workers(2, job) as run_tasks,
    ):
        list(run_tasks(os._exit, [1]))


def test_ctrl_c_ends_the_workers_too(here, fresh_env):
    """A process group as in a shell, stopped when its workers have begun to write."""
    flags = ["--input_file=a.txt", "--output_file=out", "--vocab_file=vocab.txt"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bert_tf", "pretraining-data", *flags, "--dupe_factor=100000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=fresh_env,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
        encoding="utf-8",
    )
    while process.poll() is None and not list(here.glob(".out*/buckets/*/*")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert sorted(os.listdir()) == ["a.txt", "b.txt.gz", "vocab.txt"]


def test_the_script_works_far_from_the_checkout_and_without_tensorflow(here, run_python, request):
    root = request.config.rootpath
    flags = [f"--vocab_file={here / 'vocab.txt'}", "--do_lower_case=False", "--num_workers=2"]
    files = [f"--input_file={here}/*.txt,{here}/*.gz", f"--output_file={here / 'out'}"]
    code = (
        "import runpy, sys, os\n"
        "os._exit = lambda code: None\n"
        f"sys.argv = ['x', *{[*flags, *files]!r}]\n"
        f"runpy.run_path({str(root / 'create_pretraining_data.py')!r}, run_name='__main__')\n"
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))\n"
    )
    result = run_python("-c", code)
    assert "Traceback" not in result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    assert len(read(here / "out", 128, 20)["input_ids"]) > 50


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path, fresh_env):
    """A text of 64 MB and one of 1 GB: what a process takes for itself differs by under 100 MB.

    Measured is anonymous memory. Pages of the corpus's files, which the system takes back when
    memory is short, are counted with a process too, and grow.
    """
    code = (
        "import sys, threading, time\n"
        "from bert_tf.cli.main import main\n"
        "peak = 0\n"
        "def watch():\n"
        "    global peak\n"
        "    while True:\n"
        "        with open('/proc/self/status') as status:\n"
        "            now = next(int(l.split()[1]) for l in status if l.startswith('RssAnon'))\n"
        "        peak = max(peak, now)\n"
        "        time.sleep(0.01)\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        "code = main(sys.argv[1:])\n"
        "print(peak)\n"
    )
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(5000)]
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    block = []
    for size in rng.integers(1, 30, 10_000):
        block += [" ".join(words[n] for n in rng.integers(0, 5000, 15)) for _ in range(size)]
        block.append("")
    text = ("\n".join(block) + "\n").encode()
    peaks = []
    for megabytes in (64, 1024):
        path = tmp_path / "text.txt"
        with open(path, "wb") as file:
            while file.tell() < megabytes << 20:
                file.write(text)
        arguments = [f"--input_file={path}", f"--output_file={tmp_path / 'out'}"]
        arguments += [f"--vocab_file={tmp_path / 'vocab.txt'}", "--do_lower_case=False"]
        arguments += ["--dupe_factor=1", "--num_workers=1"]
        result = subprocess.run(
            [sys.executable, "-c", code, "pretraining-data", *arguments],
            capture_output=True,
            env=fresh_env,
            check=True,
            encoding="utf-8",
        )
        peaks.append(int(result.stdout.splitlines()[-1]) * 1024)
    assert peaks[1] - peaks[0] < 100e6
    assert peaks[1] < 500e6
