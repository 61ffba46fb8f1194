"""Match the variants of a run to the models of the paper that they stand for."""

from collections.abc import Sequence

from headscope.report.run_results import RunResults
from headscope.results.comparison import Comparison
from headscope.runs.recipes import missing_signal, recipe, training_method, variants_by_name

SFT, DISTILL, GRPO = "sft", "distill", "grpo"
METHODS = {SFT: "SFT", DISTILL: "distillation", GRPO: "GRPO"}
"""The names that captions use, in the order in which the paper speaks of them."""

PAPER_TASK = "amc"
"""The task on which the paper finds a second set of circuits (its figures 6 and 9)."""
SECOND_BASE = "llama"
"""The family of the paper's second base model (its figures 10, 11 and 18)."""


def variants_trained_by(results: RunResults, method: str) -> list[str]:
    """Return the variants of one method in the study's order; null twins are none."""
    variants = variants_by_name(results.study)
    return [
        name for name, variant in variants.items() if training_method(variant) == method and not missing_signal(variant)
    ]


def comparisons_of(results: RunResults, names: Sequence[str]) -> list[Comparison]:
    """Return the finished comparisons of these variants, in the study's order."""
    return [comparison for comparison in results.comparisons if comparison.variant in names]


def grpo_recipes(results: RunResults) -> tuple[list[str], list[str], list[str]]:
    """Return the runs of the first GRPO recipe, of those on another data set, and of those at another learning rate."""
    variants = variants_by_name(results.study)
    first: list[str] = []
    on_other_data: list[str] = []
    at_other_rate: list[str] = []
    for name in variants_trained_by(results, GRPO):
        if not first or recipe(name, variants) == recipe(first[0], variants):
            first.append(name)
            continue
        train, of_first = [variants[variant].get("train") or {} for variant in (name, first[0])]
        if train.get("dataset") != of_first.get("dataset"):
            on_other_data.append(name)
        elif train.get("learning_rate") != of_first.get("learning_rate"):
            at_other_rate.append(name)
    return first, on_other_data, at_other_rate


def absent(names: Sequence[str], method: str) -> str:
    """Return the sentence that says why no comparison of a method's variants can be shown."""
    if names:
        return f"no comparison of {', '.join(names)} is finished"
    return (
        f"no variant is trained by {METHODS[method]} (variants: train: {{method: {method}}}, or method: {method} for a "
        "model that was trained elsewhere)"
    )


def circuit_tasks(results: RunResults) -> list[str]:
    """Return the tasks on whose problems the run's circuits were found."""
    tasks = results.study["discover"].get("tasks") or ()
    return [tasks] if isinstance(tasks, str) else [str(task) for task in tasks]


def base_model(results: RunResults) -> str:
    """Return the name of the run's base model."""
    return str((results.study.get("base") or {}).get("model", "base"))


def is_second_base(results: RunResults) -> bool:
    """Return whether the run's base is of the family of the paper's second base model."""
    return SECOND_BASE in base_model(results).lower()


def is_second_task(results: RunResults) -> bool:
    """Return whether the run's circuits are those of the paper's second task."""
    return circuit_tasks(results) == [PAPER_TASK]
