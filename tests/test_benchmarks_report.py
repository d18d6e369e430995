"""The benchmarks' arithmetic, their texts, and the protocol to their processes."""

import json
import pathlib
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def entry(seconds, precision="float32", title="one"):
    return {"seconds": seconds, "precision": precision, "title": title}


def test_ratios_are_taken_round_by_round():
    import report

    # Both are slowed down twofold in the second round: the ratio stays.
    assert report.ratios([1, 2, 1], [3, 6, 3]) == {"median": 3, "min": 3, "q1": 3, "q3": 3}
    assert report.spread([5.0])["q3"] == 5
    found = report.summarize({"a": [1, 1], "b": [4, 2]}, {"a": "b", "b": "b"}, count=8)
    assert found["a"]["ratio"] == {"to": "b", "median": 3, "min": 2, "q1": 2.5, "q3": 3.5}
    assert found["a"]["rate"] == 8
    assert "ratio" not in found["b"]


def test_goals_are_judged_and_shown():
    import report

    entries = {
        "hugging_face-float32": entry([4.0, 4.0], title="Hugging Face"),
        "openvino-float32": entry([1.0, 0.5], title="ours"),
        "tensorflow-float32": entry([4.0, 4.0], title="ours too"),
    }
    for value in entries.values():
        value |= report.spread(value["seconds"])
    tasks = {"mask": {"note": "n", "rate_unit": "", "contenders": entries}}
    goals = report.judge(tasks)
    assert [(g["own"], g["found"], g["reached"]) for g in goals] == [
        ("openvino-float32", 6, True),
        ("tensorflow-float32", 1, False),
    ]
    table = report.task_table(tasks["mask"], goals)
    assert "| 4 x Hugging Face, float32 | yes (6.00) |" in table
    assert "**no** (1.00)" in table
    for more in ({}, {"memory": 1e9}, {"of_peak": 0.5}):
        entries["tensorflow-float32"] |= more
        table = report.task_table(tasks["mask"], goals)
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_goals_name_contenders_that_exist():
    import contenders
    import report

    names = {contender.name for contender in contenders.ALL}
    assert len(names) == len(contenders.ALL)
    for goal in report.GOALS:
        assert {goal.own, goal.other} <= names
        assert goal.task in report.TASKS


def test_the_readme_is_rewritten_between_its_markers(tmp_path):
    import report

    assert report.BEGIN in (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "README.md"
    path.write_text(f"a\n{report.BEGIN}\nold\n{report.END}\nb\n", encoding="utf-8")
    for _ in range(2):
        report.update_readme(path, "new\n")
        assert path.read_text() == f"a\n{report.BEGIN}\nnew\n{report.END}\nb\n"
    path.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.update_readme(path, "new\n")


def test_sentences_have_one_mask_each_and_differ():
    import sentences

    texts = sentences.read()
    assert len(texts) >= 200
    assert len(set(texts)) == len(texts)
    assert all(text.count("[MASK]") == 1 and text == text.strip() for text in texts)
    words = [len(text.split()) for text in texts]
    assert min(words) <= 4
    assert 45 <= max(words) <= 70


def test_the_vocabulary_knows_the_sentences():
    import sentences

    from bert_tf.text import BertTokenizer, Vocabulary

    vocab = Vocabulary.from_bytes(sentences.vocabulary(4000))
    assert len(vocab) == 4000
    assert vocab.mask_id == 103
    tokenizer = BertTokenizer(vocab, False, special_tokens=True)
    texts = sentences.read()
    found = [tokenizer.encode(text) for text in texts]
    assert not any(vocab.unk_id in one.ids for one in found)
    words = sum(len(tokenizer.words(text)) for text in texts)
    assert 1.2 < sum(len(one.ids) for one in found) / words < 1.6


def test_words_are_compared_by_rank():
    import check

    expected = [(1, 0.5), (2, 0.2), (3, 0.2), (4, 0.05), (5, 0.03), (6, 0.02)]
    assert check.same_words(expected, expected[:5], "float32") == 0
    swapped = [(1, 0.5), (3, 0.2), (2, 0.2), (4, 0.05), (5, 0.03)]
    assert check.same_words(expected, swapped, "float32") == 0
    for wrong in ([(2, 0.5)], [(7, 0.5)], [(1, 0.4)]):
        with pytest.raises(check.MismatchError):
            check.same_words(expected, wrong, "float32")
    assert check.same_words(expected, [(1, 0.49)], "bfloat16") < 0.03


def test_padding_and_its_inverse_agree():
    import check
    import worker

    ids, segments = worker.random_batch(4, 16, 1000, [101, 102])
    assert (ids > 0).all()
    padded, _ = worker.padded(ids, segments)
    np.testing.assert_array_equal(check.real_positions([4, 16]), padded > 0)
    assert (padded[0] > 0).all()
    assert not padded[3, 12:].any()


PARROT = """
import json, sys
print(json.dumps({"load_s": 0}), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    if question["do"] == "die":
        sys.exit("my last words")
    print(json.dumps({"seconds": [0.5] * question["repeat"]}), flush=True)
"""


@pytest.fixture
def parrot(tmp_path):
    import contenders

    contender = contenders.Contender("ours", "float32", "a parrot", (), "parrot")
    worker = contenders.Worker(contender, tmp_path / "log", [sys.executable, "-c", PARROT])
    yield worker
    worker.close()


def test_workers_take_turns(parrot):
    import tasks

    assert parrot.receive() == {"load_s": 0}
    assert tasks.rounds([parrot], {"do": "fill"}, 3, 2) == {"parrot-float32": [0.5] * 3}


def test_a_dead_worker_is_told_with_its_last_words(parrot):
    import contenders

    parrot.receive()
    with pytest.raises(contenders.WorkerError, match="my last words"):
        parrot.ask(do="die")


def test_an_engine_answers_questions(tiny_ckpt, tmp_path):
    import worker

    class Engine:
        def prepare(self, ids, segments):
            return ids

        def encode(self, batch):
            return batch[..., None], batch[:, :1]

        def fill(self, texts, top_k=5):
            return [(text, top_k) for text in texts]

        def answers(self, filled):
            return filled

    def ask(**question):
        return json.loads(json.dumps(worker.answer(Engine(), question)))

    batch = {"shape": [2, 8], "pieces": 100, "special": [101, 102]}
    assert len(ask(do="encode", repeat=3, **batch)["seconds"]) == 3
    assert ask(do="answers", texts=["a"], top_k=2) == {"answers": [["a", 2]]}
    assert ask(do="memory")["bytes"] > 1e6
    path = str(tmp_path / "hidden.npz")
    with np.load(ask(do="hidden", path=path, **batch)["path"]) as arrays:
        assert arrays["hidden"].shape == (2, 8, 1)
    with pytest.raises(ValueError, match="no such step"):
        ask(do="sing", shape=[1, 2], pieces=9, special=[1, 2])


def test_names_in_hugging_face():
    import weights

    for ours, theirs in (
        ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight"),
        ("bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight"),
        (
            "bert/encoder/layer_10/attention/self/query/kernel",
            "bert.encoder.layer.10.attention.self.query.weight",
        ),
        ("bert/pooler/dense/bias", "bert.pooler.dense.bias"),
        ("cls/predictions/output_bias", "cls.predictions.bias"),
        (
            "cls/predictions/transform/LayerNorm/beta",
            "cls.predictions.transform.LayerNorm.bias",
        ),
        ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight"),
    ):
        assert weights.hugging_face_name(ours) == theirs


def test_operations_of_a_layer():
    import tasks

    from bert_tf.config import BertConfig

    config = BertConfig(
        vocab_size=10,
        hidden_size=2,
        num_hidden_layers=3,
        num_attention_heads=1,
        intermediate_size=8,
    )
    # A row of 5: four 2x2 products, a 2x8 and an 8x2, scores and their sum over 5 keys.
    by_hand = 2 * 3 * 5 * (4 * 4 + 16 + 16 + 2 * 5 + 2 * 5)
    assert tasks.operations(config, 1, 5) == by_hand


def test_disturbance_is_told():
    import machine
    import report

    before = machine.processor_seconds()
    shares = machine.disturbance(before, 1)
    assert all(share >= 0 for share in shares.values())
    assert "worth little" not in report._quiet({"others": 0.02, "host": 0.01})
    assert "worth little" in report._quiet({"others": 0.02, "host": 0.04})


def test_the_machine_is_described():
    import machine

    found = machine.describe()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert "keras" in found["packages"]
    json.dumps(found)


@pytest.mark.slow
def test_quick_run_writes_all_files(tmp_path, run_python):
    out = tmp_path / "out"
    result = run_python(BENCHMARKS / "run.py", "--quick", "--out", out, timeout=600)
    assert result.returncode == 0, result.stderr
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    import report

    assert set(found["tasks"]) == set(report.TASKS)
    for task in found["tasks"].values():
        for one in task["contenders"].values():
            assert one["median"] > 0
            assert one["min"] <= one["q1"] <= one["median"] <= one["q3"]
    assert result.stdout.strip() in (out / "results.md").read_text(encoding="utf-8")
