"""What claims are judged on: the results of one study, named by what they are about."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from headscope.results.dynamics import Dynamics, RewardCount
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict


@dataclass(frozen=True, eq=False)
class Run:
    """One training run (or finished model) against the base.

    method: ``sft``, ``distill``, ``grpo``, or "" where it was trained elsewhere.
    recipe: runs that differ in the seed alone share it. null: which signal a null twin lacks (``lr0``,
        ``permuted_rewards``, ``shuffled_answers``); "" for a run that is none.
    series: (step, comparison), in order. rewards: beside the counts; empty where none was logged.
    """

    variant: str
    method: str
    recipe: str
    null: str
    series: tuple[tuple[int, Emergence], ...]
    dynamics: Dynamics
    rewards: tuple[RewardCount, ...] = ()

    @property
    def last(self) -> Emergence:
        """At the last checkpoint."""
        return self.series[-1][1]


@dataclass(frozen=True, eq=False)
class Ablation:
    """One head set of one variant under one operator on one task. verdict: None where the set was empty.

    coverage: change of pass@k at the largest k, and that k; None where too few samples were drawn.
    """

    variant: str
    group: str
    operator: str
    task: str
    verdict: AblationVerdict | None
    coverage: tuple[int, Estimate] | None = None


@dataclass(frozen=True, eq=False)
class Modes:
    """One model with thinking on and off. variant: the think-off one. recipe: as of ``Run``."""

    variant: str
    recipe: str
    found: Thinking


@dataclass(frozen=True, eq=False)
class Answers:
    """One task's problems before and after training. recipe: as of ``Run``. lost_to_slips: share of the lost answers
    that are labelled over-thinking or calculation error; None where nothing was labelled.
    """

    variant: str
    recipe: str
    task: str
    base: Bool[np.ndarray, "problem sample"]
    post: Bool[np.ndarray, "problem post_sample"]
    lost_to_slips: Estimate | None = None


@dataclass(frozen=True, eq=False)
class StudyResults:
    """All results of a study that a claim asks for; empty where it has none.

    Null twins stand among the runs alone: to the other questions they are no training.
    """

    runs: tuple[Run, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    thinking: tuple[Modes, ...] = ()
    answers: tuple[Answers, ...] = ()

    def recipes(self, *methods: str) -> Iterator[tuple[str, list[Run]]]:
        """Each recipe of these methods (all without any) with the runs of its seeds; null twins are none."""
        real = [run for run in self.runs if not run.null and (not methods or run.method in methods)]
        for recipe in dict.fromkeys(run.recipe for run in real):
            yield recipe, [run for run in real if run.recipe == recipe]

    def nulls(self, recipe: str) -> list[Run]:
        """The null twins of a recipe."""
        return [run for run in self.runs if run.null and run.recipe == recipe]
