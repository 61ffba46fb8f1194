"""Circuits: the heads that carry most of each checkpoint's score, and how well the scores were measured."""

from headscope.pairs import Pairs
from headscope.report.run_results import RunResults
from headscope.report.tables.faithfulness import faithfulness_cell
from headscope.results.comparison import Integration
from headscope.results.edges import EdgeScores
from headscope.results.numbers import UNKNOWN, format_residual
from headscope.results.table import Cell, Row, Table

_INTEGRATION = (
    "Nodes: of the path integral. Residual: how far the scores of the input's edges are from adding up to the change "
    "of the metric, relative to it; above 5 % the integral is not settled."
)


def circuits(results: RunResults) -> Table:
    """Return one row per scored checkpoint, with the pairs, quadrature nodes and residual behind its scores."""
    pairs = {unit.labels["variant"]: unit.whole for unit in results.pairs if unit.labels["pairs"] == "main"}
    rows: list[Row] = []
    for unit in results.units(EdgeScores, pairs="main"):
        scores, labels = unit.read(), unit.labels
        variant, model, step = labels["variant"], labels["model"], labels["step"]
        integration = Integration.of(scores)
        row: Row = {
            "pairs of": variant,
            "model": model,
            "step": step,
            "pairs (dropped)": _pairs_cell(pairs[variant]),
            "heads with most score": " ".join(map(str, scores.top_heads())),
            **integration_columns(integration),
            "faithfulness": faithfulness_cell(results, variant, model, step),
        }
        rows.append(row)
    caption = f"{_INTEGRATION} Faithfulness: what the circuit carries alone, 1 for the whole model."
    return Table("circuits", tuple(rows), caption)


def integrations(results: RunResults) -> Table:
    """Return how well the scores of base and checkpoints were computed."""
    rows: list[Row] = []
    for comparison in results.comparisons:
        models = [("base", 0), *((comparison.variant, step) for step in comparison.steps)]
        # Comparisons of before kept none.
        for (model, step), integration in zip(models, comparison.integration, strict=False):
            row: Row = {"pairs of": comparison.variant, "model": model, "step": step}
            rows.append(row | integration_columns(integration))
    return Table("integration", tuple(rows), f"How well the scores were computed. {_INTEGRATION}")


def integration_columns(integration: Integration) -> Row:
    """Return nodes and residual, marked if they did not suffice."""
    nodes = UNKNOWN if integration.nodes is None else f"{integration.nodes:.3g}"
    residual = format_residual(integration.residual)
    return {
        "nodes per pair": Cell(f"{nodes}{'' if integration.settled else ' (not settled)'}", integration.nodes),
        "residual": Cell(residual, integration.residual),
    }


def _pairs_cell(pairs: Pairs) -> Cell:
    dropped = ", ".join(f"{count} {reason}" for reason, count in pairs.dropped.items()) or "0"
    size = pairs.problem_groups.size
    value = {"pairs": size.pairs, "problems": size.problems, "dropped": pairs.dropped}
    return Cell(f"{size.short} ({dropped})", value)
