"""Ablation: head sets removed while the model generates, among matched random sets."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.figures.evidence import evidence as evidence_figure
from headscope.report.figures.forest import forest
from headscope.report.run_results import RunResults, with_result
from headscope.report.tables.evidence import evidence
from headscope.report.tables.verdicts import verdicts


def ablation(results: RunResults) -> Page:
    """Build the page from verdicts and evidence; head sets that could not be removed are rows with why."""
    blocks: list[Block] = []
    if with_result(results.verdicts):
        blocks.append(forest(results.verdicts))
    if results.verdicts:
        blocks.append(verdicts(results))
    if with_result(results.evidence):
        blocks.append(evidence_figure(results.evidence))
    if results.evidence:
        blocks.append(evidence(results))
    if not blocks:
        blocks.append(Notice("No ablation is done yet."))
    return Page("ablation", "Ablation", "Do the heads that training created matter for the answers?", tuple(blocks))
