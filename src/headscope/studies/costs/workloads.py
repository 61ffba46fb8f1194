"""Workload of a unit: tokens, steps, rows and disk, from its settings and the ``Facts`` of the study.

``WORKLOADS`` has a function for each kind of unit; ``unit_workload`` calls it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headscope.measures.permutation import LOOK_EVERY
from headscope.results.head_constants import CANDIDATES, DESCENT_STEPS, TEXTS_A_STEP
from headscope.runs import Unit
from headscope.studies.answers.evaluate import shard_inputs
from headscope.studies.circuits.openings import OpeningsConfig

GENERATED, FORWARD, BACKWARD = "generated tokens", "forward tokens", "backward tokens"
TOKENS = (FORWARD, BACKWARD, GENERATED)

Number = int | float


@dataclass(frozen=True)
class Facts:
    """Facts about a study's models and data, by their names in the study; the base's values are used for variants
    without their own.

    prompt_tokens: mean per prompt, by task. answer_tokens, longest_answer: mean and largest, by ``VARIANT TASK``.
    correct: probability that an answer is correct, likewise.
    pair_tokens: mean length of a pair's texts. nodes: of the path integral, mean per pair.
    batch_rows: answers generated at a time, at most. threads: batches or texts at a time.
    steps, step_tokens: optimiser steps, and tokens per step, by variant trained here.
    devices: on which its steps were measured, likewise; 1 if it is not named.
    heads: of the whole model. weight_bytes: of one checkpoint. resident_bytes: held with the models loaded.
    free_bytes: of memory, when it was measured.
    """

    prompt_tokens: dict[str, float]
    answer_tokens: dict[str, float]
    longest_answer: dict[str, float]
    correct: dict[str, float]
    pair_tokens: float
    nodes: float
    batch_rows: int
    threads: int
    steps: dict[str, int]
    step_tokens: dict[str, float]
    heads: int
    weight_bytes: float
    resident_bytes: float
    free_bytes: float
    devices: dict[str, int] = field(default_factory=dict)

    def of_answers(self, values: Mapping[str, float], variant: str, task: str) -> float:
        """Return the value of a variant's answers to a task: its own, the base's, or the mean of all.

        values: by ``VARIANT TASK``, such as ``answer_tokens``.
        """
        for name in (variant, "base"):
            if f"{name} {task}" in values:
                return values[f"{name} {task}"]
        return sum(values.values()) / max(1, len(values))

    def prompt(self, task: str) -> float:
        """Return the mean tokens of a task's prompts, or of all prompts if nobody asked it."""
        everything = self.prompt_tokens.values()
        return self.prompt_tokens.get(task, sum(everything) / max(1, len(everything)))

    def measured_training(self, variant: str) -> str:
        """Return the variant whose measured training is used for this one's.

        A twin has the training of its original. If neither was measured, the measured training with the most tokens
        per step is used.
        """
        for name in (variant, variant.partition(".")[0]):
            if name in self.steps:
                return name
        return max(self.step_tokens, key=self.step_tokens.__getitem__, default=variant)

    def text(self, variant: str, task: str) -> float:
        """Return the mean tokens of a prompt with its answer."""
        return self.prompt(task) + self.of_answers(self.answer_tokens, variant, task)


@dataclass(frozen=True)
class Workload:
    """Workload of one unit.

    drivers: amounts that time grows with, by name; those of ``TOKENS`` are shown.
    parallel: how many threads share them. width: rows or pairs held at a time, which memory grows with.
    size: what the unit's files grow with.
    """

    drivers: Mapping[str, Number]
    parallel: Number = 1
    width: Number = 1
    size: Number = 1


def unit_workload(unit: Unit, facts: Facts, *, early: bool = False) -> Workload:
    """Return what a unit works through; ``early``: if its random sets stop at the first look."""
    if unit.kind == "forced":
        return _forced(unit, facts, early)
    return WORKLOADS[unit.kind](unit, facts) if unit.kind in WORKLOADS else Workload({})


def _train(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    measured = facts.measured_training(str(unit.labels["variant"]))
    steps = config.training["max_steps"] or facts.steps.get(measured, 0)
    saves = 1 + math.ceil(steps / config.training["save_every"])
    tokens = facts.step_tokens.get(measured, 0.0)
    return Workload(
        {step_driver(measured): float(steps), "checkpoints": float(saves), BACKWARD: steps * tokens}, size=saves
    )


def step_driver(training: str) -> str:
    """Return what the steps of a measured training are called: each has its own length of one."""
    return f"steps of {training}"


def measured_devices(unit: Unit, facts: Facts) -> int:
    """Return on how many devices the steps of a training unit were measured; 1 for any other unit."""
    if unit.kind != "train":
        return 1
    return facts.devices.get(facts.measured_training(str(unit.labels["variant"])), 1)


def _answers(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    variant, task = config.model.name, config.task.name
    sampling = config.sampling
    if shard_inputs(unit.inputs):  # which draw the answers
        return Workload({})
    problems = config.end - config.first if unit.kind in SHARDS else len(config.task.task().problems)
    answers = problems * sampling.samples
    mean = min(facts.of_answers(facts.answer_tokens, variant, task), sampling.max_new_tokens)
    longest = min(facts.of_answers(facts.longest_answer, variant, task), sampling.max_new_tokens)
    batches = max(1, math.ceil(answers / facts.batch_rows))
    drivers = {"decoding steps": batches * longest, GENERATED: answers * mean, FORWARD: answers * facts.prompt(task)}
    width = min(answers, facts.batch_rows) * (facts.prompt(task) + longest)
    return Workload(drivers, min(facts.threads, batches), width, answers * mean)


def _pairs(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    source = config.source
    if not isinstance(source, OpeningsConfig):
        return Workload({FORWARD: 0.0}, size=source.pairs)
    openings = 2 * source.candidates * source.pairs  # of either model
    prompt = facts.prompt(source.tasks[0].name)
    steps = 2 * source.opening_tokens * math.ceil(openings / 2 / facts.batch_rows)
    drivers = {"decoding steps": steps, GENERATED: openings * source.opening_tokens, FORWARD: openings * prompt}
    return Workload(drivers, width=min(openings / 2, facts.batch_rows) * prompt, size=source.pairs)


def pair_count(unit: Unit) -> int:
    """Return how many pairs a unit of pairs is to have."""
    config: Any = unit.inputs["main"].config if "main" in unit.inputs else unit.config
    return int(config.source.pairs)


def _scores(unit: Unit, facts: Facts) -> Workload:
    pairs = pair_count(unit.inputs["pairs"])
    return Workload({BACKWARD: pairs * facts.nodes * facts.pair_tokens}, width=pairs, size=pairs)


def _head_scores(unit: Unit, facts: Facts) -> Workload:
    pairs = pair_count(unit.inputs["pairs"])
    # A patch runs the layers after it: half of them on average.
    return Workload({FORWARD: pairs * facts.heads / 2 * facts.pair_tokens}, width=pairs, size=pairs)


def _faithfulness(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    pairs, circuits = pair_count(unit.inputs["pairs"]), len(config.sizes) + 2
    return Workload({FORWARD: pairs * circuits * facts.pair_tokens}, width=pairs, size=pairs)


def _comparison(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    # At every size base, base again and the last checkpoint are resampled once more.
    resampled = 2 + len(config.steps) + 3 * len(config.sizes)
    return Workload({"resamples": config.resamples * resampled}, size=len(config.steps))


def _head_sets(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    return Workload({"random sets": config.controls})


def forced_texts(unit: Unit, facts: Facts) -> float:
    """Return on how many texts a sweep is to be expected: one per problem with a correct answer."""
    config: Any = unit.config
    whole: Any = unit.inputs["whole"].config
    variant, task = config.post.name, config.task
    wrong = 1 - facts.of_answers(facts.correct, variant, task.name)
    answered = len(task.task().problems) * (1 - wrong**whole.sampling.samples)
    return float(min(config.texts, answered))


def _forced(unit: Unit, facts: Facts, early: bool) -> Workload:
    config: Any = unit.config
    sets: Any = unit.inputs["sets"].config
    texts = forced_texts(unit, facts)
    length = facts.text(config.post.name, config.task.name)
    controls = min(sets.controls, LOOK_EVERY) if early else sets.controls
    kinds = 2 if config.importance_controls else 1
    # The whole model, the set, doses and controls; the base whole and without the set; the direct effect.
    edits = 2 + len(config.doses) + kinds * controls + 2 + (config.operator == "zero")
    tokens = texts * edits * length
    if config.guard is not None:
        tokens += 2 * texts * facts.text(config.post.name, config.guard.name)
    needs_texts = config.operator in ("mean", "resample")
    problems = len(config.task.task().problems)
    # Of the variant and of the base.
    read = 2 * min(config.reference_texts, problems) * length if needs_texts else 0.0
    return Workload({FORWARD: tokens, "reference tokens": read}, size=edits * texts)


def _failures(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    whole: Any = unit.inputs["baseline"].config
    # Of the whole model, without the set, and without each random set.
    return Workload({"answers read": len(config.task.task().problems) * whole.sampling.samples * (2 + config.controls)})


def _role_losses(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    heads = facts.heads
    if heads > config.all_heads:
        sets: list[Any] = [unit.inputs[f"sets {group}"].config for group in config.groups]
        heads = min(heads, sum(group.at_most or heads for group in sets))
    # Every head removed, and for its slope also weakened and strengthened.
    edits = 1 + heads * (1 + len(getattr(config, "factors", ())))
    tokens = forced_texts(unit, facts) * edits * facts.text(config.post.name, config.task.name)
    return Workload({FORWARD: tokens}, size=heads)


def _head_roles(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    texts = min(config.texts, len(config.task.task().problems))
    length = min(config.tokens, facts.text(config.post.name, config.task.name))
    return Workload({FORWARD: 2 * texts * length})


def constants_workload(heads: int, texts: Number, length: Number, steps: int = DESCENT_STEPS) -> Workload:
    """Return what fitting the constants of ``heads`` heads works through."""
    drivers = {BACKWARD: steps * TEXTS_A_STEP * heads * length, FORWARD: CANDIDATES * texts * heads * length}
    return Workload(drivers)


def _constants(unit: Unit, facts: Facts) -> Workload:
    config: Any = unit.config
    length = facts.text(config.model.name, config.task.name)
    texts = min(config.texts, len(config.task.task().problems))
    return constants_workload(facts.heads, texts, length)


WORKLOADS: dict[str, Callable[[Unit, Facts], Workload]] = {
    "train": _train,
    "samples": _answers,
    "samples_shard": _answers,
    "ablated": _answers,
    "ablated_shard": _answers,
    "pairs": _pairs,
    "scores": _scores,
    "head_scores": _head_scores,
    "faithfulness": _faithfulness,
    "comparison": _comparison,
    "headsets": _head_sets,
    "constants": _constants,
    "failures": _failures,
    "head_roles": _head_roles,
    "role_losses": _role_losses,
    "head_scaling": _role_losses,
    "head_revert": _role_losses,
}
"""What a unit of each kind works through. A kind that is not here, arithmetic on small tables, costs per unit what it
cost in the pilot; ``forced`` has two (``unit_workload``)."""
SHARDS = ("samples_shard", "ablated_shard")
MEASURED_AS = dict(zip(SHARDS, ("samples", "ablated"), strict=True))
"""Kinds that the pilot has none of, and the kind whose units do the same."""
