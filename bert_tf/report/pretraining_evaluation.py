"""Shows the evaluation of a pretrained model: tables for the terminal, and a bar chart.

Both take its JSON: `groups`, `weighted_mean`, `plain_mean`, `settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bert_tf.files.extras import importing
from bert_tf.report import figures
from bert_tf.report.tables import printable, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Mapping[str, Any]

PREDICTORS = {"model": "model", "trigram": "3-gram", "trigram_left": "left", "unigram": "unigram"}
MASKINGS = {"single": "single tokens masked", "whole_word": "whole words masked"}
_DRAWN = {"model": figures.BLUE, "trigram": figures.ORANGE, "unigram": figures.GREY}
_LIGHTER = 0.35  # of the bar from top-1 to top-5

_NOTES = """\
3-gram: from the token before and the one after; left: 3-gram from the two tokens before. These and
unigrams are counted on the language's training documents, and evaluated at the same positions.
balanced: as many pairs whose second part follows as random ones, of another source.
±: half of the 95 % confidence interval, over stretches of these texts.
mean as in training: a language weighs what it weighs in training, tokens**{smoothing:g}.
Perplexities of means are those of the mean loss."""


def evaluation_text(evaluation: Numbers) -> str:
    """The evaluation as tables with what they mean."""
    settings = evaluation["settings"]
    rows = _rows(evaluation)
    lines = [
        f"held out: {settings['held_out_documents']:,} documents, "
        f"{settings['held_out_pieces']:,} tokens; examples of {settings['max_seq_length']} tokens",
        f"{100 * settings['masked_lm_prob']:g} % of the tokens are asked for, as in training: 80 % "
        "of these are [MASK], 10 % any token, 10 % unchanged",
        "",
    ]
    lines += [f"{_masked_table(rows, kind)}\n" for kind in MASKINGS]
    lines += [_pairs_table(rows), "", _NOTES.format(smoothing=settings["smoothing"])]
    return "\n".join(lines)


def draw_evaluation(
    evaluation: Numbers, path: str | os.PathLike[str], title: str = "Text that was held out"
) -> None:
    """Writes a bar chart as PNG: masked tokens and words, and next sentence, by group.

    Args:
        evaluation: the JSON.
        path: of the picture.
        title: above it.

    Raises:
        BertError: matplotlib is not installed, or the file cannot be written.
    """
    with importing("a picture"):
        from matplotlib.patches import Patch

    rows = _rows(evaluation)
    names = figures.drawable_names([row["name"] for row in rows])
    groups = len(evaluation["groups"])
    # The means stand apart from the groups.
    positions = [number + (0.4 if number >= groups else 0) for number in range(len(rows))]
    figure = figures.new_figure(12.5, 1.9 + 0.62 * len(rows))
    axes = figure.subplots(1, 3, sharey=True, gridspec_kw={"width_ratios": [1, 1, 0.62]})
    drawn = {name: colour for name, colour in _DRAWN.items() if name in rows[0]["single"]}
    # One scale for both, to be compared.
    most = max(100 * (r[kind][n]["top5"] or 0) for r in rows for kind in MASKINGS for n in drawn)
    for kind, ax in zip(MASKINGS, axes):
        _draw_masked(ax, [row[kind] for row in rows], positions, drawn, most)
        ax.set_title(MASKINGS[kind].capitalize(), fontsize=11, loc="left")
    _draw_pairs(axes[2], [row["next_sentence"] for row in rows], positions)
    axes[0].set_yticks(positions, names.shown, fontsize=10)
    axes[0].invert_yaxis()
    handles = [Patch(color=colour, label=PREDICTORS[name]) for name, colour in drawn.items()]
    handles.append(Patch(color="#444444", label="top-1"))
    handles.append(Patch(color="#444444", alpha=_LIGHTER, label="up to top-5"))
    style: dict[str, Any] = {"ncols": len(handles), "frameon": False, "fontsize": 10}
    figure.legend(handles=handles, loc="outside lower center", **style)
    figure.suptitle(title, fontsize=13, x=0.01, ha="left")
    if names.note:
        figure.supxlabel(names.note, fontsize=8)
    figures.save_figure(figure, path)


def _rows(evaluation: Numbers) -> list[Numbers]:
    return [*evaluation["groups"], evaluation["weighted_mean"], evaluation["plain_mean"]]


def _masked_table(rows: Sequence[Numbers], kind: str) -> str:
    predictors = [name for name in PREDICTORS if name in rows[0][kind]]
    titles = [PREDICTORS[name] for name in predictors]
    blank = [""] * (len(predictors) - 1)
    cells = [
        [MASKINGS[kind], "", "top-1 %", *blank, "top-5 %", *blank, "perplexity", *blank],
        ["", "positions", *titles * 3],
    ]
    for row in rows:
        scores = [row[kind][name] for name in predictors]
        line = [printable(row["name"]), f"{scores[0]['positions']:,}"]
        for what in ("top1", "top5"):
            line += [_percent(score, what, not position) for position, score in enumerate(scores)]
        line += [_number(score["perplexity"]) for score in scores]
        cells.append(line)
    return table(cells, "<" + ">" * (len(cells[0]) - 1), indent="")


def _pairs_table(rows: Sequence[Numbers]) -> str:
    cells = [
        ["next sentence", "", "", "accuracy %", "", "", ""],
        ["", "pairs", "random", "balanced", "it follows", "it is random", "as drawn"],
    ]
    for row in rows:
        score = row["next_sentence"]
        percentages = [
            _percent(score, name) for name in ("balanced", "on_true", "on_random", "as_drawn")
        ]
        counts = [f"{score[name]:,}" for name in ("pairs", "random_pairs")]
        cells.append([printable(row["name"]), *counts, *percentages])
    return table(cells, "<>>>>>>", indent="")


def _percent(score: Numbers, what: str, with_width: bool = True) -> str:
    if score[what] is None:
        return "-"
    width = score.get(f"{what}_half_width") if with_width else None
    return f"{100 * score[what]:.1f}" + ("" if width is None else f" ±{100 * width:.1f}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _draw_masked(
    ax: Axes, scores: Sequence[Numbers], positions: list[float], drawn: dict[str, str], most: float
) -> None:
    figures.plain_axes(ax, "x")
    height = 0.8 / len(drawn)
    for number, (name, colour) in enumerate(drawn.items()):
        ys = [position + (number - (len(drawn) - 1) / 2) * height for position in positions]
        top1, top5 = ([100 * (s[name][what] or 0) for s in scores] for what in ("top1", "top5"))
        bars = ax.barh(ys, top5, height * 0.88, color=colour, alpha=_LIGHTER, linewidth=0)
        ax.barh(ys, top1, height * 0.88, color=colour, linewidth=0)
        shown = [f"{one:.1f} / {five:.1f}" for one, five in zip(top1, top5)]
        weight = "bold" if name == "model" else "normal"
        ax.bar_label(bars, shown, padding=3, fontsize=7.5, fontweight=weight, color="#333333")
    ax.set_xlim(0, min(max(most * 1.22, 1), 118))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("right, % (top-1 / top-5)", fontsize=9)


def _draw_pairs(ax: Axes, scores: Sequence[Numbers], positions: Sequence[float]) -> None:
    figures.plain_axes(ax, "x")
    percentages = [100 * (score["balanced"] or 0) for score in scores]
    widths = [100 * (score["balanced_half_width"] or 0) for score in scores]
    error: dict[str, Any] = {"ecolor": "#333333", "elinewidth": 1, "capsize": 2}
    style: dict[str, Any] = {"color": figures.BLUE, "linewidth": 0}
    bars = ax.barh(positions, percentages, 0.5, xerr=widths, error_kw=error, **style)
    ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=8, fontweight="bold", color="#333333")
    ax.axvline(50, color=figures.GREY, linewidth=1, linestyle="--")
    ax.set(xlim=(0, 115), xticks=range(0, 101, 25))
    ax.tick_params(axis="y", length=0)
    ax.set_title("Next sentence, balanced pairs", fontsize=11, loc="left")
    ax.set_xlabel("right, % (chance: 50)", fontsize=9)
