"""Figures 12 to 14: what training changed in every head's importance, and which heads each method adds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import count_noun
from headscope.heads import HeadId
from headscope.report.palette import STATUS
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
    panel_title,
    short_name,
)
from headscope.report.run_results import RunResults
from headscope.report.tables.head_grids import emergence_map_data, relative_changes_data
from headscope.results.colours import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from headscope.results.comparison import Comparison
from headscope.results.emergence import Emergence, Status
from headscope.results.numbers import format_count, format_count_estimate
from headscope.results.overlap import RelativeChanges
from headscope.results.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = {
    Status.ABSENT: (".", 0.4),
    Status.CONTINGENT: ("^", 0.8),
    Status.KEPT: ("o", 1.0),
    Status.NEW: ("D", 1.0),
    Status.LOST: ("X", 1.1),
}
"""Shape and relative size, as on the emergence map of the page."""

_STRONG = 0.5
"""From this size on a relative change is marked with its sign; 0.5 is a head of three times the importance."""

_COMBINED = (BLUE, GREEN, VERMILION, ORANGE, PURPLE, SKY, GREY)
_HATCHES = ("", "////", "\\\\\\\\", "xxxx", "....", "++++", "oooo")
"""Of one method after another, then of what they share: colours with hatches."""

Combinations = Mapping[tuple[str, ...], Bool[np.ndarray, "layer head"]]
"""Heads that are new under exactly these variants."""

_FIRST_RUNS = (subjects.DISTILL, subjects.GRPO, subjects.SFT)


def component_shift(results: RunResults) -> Exhibit:
    """Say why figure 12, importance of whole components by sparse features, cannot be drawn."""
    return lacking(
        "it takes sparse autoencoders of the residual stream of both models, which headscope neither trains nor reads; "
        "no key of the study file gives it (figure 13 shows the heads by edge scores)"
    )


def effect_maps(results: RunResults) -> Exhibit:
    """Draw figure 13: every head's relative change of importance, one map per method."""
    changes = results.relative_changes
    if changes is None:
        return lacking("the relative changes of importance are not computed yet (headscope run, or compare)")
    variants, lacks = _first_runs(results, changes.effects)
    if not variants:
        return lacking(*lacks)
    layers, heads = changes.effects[variants[0]].shape[1:]
    figure = new_figure(TWO_COLUMNS, float(np.clip(0.07 * layers + 1.3, 2.0, 4.0)))
    grid = figure.subplots(1, len(variants), sharey=True, squeeze=False)[0]
    for axes, variant, letter in zip(grid, variants, "ABC", strict=False):
        image = axes.imshow(
            changes.effects[variant].mean(axis=0), cmap="RdBu", vmin=-1, vmax=1, origin="lower", aspect="auto"
        )
        _mark_signs(axes, changes.effects[variant].mean(axis=0))
        grid_axes(axes, layers, heads)
        axes.label_outer()
        checkpoints = count_noun(len(changes.effects[variant]), "checkpoint")
        panel_title(axes, letter, f"{short_name(variant, 16)}, {checkpoints}")
    add_colour_bar(list(grid), image, "E: less important (−)  |  more (+)")
    drawn = RelativeChanges({name: changes.effects[name] for name in variants}, (), changes.faithfulness)
    return Exhibit((relative_changes_data(drawn),), _effects_caption(results, variants, changes), lacks, figure)


def _first_runs(results: RunResults, having: Mapping[str, object]) -> tuple[list[str], tuple[str, ...]]:
    """Return the first variant of each method that has a result, and a sentence for each method without one."""
    variants, lacks = [], []
    for method in _FIRST_RUNS:
        names = subjects.variants_trained_by(results, method)
        present = [name for name in names if name in having]
        variants += present[:1]
        if not present:
            lacks.append(subjects.absent(names, method))
    return variants, tuple(lacks)


def _mark_signs(axes: "Axes", effects: Float[np.ndarray, "layer head"]) -> None:
    points = mark_points(*effects.shape)
    for marker, grid in (("+", effects >= _STRONG), ("_", effects <= -_STRONG)):
        mark_cells(axes, grid, marker, points, color="white", linewidth=0.7)


def _effects_caption(results: RunResults, variants: Sequence[str], changes: RelativeChanges) -> str:
    counts = []
    for variant in variants:
        mean = changes.effects[variant].mean(axis=0)
        counts.append(f"{variant}: {int((mean >= _STRONG).sum())} heads at {_STRONG:g} or more, ")
        counts[-1] += f"{int((mean <= -_STRONG).sum())} at −{_STRONG:g} or less, of {mean.size}"
    sizes = {str(comparison.final.size) for comparison in subjects.comparisons_of(results, variants)}
    return (
        "Relative change of every head's importance, E = (I after − I before) / (I after + I before), I the head's "
        f"share of all net score; mean over checkpoints. {'; '.join(counts)}; these are marked + and −. n: "
        f"{' and '.join(sorted(sizes)) or 'not recorded'} per model. No interval and no null: E divides by the head's "
        f"own importance, so heads that hardly matter can have large ones. {seeds_sentence(results)}"
    )


def emergence_maps(results: RunResults) -> Exhibit:
    """Draw figure 14: what became of every head under each method, and all methods' new heads in one map."""
    by_variant = {comparison.variant: comparison for comparison in results.comparisons}
    names, lacks = _first_runs(results, by_variant)
    if not names:
        return lacking(*lacks)
    comparisons = [by_variant[name] for name in names]
    layers, heads = comparisons[0].final.status.shape
    height = float(np.clip(0.062 * layers + 1.1, 1.7, 3.4))
    figure = new_figure(TWO_COLUMNS, 2 * height + 0.7)
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=(height, height + 0.3))).tolist()
    grid = top.subplots(1, len(comparisons), sharey=True, squeeze=False)[0]
    for axes, comparison in zip(grid, comparisons, strict=True):
        _draw_status(axes, comparison.final)
        axes.label_outer()
        panel_title(axes, "", _counts_title(comparison))
    handles = [(STATUS[status].name, axes.collections[index]) for index, status in enumerate(_MARKERS)]
    top.legend([mark for _, mark in handles], [name for name, _ in handles], loc="outside lower center", ncols=5)
    combined = _combinations(comparisons)
    _draw_combined(bottom.subplots(1, 2, width_ratios=(1, 1)), combined, (layers, heads))
    bottom.legend(
        *bottom.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4, title="new heads of"
    )
    tables = (emergence_map_data(comparisons), _combined_table(combined))
    return Exhibit(tables, _maps_caption(results, comparisons), lacks, figure)


def _counts_title(comparison: Comparison) -> str:
    emergence = comparison.final
    null = format_count(emergence.null.new.value)
    return f"{short_name(comparison.variant, 14)}: {len(emergence.new)} new (null {null})"


def _draw_status(axes: "Axes", emergence: Emergence) -> None:
    layers, heads = emergence.status.shape
    for status, (marker, size) in _MARKERS.items():
        mark_cells(
            axes,
            emergence.status == status,
            marker,
            size * mark_points(layers, heads),
            color=STATUS[status].colour,
            linewidths=0,
        )
    grid_axes(axes, layers, heads)


def _combinations(comparisons: Sequence[Comparison]) -> Combinations:
    """Return which heads are new under exactly these variants, of one variant first; without shared sets of none."""
    new = np.stack([comparison.final.status == Status.NEW for comparison in comparisons])
    combined = {}
    for code in sorted(range(1, 2 ** len(comparisons)), key=lambda code: (code.bit_count(), code)):
        members = [bool(code >> index & 1) for index in range(len(comparisons))]
        names = tuple(comparison.variant for comparison, is_in in zip(comparisons, members, strict=True) if is_in)
        cells = (new == np.array(members)[:, None, None]).all(axis=0)
        if len(names) == 1 or cells.any():
            combined[names] = cells
    return combined


def _draw_combined(pair: "Sequence[Axes]", combined: Combinations, shape: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    layers, heads = shape
    grid, sorted_columns = pair
    new_per_head = np.sum([cells.sum(axis=0) for cells in combined.values()], axis=0)
    order = np.argsort(-new_per_head, kind="stable")
    bottom = np.zeros(heads)
    for (names, cells), colour, hatch in zip(combined.items(), _COMBINED, _HATCHES, strict=False):
        look: Look = {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}
        for row, column in np.argwhere(cells):
            grid.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **look))
        counts = cells.sum(axis=0)[order]
        label = f"{' + '.join(short_name(name, 16) for name in names)} ({int(cells.sum())})"
        sorted_columns.bar(range(heads), counts, 0.9, bottom=bottom, label=label, **look)
        bottom += counts
    grid_axes(grid, layers, heads)
    panel_title(grid, "", "new heads of all methods")
    tick = max(1, heads // 8)
    sorted_columns.set_xticks(range(0, heads, tick), [str(order[index]) for index in range(0, heads, tick)])
    sorted_columns.set(xlabel="head, most new ones first", ylabel="layers with a new head", xlim=(-0.6, heads - 0.4))
    sorted_columns.set_ylim(0, max(1.0, float(bottom.max())) * 1.05)
    sorted_columns.locator_params(axis="y", integer=True)
    panel_title(sorted_columns, "", "summed over layers")
    if not new_per_head.any():
        for axes in pair:
            axes.text(0.5, 0.5, "no method has a new head", transform=axes.transAxes, ha="center")


def _combined_table(combined: Combinations) -> Table:
    rows: list[Row] = []
    for names, cells in combined.items():
        together = " + ".join(names)
        rows += [
            {"head": str(HeadId(layer, head)), "new under": together} for layer, head in np.argwhere(cells).tolist()
        ]
    return Table("new-heads", tuple(rows), "One row per head that is new under any method.")


def _maps_caption(results: RunResults, comparisons: Sequence[Comparison]) -> str:
    final = comparisons[0].final
    counts = []
    for comparison in comparisons:
        emergence = comparison.final
        counts.append(
            f"{comparison.variant} (step {comparison.steps[-1]}) {format_count_estimate(emergence.counts.new)} new "
            f"(null {format_count_estimate(emergence.null.new)})"
        )
    return (
        "Above: every head at each variant's last checkpoint; base heads that stay are grey circles, new ones blue "
        "diamonds, lost ones crosses, and triangles those the pairs cannot tell. Below: the new heads of all variants "
        f"in one map, and their number per head index, sorted. {'; '.join(counts)}; 95 % intervals over problems. "
        f"{counting_sentences(final)} {seeds_sentence(results, final.counts.new)}"
    )
