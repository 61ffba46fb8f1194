"""Head: one head, chosen anywhere, and all that is known of it."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.heads.details import head_details
from headscope.report.run_results import RunResults


def head(results: RunResults) -> Page:
    """Build the page from comparisons, scores, effects, ablations and attention."""
    details = head_details(results)
    blocks: tuple[Block, ...] = (Notice("No comparison is done yet."),) if details is None else (details,)
    return Page("head", "Head", "What is known of one head?", blocks)
