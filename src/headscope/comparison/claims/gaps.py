"""Gaps: reasons why a study cannot decide a claim, known from its file before anything is run."""

from collections.abc import Sequence
from dataclasses import dataclass

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.control_sets import WINDOW
from headscope.comparison.dynamics import FEWEST_CHECKPOINTS
from headscope.errors import count_noun
from headscope.measures.permutation import fewest_draws
from headscope.results.numbers import ALPHA


@dataclass(frozen=True, slots=True)
class Gap:
    """Something a study lacks for a claim.

    sentence: what is missing, and what would provide it. blocks: whether the claim cannot be decided without it;
        otherwise it only weakens the answer.
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
    """One task. problems: number asked; None if the problems are not on this machine. recall: whether it asks for known
    facts and needs no calculation.
    """

    name: str
    problems: int | None
    recall: bool


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """Facts of a study on which claims depend, known before it is run.

    recipes: without null twins, which are counted by their recipes. pairs: number per set.
    thinking: whether one model is asked with thinking on and off.
    opening_tokens: number of tokens of the pairs' openings; None if pairs do not differ in how an answer begins.
    groups: groups of heads that are removed. operators: operators under which answers are generated without them.
    scales: factors by which they are scaled. controls: number of random sets per verdict.
    ablated, ablated_samples: tasks of ablations, and answers per problem. evaluated, samples: those of the whole
        models.
    layers, layer_heads: number of layers, and of heads in each; None if the base's files are not here.
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
    layers: int | None = None
    layer_heads: int | None = None

    def of_method(self, *methods: str) -> list[RecipeFacts]:
        """Return the recipes of these methods."""
        return [recipe for recipe in self.recipes if recipe.method in methods]


FEWEST_PAIRS = 10
"""A count over fewer problems' pairs has no interval worth the name."""


def count_runs(recipe: RecipeFacts) -> str:
    """Return the numbers of seeds and checkpoints of a recipe, in words."""
    seeds = count_noun(recipe.seeds, "seed")
    return seeds if recipe.checkpoints is None else f"{seeds} × {count_noun(recipe.checkpoints, 'checkpoint')}"


def pair_gaps(facts: StudyFacts) -> list[Gap]:
    """Return the gap of a study with too few pairs to count heads."""
    if facts.pairs >= FEWEST_PAIRS:
        return []
    return [Gap(f"discover.pairs is {facts.pairs}: heads are counted on {FEWEST_PAIRS} or more")]


def checkpoint_gaps(recipes: Sequence[RecipeFacts]) -> list[Gap]:
    """Return a gap for each recipe with too few checkpoints to see whether heads remain. It blocks if no recipe has
    enough.
    """
    short = [recipe for recipe in recipes if recipe.checkpoints is not None and recipe.checkpoints < FEWEST_CHECKPOINTS]
    blocks = len(short) == len(recipes)
    gaps = []
    for recipe in short:
        count = count_noun(recipe.checkpoints or 0, "checkpoint")
        sentence = f"{recipe.name} has {count}: whether heads stay is seen over {FEWEST_CHECKPOINTS} or more"
        gaps.append(Gap(sentence, blocks))
    return gaps


def twin_gaps(recipes: Sequence[RecipeFacts]) -> list[Gap]:
    """Return the gap of recipes without a null twin, which does not block."""
    names = [recipe.name for recipe in recipes if not recipe.null_twins]
    if not names:
        return []
    return [Gap(f"no null twin of {', '.join(names)} (twins: [lr0, …]) tells what training alone does", blocks=False)]


def thinking_gaps(facts: StudyFacts) -> list[Gap]:
    """Return the gap of a study that evaluates no model in both modes."""
    return [] if facts.thinking else [Gap("no model is asked with thinking on and off (chat: {enable_thinking: …})")]


def ablated_task_gaps(facts: StudyFacts, least: int) -> list[Gap]:
    """Return the gap of a study that ablates on fewer than ``least`` tasks of enough problems."""
    large = [task for task in facts.ablated if task.problems is None or task.problems >= FEWEST_PROBLEMS]
    if len(large) >= least:
        return []
    tasks = f"{count_noun(len(large), 'task')} of {FEWEST_PROBLEMS} problems or more"
    return [Gap(f"heads are ablated on {tasks}, and {least} must be (ablate.tasks, ablate.problems)")]


def control_gaps(facts: StudyFacts) -> list[Gap]:
    """Return the gaps of the random sets: too few requested, or too few possible if one head emerges.

    With n tasks the best of n p-values must be ALPHA / n for Holm's correction to leave it at ALPHA.
    """
    tasks = max(1, len(facts.ablated))
    fewest = fewest_draws(ALPHA / tasks)
    if facts.controls < fewest:
        level = f"p ≤ {ALPHA:g}" if tasks == 1 else f"p ≤ {ALPHA:g} on {tasks} tasks"
        setting = "(ablate.generated_controls, ablate.controls)"
        return [Gap(f"{facts.controls} random sets are generated with; {level} needs {fewest} {setting}")]
    if facts.layers is None or facts.layer_heads is None:
        return []
    layers = min(2 * WINDOW + 1, facts.layers)
    pool = layers * facts.layer_heads - 1
    if pool >= fewest:
        return []
    nearest = f"the {count_noun(layers, 'layer')} nearest to a single new head"
    return [Gap(f"{nearest} have {pool} other heads for {fewest} sets", blocks=False)]
