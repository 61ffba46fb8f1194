"""``comparison.json``: one variant's checkpoints against the base, as a study and a tracked training both write it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from headscope.comparison.coupling import coupling_series, reward_coupling
from headscope.comparison.dynamics import head_dynamics, reward_against_counts
from headscope.comparison.effects import change_q_values
from headscope.comparison.persistence import persistence
from headscope.results.emergence import Emergence

SCHEMA_VERSION = 1


def comparison_record(
    variant: str,
    series: Sequence[tuple[int, Emergence]],
    paper: Sequence[Emergence],
    rewards: Sequence[tuple[int, float]] = (),
    ladder: Sequence[Emergence] = (),
) -> dict[str, Any]:
    """Plain JSON values. ``change_q`` [checkpoint, layer, head] is Benjamini and Hochberg's q of each head's change of
    importance; ``coupling`` is None without rewards.

    series: (step, emergence) in order; paper: the same steps by the paper's method.
    rewards: (step, mean reward) of the training log; empty where it has none.
    ladder: the last checkpoint at other circuit sizes; of these the counts are kept, with their null and excess.
    """
    coupled = (
        reward_against_counts(series, [step for step, _ in rewards], [each for _, each in rewards]) if rewards else []
    )
    dynamics = head_dynamics(series)
    return {
        "schema_version": SCHEMA_VERSION,
        "variant": variant,
        "steps": [step for step, _ in series],
        "emergence": [result.as_dict() for _, result in series],
        "paper": [result.as_dict() for result in paper],
        "change_q": change_q_values([result for _, result in series]).tolist(),
        "dynamics": dynamics.as_dict(),
        "persistence": persistence(dynamics).as_dict(),
        "reward": [row.as_dict() for row in coupled],
        "ladder": [
            {"fraction": rung.fraction} | {name: asdict(getattr(rung, name)) for name in ("counts", "null", "excess")}
            for rung in ladder
        ],
        "coupling": reward_coupling([coupling_series(coupled)]).as_dict() if coupled else None,
    }
