"""C8: think-on and think-off of one model."""

from headscope.comparison.claims.deciding import claim, part
from headscope.comparison.claims.emerging import MANY
from headscope.comparison.claims.evidence import Evidence
from headscope.measures.independent import scaled
from headscope.results.claim import Claim, Part

BROADER = "active heads think-off − think-on at equal faithfulness"


def nothing_of_its_own(evidence: Evidence) -> Claim:
    """C8."""
    parts: list[Part] = []
    for variant, found in evidence.thinking:
        heads = found.change.status.size
        exclusive, null = scaled(found.change.excess.new, 1 / heads), scaled(found.change.null.new, 1 / heads)
        parts.append(part(variant, "excess of heads only think-on has", exclusive, "<", MANY, null=null))
        parts.append(part(variant, BROADER, found.broader, ">", 0.0))
    question = "Has think-on no exclusive heads, and does think-off recruit a broader set?"
    lacking = "the study scores no model with thinking on and off on the same pairs"
    return claim("C8", question, parts, lacking)
