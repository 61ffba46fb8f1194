"""Recipes of the lab's base models: shapes and phases of training. No torch, so the command line can name them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Shape of a base model (Qwen3 architecture). groups: of query heads, one key/value head each."""

    layers: int
    width: int
    heads: int = 8
    groups: int = 4
    head_width: int = 8


SIZES = {
    "S": Size(layers=4, width=64),
    "S16": Size(layers=4, width=64, heads=16, groups=8),
    "M": Size(layers=6, width=128, head_width=16),
}


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    thinking: share of chain items written with their trace. Batches hold items of like length and weigh alike, so that
        the few tokens of a bare answer weigh more: at 0.2 a model writes a trace in one item of twelve.
    learning_rate, final_learning_rate: the first and the last.
    tiers: sampling weights.
    fresh: begins with new optimisers and a random stream of its own, so that it can be run alone from the weights
        before it.
    """

    steps: int
    thinking: float
    learning_rate: float
    final_learning_rate: float
    tiers: dict[str, float]
    fresh: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the library versions."""

    size: str
    phases: tuple[Phase, ...]
    tokens_per_batch: int = 4096
    weight_decay: float = 0.05
    seed: int = 0
    threads: int = 1


EARLY = {"T1": 0.45, "T2": 0.3, "T3": 0.05, "K": 0.15, "KR": 0.05}
MAIN = {"T1": 0.25, "T2": 0.35, "T3": 0.25, "K": 0.1, "KR": 0.05}
RECIPES = {
    "S": Recipe(
        "S",
        (
            Phase(1000, 0.85, 4e-3, 4e-3, EARLY),
            Phase(5000, 0.85, 4e-3, 2e-4, MAIN),
            Phase(450, 0.2, 4e-4, 4e-5, MAIN),
            Phase(150, 0.5, 2e-4, 2e-5, MAIN, fresh=True),  # after the third it wrote traces too rarely: 0.19 on T1
        ),
    ),
    # Never saw a trace: it answers at once and guesses.
    "S-plain": Recipe("S", (Phase(700, 0.0, 4e-3, 2e-4, MAIN),)),
    # S after its first 200 steps: it writes traces and cannot yet copy what they need. On this base post-training has a
    # skill to build, not only to make frequent (examples/learn_skill.py).
    "S-early": Recipe("S", (Phase(200, 0.85, 4e-3, 4e-3, EARLY),)),
    # Likewise early, with 16 heads per layer: the random sets of an ablation have heads to draw from (lab-build).
    "S16-early": Recipe("S16", (Phase(250, 0.85, 4e-3, 4e-3, EARLY),)),
    "M": Recipe(
        "M",
        (
            Phase(600, 0.85, 3e-3, 3e-3, EARLY),
            Phase(4600, 0.85, 3e-3, 2e-4, MAIN),
            Phase(500, 0.2, 3e-4, 3e-5, MAIN),
        ),
    ),
}
