"""Claims: the paper's findings, asked of this study."""

from headscope.report.run_results import RunResults
from headscope.results.claim import Claim
from headscope.results.table import Row, Table
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED

_RULE = (
    "Findings of the paper, asked of this study. Supported: every part of the claim holds with its whole 95 % "
    "interval; not supported: a part fails likewise; undecided: anything else. The reason is the part that decided."
)
_GROUPS = {
    SUPPORTED: "Supported by this study: every part of the claim holds with its whole 95 % interval.",
    NOT_SUPPORTED: "Not supported by this study: a part of the claim fails with its whole 95 % interval.",
    UNDECIDED: "Cannot be decided here. The reason names what is missing, or the interval that reaches over its bound.",
}


def claims(results: RunResults) -> Table:
    """Return the verdict on every claim, as it was judged last."""
    rows: list[Row] = [_row(claim) | {"verdict": claim.reading, "reason": claim.reason} for claim in results.claims]
    return Table("claims", tuple(rows), _RULE)


def claims_by_reading(results: RunResults) -> list[Table]:
    """Return a table for each verdict that some claim has: supported, not supported, undecided."""
    tables = []
    for reading, meaning in _GROUPS.items():
        rows: list[Row] = [
            _row(claim) | {"reason": claim.reason} for claim in results.claims if claim.reading == reading
        ]
        if rows:
            caption = f"{len(rows)} of {len(results.claims)} claims of the paper: {meaning[0].lower()}{meaning[1:]}"
            tables.append(Table(f"claims-{reading.replace(' ', '-')}", tuple(rows), caption))
    return tables


def _row(claim: Claim) -> Row:
    return {"claim": claim.name, "question": claim.question}
