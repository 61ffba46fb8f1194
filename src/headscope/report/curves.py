"""Training curves of a run for docs and papers: what each step's answers earned, how long they were, and what the
final model scores.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from headscope.errors import InputError
from headscope.report.palette import Mark
from headscope.report.run_results import Log, RunResults
from headscope.runs.directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A log's column, and what its axis is called; a variant appears if its log has the column.
PANELS = (
    ("reward", "mean reward of the step's answers"),
    ("token_accuracy", "share of target tokens predicted"),
    ("completion_length", "tokens per answer"),
)
SMOOTHED_OVER = 5  # steps; the line is their running mean, the points behind it are the steps


def curves_figure(run: RunDirectory) -> "Figure":
    """Draw one panel per logged quantity over training steps, and pass@1 of base and final models by task.

    Save it with ``figure.savefig("curves.svg")``. Raises InputError if the run holds no training log.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results = RunResults(run)
    logs = results.training_logs.values()
    panels = [(key, title) for key, title in PANELS if any(_logged_points(log, key) for log in logs)]
    if not panels:
        raise InputError(f"run {run} holds no training log to draw; train a variant first")
    count = len(panels) + bool(results.evaluations)
    figure = Figure(figsize=(4.2 * count, 3.4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis, (key, title) in zip(axes, panels, strict=False):
        _draw_curves(axis, results, key, title)
    if results.evaluations:
        _draw_scores(axes[-1], results)
    return figure


def _logged_points(log: Log, key: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[key]) for entry in log if key in entry]


def _draw_curves(axis: "Axes", results: RunResults, key: str, title: str) -> None:
    labels = _legend_labels(results.training_logs, results.marks)
    for variant, log in results.training_logs.items():
        points = _logged_points(log, key)
        if points:
            steps, values = zip(*points, strict=True)
            colour = results.marks[variant].colour
            axis.plot(steps, _running_mean(values), label=labels[variant], linewidth=1.6, color=colour)
            axis.plot(steps, values, ".", markersize=2.5, alpha=0.4, color=colour)
    axis.set(xlabel="training step", ylabel=title)
    if key != "completion_length":
        axis.set_ylim(0, 1.02)
    axis.legend(fontsize=7, frameon=False)
    _remove_frame(axis)


def _legend_labels(models: Iterable[str], marks: Mapping[str, Mark]) -> dict[str, str | None]:
    """Return each model's name in the legend; of seeds that look alike the first alone has one."""
    first = {marks[model].name: model for model in reversed(list(models))}
    return {model: model if first[marks[model].name] == model else None for model in models}


def _running_mean(values: tuple[float, ...]) -> list[float]:
    """Return each step's mean with those before it, at most ``SMOOTHED_OVER`` together."""
    means = []
    for end in range(1, len(values) + 1):
        window = values[max(0, end - SMOOTHED_OVER) : end]
        means.append(sum(window) / len(window))
    return means


def _draw_scores(axis: "Axes", results: RunResults) -> None:
    evaluated = {unit.labels["variant"] for unit in results.evaluations}
    models = [model for model in ("base", *results.variants) if model in evaluated]
    labels = _legend_labels(models, results.marks)
    for place, model in enumerate(models):
        # Models stand next to each other around their task's tick.
        shift = (place - (len(models) - 1) / 2) * 0.8 / len(models)
        x, values, lower, upper = [], [], [], []
        for tick, task in enumerate(results.tasks):
            measures = results.last_measures(model, task)
            if measures is not None:
                score = measures.pass_at_k[1]
                x.append(tick + shift)
                values.append(score.value)
                # Rounding can put an end of the interval on the wrong side of the value, which matplotlib refuses.
                lower.append(max(score.value - score.low, 0.0))
                upper.append(max(score.high - score.value, 0.0))
        axis.errorbar(
            x,
            values,
            yerr=[lower, upper],
            fmt="s" if model == "base" else "o",
            markersize=3.5,
            linewidth=1,
            color=results.marks[model].colour,
            label=labels[model],
        )
    axis.set_xticks(range(len(results.tasks)), results.tasks)
    axis.set(ylabel="pass@1, 95 % over problems", ylim=(0, 1.02))
    axis.legend(fontsize=7, frameon=False)
    _remove_frame(axis)


def _remove_frame(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
