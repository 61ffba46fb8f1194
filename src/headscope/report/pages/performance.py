"""Performance: pass@k, how answers end, why wrong ones are wrong, and a handful of answers to read."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.figures.accuracy import accuracy, accuracy_over_steps
from headscope.report.figures.answers import answers
from headscope.report.figures.failures import failures, failures_over_steps
from headscope.report.responses import choose_responses
from headscope.report.run_results import RunResults, last_steps


def performance(results: RunResults, responses: int) -> Page:
    """Build the page from evaluations. responses: shown per model and task."""
    last = results.last_evaluations
    blocks: list[Block] = [Notice("No evaluation is done yet.")]
    if last:
        blocks = [accuracy(last, results.marks)]
        if len(results.evaluations) > len(last):
            blocks.append(accuracy_over_steps(results.evaluations, results.marks))
        blocks.append(answers(last))
        if results.trace_summaries:
            blocks += _failure_blocks(results)
        if responses:
            blocks.append(choose_responses(results, responses))
    return Page("performance", "Performance", "How well do the models answer?", tuple(blocks))


def _failure_blocks(results: RunResults) -> list[Block]:
    """Return why wrong answers are wrong: at the last steps, and over training if more were evaluated."""
    last = last_steps(results.trace_summaries)
    figures: list[Block] = [failures(last, results.marks)]
    if len(results.trace_summaries) > len(last):
        figures.append(failures_over_steps(results.trace_summaries, results.variants))
    return figures
