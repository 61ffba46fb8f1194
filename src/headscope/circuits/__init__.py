"""Circuits: edge attribution, selection, faithfulness and patching on plain Hugging Face models."""

from headscope.circuits.attribution import attribute
from headscope.circuits.crossing import cross_patch
from headscope.circuits.disagreement import answer_divergence, disagreement
from headscope.circuits.exact import exact_edges, exact_heads
from headscope.circuits.faithfulness import faithfulness, ladder
from headscope.circuits.selection import select
from headscope.results.faithfulness import LADDER

__all__ = [
    "LADDER",
    "answer_divergence",
    "attribute",
    "cross_patch",
    "disagreement",
    "exact_edges",
    "exact_heads",
    "faithfulness",
    "ladder",
    "select",
]
