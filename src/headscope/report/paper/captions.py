"""Sentences that several captions share: what was counted, and with which seeds."""

from headscope.report.run_results import RunResults
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate


def counting_sentences(emergence: Emergence) -> str:
    """Return n, the size of the circuits, when a head counts as active, and what the null is."""
    return (
        f"n: {emergence.size} per model; circuits of {emergence.fraction:.1%} of the edges; active: in at least "
        f"{emergence.core_from:.0%} of {emergence.resamples} resamples. Null: the base against itself "
        f"({emergence.null_source}, {emergence.null_size} a side)."
    )


def seeds_sentence(results: RunResults, estimate: Estimate | None = None) -> str:
    """Return the seeds behind a caption's numbers: the study's, and the resampling's if it is known."""
    sentence = f"Seed of the study: {results.study.get('seed', 'not recorded')}"
    if estimate is not None and estimate.seed is not None:
        sentence += f", of the resampling: {estimate.seed}"
    return f"{sentence}."
