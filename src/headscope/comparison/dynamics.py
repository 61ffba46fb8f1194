"""Cohorts, persistence and turnover of emergent heads over the checkpoints of one run."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.errors import InputError
from headscope.heads import HeadId
from headscope.results.dynamics import Dynamics, Event, RewardCount
from headscope.results.emergence import Emergence, Status

HOLD = 2
"""How many checkpoints in a row establish a birth, death or return (method section 5); one may be flicker."""
FEWEST_CHECKPOINTS = 2 * HOLD
"""In which a head can be seen to come and to leave."""


def head_dynamics(series: Sequence[tuple[int, Emergence]], *, hold: int = HOLD) -> Dynamics:
    """Return the dynamics of a run from ``emergence`` of its checkpoints (step, result), in any order.

    A change in only the last ``hold − 1`` checkpoints is not an event, as it is not confirmed yet.

    Raises InputError for an empty series, repeated steps, or results against different bases.
    """
    if hold < 1:
        raise InputError(f"hold is {hold}; at least 1 checkpoint is needed to establish an event")
    series = sorted(series, key=lambda checkpoint: checkpoint[0])
    _require_one_run(series)
    steps = np.array([step for step, _ in series], dtype=np.int64)
    status = np.stack([result.status for _, result in series])
    base = series[0][1].base_active
    emergent = status == Status.NEW
    first = np.where(emergent.any(axis=0), emergent.argmax(axis=0), -1)
    events = _events(steps, apply_hysteresis(emergent, hold))
    return Dynamics(steps, emergent, status == Status.KEPT, base, first, hold, events)


def apply_hysteresis(
    active: "Bool[np.ndarray, 'checkpoint layer head']", hold: int
) -> "Bool[np.ndarray, 'checkpoint layer head']":
    """Return the established states: a head's state changes after ``hold`` checkpoints in a row with the other state.

    A head starts inactive, and a change is dated to the first of those checkpoints.
    """
    state = np.zeros_like(active[0])
    states = np.zeros_like(active)
    for checkpoint in range(len(active)):
        ahead = active[checkpoint : checkpoint + hold]
        flips = (ahead != state).all(axis=0) & (len(ahead) == hold)  # near the end nothing can be confirmed
        state = state ^ flips
        states[checkpoint] = state
    return states


def reward_against_counts(
    series: Sequence[tuple[int, Emergence]], reward_steps: Sequence[int], rewards: Sequence[float]
) -> list[RewardCount]:
    """Return for each checkpoint the reward since the previous one and the head counts.

    reward_steps, rewards: the training log, one value per logged step, in any order.

    Raises InputError if the two differ in length.
    """
    if len(reward_steps) != len(rewards):
        raise InputError(
            f"the reward log has {len(reward_steps)} steps and {len(rewards)} rewards; one per step is needed"
        )
    logged = np.asarray(reward_steps, dtype=np.int64)
    values = np.asarray(rewards, dtype=np.float64)
    rows = []
    before = np.iinfo(np.int64).min  # the first checkpoint takes all rewards up to it, a step of 0 or less too
    for step, result in sorted(series, key=lambda checkpoint: checkpoint[0]):
        window = values[(logged > before) & (logged <= step)]
        rows.append(_reward_count(step, window, result))
        before = step
    return rows


def _reward_count(step: int, window: "Float[np.ndarray, 'logged']", result: Emergence) -> RewardCount:
    mean, spread = (float(window.mean()), float(window.std())) if len(window) else (math.nan, math.nan)
    return RewardCount(step, mean, spread, len(window), len(result.kept), len(result.new), len(result.lost))


def _events(
    steps: "Int[np.ndarray, 'checkpoint']", states: "Bool[np.ndarray, 'checkpoint layer head']"
) -> tuple[Event, ...]:
    # As int8, because a difference of booleans has no sign; the state before the first checkpoint is inactive.
    changes = np.diff(states.astype(np.int8), axis=0, prepend=0)
    born: set[HeadId] = set()
    events = []
    for checkpoint, layer, column in np.argwhere(changes):
        head = HeadId(int(layer), int(column))
        start = "return" if head in born else "birth"
        kind = "death" if changes[checkpoint, layer, column] < 0 else start
        born.add(head)
        events.append(Event(int(steps[checkpoint]), str(head), kind))
    return tuple(events)


def _require_one_run(series: Sequence[tuple[int, Emergence]]) -> None:
    if not series:
        raise InputError("no checkpoint was compared; dynamics need at least one")
    steps = [step for step, _ in series]
    if len(set(steps)) < len(steps):
        raise InputError(f"the checkpoints' steps {steps} repeat; one result per step is needed")
    reference = series[0][1].base_frequency
    for step, result in series:
        if not np.array_equal(result.base_frequency, reference):
            raise InputError(
                f"checkpoint {step} was compared with another base than checkpoint {steps[0]}; "
                "the dynamics of a run need one base"
            )
