"""Ablation: head sets removed while the model generates, among matched random sets."""

from headscope.report.blocks import Block, Notice, Page, Table
from headscope.report.figures.evidence import evidence
from headscope.report.figures.forest import forest
from headscope.report.findings import Findings
from headscope.report.numbers import with_interval
from headscope.report.palette import READINGS


def ablation(findings: Findings) -> Page:
    """Needs at least one verdict; empty head sets are listed with why."""
    blocks: list[Block] = []
    empty = tuple(
        f"{e.variant}, {e.heads} heads, {e.operator}, {e.task}: {e.reason}"
        for e in findings.ablations
        if e.verdict is None
    )
    if empty:
        blocks.append(Notice("Not run, because there was nothing to remove:", empty))
    if any(each.verdict is not None for each in findings.ablations):
        blocks += [forest(findings.ablations), _readings(findings)]
    if any(each.evidence is not None for each in findings.evidence):
        blocks.append(evidence(findings.evidence))
    if not blocks:
        blocks.append(Notice("No ablation is done yet."))
    return Page("ablation", "Ablation", "Do the heads that training created matter for the answers?", tuple(blocks))


def _readings(findings: Findings) -> Table:
    rows = []
    for each in findings.ablations:
        if each.verdict is not None:
            scores = tuple(with_interval(estimate) for estimate in (each.verdict.baseline, each.verdict.ablated))
            verdict = f"{READINGS[each.verdict.reading]} {each.verdict.reading}"
            rows.append((each.variant, each.heads, each.operator, each.task, *scores, verdict, each.reason))
    columns = ("variant", "heads", "operator", "task", "pass@1 before", "pass@1 after", "verdict", "why")
    return Table(columns, tuple(rows), "Each verdict with the sentence it rests on.", "readings")
