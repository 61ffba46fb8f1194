"""Emergence map: the state of every head, and the counts by our method next to the paper's."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.figures.crossed_effects import crossed_effects
from headscope.report.figures.emergence_map import emergence_map
from headscope.report.figures.faithfulness import faithfulness
from headscope.report.run_results import RunResults
from headscope.report.tables.circuits import integrations
from headscope.report.tables.crossed import crossed
from headscope.report.tables.head_methods import circuit_sizes, edges, layers, methods, named_heads
from headscope.report.tables.heads import unfaithful_circuits
from headscope.report.tables.overlaps import overlaps
from headscope.report.tables.think_modes import think_modes
from headscope.results.table import Table


def emergence(results: RunResults) -> Page:
    """Build the page from comparisons, faithfulness, crossed designs and think modes."""
    blocks: list[Block] = []
    if results.comparisons:
        if sentences := " ".join(unfaithful_circuits(results)):
            blocks.append(Notice(sentences))
        blocks.append(emergence_map(results.comparisons))
        blocks += _with_rows(overlaps(results))
        for make in (methods, named_heads, circuit_sizes, edges, layers):
            blocks += _with_rows(make(results.comparisons))
        blocks += _with_rows(integrations(results))
    else:
        blocks.append(Notice("No comparison is done yet."))
    if results.faithfulness:
        sizes = {comparison.variant: comparison.final.fraction for comparison in results.comparisons}
        blocks.append(faithfulness(results.faithfulness, results.marks, sizes))
    if results.crossed:
        blocks.append(crossed_effects(results.crossed))
    blocks += _with_rows(crossed(results), think_modes(results))
    question = "Which heads are kept, new and lost, and where do they sit?"
    return Page("emergence-map", "Emergence map", question, tuple(blocks))


def _with_rows(*candidates: Table) -> list[Table]:
    return [table for table in candidates if table.rows]
