"""Recipes and null twins among a study's variants: read off its resolved content."""

from collections.abc import Mapping
from typing import Any

BASE = "base"
"""What results call the base model."""

Variants = Mapping[str, Mapping[str, Any]]
"""The variants of a resolved study, plain data by name."""


def variants_by_name(study: Mapping[str, Any]) -> Variants:
    """Return the variants of a resolved study's plain data by name."""
    return {variant["name"]: variant for variant in study["variants"]}


def missing_signal(variant: Mapping[str, Any]) -> str:
    """Return which signal the training lacks (``lr0``, ``permuted_rewards``, ``shuffled_answers``), "" if none."""
    train = variant.get("train") or {}
    return str(train.get("control") or ("lr0" if train.get("learning_rate") == 0 else ""))


def training_method(variant: Mapping[str, Any]) -> str:
    """Return how a variant was trained: ``sft``, ``distill`` or ``grpo``; "" if the study does not say."""
    return str(variant.get("method") or (variant.get("train") or {}).get("method") or "")


def distills_traces(variant: Mapping[str, Any]) -> bool:
    """Return whether a variant was distilled from a teacher's traces, as R1-Distill was.

    A distillation that is run here (``train: {method: distill}``) learns from the teacher's logits on its own answers.
    """
    trained = (variant.get("train") or {}).get("method")
    return training_method(variant) == "distill" and trained != "distill"


def recipe(name: str, variants: Variants) -> str:
    """Return the recipe a variant is a run of: a null twin's or another seed's is its source's, else its own name."""
    variant = variants[name]
    source = variant.get("twin_of")
    if source is None or source not in variants:
        return name
    is_rerun = _settings_but_seed(variant) == _settings_but_seed(variants[source])
    return recipe(source, variants) if missing_signal(variant) or is_rerun else name


def seeds_of(variants: Variants) -> dict[str, list[str]]:
    """Return by recipe the variants that are its runs, one per seed; null twins are none."""
    runs: dict[str, list[str]] = {}
    for name, variant in variants.items():
        if not missing_signal(variant):
            runs.setdefault(recipe(name, variants), []).append(name)
    return runs


def first_alike(variants: Variants) -> dict[str, str]:
    """Return by variant the first one that differs from it in nothing but the seed, itself if it is that one.

    Null twins are alike if their sources are and they lack the same signal.
    """
    firsts: dict[tuple[str, str], str] = {}
    return {
        name: firsts.setdefault((recipe(name, variants), missing_signal(variant)), name)
        for name, variant in variants.items()
    }


def null_twins(name: str, variants: Variants) -> list[str]:
    """Return the null twins of a variant's recipe; none for a twin, which is compared with the base alone."""
    if missing_signal(variants[name]):
        return []
    own = recipe(name, variants)
    return [other for other in variants if missing_signal(variants[other]) and recipe(other, variants) == own]


def _settings_but_seed(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {**(variant.get("train") or {}), "seed": None}
