"""From seconds to statistics, goals and a Markdown table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TASKS = {
    "read": "Reading the checkpoint",
    "cold": "Cold start: a whole process from the shell to the answer",
    "mask": "Fill-mask, one sentence, warm",
    "bulk": "Fill-mask, sentences of mixed length",
    "encoder_1x16": "Encoder, 1 text of 16 pieces",
    "encoder_8x128": "Encoder, 8 texts of 128 pieces",
    "encoder_8x512": "Encoder, 8 texts of 512 pieces",
}
"""The tasks in the order of the report, with their titles."""

NOISE = 0.05
"""Share of the processors' time that others may take. OpenMP's threads, which PyTorch's are, wait
for each other: one that is held up holds up all, and the ratios shift."""

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
"""Where run.py's report stands in the README."""


@dataclasses.dataclass(frozen=True)
class Goal:
    """`own` is to be at least `ratio` times as fast as `other` in a task."""

    task: str
    own: str
    other: str
    ratio: float


_HF, _HF16 = "hugging_face-float32", "hugging_face-bfloat16"
GOALS = (
    Goal("mask", "openvino-float32", _HF, 4),
    Goal("mask", "tensorflow-float32", _HF, 2),
    Goal("encoder_8x128", "openvino-float32", _HF, 2.5),
    Goal("encoder_8x128", "openvino-bfloat16", _HF16, 1.7),
    Goal("encoder_8x128", "tensorflow-float32", _HF, 2),
    Goal("encoder_8x128", "tensorflow-bfloat16", _HF16, 1.2),
    Goal("encoder_8x512", "openvino-bfloat16", _HF, 4),
    Goal("encoder_8x512", "openvino-bfloat16", "raw_openvino-bfloat16", 0.9),
    Goal("cold", "openvino-float32", _HF, 2),
    Goal("cold", "tensorflow-float32", _HF, 2),
)
"""What was set as the aim, for a model of multi_cased's size."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and quartiles."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive")
        if len(values) > 1
        else [values[0]] * 3
    )
    return {"median": middle, "min": min(values), "q1": low, "q3": high}


def ratios(own: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """How many times as fast as another, round by round: both took turns in each."""
    return spread([theirs / ours for ours, theirs in zip(own, other, strict=True)])


def summarize(
    seconds: dict[str, list[float]], rivals: dict[str, str], count: int | None = None
) -> dict[str, dict[str, Any]]:
    """The statistics of a task.

    Args:
        seconds: for each contender one figure a round.
        rivals: whom each is compared with.
        count: texts in a run, if a rate makes sense.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, values in seconds.items():
        found[name] = {"seconds": values, **spread(values)}
        if count:
            found[name]["rate"] = count / found[name]["median"]
        rival = rivals.get(name)
        if rival in seconds and rival != name:
            found[name]["ratio"] = {"to": rival, **ratios(values, seconds[rival])}
    return found


def judge(tasks: dict[str, Any], goals: Sequence[Goal] = GOALS) -> list[dict[str, Any]]:
    """Which goals were reached, of those that were measured."""
    judged = []
    for goal in goals:
        entries = tasks.get(goal.task, {}).get("contenders", {})
        if goal.own in entries and goal.other in entries:
            found = ratios(entries[goal.own]["seconds"], entries[goal.other]["seconds"])["median"]
            reached = found >= goal.ratio
            judged.append({**dataclasses.asdict(goal), "found": found, "reached": reached})
    return judged


def duration(seconds: float) -> str:
    """Seconds or milliseconds, three digits."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.1 else 1}f} ms"


def _goal_cells(name: str, goals: list[dict[str, Any]], titles: dict[str, str]) -> tuple[str, str]:
    own = [goal for goal in goals if goal["own"] == name]
    aims = "; ".join(f"{goal['ratio']:g} x {titles[goal['other']]}" for goal in own)
    reached = "; ".join(f"{'yes' if g['reached'] else '**no**'} ({g['found']:.2f})" for g in own)
    return aims, reached


def task_table(task: dict[str, Any], goals: list[dict[str, Any]]) -> str:
    """One task as a Markdown table."""
    entries = task["contenders"]
    titles = {name: f"{entry['title']}, {entry['precision']}" for name, entry in entries.items()}
    rated = any("rate" in entry for entry in entries.values())
    weighed = any(entry.get("memory") for entry in entries.values())
    compared = any("of_peak" in entry for entry in entries.values())
    header = ["", "precision", "median", "quartiles", "min"]
    header += [task["rate_unit"]] if rated else []
    header += ["peak memory"] if weighed else []
    header += ["of what products reach"] if compared else []
    header += ["times as fast as Hugging Face", "goal", "reached"]
    rows = [header, ["---"] * len(header)]
    for name, entry in entries.items():
        low, high = duration(entry["q1"]), duration(entry["q3"])
        row = [entry["title"], entry["precision"], duration(entry["median"])]
        row += [f"{low} to {high}", duration(entry["min"])]
        row += [f"{entry['rate']:.1f}"] if rated else []
        row += [f"{entry['memory'] / 1e6:,.0f} MB" if entry.get("memory") else ""] * weighed
        row += [f"{entry['of_peak']:.0%}" if "of_peak" in entry else ""] * compared
        ratio = entry.get("ratio")
        text = (
            f"**{ratio['median']:.2f}** ({ratio['q1']:.2f} to {ratio['q3']:.2f})" if ratio else ""
        )
        row += [text, *_goal_cells(name, goals, titles)]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine_line(machine: dict[str, Any]) -> str:
    """The machine and what is installed there, in a sentence."""
    flags = ", ".join(machine["flags"]) or "none of those looked for"
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    load = machine["load_average"][0]
    rates = machine.get("operations_a_second", {})
    products = " and ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in rates.items())
    return (
        f"{machine['cpu']} ({machine['cpu_detail']}), {machine['cores']} cores, "
        f"{'virtual, ' if machine['virtual'] else ''}{machine['memory_gb']:g} GB; "
        f"instructions: {flags}; "
        f"{f'matrix products reach {products} GFLOP/s; ' if products else ''}"
        f"load average at the start {load:g}; {machine['system']}, "
        f"Python {machine['python']}; {packages}."
    )


def _quiet(disturbance: dict[str, float]) -> str:
    told = (
        f"Meanwhile other processes took {disturbance['others']:.0%} of the processors' time, and "
        f"the host {disturbance['host']:.0%}."
    )
    if sum(disturbance.values()) > NOISE:
        told += " **That is too much: the figures below are worth little.**"
    return told


def markdown(results: dict[str, Any], titles: dict[str, str] = TASKS) -> str:
    """The whole report, without a title, so that it fits into the README."""
    settings, goals = results["settings"], results["goals"]
    lines = [
        f"Measured {results['date']} with {settings['threads']} threads for each, "
        f"on {machine_line(results['machine'])}",
        "",
        f"Model: {results['checkpoint']['what']}.",
    ]
    if results["agreement"]:
        worst = {
            precision: max(
                (
                    found["hidden_max"]
                    for name, found in results["agreement"].items()
                    if name.endswith(precision)
                ),
                default=None,
            )
            for precision in ("float32", "bfloat16")
        }
        told = " and ".join(f"{v:.1g} in {k}" for k, v in worst.items() if v is not None)
        lines += [
            f"All gave the same words, and the same hidden states but for {told}, before anything "
            f"was timed.",
        ]
    lines += [results["checked"]] if results.get("checked") else []
    lines += [_quiet(results["disturbance"])] if results["disturbance"] else []
    lines += [f"Note: {note}." for note in results["remarks"]]
    for name, title in titles.items():
        task = results["tasks"].get(name)
        if task:
            own = [goal for goal in goals if goal["task"] == name]
            lines += ["", f"**{title}** ({task['note']})", "", task_table(task, own)]
    return "\n".join(lines) + "\n"


def update_readme(path: Path, text: str, markers: tuple[str, str] = (BEGIN, END)) -> None:
    """Puts the report between the two markers of a file.

    Raises:
        ValueError: the markers are not there.
    """
    first, last = markers
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"{path} lacks the lines {first} and {last}")
    path.write_text(f"{before}{first}\n{text}{last}{after}", encoding="utf-8")
