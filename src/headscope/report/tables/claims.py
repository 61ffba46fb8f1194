"""Claims: the paper's findings, asked of this study."""

from headscope.report.run_results import RunResults
from headscope.results.table import Row, Table


def claims(results: RunResults) -> Table:
    """Return the verdict on every claim, as it was judged last."""
    rows: list[Row] = []
    for claim in results.claims:
        rows.append({"claim": claim.name, "question": claim.question, "verdict": claim.reading, "reason": claim.reason})
    caption = (
        "Findings of the paper, asked of this study. Supported: every part of the claim holds with its whole 95 % "
        "interval; not supported: a part fails likewise; undecided: anything else. The reason is the part that decided."
    )
    return Table("claims", tuple(rows), caption)
