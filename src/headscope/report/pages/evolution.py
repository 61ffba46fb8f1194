"""Evolution: cohorts of emergent heads over checkpoints, how often each head is active, and how long they stay."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.figures.cohorts import cohorts
from headscope.report.figures.frequency import frequency
from headscope.report.run_results import RunResults
from headscope.report.tables.dynamics import events, persistence
from headscope.report.tables.heads import checkpoints


def evolution(results: RunResults) -> Page:
    """Build the page from comparisons."""
    comparisons = results.comparisons
    blocks: list[Block] = [Notice("No comparison of checkpoints is done yet.")]
    if comparisons:
        blocks = [cohorts(comparisons), frequency(comparisons), checkpoints(results), events(comparisons)]
        if any(comparison.persistence for comparison in comparisons):
            blocks.append(persistence(comparisons))
    return Page("evolution", "Evolution", "How do heads come and go over training?", tuple(blocks))
