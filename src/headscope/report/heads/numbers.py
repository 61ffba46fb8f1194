"""Numbers of every head: importance, exact effects, and what removing or scaling it alone does to the loss."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from headscope.heads import HeadSet
from headscope.plain_text import plain_text
from headscope.report.run_results import RunResults, with_result
from headscope.report.tables.effects import pooled_effects
from headscope.results.codec import Json
from headscope.results.comparison import Comparison
from headscope.results.counts import HeadEstimates
from headscope.results.head_revert import HeadRevert
from headscope.results.head_scaling import HeadScaling
from headscope.results.training_effects import HeadContrast, TrainingEffects

DIGITS = 3
"""Significant digits of the page's numbers."""

Grid = Float[np.ndarray, "layer head"]


@dataclass(frozen=True)
class Quantity:
    """One number per head, in base and variant or of their difference.

    name, unit: what it is. basis: n.
    base, post, change: by ``value``, ``low``, ``high``, [layer, head]; those that nothing is known of are left out.
    q: of the change, or of the variant's number if there is no change. named: heads for which that is called one.
    """

    name: str
    unit: str
    basis: str
    base: dict[str, Grid] = field(default_factory=dict)
    post: dict[str, Grid] = field(default_factory=dict)
    change: dict[str, Grid] = field(default_factory=dict)
    q: Grid | None = None
    named: HeadSet = field(default_factory=lambda: HeadSet(()))

    def packed(self, places: Int[np.ndarray, " place"]) -> dict[str, Json]:
        """Return JSON values with one number per place, of heads as numbered row by row through the grid."""
        columns: dict[str, Json] = {}
        for side in ("base", "post", "change"):
            for name, grid in getattr(self, side).items():
                columns[f"{side}.{name}"] = packed_numbers(grid.ravel()[places])
        if self.q is not None:
            columns["q"] = packed_numbers(self.q.ravel()[places])
            is_named = self.named.grid(*self.q.shape).ravel()[places]
            columns["named"] = np.flatnonzero(is_named).tolist()
        words = {"name": plain_text(self.name), "unit": self.unit, "basis": self.basis}
        return words | {"columns": columns}


def packed_numbers(values: "Float[np.ndarray, ' head']") -> list[float | int | None]:
    """Return numbers with ``DIGITS`` significant digits, whole ones without a point; None for NaN and infinity."""
    numbers: list[float | int | None] = []
    for value in values.tolist():
        rounded = float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
        numbers.append(int(rounded) if rounded is not None and rounded.is_integer() else rounded)
    return numbers


def head_quantities(results: RunResults, comparison: Comparison) -> list[Quantity]:
    """Return all that is known of every head of a variant's last checkpoint, counted things first."""
    return [
        *_count_quantities(comparison),
        *_effects(results, comparison.variant),
        *_relative_change(results, comparison.variant),
        *_scaling_quantities(results, comparison.variant),
        *_revert_quantities(results, comparison.variant),
    ]


def _count_quantities(comparison: Comparison) -> Iterator[Quantity]:
    final = comparison.final
    basis = str(final.size)
    yield Quantity(
        "in the circuit",
        "share of resamples",
        f"{final.resamples} resamples",
        {"value": final.base_frequency},
        {"value": final.post_frequency},
    )
    change, base = final.importance_change, final.base_importance
    yield Quantity(
        "importance",
        "share of all net score",
        basis,
        {} if base is None else {"value": base},
        {} if base is None else {"value": base + change.value},
        _ends(change),
        None if comparison.change_q is None else comparison.change_q[-1],
    )


def _effects(results: RunResults, variant: str) -> Iterator[Quantity]:
    name, unit = "exact effect", "nats"
    for _, result in with_result(results.in_order(TrainingEffects, variant=variant)):
        basis = str(result.size)
        yield Quantity(
            name, unit, basis, _ends(result.base), _ends(result.post), **_contrast(result.training, result.least)
        )
        for twin, contrast in result.above_twin.items():
            yield Quantity(f"{name}, less that of {twin}", unit, basis, **_contrast(contrast, result.least))
    for pooled in pooled_effects(results).values():
        if variant in pooled.variants:
            basis = f"{len(pooled.variants)} seeds"
            mean = f"{name}, mean over seeds"
            yield Quantity(mean, unit, basis, **_contrast(pooled.training, pooled.least))
            for twin, contrast in pooled.above_twin.items():
                yield Quantity(f"{mean}, less that of {twin}", unit, basis, **_contrast(contrast, pooled.least))


def _contrast(contrast: HeadContrast, least: float) -> dict[str, Any]:
    return {"change": _ends(contrast.heads), "q": contrast.q_value, "named": contrast.changed(least)}


def _relative_change(results: RunResults, variant: str) -> Iterator[Quantity]:
    changes = results.relative_changes
    if changes is not None and variant in changes.effects:
        value = changes.effects[variant][-1]
        yield Quantity("relative change of importance", "E", "", change={"value": value})


def _scaling_quantities(results: RunResults, variant: str) -> Iterator[Quantity]:
    for unit, result in with_result(results.in_order(HeadScaling, variant=variant)):
        task, basis = plain_text(str(unit.labels["task"])), f"{result.answers} texts"
        ablation, slope = _ends(result.ablation), _ends(result.slope)
        yield Quantity(
            f"loss without it, {task}",
            "nats per token",
            basis,
            post=ablation,
            q=result.ablation_q,
            named=result.needed(),
        )
        name = f"slope of the loss over its factor, {task}"
        yield Quantity(name, "nats per token", basis, post=slope, q=result.slope_q, named=result.steep())


def _revert_quantities(results: RunResults, variant: str) -> Iterator[Quantity]:
    for unit, result in with_result(results.in_order(HeadRevert, variant=variant)):
        name = f"loss with the base's weights, {plain_text(str(unit.labels['task']))}"
        change, basis = _ends(result.change), f"{result.answers} texts"
        yield Quantity(name, "nats per token", basis, post=change, q=result.change_q, named=result.changed())


def _ends(heads: HeadEstimates) -> dict[str, Grid]:
    ends = {"value": heads.value, "low": heads.low, "high": heads.high}
    return {name: grid for name, grid in ends.items() if not np.isnan(grid).all()}
