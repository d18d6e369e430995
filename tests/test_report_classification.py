"""Tables of known results, and pictures of every kind: whole, of the expected size, no warnings."""

import struct
import sys

import pytest

from bert_tf.errors import BertError
from bert_tf.report import classification, classification_figures, figures

pytestmark = pytest.mark.filterwarnings("error")

ODD = ["東京", "a\tb", "$5 or $10", 'say "hi"', "", "x" * 60, "x" * 60 + "y", "$\\frac{$"]


def classes(names, confusion) -> dict:
    """A result such as the JSON of an evaluation; scores that no picture uses are made up."""
    scores = {"precision": 0.5, "recall": None, "f1": 0.25}
    return {
        "kind": "classes",
        "examples": sum(map(sum, confusion)),
        "intervals": {"accuracy": [0.4, 0.6], "matthews": None},
        "labels": [
            {"label": name, **scores, "examples": sum(row), "predicted": 3}
            for name, row in zip(names, confusion)
        ],
        "averages": {"macro": {"precision": 0.1, "recall": 0.2, "f1": 0.3}},
        "confusion": confusion,
        "calibration": {
            "error": 0.05,
            "bins": [
                {"low": 0.0, "high": 0.5, "examples": 0, "confidence": None, "accuracy": None},
                {"low": 0.5, "high": 0.6, "examples": 2, "confidence": 0.57, "accuracy": 0.5},
            ],
        },
        "two_classes": None,
        "metrics": {"accuracy": 0.5, "matthews": 0.1, "loss": None},
    }


def diagonal(count: int) -> dict:
    return classes(
        [f"class {i}" for i in range(count)],
        [[9 if i == j else 0 for j in range(count)] for i in range(count)],
    )


def two_classes(name: str) -> dict:
    curve = {"x": [0, 0.5, 1], "y": [0, 0.8, 1], "thresholds": [None, 0.6, 0.2]}
    result = classes(["no", name], [[2, 1], [1, 3]])
    result["two_classes"] = {
        "positive": name,
        "f1": 0.75,
        "roc_auc": 0.65,
        "average_precision": 0.7,
        "roc": curve,
        "precision_recall": curve,
    }
    return result


def png_size(path) -> tuple[int, int]:
    """Width and height that the header tells; the end marks that the file is whole."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


def test_summary():
    lines = classification.summary_table(classes(["a", "b"], [[1, 1], [0, 2]])).split("\n")
    assert lines == [
        "  accuracy  50.00 %  95 %: 40.00 % to 60.00 %",
        "  Matthews   0.1000",
        "  loss            –",
        "  examples        4",
    ]


def test_of_two_classes_it_is_told_whose_f1_it_is():
    result = classes(["ham", "spam"], [[1, 1], [0, 2]])
    result["metrics"] |= {"f1": 0.5, "average_precision": 0.75, "roc_auc": 0.25}
    titles = [line.split("  ")[1] for line in classification.summary_table(result).split("\n")]
    assert titles[1:5] == ["F1 of spam", "Matthews", "ROC AUC", "average precision of spam"]


def test_scores_by_label():
    lines = classification.labels_table(classes(["東京", "a\tb"], [[1, 1], [0, 2]])).split("\n")
    assert lines == [
        "  label          precision  recall      F1  examples  predicted",
        "  東京              0.5000       –  0.2500         2          3",
        r"  a\tb              0.5000       –  0.2500         2          3",
        "",
        "  macro average     0.1000  0.2000  0.3000",
    ]


def test_scores_of_several_labels_at_once():
    result = {**classes(["a"], [[1]]), "kind": "multilabel"}
    result["labels"][0]["average_precision"] = 0.125
    lines = classification.labels_table(result).split("\n")
    assert lines[0].endswith("predicted  average precision")
    assert lines[1].endswith("0.1250")


def test_confusions():
    lines = classification.confusion_table(classes(["a", "b"], [[1, 1], [0, 2]])).split("\n")
    assert lines == [
        "  right \\ predicted  a  b",
        "  a                  1  1",
        "  b                  0  2",
    ]
    many = diagonal(12)
    assert classification.confusion_table(many) == "  no class is taken for another"
    many["confusion"][3][5], many["confusion"][4][0] = 1, 3
    assert classification.confusion_table(many).split("\n") == [
        "  right    predicted  times  of these",
        "  class 4  class 0        3   25.00 %",
        "  class 3  class 5        1   10.00 %",
    ]


@pytest.mark.parametrize("count", [2, 13, 41])
def test_confusion_matrices(tmp_path, count):
    """At 150 points an inch: cells, two margins for names, and 2.2 by 1.5 inches for the rest."""
    path = tmp_path / "confusion.png"
    classification_figures.draw_confusion(diagonal(count), path)
    wide, high = png_size(path)
    side = {2: 2.4, 13: 13 * 0.5, 41: 41 * 0.17}[count]
    name = len(f"class {count - 1}") * 0.6 * {2: 11, 13: 10, 41: 7}[count] / 72
    assert (wide, high) == (
        pytest.approx(150 * (side + name + 2.2), abs=1),
        pytest.approx(150 * (side + name + 1.5), abs=1),
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["confusion.png"]


def test_unusual_names_are_drawn_without_warnings(tmp_path):
    matrix = [[1] * len(ODD) for _ in ODD]
    classification_figures.draw_confusion(classes(ODD, matrix), tmp_path / "c.png", "a $ b")
    for name in (ODD[0], ODD[-1]):
        assert classification_figures.draw_curves(two_classes(name), tmp_path / "r.png")
    assert png_size(tmp_path / "r.png") == (1500, 750)


def test_names_that_can_be_drawn(monkeypatch):
    monkeypatch.setattr(figures, "_installed", lambda: {"DejaVu Sans": set(range(0x250))})
    names = figures.drawable_names(["東京", "ok", "a\nb", "x" * 40, "x" * 40 + "y", "a$b", " "], 10)
    assert names.shown[:3] == ("label 0", "ok", r"a\nb")
    assert names.shown[5:] == (r"a\$b", "label 6 (blank)")
    assert "label 0" in names.note
    assert len(set(names.shown)) == 7
    assert figures.drawable_names(["ok"]).note == ""


def test_curves_need_two_classes_that_occur(tmp_path):
    result = two_classes("yes")
    assert classification_figures.draw_curves(result, tmp_path / "r.png", "title")
    result["two_classes"]["roc"] = None
    assert not classification_figures.draw_curves(result, tmp_path / "none.png")
    assert not classification_figures.draw_curves(diagonal(3), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_calibration_and_scatter(tmp_path):
    classification_figures.draw_calibration(diagonal(2), tmp_path / "c.png")
    assert png_size(tmp_path / "c.png") == (900, 1050)
    result = {"pearson": None, "spearman": None, "mae": 0.5, "examples": 2}
    classification_figures.draw_scatter([1, 1], [1, 1], result, tmp_path / "s.png", "two $ alike")
    assert png_size(tmp_path / "s.png") == (900, 930)


def test_what_cannot_be_drawn_is_refused(tmp_path, monkeypatch):
    with pytest.raises(BertError, match="201 classes"):
        classification_figures.draw_confusion(diagonal(201), tmp_path / "c.png")
    with pytest.raises(BertError, match="cannot write"):
        classification_figures.draw_calibration(diagonal(2), tmp_path / "no" / "c.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BertError, match=r"pip install 'bert_tf\[train\]'"):
        classification_figures.draw_calibration(diagonal(2), tmp_path / "c.png")


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The figures in place of their files."""
    found: list = []
    monkeypatch.setattr(
        classification_figures, "save_figure", lambda figure, path: found.append(figure)
    )
    return found


def test_cells_show_counts_and_percent_where_they_belong(drawn):
    result = classes(["ham", "spam", "never"], [[3, 1, 0], [2, 0, 6], [0, 0, 0]])
    classification_figures.draw_confusion(result, "c.png")
    axes = drawn[0].axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    # (column, row); of a class that does not occur no cell is a fraction of anything.
    assert cells[0, 0] == "3\n75 %"
    assert cells[1, 0] == "1\n25 %"
    assert cells[2, 1] == "6\n75 %"
    assert cells[0, 2] == "0\n0 %"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ham", "spam", "never"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "right class")
    classification_figures.draw_confusion(diagonal(13), "c.png")
    cells = {text.get_position(): text.get_text() for text in drawn[1].axes[0].texts}
    assert (cells[4, 4], cells[4, 5]) == ("9\n100 %", "")


def test_curves_are_those_of_the_result(drawn):
    result = two_classes("yes")
    result["two_classes"]["precision_recall"] = {"x": [0, 0.5, 1], "y": [1, 0.75, 0.6]}
    classification_figures.draw_curves(result, "r.png")
    left, right = drawn[0].axes
    lines = {line.get_label(): line for line in left.lines}
    assert lines["model"].get_xydata().tolist() == [[0, 0], [0.5, 0.8], [1, 1]]
    assert lines["by chance"].get_xydata().tolist() == [[0, 0], [1, 1]]
    model, chance = right.lines
    assert model.get_xydata().tolist() == [[1, 0.6], [0.5, 0.75], [0, 1]]
    assert model.get_drawstyle() == "steps-post"
    assert chance.get_ydata() == pytest.approx([4 / 7, 4 / 7])
    classification_figures.draw_calibration(diagonal(2), "c.png")
    dots = {line.get_label(): line for line in drawn[1].axes[0].lines}["at the mean probability"]
    assert dots.get_xydata().tolist() == [[0.57, 0.5]]


def test_without_scikit_learn_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(BertError, match=r"pip install 'bert_tf\[train\]'"):
        classification_figures.draw_confusion(diagonal(2), tmp_path / "c.png")


def test_pyplot_stays_out(run_python, tmp_path):
    code = (
        "import sys\n"
        "from bert_tf.report import figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figure = figures.new_figure(2, 1)\n"
        "figure.add_subplot()\n"
        f"figures.save_figure(figure, {str(tmp_path / 'p.png')!r}, dpi=50)\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    assert run_python("-c", code).stdout.split() == ["False"]
    assert png_size(tmp_path / "p.png") == (100, 50)
