"""Clean/corrupt pairs of token sequences, from token ids, texts or sampled openings. Needs only NumPy, no torch."""

from headscope.pairs.pairs import Pair, Pairs
from headscope.pairs.problems import ProblemGroups, SampleSize
from headscope.pairs.tokens import Tokens

__all__ = ["Pair", "Pairs", "ProblemGroups", "SampleSize", "Tokens"]
