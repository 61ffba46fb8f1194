"""Training curves of a run for docs and papers: what each step's answers earned, how long they were, and what the
final model scores.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError
from headscope.report.findings import Evaluation, Findings, read
from headscope.report.palette import model_mark
from headscope.runs.directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A log's column, and what its axis is called; a variant appears where its log has the column.
PANELS = (
    ("reward", "mean reward of the step's answers"),
    ("token_accuracy", "share of target tokens predicted"),
    ("completion_length", "tokens per answer"),
)
SMOOTHED_OVER = 5  # steps; the line is their running mean, the points behind it are the steps


def curves_figure(run: RunDirectory) -> "Figure":
    """One panel per logged quantity over training steps, and pass@1 of base and final models by task.

    Save it with ``figure.savefig("curves.svg")``. Raises InputError where the run holds no training log.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    findings = read(run)
    panels = [(key, title) for key, title in PANELS if any(_logged(log, key) for log in findings.training.values())]
    if not panels:
        raise InputError(f"run {run.path} holds no training log to draw; train a variant first")
    count = len(panels) + bool(findings.finals)
    figure = Figure(figsize=(4.2 * count, 3.4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis, (key, title) in zip(axes, panels, strict=False):
        _curves(axis, findings, key, title)
    if findings.finals:
        _scores(axes[-1], findings)
    return figure


def _logged(log: Iterable[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[key]) for entry in log if key in entry]


def _curves(axis: "Axes", findings: Findings, key: str, title: str) -> None:
    for variant in findings.variants:
        points = _logged(findings.training.get(variant, ()), key)
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        colour = model_mark(variant, findings.variants).colour
        axis.plot(steps, _running_mean(values), label=variant, linewidth=1.6, color=colour)
        axis.plot(steps, values, ".", markersize=2.5, alpha=0.4, color=colour)
    axis.set(xlabel="training step", ylabel=title)
    if key != "completion_length":
        axis.set_ylim(0, 1.02)
    axis.legend(fontsize=7, frameon=False)
    _plain(axis)


def _running_mean(values: tuple[float, ...]) -> list[float]:
    """Each step's mean with those before it, at most ``SMOOTHED_OVER`` together."""
    windows = (values[max(0, end - SMOOTHED_OVER) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]


def _scores(axis: "Axes", findings: Findings) -> None:
    names = [name for name in ("base", *findings.variants) if any(each.variant == name for each in findings.finals)]
    for place, name in enumerate(names):
        shift = (place - (len(names) - 1) / 2) * 0.8 / len(names)
        found = [findings.final(name, task) for task in findings.tasks]
        rows = [(index + shift, each) for index, each in enumerate(found) if each is not None]
        axis.errorbar(
            [at for at, _ in rows],
            [each.pass_at_k[1].value for _, each in rows],
            yerr=[[_below(each) for _, each in rows], [_above(each) for _, each in rows]],
            fmt="s" if name == "base" else "o",
            markersize=3.5,
            linewidth=1,
            color=model_mark(name, findings.variants).colour,
            label=name,
        )
    axis.set_xticks(range(len(findings.tasks)), findings.tasks)
    axis.set(ylabel="pass@1, 95 % over problems", ylim=(0, 1.02))
    axis.legend(fontsize=7, frameon=False)
    _plain(axis)


def _below(each: Evaluation) -> float:
    return max(each.pass_at_k[1].value - each.pass_at_k[1].low, 0.0)


def _above(each: Evaluation) -> float:
    return max(each.pass_at_k[1].high - each.pass_at_k[1].value, 0.0)


def _plain(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
