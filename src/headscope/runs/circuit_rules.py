"""How large the circuits of a variant's head counts are, as its comparison or else the study says."""

from headscope.results.circuit_rule import CircuitRule
from headscope.results.comparison import Comparison
from headscope.results.not_run import NotRun
from headscope.runs.directory import RunDirectory


def read_circuit_rule(run: RunDirectory, variant: str) -> CircuitRule:
    """Return the rule of a variant's circuits; without a comparison it may have neither fraction nor number."""
    for unit in run.results(Comparison, variant=variant):
        result = unit.result
        if not isinstance(result, NotRun):
            return CircuitRule(result.final.fraction, tau=result.final.tau)
    discover = run.lock()["study"]["discover"]
    return CircuitRule(discover.get("fraction"), discover.get("edges"), float(discover.get("tau") or 0.0))
