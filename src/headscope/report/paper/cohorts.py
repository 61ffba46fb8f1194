"""Figures 2, 3 and 6 to 11: new heads over training by first appearance, and how often each head is active."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headscope.errors import count_noun
from headscope.report.palette import INK
from headscope.report.paper import subjects
from headscope.report.paper.captions import counting_sentences, seeds_sentence
from headscope.report.paper.exhibit import Exhibit, lacking
from headscope.report.paper.style import (
    TWO_COLUMNS,
    Look,
    add_colour_bar,
    grid_axes,
    mark_cells,
    mark_points,
    new_figure,
    short_name,
)
from headscope.report.run_results import Log, RunResults
from headscope.report.tables.dynamics import reward_data
from headscope.report.tables.head_grids import frequency_data
from headscope.report.tables.heads import cohorts_data
from headscope.results.colours import BLUE, GREEN, GREY, PURPLE, VERMILION
from headscope.results.comparison import Comparison
from headscope.results.numbers import format_count_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MOST_RUNS = 3
"""Training runs that one page has room for."""
FEWEST_POINTS = 3
"""From this many checkpoints on cohorts are areas; fewer are drawn as bars."""


def sft_cohorts(results: RunResults) -> Exhibit:
    """Draw figure 2: heads over SFT."""
    names = subjects.variants_trained_by(results, subjects.SFT)
    return _of_first_setting(results, names, subjects.SFT, "6", "10")


def grpo_cohorts(results: RunResults) -> Exhibit:
    """Draw figure 3: heads over the first GRPO recipe, with its reward."""
    return _of_first_setting(results, subjects.grpo_recipes(results)[0], subjects.GRPO, "9", "11")


def _of_first_setting(results: RunResults, names: list[str], method: str, task: str, base: str) -> Exhibit:
    """Draw, unless the run is the paper's on its second task or base model, which are figures of their own."""
    if subjects.is_second_base(results):
        return lacking(f"the base is {subjects.base_model(results)}: this run's is figure {base}")
    if subjects.is_second_task(results):
        return lacking(f"the circuits are those of {subjects.PAPER_TASK}: this run's is figure {task}")
    return _exhibit(results, names, method)


def second_task_sft(results: RunResults) -> Exhibit:
    """Draw figure 6: figure 2 with circuits on the paper's second task."""
    names = subjects.variants_trained_by(results, subjects.SFT)
    return _of_second_task(results, names, subjects.SFT, "2")


def second_task_grpo(results: RunResults) -> Exhibit:
    """Draw figure 9: figure 3 with circuits on the paper's second task."""
    return _of_second_task(results, subjects.grpo_recipes(results)[0], subjects.GRPO, "3")


def _of_second_task(results: RunResults, names: list[str], method: str, first: str) -> Exhibit:
    if not subjects.is_second_task(results) or subjects.is_second_base(results):
        tasks = ", ".join(subjects.circuit_tasks(results)) or "not recorded"
        return lacking(
            f"figure {first} with circuits on {subjects.PAPER_TASK}; a run has circuits on one set of tasks (here: "
            f"{tasks}), so it takes a second run (discover.tasks: [{subjects.PAPER_TASK}])"
        )
    return _exhibit(results, names, method, rewarded=False)


def second_data_grpo(results: RunResults) -> Exhibit:
    """Draw figure 7: GRPO on another data set than the first recipe's."""
    _, names, _ = subjects.grpo_recipes(results)
    if not names:
        return lacking("no second GRPO variant on another data set (variants: a second one with another train.dataset)")
    return _exhibit(results, names, subjects.GRPO, rewarded=False)


def second_rate_grpo(results: RunResults) -> Exhibit:
    """Draw figure 8: GRPO at another learning rate than the first recipe's."""
    _, _, names = subjects.grpo_recipes(results)
    if not names:
        return lacking(
            "no second GRPO variant at another learning rate (variants: a second one with another train.learning_rate)"
        )
    return _exhibit(results, names, subjects.GRPO, rewarded=False)


def second_base_sft(results: RunResults) -> Exhibit:
    """Draw figure 10: figure 2 on the paper's second base model."""
    return _of_second_base(results, subjects.variants_trained_by(results, subjects.SFT), subjects.SFT, "2")


def second_base_grpo(results: RunResults) -> Exhibit:
    """Draw figure 11: figure 3 on the paper's second base model."""
    return _of_second_base(results, subjects.grpo_recipes(results)[0], subjects.GRPO, "3")


def _of_second_base(results: RunResults, names: list[str], method: str, first: str) -> Exhibit:
    if not subjects.is_second_base(results):
        return lacking(
            f"figure {first} on a Llama base model; a run has one base (here: {subjects.base_model(results)}), so it "
            "takes a run of its own (base.model; headscope run llama-3.2)"
        )
    return _exhibit(results, names, method)


def _exhibit(results: RunResults, names: list[str], method: str, *, rewarded: bool = True) -> Exhibit:
    comparisons = subjects.comparisons_of(results, names)
    if not comparisons:
        return lacking(subjects.absent(names, method))
    drawn = comparisons[:MOST_RUNS]
    logs = {name: log for name, log in results.training_logs.items() if _rewards(log)} if rewarded else {}
    lacks = _lacks(drawn, [name for name in names if name not in logs], method, rewarded=rewarded)
    if len(comparisons) > len(drawn):
        rest = ", ".join(comparison.variant for comparison in comparisons[MOST_RUNS:])
        lacks.append(f"a page has room for {MOST_RUNS} runs; {rest}: not drawn")
    twins = {twin.variant: twin for twin in (_drawn_twin(results, comparison) for comparison in drawn) if twin}
    tables = [cohorts_data([*drawn, *twins.values()]), frequency_data(drawn)]
    logged = {comparison.variant: logs[comparison.variant] for comparison in drawn if comparison.variant in logs}
    if method == subjects.GRPO and logged:
        tables.append(reward_data(logged, {comparison.variant: comparison for comparison in drawn}))
    figure = _draw(results, drawn, logged if method == subjects.GRPO else {})
    return Exhibit(tuple(tables), _caption(results, drawn, method, logged), tuple(lacks), figure)


def _lacks(drawn: Sequence[Comparison], unlogged: list[str], method: str, *, rewarded: bool) -> list[str]:
    lacks = []
    for comparison in drawn:
        if len(comparison.steps) == 1:
            lacks.append(
                f"{comparison.variant} has one checkpoint, so nothing moves (train.save_every, or checkpoints)"
            )
        if method == subjects.GRPO and rewarded and comparison.variant in unlogged:
            lacks.append(f"no reward of {comparison.variant} was logged (train: {{method: grpo}}, or reward_log)")
    return lacks


def _rewards(log: Log) -> list[tuple[int, float, float]]:
    """Return (step, reward, standard deviation over completions) of the steps that logged a reward."""
    return [
        (int(entry["step"]), float(entry["reward"]), float(entry.get("reward_sd") or 0.0))
        for entry in log
        if entry.get("reward") is not None
    ]


def _draw(results: RunResults, drawn: Sequence[Comparison], logs: dict[str, Log]) -> "Figure":
    layers = drawn[0].final.status.shape[0]
    height = float(np.clip(0.075 * layers + 1.5, 2.2, 4.0))
    extra = 0.9 if logs else 0.0
    figure = new_figure(TWO_COLUMNS, len(drawn) * (height + extra))
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(drawn), 1)))
    for part, comparison in zip(parts, drawn, strict=True):
        _draw_run(part, results, comparison, logs.get(comparison.variant), is_alone=len(drawn) == 1)
    return figure


def _draw_run(
    part: "SubFigure", results: RunResults, comparison: Comparison, log: Log | None, *, is_alone: bool
) -> None:
    letters = "ABC" if is_alone else "   "
    name = short_name(comparison.variant, 18)
    if log is None:
        left, right = part.subplots(1, 2, width_ratios=(1, 1.15))
    else:
        places: dict[str, Axes] = part.subplot_mosaic(
            [["cohorts", "map"], ["reward", "map"]], width_ratios=(1, 1.15), height_ratios=(2, 1)
        )
        left, right = places["cohorts"], places["map"]
        _draw_reward(places["reward"], comparison, log)
        places["reward"].set_title(_title(letters[1], "reward"), loc="left")
        left.set_xlabel("")
    _draw_cohorts(left, results, comparison)
    _draw_frequency(right, comparison)
    part.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=2.6)
    left.set_title(_title(letters[0], f"{name}: heads over training"), loc="left")
    right.set_title(_title(letters[1 if log is None else 2], "share of checkpoints active"), loc="left")


def _title(letter: str, text: str) -> str:
    return f"({letter}) {text}" if letter.strip() else text


def _draw_cohorts(axes: "Axes", results: RunResults, comparison: Comparison) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    dynamics = comparison.dynamics
    steps = [int(step) for step in dynamics.steps]
    scale = ScalarMappable(Normalize(steps[0], max(steps[-1], steps[0] + 1)), "cividis")
    colours = scale.to_rgba(np.array(steps))
    places: list[float] = [float(step) for step in steps]
    if len(steps) < FEWEST_POINTS:
        places = [float(index) for index in range(len(steps))]
        bottom = np.zeros(len(steps))
        for counts, colour in zip(dynamics.cohorts, colours, strict=True):
            axes.bar(places, counts, 0.35, bottom=bottom, color=colour, edgecolor="white", linewidth=0.4)
            bottom += counts
        axes.set_xticks(places, ["finished model" if step == 0 else str(step) for step in steps])
        axes.set_xlim(-0.6, len(steps) - 0.4)
    else:
        axes.stackplot(places, dynamics.cohorts, colors=colours, edgecolor="white", linewidth=0.3)
        axes.margins(x=0)
        axes.locator_params(axis="x", nbins=6, integer=True)
    _draw_lines(axes, results, comparison, places)
    tallest = max(dynamics.kept_counts.max(), dynamics.cohorts.sum(axis=0).max(), 1)
    axes.set(xlabel="training step", ylabel="heads", ylim=(-0.02 * float(tallest), 1.05 * float(tallest)))
    axes.locator_params(axis="y", integer=True)
    if not dynamics.cohorts.any():
        axes.text(0.5, 0.5, "no head is new at any checkpoint", transform=axes.transAxes, ha="center")
    elif len(steps) >= FEWEST_POINTS:
        add_colour_bar([axes], scale, "first new at step")


def _draw_lines(axes: "Axes", results: RunResults, comparison: Comparison, places: list[float]) -> None:
    """Draw the counts over the cohorts: a pale line below each keeps it visible on every colour."""
    dynamics = comparison.dynamics
    is_short = len(places) < FEWEST_POINTS
    lines: list[tuple[str, Sequence[float], str, str, str]] = [
        ("new heads", dynamics.cohorts.sum(axis=0).tolist(), BLUE, "-", "D"),
        ("base heads kept", dynamics.kept_counts.tolist(), VERMILION, "--", "o"),
        ("null: new by chance", [emergence.null.new.value for emergence in comparison.emergence], PURPLE, ":", "s"),
    ]
    twin = _drawn_twin(results, comparison)
    if twin is not None:
        counts = twin.dynamics.cohorts.sum(axis=0).tolist()
        lines.append((f"twin {short_name(twin.variant, 20)}", counts, GREY, "-.", "^"))
    for label, counts, colour, dashes, marker in lines:
        shape = marker if is_short else None
        axes.plot(places, counts, color="white", linewidth=2.4, marker=shape, markersize=5)
        axes.plot(places, counts, dashes, color=colour, label=label, marker=shape)


def _drawn_twin(results: RunResults, comparison: Comparison) -> Comparison | None:
    """Return the first null twin with checkpoints at the same steps; None without one."""
    twins = subjects.comparisons_of(results, results.null_twins(comparison.variant))
    return next((twin for twin in twins if twin.steps == comparison.steps), None)


def _draw_reward(axes: "Axes", comparison: Comparison, log: Log) -> None:
    steps, rewards, spreads = np.array(_rewards(log)).T
    axes.fill_between(steps, rewards - spreads, rewards + spreads, color=GREEN, alpha=0.18, linewidth=0, label="± 1 sd")
    axes.plot(steps, rewards, color=GREEN, label="mean reward of a step")
    axes.set(xlabel="training step", ylabel="reward")
    axes.set_xlim(float(comparison.steps[0]), float(max(comparison.steps[-1], comparison.steps[0] + 1)))
    axes.locator_params(axis="x", nbins=6, integer=True)


def _draw_frequency(axes: "Axes", comparison: Comparison) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    dynamics = comparison.dynamics
    layers, heads = dynamics.base.shape
    colours = [(0.0, "#B2451F"), (0.5, "#fbe6d9"), (0.5, "#dbe9f4"), (1.0, "#0B5A94")]
    scale = LinearSegmentedColormap.from_list("frequency", colours)
    # A base head that is never active again is at the pale end of the red half: 0 belongs to the blue one.
    least = 1e-3
    signed = np.where(dynamics.base, -np.maximum(dynamics.base_frequency, least), dynamics.emergent_frequency)
    was_active = dynamics.base | (dynamics.emergent_frequency > 0)
    image = axes.imshow(
        np.ma.masked_array(signed, ~was_active), cmap=scale, vmin=-1, vmax=1, origin="lower", aspect="auto"
    )
    ring: Look = {"facecolor": "white", "edgecolor": INK, "linewidth": 0.4}
    mark_cells(axes, dynamics.base, "o", 0.8 * mark_points(layers, heads), **ring)
    _outline(axes, dynamics.emergent[-1] | dynamics.retained[-1])
    grid_axes(axes, layers, heads)
    bar = add_colour_bar([axes], image, "○ base heads   |   emergent heads")
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["100 %", "50 %", "0 %", "50 %", "100 %"])


def _outline(axes: "Axes", grid: np.ndarray) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    boxes = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in np.argwhere(grid)]
    axes.add_collection(PatchCollection(boxes, facecolor="none", edgecolor=INK, linewidth=0.7))


def _caption(results: RunResults, drawn: Sequence[Comparison], method: str, logs: dict[str, Log]) -> str:
    final = drawn[0].final
    counts = []
    for comparison in drawn:
        emergence = comparison.final
        counts.append(
            f"{comparison.variant} at its last of {count_noun(len(comparison.steps), 'checkpoint')}: "
            f"{format_count_estimate(emergence.counts.new)} new (null {format_count_estimate(emergence.null.new)}), "
            f"{format_count_estimate(emergence.counts.kept)} kept"
        )
    has_twin = any(_drawn_twin(results, comparison) for comparison in drawn)
    twin = ", and new heads of a null twin, the same training without its signal (dash-dotted)" if has_twin else ""
    reward = " Reward: mean over one step's completions, band of one standard deviation." if logs else ""
    return (
        f"Heads of {subjects.base_model(results)} over {subjects.METHODS[method]}, circuits on "
        f"{', '.join(subjects.circuit_tasks(results)) or 'one task'}. Left: new heads stacked by the checkpoint at "
        f"which they were new for the first time, base heads still active (dashed), the null (dotted){twin}."
        f"{reward} Right: share of checkpoints at which a head is active, base heads red with a ring, emergent heads "
        f"blue; outlined: active at the last checkpoint. {'; '.join(counts)}; 95 % intervals over problems. "
        f"{counting_sentences(final)} {seeds_sentence(results, final.counts.new)}"
    )
