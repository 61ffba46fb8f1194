"""Faithfulness: how much of the behaviour circuits carry alone."""

from collections.abc import Sequence

from headscope.report.run_results import RunResults, label_columns
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.numbers import format_estimate, format_number
from headscope.results.table import Cell, Row, Table, interval_columns
from headscope.runs.records import Finished


def faithfulness_cell(results: RunResults, variant: str, model: str, step: int) -> Cell | None:
    """Return the faithfulness of a model's circuit at the size head counts rest on; None if it was not measured."""
    estimate = results.circuit_faithfulness(variant, model, step)
    fraction = results.circuit_size(variant)
    if estimate is None or fraction is None:
        return None
    text = f"{format_estimate(estimate)} at {fraction:.1%} of edges"
    circuit = results.circuit(variant)
    if circuit is not None and not circuit.faithful:
        text += f", not faithful (base {format_number(circuit.base.value)})"
    return Cell(text, {"fraction": fraction, "faithfulness": estimate})


def faithfulness_data(curves: Sequence[Finished[FaithfulnessEstimates]]) -> Table:
    """Return the data of the faithfulness figure."""
    rows: list[Row] = []
    for unit in curves:
        for fraction, estimate in zip(unit.whole.fractions, unit.whole.normalised, strict=True):
            row: Row = {"pairs of": unit.labels["variant"]} | label_columns(unit, "model", "step")
            row |= {"share of edges": fraction} | interval_columns("faithfulness", estimate)
            rows.append(row | {"pairs": estimate.n, "interval": estimate.method})
    return Table("faithfulness", tuple(rows), "One row per model and circuit size.")
