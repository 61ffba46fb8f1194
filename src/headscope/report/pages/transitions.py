"""Transitions: what becomes of each problem between the base's answers and a variant's, and why."""

from headscope.report.answer_pairs import PAIRS, choose_answer_pairs
from headscope.report.blocks import Block, Notice, Page, Prose
from headscope.report.run_results import RunResults, last_steps
from headscope.report.sentences import answer_sentences
from headscope.report.tables.traces import lexicon_table, marks, traces
from headscope.report.tables.transitions import failure_changes
from headscope.report.tables.transitions import transitions as transitions_table


def transitions(results: RunResults, texts: bool = True) -> Page:
    """Build the page from traces and transitions. texts: whether answers are in it."""
    summaries = [(unit.labels, unit.whole) for unit in results.trace_summaries]
    blocks: list[Block] = []
    if sentences := answer_sentences(results):
        blocks.append(Prose("In short", sentences))
    if results.transitions:
        blocks.append(transitions_table(results))
        pairs = choose_answer_pairs(results, PAIRS if texts else 0)
        if pairs is not None and pairs.table.rows:
            blocks.append(pairs)
        blocks.append(failure_changes(results))
    if summaries:
        blocks.append(traces(summaries))
        last = [(unit.labels, unit.whole) for unit in last_steps(results.trace_summaries)]
        if any(summary.marks for _, summary in last):
            blocks += [marks(last), lexicon_table()]
    else:
        blocks.append(Notice(_unread(results)))
    question = "Which problems became right or wrong, and what went wrong in them?"
    return Page("transitions", "Transitions", question, tuple(blocks))


def _unread(results: RunResults) -> str:
    if not results.evaluations:
        return "No evaluation is done yet."
    return "The answers were not read yet: headscope eval on the same run directory does it, and draws nothing again."
