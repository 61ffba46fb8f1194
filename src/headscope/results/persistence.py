"""Persistence: how long heads that emerged stay."""

from dataclasses import dataclass

from headscope.results.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Persistence:
    """Persistence of the emergent heads of one run, after hysteresis; intervals over heads.

    persistence: chance that a head emergent at a checkpoint is so at the next.
    turnover: heads that change between two checkpoints / heads emergent at either.
    remaining: share of the heads that are there at the last checkpoint, of those established early enough to be seen
        to leave: 2 · hold checkpoints before the end or earlier.
    half_life: training steps after which half the spells have ended (Kaplan–Meier, spells that last to the end are
        censored); infinite if more than half outlast the run.
    heads: ever established. checkpoints: of the run.
    """

    persistence: Estimate
    turnover: Estimate
    remaining: Estimate
    half_life: Estimate
    heads: int
    checkpoints: int
