"""Head: one head, chosen anywhere, and all that is known of it; then which heads play which role."""

from headscope.report.blocks import Block, Notice, Page, Prose
from headscope.report.heads.details import head_details
from headscope.report.run_results import RunResults
from headscope.report.tables.head_roles import role_shares, roles

_ROLE_ROWS = 200
"""Rows per variant and task of the table of single heads."""
_ROLES = (
    "Previous token: the one before. First token: the text's first, where attention rests that is needed nowhere. "
    "Induction: what followed an earlier copy of the token. Retrieval: a copy, in the prompt, of the token written "
    "next, counted where it is the most attended one. Iteration: the result that the number written next comes from. "
    "Verification: the step before, while it is checked or done again. Closer: the token that closed the thought.",
    "A role says what a head reads, and not that the answer needs it: many heads read what others read too. What is "
    "lost without a head stands beside its role where it was measured.",
)


def head(results: RunResults) -> Page:
    """Build the page from comparisons, scores, effects, ablations, attention and roles."""
    details = head_details(results)
    blocks: tuple[Block, ...] = (Notice("No comparison is done yet."),) if details is None else (details,)
    tables = [table for table in (roles(results), role_shares(results, _ROLE_ROWS)) if table.rows]
    if tables:
        blocks = (*blocks, Prose("Which heads play which role?", _ROLES), *tables)
    return Page("head", "Head", "What is known of one head?", blocks)
