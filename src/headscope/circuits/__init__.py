"""Circuits: edge attribution, selection, faithfulness and patching on plain Hugging Face models."""

from headscope.circuits.attention_rows import attention_rows, visit_attention_rows
from headscope.circuits.attribution import attribute
from headscope.circuits.cross_patching import cross_patch
from headscope.circuits.disagreement import answer_divergence, pairs_at_disagreement
from headscope.circuits.exact_patching import exact_edges, exact_heads
from headscope.circuits.faithfulness import faithfulness, faithfulness_curve
from headscope.circuits.options import AttributionOptions
from headscope.circuits.selection import select

__all__ = [
    "AttributionOptions",
    "answer_divergence",
    "attention_rows",
    "attribute",
    "cross_patch",
    "exact_edges",
    "exact_heads",
    "faithfulness",
    "faithfulness_curve",
    "pairs_at_disagreement",
    "select",
    "visit_attention_rows",
]
