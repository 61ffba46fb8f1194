"""Overview: per variant, heads against their null, accuracy, the strongest verdict; the claims; and what of the study
is there."""

from headscope.report.blocks import Block, Notice, Page, Table
from headscope.report.figures.head_counts import head_counts
from headscope.report.findings import Findings
from headscope.report.numbers import UNKNOWN, count_with_interval, rounded, with_interval
from headscope.report.verdicts import ablation_phrase


def overview(findings: Findings) -> Page:
    """The one page to read when there is time for one."""
    blocks: list[Block] = []
    if not findings.coverage.complete:
        blocks.append(_incomplete(findings))
    blocks.append(_heads(findings))
    if findings.comparisons:
        blocks.append(head_counts(findings.comparisons))
    if findings.finals:
        blocks.append(_scores(findings))
    if findings.claims:
        blocks.append(_claims(findings))
    blocks.append(_coverage(findings))
    return Page(
        "overview",
        "Overview",
        "Which heads did training create, keep or prune, and do they matter?",
        tuple(blocks),
    )


def _incomplete(findings: Findings) -> Notice:
    reasons = tuple(f"{name}: {reason}" for name, reason in findings.coverage.failures)
    return Notice(f"This report is partial: {findings.coverage}. What is missing is left out below.", reasons)


def _heads(findings: Findings) -> Table:
    rows = []
    for variant in findings.variants:
        found = findings.comparison(variant)
        if found is None:
            rows.append((variant, *([UNKNOWN] * 6), ablation_phrase(findings, variant)))
            continue
        kept, new, lost = (
            f"{count_with_interval(seen)} (null {count_with_interval(null)})"
            for name in ("kept", "new", "lost")
            for seen, null in [(getattr(found.final.counts, name), getattr(found.final.null, name))]
        )
        excess = f"{count_with_interval(found.final.excess.new, sign=True)} (p {rounded(found.final.new_p_value, 3)})"
        row = (
            variant,
            str(found.steps[-1]),
            kept,
            new,
            lost,
            excess,
            str(found.final.pairs),
            ablation_phrase(findings, variant),
        )
        rows.append(row)
    columns = (
        "variant",
        "step",
        "heads kept",
        "new",
        "lost",
        "new above null",
        "pairs",
        "strongest ablation",
    )
    caption = (
        "Heads at each variant's last checkpoint, with 95 % intervals over pairs; null: the base against itself, mean "
        "over random halves of all its pairs and the range of 95 % of them; p: share of the halves with as many new."
    )
    return Table(columns, tuple(rows), caption, "heads")


def _scores(findings: Findings) -> Table:
    rows = []
    for task in findings.tasks:
        for name in ("base", *findings.variants):
            each = findings.final(name, task)
            if each is not None:
                change = UNKNOWN if each.change is None else with_interval(each.change, sign=True)
                rows.append((task, name, each.step, with_interval(each.pass_at_k[1]), change, each.size))
    caption = (
        "pass@1 with 95 % intervals over problems; change: against the base, paired by problem. "
        "n is problems × samples."
    )
    return Table(("task", "model", "step", "pass@1", "change", "n"), tuple(rows), caption, "scores")


def _claims(findings: Findings) -> Table:
    rows = tuple((each.name, each.question, each.reading, each.reason) for each in findings.claims)
    caption = (
        "Findings of the paper, asked of this study. Supported: every part of the claim holds with its whole 95 % "
        "interval; not supported: a part fails likewise; undecided: anything else. The reason is the part that decided."
    )
    return Table(("claim", "question", "verdict", "reason"), rows, caption, "claims")


def _coverage(findings: Findings) -> Table:
    rows = tuple((each.kind, each.planned, each.done, each.failed, each.missing) for each in findings.coverage.kinds)
    caption = f"Coverage of the study: {findings.coverage}."
    return Table(("unit", "planned", "done", "failed", "missing"), rows, caption, "coverage")
