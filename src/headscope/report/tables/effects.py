"""Effects: what training changed in what every head does, and what scaling single heads does to the loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadId, HeadSet
from headscope.report.run_results import RunResults, label_columns, with_result
from headscope.results.counts import HeadEstimates
from headscope.results.estimate import Estimate
from headscope.results.head_revert import HeadRevert
from headscope.results.head_scaling import HeadScaling
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_estimate
from headscope.results.role_losses import LEAST_CHANGE
from headscope.results.table import Cell, Row, Table, Value, estimate_cell, pairs_cell
from headscope.results.training_effects import ALL, LEAST_SHARE, HeadContrast, PooledEffects, TrainingEffects
from headscope.runs.records import Finished

_NAMED = 3
"""Heads that are named, those that changed most."""
_SETS = ("new", "kept", ALL)


@dataclass(frozen=True, slots=True)
class Compared:
    """One contrast. trained: the variant, or the recipe with its number of seeds. other: what it is compared with.

    least: the smallest change, in nats, that is called one.
    """

    trained: str
    other: str
    contrast: HeadContrast
    least: float


def compare_with_all(trained: str, result: TrainingEffects | PooledEffects) -> list[Compared]:
    """Return the contrasts of a variant, or of a recipe's mean, with the base and with each null twin."""
    compared = [Compared(trained, "base", result.training, result.least)]
    for name, contrast in result.above_twin.items():
        compared.append(Compared(trained, name, contrast, result.least))
    return compared


def pooled_effects(results: RunResults) -> dict[str, PooledEffects]:
    """Return the mean over seeds of every recipe that has several, by its name."""
    return {result.recipe: result for _, result in with_result(results.units(PooledEffects))}


def training_effects(results: RunResults) -> Table:
    """Return one row per variant and model it is compared with, and per recipe's mean over seeds."""
    rows: list[Row] = []
    for _, result in with_result(results.in_order(TrainingEffects)):
        low, high = result.corruption
        basis: Row = {
            "whole text": Cell(f"{low:.2f} / {high:.2f}", result.corruption),
            "pairs": pairs_cell(result.size),
            "ranks": estimate_cell(result.ranks),
        }
        rows += [_columns(compared, basis) for compared in compare_with_all(result.variant, result)]
    for pooled in pooled_effects(results).values():
        basis = {"whole text": None, "pairs": None, "ranks": None}
        rows += [_columns(compared, basis) for compared in compare_with_all(_recipe_name(pooled), pooled)]
    caption = (
        "Training effect: how many nats more it costs the last checkpoint than the model it is compared with if a "
        "head's output is replaced by that on the corrupt text; measured exactly, on pairs of other problems than "
        "those heads were counted on; mean over the heads of a set, 95 % intervals over problems (of several seeds, "
        "over seeds too). Changed: heads with q ≤ 0.05 over all heads (Benjamini-Hochberg) and at least "
        f"{LEAST_SHARE:.0%} of what the whole corrupt text costs; the three largest are named. Whole text: that cost "
        "in base / variant. Ranks: Spearman over heads of exact effects and attribution in the base."
    )
    return Table("training-effects", tuple(rows), caption)


def _recipe_name(pooled: PooledEffects) -> str:
    return f"{pooled.recipe}, {len(pooled.variants)} seeds"


def _columns(compared: Compared, basis: Row) -> Row:
    contrast, changed = compared.contrast, compared.contrast.changed(compared.least)
    row: Row = {"variant": compared.trained, "compared with": compared.other}
    for name in _SETS:
        row[f"{name} heads"] = estimate_cell(contrast.sets.get(name), sign=True)
    most = Cell(largest_heads(contrast.heads, changed) or "none", changed)
    return row | {"changed": len(changed)} | basis | {"most": most}


def largest_heads(heads: HeadEstimates, among: HeadSet) -> str:
    """Return the largest values of some heads in words: ``L3H3 +1.20 [0.80, 1.60]; …``; empty for no head."""
    order = sorted(among, key=lambda head: -abs(heads.value[head]))
    words = []
    for head in order[:_NAMED]:
        estimate = Estimate(float(heads.value[head]), float(heads.low[head]), float(heads.high[head]), 0, "")
        words.append(f"{head} {format_estimate(estimate, sign=True)}")
    return "; ".join(words)


def drawn_contrasts(results: RunResults) -> list[Compared]:
    """Return what the figure shows: of a recipe with several seeds their mean, of any other variant its own."""
    pooled = pooled_effects(results)
    drawn = []
    for _, result in with_result(results.in_order(TrainingEffects)):
        if result.null or result.recipe not in pooled:
            drawn += compare_with_all(result.variant, result)
        elif result.variant == result.recipe:
            drawn += compare_with_all(_recipe_name(pooled[result.recipe]), pooled[result.recipe])
    return drawn


def training_changes_data(results: RunResults) -> Table:
    """Return the data of the figure of training effects: one row per head and contrast."""
    rows: list[Row] = []
    for compared in drawn_contrasts(results):
        for head, cells in _head_rows(compared.contrast.heads, compared.contrast.q_value):
            place: Row = {"variant": compared.trained, "compared with": compared.other, "head": head}
            rows.append(place | cells)
    return Table("training-changes", tuple(rows), "One row per head and model compared with; nats.")


def _head_rows(heads: HeadEstimates, q_value: "Float[np.ndarray, 'layer head']") -> Iterator[tuple[str, Row]]:
    for layer, head in np.argwhere(~np.isnan(heads.value)).tolist():
        cells: Row = {
            "change": float(heads.value[layer, head]),
            "low": float(heads.low[layer, head]),
            "high": float(heads.high[layer, head]),
            "q": float(q_value[layer, head]),
        }
        yield str(HeadId(layer, head)), cells


def head_scaling(results: RunResults) -> Table:
    """Return one row per variant and task: the heads whose removal, and whose scaling, changes the loss."""
    rows: list[Row] = []
    columns = ("loss", "texts", "needed", "most needed", "steep", "steepest", "heads scaled")
    for unit in results.in_order(HeadScaling):
        place = label_columns(unit, "variant", "task")
        if isinstance(unit.result, NotRun):
            rows.append(place | dict.fromkeys(columns) | {"most needed": f"not run: {unit.result.reason}"})
            continue
        result = unit.result
        needed, steep = result.needed(), result.steep()
        values: tuple[Value, ...] = (
            result.whole,
            result.answers,
            len(needed),
            Cell(largest_heads(result.ablation, needed) or "none", needed),
            len(steep),
            Cell(largest_heads(result.slope, steep) or "none", steep),
            result.heads_are,
        )
        rows.append(place | dict(zip(columns, values, strict=True)))
    caption = (
        "Loss on the model's own correct answers when what one head writes is scaled, nats per token; 95 % t intervals "
        "over texts, one per problem. Needed: removing the head changes the loss (positive: the answers need it). "
        "Steep: the slope of the loss over the factor, at 1, is not 0 (negative: a stronger head makes the answers "
        "likelier). Counted: q ≤ 0.05 over all heads (Benjamini-Hochberg) and at least "
        f"{LEAST_CHANGE:g}; the three largest are named."
    )
    return Table("head-scaling", tuple(rows), caption)


def head_revert(results: RunResults) -> Table:
    """Return one row per variant and task: the heads whose training changed the loss of the right answers."""
    rows: list[Row] = []
    columns = ("loss", "texts", "changed", "most changed", "keys and values", "heads reverted")
    for unit in results.in_order(HeadRevert):
        place = label_columns(unit, "variant", "task")
        if isinstance(unit.result, NotRun):
            rows.append(place | dict.fromkeys(columns) | {"most changed": f"not run: {unit.result.reason}"})
            continue
        result, changed = unit.result, unit.result.changed()
        most = Cell(largest_heads(result.change, changed) or "none", changed)
        values: tuple[Value, ...] = (
            *(result.whole, result.answers, len(changed), most),
            *(result.revert_kv, result.heads_are),
        )
        rows.append(place | dict(zip(columns, values, strict=True)))
    caption = (
        "Loss on the model's own correct answers when one head has the base's weights, less that of the whole model, "
        "nats per token; 95 % t intervals over texts, one per problem. Above 0: without what training made of this "
        "head the model's own answers are less likely to it, as after most changes of its weights; so compare heads. "
        "Keys and values that several heads share: with all they stay as trained, with any they are reverted "
        "and the group's other heads change too (ablate.revert_kv). Counted: q ≤ 0.05 over the heads reverted "
        f"(Benjamini-Hochberg) and at least {LEAST_CHANGE:g}; the three largest are named."
    )
    return Table("head-revert", tuple(rows), caption)


def head_revert_data(units: Sequence[tuple[Finished[HeadRevert], HeadRevert]]) -> Table:
    """Return the data of the figure: one row per head."""
    rows: list[Row] = []
    for unit, result in units:
        for head, cells in _head_rows(result.change, result.change_q):
            rows.append(label_columns(unit, "variant", "task") | {"head": head} | cells)
    return Table("revert-map", tuple(rows), "One row per head that was reverted; nats per token.")


def head_scaling_data(units: Sequence[tuple[Finished[HeadScaling], HeadScaling]], what: str) -> Table:
    """Return the data of the figure of ``ablation`` or ``slope`` (what): one row per head."""
    rows: list[Row] = []
    for unit, result in units:
        estimates, q_value = result.ablation, result.ablation_q
        if what == "slope":
            estimates, q_value = result.slope, result.slope_q
        for head, cells in _head_rows(estimates, q_value):
            rows.append(label_columns(unit, "variant", "task") | {"head": head} | cells)
    return Table(f"{what}-map", tuple(rows), "One row per head that was scaled; nats per token.")
