"""Changes of each kind of failure under an intervention on a head set, compared with those under random sets.

1. Every kind of failure, and every trait of answers that is not the same (a loop, a lost answer, the kind of a slip),
   is a share of each problem's answers.
2. Its change is paired by problem; its p over problems is adjusted over kinds (Benjamini and Hochberg).
3. Among the random sets, how far a set's change lies from the mean of all sets, in their standard deviations, is
   compared with the largest such distance of each random set over all kinds (Westfall and Young 1993, max T). With
   many kinds, one always looks outstanding; adjusting the ranks after Benjamini and Hochberg instead would need
   (kinds / 0.05) random sets.

Rules, fixed before any result was known. A kind is raised or lowered if q ≤ 0.05, the interval of the excess over the
random sets' mean lies on the change's side of 0, and the adjusted p is ≤ 0.05. There is no reading below 10 problems or
20 random sets.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import mean_share, paired_difference, paired_p_value, without_interval
from headscope.measures.multiplicity import q_values
from headscope.measures.permutation import permutation_p_value, permutation_rank
from headscope.results.failures import Direction, FailureChanges, KindChange
from headscope.results.numbers import ALPHA, format_estimate
from headscope.results.traces import NO_TOKEN_POSITIONS, Traces

FEWEST_FAILURE_CONTROLS = 20
"""Random sets below which no kind is called raised or lowered: the rule above, fixed before any result, asks for one
more than p ≤ 0.05 needs (``ablation.FEWEST_CONTROLS``)."""

Shares = Float[np.ndarray, "set kind problem"]
"""Of each problem's answers; sets in the order whole model, the heads' set, random sets."""


def failure_changes(
    whole: Traces,
    removed: Traces,
    controls: Sequence[Traces],
    *,
    task: str,
    operator: str,
    heads: HeadSet,
    caveat: str = "",
) -> FailureChanges:
    """Return the change of each kind of failure under an intervention, as shares of all answers.

    Args:
        whole: traces of the answers without intervention; only their rows of answers are used.
        removed: traces with it.
        controls: traces with the same operator on each matched random set.
        task, operator, heads: what was done; recorded in the result.
        caveat: a sentence on how the heads were found, which is added to the reading.

    Raises:
        InputError: if the problems differ, or there are no answers.
    """
    if whole.answers.empty:
        raise InputError(f"there are no answers to {task}; at least one problem is needed")
    names, is_trait, shares = failure_shares([whole, removed, *controls])
    kinds = _compare(names, is_trait, shares) if names else []
    kinds.sort(key=lambda kind: (-abs(kind.change.value), kind.name))
    problems = len(_problems(whole))
    reason = _describe_changes(kinds, problems, len(controls), operator, heads)
    return FailureChanges(
        task=task,
        operator=operator,
        heads=heads,
        kinds=tuple(kinds),
        reason=f"{reason}; {caveat}" if caveat else reason,
        problems=problems,
        samples=len(whole.answers) // problems,
        controls=len(controls),
        # Token positions decide no kind of failure.
        notes=tuple(note for note in dict.fromkeys((*whole.notes, *removed.notes)) if NO_TOKEN_POSITIONS not in note),
    )


def failure_shares(answers: Sequence[Traces]) -> tuple[list[str], list[bool], Shares]:
    """Return all kinds that occur, whether each is a trait, and their shares per problem.

    Raises InputError if the tables are not of the same problems.
    """
    problems = _problems(answers[0])
    for traces in answers[1:]:
        if _problems(traces) != problems:
            raise InputError(f"the answers to {traces.task} with and without heads are to different problems")
    columns = [_columns(traces) for traces in answers]
    names = list(dict.fromkeys(name for table in columns for name in table))
    nothing = np.zeros(len(problems))
    shares = np.array([[table.get(name, nothing) for name in names] for table in columns])
    shares = shares.reshape(len(answers), len(names), len(problems))  # also without any failure
    kinds: list[int] = []
    for index, name in enumerate(names):
        # A trait that only failures have, and all of one kind, would be counted twice.
        is_double = any(np.array_equal(shares[:, index], shares[:, other]) for other in kinds)
        if not (_is_trait(name) and is_double):
            kinds.append(index)
    chosen = [names[index] for index in kinds]
    return chosen, [_is_trait(name) for name in chosen], shares[:, kinds]


_TRAITS = {"lost answers": "lost", "answers with a loop": "loop"}
"""Names of traits, and their columns in the traces."""
_SLIP = "answers with a slip of "


def _is_trait(name: str) -> bool:
    return name in _TRAITS or name.startswith(_SLIP)


def _problems(traces: Traces) -> list[str]:
    return list(traces.answers["problem"].drop_duplicates())


def _columns(traces: Traces) -> dict[str, Float[np.ndarray, "problem"]]:
    """Return the share of each problem's answers that are of each kind; failures first, then traits."""
    answers = traces.answers
    failures, slips = sorted(set(answers["failure"]) - {""}), sorted(set(answers["slip"]) - {""})
    marks = {f"{kind} failures": answers["failure"] == kind for kind in failures}
    marks |= {name: answers[column] for name, column in _TRAITS.items() if answers[column].any()}
    marks |= {f"{_SLIP}{kind}": answers["slip"] == kind for kind in slips}
    by_problem = {}
    for name, mark in marks.items():
        by_problem[name] = mark.groupby(answers["problem"], sort=False).mean().to_numpy(dtype=np.float64)
    return by_problem


def _compare(names: Sequence[str], is_trait: Sequence[bool], shares: Shares) -> list[KindChange]:
    whole, removed, controls = shares[0], shares[1], shares[2:]
    effects = (shares[1:] - whole).mean(axis=2)  # [set, kind], the heads' set first
    adjusted = _adjusted_p(effects, shares.shape[2])
    tested = [paired_p_value(after, before) for after, before in zip(removed, whole, strict=True)]
    q_value = q_values(np.array(tested))
    kinds = []
    for index, name in enumerate(names):
        change = paired_difference(removed[index], whole[index])
        excess = without_interval(len(whole[index]), "no control")
        if len(controls):
            mean_control = (controls[:, index] - whole[index]).mean(axis=0)
            excess = paired_difference(removed[index] - whole[index], mean_control, bound=2.0)
        sign = -1.0 if change.value < 0 else 1.0
        value, null = sign * effects[0, index], sign * effects[1:, index]
        direction: Direction = ""
        if len(controls) >= FEWEST_FAILURE_CONTROLS and change.n >= FEWEST_PROBLEMS:
            direction = _direction(sign, excess.low, excess.high, float(adjusted[index]), float(q_value[index]))
        kinds.append(
            KindChange(
                name=name,
                is_trait=is_trait[index],
                whole=mean_share(whole[index]),
                removed=mean_share(removed[index]),
                change=change,
                control_effects=effects[1:, index],
                excess=excess,
                rank=permutation_rank(value, null),
                p_value=permutation_p_value(value, null),
                adjusted_p=float(adjusted[index]),
                q_value=float(q_value[index]),
                direction=direction,
            )
        )
    return kinds


def _adjusted_p(effects: "Float[np.ndarray, 'set kind']", problems: int) -> "Float[np.ndarray, 'kind']":
    """Return per kind the share of sets whose largest distance over kinds is at least the first set's distance."""
    sets, kinds = effects.shape
    if sets < 2:
        return np.full(kinds, np.nan)
    # Mean and spread are those of all sets, the heads' own among them, so that under the null all sets are alike. One
    # problem's change is added to the spread: without it a kind that a single set shows once would be outstanding.
    spread = np.sqrt(effects.var(axis=0) + problems**-2.0)
    distance = abs(effects - effects.mean(axis=0)) / spread
    null = distance[1:].max(axis=1)
    return np.array([permutation_p_value(float(value), null) for value in distance[0]])


def _direction(sign: float, low: float, high: float, adjusted_p: float, q_value: float) -> Direction:
    if adjusted_p > ALPHA or q_value > ALPHA:
        return ""
    if sign > 0:
        return "raised" if low > 0 else ""
    return "lowered" if high < 0 else ""


def _describe_changes(kinds: Sequence[KindChange], problems: int, controls: int, operator: str, heads: HeadSet) -> str:
    """Return the reading in a sentence, by the rules at the top of this module."""
    action = _describe_intervention(operator, heads)
    if not kinds:
        return f"{action} changes no kind of failure: there is none over {problems} problems"
    if problems < FEWEST_PROBLEMS:
        return f"{action} was asked on {problems} problems: at least {FEWEST_PROBLEMS} are needed"
    largest = f"the largest change is of {kinds[0].name}, {_format_change(kinds[0], controls)}"
    if controls < FEWEST_FAILURE_CONTROLS:
        return f"{action} is compared with {controls} random sets, and {FEWEST_FAILURE_CONTROLS} are needed; {largest}"
    parts = []
    for verb, direction in (("raises", "raised"), ("lowers", "lowered")):
        changed = [kind for kind in kinds if kind.direction == direction]
        if changed:
            listed = " and ".join(f"{kind.name} ({_format_change(kind, controls)})" for kind in changed)
            parts.append(f"{verb} {listed}")
    if parts:
        return f"{action} {' and '.join(parts)}, and nothing else beyond random sets"
    return f"{action} changes no kind of failure more than random sets do; {largest}"


def _describe_intervention(operator: str, heads: HeadSet) -> str:
    if operator == "zero":
        return f"removing {heads}"
    if operator == "revert":
        return f"giving {heads} the other model's weights"  # the base's, or in the base the variant's
    if operator.startswith("x"):
        return f"scaling {heads} by {operator[1:]}"
    return f"replacing {heads} ({operator})"


def _format_change(kind: KindChange, controls: int) -> str:
    return f"{format_estimate(kind.change, sign=True)}, rank {kind.rank} of {1 + controls}"
