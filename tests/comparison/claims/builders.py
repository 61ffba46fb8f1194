"""Runs, effects, ablations and answers from which studies are built whose claims are known."""

import numpy as np

from headscope.comparison.claims import Ablation, StudyResults, judge
from headscope.heads import HeadSet
from headscope.results.counts import Counts, HeadEstimates
from headscope.results.estimate import Estimate
from headscope.results.training_effects import HeadContrast, TrainingEffects
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict


def estimate(value: float, half: float = 0.0, n: int = 40) -> Estimate:
    return Estimate(float(value), float(value - half), float(value + half), n, "test")


def counts(new: float, kept_heads: float = 0.0) -> Counts:
    return Counts(estimate(kept_heads, 0.5), estimate(new, 0.5), estimate(0, 0.5), estimate(0, 0.5))


def effects(new: Estimate, above_twin: dict[str, Estimate] | None = None) -> TrainingEffects:
    """Return training effects of the new heads, in nats; the corrupt text costs 4."""
    nothing = HeadEstimates(*(np.zeros((2, 2)),) * 3)

    def contrast(estimate: Estimate) -> HeadContrast:
        return HeadContrast(nothing, np.ones((2, 2)), {"new": estimate}, 40)

    return TrainingEffects(
        variant="sft",
        step=4,
        recipe="sft",
        null="",
        metric="kl",
        base=nothing,
        post=nothing,
        corruption=(4.0, 3.0),
        training=contrast(new),
        above_twin={twin: contrast(above) for twin, above in (above_twin or {}).items()},
        counted={},
        pairs=40,
        problems=40,
        ranks=estimate(0.9),
    )


def ablation(effect: float, half: float, operator: str = "zero", task: str = "t1", **changes) -> Ablation:
    read = SUPPORTED if effect + half < 0 else NOT_SUPPORTED if abs(effect) + half < 0.05 else UNDECIDED
    pass_rate = estimate(0.5, 0.1)
    verdict = AblationVerdict(
        *(task, operator, HeadSet.of(["L0H0"]), read, "", pass_rate, pass_rate, estimate(effect, half)),
        *(np.zeros(200), estimate(effect, half), 0.005 if read == SUPPORTED else 0.5, 1, "lower", 0.05, 1, 0),
    )
    return Ablation(
        **({"variant": "sft", "group": "emergent", "operator": operator, "task": task} | changes), verdict=verdict
    )


def read_claim(results: StudyResults, name: str) -> tuple[str, str]:
    claim = next(claim for claim in judge(results) if claim.name == name)
    return claim.reading, claim.reason


LATE = set(range(30, 40))
