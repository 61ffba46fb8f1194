"""Overview: what happened, in sentences; per model heads against their null, accuracy and the strongest verdict; the
claims by their verdict; and what of the study is there.
"""

from headscope.report.blocks import Block, Findings, Notice, Page
from headscope.report.figures.head_counts import head_counts
from headscope.report.findings import findings, spoken_variants
from headscope.report.head_maps import head_maps, map_legend
from headscope.report.run_results import RunResults
from headscope.report.tables.accuracy import accuracy
from headscope.report.tables.claims import claims_by_reading
from headscope.report.tables.coverage import coverage
from headscope.report.tables.heads import heads
from headscope.report.tables.seeds import seeds
from headscope.report.tables.summary import summary
from headscope.report.unfinished import unfinished_answers
from headscope.runs.failures import by_reason


def overview(results: RunResults) -> Page:
    """Build the one page to read when there is time for one."""
    blocks: list[Block] = []
    if not results.coverage.complete:
        blocks.append(_incomplete(results))
    if cut_off := unfinished_answers(results):
        blocks.append(Notice("Most answers of some models are unfinished.", cut_off))
    if run_findings := findings(results):
        names = spoken_variants(results)
        spoken = [comparison for comparison in results.comparisons if comparison.variant in names]
        blocks.append(Findings("What happened", run_findings, head_maps(spoken), map_legend(spoken)))
    if results.comparisons:
        blocks.append(head_counts(results.comparisons))
    blocks.append(summary(results))
    if results.comparisons:
        blocks.append(heads(results))
    if results.evaluations:
        if (of_seeds := seeds(results)).rows:
            blocks.append(of_seeds)
        blocks.append(accuracy(results))
    if results.claims:
        blocks += claims_by_reading(results)
    blocks.append(coverage(results.coverage))
    question = "Which heads did training create, keep or lose, and do they matter?"
    return Page("overview", "Overview", question, tuple(blocks))


def _incomplete(results: RunResults) -> Notice:
    reasons = tuple(by_reason(results.coverage.failures))
    advice = "the same command resumes the run" + (", with --retry also what failed" if reasons else "")
    return Notice(f"This report is partial: {results.coverage}. What is missing is left out below; {advice}.", reasons)
