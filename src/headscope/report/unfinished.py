"""Answers cut off by the study's own limit: if most are, an accuracy says how long the limit is and not what a model
can do.
"""

from headscope.report.run_results import RunResults

MOST = 0.5
"""The share of unfinished answers above which a reader is warned."""


def unfinished_answers(results: RunResults) -> tuple[str, ...]:
    """Return a sentence per model and task of which most answers, at the last evaluated step, were cut off."""
    limit = results.study.get("eval", {}).get("max_new_tokens")
    place = "eval.max_new_tokens" + ("" if limit is None else f" ({limit})")
    sentences = []
    for unit in results.last_evaluations:
        share = unit.whole.rates["unfinished"]
        if share > MOST:
            name = f"{unit.labels['variant']} to {unit.labels['task']}"
            sentences.append(
                f"{share:.0%} of the answers of {name} were cut off at {place}, and count as wrong; allow more tokens"
            )
    return tuple(sentences)
