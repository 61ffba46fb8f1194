"""Think modes: one model with thinking on and off."""

from headscope.report.run_results import RunResults, label_columns
from headscope.results.estimate import Estimate
from headscope.results.numbers import format_estimate
from headscope.results.table import Cell, Row, Table, count_and_null_cell, count_cell, pairs_cell, share_cell
from headscope.results.thinking import Thinking


def think_modes(results: RunResults) -> Table:
    """Return the heads of one mode only, circuit sizes of equal faithfulness, and the reasoning that leaks."""
    rows: list[Row] = []
    for unit in results.thinking:
        modes = label_columns(unit, "think_on", "variant")
        rows.append({"think on": modes["think_on"], "think off": modes["variant"]} | _columns(unit.whole))
    caption = (
        "One model asked with thinking on and off, each on pairs of its own; edges: the share a circuit of this "
        "faithfulness needs; tokens: of think-off answers over those of think-on answers to the same problems. "
        "95 % intervals over problems; in brackets after the heads their null, think-off against itself."
    )
    return Table("think-modes", tuple(rows), caption)


def _columns(thinking: Thinking) -> Row:
    change = thinking.change
    return {
        "heads only on": count_and_null_cell(change.counts.new, change.null.new),
        "heads only off": count_and_null_cell(change.counts.lost, change.null.lost),
        "only on above null": count_cell(change.excess.new, sign=True),
        "faithfulness": Cell(f"{thinking.faithfulness:.0%}", thinking.faithfulness),
        "edges, on": share_cell(thinking.on_fraction),
        "edges, off": share_cell(thinking.off_fraction),
        "active heads, off − on": count_cell(thinking.broader, sign=True),
        "tokens off / on": _leak(thinking.leak),
        "pairs": pairs_cell(change.size),
    }


def _leak(leak: dict[str, Estimate]) -> Cell | None:
    text = "; ".join(f"{task} {format_estimate(share)}" for task, share in leak.items())
    return Cell(text, leak) if leak else None
