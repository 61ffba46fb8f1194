"""What a study lacks to decide a claim, known from its file before anything is run."""

from collections.abc import Sequence
from dataclasses import dataclass

from headscope.comparison.ablation import FEWEST_CONTROLS, FEWEST_PROBLEMS
from headscope.errors import count_noun
from headscope.measures.multiplicity import ALPHA


@dataclass(frozen=True, slots=True)
class Gap:
    """Something a study lacks for a claim.

    sentence: what, and what would provide it. blocks: whether the claim cannot be decided without; else it only
        weakens the answer.
    """

    sentence: str
    blocks: bool = True


@dataclass(frozen=True, slots=True)
class RecipeFacts:
    """One recipe of a study.

    name: of its first variant. method: ``sft``, ``distill``, ``grpo``, or "" if the study does not say.
    on_traces: whether a distillation learns from a teacher's traces. seeds: runs of it.
    checkpoints: of a run, without step 0; None if only the training's data tells.
    null_twins: how many of its twins lack the signal. rewards: whether a reward is logged.
    """

    name: str
    method: str
    on_traces: bool
    seeds: int
    checkpoints: int | None
    null_twins: int
    rewards: bool


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One task. problems: how many are asked; None if they are not here to be counted. recall: whether it asks what is
    known and nothing to be worked out.
    """

    name: str
    problems: int | None
    recall: bool


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What claims depend on in a study, before it is run.

    recipes: without null twins, which their recipes count. pairs: per set.
    thinking: whether one model is asked with thinking on and off.
    opening_tokens: of the pairs; None if they do not differ in how an answer begins.
    groups: of heads that are removed. operators: under which answers are generated without them.
    scales: by which they are scaled. controls: random sets per verdict.
    ablated: the tasks, and ``ablated_samples`` answers per problem, of ablations; evaluated, ``samples``: of the whole
        models.
    layer_heads: heads per layer; None if the base's files are not here.
    """

    recipes: tuple[RecipeFacts, ...] = ()
    pairs: int = 0
    thinking: bool = False
    opening_tokens: int | None = None
    groups: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    controls: int = 0
    ablated: tuple[TaskFacts, ...] = ()
    ablated_samples: int = 0
    evaluated: tuple[TaskFacts, ...] = ()
    samples: int = 0
    layer_heads: int | None = None

    def of_method(self, *methods: str) -> list[RecipeFacts]:
        """Return the recipes of these methods."""
        return [recipe for recipe in self.recipes if recipe.method in methods]


FEWEST_PAIRS = 10
"""A count over fewer problems' pairs has no interval worth the name."""


def count_runs(recipe: RecipeFacts) -> str:
    """Return how many seeds and checkpoints a recipe has, in words."""
    seeds = count_noun(recipe.seeds, "seed")
    return seeds if recipe.checkpoints is None else f"{seeds} × {count_noun(recipe.checkpoints, 'checkpoint')}"


def pair_gaps(facts: StudyFacts) -> list[Gap]:
    """Return the gap of a study with too few pairs to count heads."""
    if facts.pairs >= FEWEST_PAIRS:
        return []
    return [Gap(f"discover.pairs is {facts.pairs}: heads are counted on {FEWEST_PAIRS} or more")]


def checkpoint_gaps(recipes: Sequence[RecipeFacts]) -> list[Gap]:
    """Return a gap for each recipe with a single checkpoint: what remains or leaves is seen over two and more.

    It blocks if no recipe has more.
    """
    finished = [recipe for recipe in recipes if recipe.checkpoints == 1]
    blocks = len(finished) == len(recipes)
    sentence = "{} has 1 checkpoint: whether heads stay is seen over 2 or more"
    return [Gap(sentence.format(recipe.name), blocks) for recipe in finished]


def twin_gaps(recipes: Sequence[RecipeFacts]) -> list[Gap]:
    """Return the gap of recipes without a null twin, which does not block."""
    names = [recipe.name for recipe in recipes if not recipe.null_twins]
    if not names:
        return []
    return [Gap(f"no null twin of {', '.join(names)} (twins: [lr0, …]) tells what training alone does", blocks=False)]


def thinking_gaps(facts: StudyFacts) -> list[Gap]:
    """Return the gap of a study that asks no model in both modes."""
    return [] if facts.thinking else [Gap("no model is asked with thinking on and off (chat: {enable_thinking: …})")]


def ablated_task_gaps(facts: StudyFacts, least: int) -> list[Gap]:
    """Return the gap of a study that ablates on fewer than ``least`` tasks of enough problems."""
    large = [task for task in facts.ablated if task.problems is None or task.problems >= FEWEST_PROBLEMS]
    if len(large) >= least:
        return []
    there = f"{count_noun(len(large), 'task')} of {FEWEST_PROBLEMS} problems or more"
    return [Gap(f"heads are ablated on {there}, and {least} must be (ablate.tasks, ablate.problems)")]


def control_gaps(facts: StudyFacts) -> list[Gap]:
    """Return the gaps of the random sets: too few asked for, and too few there if one head emerges."""
    if facts.controls < FEWEST_CONTROLS:
        return [
            Gap(
                f"{facts.controls} random sets are generated with; p ≤ {ALPHA:g} needs {FEWEST_CONTROLS} "
                "(ablate.generated_controls, ablate.controls)"
            )
        ]
    # Of the first and last layer, which have one layer next to them.
    pool = None if facts.layer_heads is None else 2 * facts.layer_heads - 1
    if pool is not None and pool < FEWEST_CONTROLS:
        pool_is = f"the layer of a single new head and the one next to it have {pool} other heads"
        return [Gap(f"{pool_is} for {FEWEST_CONTROLS} sets", blocks=False)]
    return []
