"""Comparison: what emerged between two models, against a null; arithmetic on results, loads no model."""

from headscope.comparison.ablation import ablation_verdict
from headscope.comparison.coupling import reward_coupling
from headscope.comparison.cross_patching import gap_closure
from headscope.comparison.crossed import crossed_design
from headscope.comparison.dynamics import head_dynamics, reward_against_counts
from headscope.comparison.emergence import emergence, emergence_by_method, emergence_ladder
from headscope.comparison.equal_faithfulness import choose_circuit, fraction_reaching
from headscope.comparison.importance import (
    change_q_values,
    doubled_heads,
    head_importance,
    importance_change,
    relative_change,
    relative_changes,
)
from headscope.comparison.layer_matched import layer_matched_sets
from headscope.comparison.overlap import overlap, rank_correlation
from headscope.comparison.persistence import persistence
from headscope.comparison.resampling import PAPER_EDGES, PAPER_TAU, Resampling
from headscope.comparison.thinking import reasoning_leak, think_on_off
from headscope.comparison.training_effects import (
    effect_contrast,
    head_effect,
    pool_training_effects,
    training_effects,
)

__all__ = [
    "PAPER_EDGES",
    "PAPER_TAU",
    "Resampling",
    "ablation_verdict",
    "change_q_values",
    "choose_circuit",
    "crossed_design",
    "doubled_heads",
    "effect_contrast",
    "emergence",
    "emergence_by_method",
    "emergence_ladder",
    "fraction_reaching",
    "gap_closure",
    "head_dynamics",
    "head_effect",
    "head_importance",
    "importance_change",
    "layer_matched_sets",
    "overlap",
    "persistence",
    "pool_training_effects",
    "rank_correlation",
    "reasoning_leak",
    "relative_change",
    "relative_changes",
    "reward_against_counts",
    "reward_coupling",
    "think_on_off",
    "training_effects",
]
