"""Ablations that tables and figures of the paper show: units with a verdict, chosen by their labels."""

from collections.abc import Callable, Sequence

from headscope.report.run_results import Labels, RunResults, with_result
from headscope.results.verdict import AblationVerdict
from headscope.runs.records import Finished

Ablations = Sequence[tuple[Finished[AblationVerdict], AblationVerdict]]


def choose_ablations(results: RunResults, is_chosen: Callable[[Labels], bool]) -> Ablations:
    """Return the ablations whose labels are chosen, those without a result left out."""
    return [(unit, verdict) for unit, verdict in with_result(results.verdicts) if is_chosen(unit.labels)]
