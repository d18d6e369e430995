"""The benchmark of fine-tuning: its rows, its turns, what it compares, and its tables."""

import argparse
import json
import pathlib
import threading

import numpy as np
import pytest
import tiny_classifiers

from bert_tf.batching.rows import TokenizedTexts

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def rows():
    """Three rows of 3, 5 and 4 tokens; the second is a pair whose first text ends at its third."""
    from finetuning_rows import Rows

    texts = TokenizedTexts(
        np.array([2, 7, 3, 2, 8, 3, 9, 3, 2, 5, 6, 3], np.uint16),
        np.array([0, 3, 8, 12]),
        np.array([3, 3, 4], np.int32),
        np.array([3, 5, 4], np.int32),
        16,
        "key",
    )
    return Rows(texts, np.array([1, 0, 1], np.int32), ("no", "yes"))


@pytest.fixture
def main():
    """Serves in a thread of its own, here: the test itself runs in the main one."""
    from finetuning_engines import MainThread

    made = MainThread()
    threading.Thread(target=made.serve, daemon=True).start()
    return made


def test_rows_come_back_from_a_file(rows, tmp_path):
    rows.save(tmp_path / "rows.npz")
    again = type(rows).load(tmp_path / "rows.npz")
    assert again.names == rows.names
    assert (again.texts.max_seq_length, again.texts.key) == (16, "key")
    for given, found in zip(rows.texts.pad(np.arange(3), 6), again.texts.pad(np.arange(3), 6)):
        np.testing.assert_array_equal(given, found)
    np.testing.assert_array_equal(rows.labels, again.labels)


def test_hugging_face_gets_the_same_pieces(rows):
    assert rows.features() == [
        {
            "input_ids": [2, 7, 3],
            "token_type_ids": [0] * 3,
            "attention_mask": [1] * 3,
            "labels": 1,
        },
        {
            "input_ids": [2, 8, 3, 9, 3],
            "token_type_ids": [0, 0, 0, 1, 1],
            "attention_mask": [1] * 5,
            "labels": 0,
        },
        {
            "input_ids": [2, 5, 6, 3],
            "token_type_ids": [0] * 4,
            "attention_mask": [1] * 4,
            "labels": 1,
        },
    ]
    two = rows.head(2)
    assert two.features(labelled=False)[1]["input_ids"] == [2, 8, 3, 9, 3]
    assert len(two.texts) == len(two.labels) == 2
    assert len(two.texts.pieces) == 8


def test_places_with_padding_by_hand(rows):
    """One batch of three rows: 15 places if as long as its longest, for 12 tokens.

    Ours are padded to 16, the shortest of the lengths that are compiled, which are 48 places.
    """
    from finetuning_rows import places_of

    found = places_of(rows, 3)
    assert found == pytest.approx({"ours": 48 / 12, "random": 15 / 12, "sorted": 15 / 12})


def test_made_up_rows_are_whole():
    import finetuning_rows

    from bert_tf.text import Vocabulary

    vocab = Vocabulary.from_bytes(tiny_classifiers.VOCAB)
    rows = finetuning_rows.made_up_rows(vocab, len(vocab), 200, 32)
    lengths = rows.texts.lengths
    assert (lengths >= 3).all()
    assert lengths.max() == 32
    assert 17 < np.median(lengths) < 25
    tokens, _ = rows.texts.pad(np.arange(200), 32)
    assert (tokens[:, 0] == vocab.id("[CLS]")).all()
    assert (tokens[np.arange(200), lengths - 1] == vocab.id("[SEP]")).all()
    assert set(rows.labels) == {0, 1}


def test_a_classifier_to_begin_with(rows, tmp_path):
    """In its own size it has the checkpoint's weights, in another random ones; seeds differ."""
    import finetuning_rows

    from bert_tf.checkpoint import CheckpointReader
    from bert_tf.checkpoint.classifier_info import ClassifierInfo
    from bert_tf.hub.locate import locate

    source = finetuning_rows.Source(str(tiny_classifiers.write_bert(tmp_path / "bert")))
    own = (tiny_classifiers.LAYERS, tiny_classifiers.WIDTH)
    found = {}
    for name, size, seed in (("own", own, 0), ("other", own, 1), ("wide", (2, 128), 0)):
        source.write(tmp_path / name, size, rows, seed)
        prefix = locate(str(tmp_path / name)).prefix
        with CheckpointReader(prefix) as reader:
            found[name] = {tensor: np.array(reader.read(tensor)) for tensor in reader.tensors}
        assert ClassifierInfo.in_folder(prefix).labels == ("no", "yes")
    for name, value in tiny_classifiers.tiny_weights().items():
        if name.startswith("bert/"):
            np.testing.assert_array_equal(found["own"][name], value)
    assert found["own"]["output_weights"].shape == (2, 16)
    assert (found["own"]["output_weights"] != found["other"]["output_weights"]).any()
    assert found["wide"]["output_weights"].shape == (2, 128)
    kernel = found["wide"]["bert/encoder/layer_1/intermediate/dense/kernel"]
    assert kernel.shape == (128, 512)
    assert kernel.std() == pytest.approx(128**-0.5, rel=0.2)


def test_heads_have_their_names():
    import weights

    assert weights.hugging_face_name("output_weights") == "classifier.weight"
    assert weights.hugging_face_name("output_bias") == "classifier.bias"
    assert weights.hugging_face_name("bert/pooler/dense/kernel") == "bert.pooler.dense.weight"


def test_turns_stop_a_loop_where_it_reports(main):
    from finetuning_engines import Turns

    seen = []

    def loop(report):
        for number in range(3):
            seen.append(number)
            report(0.5)
        raise ValueError("no more")

    turn = Turns(loop, main)
    assert not seen
    for number in range(3):
        turn()
        assert seen == list(range(number + 1))
    for _ in range(2):
        with pytest.raises(ValueError, match="no more"):
            turn()


def test_a_loop_that_ends_is_told(main):
    from finetuning_engines import Turns

    with pytest.raises(RuntimeError, match="come to its end"):
        Turns(lambda report: None, main)()
    assert main.run(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        main.run(lambda: 1 / 0)


def test_training_trains_on_all_rows_and_checks_on_one_batch(rows, main, tmp_path):
    import finetuning_engines
    import finetuning_libraries

    runs = []

    class Library:
        def logits(self, few):
            return np.ones((len(few.labels), 2))

        def train(self, run, report):
            runs.append(run)
            for step in range(1, 9):
                if step % run.report_every == 0:
                    report(float(step))

        def use(self, attention):
            pass

        def settle(self):
            pass

    rows.head(2).save(tmp_path / finetuning_libraries.ROWS)
    settings = finetuning_libraries.Settings(str(tmp_path), 1, 0.1, 1)
    engine = finetuning_engines.Training(Library(), settings, main)
    path = str(tmp_path / "scores.npy")
    assert engine.answer({"do": "scores", "path": path}) == {"path": path}
    assert np.load(path).shape == (1, 2)
    assert engine.answer({"do": "losses", "count": 3}) == {"losses": [1, 2, 3]}
    assert len(engine.answer({"do": "train", "repeat": 2})["seconds"]) == 2
    check, timed = runs
    assert (len(check.rows.labels), check.report_every, check.dropout) == (1, 1, 0)
    assert (len(timed.rows.labels), timed.report_every, timed.dropout) == (2, 2, 0.1)
    with pytest.raises(ValueError, match="no such step"):
        engine.answer({"do": "sing"})


def test_the_fastest_way_is_kept(monkeypatch):
    import finetuning_libraries

    used = []
    monkeypatch.setattr(
        finetuning_libraries.worker, "timed", lambda *_: [{"a": 2, "b": 1, "c": 3}[used[-1]]]
    )
    found = finetuning_libraries.fastest("abc", used.append, lambda: None, 2)
    assert found == {"a": 2, "b": 1, "c": 3}
    assert used == [*"abc" * 3, "b"]


def test_who_gives_other_scores_is_found_out():
    import finetuning
    from check import MismatchError

    base = np.array([[0.1, 0.9], [0.8, 0.2]])
    scores = {
        "tensorflow-float32": base + 5e-5,
        "hugging_face-float32": base,
        "openvino-bfloat16": base + 0.03,
    }
    assert finetuning.same_scores(scores) == pytest.approx(5e-5)
    for name, wrong in (
        ("tensorflow-float32", base + 2e-4),
        ("tensorflow-float32", base[::-1]),
        ("openvino-bfloat16", base + 0.06),
        ("openvino-bfloat16", base * np.nan),
    ):
        with pytest.raises(MismatchError, match=name):
            finetuning.same_scores(scores | {name: wrong})
    with pytest.raises(MismatchError, match="proves nothing"):
        finetuning.same_scores({"hugging_face-float32": base[[0, 0]]})


def test_goals_name_contenders_and_cases_that_exist():
    import finetuning

    args = finetuning.arguments(["--quick"])
    cases = [finetuning.Case(part, 4, 256, 32) for part in finetuning.PARTS]
    goals = finetuning.goals(cases)
    assert len(goals) == len(finetuning.GOALS) == 3
    for goal in goals:
        part = goal.task.partition("_")[0]
        names = {one.name for name in args.precisions for one in finetuning.all_of(part, name)}
        assert {goal.own, goal.other} <= names


def test_the_command_line():
    import finetuning

    args = finetuning.arguments(["--data", "a.tsv", "--sizes", "2x128,12x768"])
    assert args.sizes == [(2, 128), (12, 768)]
    assert (args.rows, args.runs, args.batch) == (1024, 7, 32)
    assert finetuning.arguments(["--quick"]).rows == 64
    for text in ("4", "4x", "4x100", "0x64", "x"):
        with pytest.raises(argparse.ArgumentTypeError, match="no size"):
            finetuning.size_of(text)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--sizes 4x100", "no size"),
        ("--parts train,sing", "sing"),
        ("--backends torch", "torch"),
        ("--accuracy --data a.tsv", "--validation"),
        ("--update-readme", "made-up"),
        ("--rows 8", "at least --batch"),
    ],
)
def test_a_wrong_command_line_is_told(line, told, capsys):
    import finetuning

    with pytest.raises(SystemExit):
        finetuning.arguments(line.split())
    assert told in capsys.readouterr().err


def test_the_table_of_accuracy_by_hand():
    """Means 0.8 and 0.82, deviations of two values 0.02 / sqrt(2) and 0: two points more."""
    import finetuning_accuracy

    def entry(title, values):
        runs = [{"accuracy": value, "seconds": 60.0} for value in values]
        return {"title": title, "precision": "float32", "runs": runs}

    results = {
        "date": "d",
        "machine": {"cpu": "c"},
        "settings": {"threads": 2, "batch": 32, "dropout": 0.1},
        "accuracy": {
            "train": "a.tsv",
            "rows": 1000,
            "validation": "b.tsv",
            "judged": 100,
            "epochs": 3,
            "rate": 1e-4,
            "size": [4, 256],
            "weights": "w",
            "contenders": {
                "hugging_face-float32": entry("Hugging Face", [0.79, 0.81]),
                "tensorflow-float32": entry("bert_tf", [0.82, 0.82]),
            },
        },
    }
    table = finetuning_accuracy.markdown(results).splitlines()[-4:]
    assert len({line.count("|") for line in table}) == 1
    assert table[2].endswith("| 0.7900, 0.8100 | **0.8000** | 0.0141 |  | 60 s |")
    assert table[3].endswith("| 0.8200, 0.8200 | **0.8200** | 0.0000 | +2.00 points | 60 s |")


def test_the_readme_has_its_places():
    import finetuning
    import finetuning_accuracy

    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for begin, end in (finetuning.MARKERS, finetuning_accuracy.MARKERS):
        assert text.count(begin) == text.count(end) == 1


@pytest.mark.slow
def test_quick_run_writes_all_files(tmp_path, run_python):
    out = tmp_path / "out"
    result = run_python(BENCHMARKS / "finetuning.py", "--quick", "--out", out, timeout=900)
    assert result.returncode == 0, result.stderr
    found = json.loads((out / "results-finetuning.json").read_text(encoding="utf-8"))
    assert set(found["tasks"]) == {"train_1x32", "predict_1x32"}
    for task in found["tasks"].values():
        for one in task["contenders"].values():
            assert 0 < one["min"] <= one["q1"] <= one["median"] <= one["q3"]
    assert result.stdout.strip() in (out / "results-finetuning.md").read_text(encoding="utf-8")
    assert not list(out.glob("finetuning-*"))
