"""Sizes of the circuits that a variant's heads are counted in, as its comparison or else the study says."""

from collections.abc import Iterable, Mapping

from headscope.results.circuit_rule import CircuitRule
from headscope.results.codec import Json
from headscope.results.comparison import Comparison
from headscope.results.not_run import NotRun
from headscope.runs.directory import RunDirectory
from headscope.runs.records import Finished


def read_circuit_rule(run: RunDirectory, variant: str) -> CircuitRule:
    """Return the rule of a variant's circuits; without a comparison it may have neither fraction nor number."""
    return choose_circuit_rule(run.results(Comparison, variant=variant), run.lock()["study"]["discover"])


def choose_circuit_rule(comparisons: Iterable[Finished[Comparison]], discover: Mapping[str, Json]) -> CircuitRule:
    """Return the rule of a variant's circuits from its comparison, or else from the study's ``discover``."""
    for unit in comparisons:
        result = unit.result
        if not isinstance(result, NotRun):
            return CircuitRule(result.final.fraction, tau=result.final.tau)
    return CircuitRule(discover.get("fraction"), discover.get("edges"), float(discover.get("tau") or 0.0))
