"""The results of one study on which claims are judged."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from headscope.operator_names import ABLATION_OPERATORS
from headscope.results.dynamics import Dynamics, RewardCount
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.thinking import Thinking
from headscope.results.training_effects import TrainingEffects
from headscope.results.verdict import AblationVerdict

_Record = TypeVar("_Record")
_Key = TypeVar("_Key")

EMERGENT_GROUPS = ("emergent", "paper-emergent")
"""Groups of heads new against the base, by the bootstrap method then by the paper's set difference."""

_SCALING = re.compile(r"x[0-9]")
"""Begins the names of operators that scale heads (``x1.3``) and do not replace their output."""


def choose_emergent(groups: Sequence[str]) -> str:
    """Return which of the removed groups is that of a study's emergent heads, "" if none is.

    It is one group for the whole study: trying a second where the first has no heads would be a second chance.
    """
    return next((group for group in EMERGENT_GROUPS if group in groups), "")


@dataclass(frozen=True, eq=False)
class Run:
    """One training run (or finished model) against the base.

    variant: its name in the study.
    method: ``sft``, ``distill``, ``grpo``, or "" if it was trained elsewhere and the study does not say how.
    recipe: shared by runs that differ in the seed alone.
    null: the signal a null twin lacks (``lr0``, ``permuted_rewards``, ``shuffled_answers``); "" for any other run.
    series: (step, comparison), in order.
    dynamics: of the series.
    rewards: with the counts of each checkpoint; empty if none was logged.
    on_traces: whether a distillation learned from a teacher's traces, and not from its logits on answers of its own.
    effects: training effects at the last checkpoint; None if none were measured.
    """

    variant: str
    method: str
    recipe: str
    null: str
    series: tuple[tuple[int, Emergence], ...]
    dynamics: Dynamics
    rewards: tuple[RewardCount, ...] = ()
    on_traces: bool = False
    effects: TrainingEffects | None = None

    @property
    def last(self) -> Emergence:
        """Return the comparison at the last checkpoint."""
        return self.series[-1][1]


@dataclass(frozen=True, eq=False)
class Ablation:
    """One head set of one variant under one operator on one task. verdict: None if the set was empty.

    coverage: the largest k, and the change of pass@k; None with too few samples.
    """

    variant: str
    group: str
    operator: str
    task: str
    verdict: AblationVerdict | None
    coverage: tuple[int, Estimate] | None = None


@dataclass(frozen=True, eq=False)
class Modes:
    """One model with thinking on and off. variant: the think-off one. recipe: as of ``Run``.

    opening_tokens: of the pairs both modes were scored on; None if these do not differ in how an answer begins.
    """

    variant: str
    recipe: str
    thinking: Thinking
    opening_tokens: int | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """One task's problems before and after training. recipe: as of ``Run``.

    tiers: of each problem, "" for none. recall: whether the task asks for known facts and needs no calculation.
    failures: why each answer after training is wrong (``traces.reading.FAILURES``), "" for a right one; None if the
        answers were not read.
    """

    variant: str
    recipe: str
    task: str
    base: Bool[np.ndarray, "problem sample"]
    post: Bool[np.ndarray, "problem post_sample"]
    tiers: tuple[str, ...]
    recall: bool = False
    failures: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, eq=False)
class StudyResults:
    """Results of a study that claims use; empty if it has none.

    Null twins are among the runs only: all other claims leave them out.
    groups: groups of heads that the study removes, finished or not.
    """

    runs: tuple[Run, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    thinking: tuple[Modes, ...] = ()
    answers: tuple[Answers, ...] = ()
    groups: tuple[str, ...] = EMERGENT_GROUPS[:1]

    @property
    def emergent(self) -> str:
        """Return the group of the emergent heads, as ``choose_emergent`` does."""
        return choose_emergent(self.groups)

    def recipes(self, *methods: str) -> dict[str, list[Run]]:
        """Return the runs of each recipe of these methods (none given: all), one per seed, without null twins."""
        runs = [run for run in self.runs if not run.null and (not methods or run.method in methods)]
        return group_by(runs, lambda run: run.recipe)

    def null_twins(self, recipe: str) -> list[Run]:
        """Return the null twins of a recipe."""
        return [run for run in self.runs if run.null and run.recipe == recipe]

    def removals(self, group: str) -> list[Ablation]:
        """Return the ablations of a group of heads that replace their output."""
        ablations = [ablation for ablation in self.ablations if ablation.group == group]
        return [ablation for ablation in ablations if ablation.operator in ABLATION_OPERATORS]

    def scalings(self, group: str) -> list[Ablation]:
        """Return the ablations of a group of heads that scale their output."""
        ablations = [ablation for ablation in self.ablations if ablation.group == group]
        return [ablation for ablation in ablations if _SCALING.match(ablation.operator)]


def verdicts_by_operator(ablations: Iterable[Ablation]) -> dict[str, list[AblationVerdict]]:
    """Return the verdicts under each operator, without operators whose head sets were all empty."""
    verdicts: dict[str, list[AblationVerdict]] = {}
    for ablation in ablations:
        if ablation.verdict is not None:
            verdicts.setdefault(ablation.operator, []).append(ablation.verdict)
    return verdicts


def group_by(records: Iterable[_Record], key: Callable[[_Record], _Key]) -> dict[_Key, list[_Record]]:
    """Return the records grouped by key, in their order."""
    groups: dict[_Key, list[_Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
