"""Ablation: head sets removed while the model generates, among matched random sets."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.figures.evidence import evidence as evidence_figure
from headscope.report.figures.forest import forest
from headscope.report.figures.role_map import role_map
from headscope.report.run_results import RunResults, with_result
from headscope.report.tables.evidence import evidence
from headscope.report.tables.failures import failure_kinds, failures
from headscope.report.tables.role_losses import role_losses
from headscope.report.tables.verdicts import verdicts
from headscope.results.failures import FailureChanges
from headscope.results.role_losses import RoleLosses

_NOT_ASKED = (
    "This study removes no heads: ablate.heads is an empty list. Name a group of heads there, such as emergent."
)


def ablation(results: RunResults) -> Page:
    """Build the page from verdicts, kinds of failure, evidence and losses by role; head sets that could not be removed
    are rows with why."""
    blocks: list[Block] = []
    changes, roles = results.in_order(FailureChanges), results.in_order(RoleLosses)
    if with_result(results.verdicts):
        blocks.append(forest(results.verdicts))
    if results.verdicts:
        blocks.append(verdicts(results))
    if changes:
        blocks.append(failures(results))
    kinds = failure_kinds(results)
    if kinds.rows:
        blocks.append(kinds)
    if with_result(results.evidence):
        blocks.append(evidence_figure(results.evidence))
    if results.evidence:
        blocks.append(evidence(results))
    if with_result(roles):
        blocks.append(role_map(roles))
    if roles:
        blocks.append(role_losses(results))
    if not blocks:
        asks_none = results.study.get("ablate", {}).get("heads") == []
        blocks.append(Notice(_NOT_ASKED if asks_none else "No ablation is done yet."))
    return Page("ablation", "Ablation", "Do the heads that training created matter for the answers?", tuple(blocks))
