"""The comparison of one variant's checkpoints with the base, for studies and tracked trainings."""

from collections.abc import Sequence

from headscope.comparison.coupling import coupling_series, reward_coupling
from headscope.comparison.dynamics import head_dynamics, reward_against_counts
from headscope.comparison.importance import change_q_values
from headscope.comparison.persistence import persistence
from headscope.results.comparison import CircuitSize, Comparison, SizeCounts
from headscope.results.emergence import Emergence


def compare_checkpoints(
    variant: str,
    series: Sequence[tuple[int, Emergence]],
    paper: Sequence[Emergence],
    rewards: Sequence[tuple[int, float]] = (),
    ladder: Sequence[Emergence] = (),
    circuit: CircuitSize | None = None,
) -> Comparison:
    """Return the comparison made of these results.

    series: (step, emergence) in order; paper: the same steps by the paper's method.
    rewards: (step, mean reward) of the training log; empty if it has none.
    ladder: results of the last checkpoint at other circuit sizes, of which counts, null and excess are kept.
    circuit: the size of the circuits of all other results.
    """
    steps, values = [step for step, _ in rewards], [reward for _, reward in rewards]
    coupled = reward_against_counts(series, steps, values) if rewards else []
    dynamics = head_dynamics(series)
    return Comparison(
        variant=variant,
        steps=tuple(step for step, _ in series),
        emergence=tuple(result for _, result in series),
        paper=tuple(paper),
        change_q=change_q_values([result for _, result in series]),
        dynamics=dynamics,
        persistence=persistence(dynamics),
        reward=tuple(coupled),
        ladder=tuple(SizeCounts(rung.fraction, rung.counts, rung.null, rung.excess) for rung in ladder),
        circuit=circuit,
        coupling=reward_coupling([coupling_series(coupled)]) if coupled else None,
    )
