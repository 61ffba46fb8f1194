"""Circuits: the heads that carry most of each checkpoint's score, and how well the scores were measured."""

from headscope.pairs import Pairs
from headscope.report.run_results import RunResults
from headscope.report.tables.faithfulness import faithfulness_cell
from headscope.results.edges import EdgeScores
from headscope.results.table import Cell, Row, Table


def circuits(results: RunResults) -> Table:
    """Return one row per scored checkpoint, with the pairs, quadrature nodes and residual behind its scores."""
    pairs = {unit.labels["variant"]: unit.whole for unit in results.pairs if unit.labels["pairs"] == "main"}
    rows: list[Row] = []
    for unit in results.run.results(EdgeScores, pairs="main"):
        scores, labels = unit.read(), unit.labels
        variant, model, step = labels["variant"], labels["model"], labels["step"]
        nodes = scores.settings.get("nodes", 1)
        # The adaptive rule may reach its limit before the scores settle.
        settled = scores.settings.get("adaptive_converged", True)
        row: Row = {
            "pairs of": variant,
            "model": model,
            "step": step,
            "pairs (dropped)": _pairs_cell(pairs[variant]),
            "heads with most score": " ".join(map(str, scores.top_heads())),
            "nodes": Cell(f"{nodes}{'' if settled else ' (not settled)'}", nodes),
            "residual": Cell(f"{scores.residual:.1e}".replace("-", "−"), scores.residual),
            "faithfulness": faithfulness_cell(results, variant, model, step),
        }
        rows.append(row)
    caption = (
        "Residual: how far the scores of the input's edges are from adding up to the change of the metric, relative to "
        "it. Faithfulness: what the circuit carries alone, 1 for the whole model."
    )
    return Table("circuits", tuple(rows), caption)


def _pairs_cell(pairs: Pairs) -> Cell:
    dropped = ", ".join(f"{count} {reason}" for reason, count in pairs.dropped.items()) or "0"
    size = pairs.problem_groups.size
    value = {"pairs": size.pairs, "problems": size.problems, "dropped": pairs.dropped}
    return Cell(f"{size.short} ({dropped})", value)
