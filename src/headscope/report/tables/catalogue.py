"""Every table by its name: what the command line prints, what the page shows, and the data behind its figures."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from headscope.errors import InputError, suggestion
from headscope.report.circuit_pairs import circuit_pairs
from headscope.report.run_results import RunResults, with_result
from headscope.report.tables import (
    accuracy,
    circuit_edges,
    circuits,
    claims,
    coverage,
    crossed,
    dynamics,
    effects,
    evidence,
    failures,
    faithfulness,
    head_grids,
    head_methods,
    head_roles,
    heads,
    overlaps,
    role_losses,
    seeds,
    settings,
    summary,
    think_modes,
    traces,
    transitions,
    verdicts,
)
from headscope.results.head_revert import HeadRevert
from headscope.results.head_scaling import HeadScaling
from headscope.results.role_losses import RoleLosses
from headscope.results.table import Table
from headscope.runs.directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

_OF_RESULTS: tuple[Callable[[RunResults], Table], ...] = (
    summary.summary,
    accuracy.accuracy,
    seeds.seeds,
    heads.heads,
    heads.checkpoints,
    verdicts.verdicts,
    evidence.evidence,
    failures.failures,
    failures.failure_kinds,
    role_losses.role_losses,
    head_roles.roles,
    head_roles.role_shares,
    effects.training_effects,
    effects.training_changes_data,
    effects.head_scaling,
    effects.head_revert,
    dynamics.reward_coupling,
    crossed.crossed,
    think_modes.think_modes,
    overlaps.overlaps,
    circuits.circuits,
    circuits.integrations,
    transitions.transitions,
    transitions.failure_changes,
    transitions.flips,
    claims.claims,
    settings.settings,
    settings.provenance,
    settings.pairs,
)

_OF_COMPARISONS: tuple[Callable[..., Table], ...] = (
    dynamics.events,
    dynamics.persistence,
    dynamics.coupling,
    head_methods.methods,
    head_methods.named_heads,
    head_methods.circuit_sizes,
    head_methods.edges,
    head_methods.layers,
    head_grids.emergence_map_data,
    head_grids.frequency_data,
    heads.head_counts_data,
    heads.cohorts_data,
)

_OF_PARTS: dict[str, Callable[[RunResults], Table]] = {
    "coverage": lambda results: coverage.coverage(results.coverage),
    "circuit_edges": lambda results: circuit_edges.circuit_edges(circuit_pairs(results), rows=circuit_edges.ALL_ROWS),
    "pass_at_k_data": lambda results: accuracy.pass_at_k_data(results.last_evaluations),
    "pass_over_steps_data": lambda results: accuracy.pass_over_steps_data(results.evaluations),
    "answers_data": lambda results: accuracy.answers_data(results.last_evaluations),
    "verdict_data": lambda results: verdicts.verdict_data(
        [unit for unit, _ in with_result(results.verdicts)],
    ),
    "evidence_data": lambda results: evidence.evidence_data([unit for unit, _ in with_result(results.evidence)]),
    "ablation_map_data": lambda results: _head_scaling_data(results, "ablation"),
    "slope_map_data": lambda results: _head_scaling_data(results, "slope"),
    "revert_map_data": lambda results: effects.head_revert_data(with_result(results.in_order(HeadRevert))),
    "relative_changes_data": lambda results: (
        Table("relative-changes", ())
        if results.relative_changes is None
        else head_grids.relative_changes_data(results.relative_changes)
    ),
    "reward_data": lambda results: dynamics.reward_data(
        results.training_logs, {comparison.variant: comparison for comparison in results.comparisons}
    ),
    "crossed_data": lambda results: crossed.crossed_data(results.crossed),
    "faithfulness_data": lambda results: faithfulness.faithfulness_data(results.faithfulness),
    "role_losses_data": lambda results: role_losses.role_losses_data(results.in_order(RoleLosses)),
    "traces": lambda results: traces.traces(_trace_summaries(results)),
    "failures_data": lambda results: traces.failures_data(_trace_summaries(results)),
    "marks": lambda results: traces.marks(_trace_summaries(results)),
    "lexicon": lambda _: traces.lexicon_table(),
}

TABLES: dict[str, Callable[[RunResults], Table]] = (
    {make.__name__: make for make in _OF_RESULTS}
    | {make.__name__: (lambda results, make=make: make(results.comparisons)) for make in _OF_COMPARISONS}
    | _OF_PARTS
)
"""Every table by its name; those of what a run has not done have no rows."""


def _head_scaling_data(results: RunResults, what: str) -> Table:
    return effects.head_scaling_data(with_result(results.in_order(HeadScaling)), what)


def _trace_summaries(results: RunResults) -> list[traces.Placed]:
    return [(unit.labels, unit.whole) for unit in results.trace_summaries]


def table_frame(run: RunDirectory, name: str) -> "pd.DataFrame":
    """Return a table as a DataFrame with the full numbers; ``RunDirectory.frame`` has the results.

    Raises InputError if there is no table of this name.
    """
    if name not in TABLES:
        raise InputError(f"{name!r} is no table{suggestion(name, TABLES)}")
    return TABLES[name](RunResults(run)).frame()
