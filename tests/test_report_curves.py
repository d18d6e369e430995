"""The picture of how a training went."""

import doctest
import struct
import subprocess
import sys

import numpy as np
import pytest

from bert_tf.errors import BertError
from bert_tf.report import curves
from bert_tf.report.curves import PRETRAINING, Panel, draw_curves

pytest.importorskip("matplotlib")


def rows(count, every=0):
    """Rows as `pretrain` gives them, with an evaluation at each `every`-th."""
    found = []
    for number in range(1, count + 1):
        row = {
            "step": 100 * number,
            "learning_rate": 1e-4 * (1 - number / count),
            "loss": 8.0 - number / count,
            "mlm_accuracy": 0.1 * number / count,
            "nsp_accuracy": 0.5 + 0.2 * number / count,
        }
        if every and number % every == 0:
            row |= {f"eval_{n}": row[n] for n in ("loss", "mlm_accuracy", "nsp_accuracy")}
        found.append(row)
    return found


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws, and gives the figure that would be saved."""
    kept = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, path: kept.append(figure))

    def draw(*arguments):
        draw_curves(arguments[0], tmp_path / "x.png", *arguments[1:])
        return kept.pop()

    return draw


def lines(axes):
    """Label to the points of a line; what has no label is left out."""
    return {
        line.get_label(): np.array(line.get_xydata())
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(curves).failed == 0


def test_the_numbers_of_the_rows_are_drawn(drawn):
    figure = drawn(rows(4, every=2))
    loss, mlm, nsp, rate = figure.axes
    np.testing.assert_allclose(
        lines(loss)["training"], [(100, 7.75), (200, 7.5), (300, 7.25), (400, 7)]
    )
    np.testing.assert_allclose(lines(loss)["evaluation"], [(200, 7.5), (400, 7)])
    np.testing.assert_allclose(lines(mlm)["evaluation"], [(200, 5), (400, 10)])  # percent
    np.testing.assert_allclose(lines(nsp)["training"][-1], (400, 70))
    assert set(lines(nsp)["guessing"][:, 1]) == {50}
    assert list(lines(rate)) == ["training"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "training",
        "evaluation",
        "guessing",
    ]


def test_many_rows_are_smoothed_but_for_the_learning_rate(drawn):
    """The mean of each row and its neighbours: of a line, the line itself but for its ends."""
    noisy = rows(80)
    for number, row in enumerate(noisy):
        row["loss"] = float(number % 2)
    loss, mlm, _, rate = drawn(noisy).axes
    assert len(loss.get_lines()) == 2
    np.testing.assert_allclose(lines(loss)["training"][1:-1, 1], [1 / 3, 2 / 3] * 39, atol=1e-9)
    straight = lines(mlm)["training"]
    np.testing.assert_allclose(straight[1:-1, 1], [10 * n / 80 for n in range(2, 80)])
    np.testing.assert_allclose(straight[[0, -1], 1], [10 * 1.5 / 80, 10 * 79.5 / 80])
    np.testing.assert_allclose(lines(rate)["training"][:, 1], [r["learning_rate"] for r in noisy])


def test_points_cover_equal_windows_and_the_step_kept_is_marked(drawn):
    """Means of 1, 2, ... 10 over windows that end at a log's or an evaluation's rhythm."""
    ends = [4, 5, 8, 10, 12, 15, 16, 20, 22]  # every 4, every 5, and the end
    found, start = [], 0
    for end in ends:
        row = {"step": end, "loss": (start + 1 + end) / 2, "learning_rate": float(end)}
        found.append(row | ({"eval_loss": 1.0} if end % 5 == 0 else {}))
        start = end
    loss, rate = drawn(found, PRETRAINING, 15).axes
    expected = [(4, 2.5), (8, 6.5), (12, 10.5), (16, 14.5), (20, 18.5)]
    np.testing.assert_allclose(lines(loss)["training"], expected)
    assert lines(loss)["evaluation"][:, 0].tolist() == [5, 10, 15, 20]
    assert set(lines(loss)["weights kept (step 15)"][:, 0]) == {15}
    (ring,) = [line for line in loss.get_lines() if line.get_fillstyle() == "none"]
    assert ring.get_xydata().tolist() == [[15, 1]]
    assert lines(rate)["training"][:, 0].tolist() == ends
    # What a deleted log leaves has no rhythm from step 0 on: its rows are drawn as they are.
    late = [{"step": step, "loss": 1.0} for step in range(1050, 2050, 50)]
    (loss,) = drawn(late).axes
    assert len(lines(loss)["training"]) == 20


def test_panels_without_numbers_are_left_out_and_others_can_be_named(drawn):
    older = [{k: v for k, v in row.items() if k != "learning_rate"} for row in rows(3)]
    assert len(drawn(older).axes) == 3
    assert len(drawn([]).axes) == 0
    (axes,) = drawn([{"step": 5, "f1": 0.5}], [*PRETRAINING, Panel("f1", "F1", True)]).axes
    np.testing.assert_allclose(lines(axes)["training"], [(5, 50)])


def test_no_label_lies_on_another(drawn):
    figure = drawn(rows(100, every=10))
    figure.canvas.draw()
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = []
    for axes in figure.axes:
        texts = [axes.title, axes._left_title, axes.xaxis.label, *axes.texts]
        low, high = axes.get_xlim()
        for axis, limits in ((axes.xaxis, (low, high)), (axes.yaxis, axes.get_ylim())):
            inside = [t for t in axis.get_major_ticks() if limits[0] <= t.get_loc() <= limits[1]]
            texts += [tick.label1 for tick in inside]
        boxes += [t.get_window_extent(renderer) for t in texts if t.get_text() and t.get_visible()]
        assert low == 0
        assert high == pytest.approx(10_200)
    boxes += [text.get_window_extent(renderer) for text in figure.legends[0].get_texts()]
    whole = figure.bbox
    for number, box in enumerate(boxes):
        assert whole.x0 <= box.x0
        assert whole.x1 >= box.x1
        assert whole.y0 <= box.y0
        assert whole.y1 >= box.y1
        for other in boxes[:number]:
            assert not box.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98))


def test_a_png_is_written_whole(tmp_path):
    draw_curves(rows(2), tmp_path / "curve.png")
    data = (tmp_path / "curve.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24])[0] == 1650
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    with pytest.raises(BertError, match="cannot write"):
        draw_curves(rows(2), tmp_path / "missing" / "curve.png")


def test_nothing_global_is_touched(tmp_path):
    """No pyplot, so no choice of a window system for the rest of the process."""
    code = (
        "import sys\n"
        "from bert_tf.report.curves import draw_curves\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"draw_curves([{{'step': 1, 'loss': 2.0}}], {str(tmp_path / 'x.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "x.png").exists()


def test_a_missing_matplotlib_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BertError, match="matplotlib is not installed"):
        draw_curves(rows(2), tmp_path / "curve.png")
